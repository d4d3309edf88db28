"""Columns that are read late: the right rows, and no more of them than it takes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from consentgate.storage import parquet_batches
from consentgate.storage.parquet_batches import BatchReader, Span, group_spans
from consentgate.storage.parquet_late import LateReader
from consentgate.storage.parquet_reading import ParquetFile, open_parquet


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ParquetFile]:
    """A file of three spans of 1,000 rows, which are decoded 64 rows at a time."""
    monkeypatch.setattr(parquet_batches, "BATCH_BYTES", 10_000)
    monkeypatch.setattr(parquet_batches, "_STEP_ROWS", 64)
    table = pa.table(
        {
            "place": range(3_000),
            "text": [f"text {n}" for n in range(3_000)],
            "list": [[n] * (n % 3) for n in range(3_000)],
        }
    )
    pq.write_table(table, tmp_path / "x.parquet", row_group_size=1_000)
    with open_parquet(tmp_path / "x.parquet", columns=2) as opened:
        assert len(list(group_spans(opened.metadata))) == 3
        yield opened


@pytest.mark.parametrize("seed", range(5))
def test_the_rows_that_are_taken_are_the_right_ones(seed: int, file: ParquetFile) -> None:
    random = np.random.default_rng(seed)
    late, whole = LateReader(BatchReader(file, ["text", "list"])), file.read(["text", "list"])
    for number, span in enumerate(group_spans(file.metadata)):
        late.begin(span)
        place = 0
        while place < span.rows:
            rows = min(int(random.integers(1, 300)), span.rows - place)
            if random.random() < 0.6:
                late.skip(rows)
            else:
                taken = pa.Table.from_batches(late.take(rows))
                assert taken.equals(whole.slice(1_000 * number + place, rows))
            place += rows
    late.finish()


def test_nothing_is_decoded_before_or_after_what_is_taken(
    file: ParquetFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded: list[int] = []
    steps = BatchReader.steps

    def counted(self: BatchReader, span: Span) -> Iterator[pa.RecordBatch]:
        for step in steps(self, span):
            decoded.append(step.num_rows)
            yield step

    monkeypatch.setattr(BatchReader, "steps", counted)
    late = LateReader(BatchReader(file, ["text"]))
    first, second, third = group_spans(file.metadata)
    late.begin(first)
    late.skip(1_000)
    late.begin(second)
    assert decoded == []
    late.skip(100)
    assert sum(batch.num_rows for batch in late.take(50)) == 50
    late.skip(850)
    assert decoded == [64, 64, 64]
    late.begin(third)
    late.finish()
    assert decoded == [64, 64, 64]


def test_more_rows_than_there_are_cannot_be_taken(file: ParquetFile) -> None:
    late = LateReader(BatchReader(file, ["text"]))
    late.begin(next(group_spans(file.metadata)))
    late.skip(990)
    with pytest.raises(pa.ArrowInvalid, match="differing lengths"):
        list(late.take(11))


def test_rows_that_are_left_over_are_an_error(file: ParquetFile) -> None:
    late = LateReader(BatchReader(file, ["text"]))
    late.begin(next(group_spans(file.metadata)))
    assert sum(batch.num_rows for batch in late.take(999)) == 999
    with pytest.raises(pa.ArrowInvalid, match="differing lengths"):
        late.finish()


def test_a_file_that_is_open_twice_is_read_by_its_first_footer(file: ParquetFile) -> None:
    with file.again(1) as again:
        assert again.metadata.equals(file.metadata)
        assert again.chunks(2) is file.chunks(2)
        assert again.read(["text"]).equals(file.read(["text"]))
