"""Record ids are only needed where rows are recorded, which is said before any row comes out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import consentgate as cg
from tests.build import make_consent, make_gate, message_table

GATE = make_gate(make_consent(subject_id=[1, 2], status=["given", "withdrawn"]))
TABLE = message_table(sender_id=[1, 2, 1, None])
BITS = [0, 1 << 5, 0, 1 << 2]
UNFIT: dict[str, tuple[pa.Table, type[cg.ConsentGateError], str]] = {
    "absent": (TABLE.drop("message_id"), cg.ColumnMissingError, r"'message_id' \(record_id\)"),
    "twice": (
        TABLE.append_column("message_id", TABLE["message_id"]),
        cg.ColumnAmbiguousError,
        r"2 columns are named 'message_id' \(record_id\)",
    ),
    "no ids": (
        TABLE.drop("message_id").append_column("message_id", pa.array([0.5] * 4)),
        cg.ColumnTypeError,
        r"'message_id' \(record_id\) is double",
    ),
}
EVERY_UNFIT = pytest.mark.parametrize(("table", "error", "words"), UNFIT.values(), ids=UNFIT)


@EVERY_UNFIT
def test_deciding_and_annotating_need_no_record_ids(
    table: pa.Table, error: Any, words: str
) -> None:
    del error, words
    assert GATE.decide(table).reason_bits.to_pylist() == BITS
    annotated = GATE.annotate(table)
    assert annotated.drop(["reason", "reason_bits"]).equals(table)
    assert annotated["reason_bits"].to_pylist() == BITS


@EVERY_UNFIT
def test_a_stream_without_a_ledger_needs_no_record_ids(
    table: pa.Table, error: Any, words: str
) -> None:
    del error, words
    admitted = GATE.stream([table]).read_all()
    assert admitted.column("sender_id").to_pylist() == [1, 1]


@EVERY_UNFIT
@pytest.mark.parametrize(
    "call",
    [
        lambda table: GATE.filter(table),
        lambda table: GATE.split(table, GATE.decide(table)),
        lambda table: GATE.explain(table, 0),
    ],
    ids=["filter", "split", "explain"],
)
def test_what_records_rows_needs_record_ids(
    call: Callable[[pa.Table], Any],
    table: pa.Table,
    error: type[cg.ConsentGateError],
    words: str,
) -> None:
    with pytest.raises(error, match=words):
        call(table)


@EVERY_UNFIT
def test_a_stream_with_a_ledger_says_at_once_that_it_needs_record_ids(
    table: pa.Table, error: type[cg.ConsentGateError], words: str, tmp_path: Path
) -> None:
    with pytest.raises(error, match=words):
        GATE.stream([table], ledger=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_run_says_that_it_needs_record_ids_before_it_writes(tmp_path: Path) -> None:
    for name in ("absent", "no ids"):  # Parquet files of a column that is there twice are not read
        table, error, words = UNFIT[name]
        pq.write_table(table, tmp_path / "in.parquet")
        with pytest.raises(error, match=words):
            cg.run(GATE, tmp_path / "in.parquet", tmp_path / "out")
        assert not list((tmp_path / "out").rglob("*.parquet"))


def test_a_column_that_is_judged_is_still_needed() -> None:
    for name in ("sender_id", "channel_id", "created_at"):
        with pytest.raises(cg.ColumnMissingError, match=f"'{name}'"):
            GATE.decide(TABLE.drop(name))
