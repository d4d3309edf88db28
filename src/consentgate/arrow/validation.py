"""Refusing Arrow data that contradicts itself, before anything reads it.

A producer can hand over offsets beyond the data, indices that the dictionary does not have, views
out of range, counts of nulls that are wrong, or text that is not UTF-8. Reading those would read
memory that is not the column's, or take a null for a value.

`pyarrow.Array.validate(full=True)` finds all of this. But it looks at all items of a list or of a
dictionary, even for a slice that uses few of them. Here, only the items that a slice uses are
looked at, and a dictionary that many arrays share is validated once.
"""

from threading import Lock
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from consentgate.arrow.schemas import is_flat, is_list, type_text
from consentgate.arrow.values import Int64s, bitmap, integers
from consentgate.errors import ColumnTypeError, MalformedDataError

_DEEPEST = 64
"""How many levels a type may be nested. Arrow's own formats and interfaces have the same limit."""


class MalformedArrayError(Exception):
    """An array contradicts itself. Code that knows the column's name turns it into `malformed`."""


def malformed(name: str, kind: pa.DataType) -> MalformedDataError:
    """The error for a column that contradicts itself."""
    return MalformedDataError(
        f"Column '{name}' ({type_text(kind)}) is malformed Arrow data: its offsets, indices or "
        "lengths point outside of its data, it has another number of nulls than it says, or its "
        "text is not UTF-8. Fix the program that made it."
    )


class Validator:
    """Validates the arrays of one call, from many threads."""

    def __init__(self) -> None:
        self._dictionaries: dict[tuple[Any, ...], pa.Array] = {}
        self._lock = Lock()

    def check(self, table: pa.Table | pa.RecordBatch) -> None:
        """Raise an error if a column contradicts itself.

        Raises:
            MalformedDataError: A column contradicts itself.
            ColumnTypeError: A column is nested more than 64 levels deep.
        """
        for name, column in zip(table.schema.names, table.columns, strict=True):
            self.check_column(name, column)

    def check_column(self, name: str, column: pa.Array | pa.ChunkedArray) -> None:
        """Raise the same errors for one column. Error messages call it `name`."""
        refuse_odd_type(name, column.type)
        try:
            for chunk in column.chunks if isinstance(column, pa.ChunkedArray) else [column]:
                self._check(chunk)
        except (pa.ArrowException, MalformedArrayError):  # pyarrow's message can quote values
            raise malformed(name, column.type) from None

    def _check(self, array: pa.Array) -> None:
        kind = array.type
        if isinstance(array, pa.ExtensionArray):
            self._check(array.storage)
        elif isinstance(array, pa.DictionaryArray):
            array.validate()  # checks that there is a dictionary
            self._check(array.indices)
            _refuse_outside(array.indices, len(array.dictionary))
            self._check_dictionary(array.dictionary)
        elif len(array) == 0:
            return  # some producers give no buffers with an empty array
        elif kind.num_fields == 0:
            array.validate(full=True)
        elif is_list(kind) or pa.types.is_map(kind):
            _check_own_buffers(array)
            self._check(_used_items(array))
        elif pa.types.is_struct(kind):
            _check_own_buffers(array)
            for at in range(kind.num_fields):
                self._check(array.field(at))
        else:
            array.validate(full=True)

    def _check_dictionary(self, values: pa.Array) -> None:
        """Check a dictionary's values, unless they were checked before.

        A dictionary of plain values is recognized by the addresses of its buffers. Dictionaries of
        nested values cannot be told apart by these, so they are checked every time.
        """
        if _inner_fields(values.type):
            self._check(values)
            return
        buffers = (0 if buffer is None else buffer.address for buffer in values.buffers())
        key = (values.type, values.offset, len(values), *buffers)
        with self._lock:
            if key not in self._dictionaries:
                self._check(values)
                self._dictionaries[key] = values  # kept, so that its memory is not used for another


def refuse_odd_type(name: str, kind: pa.DataType) -> None:
    """Raise an error if no column of a type can be validated.

    Raises:
        ColumnTypeError: It is nested more than 64 levels deep, or holds an extension type where
            pyarrow cannot validate it.
    """
    if is_flat(kind):
        return
    if _is_too_deep(kind):
        raise ColumnTypeError(
            f"Column '{name}' is nested more than {_DEEPEST} levels deep; flatten it, or leave "
            "it out."
        )
    if _hides_extension(kind):
        raise ColumnTypeError(
            f"Column '{name}' is {type_text(kind)} and holds extension types within a "
            "union or run-end-encoded values, which cannot be validated; cast them."
        )


def refuse_lists_of_nothing(name: str, kind: pa.DataType) -> None:
    """Raise an error if a column holds lists of the fixed size 0, at any depth.

    Parquet files cannot hold them: pyarrow 26 ends the process, or writes what it cannot read.

    Raises:
        ColumnTypeError: It holds some.
    """
    kinds = [kind]
    while kinds:
        inner = kinds.pop()
        if pa.types.is_fixed_size_list(inner) and inner.list_size == 0:
            raise ColumnTypeError(
                f"Column '{name}' is {type_text(kind)} and holds lists of the fixed size 0, which "
                "cannot be written to Parquet files; cast it, or leave it out."
            )
        kinds += [field.type for field in _inner_fields(inner)]


def refuse_odd_names(schema: pa.Schema) -> None:
    """Raise `pyarrow.ArrowInvalid` if the name of a field or of a time zone is not UTF-8.

    pyarrow itself does not check names. It raises UnicodeDecodeError later, when one is read.
    """
    fields = list(schema)
    try:
        while fields:
            field = fields.pop()
            str(field.name)
            if pa.types.is_timestamp(field.type):
                str(field.type.tz)
            fields += _inner_fields(field.type)
    except UnicodeDecodeError:
        raise pa.ArrowInvalid("names of columns that are not UTF-8") from None


def _check_own_buffers(array: pa.Array) -> None:
    """Check a nested array's buffers, but not its children's values."""
    array.validate()
    valid = bitmap(array)
    nulls = 0 if valid is None else len(valid) - int(np.count_nonzero(valid))
    if nulls != array.null_count:
        raise MalformedArrayError


def _used_items(lists: pa.Array) -> pa.Array:
    """The items that n lists use, from the first to the last."""
    kind, items = lists.type, lists.values
    if pa.types.is_fixed_size_list(kind):
        return items.slice(lists.offset * kind.list_size, len(lists) * kind.list_size)
    starts: Int64s = integers(lists.offsets).astype(np.int64)
    if isinstance(kind, pa.ListViewType | pa.LargeListViewType):
        sizes: Int64s = integers(lists.sizes).astype(np.int64)
    else:
        starts, sizes = starts[:-1], np.diff(starts)
    is_inside = (starts >= 0) & (sizes >= 0) & (starts <= len(items) - sizes)
    if not is_inside.all():
        raise MalformedArrayError
    first = int(starts.min())
    return items.slice(first, int((starts + sizes).max()) - first)


def _refuse_outside(indices: pa.Array, end: int) -> None:
    """Raise an error unless every index that is not null is at least 0 and less than `end`."""
    extremes = pc.min_max(indices)
    least, greatest = extremes["min"].as_py(), extremes["max"].as_py()
    if least is not None and (least < 0 or greatest >= end):
        raise MalformedArrayError


def _is_too_deep(kind: pa.DataType) -> bool:
    level = _inner_fields(kind)
    for _ in range(_DEEPEST):
        if not level:
            return False
        level = [inner for outer in level for inner in _inner_fields(outer.type)]
    return True


def _hides_extension(kind: pa.DataType, *, is_hidden: bool = False) -> bool:
    """Whether an extension type lies where pyarrow 26 can crash while it validates values.

    That is within a union or within run-end-encoded values.
    """
    if is_hidden and isinstance(kind, pa.BaseExtensionType):
        return True
    is_hidden |= bool(pa.types.is_union(kind) or pa.types.is_run_end_encoded(kind))
    return any(_hides_extension(f.type, is_hidden=is_hidden) for f in _inner_fields(kind))


def _inner_fields(kind: pa.DataType) -> list[pa.Field]:
    """The fields that a type is made of, one level down, with "" where Arrow has no name."""
    if isinstance(kind, pa.BaseExtensionType):
        return [pa.field("", kind.storage_type)]
    if isinstance(kind, pa.DictionaryType):
        return [pa.field("", kind.value_type)]
    return [kind.field(at) for at in range(kind.num_fields)]
