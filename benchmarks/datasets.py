"""Messages with texts, written as Parquet files of every shape with little memory.

The large files repeat the same arrays many times. A page of such a file looks like any other page.
"""

from io import BytesIO
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.corpus import CHUNK_ROWS, SEED, Size, make_messages
from benchmarks.ids import IdKind, make_ids
from benchmarks.texts import make_texts

__all__ = [
    "CHANNELS",
    "SUBJECTS",
    "WIDE_COLUMNS",
    "make_written",
    "write_files",
    "write_groups",
    "write_large",
    "write_many",
    "write_wide",
]

SUBJECTS = 10_000
CHANNELS = 500
_GROUP_ROWS = 10
_FILE_ROWS = 100
WIDE_COLUMNS = 2_000
_DISTINCT_COLUMNS = 20


def make_written(size: Size) -> pa.Table:
    """Messages with string ids and, as the last column, a text."""
    messages = make_messages(IdKind.STRING, size)
    texts = [
        make_texts(np.random.default_rng([SEED, 5, number]), len(chunk))
        for number, chunk in enumerate(messages["message_id"].chunks)
    ]
    return messages.append_column("text", pa.chunked_array(texts, pa.string()))


def write_files(messages: pa.Table, folder: Path, files: int) -> None:
    """Write the messages into so many files with about the same number of rows."""
    folder.mkdir()
    rows = -(-messages.num_rows // files)
    for number in range(files):
        _write(messages.slice(number * rows, rows), folder / f"part-{number:05}.parquet")


def write_large(path: Path, size_bytes: int) -> None:
    """Write a file of at least so many bytes, and hardly more, with one row group."""
    chunk = make_written(_few(CHUNK_ROWS))
    first, second = (_written_bytes(_repeated(chunk, repeats)) for repeats in (1, 2))
    repeats = 1 + max(0, -(-(size_bytes - first) // (second - first)))
    messages = _repeated(chunk, repeats)
    _write(messages, path, messages.num_rows)


def write_groups(path: Path, groups: int) -> None:
    """Write a file of so many row groups of ten rows."""
    _write(make_written(_few(groups * _GROUP_ROWS)), path, _GROUP_ROWS)


def write_many(folder: Path, files: int) -> None:
    """Write so many files of a hundred rows."""
    write_files(make_written(_few(files * _FILE_ROWS)), folder, files)


def write_wide(path: Path, rows: int) -> None:
    """Write a file of 2,000 columns, in one row group."""
    messages = make_written(_few(rows)).combine_chunks()
    random = np.random.default_rng([SEED, 6])
    spare = [_spare_column(random, rows, number) for number in range(_DISTINCT_COLUMNS)]
    for number in range(WIDE_COLUMNS - messages.num_columns):
        messages = messages.append_column(f"spare_{number}", spare[number % len(spare)])
    _write(messages, path, rows)


def _few(messages: int) -> Size:
    return Size(messages, SUBJECTS, CHANNELS)


def _repeated(chunk: pa.Table, repeats: int) -> pa.Table:
    """A table that repeats the same memory many times. Only the message ids differ."""
    columns = {name: pa.chunked_array(chunk[name].chunks * repeats) for name in chunk.column_names}
    rows = len(chunk)
    firsts = range(0, repeats * rows, rows)
    ids = pa.chunked_array([np.arange(first, first + rows) for first in firsts])
    return pa.table(columns | {"message_id": ids})


def _spare_column(random: np.random.Generator, rows: int, number: int) -> pa.Array:
    """A column of integers or of strings of about 30 bytes, in turn."""
    drawn = random.integers(0, 1 << 40, rows)
    return pa.array(drawn) if number % 2 else make_ids(IdKind.STRING, drawn)


def _written_bytes(table: pa.Table) -> int:
    sink = BytesIO()
    pq.write_table(table, sink, compression="zstd", row_group_size=len(table))
    return sink.tell()


def _write(table: pa.Table, path: Path, group_rows: int = CHUNK_ROWS) -> None:
    pq.write_table(table, path, compression="zstd", row_group_size=group_rows)
