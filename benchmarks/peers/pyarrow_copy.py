"""Plain copies by pyarrow, which read, filter by a mask that is ready in memory, and write.

These things make them fast: a batch is a whole row group, so that few calls are made; and the next
batch is read while the one before is written, or several files are copied at once.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from itertools import accumulate
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.dataset as pads
import pyarrow.parquet as pq

from benchmarks.corpus import CHUNK_ROWS
from benchmarks.process import cores
from benchmarks.stage import Runner, Stage, parquet_files

__all__ = ["prepare"]

_Write = Callable[[pq.ParquetWriter, Iterable[pa.Table], int], None]

_LARGE_ROWS = 4 * CHUNK_ROWS
_BUFFERED = {"pre_buffer": False, "buffer_size": 1 << 20}


def prepare(stage: Stage) -> Mapping[str, Runner]:
    """Contestants that hold the mask in memory."""
    mask = pq.read_table(stage.answer, columns=["admitted"])["admitted"].combine_chunks()
    return {
        "plain copy, pyarrow": partial(_copy_in_turn, _Copy(mask)),
        "plain copy, pyarrow, not pre-buffered": partial(
            _copy_in_turn, _Copy(mask, options=_BUFFERED)
        ),
        "plain copy, pyarrow, 1 M rows at a time": partial(_copy_in_turn, _Copy(mask, _LARGE_ROWS)),
        "plain copy, pyarrow, two threads": partial(_copy_side_by_side, _Copy(mask)),
        "plain copy, pyarrow, dataset": partial(_copy_dataset, mask),
    }


@dataclass(frozen=True)
class _Copy:
    """How a file is copied.

    Attributes:
        mask: whether each row of all files is admitted.
        batch_rows: how many rows are read, and at most written, together.
        options: the arguments with which the file is opened.
    """

    mask: pa.BooleanArray
    batch_rows: int = CHUNK_ROWS
    options: Mapping[str, Any] = field(default_factory=dict)

    def copy(self, path: Path, first_row: int, output: Path, write: _Write) -> None:
        """Copy one file."""
        with (
            pq.ParquetFile(path, **self.options) as source,
            pq.ParquetWriter(output / path.name, source.schema_arrow, compression="zstd") as sink,
        ):
            batches = source.iter_batches(self.batch_rows)
            tables = (pa.table(batch) for batch in _filtered(batches, self.mask, first_row))
            write(sink, tables, self.batch_rows)


def _copy_in_turn(copy: _Copy, source: Path, output: Path) -> None:
    for path, first_row in _with_first_rows(source):
        copy.copy(path, first_row, output, _write)


def _copy_side_by_side(copy: _Copy, source: Path, output: Path) -> None:
    """Copy two files at a time. If there is one file, read a batch while another is written."""
    files = _with_first_rows(source)
    if len(files) == 1:
        copy.copy(*files[0], output, _write_meanwhile)
        return
    with ThreadPoolExecutor(cores()) as pool:
        under_way = [pool.submit(copy.copy, *file, output, _write) for file in files]
    for each in under_way:
        each.result()


def _copy_dataset(mask: pa.BooleanArray, source: Path, output: Path) -> None:
    dataset = pads.dataset(parquet_files(source))
    batches = dataset.scanner(batch_size=CHUNK_ROWS).to_batches()
    parquet = pads.ParquetFileFormat()
    pads.write_dataset(
        _filtered(batches, mask, 0),
        output,
        schema=dataset.schema,
        format=parquet,
        file_options=parquet.make_write_options(compression="zstd"),
        max_rows_per_group=CHUNK_ROWS,
        min_rows_per_group=CHUNK_ROWS // 2,
    )


def _with_first_rows(source: Path) -> Sequence[tuple[Path, int]]:
    files = parquet_files(source)
    rows = (pq.read_metadata(path).num_rows for path in files)
    return list(zip(files, accumulate(rows, initial=0), strict=False))


def _filtered(
    batches: Iterable[pa.RecordBatch], mask: pa.BooleanArray, first_row: int
) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        yield batch.filter(mask.slice(first_row, batch.num_rows))
        first_row += batch.num_rows


def _write(sink: pq.ParquetWriter, tables: Iterable[pa.Table], group_rows: int) -> None:
    for table in tables:
        sink.write_table(table, row_group_size=group_rows)


def _write_meanwhile(sink: pq.ParquetWriter, tables: Iterable[pa.Table], group_rows: int) -> None:
    """Write each table in another thread while the next one is read."""
    under_way: Future[None] | None = None
    with ThreadPoolExecutor(1) as pool:
        for table in tables:
            if under_way is not None:
                under_way.result()
            under_way = pool.submit(sink.write_table, table, row_group_size=group_rows)
    if under_way is not None:
        under_way.result()
