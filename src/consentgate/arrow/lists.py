"""List columns of any layout as items with a start and a length for each list."""

from typing import TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from consentgate.arrow.values import Bits, Int64s

Values = TypeVar("Values", Bits, Int64s)


def list_items(lists: pa.Array) -> tuple[pa.Array, Int64s, Int64s]:
    """The items of n lists of any layout; a null list has none, unless it is of fixed size.

    `flatten` is not used: on list views of string views its memory grows with the square of the
    length (pyarrow 26).

    Returns:
        The items from the first one used to the last; and for each of the n lists the position of
        its first item, and its length.
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
    """The positions start, start + 1, … of every span, one span after the other."""
    ends = np.cumsum(counts)
    positions: Int64s = np.arange(counts.sum()) + np.repeat(starts - (ends - counts), counts)
    return positions


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
    size = 1  # values[i] is the union of the `size` values from position i on
    while True:
        rows = np.flatnonzero((counts >= size) & (counts < 2 * size))
        first, last = starts[rows], (starts + counts)[rows] - size
        united[rows] = operation(values[first], values[last])
        if counts.max() < 2 * size:
            return united
        values = operation(values[:-size], values[size:])
        size *= 2
