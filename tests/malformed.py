"""Arrow data that contradicts itself, as a faulty producer hands it over.

pyarrow's constructors let most of it pass. What they correct is handed over through nanoarrow, as
another library would do it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import nanoarrow as na
import numpy as np
import pyarrow as pa

INT8, INT32 = pa.int8(), pa.int32()


def buffer(*numbers: int, dtype: str = "int32") -> pa.Buffer:
    """Numbers as they lie in memory."""
    return pa.py_buffer(np.array(numbers, dtype).tobytes())


def text(*offsets: int, data: bytes = b"abcd", kind: pa.DataType | None = None) -> pa.Array:
    """Text with the given offsets."""
    kind = kind or pa.string()
    width = "int64" if pa.types.is_large_string(kind) else "int32"
    offsets_buffer = buffer(*offsets, dtype=width)
    return pa.Array.from_buffers(kind, len(offsets) - 1, [None, offsets_buffer, pa.py_buffer(data)])


def views(*views: tuple[int, int, int], data: bytes = b"a" * 64) -> pa.Array:
    """String views of some length, in a buffer, from an offset on; too long to be inlined."""
    octets = b"".join(
        np.array([length, 0x61616161, place, offset], "int32").tobytes()
        for length, place, offset in views
    )
    buffers = [None, pa.py_buffer(octets), pa.py_buffer(data)]
    return pa.Array.from_buffers(pa.string_view(), len(views), buffers)


def coded(*codes: int, values: Any = ("a", "b")) -> pa.Array:
    """A dictionary-encoded column with the given indices."""
    return pa.DictionaryArray.from_arrays(pa.array(codes, INT8), pa.array(values), safe=False)


def miscounted(nulls: int) -> pa.Array:
    """The ids 1 and null, said to be so many nulls; behind the null lies the id 2."""
    bits, ids = b"\x01", np.array([1, 2], "int64").tobytes()
    return pa.array(na.c_array_from_buffers(na.int64(), 2, [bits, ids], null_count=nulls))


def lists(*offsets: int, items: pa.Array, large: bool = False) -> pa.Array:
    """Lists with the given offsets."""
    kind = pa.large_list(items.type) if large else pa.list_(items.type)
    lie = buffer(*offsets, dtype="int64" if large else "int32")
    return pa.Array.from_buffers(kind, len(offsets) - 1, [None, lie], children=[items])


def list_views(*views: tuple[int, int], items: pa.Array) -> pa.Array:
    """List views with the given starts and sizes."""
    starts, sizes = zip(*views, strict=True)
    return pa.ListViewArray.from_arrays(pa.array(starts, INT32), pa.array(sizes, INT32), items)


def outside(values: pa.Array) -> dict[str, Callable[[], pa.Array]]:
    """Columns with sound values that are badly referred to."""
    return {
        "index beyond the dictionary": lambda: coded(0, 2),
        "negative index": lambda: coded(0, -1),
        "index without a dictionary": lambda: coded(0, 0, values=pa.array([], pa.string())),
        "list beyond its items": lambda: lists(0, 9, 2, items=values),
        "list backwards": lambda: lists(0, 2, 1, items=values),
        "large list backwards": lambda: lists(0, 2, 1, items=values, large=True),
        "list view beyond its items": lambda: list_views((0, 1), (1, 9), items=values),
        "list view before its items": lambda: list_views((0, 1), (-1, 1), items=values),
        "list view of negative size": lambda: list_views((0, 1), (1, -1), items=values),
    }


MALFORMED: dict[str, Callable[[], pa.Array]] = {
    "text backwards": lambda: text(0, 4, 2),
    "large text backwards": lambda: text(0, 4, 2, kind=pa.large_string()),
    "text beyond its data": lambda: text(0, 99, 4),
    "text that is not UTF-8": lambda: text(0, 2, 4, data=b"\xff\xfeab"),
    "text view into no buffer": lambda: views((20, 0, 0), (20, 7, 0)),
    "text view beyond its buffer": lambda: views((20, 0, 0), (20, 0, 60)),
    "text view of negative length": lambda: views((20, 0, 0), (-20, 0, 0)),
    "fewer nulls than there are": lambda: miscounted(0),
    "more nulls than there are": lambda: miscounted(2),
    "text in a dictionary": lambda: pa.DictionaryArray.from_arrays(
        pa.array([0, 1], INT8), text(0, 4, 2)
    ),
    "text view in a dictionary": lambda: pa.DictionaryArray.from_arrays(
        pa.array([0, 1], INT8), views((20, 0, 0), (20, 7, 0))
    ),
    "text in a list": lambda: lists(0, 1, 2, items=text(0, 4, 2)),
    "index in a list": lambda: lists(0, 1, 2, items=coded(0, 5)),
    **outside(pa.array(["a", "b"])),
}
"""Columns of two rows."""
