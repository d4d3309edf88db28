"""Turns columns into every Arrow layout that has the same meaning.

A layout is a string of bytes, each of which is read as a small choice. No bytes, or zeros, are the
plain layout, so that a failing example shrinks towards it. Some layouts are put together from
buffers, because pyarrow does not build them: nulls with a real value beneath them, null lists with
items, and list views out of order. All arrays are slices of larger arrays, whose other rows would
be judged differently.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, cycle, islice, pairwise
from typing import Any, TypeVar
from uuid import UUID

import pyarrow as pa

T = TypeVar("T")
Layout = bytes
Builder = Callable[[Sequence[Any]], pa.Array]

PLAIN: Layout = b""
LAYOUT_BYTES = 320
BYTES_PER_COLUMN = 24

NS_BY_UNIT = {"us": 1_000, "ns": 1, "ms": 1_000_000, "s": 1_000_000_000}
ZONES = ("UTC", "Europe/Berlin", "+05:30")
SIGNED = (pa.int64(), pa.int32(), pa.int16(), pa.int8())
UNSIGNED = (pa.uint64(), pa.uint32(), pa.uint16(), pa.uint8())
INTEGERS = tuple(width for pair in zip(SIGNED, UNSIGNED, strict=True) for width in pair)
TYPES_BY_FAMILY = {
    "integer": INTEGERS,
    "string": (pa.string(), pa.large_string(), pa.string_view()),
    "uuid": (pa.binary(16), pa.uuid()),
    "boolean": (pa.bool_(),),
    "instant": tuple(pa.timestamp(unit, zone) for unit in NS_BY_UNIT for zone in ZONES),
}
FILLERS = {"integer": 1, "string": "a", "uuid": bytes(16), "boolean": True, "instant": 0}
DICTIONARY_INDEXES = (*SIGNED[::-1], *UNSIGNED)
LIST_TYPES = (pa.list_, pa.large_list, pa.list_view, pa.large_list_view)


class Tape:
    """Choices read from bytes, one byte for each choice. After the last byte come zeros."""

    def __init__(self, data: bytes) -> None:
        self._bytes = iter(data)

    def number(self, below: int) -> int:
        """The next choice, as a number from 0 up to but not including `below` (at most 256)."""
        return next(self._bytes, 0) % below

    def pick(self, options: Sequence[T]) -> T:
        """The next choice, as one of the options."""
        return options[self.number(len(options))]

    def flip(self) -> bool:
        """The next choice, as a boolean; False in the plain layout."""
        return self.number(2) == 1


@dataclass(frozen=True)
class Column:
    """The meaning of a column, without a layout.

    In `values`, a null is None, a list is a tuple, an instant is in nanoseconds since 1970 in UTC,
    and a UUID is 16 bytes. `family` names a key of TYPES_BY_FAMILY. For a payload, `arrow_type` is
    the type.
    """

    name: str
    family: str
    values: tuple[Any, ...]
    is_list: bool = False
    may_be_dictionary: bool = True
    arrow_type: pa.DataType | None = None

    def scalars(self) -> list[Any]:
        """Every value that is not null, including those in lists."""
        cells = (cell if isinstance(cell, tuple) else (cell,) for cell in self.values)
        return [value for cell in cells for value in cell if value is not None]


def lay_out_table(columns: Sequence[Column], layout: Layout) -> pa.Table:
    """Return the columns as one table. Its schema and its first field carry metadata."""
    tape = Tape(layout)
    rows = len(columns[0].values)
    shared_cuts = choose_cuts(rows, tape)
    is_aligned = not tape.flip()
    arrays = []
    for position, column in enumerate(columns):
        start = 8 + position * BYTES_PER_COLUMN
        own = Tape(layout[start : start + BYTES_PER_COLUMN])
        own_cuts = choose_cuts(rows, own)
        arrays.append(lay_out_column(column, shared_cuts if is_aligned else own_cuts, own))
    fields = [pa.field(c.name, a.type) for c, a in zip(columns, arrays, strict=True)]
    fields[0] = fields[0].with_metadata({b"origin": b"\xff\x00 test"})
    return pa.Table.from_arrays(arrays, schema=pa.schema(fields, metadata={b"owner": b"tests"}))


def choose_cuts(rows: int, tape: Tape) -> list[int]:
    """Ascending positions from 0 to the number of rows. Equal positions make empty chunks."""
    inner = [tape.number(rows + 1) for _ in range(tape.number(4))]
    return [0, *sorted(inner), rows]


def lay_out_column(column: Column, cuts: Sequence[int], tape: Tape) -> pa.ChunkedArray:
    """Return one column, with a chunk between any two cuts. Each is a slice of a larger array."""
    build = choose_builder(column, tape)
    around = (None, *reversed(column.values))
    chunks = []
    for start, stop in pairwise(cuts):
        before = [*islice(cycle(around), tape.number(4))]
        after = [*islice(cycle(around), tape.number(3))]
        larger = build([*before, *column.values[start:stop], *after])
        chunks.append(larger.slice(len(before), stop - start))
    return pa.chunked_array(chunks)


def choose_builder(column: Column, tape: Tape) -> Builder:
    """Choose a type for the whole column, and return a function that builds arrays of it."""
    if column.arrow_type is not None:
        return lambda values: pa.array(values, column.arrow_type)
    build = choose_flat_builder(column, tape)
    return choose_list_builder(column, build, tape) if column.is_list else build


def choose_flat_builder(column: Column, tape: Tape) -> Builder:
    """Choose a type that can hold every value, and whether the column is a dictionary."""
    scalars = column.scalars()
    types = [t for t in TYPES_BY_FAMILY[column.family] if all(does_fit(v, t) for v in scalars)]
    arrow_type = tape.pick(types)
    is_dictionary, index_type = tape.flip(), tape.pick(DICTIONARY_INDEXES)
    filler = scalars[0] if scalars else FILLERS[column.family]
    if is_dictionary and column.may_be_dictionary and arrow_type != pa.uuid():
        return choose_dictionary_builder(scalars, arrow_type, index_type, filler, tape)
    return lambda values: build_flat(values, arrow_type, filler)


def does_fit(value: Any, arrow_type: pa.DataType) -> bool:
    """Whether a type holds a value exactly."""
    if pa.types.is_timestamp(arrow_type):
        count, rest = divmod(value, NS_BY_UNIT[arrow_type.unit])
        return bool(rest == 0 and -(2**63) <= count < 2**63)
    if pa.types.is_integer(arrow_type):
        least = -(2 ** (arrow_type.bit_width - 1)) if pa.types.is_signed_integer(arrow_type) else 0
        return bool(least <= value < least + 2**arrow_type.bit_width)
    return True


def build_flat(values: Sequence[Any], arrow_type: pa.DataType, filler: Any) -> pa.Array:
    """Return an array in which every null has a real value, `filler`, beneath it."""
    filled = [filler if value is None else value for value in values]
    storage_type = arrow_type
    if pa.types.is_timestamp(arrow_type):
        filled = [value // NS_BY_UNIT[arrow_type.unit] for value in filled]
        storage_type = pa.int64()
    if arrow_type == pa.uuid():
        return pa.ExtensionArray.from_storage(pa.uuid(), build_flat(values, pa.binary(16), filler))
    buffers = pa.array(filled, storage_type).buffers()
    return pa.Array.from_buffers(arrow_type, len(values), [pack_validity(values), *buffers[1:]])


def pack_validity(values: Sequence[Any]) -> pa.Buffer | None:
    """Return the validity bitmap; None if no value is null."""
    if None not in values:
        return None
    return pa.array([value is not None for value in values]).buffers()[1]


def choose_dictionary_builder(
    scalars: Sequence[Any],
    arrow_type: pa.DataType,
    index_type: pa.DataType,
    filler: Any,
    tape: Tape,
) -> Builder:
    """Choose a dictionary that may hold unused, repeated and null values."""
    distinct = list(dict.fromkeys(scalars))
    is_repeated, has_null = tape.flip(), tape.flip()
    entries = [*distinct, *(reversed(distinct) if is_repeated else ()), *([None] * has_null)]
    if tape.flip():
        entries.reverse()
    dictionary = build_flat(entries, arrow_type, filler)

    def build(values: Sequence[Any]) -> pa.Array:
        turns = [index_value(value, row, entries) for row, value in enumerate(values)]
        indexes = build_flat(turns, index_type, 0)
        return pa.DictionaryArray.from_arrays(indexes, dictionary)

    return build


def index_value(value: Any, row: int, entries: Sequence[Any]) -> int | None:
    """Return a position of a value in the dictionary; None for a null in the indexes.

    A value with several positions gets each of them in turn.
    """
    positions: list[int | None] = [at for at, entry in enumerate(entries) if entry == value]
    if value is None:
        positions.append(None)
    return positions[row % len(positions)]


def choose_list_builder(column: Column, build_child: Builder, tape: Tape) -> Builder:
    """Choose a list type; one of fixed size only if all lists are equally long."""
    filler = column.scalars()[:1]
    sizes = {len(cell) for cell in column.values if cell is not None}
    kind = tape.number(len(LIST_TYPES) + (len(sizes) <= 1))
    if kind == len(LIST_TYPES):
        size = max(sizes, default=2)
        return lambda cells: build_fixed_size_lists(cells, size, build_child, (filler or [None])[0])
    if kind >= 2:
        is_reversed = tape.flip()
        return lambda cells: build_views(
            cells, LIST_TYPES[kind], build_child, filler, is_reversed=is_reversed
        )
    return lambda cells: build_lists(cells, LIST_TYPES[kind], build_child, filler)


def build_lists(
    cells: Sequence[Any],
    make_type: Callable[[pa.DataType], pa.DataType],
    build_child: Builder,
    filler: Sequence[Any],
) -> pa.Array:
    """Return lists whose child starts before the first list. Null lists have items, too."""
    extents = [tuple(filler) if cell is None else cell for cell in cells]
    child = build_child([*filler, *(value for extent in extents for value in extent)])
    offsets = list(accumulate((len(extent) for extent in extents), initial=len(filler)))
    offset_type = pa.int32() if make_type is pa.list_ else pa.int64()
    buffers = [pack_validity(cells), pa.array(offsets, offset_type).buffers()[1]]
    return pa.Array.from_buffers(make_type(child.type), len(cells), buffers, children=[child])


def build_views(
    cells: Sequence[Any],
    make_type: Callable[[pa.DataType], pa.DataType],
    build_child: Builder,
    filler: Sequence[Any],
    *,
    is_reversed: bool,
) -> pa.Array:
    """Return list views. Equal lists share their items, and `filler` lies between the lists."""
    values: list[Any] = []
    starts: dict[tuple[Any, ...], int] = {}
    extents = [tuple(filler) if cell is None else cell for cell in cells]
    for extent in reversed(extents) if is_reversed else extents:
        if extent not in starts:
            values.extend(filler)
            starts[extent] = len(values)
            values.extend(extent)
    child = build_child(values)
    offset_type = pa.int32() if make_type is pa.list_view else pa.int64()
    offsets = pa.array([starts[extent] for extent in extents], offset_type)
    sizes = pa.array([len(extent) for extent in extents], offset_type)
    buffers = [pack_validity(cells), offsets.buffers()[1], sizes.buffers()[1]]
    return pa.Array.from_buffers(make_type(child.type), len(cells), buffers, children=[child])


def build_fixed_size_lists(
    cells: Sequence[Any], size: int, build_child: Builder, filler: Any
) -> pa.Array:
    """Return lists of one size. Null lists have `filler` as their items."""
    child = build_child([value for cell in cells for value in cell or (filler,) * size])
    arrow_type = pa.list_(child.type, size)
    return pa.Array.from_buffers(arrow_type, len(cells), [pack_validity(cells)], children=[child])


def read_column(column: pa.ChunkedArray) -> list[Any]:
    """Return the meaning of a column of any layout, in the form of `Column.values`."""
    if pa.types.is_timestamp(column.type):
        factor = NS_BY_UNIT[column.type.unit]
        return [None if n is None else n * factor for n in column.cast(pa.int64()).to_pylist()]
    return [normalise(value) for value in column.to_pylist()]


def read_rows(table: pa.Table) -> list[tuple[Any, ...]]:
    """Return a table's meaning row by row."""
    columns = [read_column(column) for column in table.columns]
    return list(zip(*columns, strict=True)) if columns else []


def normalise(value: Any) -> Any:
    """Return a cell with lists as tuples and UUIDs as their 16 bytes."""
    if isinstance(value, list):
        return tuple(normalise(item) for item in value)
    return value.bytes if isinstance(value, UUID) else value


def split_into_batches(table: pa.Table, sizes: Sequence[int]) -> Iterator[pa.RecordBatch]:
    """Yield the table as batches of the given sizes in turn. A size of 0 is an empty batch."""
    start = 0
    for size in cycle((*sizes, max(table.num_rows, 1))):
        yield from table.slice(start, size).to_batches() or [empty_batch(table)]
        start += size
        if start >= table.num_rows:
            return


def empty_batch(table: pa.Table) -> pa.RecordBatch:
    """Return a batch of the table's schema without rows."""
    arrays = [column.chunk(0).slice(0, 0) for column in table.columns]
    return pa.RecordBatch.from_arrays(arrays, schema=table.schema)
