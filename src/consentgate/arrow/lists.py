"""List columns of any layout as items with a start and a length for each list."""

from typing import TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from consentgate.arrow.values import Bits, Int64s, bitmap, integers

Values = TypeVar("Values", Bits, Int64s)


def list_items(lists: pa.Array) -> tuple[pa.Array, Int64s, Int64s]:
    """The items of n lists of any layout.

    A null list has length 0. The items beneath null lists of fixed size are returned with the
    others. `flatten` is not used, because on list views of string views its memory grows with the
    square of the length (pyarrow 26).

    Returns:
        The items, from the first to the last one that a list uses; the position of each list's
        first item among them; and each list's length.
    """
    lengths = pc.list_value_length(lists)
    counts: Int64s = integers(lengths).astype(np.int64)
    if (valid := bitmap(lengths)) is not None:
        counts[~valid] = 0
    if pa.types.is_fixed_size_list(lists.type):
        size = lists.type.list_size
        items = lists.values.slice(lists.offset * size, len(lists) * size)
        return items, np.arange(len(lists)) * size, counts
    offsets = integers(lists.offsets)
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

    Spans may overlap. Each span is covered by two shorter spans, whose length is a power of two,
    and which may overlap, too. This takes O(values x log(longest span)) time, and the memory of two
    copies of the values.

    Args:
        operation: an operation whose result stays the same if a value is counted twice.
        counts: the lengths of the spans, all at least 1.
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
