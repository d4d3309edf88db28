"""Reading Parquet files in batches of bounded size."""

from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from itertools import compress, islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from consentgate.storage.durable import write_faults_named
from consentgate.storage.parquet_footer import ColumnChunk
from consentgate.storage.parquet_reading import LEAST_BUFFER, ParquetFile, promised_batches

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
_SIDE_BY_SIDE = 64
_DECODERS_BYTES = 192 << 20
_MOST_HELD = 2 << 20
"""Bytes of one column that decoding holds: a page and a dictionary, each of about 1 MiB."""


class Span(NamedTuple):
    """Neighbouring row groups that are read together.

    Attributes:
        groups: their numbers.
        rows: how many rows they have; at least one.
    """

    groups: list[int]
    rows: int


def group_spans(metadata: pq.FileMetaData) -> Iterator[Span]:
    """Divide a file into spans, in order. Small row groups share a span."""
    groups: list[int] = []
    rows = size = 0
    for number in range(metadata.num_row_groups):
        group = metadata.row_group(number)
        groups.append(number)
        rows, size = rows + group.num_rows, size + group.total_byte_size
        if rows and (size >= BATCH_BYTES or rows >= _MOST_ROWS):
            yield Span(groups, rows)
            groups, rows, size = [], 0, 0
    if rows:
        yield Span(groups, rows)


def read_batches(file: ParquetFile, scratch: Path | None = None) -> Iterator[pa.RecordBatch]:
    """A file's rows in order, in batches of about BATCH_BYTES; the same batches every time.

    Args:
        scratch: a folder for temporary files, which are needed if a file has more columns than can
            be decoded together; None: the system's temporary folder.
    """
    reader = BatchReader(file, scratch=scratch)
    for span in group_spans(file.metadata):
        yield from reader.batches(span)


class BatchReader:
    """Reads columns of a Parquet file span by span, in the file's order.

    Args:
        file: the file, of which no other thread reads meanwhile.
        columns: the names of the columns; None: all.
        scratch: as in `read_batches`.
    """

    def __init__(
        self,
        file: ParquetFile,
        columns: Sequence[str] | None = None,
        *,
        scratch: Path | None = None,
    ) -> None:
        self._file, self._scratch = file, scratch
        self._columns = None if columns is None else list(columns)
        leaves, wanted = file.leaves(), frozenset(columns or ())
        schema = file.schema_arrow  # kept, because pyarrow makes it anew each time
        fields = [field for field in schema if columns is None or field.name in wanted]
        self._schema = pa.schema(fields, schema.metadata)
        self._are_read = [columns is None or _top(leaf.path) in wanted for leaf in leaves]
        self._leaves = list(compress(leaves, self._are_read))
        self._row_bytes: float | None = None

    def batches(self, span: Span, most_rows: int = _MOST_ROWS) -> Iterator[pa.RecordBatch]:
        """The rows of a span, in batches of about BATCH_BYTES, and of at most so many rows."""
        batch_rows = min(most_rows, self._batch_rows(span))
        for batch in _joined(self._steps(span, batch_rows), batch_rows):
            self._row_bytes = max(self._row_bytes or 0, batch.nbytes / max(batch.num_rows, 1))
            yield batch

    def steps(self, span: Span) -> Generator[pa.RecordBatch]:
        """The rows of a span, in batches as small as they are decoded."""
        return self._steps(span, self._batch_rows(span))

    def _batch_rows(self, span: Span) -> int:
        if self._row_bytes is None:
            self._row_bytes = self._probed_row_bytes(span.groups[0])
        chunks = (chunk for group in span.groups for chunk in self._chunks(group))
        size = sum(chunk.uncompressed_bytes for chunk in chunks)
        return _rows_within(BATCH_BYTES, max(self._row_bytes, size / span.rows))

    def _steps(self, span: Span, batch_rows: int) -> Generator[pa.RecordBatch]:
        step_rows = min(batch_rows, self._step_rows(span))
        largest = max(span.groups, key=lambda at: self._file.metadata.row_group(at).total_byte_size)
        slabs = self._slabs(largest)
        batches = partial(promised_batches, self._file, step_rows, groups=span.groups)
        if len(slabs) == 1:
            yield from batches(columns=slabs[0])
            return
        with TemporaryDirectory(dir=self._scratch) as folder, ExitStack() as stack:
            paths = [Path(folder, str(number)) for number in range(len(slabs))]
            for path, columns in zip(paths, slabs, strict=True):
                _spill(path, batches(columns=columns))
            readers = [stack.enter_context(pa.ipc.open_stream(path)) for path in paths]
            for pieces in _side_by_side(readers):
                arrays = [column for piece in pieces for column in piece.columns]
                yield pa.RecordBatch.from_arrays(arrays, schema=self._schema)

    def _chunks(self, group: int) -> Iterator[ColumnChunk]:
        """The column chunks of the columns that are read."""
        return compress(self._file.chunks(group), self._are_read)

    def _probed_row_bytes(self, group: int) -> float:
        """The bytes of memory that one of a row group's first rows takes; 0 for a small file.

        The size of the file does not tell this, because repeated values take few bytes there.
        """
        if self._file.metadata.num_rows <= _PROBE_ROWS:
            return 0.0
        width = 0.0
        options = {"row_groups": [group], "use_threads": False}
        for columns in self._slabs(group):
            probes = self._file.iter_batches(_PROBE_ROWS, columns=columns, **options)
            for probe in islice(probes, 1):
                width += probe.nbytes / max(probe.num_rows, 1)
        return width

    def _step_rows(self, span: Span) -> int:
        """How many rows can be decoded at once, even if they hold the longest values."""
        texts = [leaf for leaf in self._leaves if leaf.physical_type == "BYTE_ARRAY"]
        if any("." in leaf.path or leaf.max_repetition_level for leaf in texts):
            return _UNKNOWN_STEP_ROWS  # a row may have no value, and then shows no dictionary
        if span.rows <= _UNKNOWN_STEP_ROWS:
            return span.rows
        names = [leaf.path for leaf in texts]
        width = max(_longest_row_bytes(self._file, group, names) for group in span.groups)
        return max(1, min(_STEP_ROWS, _STEP_BYTES // max(width, 1)))

    def _slabs(self, group: int) -> list[list[str] | None]:
        """The columns of a row group, divided into lists, each of which can be decoded at once.

        Decoding holds a page and a dictionary of every column of a list in memory. If all columns
        are decoded at once, there is one list, or None for all of the file's columns. This is also
        so if names are ambiguous.
        """
        metadata = self._file.metadata
        if not metadata.num_row_groups or len(self._leaves) * _MOST_HELD <= _DECODERS_BYTES:
            return [self._columns]
        if 0 <= metadata.row_group(group).total_byte_size <= _DECODERS_BYTES:
            return [self._columns]
        if not has_plain_names(self._schema):
            return [self._columns]
        held = dict.fromkeys(self._schema.names, 0)
        for chunk in self._chunks(group):
            name = _top(chunk.path)
            if name not in held:
                raise pa.ArrowInvalid("columns of other names than the schema's")
            held[name] += min(chunk.uncompressed_bytes, _MOST_HELD)
        return _divided(held)


def has_plain_names(schema: pa.Schema) -> bool:
    """Whether each column of a file can be read by its name alone."""
    return len(set(schema.names)) == len(schema.names) and "." not in "".join(schema.names)


def _top(path: str) -> str:
    """The name of the column that a leaf belongs to, if the column's name has no dot."""
    return path.partition(".")[0]


def _divided(held: Mapping[str, int]) -> list[list[str] | None]:
    """Names, in order, divided into lists whose columns hold at most _DECODERS_BYTES together."""
    slabs: list[list[str]] = []
    room = 0
    for name, size in held.items():
        if not slabs or room < size:
            slabs.append([])
            room = _DECODERS_BYTES
        slabs[-1].append(name)
        room -= size
    return [*slabs]


def _longest_row_bytes(file: ParquetFile, group: int, texts: Sequence[str]) -> int:
    """The bytes of a row that holds the longest texts of a row group's dictionaries."""
    width = 0
    for start in range(0, len(texts), _SIDE_BY_SIDE):
        some = texts[start : start + _SIDE_BY_SIDE]
        options = {"metadata": file.metadata, "read_dictionary": some, "buffer_size": LEAST_BUFFER}
        with pq.ParquetFile(file.origin, pre_buffer=False, **options) as reader:
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
    pieces: list[pa.RecordBatch] = []
    rows = size = 0
    for step in steps:
        if pieces and (rows + step.num_rows > batch_rows or size + step.nbytes > BATCH_BYTES):
            yield from _concatenated(pieces)
            pieces, rows, size = [], 0, 0
        pieces.append(step)
        rows, size = rows + step.num_rows, size + step.nbytes
    if pieces:
        yield from _concatenated(pieces)


def _concatenated(pieces: list[pa.RecordBatch]) -> list[pa.RecordBatch]:
    """The batches joined into one. Layouts that pyarrow cannot join stay as they are."""
    try:
        return [pa.concat_batches(pieces)] if len(pieces) > 1 else pieces
    except pa.ArrowException:
        return pieces


def _rows_within(size: int, row_bytes: float) -> int:
    return max(1, min(_MOST_ROWS, int(size / max(row_bytes, 1))))


def _side_by_side(streams: Sequence[Iterator[pa.RecordBatch]]) -> Iterator[list[pa.RecordBatch]]:
    """Batches of the same rows from each stream. The streams' own batches may end at other rows."""
    current: list[pa.RecordBatch | None] = [None] * len(streams)
    while True:
        for at, batch in enumerate(current):
            if batch is None or not batch.num_rows:
                current[at] = next((b for b in streams[at] if b.num_rows), None)
        pieces = [batch for batch in current if batch is not None]
        if not pieces:
            return
        if len(pieces) < len(current):
            raise pa.ArrowInvalid("columns of differing lengths")
        rows = min(piece.num_rows for piece in pieces)
        yield [piece.slice(0, rows) for piece in pieces]
        current = [piece.slice(rows) for piece in pieces]


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
