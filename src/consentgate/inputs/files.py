"""Reads tables from files, and refuses files that are not whole."""

from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.json

from consentgate.arrow import for_each, is_text, refuse_odd_names, row_blocks, thread_count
from consentgate.errors import UnreadableFileError
from consentgate.storage import (
    check_regular,
    ipc_file_batches,
    ipc_schema,
    ipc_stream_batches,
    open_parquet,
    open_regular,
    promised_batches,
    refuse_deep_json,
    refuse_inexact_timestamps,
    why,
)

_MAGIC = {b"PAR1": "parquet", b"ARRO": "ipc file", b"\xff\xff\xff\xff": "ipc stream"}
_SUFFIXES = {".csv": "csv", ".jsonl": "json lines", ".ndjson": "json lines"}
_BATCH_ROWS = 65_536


def read_table(
    path: str | Path, as_text: Collection[str], id_column: str, words: Collection[str] = ()
) -> pa.Table:
    """Read a whole file as a table: Parquet, Arrow IPC (file or stream), CSV or JSON lines.

    CSV and JSON lack types. The columns `as_text` of a CSV file stay text. Another column becomes
    integers or booleans only if every value is written in canonical form (`7`, not `007`; `true`).
    In JSON, text stays text, and integers in `id_column` stay exact. An empty CSV field without
    quotes is null. JSON may be nested 64 levels deep.

    Args:
        path: the path of the file.
        as_text: columns that stay text in a CSV file.
        id_column: the column whose integers stay exact in JSON.
        words: columns of few different words. Parquet gives them dictionary-encoded, which is
            faster than to decode them and to encode them again.

    Raises:
        UnreadableFileError: The file is missing, truncated, corrupt, nested too deeply or of
            another format, is not a regular file, or holds another number of rows than it promises.
    """
    path = Path(path)
    form = _format_of(path)
    with read_faults_named(path):
        if form == "csv":
            table = _read_csv(path)
        elif form == "json lines":
            refuse_deep_json(path)
            table = _read_json_lines(path, id_column)
        elif form == "parquet":
            return _read_parquet(path, words)
        else:
            file = MessageFile.open(path)
            return pa.Table.from_batches(file.batches(), file.schema)
        refuse_odd_names(table.schema)
        table.validate(full=True)
    return _with_plain_types(table, as_text) if form == "csv" else table


def is_text_file(path: Path) -> bool:
    """Whether a file is CSV or JSON lines, whose columns have no types.

    Raises:
        UnreadableFileError: The file cannot be read, or is of an unknown format.
    """
    return _format_of(path) in _SUFFIXES.values()


@dataclass(frozen=True)
class MessageFile:
    """A Parquet or Arrow IPC file of messages, read a batch at a time.

    Attributes:
        path: the path of the file.
        schema: the Arrow schema of the file.
        rows: how many rows the file has; None if the whole file has to be read to know.
    """

    path: Path
    schema: pa.Schema
    rows: int | None

    @classmethod
    def open(cls, path: str | Path) -> "MessageFile":
        """Read a file's schema and its number of rows. No row is read.

        Raises:
            UnreadableFileError: The file is missing, truncated, corrupt or of another format.
        """
        path = Path(path)
        form = _format_of(path)
        with read_faults_named(path):
            if form == "parquet":
                with open_parquet(path) as file:
                    return cls(path, file.schema_arrow, file.metadata.num_rows)
            if form in _SUFFIXES.values():
                raise _unknown_format(path, "Parquet or Arrow IPC")
            return cls(path, ipc_schema(path, is_stream=form == "ipc stream"), None)

    def batches(self) -> Iterator[pa.RecordBatch]:
        """The file's rows in order, in batches of bounded size.

        Raises:
            UnreadableFileError: The file turns out to be corrupt, or to hold another number of rows
                than it promises.
        """
        form = _format_of(self.path)
        with read_faults_named(self.path):
            if form == "parquet":
                with open_parquet(self.path) as file:
                    refuse_inexact_timestamps(file, self.path)
                    yield from promised_batches(file, _BATCH_ROWS, use_threads=True)
            elif form == "ipc file":
                yield from ipc_file_batches(self.path)
            else:
                yield from ipc_stream_batches(self.path)


def _format_of(path: Path) -> str:
    try:
        check_regular(path)
        with open_regular(path) as file:
            start = file.read(4)
    except OSError as error:
        raise UnreadableFileError(f"File '{path}' cannot be read: {why(error)}.") from error
    form = _MAGIC.get(start) or _SUFFIXES.get(path.suffix.lower())
    if form is None:
        raise _unknown_format(path, "Parquet, Arrow IPC, CSV (.csv) or JSON lines (.jsonl)")
    return form


def _unknown_format(path: Path, known: str) -> UnreadableFileError:
    return UnreadableFileError(f"File '{path}' is not {known}; convert it, or check the path.")


@contextmanager
def read_faults_named(path: str | Path) -> Iterator[None]:
    """Turn an error of a reader into an `UnreadableFileError` that names the file.

    The reader's own message is left out, because it can quote cells.
    """
    try:
        yield
    except MemoryError:
        raise UnreadableFileError(
            f"File '{path}' takes more memory to decode than there is, because long values repeat; "
            "write it again in smaller row groups."
        ) from None
    except pa.ArrowNotImplementedError:
        raise UnreadableFileError(
            f"File '{path}' holds a layout that pyarrow {pa.__version__} does not read; write it "
            "again with plainer columns."
        ) from None
    except (pa.ArrowException, OSError, EOFError, UnicodeDecodeError) as error:
        raise UnreadableFileError(
            f"File '{path}' is truncated, corrupt or malformed ({type(error).__name__}); "
            "write it again."
        ) from None


def _read_parquet(path: Path, words: Collection[str]) -> pa.Table:
    """Read a Parquet file with one thread for each span of row groups.

    The threads share one open file, so that none of them reads another file if the path is
    replaced meanwhile.
    """
    with pa.OSFile(str(path)) as source:
        with open_parquet(source) as file:
            refuse_inexact_timestamps(file, path)
            schema, groups = file.schema_arrow, range(file.metadata.num_row_groups)
        encoded = [field.name for field in schema if field.name in words and is_text(field.type)]
        spans = row_blocks(len(groups), -(-len(groups) // thread_count())) or [slice(0, 0)]
        batches: list[list[pa.RecordBatch]] = [[] for _ in spans]
        with open_parquet(source, dictionaries=encoded) as file:
            schema = file.schema_arrow

        def read(at: int) -> None:
            with open_parquet(source, columns=len(schema), dictionaries=encoded) as own:
                batches[at] += promised_batches(own, _BATCH_ROWS, groups=groups[spans[at]])

        for_each(read, range(len(spans)))
    return pa.Table.from_batches(chain.from_iterable(batches), schema)


def _read_csv(path: Path) -> pa.Table:
    """Read a CSV file with every column as text."""
    parse = pa.csv.ParseOptions(newlines_in_values=True)
    with pa.csv.open_csv(path, parse_options=parse) as reader:
        names = reader.schema.names
    convert = pa.csv.ConvertOptions(
        column_types=dict.fromkeys(names, pa.string()),
        null_values=[""],
        strings_can_be_null=True,
        quoted_strings_can_be_null=False,
    )
    return pa.csv.read_csv(path, parse_options=parse, convert_options=convert)


def _read_json_lines(path: Path, id_column: str) -> pa.Table:
    """Read JSON lines with pyarrow's types, but text stays text and an integer id an integer."""
    exact = {}
    for field in pa.json.read_json(path).schema:
        if pa.types.is_timestamp(field.type):
            exact[field.name] = pa.string()
        elif field.name == id_column and pa.types.is_floating(field.type):
            exact[field.name] = pa.uint64()
    options = pa.json.ParseOptions(explicit_schema=pa.schema(exact.items()))
    return pa.json.read_json(path, parse_options=options)


def _with_plain_types(table: pa.Table, as_text: Collection[str]) -> pa.Table:
    names = table.column_names
    columns = [
        column if name in as_text else _plainly_written(column)
        for name, column in zip(names, table.columns, strict=True)
    ]
    return pa.table(columns, names=names)


def _plainly_written(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """The column as integers or booleans if all values are written as such, else as text."""
    if _all_match(column, "^(true|false)$"):
        return column.cast(pa.bool_())
    if _all_match(column, "^(0|-?[1-9][0-9]*)$"):
        for kind in (pa.int64(), pa.uint64()):
            with suppress(pa.ArrowInvalid):
                return column.cast(kind)
    return column


def _all_match(column: pa.ChunkedArray, pattern: str) -> bool:
    matches = pc.all(pc.match_substring_regex(column, pattern)).as_py()
    return bool(matches) and column.null_count < len(column)
