"""One error reports all faults of a snapshot or registry: each with its class, count and rows."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

import consentgate as cg
from tests.build import ABSENT, AS_OF, BEGUN, channel_table, consent_table

NAIVE = datetime(2025, 6, 1)
ID = "person-4711"
LONG = ID.ljust(65_537, "x")


def fault_of(kind: Any, table: pa.Table, **options: Any) -> cg.ConsentGateError:
    """The error with which a table is refused."""
    with pytest.raises(cg.ConsentGateError, match=r"\.$") as caught:
        kind.from_arrow(table, **{"as_of": AS_OF, **options})
    assert "person-" not in str(caught.value)
    return caught.value


def fault_of_text(tmp_path: Path, name: str, content: str, **options: Any) -> cg.ConsentGateError:
    """The error with which a file of text is refused."""
    path = tmp_path / name
    path.write_text(content)
    with pytest.raises(cg.ConsentGateError, match=r"\.$") as caught:
        cg.ConsentSnapshot.read(path, **{"as_of": AS_OF, **options})
    assert "person-" not in str(caught.value)
    return caught.value


def assert_lists(error: cg.ConsentGateError, expected: list[tuple[type, str]]) -> None:
    """The error lists these faults, in this order, as its message and its attribute."""
    assert [type(fault) for fault in error.faults] == [kind for kind, _ in expected]
    for fault, (_, words) in zip(error.faults, expected, strict=True):
        assert words in str(fault)
    head, *lines = str(error).split("\n")
    assert head.endswith(f" has {len(expected)} faults:")
    assert lines == [f"- {fault}" for fault in error.faults]


def test_one_error_lists_every_fault_of_a_snapshot() -> None:
    table = consent_table(
        subject_id=[ID, None, ID, LONG, "person-1", "person-2"],
        purpose=["p", "p", "p", "p", "p", None],
        status=["given", "given", "granted", "opt out", None, "renewed"],
        effective_from=[BEGUN, None, BEGUN, BEGUN, None, None],
        expires_at=NAIVE,
        covers_prior="yes",
        notice_version=1,
        method=ABSENT,
    )
    table = table.append_column("tier", table["purpose"]).append_column("tier", table["purpose"])
    error = fault_of(cg.ConsentSnapshot, table, as_of=None)
    assert type(error) is cg.SnapshotError
    assert_lists(
        error,
        [
            (cg.NullValueError, "'status' is null in 1 of 6 rows (row 5, counted from 1)"),
            (cg.NullValueError, "'subject_id' is null in 1 of 6 rows (row 2, counted from 1)"),
            (cg.SnapshotError, "'subject_id' holds ids of up to 65537 bytes in 1 of 6 rows (row 4"),
            (cg.NullValueError, "'purpose' is null in 1 of 6 rows (row 6, counted from 1)"),
            (cg.ColumnMissingError, "Column 'method' (required) is missing"),
            (cg.NaiveTimestampError, "Column 'expires_at' is timestamp[us]"),
            (
                cg.UnknownStatusError,
                "2 words outside the vocabulary, 'granted', 'opt out', in 2 of",
            ),
            (cg.NullValueError, "'effective_from' is null in 2 rows"),
            (cg.ColumnTypeError, "Column 'covers_prior' is string"),
            (cg.ColumnTypeError, "Column 'notice_version' is int64"),
            (cg.ColumnAmbiguousError, "2 columns are named 'tier'"),
            (cg.DuplicateRecordError, "1 rows of 6 repeat the subject and purpose"),
            (cg.AsOfError, "does not say which instant"),
        ],
    )


def test_one_error_lists_every_fault_of_a_registry() -> None:
    table = channel_table(channel_id=["a", None, "a", LONG], visibility=1, public_since="person-1")
    error = fault_of(cg.ChannelRegistry, table, as_of=None)
    assert type(error) is cg.SnapshotError
    assert_lists(
        error,
        [
            (cg.NullValueError, "'channel_id' is null in 1 of 4 rows (row 2, counted from 1)"),
            (cg.SnapshotError, "'channel_id' holds ids of up to 65537 bytes in 1 of 4 rows (row 4"),
            (cg.ColumnTypeError, "Column 'visibility' is int64"),
            (cg.ColumnTypeError, "Column 'public_since' is string"),
            (cg.DuplicateRecordError, "1 rows of 4 repeat the channel of an earlier row (row 3,"),
            (cg.AsOfError, "The channel registry does not say which instant"),
        ],
    )


def test_a_single_fault_is_raised_as_it_is() -> None:
    error = fault_of(cg.ConsentSnapshot, consent_table(subject_id=[1, None]))
    assert (type(error), error.faults) == (cg.NullValueError, ())
    assert "\n" not in str(error)


def test_several_faults_of_one_class_keep_it() -> None:
    error = fault_of(cg.ConsentSnapshot, consent_table(subject_id=[1, None], purpose=["p", None]))
    assert type(error) is cg.NullValueError
    assert_lists(error, [(cg.NullValueError, "'subject_id'"), (cg.NullValueError, "'purpose'")])


def test_the_faults_survive_a_process_border() -> None:
    error = fault_of(cg.ConsentSnapshot, consent_table(subject_id=[1, None], status="yes"))
    copy = pickle.loads(pickle.dumps(error))
    assert (type(copy), str(copy)) == (cg.SnapshotError, str(error))
    assert [(type(f), str(f)) for f in copy.faults] == [(type(f), str(f)) for f in error.faults]


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        ([0], "in 1 of 2,000 rows (row 1, counted from 1)"),
        ([6, 1], "in 2 of 2,000 rows (rows 2, 7, counted from 1)"),
        (range(1_234, 1_239), "in 5 of 2,000 rows (rows 1,235, 1,236, 1,237, 1,238, 1,239, c"),
        (range(1_500), "in 1,500 of 2,000 rows (rows 1, 2, 3, 4, 5 and 1,495 more, counted"),
    ],
)
def test_a_fault_counts_its_rows_and_numbers_the_first_five(bad: Any, words: str) -> None:
    ids = [None if row in set(bad) else row for row in range(2_000)]
    assert words in str(fault_of(cg.ConsentSnapshot, consent_table(subject_id=ids)))


@pytest.mark.parametrize("size", [1, 3])
def test_rows_are_counted_over_chunks(size: int) -> None:
    table = consent_table(subject_id=[1, 2, 3, 4, None, 1], status=["given"] * 5 + ["odd"])
    chunks = [table.slice(start, size) for start in range(0, 6, size)]
    error = fault_of(cg.ConsentSnapshot, pa.concat_tables(chunks))
    assert [str(f).partition("(row ")[2][0] for f in error.faults] == ["5", "6", "6"]


def test_a_null_is_no_long_id_whatever_its_cell_holds() -> None:
    bits, offsets, data = pa.array([ID, LONG]).buffers()
    assert bits is None
    ids = pa.Array.from_buffers(pa.string(), 2, [pa.py_buffer(b"\x01"), offsets, data])
    error = fault_of(cg.ConsentSnapshot, consent_table(subject_id=ids))
    assert (type(error), error.faults) == (cg.NullValueError, ())


# --- files of text --------------------------------------------------------------------------

CSV = f"""\
subject_id,purpose,status,method,effective_from,expires_at,covers_prior
{ID},p,given,explicit,2025-01-01T00:00:00Z,,true
person-2,p,given,explicit,{ID},,person-9
person-3,p,given,explicit,2025-02-30T00:00:00Z,2025-01-01,TRUE
person-4,p,given,explicit,2025-01-01T00:00:00,2025-01-01T00:00:00+02:00,no
person-5,p,,explicit,,2025-01-01T00:00:00.123456789Z,
{ID},p,renewed,explicit,,,0
"""


def test_one_error_lists_every_fault_of_a_csv_file(tmp_path: Path) -> None:
    error = fault_of_text(tmp_path, "x.csv", CSV)
    assert type(error) is cg.SnapshotError
    assert_lists(
        error,
        [
            (cg.NullValueError, "'status' is null in 1 of 6 rows (row 5, counted from 1)"),
            (
                cg.UnreadableFileError,
                "x.csv' is not an ISO 8601 timestamp in 2 of 6 rows (rows 2, 3, c",
            ),
            (cg.NaiveTimestampError, "x.csv' has no offset from UTC in 1 of 6 rows (row 4, count"),
            (cg.UnreadableFileError, "'expires_at' of file"),
            (cg.NullValueError, "'effective_from' is null in 1 rows"),
            (cg.UnreadableFileError, "is neither true nor false in 2 of 6 rows (rows 2, 4, count"),
            (cg.DuplicateRecordError, "(row 6, counted from 1)"),
        ],
    )


ROW = (
    '{{"subject_id": {}, "purpose": "p", "status": "given", "method": "explicit", '
    '"effective_from": {}, "covers_prior": {}}}\n'
)


@pytest.mark.parametrize(
    ("starts", "flags", "words"),
    [
        ([5, 6], ["true", "false"], ["is not an ISO 8601 timestamp in 2 of 2 rows"]),
        ([5, '"x"'], ["true", "false"], ["malformed"]),
        (
            ["null", 5],
            [1, 0],
            ["timestamp in 1 of 2 rows (row 2,", "in 1 rows", "neither true nor"],
        ),
        (
            [{"a": 1}, {"a": 2}],
            ['"true"', '"x"'],
            ["timestamp in 2 of", "neither true nor false i"],
        ),
    ],
)
def test_values_of_json_that_are_no_instants_or_booleans_are_counted(
    starts: list[Any], flags: list[Any], words: list[str], tmp_path: Path
) -> None:
    values = zip(range(2), (str(s).replace("'", '"') for s in starts), flags, strict=True)
    error = fault_of_text(tmp_path, "x.jsonl", "".join(ROW.format(*row) for row in values))
    for word in words:
        assert word in str(error)
    assert len(error.faults) == (len(words) if len(words) > 1 else 0)


def test_a_status_of_json_that_is_a_number_is_of_a_wrong_type(tmp_path: Path) -> None:
    line = '{"subject_id": 1, "purpose": "p", "status": 5, "method": true}\n'
    error = fault_of_text(tmp_path, "x.jsonl", line)
    assert type(error) is cg.ColumnTypeError
    assert "Column 'status' is int64 but must be text" in str(error)
    assert error.faults == ()  # a method of true is a word


def instants_with(count: int) -> Iterator[tuple[str, bool]]:
    """Cells of a column, and whether each one is a timestamp."""
    good = ("2025-01-01T00:00:00Z", "2025-01-01 00:00:00.5+02:00", "2025-01-01T00:00Z", "")
    bad = ("2025-02-29T00:00:00Z", "yesterday", "2025-01-01", "01/02/2025", "2025-13-01T00:00:00Z")
    for row in range(count):
        yield (bad[row % 5], False) if row % 7 == 3 else (good[row % 4], True)


def test_every_cell_that_is_no_timestamp_is_counted(tmp_path: Path) -> None:
    cells = list(instants_with(5_000))
    lines = [f"{row},p,refused,explicit,{cell}\n" for row, (cell, _) in enumerate(cells)]
    header = "subject_id,purpose,status,method,expires_at\n"
    bad = [row + 1 for row, (_, is_good) in enumerate(cells) if not is_good]
    error = fault_of_text(tmp_path, "x.csv", header + "".join(lines))
    assert type(error) is cg.UnreadableFileError
    numbers = ", ".join(map(str, bad[:5]))
    assert f"in {len(bad)} of 5,000 rows (rows {numbers} and {len(bad) - 5} more" in str(error)


def test_nanoseconds_and_distant_years_do_not_fit_into_one_column(tmp_path: Path) -> None:
    rows = ["1,p,refused,explicit,9999-01-01T00:00:00Z", "2,p,refused,explicit,2025-01-01T00:00:0"]
    content = "subject_id,purpose,status,method,expires_at\n" + "\n".join(rows)
    error = fault_of_text(tmp_path, "x.csv", content + "0.000000001Z\n")
    assert "in 1 of 2 rows (row 2, counted from 1)" in str(error)
    (tmp_path / "x.csv").write_text(content + "0Z\n")
    assert cg.ConsentSnapshot.read(tmp_path / "x.csv", as_of=AS_OF).table.num_rows == 2


# --- any table ------------------------------------------------------------------------------

RECORD = st.tuples(
    st.sampled_from(["a", "b", "c", None, LONG]),
    st.sampled_from(["p", "q", None]),
    st.sampled_from(["given", "renewed", "refused", "yes", "", None]),
    st.sampled_from([BEGUN, None]),
)


def rows_at_fault(records: list[tuple[Any, ...]]) -> dict[str, list[int]]:
    """The rows of each fault, counted from 1, by what the message about it says."""
    keys = [record[:2] for record in records]
    faults: dict[str, Callable[[Any, int], bool]] = {
        "'subject_id' is null": lambda row, _: row[0] is None,
        "bytes": lambda row, _: row[0] == LONG,
        "'purpose' is null": lambda row, _: row[1] is None,
        "'status' is null": lambda row, _: row[2] is None,
        "outside the vocabulary": lambda row, _: row[2] in ("yes", ""),
        "'effective_from' is null": lambda row, _: row[2] in ("given", "renewed") and not row[3],
        "repeat": lambda row, at: None not in row[:2] and row[:2] in keys[:at],
    }
    rows = {
        words: [at + 1 for at, record in enumerate(records) if is_bad(record, at)]
        for words, is_bad in faults.items()
    }
    return {words: bad for words, bad in rows.items() if bad}


@given(st.lists(RECORD, max_size=8))
def test_the_faults_of_any_table_are_those_that_its_rows_have(records: list[Any]) -> None:
    names = ("subject_id", "purpose", "status", "effective_from")
    kinds = (pa.string(), pa.string(), pa.string(), pa.timestamp("us", "UTC"))
    columns = {
        name: pa.array([record[at] for record in records], kind)
        for at, (name, kind) in enumerate(zip(names, kinds, strict=True))
    }
    table = consent_table(**columns, method=pa.array(["explicit"] * len(records), pa.string()))
    expected = rows_at_fault(records)
    if not expected:
        assert cg.ConsentSnapshot.from_arrow(table, as_of=AS_OF).table.num_rows == len(records)
        return
    error = fault_of(cg.ConsentSnapshot, table)
    messages = [str(fault) for fault in error.faults or (error,)]
    assert len(messages) == len(expected)
    for words, rows in expected.items():
        (message,) = (text for text in messages if words in text)
        assert ", ".join(map(str, rows[:5])) in message.partition("(row")[2]
        assert f" {len(rows)} " in f" {message}"
