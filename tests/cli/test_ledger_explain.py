"""`consentgate ledger explain`: the rows that have an id."""

from __future__ import annotations

from pathlib import Path
from uuid import UUID

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import consentgate as cg
from tests.build import make_gate, message_table
from tests.cli.ledgers import (
    NAMES,
    Command,
    assert_error,
    rows_of,
    run_ids,
    run_mixed,
    stream_mixed,
)
from tests.run_data import mixed_gate, mixed_messages

pytestmark = pytest.mark.usefixtures("small_batches")


def test_explain_names_file_row_reasons_and_judge(ledger: Command) -> None:
    manifest = run_mixed()
    row = next(row for row in rows_of(NAMES[1]) if len(row["reasons"]) > 1)
    lines = ledger("explain", "out", row["record_id"]).out.splitlines()
    assert lines[:2] == [
        f"record {row['record_id']}",
        f"file {NAMES[1]}, row {row['row']}: excluded, because",
    ]
    assert [line.split(":")[0] for line in lines[2:4]] == [f"  - {code}" for code in row["reasons"]]
    assert lines[4].startswith("  judged at:         2026-03-02T00:00:00+00:00, by consentgate")
    assert lines[5] == f"  policy:            {manifest.identity.policy_digest}"
    assert [line.rpartition(", from ")[2] for line in lines[6:]] == ["'Arrow data'"] * 2


def test_explain_names_every_row_that_has_the_id(ledger: Command) -> None:
    Path("in").mkdir()
    for name in ("a", "b"):
        table = message_table(message_id=[7, 8, 7], channel_id=[11, 11, 12])
        pq.write_table(table, f"in/{name}.parquet")
    cg.run(make_gate(), "in", "out")
    lines = ledger("explain", "out", "7").out.splitlines()
    assert [line for line in lines if line.startswith("file")] == [
        f"file {name}.parquet, row {row}: excluded, because"
        for name in ("a", "b")
        for row in (0, 2)
    ]


@pytest.mark.parametrize(
    ("ids", "admitted", "excluded"),
    [
        (pa.array([5, 6], pa.int16()), "5", "6"),
        (pa.array([5, 2**64 - 1], pa.uint64()), "5", str(2**64 - 1)),
        (pa.array([5, -6]), "5", "-6"),
        (pa.array(["5", "007"]), "5", "007"),
        (pa.array(["5", "007"], pa.string_view()), "5", "007"),
        (pa.array(["5", "007"]).dictionary_encode(), "5", "007"),
        (pa.array([bytes(16), b"x" * 16], pa.binary(16)), str(UUID(int=0)), "78" * 16),
        (pa.array([bytes(16), b"x" * 16], pa.uuid()), str(UUID(int=0)), "78" * 16),
    ],
    ids=lambda value: str(value.type) if isinstance(value, pa.Array) else None,
)
def test_explain_finds_ids_of_every_family(
    ledger: Command, ids: pa.Array, admitted: str, excluded: str
) -> None:
    run_ids(ids)
    assert "file a.parquet, row 1: excluded, because" in ledger("explain", "out", excluded).out
    assert ledger("explain", "out", admitted).out == (
        f"record {admitted}\nadmitted, in file a.parquet, row 0 of its admitted rows\n"
    )
    shown = ledger("show", "out").lines[1][0]
    assert shown == (str(UUID(excluded)) if len(excluded) == 32 else excluded)
    assert str(ledger("show", "out", "--json").rows[0]["record_id"]) == shown


def test_a_null_id_is_shown_as_null(ledger: Command) -> None:
    run_ids(pa.array([1, None]))
    assert ledger("show", "out").lines[1][0] == "null"
    assert ledger("show", "out", "--json").rows[0]["record_id"] is None


def test_explain_counts_admitted_rows_over_batches(ledger: Command) -> None:
    run_mixed()
    admitted = pq.ParquetFile(f"out/{NAMES[2]}").read()
    place = admitted.num_rows - 1
    record_id = admitted["message_id"][place].as_py()
    line = f"admitted, in file {NAMES[2]}, row {place} of its admitted rows"
    assert ledger("explain", "out", record_id).out.splitlines()[1:] == [line]


@pytest.mark.parametrize("record_id", ["123456789", "-5", str(2**70)])
def test_explain_of_an_id_that_is_nowhere_exits_with_1(ledger: Command, record_id: str) -> None:
    run_mixed()
    outcome = ledger("explain", "out", record_id)
    assert_error(outcome, "record_not_found", "Neither the ledger nor the admitted files")
    assert record_id not in outcome.err.replace(str(Path.cwd()), "")


def test_explain_cannot_tell_who_was_admitted_without_a_manifest(ledger: Command) -> None:
    run_ids(pa.array([5, 6]))
    Path("out/_consentgate/manifest.json").unlink()
    assert "row 1: excluded, because" in ledger("explain", "out", "6").out
    outcome = ledger("explain", "out", "5")
    assert_error(outcome, "record_not_found", "was admitted, or was not judged")


def test_explain_reads_a_streams_ledger(ledger: Command) -> None:
    stream_mixed(0, 100)
    table = mixed_gate().filter(mixed_messages(200))[1]
    outcome = ledger("explain", "streamed", table["record_id"][-1].as_py())
    assert f"row {table['row'][-1].as_py() - 100}: excluded, because" in outcome.out
    assert "consent snapshot:  as of 2026-03-01T00:00:00+00:00\n" in outcome.out
    assert "judged at" not in outcome.out


def test_explain_of_an_id_of_another_family_exits_with_2(ledger: Command) -> None:
    run_mixed()
    outcome = ledger("explain", "out", "x")
    assert outcome.code == 2
    assert "'RECORD_ID'" in outcome.err
    assert "give an integer" in outcome.err
