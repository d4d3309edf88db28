"""DuckDB: types of its own, connections, and relations that are read more than once."""

from __future__ import annotations

from typing import Any

import duckdb
import pyarrow as pa
import pytest

import consentgate as cg
from consentgate.adapters import duckdb as gated
from tests.adapters.contract import messages
from tests.build import AS_OF, channel_table, consent_table, make_gate
from tests.runs import mixed_gate

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


KEPT = [
    "170141183460469231731687303715884105727::hugeint",
    "1.5::decimal(9, 2)",
    "uuid()",
    "'b'::enum('a', 'b')",
    "['b'::enum('a', 'b')]",
    "{'who': uuid(), 'n': [1::utinyint]}",
    "map {'who': uuid()}",
    "[1, 2]::int[2]",
    "interval '1 month 2 days 3 microseconds'",
    "'\\xAA'::blob",
    "time '01:02:03'",
    "date '2025-01-01'",
    "timestamp_ns '2025-01-01 00:00:00.000000001'",
    "true",
    "null",
    """'{"a":  [1]}'::json""",
    "['1'::json]",
    "union_value(n := 2)",
]


@pytest.mark.parametrize("value", KEPT)
def test_types_and_values_come_back(
    gate: cg.Gate, value: str, connection: duckdb.DuckDBPyConnection
) -> None:
    connection.execute(f'create table given as select *, {value} as "the ""extra" from messages')
    given = connection.table("given")
    found = gated.filter(given, gate)
    assert (found.columns, found.types) == (given.columns, given.types)
    same = connection.sql(
        'select g."the ""extra" is not distinct from f."the ""extra" '
        "from given g join found f using (message_id)"
    )
    assert same.fetchall() == [(True,)] * len(admitted_ids(gate))


LOST = [
    "'101'::bit",
    "timetz '01:02:03+02'",
    "[timetz '01:02:03+02']",
    "5::uhugeint",
    "['b'::enum('a', 'b')]::enum('a', 'b')[1]",
]


@pytest.mark.parametrize("value", LOST)
def test_types_that_would_not_come_back_are_refused(
    gate: cg.Gate, value: str, connection: duckdb.DuckDBPyConnection
) -> None:
    given = connection.sql(f"select *, {value} as extra from messages")
    with pytest.raises(cg.ColumnTypeError, match=r"Column 'extra' is .*; cast it"):
        gated.filter(given, gate)


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
    with pytest.raises(cg.NotArrowError, match="is no DuckDB relation"):
        gated.filter(data, gate)
