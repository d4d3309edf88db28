"""Opening Parquet files, and reading the rows that their footers promise."""

from collections.abc import Iterator, Sequence
from itertools import compress
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from consentgate.arrow import quoted, refuse_odd_names
from consentgate.errors import UnreadableFileError
from consentgate.storage.parquet_footer import ColumnChunk, column_chunks, read_footer

_BUFFERS_BYTES = 32 << 20
LEAST_BUFFER, _MOST_BUFFER = 8 << 10, 1 << 20
_OPTIONS = {"coerce_int96_timestamp_unit": "us", "page_checksum_verification": True}


class ParquetFile(pq.ParquetFile):  # type: ignore[misc]  # pyarrow has no types
    """A Parquet file that is open for reading.

    Call its `chunks`, and never `metadata.row_group(…).column(…)`; `parquet_footer` says why.

    Attributes:
        origin: the path or file that it was opened from.
    """

    def __init__(self, source: Any, *, chunks: "_Chunks | None" = None, **options: Any) -> None:
        super().__init__(source, **_OPTIONS, **options)
        self.origin = source
        self._chunks = chunks or _Chunks(source)

    def again(self, columns: int) -> "ParquetFile":
        """The same file, open a second time, for another thread.

        Args:
            columns: how many columns will be read together.
        """
        options = {"metadata": self.metadata, "chunks": self._chunks, **_buffers(columns)}
        return ParquetFile(self.origin, **options)

    def leaves(self) -> list[Any]:
        """The schemas of the leaf columns."""
        return [self.schema.column(at) for at in range(len(self.schema))]

    def chunks(self, group: int) -> list[ColumnChunk]:
        """The column chunks of a row group, one for each leaf column.

        Raises:
            pyarrow.ArrowInvalid: The footer is damaged.
        """
        return self._chunks.of(group, self.metadata.num_columns)


class _Chunks:
    """The column chunks of a file, which are read when they are needed, from several threads."""

    def __init__(self, origin: Any) -> None:
        self._origin, self._lock = origin, Lock()
        self._known: list[list[ColumnChunk]] = []
        self._more: Iterator[list[ColumnChunk]] | None = None

    def of(self, group: int, columns: int) -> list[ColumnChunk]:
        """The chunks of a row group, of which the file's schema says how many there are."""
        with self._lock:
            if self._more is None:
                self._more = column_chunks(read_footer(self._origin))
            while len(self._known) <= group:
                chunks = next(self._more, [])
                if len(chunks) != columns:
                    raise pa.ArrowInvalid("a row group that does not have every column")
                self._known.append(chunks)
            return self._known[group]


def open_parquet(
    source: Any, *, columns: int | None = None, dictionaries: Sequence[str] = ()
) -> ParquetFile:
    """A Parquet file, open for reading as a stream even if its row groups are large.

    Timestamps of the deprecated type INT96, which Spark writes, are read at microseconds, as Spark
    means them. As nanoseconds, those before 1677 and after 2262 would wrap round. See
    `refuse_inexact_timestamps`.

    Args:
        columns: how many columns will be read together; None: the whole file is read at once.
        dictionaries: columns of strings that are to be read dictionary-encoded.

    Raises:
        pyarrow.ArrowException, OSError: The footer shows that this is not a sound Parquet file.
    """
    options = {} if columns is None else _buffers(columns)
    file = ParquetFile(source, read_dictionary=list(dictionaries), **options)
    refuse_odd_names(file.schema_arrow)
    group_rows(file.metadata)
    return file


def _buffers(columns: int) -> dict[str, Any]:
    buffer = min(_MOST_BUFFER, max(LEAST_BUFFER, _BUFFERS_BYTES // max(columns, 1)))
    return {"pre_buffer": False, "buffer_size": buffer}


def group_rows(metadata: pq.FileMetaData) -> tuple[int, ...]:
    """The number of rows that the footer promises for each row group.

    Raises:
        pyarrow.ArrowInvalid: They do not add up to the number of rows of the file.
    """
    groups = tuple(metadata.row_group(at).num_rows for at in range(metadata.num_row_groups))
    if sum(groups) != metadata.num_rows or min(groups, default=0) < 0:
        raise pa.ArrowInvalid("row groups that do not add up")
    return groups


def promised_batches(
    file: ParquetFile,
    batch_rows: int,
    *,
    groups: Sequence[int] | None = None,
    columns: Sequence[str] | None = None,
    use_threads: bool = False,
) -> Iterator[pa.RecordBatch]:
    """The rows in order, in valid batches, with an error if the footer promises another number.

    Args:
        batch_rows: how many rows a batch has at most.
        groups: numbers of the row groups; None: all.
        columns: names of the columns; None: all.
        use_threads: whether several threads decode columns.

    Raises:
        pyarrow.ArrowInvalid: There are more or fewer rows than the footer promises, or a batch
            contradicts itself.
    """
    rows = group_rows(file.metadata)
    numbers = range(len(rows)) if groups is None else groups
    _refuse_other_values(file, numbers, rows)
    left = sum(rows[number] for number in numbers)
    batches = file.iter_batches(
        batch_rows, row_groups=list(numbers), columns=columns, use_threads=use_threads
    )
    for batch in batches:
        batch.validate(full=True)
        left -= batch.num_rows
        yield batch
    if left:
        raise pa.ArrowInvalid("another number of rows than the footer promises")


def _refuse_other_values(file: ParquetFile, groups: Sequence[int], rows: Sequence[int]) -> None:
    """Raise `pyarrow.ArrowInvalid` if a row group has fewer or more values than rows in a column.

    This is only checked for flat columns. Without it, pyarrow would leave out extra values.
    """
    are_flat = [leaf.max_repetition_level == 0 for leaf in file.leaves()]
    for group in groups:
        counts = compress((chunk.num_values for chunk in file.chunks(group)), are_flat)
        if any(count != rows[group] for count in counts):
            raise pa.ArrowInvalid("another number of values than rows")


def has_old_timestamps(file: ParquetFile) -> bool:
    """Whether a file has timestamps of type INT96."""
    return bool(_old_timestamps(file))


def _old_timestamps(file: ParquetFile) -> list[Any]:
    return [leaf for leaf in file.leaves() if leaf.physical_type == "INT96"]


def refuse_inexact_timestamps(file: ParquetFile, path: Path) -> None:
    """Raise an error unless microseconds hold every INT96 timestamp of a file exactly.

    Args:
        path: the path of the file, which is opened again to read the timestamps at other units.

    Raises:
        UnreadableFileError: Some timestamps are finer, or so far from 1970 that they wrap round; or
            some are nested within other columns, where they are not checked.
    """
    old = _old_timestamps(file)
    if not old:
        return
    names = [leaf.path for leaf in old]
    files = [pq.ParquetFile(path, coerce_int96_timestamp_unit=unit) for unit in ("ns", "us", "ms")]
    is_exact = all(leaf.max_repetition_level == 0 and "." not in leaf.path for leaf in old)
    if is_exact:
        streams = [each.iter_batches(columns=names, use_threads=False) for each in files]
        is_exact = all(_agree(*batches) for batches in zip(*streams, strict=True))
    for each in files:
        each.close()
    if not is_exact:
        raise UnreadableFileError(
            f"File '{path}' holds INT96 timestamps that microseconds cannot hold exactly, or "
            f"within other columns; cast the columns {quoted(names)} to timestamps of INT64."
        )


def _agree(nanos: pa.RecordBatch, micros: pa.RecordBatch, millis: pa.RecordBatch) -> bool:
    """Whether three readings of the same instants agree.

    A reading that wrapped round differs from the others.
    """
    for fine, exact, coarse in zip(nanos.columns, micros.columns, millis.columns, strict=True):
        numbers = [c.drop_null().cast(pa.int64()).to_numpy() for c in (fine, exact, coarse)]
        if not np.array_equal(numbers[1] * 1000, numbers[0]):  # both wrap round alike
            return False
        if not np.array_equal(numbers[1] // 1000, numbers[2]):
            return False
    return True
