"""Streams of admitted rows, and the ledgers of those excluded."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import nanoarrow as na
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import consentgate as cg
from tests.build import NOW, make_consent, make_gate, message_table
from tests.gate_data import ADMITTED, GATE, TABLE, as_ipc, batches, empty, make_reader, read_part

STREAMS: list[tuple[str, Callable[[], Any]]] = [
    ("table", lambda: TABLE),
    ("reader", make_reader),
    ("generator of batches", batches),
    ("list of tables", lambda: [TABLE.slice(0, 2), TABLE.slice(2, 0), TABLE.slice(2)]),
    ("Polars", lambda: pl.DataFrame(TABLE)),
    ("Polars frames", lambda: (pl.DataFrame(TABLE.slice(at, 1)) for at in range(5))),
    ("nanoarrow stream", lambda: na.c_array_stream(TABLE)),
    ("nanoarrow arrays", lambda: (na.c_array(batch) for batch in batches())),
    ("zero-row batches", lambda: [empty(), TABLE, empty()]),
]


@pytest.mark.parametrize("make", [pytest.param(make, id=name) for name, make in STREAMS])
def test_a_stream_gives_the_admitted_rows_and_keeps_a_ledger(
    make: Callable[[], Any], tmp_path: Path
) -> None:
    reader = GATE.stream(make(), ledger=tmp_path / "new" / "ledger")
    assert isinstance(reader, pa.RecordBatchReader)
    assert reader.schema.names == TABLE.schema.names
    assert reader.read_all().to_pylist() == TABLE.take(ADMITTED).to_pylist()
    assert_is_ledger(read_part(tmp_path / "new" / "ledger"))


def assert_is_ledger(ledger: pa.Table) -> None:
    """It holds exactly what `filter` excludes, evidence included."""
    excluded = GATE.filter(TABLE)[1]
    assert ledger.to_pylist() == excluded.to_pylist()
    assert ledger.schema.metadata == excluded.schema.metadata
    assert ledger.schema.types == excluded.schema.types


def test_a_stream_keeps_schema_and_metadata() -> None:
    reader = GATE.stream(batches())
    assert reader.schema.equals(TABLE.schema, check_metadata=True)
    assert reader.read_all().equals(TABLE.take(ADMITTED), check_metadata=True)


def test_a_stream_without_a_ledger_writes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    GATE.stream(TABLE).read_all()
    assert list(tmp_path.iterdir()) == []


def test_a_ledger_is_whole_when_the_reader_is_closed_early(tmp_path: Path) -> None:
    read = []

    def endless() -> Iterator[pa.RecordBatch]:
        while True:
            read.append(1)
            yield TABLE.combine_chunks().to_batches()[0]

    reader = GATE.stream(endless(), ledger=tmp_path)
    reader.read_next_batch()
    reader.read_next_batch()
    reader.close()
    del reader
    assert read_part(tmp_path)["row"].to_pylist() == [1, 2, 3, 6, 7, 8]
    assert len(read) == 2


def test_a_ledger_is_whole_when_the_reader_is_closed_before_its_first_batch(
    tmp_path: Path,
) -> None:
    reader = GATE.stream([TABLE], ledger=tmp_path)
    reader.close()
    del reader
    assert read_part(tmp_path).num_rows == 0


def test_no_ledger_has_its_name_before_it_is_whole(tmp_path: Path) -> None:
    reader = GATE.stream([TABLE, TABLE], ledger=tmp_path)
    reader.read_next_batch()
    assert [path.suffix for path in tmp_path.iterdir()] == [".partial"]
    reader.read_all()
    assert [path.suffix for path in tmp_path.iterdir()] == [".parquet"]


def test_several_streams_share_a_ledger(tmp_path: Path) -> None:
    for _ in range(3):
        GATE.stream(TABLE, ledger=tmp_path).read_all()
    parts = [pq.ParquetFile(path).read() for path in tmp_path.iterdir()]
    assert [part["record_id"].to_pylist() for part in parts] == [[1, 2, 3]] * 3


def test_a_ledger_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(cg.OutputError, match="cannot be written"):
        GATE.stream(TABLE, ledger=tmp_path / "file")


@pytest.mark.parametrize(
    "change",
    [
        lambda table: table.drop("body"),
        lambda table: table.append_column("more", table["body"]),
        lambda table: table.rename_columns([*table.column_names[:-1], "id"]),
        lambda table: table.set_column(0, "sender_id", table["sender_id"].cast(pa.int32())),
        lambda table: table.select(table.column_names[::-1]),
    ],
    ids=["fewer", "more", "renamed", "retyped", "reordered"],
)
def test_a_batch_of_another_schema_ends_the_stream(change: Callable[[Any], Any]) -> None:
    reader = GATE.stream([TABLE, change(TABLE)])
    assert reader.read_next_batch().num_rows == 2
    with pytest.raises(cg.SchemaMismatchError, match=r"another schema than the first"):
        reader.read_next_batch()


def test_a_schema_mismatch_names_the_columns_that_differ() -> None:
    other = TABLE.drop("body").set_column(0, "sender_id", TABLE["sender_id"].cast(pa.int32()))
    words = "column 'sender_id' is int32 instead of int64, column 'body' is missing"
    with pytest.raises(cg.SchemaMismatchError, match=words):
        GATE.stream([TABLE, other]).read_all()


def test_a_batchs_metadata_may_differ() -> None:
    other = TABLE.replace_schema_metadata({"owner": "others"})
    assert GATE.stream([TABLE, other]).read_all().num_rows == 4


def test_a_streams_schema_is_checked_at_once(tmp_path: Path) -> None:
    with pytest.raises(cg.ColumnMissingError, match="'sender_id'"):
        GATE.stream([TABLE.drop("sender_id")], ledger=tmp_path)
    with pytest.raises(cg.StaleSnapshotError, match="consent snapshot"):
        GATE.stream([TABLE], ledger=tmp_path, judged_at=NOW + timedelta(days=99))
    assert list(tmp_path.iterdir()) == []


def test_a_ledger_holds_no_text_and_no_subject(tmp_path: Path) -> None:
    secret = "secret-4711-0815"
    consent = make_consent(subject_id=[secret], status="refused")
    table = message_table(sender_id=[secret], body=secret)
    make_gate(consent).stream(table, ledger=tmp_path).read_all()
    ledger = read_part(tmp_path)
    assert ledger.num_rows == 1
    assert secret.encode() not in as_ipc(ledger)


def test_a_polars_categorical_streams() -> None:
    frame = pl.DataFrame(TABLE).with_columns(mood=pl.lit("fine").cast(pl.Categorical))
    admitted = GATE.stream(frame, judged_at=NOW).read_all()
    assert admitted.num_rows == GATE.filter(frame, judged_at=NOW)[0].num_rows > 0
