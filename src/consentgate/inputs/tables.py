"""The code that the consent snapshot and the channel registry have in common.

Both are tables that hold the facts as of one instant, with one row for each key.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar, Self

import pyarrow as pa

from consentgate.arrow import (
    as_micros,
    decoded,
    is_text,
    one_chunk,
    one_text,
    without_views,
)
from consentgate.errors import AsOfError, ColumnMissingError
from consentgate.index import RowTable
from consentgate.inputs.words import encoded

_AS_OF_KEYS = (b"consentgate.as_of", b"as_of")
_MOST_CHARS = 60
"""How many characters of a file's metadata a message shows."""


@dataclass(frozen=True, eq=False, init=False, repr=False)
class DatedTable:
    """A checked table of the facts as of one instant. Base class of snapshot and registry.

    Attributes:
        table: the rows, tidied.
        as_of: the instant whose facts the table holds, in UTC.
        source: a label that says where the data came from.
    """

    table: pa.Table
    as_of: datetime
    source: str
    _row_tables: list[RowTable]
    _rows: ClassVar[str]
    """The name of the rows in `repr`."""

    def __init__(self, *_fields: object, **_more: object) -> None:
        raise TypeError(
            f"A {type(self).__name__} is made with `read` or `from_arrow`, which check it."
        )

    def __repr__(self) -> str:
        """The number of rows, the instant and the label. Cells may be ids, so none is shown."""
        name, rows = type(self).__name__, f"{self.table.num_rows:,} {self._rows}"
        return f"<{name}: {rows} as of {self.as_of.isoformat()}, from {self.source!r}>"

    @classmethod
    def _made(
        cls, table: pa.Table, as_of: datetime, source: str, row_tables: list[RowTable]
    ) -> Self:
        """Make an instance from values that were checked already.

        Args:
            row_tables: the rows by id, as the check for repeated ids leaves them; or nothing.
        """
        data = cls.__new__(cls)
        values = {"table": table, "as_of": as_of, "source": source, "_row_tables": row_tables}
        for name, value in values.items():
            object.__setattr__(data, name, value)
        return data

    def take_row_table(self) -> RowTable | None:
        """The rows by id, for the first gate that asks for them; None for every later one."""
        try:
            return self._row_tables.pop()
        except IndexError:  # several threads may ask at once
            return None

    def __getstate__(self) -> dict[str, Any]:
        """All but the rows by id, which another process cannot use."""
        return {**self.__dict__, "_row_tables": []}


def attribute_columns(columns: Mapping[str, pa.ChunkedArray]) -> dict[str, pa.Array]:
    """The columns that a rule can look at. Nested columns and extension types are left out."""
    plain = {name: _attribute(column) for name, column in columns.items()}
    return {name: column for name, column in plain.items() if column is not None}


def refuse_headless(table: pa.Table, path: Path, key: str) -> None:
    """Raise an error if a file of text (CSV, JSON lines) does not name its columns.

    Without names, the reader takes cells for names, and other errors would show those cells.

    Raises:
        ColumnMissingError: The column of ids is not among the columns.
    """
    if key not in table.column_names:
        raise ColumnMissingError(
            f"File '{path}' has no column '{key}'; name the columns in the first line of a CSV "
            "file, and in every line of a JSON lines file. If the column has another name, say "
            "so with `columns`."
        )


def read_as_of(argument: datetime | None, schema: pa.Schema, what: str) -> datetime:
    """The instant whose facts a table holds, from the argument or from the schema's metadata.

    Raises:
        TypeError, ConfigurationError: The argument is not an instant with a time zone.
        AsOfError: Neither gives an instant, they disagree, or the metadata's is not an instant with
            an offset from UTC.
    """
    metadata = schema.metadata or {}
    texts = [metadata[key].decode("utf-8", "replace") for key in _AS_OF_KEYS if key in metadata]
    instants = {_parse_as_of(text, what) for text in texts}
    if argument is not None:
        as_micros(argument, name="as_of")
        instants.add(_in_utc(argument, what))
    if len(instants) > 1:
        raise AsOfError(
            f"The {what} is said to be as of {' and '.join(str(i) for i in sorted(instants))}; "
            "correct `as_of` or the file's metadata."
        )
    if not instants:
        raise AsOfError(
            f"The {what} does not say which instant's facts it holds; give `as_of`, or put "
            "'consentgate.as_of' into the file's metadata."
        )
    return instants.pop()


def _attribute(column: pa.ChunkedArray) -> pa.Array | None:
    if pa.types.is_dictionary(column.type) and is_text(column.type.value_type):
        return encoded(column)
    column = without_views(decoded(column))
    kind = column.type
    if is_text(kind):
        return one_text(column)
    if pa.types.is_integer(kind):
        return one_chunk(column.cast(pa.uint64() if pa.types.is_uint64(kind) else pa.int64()))
    if pa.types.is_boolean(kind) or pa.types.is_timestamp(kind):
        return one_chunk(column)
    if pa.types.is_floating(kind):
        return one_chunk(column.cast(pa.float64()))
    if pa.types.is_nested(kind) or isinstance(kind, pa.BaseExtensionType):
        return None
    try:
        return one_chunk(column.cast(pa.large_string()))
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        return None


def _parse_as_of(text: str, what: str) -> datetime:
    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        instant = datetime.min
    if instant.utcoffset() is None:
        raise AsOfError(
            f"The {what}'s metadata says as_of '{text[:_MOST_CHARS]}', which is not an ISO 8601 "
            "instant with an offset from UTC; correct it."
        )
    return _in_utc(instant, what)


def _in_utc(instant: datetime, what: str) -> datetime:
    try:
        return instant.astimezone(UTC)
    except OverflowError as error:
        raise AsOfError(f"The {what}'s as_of lies outside the calendar; correct it.") from error
