"""Reading snapshots and registries: one content, one digest, in whatever form it comes."""

from __future__ import annotations

import copy
import json
import pickle
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

import consentgate as cg
from tests.build import (
    ABSENT,
    AS_OF,
    BEGUN,
    MICRO,
    NOW,
    WRITTEN,
    channel_table,
    consent_table,
    make_channels,
    make_consent,
    make_gate,
    message_table,
    reasons,
)
from tests.inputs.records import CHANNELS, RECORDS
from tests.inputs.writing import WRITERS

TABLE = consent_table(**RECORDS)
AS_OF_KEY = {b"consentgate.as_of": AS_OF.isoformat().encode()}


def take(table: Any, **options: Any) -> cg.ConsentSnapshot:
    """The table as a snapshot."""
    return cg.ConsentSnapshot.from_arrow(table, as_of=AS_OF, **options)


DIGEST = take(TABLE).digest


# --- files ----------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", WRITERS)
def test_a_snapshot_is_the_same_from_every_format(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"consent.{suffix}"
    table = TABLE.drop("joined")  # an attribute; text formats cannot say that it is an instant
    WRITERS[suffix](table, path)
    snapshot = cg.ConsentSnapshot.read(path, as_of=AS_OF)
    assert snapshot.digest == take(table).digest
    assert (snapshot.as_of, snapshot.source) == (AS_OF, str(path))
    messages = message_table(sender_id=[1, 2, 3, 4, 1], created_at=[WRITTEN] * 4 + [BEGUN - MICRO])
    found = reasons(make_gate(snapshot), messages)
    assert found == reasons(make_gate(take(table)), messages)
    assert found[4] == []


@pytest.mark.parametrize("suffix", WRITERS)
def test_a_registry_is_the_same_from_every_format(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"channels.{suffix}"
    WRITERS[suffix](channel_table(**CHANNELS), path)
    registry = cg.ChannelRegistry.read(str(path), as_of=AS_OF, source="mine")
    assert registry.digest == make_channels(**CHANNELS).digest
    assert registry.source == "mine"


@pytest.mark.parametrize("name", ["subject_id", "channel_id"])
def test_text_ids_that_look_like_numbers_stay_text(name: str, tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text(f"{name},purpose,status,method,visibility\n007,a,refused,b,public\n")
    cls = cg.ConsentSnapshot if name == "subject_id" else cg.ChannelRegistry
    assert cls.read(path, as_of=AS_OF).table[name].to_pylist() == ["007"]


@pytest.mark.parametrize(
    ("written", "ids", "kind"),
    [
        (["7", "-8"], [7, -8], pa.int64()),
        (["7", "08"], ["7", "08"], pa.large_string()),
        (["7", "+8"], ["7", "+8"], pa.large_string()),
        (["7", "-0"], ["7", "-0"], pa.large_string()),
        (["7", "8.0"], ["7", "8.0"], pa.large_string()),
        (["7", "1e3"], ["7", "1e3"], pa.large_string()),
        (["7", " 8"], ["7", " 8"], pa.large_string()),
        (["7", str(2**63)], [7, 2**63], pa.uint64()),
        (["7", str(2**64)], ["7", str(2**64)], pa.large_string()),
        (["-7", str(2**63)], ["-7", str(2**63)], pa.large_string()),
        (["NULL", "nan"], ["NULL", "nan"], pa.large_string()),
        (["0", "2025-01-01"], ["0", "2025-01-01"], pa.large_string()),
    ],
)
def test_csv_ids_are_integers_only_in_canonical_form(
    written: list[str], ids: list[Any], kind: pa.DataType, tmp_path: Path
) -> None:
    path = tmp_path / "x.csv"
    path.write_text("\n".join(["channel_id,visibility", *(f"{w},public" for w in written)]))
    registry = cg.ChannelRegistry.read(path, as_of=AS_OF)
    assert registry.table["channel_id"].to_pylist() == ids
    assert registry.table.schema.field("channel_id").type == kind


def test_a_field_without_quotes_is_null_and_an_empty_text_is_not(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text('channel_id,visibility\n1,\n2,""\n3,"a\nb"\n')
    registry = cg.ChannelRegistry.read(path, as_of=AS_OF)
    assert registry.table["visibility"].to_pylist() == [None, "", "a\nb"]


def test_csv_attributes_are_truths_integers_or_text(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    header = "subject_id,purpose,status,method,a,b,c,d\n"
    path.write_text(header + "1,p,refused,,true,1,01,\n2,p,refused,,,-2,True,\n")
    table = cg.ConsentSnapshot.read(path, as_of=AS_OF).table
    assert table.select(["a", "b", "c"]).to_pydict() == {
        "a": [True, None], "b": [1, -2], "c": ["01", "True"],
    }  # fmt: skip


@pytest.mark.parametrize("ids", [[2**63, 1], [2**64 - 1, 2**64 - 2], [2**53 + 1, 2**53]])
def test_great_integers_in_json_stay_exact(ids: list[int], tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    rows = [{"channel_id": i, "visibility": "public"} for i in ids]
    path.write_text("\n".join(map(json.dumps, rows)))
    registry = cg.ChannelRegistry.read(path, as_of=AS_OF)
    assert registry.table["channel_id"].to_pylist() == ids


def test_json_ids_that_look_like_instants_stay_text(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    path.write_text('{"channel_id": "2025-01-01T00:00:00Z", "visibility": "public"}\n')
    registry = cg.ChannelRegistry.read(path, as_of=AS_OF)
    assert registry.table["channel_id"].to_pylist() == ["2025-01-01T00:00:00Z"]


@pytest.mark.parametrize(
    "text", ["2025-06-01T02:00:00+02:00", "2025-06-01 00:00:00Z", "2025-05-31T18:30:00-05:30"]
)
def test_instants_in_text_are_read_with_their_offset(text: str, tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text(f"channel_id,visibility,public_since\n1,public,{text}\n")
    row = {"channel_id": 1, "visibility": "public", "public_since": text}
    (tmp_path / "x.jsonl").write_text(json.dumps(row))
    for name in ("x.csv", "x.jsonl"):
        registry = cg.ChannelRegistry.read(tmp_path / name, as_of=AS_OF)
        assert registry.table["public_since"].to_pylist() == [WRITTEN]


def test_nanoseconds_in_text_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text("channel_id,visibility,public_since\n1,public,2025-06-01T00:00:00.000000001Z\n")
    registry = cg.ChannelRegistry.read(path, as_of=AS_OF)
    assert registry.table["public_since"].cast(pa.int64()).to_pylist() == [1748736000000000001]


# --- as of when -----------------------------------------------------------------------------


@pytest.mark.parametrize("key", ["consentgate.as_of", "as_of"])
@pytest.mark.parametrize("text", ["2026-03-01T00:00:00Z", "2026-03-01T05:30:00+05:30"])
def test_a_file_says_as_of_when_it_speaks(key: str, text: str, tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    pq.write_table(TABLE.replace_schema_metadata({key: text}), path)
    assert cg.ConsentSnapshot.read(path).as_of == AS_OF
    assert cg.ConsentSnapshot.read(path, as_of=AS_OF).as_of.tzinfo is UTC


def test_an_argument_says_it_too_in_any_zone() -> None:
    india = AS_OF.astimezone(timezone(timedelta(hours=5, minutes=30)))
    snapshot = cg.ConsentSnapshot.from_arrow(TABLE.replace_schema_metadata(AS_OF_KEY), as_of=india)
    assert (snapshot.as_of, snapshot.as_of.tzinfo) == (AS_OF, UTC)


# --- the digest -----------------------------------------------------------------------------


def recast(name: str, kind: pa.DataType) -> pa.Table:
    place = TABLE.schema.get_field_index(name)
    return TABLE.set_column(place, name, TABLE[name].cast(kind))


SAME: dict[str, pa.Table] = {
    "reversed": TABLE.take([3, 2, 1, 0]),
    "shuffled": TABLE.take([2, 0, 3, 1]),
    "chunked": pa.concat_tables([TABLE.slice(0, 1), TABLE.slice(1, 0), TABLE.slice(1)]),
    "sliced": pa.concat_tables([TABLE, TABLE]).combine_chunks().slice(2, 4),
    "columns reversed": TABLE.select(TABLE.column_names[::-1]),
    "other metadata": TABLE.replace_schema_metadata(AS_OF_KEY),
    "dictionary": recast("status", pa.dictionary(pa.int8(), pa.string())),
    "dictionary of purposes": recast("purpose", pa.dictionary(pa.int64(), pa.large_string())),
    "attribute in a dictionary": recast("tier", pa.dictionary(pa.int8(), pa.string())),
    "large_string": recast("tier", pa.large_string()),
    "string_view": recast("method", pa.string_view()),
    "int8": recast("subject_id", pa.int8()),
    "uint64": recast("subject_id", pa.uint64()),
    "narrow attribute": recast("score", pa.int16()),
    "seconds": recast("effective_from", pa.timestamp("s", "UTC")),
    "nanoseconds": recast("expires_at", pa.timestamp("ns", "UTC")),
    "attribute in milliseconds": recast("joined", pa.timestamp("ms", "UTC")),
    "another zone": recast("effective_from", pa.timestamp("us", "Asia/Kolkata")),
    "a column of nulls": TABLE.append_column("empty", pa.nulls(4, pa.string())),
    "a column of typeless nulls": TABLE.append_column("empty", pa.nulls(4)),
    "a nested column": TABLE.append_column("lists", pa.array([[1], [2], [3], [4]])),
    "without": TABLE.append_column("structs", pa.array([{"a": n} for n in range(4)])),
}  # fmt: skip


@pytest.mark.parametrize("name", SAME)
def test_the_digest_depends_on_the_records_alone(name: str) -> None:
    assert take(SAME[name]).digest == DIGEST


@pytest.mark.parametrize("name", ["expires_at", "notice_version", "public_since"])
def test_a_column_of_nulls_is_as_good_as_none(name: str) -> None:
    nulls = {
        name: pa.nulls(1, pa.string() if name == "notice_version" else pa.timestamp("us", "UTC"))
    }
    if name == "public_since":
        assert make_channels(**nulls).digest == make_channels().digest
    else:
        assert make_consent(**nulls).digest == make_consent().digest


def test_false_throughout_is_as_good_as_no_covers_prior() -> None:
    absent = make_consent(covers_prior=ABSENT)
    assert reasons(make_gate(absent), message_table(created_at=[BEGUN - MICRO])) == [
        ["predates_consent"]
    ]
    typeless = make_consent(covers_prior=pa.nulls(1))
    assert typeless.digest == absent.digest


CHANGED: dict[str, Any] = {
    "subject_id": 9,
    "purpose": "third",
    "status": "refused",
    "method": "explicit ",
    "effective_from": BEGUN + MICRO,
    "expires_at": WRITTEN,
    "covers_prior": False,
    "notice_version": "v2",
    "tier": "",
    "score": 2,
    "is_minor": None,
    "joined": None,
}


def test_the_digest_tells_a_null_from_false_since_rules_can() -> None:
    without = TABLE.set_column(6, "covers_prior", pa.array([True, False, False, False]))
    assert take(without).digest != DIGEST


@pytest.mark.parametrize("name", RECORDS)
def test_any_cell_changes_the_digest(name: str) -> None:
    changed = {**RECORDS, name: [CHANGED[name], *RECORDS[name][1:]]}
    assert make_consent(**changed).digest != DIGEST


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"tier": [None, ""]}, {"tier": ["", None]}),
        ({"tier": ["ab", "c"]}, {"tier": ["a", "bc"]}),
        ({"tier": ["a", "b"]}, {"tier": ["b", "a"]}),
        ({"tier": ["1", "2"]}, {"tier": [1, 2]}),
        ({"tier": [0, None]}, {"tier": [None, 0]}),
        ({"tier": [True, False]}, {"tier": [1, 0]}),
        ({"tier": "a"}, {"rank": "a"}),
        ({"subject_id": ["1", "2"]}, {"subject_id": [1, 2]}),
        ({"subject_id": [1, 2]}, {"subject_id": [1, 2, 3]}),
        ({"expires_at": [WRITTEN, None]}, {"expires_at": [None, WRITTEN]}),
        (
            {"joined": pa.array([1001, 1001]).cast(pa.timestamp("ns", "UTC"))},
            {"joined": pa.array([1, 1]).cast(pa.timestamp("us", "UTC"))},
        ),
    ],
)
def test_different_records_have_different_digests(
    one: dict[str, Any], other: dict[str, Any]
) -> None:
    base = {"subject_id": [1, 2]}
    assert make_consent(**{**base, **one}).digest != make_consent(**{**base, **other}).digest


def test_the_digest_holds_for_every_family_of_ids() -> None:
    uuids = [bytes([n] * 16) for n in range(4)]
    words = ["", "a", "ab", "x" * 300]
    for ids in (
        pa.array(uuids, pa.uuid()),
        pa.array(words),
        pa.array([2**64 - 1, 1, 2, 3], pa.uint64()),
    ):
        table = consent_table(subject_id=ids, tier=["a", "b", "c", "d"])
        assert take(table).digest == take(table.take([2, 0, 3, 1])).digest
        turned = table.set_column(0, "subject_id", table["subject_id"].take([1, 0, 2, 3]))
        assert take(table).digest != take(turned).digest
    assert (
        take(consent_table(subject_id=pa.array(uuids, pa.uuid()))).digest
        == take(consent_table(subject_id=pa.array(uuids, pa.binary(16)))).digest
    )


@pytest.mark.parametrize("name", CHANNELS)
def test_any_cell_changes_a_registrys_digest(name: str) -> None:
    value = WRITTEN + MICRO if name == "public_since" else "z"
    changed = {**CHANNELS, name: [value, *CHANNELS[name][1:]]}
    assert make_channels(**changed).digest != make_channels(**CHANNELS).digest


@pytest.mark.parametrize(
    ("ids", "digest"),
    [
        (pa.array([-3, 7, 0]), "189c561525650f69"),
        (pa.array(["", "ada", "x" * 300]), "98059970db61607c"),
        (pa.array([bytes([n] * 16) for n in range(3)], pa.uuid()), "6ec1673765ed0dd2"),
    ],
    ids=["integers", "texts", "uuids"],
)
def test_a_digest_is_the_same_in_every_release(ids: Any, digest: str) -> None:
    assert make_consent(subject_id=ids).digest[:16] == digest


def test_a_digest_is_the_same_for_ever() -> None:
    assert make_consent().digest == make_consent().digest
    assert len(DIGEST) == 64
    later = cg.ConsentSnapshot.from_arrow(TABLE, as_of=AS_OF + MICRO, source="elsewhere")
    assert later.digest == DIGEST


# --- translation and tidying ----------------------------------------------------------------


def test_other_vocabularies_are_translated() -> None:
    snapshot = take(
        consent_table(
            subject_id=[1, 2, 3], status=["opt_in", "opt_out", "given"], method="checkbox"
        ),
        status_map={"opt_in": "given", "opt_out": "withdrawn", "unused": "nonsense"},
        method_map={"checkbox": "explicit"},
    )
    assert snapshot.table["status"].to_pylist() == ["given", "withdrawn", "given"]
    found = reasons(make_gate(snapshot), message_table(sender_id=[1, 2, 3]))
    assert found == [[], ["consent_withdrawn"], []]
    plain = consent_table(subject_id=[1, 2, 3], status=["given", "withdrawn", "given"])
    assert snapshot.digest == take(plain).digest


def test_a_translation_into_no_status_is_refused() -> None:
    with pytest.raises(cg.UnknownStatusError, match="'yes'"):
        take(consent_table(), status_map={"given": "yes"})


def test_a_snapshot_is_tidied() -> None:
    table = take(SAME["chunked"]).table
    assert [column.num_chunks for column in table.columns] == [1] * table.num_columns
    words = pa.dictionary(pa.int32(), pa.large_string())
    assert table.schema.field("subject_id").type == pa.int64()
    assert {table.schema.field(n).type for n in ("purpose", "status", "method")} == {words}
    assert table["covers_prior"].to_pylist() == [True, None, False, None]


def test_nested_attributes_are_left_out_and_others_kept() -> None:
    more: dict[str, Any] = {
        "lists": pa.array([[1]]),
        "structs": pa.array([{"a": 1}]),
        "maps": pa.array([[("a", 1)]], pa.map_(pa.string(), pa.int8())),
        "uuids": pa.array([bytes(16)], pa.uuid()),
        "days": [BEGUN.date()],
        "floats": [1.5],
    }
    table = make_consent(**more).table
    known = ["subject_id", "purpose", "status", "method", "effective_from"]
    assert table.column_names == [*known, "days", "floats"]
    assert table["days"].to_pylist() == ["2025-01-01"]


def test_other_columns_of_a_registry_are_left_out() -> None:
    names = make_channels(title="secret", visibility="public").table.column_names
    assert names == ["channel_id", "visibility"]


def test_the_same_subject_may_have_several_purposes() -> None:
    assert make_consent(subject_id=[1, 1], purpose=["a", "b"]).table.num_rows == 2
    with pytest.raises(cg.DuplicateRecordError, match="1 rows of 2"):
        make_consent(subject_id=[1, 1], purpose=["a", "a"])
    for ids in (["x", "x"], pa.array([bytes(16)] * 2, pa.uuid())):
        with pytest.raises(cg.DuplicateRecordError, match="1 rows of 2"):
            make_consent(subject_id=ids)
        assert make_consent(subject_id=ids, purpose=["b", "a"]).table.num_rows == 2


@pytest.mark.parametrize("field", ['"effective_from": 5', '"covers_prior": 1'])
def test_a_number_in_json_is_neither_instant_nor_boolean(field: str, tmp_path: Path) -> None:
    path = tmp_path / "consent.jsonl"
    path.write_text(
        '{"subject_id": 1, "purpose": "p", "status": "refused", "method": "explicit", '
        + field
        + "}\n"
    )
    with pytest.raises(cg.UnreadableFileError, match=field.split('"')[1]):
        cg.ConsentSnapshot.read(path, as_of=datetime(2026, 1, 1, tzinfo=UTC))


# --- arguments ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("status_map", 3),
        ("status_map", "given"),
        ("status_map", [("yes", "given")]),
        ("status_map", {1: "given"}),
        ("status_map", {None: "unknown"}),
        ("status_map", {"yes": None}),
        ("method_map", {"click": b"explicit"}),
        ("source", 3),
        ("source", None),
        ("source", Path("x")),
    ],
)
def test_an_argument_of_a_wrong_type_is_named(argument: str, value: Any) -> None:
    with pytest.raises(TypeError, match=f"`{argument}` is of type"):
        take(TABLE, **{argument: value})


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("status_map", {"\ud800": "given"}),
        ("status_map", {"given": "\ud800"}),
        ("method_map", {"given": "\ud800"}),
        ("source", "a\udc00"),
    ],
)
def test_an_argument_that_is_no_text_is_named(argument: str, value: Any) -> None:
    with pytest.raises(cg.ConfigurationError, match=f"`{argument}` holds half of a surrogate"):
        take(TABLE, **{argument: value})


@pytest.mark.parametrize(
    ("as_of", "error", "message"),
    [
        ("2026-03-01T00:00:00Z", TypeError, "`as_of` is of type 'str'"),
        (0, TypeError, "`as_of` is of type 'int'"),
        (True, TypeError, "`as_of` is of type 'bool'"),
        (date(2026, 3, 1), TypeError, "`as_of` is of type 'date'"),
        (datetime(2026, 3, 1), cg.ConfigurationError, "`as_of` must be a datetime with a time"),
    ],
)
def test_an_instant_is_a_datetime_with_a_zone(
    as_of: Any, error: type[Exception], message: str
) -> None:
    for cls, table in ((cg.ConsentSnapshot, TABLE), (cg.ChannelRegistry, channel_table())):
        with pytest.raises(error, match=message):
            cls.from_arrow(table, as_of=as_of)


@pytest.mark.parametrize("cls", [cg.ConsentSnapshot, cg.ChannelRegistry])
def test_nothing_goes_round_the_checks(cls: Any) -> None:
    with pytest.raises(TypeError, match=f"A {cls.__name__} is made with `read` or `from_arrow`"):
        cls(TABLE, AS_OF, "x")
    with pytest.raises(TypeError, match="is made with"):
        replace(take(TABLE), table=TABLE.slice(0, 1))
    for path in (3, None, b"x"):
        with pytest.raises(TypeError, match="`path` is of type"):
            cls.read(path)


def test_snapshots_and_registries_survive_a_process_border() -> None:
    consent, registry = take(TABLE), make_channels()
    for data in (consent, registry):
        copies = [pickle.loads(pickle.dumps(data)), copy.copy(data), copy.deepcopy(data)]
        assert {repr(other) for other in copies} == {repr(data)}
        assert {other.digest for other in copies} == {data.digest}


def test_a_column_of_another_sort_is_told_from_a_file_without_names(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text("person,purpose\n1,p\n")
    with pytest.raises(cg.ColumnMissingError, match="has no column 'subject_id'; name the columns"):
        cg.ConsentSnapshot.read(path, as_of=AS_OF)
    with pytest.raises(cg.ColumnMissingError, match="has no column 'channel_id'; name the columns"):
        cg.ChannelRegistry.read(path, as_of=AS_OF)
    path.write_text("subject_id,purpose\n1,p\n")
    with pytest.raises(cg.ColumnMissingError, match=r"'status' .* are 'purpose', 'subject_id'"):
        cg.ConsentSnapshot.read(path, as_of=AS_OF)


@pytest.mark.parametrize("purposes", [["p"], ["p", "q"]])
def test_every_gate_of_a_snapshot_judges_alike(purposes: list[str]) -> None:
    """The first gate takes the table of rows over that the check for repeated records has made."""
    statuses = ["given", "refused", "given", "withdrawn"]
    records = [(person, purpose) for purpose in purposes for person in range(4)]
    consent = take(
        consent_table(
            subject_id=[person for person, _ in records],
            purpose=[purpose for _, purpose in records],
            status=[statuses[person] for person, _ in records],
        )
    )
    registry, messages = make_channels(), message_table(sender_id=list(range(5)))
    policy = cg.Policy(purposes=set(purposes), max_snapshot_age=None)
    pickled = pickle.dumps(consent)
    gates = [cg.Gate(policy, consent, registry, judged_at=NOW) for _ in range(3)]
    gates.append(cg.Gate(policy, pickle.loads(pickled), registry, judged_at=NOW))
    bits = [gate.decide(messages).reason_bits.to_pylist() for gate in gates]
    assert bits[0] == [0, 1 << 4, 0, 1 << 5, 1 << 3]
    assert bits[1:] == bits[:1] * 3
