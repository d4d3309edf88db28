"""Taking rows out of a table, so that the result holds nothing of the other rows.

Arrow's own kernels keep whole dictionaries and the child values of list views, and refuse string
views (pyarrow 26). With them, an excluded row's values would stay in the admitted table's buffers,
and would be written to disk with it.
"""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from consentgate.arrow.layouts import without_views
from consentgate.arrow.lists import list_items, spans
from consentgate.arrow.schemas import is_flat, is_list, plain_layout, type_text
from consentgate.arrow.validation import Validator
from consentgate.arrow.values import (
    Int64s,
    booleans,
    from_numpy,
    integers,
    valid_mask,
)
from consentgate.errors import ColumnTypeError

_LIST_CLASSES = {
    pa.ListType: pa.ListArray,
    pa.LargeListType: pa.LargeListArray,
    pa.ListViewType: pa.ListViewArray,
    pa.LargeListViewType: pa.LargeListViewArray,
}


def keep_rows(table: pa.Table, mask: pa.BooleanArray) -> pa.Table:
    """The rows where the mask is true, in order, with the same schema, metadata and values.

    A dictionary keeps only the values that these rows use, in the order of the dictionary.

    Args:
        table: n rows.
        mask: n booleans, none null.

    Raises:
        MalformedDataError: A column contradicts itself.
        ColumnTypeError: A map or union holds a dictionary or a view, so values of excluded rows
            would stay in it; or a column is nested more than 64 levels deep.
    """
    Validator().check(table)
    return keep_valid_rows(table, mask)


def keep_valid_rows(table: pa.Table, mask: pa.BooleanArray) -> pa.Table:
    """The same rows as `keep_rows` gives, of a table that was validated before.

    Raises:
        ColumnTypeError: A map or union holds a dictionary or a view.
    """
    if not any(map(_lingers, table.schema.types)):
        return table.filter(mask)  # all columns at once, which is faster
    columns = [
        _keep(column, mask, name)
        for name, column in zip(table.column_names, table.columns, strict=True)
    ]
    return pa.Table.from_arrays(columns, schema=table.schema)


def can_linger(schema: pa.Schema) -> bool:
    """Whether a table can hold values that none of its rows use, of which a file gets some."""
    return any(map(_lingers, schema.types))


def keep_values(column: pa.ChunkedArray, mask: pa.BooleanArray, name: str) -> pa.ChunkedArray:
    """The values of one column where the mask is true; see `keep_rows`."""
    Validator().check_column(name, column)
    return _keep(column, mask, name)


def _keep(column: pa.ChunkedArray, mask: pa.BooleanArray, name: str) -> pa.ChunkedArray:
    if _lingers(column.type):
        return _keep_by_chunk(column, mask, name)
    return column.filter(mask)


def _keep_by_chunk(column: pa.ChunkedArray, mask: pa.BooleanArray, name: str) -> pa.ChunkedArray:
    kept, start = [], 0
    for chunk in column.chunks:
        rows = np.flatnonzero(booleans(mask.slice(start, len(chunk))))
        try:
            if len(rows):
                kept.append(_take(chunk, rows))
        except pa.ArrowNotImplementedError:  # pyarrow's message can quote names of fields
            raise ColumnTypeError(
                f"Column '{name}' is {type_text(column.type)}, whose rows cannot be taken out; "
                "cast it."
            ) from None
        start += len(chunk)
    return pa.chunked_array(kept, column.type)


def _lingers(kind: pa.DataType) -> bool:
    """Whether Arrow's filter would keep values of other rows, or refuse the type."""
    if is_flat(kind):
        return plain_layout(kind) is not None
    if isinstance(kind, pa.BaseExtensionType):
        return _lingers(kind.storage_type)
    return (
        pa.types.is_dictionary(kind)
        or pa.types.is_run_end_encoded(kind)
        or isinstance(kind, pa.ListViewType | pa.LargeListViewType)
        or any(_lingers(kind.field(at).type) for at in range(kind.num_fields))
    )


def _take(array: pa.Array, rows: Int64s) -> pa.Array:
    kind = array.type
    if not _lingers(kind):
        return array.take(from_numpy(rows))
    if isinstance(array, pa.ExtensionArray):
        return pa.ExtensionArray.from_storage(kind, _take(array.storage, rows))
    if plain_layout(kind) is not None:
        return without_views(array).take(from_numpy(rows)).cast(kind)
    if pa.types.is_dictionary(kind):
        return _take_dictionary(array, rows)
    if pa.types.is_struct(kind):
        children = [_take(array.field(at), rows) for at in range(kind.num_fields)]
        return pa.StructArray.from_arrays(children, fields=list(kind), mask=_nulls(array, rows))
    if is_list(kind):
        return _take_lists(array, rows)
    if pa.types.is_run_end_encoded(kind):
        return _take_runs(array, rows)
    raise pa.ArrowNotImplementedError(f"a {kind} would keep values of excluded rows")


def _take_dictionary(array: pa.DictionaryArray, rows: Int64s) -> pa.DictionaryArray:
    codes = array.indices.take(from_numpy(rows))
    used = np.unique(integers(codes.drop_null()))
    positions = pc.index_in(codes, from_numpy(used)).cast(codes.type)
    dictionary = _take(array.dictionary, used.astype(np.int64))
    return pa.DictionaryArray.from_arrays(positions, dictionary, ordered=array.type.ordered)


def _take_runs(array: pa.RunEndEncodedArray, rows: Int64s) -> pa.RunEndEncodedArray:
    runs = np.searchsorted(integers(array.run_ends), rows + array.offset, side="right")
    firsts = np.flatnonzero(np.diff(runs, prepend=-1))
    ends = np.append(firsts[1:], len(rows))[: len(firsts)]
    values = _take(array.values, runs[firsts])
    ends = from_numpy(ends).cast(array.type.run_end_type)
    return pa.RunEndEncodedArray.from_arrays(ends, values, array.type)


def _take_lists(array: pa.Array, rows: Int64s) -> pa.Array:
    kind, mask = array.type, _nulls(array, rows)
    values, starts, counts = list_items(array)
    if pa.types.is_fixed_size_list(kind):  # here, null lists have items, too
        positions = spans(starts[rows], np.full(len(rows), kind.list_size))
        if kind.list_size == 0:
            return _lists_of_nothing(kind, _take(values, positions), mask, len(rows))
        return pa.FixedSizeListArray.from_arrays(_take(values, positions), type=kind, mask=mask)
    starts, counts = starts[rows], counts[rows]
    build, offset_type = _LIST_CLASSES[type(kind)], array.offsets.type
    if isinstance(kind, pa.ListViewType | pa.LargeListViewType):
        values, starts = _take_viewed(values, starts, counts)
        offsets, sizes = (from_numpy(each).cast(offset_type) for each in (starts, counts))
        return build.from_arrays(offsets, sizes, values, type=kind, mask=mask)
    offsets = from_numpy(np.concatenate([[0], np.cumsum(counts)])).cast(offset_type)
    values = _take(values, spans(starts, counts))
    return build.from_arrays(offsets, values, type=kind, mask=mask)


def _lists_of_nothing(
    kind: pa.DataType, no_values: pa.Array, mask: pa.BooleanArray | None, count: int
) -> pa.Array:
    """So many lists of the fixed size 0. To make them of values, pyarrow 26 would divide by 0."""
    bits = None if mask is None else from_numpy(~booleans(mask)).buffers()[1]
    return pa.Array.from_buffers(kind, count, [bits], children=[no_values])


def _take_viewed(values: pa.Array, starts: Int64s, counts: Int64s) -> tuple[pa.Array, Int64s]:
    """The values that n list views use, each once, and the position where each view starts.

    Views may overlap, so writing them out one after the other could take any amount of memory.
    """
    holders = np.flatnonzero(counts)
    firsts, ends = starts[holders], (starts + counts)[holders]
    begun = np.bincount(firsts, minlength=len(values) + 1)
    begun -= np.bincount(ends, minlength=len(values) + 1)
    used = np.cumsum(begun) > 0
    moved = np.zeros(len(counts), np.int64)
    moved[holders] = (np.cumsum(used) - used)[firsts]
    return _take(values, np.flatnonzero(used)), moved


def _nulls(array: pa.Array, rows: Int64s) -> pa.BooleanArray | None:
    valid = valid_mask(array)
    return None if valid is None else from_numpy(~valid[rows])
