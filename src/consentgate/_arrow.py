"""Arrow in, NumPy out: the few ways in which the rest of the package looks into Arrow data."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from consentgate._arguments import require
from consentgate.errors import (
    ColumnAmbiguousError,
    ColumnMissingError,
    ColumnTypeError,
    ConfigurationError,
    MalformedDataError,
    NaiveTimestampError,
    NotArrowError,
    SchemaMismatchError,
)

__all__ = [
    "EARLIEST",
    "LATEST",
    "ArrowStream",
    "Bits",
    "Bools",
    "Instants",
    "Int64s",
    "Uint64s",
    "as_micros",
    "as_table",
    "bitmap",
    "booleans",
    "check_instants",
    "check_time_zone",
    "decoded",
    "dictionary_codes",
    "find_column",
    "fixed_width_values",
    "is_list",
    "is_text",
    "list_items",
    "one_chunk",
    "plain_layout",
    "plain_text",
    "quoted",
    "read_instants",
    "read_stream",
    "refuse_other_schema",
    "schema_difference",
    "spans",
    "type_text",
    "unite",
    "valid_mask",
    "without_views",
]

Bits: TypeAlias = npt.NDArray[np.uint32]
Bools: TypeAlias = npt.NDArray[np.bool_]
Int64s: TypeAlias = npt.NDArray[np.int64]
Uint64s: TypeAlias = npt.NDArray[np.uint64]
Values = TypeVar("Values", Bits, Int64s)

EARLIEST = int(np.iinfo(np.int64).min)
LATEST = int(np.iinfo(np.int64).max)

_MOST_SHARED_BYTES = 1 << 30
_MOST_SHARED = 4
"""Views that share their data are written out up to so many bytes, or so many times the data."""
_MOST_TYPE_CHARS = 80
_MOST_NAMES = 50
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_CALENDAR_MICROS = 285 * 365 * 86_400 * 1_000_000
"""Local times further from 1970 than this are nobody's; nanoseconds end soon after."""
_MICROS_PER_UNIT = {"s": 1_000_000, "ms": 1_000, "us": 1}


class ArrowStream(Protocol):
    """Any object that speaks the Arrow PyCapsule stream interface."""

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object: ...


def as_table(data: Any) -> pa.Table:
    """The data as a pyarrow table, without copying where the producer allows it.

    Raises:
        NotArrowError: The object speaks neither the stream nor the array PyCapsule interface.
        SchemaMismatchError: A batch of a stream has another schema than the stream.
        MalformedDataError: pyarrow cannot take the data over, or columns are too short.
    """
    if isinstance(data, pa.Table):
        with _import_faults_named(data):
            data.validate()  # that all columns have as many rows
        return data
    if isinstance(data, pa.RecordBatch):
        return pa.Table.from_batches([_of_one_length(data)])
    if hasattr(data, "__arrow_c_stream__"):
        schema, batches = read_stream(data)
        return pa.Table.from_batches(batches, schema)
    if hasattr(data, "__arrow_c_array__"):
        with _import_faults_named(data):
            batch = pa.record_batch(data)
        return pa.Table.from_batches([_of_one_length(batch)])
    raise NotArrowError(
        f"An object of type '{type(data).__qualname__}' holds no Arrow data; give a pyarrow "
        "table, a Polars data frame, or anything else with __arrow_c_stream__."
    )


def read_stream(data: Any) -> tuple[pa.Schema, Iterator[pa.RecordBatch]]:
    """The schema of an Arrow stream, and its batches, each held to that schema.

    pyarrow itself does not look: a `RecordBatchReader` hands over batches of any schema, and what
    it exports is read under the first one's, column by column, whatever those are.

    Args:
        data: an object with `__arrow_c_stream__`.

    Raises:
        SchemaMismatchError: While reading: a batch has another schema than the stream.
        MalformedDataError: Here or while reading: pyarrow cannot take the data over.
    """
    if isinstance(data, pa.Table):  # exporting malformed data crashes pyarrow 26
        return data.schema, iter(as_table(data).to_batches())
    with _import_faults_named(data):
        is_reader = isinstance(data, pa.RecordBatchReader)
        reader = data if is_reader else pa.RecordBatchReader.from_stream(data)
        return reader.schema, _batches_of(reader, data)


def _batches_of(reader: pa.RecordBatchReader, data: Any) -> Iterator[pa.RecordBatch]:
    while True:
        with _import_faults_named(data, (pa.ArrowException,)):  # others are the producer's own
            try:
                batch = reader.read_next_batch()
            except StopIteration:
                return
        refuse_other_schema(reader.schema, batch.schema)
        yield _of_one_length(batch)


def _of_one_length(batch: pa.RecordBatch) -> pa.RecordBatch:
    """The batch with all columns as long as it is itself.

    The children of a struct may be longer than the struct, and pyarrow 26 makes a batch of it whose
    columns are. Whatever joined them would shift rows against each other.

    Raises:
        MalformedDataError: A column is shorter.
    """
    lengths = {len(column) for column in batch.columns} - {batch.num_rows}
    if not lengths:
        return batch
    if min(lengths) < batch.num_rows:
        raise MalformedDataError(
            f"A batch of {batch.num_rows} rows has a column of {min(lengths)}; fix the program "
            "that made it."
        )
    return batch.slice(0, batch.num_rows)


@contextmanager
def _import_faults_named(
    data: Any, kinds: tuple[type[Exception], ...] = (pa.ArrowException, ValueError)
) -> Iterator[None]:
    try:
        yield
    except kinds as error:  # its message can quote values
        raise MalformedDataError(
            f"The Arrow data of an object of type '{type(data).__qualname__}' cannot be read "
            f"({type(error).__name__}); see that it can be read without the gate."
        ) from None


def refuse_other_schema(first: pa.Schema, other: pa.Schema) -> None:
    """Raise an error unless both have the same columns in the same order; metadata may differ.

    Raises:
        SchemaMismatchError: They have not.
    """
    if difference := schema_difference(first, other):
        raise SchemaMismatchError(
            f"A batch has another schema than the first: {difference}; cast the batches to one "
            "schema."
        )


def find_column(schema: pa.Schema, name: str, *, role: str) -> int:
    """The position of the one column of that name.

    Raises:
        ColumnMissingError: There is none.
        ColumnAmbiguousError: There are several.
    """
    places = schema.get_all_field_indices(name)
    if not places:
        raise ColumnMissingError(
            f"Column '{name}' ({role}) is missing; the columns are {quoted(schema.names)}. "
            "Rename one, or say which column to use."
        )
    if len(places) > 1:
        raise ColumnAmbiguousError(
            f"{len(places)} columns are named '{name}' ({role}); rename or drop all but one."
        )
    return int(places[0])


def quoted(names: Iterable[str]) -> str:
    """Names in quotes for a message: sorted, the first 50 of them, and "none" if there are none."""
    in_order = sorted(names)
    more = len(in_order) - _MOST_NAMES
    listed = ", ".join(f"'{name}'" for name in in_order[:_MOST_NAMES]) or "none"
    return f"{listed} and {more:,} more" if more > 0 else listed


def type_text(kind: Any) -> str:
    """A type as messages show it: short, and without the names of fields within it.

    Where JSON objects are keyed by ids, those names are ids of people.
    """
    text = str(kind)
    has_names = "struct<" in text or "union<" in text
    if has_names or len(text) > _MOST_TYPE_CHARS:
        return f"{text.partition('<')[0][:_MOST_TYPE_CHARS]}<…>"
    return text


def is_text(kind: pa.DataType) -> bool:
    """Whether a type holds text: string, large_string or string_view."""
    return bool(
        pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)
    )


def is_list(kind: pa.DataType) -> bool:
    """Whether a type is a list of any layout (a map is none)."""
    return any(
        matches(kind)
        for matches in (
            pa.types.is_list,
            pa.types.is_large_list,
            pa.types.is_fixed_size_list,
            pa.types.is_list_view,
            pa.types.is_large_list_view,
        )
    )


def list_items(lists: pa.Array) -> tuple[pa.Array, Int64s, Int64s]:
    """The items of n lists of any layout; a null list has none, unless it is of fixed size.

    `flatten` is not used: on list views of string views its memory grows with the square of the
    length (pyarrow 26).

    Returns:
        The items from the first one used to the last; and n places in them where each list starts,
        and n lengths.
    """
    lengths = pc.list_value_length(lists).fill_null(0)
    counts: Int64s = lengths.to_numpy(zero_copy_only=False).astype(np.int64)
    if pa.types.is_fixed_size_list(lists.type):
        size = lists.type.list_size
        items = lists.values.slice(lists.offset * size, len(lists) * size)
        return items, np.arange(len(lists)) * size, counts
    offsets = lists.offsets.to_numpy(zero_copy_only=False)
    starts: Int64s = offsets[: len(lists)].astype(np.int64)
    holders = np.flatnonzero(counts)
    if not holders.size:
        return lists.values.slice(0, 0), np.zeros_like(starts), counts
    first = int(starts[holders].min())
    end = int((starts + counts)[holders].max())
    starts = np.where(counts > 0, starts - first, 0)
    return lists.values.slice(first, end - first), starts, counts


def spans(starts: Int64s, counts: Int64s) -> Int64s:
    """The places start, start + 1, … of every span of that many places, one after the other."""
    ends = np.cumsum(counts)
    places: Int64s = np.arange(counts.sum()) + np.repeat(starts - (ends - counts), counts)
    return places


def unite(operation: np.ufunc, values: Values, starts: Int64s, counts: Int64s) -> Values:
    """Combine the values of each of n spans by an operation such as `np.maximum`.

    Spans may overlap. It takes O(values x log(longest span)) time, and the memory of two copies of
    the values: each span is covered by two shorter ones, whose lengths are powers of two, and which
    may overlap.

    Args:
        operation: one for which it does not matter that a value counts twice.
        counts: all at least 1.
    """
    united = np.empty(len(counts), values.dtype)
    size = 1  # values[i] is the union of the `size` values from place i on
    while True:
        rows = np.flatnonzero((counts >= size) & (counts < 2 * size))
        first, last = starts[rows], (starts + counts)[rows] - size
        united[rows] = operation(values[first], values[last])
        if counts.max() < 2 * size:
            return united
        values = operation(values[:-size], values[size:])
        size *= 2


def plain_text(column: pa.Array | pa.ChunkedArray) -> Any:
    """A column of text, whatever its layout or dictionary, as large_string."""
    if isinstance(column, pa.ChunkedArray):
        return pa.chunked_array([plain_text(chunk) for chunk in column.chunks], pa.large_string())
    if pa.types.is_dictionary(column.type):
        return plain_text(column.dictionary).take(column.indices)
    return without_views(column).cast(pa.large_string())


def without_views(column: pa.Array | pa.ChunkedArray) -> Any:
    """String or binary views as large_string or large_binary; any other column as it is."""
    plain = plain_layout(column.type)
    if plain is None:
        return column
    if isinstance(column, pa.ChunkedArray):
        return pa.chunked_array([without_views(chunk) for chunk in column.chunks], plain)
    views = _with_blank_nulls(column)
    _refuse_shared(views)
    return views.cast(plain)


def _refuse_shared(views: pa.Array) -> None:
    """Raise an error if views that share their data would take far more memory without sharing.

    Raises:
        MalformedDataError: They would.
    """
    lengths = fixed_width_values(views, np.dtype((np.int32, 4)))[:, 0]
    written = int(lengths.sum(dtype=np.int64))
    held = sum(data.size for data in views.buffers()[2:] if data is not None)
    if written > _MOST_SHARED_BYTES and written > _MOST_SHARED * held:
        raise MalformedDataError(
            f"{len(views)} views of text or binary values share {held:,} bytes and stand for "
            f"{written:,}; at most {_MOST_SHARED_BYTES:,} are written out. Cast the column to "
            "large_string or large_binary, or judge fewer rows at a time."
        )


def plain_layout(kind: pa.DataType) -> pa.DataType | None:
    """The type without views that holds the same values; None for any but those two types."""
    if pa.types.is_string_view(kind):
        return pa.large_string()
    return pa.large_binary() if pa.types.is_binary_view(kind) else None


def _with_blank_nulls(views: pa.Array) -> pa.Array:
    """The same views, with zeros in the cells of nulls, over which pyarrow 26 can crash."""
    valid = bitmap(views)
    if valid is None:
        return views
    cells = fixed_width_values(views, np.dtype((np.uint64, 2))).copy()
    cells[~valid] = 0
    bits = np.packbits(valid, bitorder="little")
    buffers = [pa.py_buffer(bits), pa.py_buffer(cells), *views.buffers()[2:]]
    return pa.Array.from_buffers(views.type, len(views), buffers)


def decoded(column: pa.Array | pa.ChunkedArray) -> Any:
    """A dictionary-encoded column as the values it stands for, not in views; any other as it is."""
    if not pa.types.is_dictionary(column.type):
        return column
    if is_text(column.type.value_type):
        return plain_text(column)
    if isinstance(column, pa.ChunkedArray):
        kind = plain_layout(column.type.value_type) or column.type.value_type
        return pa.chunked_array([decoded(chunk) for chunk in column.chunks], kind)
    return without_views(column.dictionary).take(column.indices)


def one_chunk(column: pa.ChunkedArray) -> pa.Array:
    """The column without chunk bounds. Empty chunks are left out first: pyarrow 26 refuses to
    combine those that a C stream hands over with an offset but no buffer.
    """
    chunks = [chunk for chunk in column.chunks if len(chunk)]
    if len(chunks) > 1:
        return pa.concat_arrays(chunks)
    return chunks[0] if chunks else pa.nulls(0, column.type)


def dictionary_codes(array: pa.DictionaryArray) -> Int64s:
    """Each entry's place in the dictionary; the dictionary's length for a null, or for a place
    that it does not have.
    """
    end = len(array.dictionary)
    codes: Int64s = array.indices.cast(pa.int64()).fill_null(end).to_numpy(zero_copy_only=False)
    return np.where((codes < 0) | (codes > end), end, codes)


def fixed_width_values(array: pa.Array, dtype: "np.dtype[Any]") -> "npt.NDArray[Any]":
    """The values of an array of fixed width, as they lie in memory; a null's is arbitrary."""
    buffer = array.buffers()[1]
    if len(array) == 0 or buffer is None:
        return np.zeros(len(array), dtype)
    return np.frombuffer(buffer, dtype, len(array), array.offset * dtype.itemsize)


def booleans(array: pa.BooleanArray) -> Bools:
    """The values of a column of booleans; a null's is arbitrary."""
    if len(array) == 0:
        return np.zeros(0, np.bool_)
    return _unpacked(array.buffers()[1], array)


def bitmap(array: pa.Array) -> Bools | None:
    """An array's own validity bits, true where an entry is not null; None where it has none."""
    buffer = array.buffers()[0]
    return None if buffer is None or len(array) == 0 else _unpacked(buffer, array)


def _unpacked(bits: pa.Buffer, array: pa.Array) -> Bools:
    """The bits of an array's n entries as n booleans."""
    first = array.offset % 8
    octets = np.frombuffer(bits, np.uint8)[array.offset // 8 :]
    return np.unpackbits(octets, count=first + len(array), bitorder="little")[first:].view(np.bool_)


def valid_mask(array: pa.Array) -> Bools | None:
    """True where an entry is not null; None when nothing is null.

    This is the package's one definition of null: what the validity bits say, an entry of the type
    null, a NaN, and whatever refers to one of these as a dictionary's index or an extension's
    storage. A producer's count of nulls is never trusted.

    Raises:
        ColumnTypeError: The array is a union or run-end-encoded, where nulls lie in its children.
    """
    kind = array.type
    if isinstance(array, pa.ExtensionArray):
        return valid_mask(array.storage)
    if pa.types.is_null(kind):
        return np.zeros(len(array), np.bool_)
    if pa.types.is_dictionary(kind):
        by_value = valid_mask(array.dictionary)
        if by_value is None:
            return valid_mask(array.indices)
        return np.append(by_value, False)[dictionary_codes(array)]
    if pa.types.is_union(kind) or pa.types.is_run_end_encoded(kind):
        raise ColumnTypeError(
            f"Type {type_text(kind)} does not say which of its entries are null; cast it."
        )
    valid = bitmap(array)
    if pa.types.is_floating(kind):
        is_number = ~np.isnan(fixed_width_values(array, np.dtype(kind.to_pandas_dtype())))
        valid = is_number if valid is None else valid & is_number
    return None if valid is None or valid.all() else valid


def as_micros(instant: datetime, *, name: str) -> int:
    """An aware datetime as microseconds since 1970 in UTC.

    Raises:
        TypeError: It is no datetime.
        ConfigurationError: It has no time zone, or is pandas' NaT.
    """
    require(instant, name, datetime, hint="give a datetime with a time zone")
    is_instant = instant == instant  # NaT is unlike itself
    if not is_instant or instant.utcoffset() is None:
        raise ConfigurationError(
            f"`{name}` must be a datetime with a time zone, such as "
            "datetime(2026, 1, 31, tzinfo=timezone.utc)."
        )
    return (instant - _EPOCH) // timedelta(microseconds=1)


@dataclass(frozen=True, repr=False)
class Instants:
    """Timestamps as int64 microseconds since 1970 in UTC, rounded both ways.

    `floor` is never later and `ceil` never earlier than the true instant, so that each comparison
    can use the one that goes against admission. What does not fit into 64 bits is clamped to
    EARLIEST or LATEST, and `ceil` is never less than EARLIEST + 1, so that an instant too early
    to be told apart never counts as late enough. Entries that are null hold an arbitrary number.
    """

    floor: Int64s
    ceil: Int64s
    valid: Bools | None


def read_instants(array: pa.Array, name: str, assume_timezone: str | None = None) -> Instants:
    """A timestamp column of any unit and time zone as instants.

    Raises:
        ColumnTypeError: The column holds no timestamps.
        NaiveTimestampError: It has no time zone and none is to be assumed.
    """
    check_instants(array.type, name, assume_timezone)
    if array.type.tz is not None or assume_timezone == "UTC":
        early = late = array
    else:
        early = _localise(array, assume_timezone, "earliest")
        late = _localise(array, assume_timezone, "latest")
    unit = array.type.unit
    floor, ceil = _to_micros(early, unit, round_up=False), _to_micros(late, unit, round_up=True)
    if early is not late:  # so far out, moving into the time zone may have wrapped round
        wild = np.abs(_to_micros(array, unit, round_up=True)) > _CALENDAR_MICROS
        floor, ceil = np.where(wild, EARLIEST, floor), np.where(wild, LATEST, ceil)
    return Instants(floor, ceil, valid_mask(array))


def check_instants(kind: pa.DataType, name: str, assume_timezone: str | None = None) -> None:
    """Raise an error unless `read_instants` can read a column of that type.

    Raises:
        ColumnTypeError, NaiveTimestampError: As `read_instants`.
    """
    if not pa.types.is_timestamp(kind):
        raise ColumnTypeError(
            f"Column '{name}' is {type_text(kind)} but must be a timestamp with a time zone; "
            "convert it first."
        )
    if kind.tz is None and assume_timezone is None:
        raise NaiveTimestampError(
            f"Column '{name}' is {kind}, which has no time zone, so its instants are unknown; give "
            "it one, or for messages say Columns(assume_timezone=…)."
        )


def check_time_zone(zone: str) -> None:
    """Raise an error unless the zone is known.

    Raises:
        ConfigurationError: It is not.
    """
    if zone != "UTC":
        try:
            _localise(pa.array([0], pa.timestamp("us")), zone, "earliest")
        except pa.ArrowInvalid as error:
            raise ConfigurationError(
                f"Time zone '{zone}' is not known here; give a name of the IANA database, "
                "such as 'UTC' or 'Europe/Berlin'."
            ) from error


def _localise(array: pa.Array, zone: str | None, side: str) -> pa.Array:
    return pc.assume_timezone(array, zone, ambiguous=side, nonexistent=side)


def _to_micros(array: pa.Array, unit: str, *, round_up: bool) -> Int64s:
    ticks: Int64s = fixed_width_values(array, np.dtype(np.int64))
    if unit == "ns":
        return ticks // 1000 + (ticks % 1000 != 0) if round_up else ticks // 1000
    factor = _MICROS_PER_UNIT[unit]
    if factor > 1:
        lowest, highest = EARLIEST // factor + 1, LATEST // factor
        micros = np.clip(ticks, lowest, highest) * factor
        micros[ticks > highest] = LATEST
        micros[ticks < lowest] = EARLIEST
        ticks = micros
    return np.maximum(ticks, EARLIEST + 1) if round_up else ticks


def schema_difference(first: pa.Schema, other: pa.Schema) -> str:
    """How the other schema differs from the first, in words; empty where only metadata may."""
    if first.equals(other, check_metadata=False):
        return ""
    names = dict.fromkeys([*first.names, *other.names])
    differences = [
        _column_difference(name, _kinds(first, name), _kinds(other, name)) for name in names
    ]
    return ", ".join(filter(None, differences)) or "the columns' order differs"


def _column_difference(name: str, before: str, after: str) -> str:
    if before == after:
        return ""
    if not (before and after):
        return f"column '{name}' is {'additional' if after else 'missing'}"
    if type_text(before) == type_text(after):
        return f"column '{name}' is another {type_text(after)}"
    return f"column '{name}' is {type_text(after)} instead of {type_text(before)}"


def _kinds(schema: pa.Schema, name: str) -> str:
    """The types of the columns of a name, in words; empty where there is none."""
    fields = [schema.field(place) for place in schema.get_all_field_indices(name)]
    return " and ".join(f"{f.type}{'' if f.nullable else ' not null'}" for f in fields)
