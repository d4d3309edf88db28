"""Writing Parquet files in bounded row groups, in the form of the file that rows come from."""

from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from contextlib import suppress
from functools import partial
from itertools import compress
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from consentgate.arrow import refuse_lists_of_nothing
from consentgate.errors import OutputError
from consentgate.storage.background import Background
from consentgate.storage.durable import write_faults_named
from consentgate.storage.parquet_footer import ColumnChunk
from consentgate.storage.parquet_reading import ParquetFile

GROUP_BYTES = 32 << 20
"""Once gathered rows take so many bytes of memory, they are written as a row group."""
_MOST_PENDING, _MOST_PENDING_ARRAYS = 64, 8192
"""Most tables that are gathered before they are joined, which copies them: so many, or as many as
have so many columns together.
"""
_TELLING_VALUES, _FEW_BYTES = 10_000, 5


class FileForm(NamedTuple):
    """How a Parquet file is written, apart from its rows.

    Attributes:
        schema: its Arrow schema, with the file's key-value metadata.
        options: the arguments with which `pyarrow.parquet.ParquetWriter` writes such a file.
        metadata: the file's key-value metadata that the schema does not hold.
    """

    schema: pa.Schema
    options: dict[str, Any]
    metadata: Mapping[bytes, bytes] = MappingProxyType({})

    @classmethod
    def of(cls, file: ParquetFile) -> "FileForm":
        """The form of a file, according to its first row group.

        Columns whose values repeat enough in that row group are written with a dictionary.
        """
        metadata, schema = file.metadata, file.schema_arrow
        leaves = [metadata.schema.column(at) for at in range(metadata.num_columns)]
        options: dict[str, Any] = {
            "store_schema": b"ARROW:schema" in (metadata.metadata or {}),
            "use_deprecated_int96_timestamps": _has_only_old_timestamps(leaves),
            "store_decimal_as_integer": any(
                leaf.logical_type.type == "DECIMAL" and leaf.physical_type.startswith("INT")
                for leaf in leaves
            ),
        }
        if metadata.num_row_groups and leaves:
            chunks = file.chunks(0)
            codecs = [chunk.codec for chunk in chunks]
            are_worth = [_is_worth_a_dictionary(chunk) for chunk in chunks]
            options["compression"] = codecs[0]
            if len(set(codecs)) > 1 or not all(are_worth):
                paths = _written_paths(schema, options)
                options["compression"] = dict(zip(paths, codecs, strict=True))
                options["use_dictionary"] = list(compress(paths, are_worth))
        known = {b"ARROW:schema", *(schema.metadata or {})}
        others = {k: v for k, v in (metadata.metadata or {}).items() if k not in known}
        return cls(schema, options, others)


def _is_worth_a_dictionary(chunk: ColumnChunk) -> bool:
    """Whether values repeat so much that a dictionary makes the file smaller."""
    is_large = chunk.num_values >= _TELLING_VALUES
    return not is_large or chunk.uncompressed_bytes < _FEW_BYTES * chunk.num_values


def _has_only_old_timestamps(leaves: list[Any]) -> bool:
    kinds = {leaf.physical_type for leaf in leaves if leaf.logical_type.type == "TIMESTAMP"}
    return not kinds and any(leaf.physical_type == "INT96" for leaf in leaves)


def _written_paths(schema: pa.Schema, options: dict[str, Any]) -> list[str]:
    """The columns' paths as pyarrow writes them, which may differ from those in the source file."""
    sink = pa.BufferOutputStream()
    with pq.ParquetWriter(sink, schema, **options):
        pass
    written = pq.ParquetFile(pa.BufferReader(sink.getvalue())).metadata
    return [written.schema.column(at).path for at in range(written.num_columns)]


class RowGroupWriter:
    """Writes a Parquet file table by table, in row groups of about GROUP_BYTES.

    Args:
        path: the path of the file.
        form: its schema and how it is written.
        what: how errors name the file.
        helper: writes a row group while the next one is gathered; None: the caller waits.
        on_group: a function that is called by the helper after a row group was written.

    Raises:
        ColumnTypeError: A column holds lists of the fixed size 0, over which pyarrow 26 crashes.
        OutputError: The file cannot be written. `write` and `close` raise this, too.
    """

    def __init__(
        self,
        path: Path,
        form: FileForm,
        what: str,
        *,
        helper: Executor | None = None,
        on_group: Callable[[], None] = lambda: None,
    ) -> None:
        for field in form.schema:
            refuse_lists_of_nothing(field.name, field.type)
        self._what, self._on_group = what, on_group
        self._background = Background(helper)
        # pyarrow writes a schema's metadata only together with the schema
        is_stored = form.options.get("store_schema", True)
        self._metadata = dict(form.metadata if is_stored else form.schema.metadata or {})
        self._pending: list[pa.Table] = []
        self._pending_bytes = 0
        arrays = _MOST_PENDING_ARRAYS // max(len(form.schema), 1)
        self._most_pending = max(_MOST_PENDING, arrays)
        with write_faults_named(what):
            self._writer = pq.ParquetWriter(path, form.schema, **form.options)

    def write(self, table: pa.Table) -> None:
        """Append rows."""
        if table.num_rows:
            self._pending.append(table)
            self._pending_bytes += table.nbytes
        if self._pending_bytes >= GROUP_BYTES:
            self.flush()
        elif len(self._pending) >= self._most_pending:
            self._pending = [_compact(pa.concat_tables(self._pending))]

    def close(self, metadata: dict[str, str] | None = None) -> None:
        """Complete the file, with additional metadata if given."""
        self.flush()
        self._background.wait()
        with write_faults_named(self._what):
            self._writer.add_key_value_metadata({**self._metadata, **(metadata or {})})
            self._writer.close()

    def abandon(self) -> None:
        """Close the file, whose content will not be used."""
        with suppress(OutputError):
            self._background.wait()
        with suppress(OSError, pa.ArrowException):
            self._writer.close()

    def flush(self) -> None:
        """Begin to write the rows that were gathered, as a row group."""
        if not self._pending:
            return
        table = pa.concat_tables(self._pending)
        self._pending, self._pending_bytes = [], 0
        self._background.call(partial(self._write_group, table))

    def _write_group(self, table: pa.Table) -> None:
        with write_faults_named(self._what):
            self._writer.write_table(_unified(table), row_group_size=table.num_rows)
        self._on_group()


def _unified(table: pa.Table) -> pa.Table:
    """The same rows with one dictionary for each column, because pyarrow writes one per row group.

    It writes the values of all other dictionaries without a dictionary.
    """
    try:
        return table.unify_dictionaries()
    except pa.ArrowException:  # pyarrow 26 refuses nulls in dictionaries, and indices too narrow
        return table


def _compact(table: pa.Table) -> pa.Table:
    try:
        return table.combine_chunks()
    except pa.ArrowException:  # pyarrow 26 refuses to combine some valid layouts
        return table
