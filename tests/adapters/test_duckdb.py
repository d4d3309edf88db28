"""DuckDB: types of its own, connections, and relations that are read more than once."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeAlias

import duckdb
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import consentgate as cg
from consentgate.adapters import duckdb as gated
from tests.adapters.contract import messages
from tests.adapters.duckdb_values import REFUSED, VALUES
from tests.build import AS_OF, WRITTEN, channel_table, consent_table, make_consent, make_gate
from tests.run_data import mixed_gate

Connection: TypeAlias = duckdb.DuckDBPyConnection
ROWS = 60


@pytest.fixture(scope="module")
def gate() -> cg.Gate:
    return mixed_gate()


@pytest.fixture
def connection() -> duckdb.DuckDBPyConnection:
    """A connection with a table of messages."""
    connection = duckdb.connect()
    connection.register("arrow_messages", messages(ROWS))
    connection.execute("create table messages as select * from arrow_messages")
    return connection


def ids(relation: duckdb.DuckDBPyRelation) -> list[int]:
    return [row[0] for row in relation.project("message_id").fetchall()]


def admitted_ids(gate: cg.Gate) -> list[int]:
    return list(gate.filter(messages(ROWS))[0]["message_id"].to_pylist())


def test_the_relation_can_be_read_more_than_once(
    gate: cg.Gate, connection: duckdb.DuckDBPyConnection
) -> None:
    found = gated.filter(connection.table("messages"), gate)
    assert ids(found) == ids(found) == admitted_ids(gate)


def test_the_relation_lives_where_the_input_does(
    gate: cg.Gate, connection: duckdb.DuckDBPyConnection
) -> None:
    found = gated.filter(connection.table("messages"), gate)
    joined = connection.sql("select count(*) from found join messages using (message_id)")
    assert joined.fetchall() == [(len(admitted_ids(gate)),)]
    other = connection.table("messages").set_alias("other")
    assert found.join(other, "message_id").count("*").fetchall() == joined.fetchall()


def test_the_default_connection_will_do(gate: cg.Gate) -> None:
    table = messages(ROWS)
    assert ids(gated.filter(duckdb.from_arrow(table), gate)) == admitted_ids(gate)


USED_NAMES = ["admitted", "none", "messages", "data", "table", "relation", "found"]


@pytest.mark.parametrize("kind", ["table", "view", "temp table", "temp view"])
@pytest.mark.parametrize("when", ["before", "after"])
def test_no_table_of_the_connection_is_taken_for_the_admitted_rows(
    kind: str, when: str, gate: cg.Gate, connection: duckdb.DuckDBPyConnection
) -> None:
    connection.execute("alter table messages rename to given")
    makes = [f'create {kind} "{name}" as select * from given' for name in USED_NAMES]
    for make in makes if when == "before" else []:
        connection.execute(make)
    found = gated.filter(connection.table("given"), gate)
    for make in makes if when == "after" else []:
        connection.execute(make)
    assert ids(found) == admitted_ids(gate)
    assert ids(found.limit(3)) == admitted_ids(gate)[:3]
    tables = connection.sql("select count(*) from messages").fetchall()
    assert tables == [(ROWS,)], "the connection's own are as they were"


def test_python_s_variables_need_not_be_visible(
    gate: cg.Gate, connection: duckdb.DuckDBPyConnection
) -> None:
    connection.execute("set python_enable_replacements = false")
    assert ids(gated.filter(connection.table("messages"), gate)) == admitted_ids(gate)


def test_what_comes_after_sees_admitted_rows_only(
    gate: cg.Gate, connection: duckdb.DuckDBPyConnection
) -> None:
    found = gated.filter(connection.table("messages"), gate)
    assert ids(found.limit(3)) == admitted_ids(gate)[:3]
    assert ids(found.filter("message_id % 2 = 0")) == [n for n in admitted_ids(gate) if n % 2 == 0]


def with_extra(connection: Connection, kind: str, values: list[str]) -> duckdb.DuckDBPyRelation:
    """Admitted messages, with a further column of that type and these values and a null."""
    known = f"1 as sender_id, 10 as channel_id, timestamptz '{WRITTEN}' as created_at"
    rows = [f"({n}, cast({value} as {kind}))" for n, value in enumerate([*values, "null"])]
    listed = f'(values {", ".join(rows)}) as v(message_id, "the ""extra")'
    connection.execute(f"create or replace table given as select *, {known} from {listed}")
    return connection.table("given")


def in_words(relation: duckdb.DuckDBPyRelation) -> list[Any]:
    """The further column's values so that no two that differ are alike."""
    value = '"the ""extra"'
    words = [f"{value}::varchar", f"{value} is null", "message_id"]
    if relation.types[1].id == "interval":
        words += [f"datepart('{part}', {value})" for part in ("year", "month", "day", "us", "hour")]
    return relation.project(", ".join(words)).fetchall()


SETTINGS = [
    "arrow_lossless_conversion = false",
    "arrow_lossless_conversion = true",
    "arrow_large_buffer_size = true",
    "arrow_output_version = '1.5'",
    "arrow_output_list_view = true",
    "timezone = 'America/New_York'",
]


@pytest.mark.parametrize("setting", SETTINGS)
def test_every_value_of_every_type_comes_back(
    setting: str, connection: duckdb.DuckDBPyConnection
) -> None:
    connection.execute(f"set {setting}")
    for kind, values in VALUES.items():
        given = with_extra(connection, kind, values)
        found = gated.filter(given, make_gate())
        assert (found.columns, found.types) == (given.columns, given.types)
        assert in_words(found) == in_words(given)


SHAPES: dict[str, tuple[str, str]] = {
    "list": ("{}[]", "[{}, null]"),
    "array": ("{}[2]", "[{}, null]"),
    "struct": ('struct("a ""b" {}, "SELECT" int)', "row({}, 1)"),
    "map": ("map(varchar, {})", "map {{'k': {}}}"),
}


@settings(max_examples=40)
@given(st.sampled_from([*VALUES]), st.lists(st.sampled_from([*SHAPES]), min_size=1, max_size=3))
def test_values_come_back_from_within_others(kind: str, shapes: list[str]) -> None:
    values = [f"cast({value} as {kind})" for value in VALUES[kind]]
    for shape in shapes:
        kind, values = SHAPES[shape][0].format(kind), [SHAPES[shape][1].format(v) for v in values]
        values = [f"cast({value} as {kind})" for value in values]
    with duckdb.connect() as connection:
        given = with_extra(connection, kind, values)
        found = gated.filter(given, make_gate())
        assert found.types == given.types
        assert in_words(found) == in_words(given)


@pytest.mark.parametrize("value", REFUSED)
def test_types_that_would_not_come_back_are_refused(
    gate: cg.Gate, value: str, connection: duckdb.DuckDBPyConnection, tmp_path: Path
) -> None:
    given = connection.sql(f"select *, {value} as extra from messages")
    with pytest.raises(cg.ColumnTypeError, match=r"Column 'extra' is .*; cast it") as error:
        gated.filter(given, gate, ledger=tmp_path / "ledger")
    assert "SECRET" not in str(error.value)


def test_fields_whose_names_differ_in_case_are_not_cast(gate: cg.Gate) -> None:
    numbers = [pa.array([5] * ROWS), pa.array([7] * ROWS)]
    connection = duckdb.connect()
    uuids = [pa.array([bytes([n]) * 16] * ROWS, pa.uuid()) for n in (1, 2)]
    plain, cast = (
        duckdb.from_arrow(messages(ROWS).append_column("extra", structs), connection=connection)
        for structs in (pa.StructArray.from_arrays(f, ["n", "N"]) for f in (numbers, uuids))
    )
    found = gated.filter(plain, gate).to_arrow_table()["extra"]
    assert found.to_pylist() == [{"n": 5, "N": 7}] * len(admitted_ids(gate))
    with pytest.raises(cg.ColumnTypeError, match="Column 'extra' is of type STRUCT"):
        gated.filter(cast, gate)


NAMES = ["Text", "TEXT", "a.b", "a b", 'a"b', "select", "c0", "C0", "#1", "é", "É", "İ", " ", "'"]


def test_columns_are_told_apart_whatever_their_names(
    gate: cg.Gate, connection: duckdb.DuckDBPyConnection
) -> None:
    words = ['"' + name.replace('"', '""') + '"' for name in NAMES]
    kinds = ["hugeint" if number % 3 else "int" for number in range(len(NAMES))]
    extra = [
        f"({number} + message_id)::{kind} as {word}"
        for number, (kind, word) in enumerate(zip(kinds, words, strict=True))
    ]
    given = connection.table("messages").project(f"*, {', '.join(extra)}")
    found = gated.filter(given, gate)
    assert (found.columns, found.types) == (given.columns, given.types)
    rows = given.to_arrow_table().take(admitted_ids(gate)).columns
    assert [*map(str, found.to_arrow_table().columns)] == [*map(str, rows)]


@pytest.mark.parametrize("second", ["sender_id", "SENDER_ID"])
def test_the_gate_s_columns_are_found_by_their_very_names(
    second: str, connection: duckdb.DuckDBPyConnection
) -> None:
    first = "SENDER_ID" if second == "sender_id" else "sender_id"
    senders = {"sender_id": 1, "SENDER_ID": 4}  # of whom the other one withdrew
    columns = ", ".join(f'{senders[name]} as "{name}"' for name in (first, second))
    given = connection.table("messages").project(f"* exclude (sender_id), {columns}")
    found = gated.filter(given, mixed_gate())
    assert found.columns == given.columns
    assert len(ids(found)) == ROWS * 3 // 5
    rows = found.project("#4, #5, #6").fetchall()
    assert {row[-2:] for row in rows} == {(senders[first], senders[second])}


def test_judged_columns_of_types_that_are_sent_as_text(
    connection: duckdb.DuckDBPyConnection,
) -> None:
    known = "sender_id: 1, channel_id: 10, message_id: uuid(), created_at: timestamptz '2025-06-01'"
    given = connection.sql(f"select {known}, \"message_id'\": 3, hue: 'red'::enum('red', 'blue')")
    connection.execute("create table given as from given")
    rule = {"name": "red", "column": "hue", "any_of": ["red"]}
    given = connection.table("given")
    assert ids(gated.filter(given, make_gate(record_rules=[rule]))) == []
    found = gated.filter(given, make_gate(record_rules=[{**rule, "any_of": ["blue"]}]))
    assert found.types == given.types
    assert (
        found.project("message_id, hue").fetchall() == given.project("message_id, hue").fetchall()
    )


@pytest.mark.parametrize("kind", ["hugeint", "uhugeint", "bignum"])
def test_integers_beyond_arrow_s_are_not_judged_as_text(
    kind: str, connection: duckdb.DuckDBPyConnection
) -> None:
    given = connection.table("messages").project(f"* replace (1::{kind} as sender_id)")
    consent = make_consent(subject_id=["1"])
    with pytest.raises(cg.ColumnTypeError, match="Column 'sender_id'"):
        gated.filter(given, make_gate(consent))


def test_a_relation_that_cannot_run_is_an_error_without_its_values(
    gate: cg.Gate, connection: duckdb.DuckDBPyConnection
) -> None:
    broken = "case when message_id < 50 then text else 'SECRET' end"
    given = connection.sql(
        f"select *, cast(replace({broken}, text, '1') as int) as n from messages"
    )
    with pytest.raises(cg.InputError, match="DuckDB cannot run the relation") as error:
        gated.filter(given, gate)
    assert "SECRET" not in str(error.value)
    assert error.value.__suppress_context__
    connection.execute("drop table messages")
    with pytest.raises(cg.InputError, match="DuckDB cannot run the relation"):
        gated.filter(given, gate)
    connection.close()
    with pytest.raises(cg.InputError, match="DuckDB cannot run the relation"):
        gated.filter(given, gate)


def test_text_that_is_no_json_is_refused_before_anything_comes_out(gate: cg.Gate) -> None:
    kind = {"ARROW:extension:name": "arrow.json", "ARROW:extension:metadata": ""}
    table = messages(ROWS).append_column(
        pa.field("extra", pa.string(), metadata=kind), pa.array(["{SECRET"] * ROWS)
    )
    given = duckdb.connect().from_arrow(table)
    assert str(given.types[-1]) == "JSON"
    with pytest.raises(cg.InputError, match="DuckDB cannot run the relation") as error:
        gated.filter(given, gate)
    assert "SECRET" not in str(error.value)


def test_a_relation_that_can_be_read_only_once_is_read_once(gate: cg.Gate) -> None:
    reader = messages(ROWS).to_reader(max_chunksize=7)
    given = duckdb.from_arrow(reader, connection=duckdb.connect())
    assert ids(gated.filter(given, gate)) == admitted_ids(gate)


def test_uuids_are_judged_as_text() -> None:
    who: Any = duckdb.sql("select '00000000-0000-0000-0000-000000000001'::uuid as sender_id")
    consent = cg.ConsentSnapshot.from_arrow(
        consent_table(subject_id=who.to_arrow_table()["sender_id"]), as_of=AS_OF
    )
    channels = cg.ChannelRegistry.from_arrow(channel_table(), as_of=AS_OF)
    given = who.query(
        "who",
        "select *, 10 as channel_id, 1 as message_id, timestamptz '2025-06-01' as created_at "
        "from who",
    )
    found = gated.filter(given, make_gate(consent, channels))
    assert found.types == given.types
    assert ids(found) == [1]


def test_a_timestamp_without_a_zone_is_refused(
    gate: cg.Gate, connection: duckdb.DuckDBPyConnection
) -> None:
    naive = connection.sql("select * replace (created_at::timestamp as created_at) from messages")
    with pytest.raises(cg.NaiveTimestampError, match="no time zone"):
        gated.filter(naive, gate)


def test_a_name_that_is_there_twice_is_refused(
    gate: cg.Gate, connection: duckdb.DuckDBPyConnection
) -> None:
    with pytest.raises(cg.ColumnAmbiguousError, match="named 'text'"):
        gated.filter(connection.sql("select *, text from messages"), gate)


@pytest.mark.parametrize("data", [pa.table({}), 3, "select 1"])
def test_only_relations_are_taken(gate: cg.Gate, data: Any) -> None:
    with pytest.raises(cg.NotArrowError, match="is not a DuckDB relation"):
        gated.filter(data, gate)
