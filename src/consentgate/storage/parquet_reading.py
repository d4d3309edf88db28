"""Reading Parquet files in batches of bounded size."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from functools import partial
from itertools import compress, islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from consentgate.arrow import quoted, refuse_odd_names
from consentgate.errors import UnreadableFileError
from consentgate.storage.durable import write_faults_named
from consentgate.storage.parquet_footer import ColumnChunk, column_chunks, read_footer

BATCH_BYTES = 16 << 20
"""About how many bytes of memory a batch takes.

Enough that the fixed cost of a judgement does not count, and few enough that freed memory is used
again.
"""
_MOST_ROWS = 262_144
_PROBE_ROWS = 64
_STEP_ROWS, _UNKNOWN_STEP_ROWS, _STEP_BYTES = 4096, 512, 64 << 20
"""Limits on what is decoded at once, before it is joined into a batch: the most rows; the most rows
if the longest values are unknown; and the most bytes if they are known.

A small file can hold very many rows whose values are long and repeat, and its first rows need not
be like the others. The longest values of the dictionaries tell how large a row can be.
"""
_BUFFERS_BYTES = 32 << 20
_SIDE_BY_SIDE = 64
_LEAST_BUFFER, _MOST_BUFFER = 8 << 10, 1 << 20
_DECODERS_BYTES = 192 << 20
_MOST_HELD = 2 << 20
"""Bytes of one column that decoding holds: a page and a dictionary, each of about 1 MiB."""


class ParquetFile(pq.ParquetFile):  # type: ignore[misc]  # pyarrow has no types
    """A Parquet file that is open for reading.

    Call its `chunks`, and never `metadata.row_group(…).column(…)`; `parquet_footer` says why.

    Attributes:
        origin: the path or file that it was opened from.
    """

    def __init__(self, source: Any, **options: Any) -> None:
        super().__init__(source, **options)
        self.origin = source
        self._chunks: list[list[ColumnChunk]] = []
        self._more_chunks: Iterator[list[ColumnChunk]] | None = None

    def chunks(self, group: int) -> list[ColumnChunk]:
        """The column chunks of a row group, one for each leaf column.

        Raises:
            pyarrow.ArrowInvalid: The footer is damaged.
        """
        if self._more_chunks is None:
            self._more_chunks = column_chunks(read_footer(self.origin))
        while len(self._chunks) <= group:
            chunks = next(self._more_chunks, [])
            if len(chunks) != self.metadata.num_columns:
                raise pa.ArrowInvalid("a row group that does not have every column")
            self._chunks.append(chunks)
        return self._chunks[group]


def open_parquet(source: Any, *, columns: int | None = None) -> ParquetFile:
    """A Parquet file, open for reading as a stream even if its row groups are large.

    Timestamps of the deprecated type INT96, which Spark writes, are read at microseconds, as Spark
    means them. As nanoseconds, those before 1677 and after 2262 would wrap round. See
    `refuse_inexact_timestamps`.

    Args:
        columns: how many columns will be read together; None: the whole file is read at once.

    Raises:
        pyarrow.ArrowException, OSError: The footer shows that this is not a sound Parquet file.
    """
    options: dict[str, Any] = {
        "coerce_int96_timestamp_unit": "us",
        "page_checksum_verification": True,
    }
    if columns is not None:
        buffer = min(_MOST_BUFFER, max(_LEAST_BUFFER, _BUFFERS_BYTES // max(columns, 1)))
        options |= {"pre_buffer": False, "buffer_size": buffer}
    file = ParquetFile(source, **options)
    refuse_odd_names(file.schema_arrow)
    group_rows(file.metadata)
    return file


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
    leaves = [file.schema.column(at) for at in range(len(file.schema))]
    are_flat = [leaf.max_repetition_level == 0 for leaf in leaves]
    for group in groups:
        counts = compress((chunk.num_values for chunk in file.chunks(group)), are_flat)
        if any(count != rows[group] for count in counts):
            raise pa.ArrowInvalid("another number of values than rows")


def has_old_timestamps(file: ParquetFile) -> bool:
    """Whether a file has timestamps of type INT96."""
    return bool(_old_timestamps(file))


def _old_timestamps(file: ParquetFile) -> list[Any]:
    leaves = [file.schema.column(at) for at in range(len(file.schema))]
    return [leaf for leaf in leaves if leaf.physical_type == "INT96"]


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


def read_batches(file: ParquetFile, scratch: Path | None = None) -> Iterator[pa.RecordBatch]:
    """A file's rows in order, in batches of about BATCH_BYTES; the same batches every time.

    Args:
        scratch: a folder for temporary files, which are needed if a file has more columns than can
            be decoded together; None: the system's temporary folder.
    """
    decoded = _decoded_row_bytes(file)
    for groups, rows, size in _spans(file.metadata):
        batch_rows = _rows_within(BATCH_BYTES, max(decoded, size / rows))
        step_rows = min(batch_rows, _step_rows(file, groups))
        for batch in _joined(_read_groups(file, groups, step_rows, scratch), batch_rows):
            decoded = max(decoded, batch.nbytes / max(batch.num_rows, 1))
            yield batch


def _step_rows(file: ParquetFile, groups: list[int]) -> int:
    """How many rows can be decoded at once, even if they hold the dictionaries' longest values."""
    leaves = [file.schema.column(at) for at in range(len(file.schema))]
    texts = [leaf for leaf in leaves if leaf.physical_type == "BYTE_ARRAY"]
    if any("." in leaf.path or leaf.max_repetition_level for leaf in texts):
        return _UNKNOWN_STEP_ROWS  # a row may have no value, and then shows no dictionary
    width = max(_longest_row_bytes(file, group, texts) for group in groups)
    return max(1, min(_STEP_ROWS, _STEP_BYTES // max(width, 1)))


def _longest_row_bytes(file: ParquetFile, group: int, texts: Sequence[Any]) -> int:
    """The bytes of a row that holds the longest texts of a row group's dictionaries."""
    width = 0
    names = [leaf.path for leaf in texts]
    for start in range(0, len(names), _SIDE_BY_SIDE):
        some = names[start : start + _SIDE_BY_SIDE]
        options = {"metadata": file.metadata, "read_dictionary": some, "buffer_size": _LEAST_BUFFER}
        reader = pq.ParquetFile(file.origin, pre_buffer=False, **options)
        batches = reader.iter_batches(1, row_groups=[group], columns=some, use_threads=False)
        for row in islice(batches, 1):
            width += sum(map(_longest_bytes, row.columns))
    return width


def _longest_bytes(column: pa.Array) -> int:
    """The length of the longest text or bytes in a column's dictionary, or a guess."""
    if not pa.types.is_dictionary(column.type):
        return _STEP_BYTES // _UNKNOWN_STEP_ROWS
    longest = pc.max(pc.binary_length(column.dictionary))
    return int(longest.as_py() or 0)


def _joined(steps: Iterator[pa.RecordBatch], batch_rows: int) -> Iterator[pa.RecordBatch]:
    """The same rows, in batches of at most `batch_rows` rows and, if possible, BATCH_BYTES."""
    parts: list[pa.RecordBatch] = []
    rows = size = 0
    for step in steps:
        if parts and (rows + step.num_rows > batch_rows or size + step.nbytes > BATCH_BYTES):
            yield from _concatenated(parts)
            parts, rows, size = [], 0, 0
        parts.append(step)
        rows, size = rows + step.num_rows, size + step.nbytes
    if parts:
        yield from _concatenated(parts)


def _concatenated(parts: list[pa.RecordBatch]) -> list[pa.RecordBatch]:
    """The batches joined into one. Layouts that pyarrow cannot join stay as they are."""
    try:
        return [pa.concat_batches(parts)] if len(parts) > 1 else parts
    except pa.ArrowException:
        return parts


def _rows_within(size: int, row_bytes: float) -> int:
    return max(1, min(_MOST_ROWS, int(size / max(row_bytes, 1))))


def _decoded_row_bytes(file: ParquetFile) -> float:
    """The bytes of memory that one of the first rows takes; 0 for a small file.

    The size of the file does not tell this, because repeated values take few bytes there.
    """
    if file.metadata.num_rows <= _PROBE_ROWS:
        return 0.0
    width = 0.0
    for columns in _slabs(file, 0):
        for probe in islice(file.iter_batches(_PROBE_ROWS, columns=columns, use_threads=False), 1):
            width += probe.nbytes / max(probe.num_rows, 1)
    return width


def _read_groups(
    file: ParquetFile, groups: list[int], batch_rows: int, scratch: Path | None
) -> Iterator[pa.RecordBatch]:
    largest = max(groups, key=lambda group: file.metadata.row_group(group).total_byte_size)
    slabs = _slabs(file, largest)
    batches = partial(promised_batches, file, batch_rows, groups=groups)
    if len(slabs) == 1:
        yield from batches()
        return
    with TemporaryDirectory(dir=scratch) as folder, ExitStack() as stack:
        paths = [Path(folder, str(number)) for number in range(len(slabs))]
        for path, columns in zip(paths, slabs, strict=True):
            _spill(path, batches(columns=columns))
        readers = [stack.enter_context(pa.ipc.open_stream(path)) for path in paths]
        for parts in _side_by_side(readers):
            arrays = [column for part in parts for column in part.columns]
            yield pa.RecordBatch.from_arrays(arrays, schema=file.schema_arrow)


def _side_by_side(streams: Sequence[Iterator[pa.RecordBatch]]) -> Iterator[list[pa.RecordBatch]]:
    """Batches of the same rows from each stream. The streams' own batches may end at other rows."""
    current: list[pa.RecordBatch | None] = [None] * len(streams)
    while True:
        for at, batch in enumerate(current):
            if batch is None or not batch.num_rows:
                current[at] = next((b for b in streams[at] if b.num_rows), None)
        parts = [batch for batch in current if batch is not None]
        if not parts:
            return
        if len(parts) < len(current):
            raise pa.ArrowInvalid("columns of differing lengths")
        rows = min(part.num_rows for part in parts)
        yield [part.slice(0, rows) for part in parts]
        current = [part.slice(rows) for part in parts]


def _slabs(file: ParquetFile, group: int) -> list[list[str] | None]:
    """The columns of a row group, divided into lists, each of which can be decoded at once.

    Decoding holds a page and a dictionary of every column of a list in memory. `[None]` means that
    all columns are decoded at once. This is also so if names are ambiguous.
    """
    metadata, names = file.metadata, file.schema_arrow.names
    if not metadata.num_row_groups or _is_narrow(metadata):
        return [None]
    if 0 <= metadata.row_group(group).total_byte_size <= _DECODERS_BYTES:
        return [None]
    if len(set(names)) < len(names) or "." in "".join(names):
        return [None]
    held = dict.fromkeys(names, 0)
    for chunk in file.chunks(group):
        name = chunk.path.partition(".")[0]
        held[name] = held.get(name, 0) + min(chunk.uncompressed_bytes, _MOST_HELD)
    if held.keys() != set(names):
        raise pa.ArrowInvalid("columns of other names than the schema's")
    slabs: list[list[str] | None] = []
    room = 0
    for name, size in held.items():
        if not slabs or room < size:
            slabs.append([])
            room = _DECODERS_BYTES
        slab = slabs[-1]
        assert slab is not None
        slab.append(name)
        room -= size
    return slabs if len(slabs) > 1 else [None]


def _is_narrow(metadata: pq.FileMetaData) -> bool:
    """Whether all columns can be decoded at once, whatever they hold."""
    return bool(metadata.num_columns * _MOST_HELD <= _DECODERS_BYTES)


def _spill(path: Path, batches: Iterator[pa.RecordBatch]) -> None:
    options = pa.ipc.IpcWriteOptions(compression="lz4")
    with ExitStack() as stack:
        writer = None
        for batch in batches:
            with write_faults_named(f"Temporary file '{path}'"):
                if writer is None:
                    sink = stack.enter_context(pa.OSFile(str(path), "wb"))
                    writer = pa.ipc.new_stream(sink, batch.schema, options=options)
                    stack.enter_context(writer)
                writer.write_batch(batch)
    if writer is None:
        raise pa.ArrowInvalid("no rows where the file says that there are some")


def _spans(metadata: pq.FileMetaData) -> Iterator[tuple[list[int], int, int]]:
    """Neighbouring row groups that are read together: their numbers, rows and bytes."""
    groups: list[int] = []
    rows = size = 0
    for number in range(metadata.num_row_groups):
        group = metadata.row_group(number)
        groups.append(number)
        rows, size = rows + group.num_rows, size + group.total_byte_size
        if rows and (size >= BATCH_BYTES or rows >= _MOST_ROWS):
            yield groups, rows, size
            groups, rows, size = [], 0, 0
    if rows:
        yield groups, rows, size
