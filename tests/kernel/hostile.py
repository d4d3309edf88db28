"""Arrow columns that contradict themselves, for the code that reads Arrow's buffers in place.

Each has four rows, and the rows before the fault are sound. `tests/malformed.py` has what pyarrow's
own checks find; here are the faults that only a look at every value shows, and many rows.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import nanoarrow as na
import numpy as np
import pyarrow as pa

ROWS = 4
TEXT = b"aaaabbbb"
OF_TEXTS = [(pa.string(), "int32"), (pa.large_string(), "int64")]
Make = Callable[[], Any]


def octets(numbers: Any, dtype: str) -> pa.Buffer:
    """Numbers as they lie in memory."""
    return pa.py_buffer(np.array(numbers, dtype).tobytes())


def column(kind: Any, *buffers: Any, nulls: int = -1, rows: int = ROWS, offset: int = 0) -> Any:
    """A column of four rows; bytes become buffers."""
    held = [pa.py_buffer(b) if isinstance(b, bytes) else b for b in buffers]
    return pa.Array.from_buffers(kind, rows, held, nulls, offset)


def text(kind: Any, dtype: str, offsets: Any, data: bytes = TEXT, valid: Any = None) -> Any:
    return column(kind, valid, octets(offsets, dtype), data)


def views(*cells: tuple[int, bytes, int, int], data: Any = b"a" * 64, valid: Any = None) -> Any:
    """String views: the length, the first four bytes, the number of the buffer, and the offset."""
    rows = [
        np.array([length], "<i4").tobytes() + start + np.array([at, offset], "<i4").tobytes()
        for length, start, at, offset in cells
    ]
    buffers = [] if data is None else [data]
    return column(pa.string_view(), valid, b"".join(rows), *buffers)


SOUND = (20, b"aaaa", 0, 0)


def coded(codes: list[int], values: Any, kind: str = "int8") -> Any:
    """A dictionary-encoded column. The indices are not checked."""
    return pa.DictionaryArray.from_arrays(pa.array(codes, kind), values, safe=False)


def miscounted(kind: Any, bits: bytes | None, *buffers: bytes, nulls: int) -> Any:
    """A column as another library hands it over, with a number of nulls that it only claims."""
    array = na.c_array_from_buffers(kind, ROWS, [bits, *buffers], null_count=nulls)
    return pa.array(array)


def miscounted_instants(nulls: int) -> Any:
    """Instants of which two are null, with a number of nulls that they only claim."""
    kind = na.timestamp("us", "UTC")
    return miscounted(kind, b"\x05", np.full(ROWS, 1_748_736_000_000_000).tobytes(), nulls=nulls)


def many_texts(start: int) -> Any:
    """A thousand texts of which number 500 is longer than all data."""
    offsets = np.arange(1001) * 4
    offsets[500] = start
    return pa.Array.from_buffers(
        pa.string(), 1000, [None, octets(offsets, "int32"), pa.py_buffer(b"a" * 4000)]
    )


IDS_8 = np.arange(1, 5, dtype=np.int64).tobytes()

INTEGERS: dict[str, Make] = {
    "fewer nulls than there are": lambda: miscounted(na.int64(), b"\x05", IDS_8, nulls=1),
    "more nulls than there are": lambda: miscounted(na.int64(), b"\x05", IDS_8, nulls=3),
    "nulls that are not there": lambda: miscounted(na.int64(), b"\x0f", IDS_8, nulls=4),
    "no nulls where there are some": lambda: miscounted(na.int64(), b"\x00", IDS_8, nulls=0),
}
UUIDS: dict[str, Make] = {
    "fewer null UUIDs than there are": lambda: miscounted(
        na.fixed_size_binary(16), b"\x05", bytes(64), nulls=1
    ),
}


def text_faults(kind: Any, dtype: str) -> dict[str, Make]:
    """Faults of text with 32-bit or 64-bit offsets."""

    def of(offsets: Any, data: bytes = TEXT, valid: Any = None) -> Make:
        return lambda: text(kind, dtype, offsets, data, valid)

    faults = {
        "text backwards": of([0, 4, 2, 4, 8]),
        "text backwards at its end": of([0, 2, 4, 8, 4]),
        "text before its data": of([0, 4, -1, 4, 8]),
        "text beyond its data": of([0, 4, 99, 99, 8]),
        "text far beyond its data": of([0, 4, np.iinfo(dtype).max, 6, 8]),
        "text far before its data": of([0, 4, np.iinfo(dtype).min, 6, 8]),
        "null text beyond its data": of([0, 4, 99, 4, 8], valid=b"\x09"),
        "a byte that begins no character": of([0, 2, 4, 6, 8], b"aaaabb\xffb"),
        "half a character": of([0, 2, 4, 6, 8], b"aaa\xc3\xa4bbb"),
        "a surrogate": of([0, 2, 4, 4, 8], b"aaaa\xed\xa0\x80b"),
        "a character in too many bytes": of([0, 2, 4, 6, 8], b"aaaa\xc0\x80bb"),
        "a long text that is not UTF-8": of([0, 0, 0, 0, 70_001], b"a" * 70_000 + b"\xff"),
    }
    return {f"{kind}: {fault}": make for fault, make in faults.items()}


VIEWS: dict[str, Make] = {
    "view into no buffer": lambda: views(SOUND, SOUND, (20, b"aaaa", 1, 0), SOUND),
    "view into a buffer of negative number": lambda: views(
        SOUND, SOUND, (20, b"aaaa", -1, 0), SOUND
    ),
    "view beyond its buffer": lambda: views(SOUND, SOUND, (20, b"aaaa", 0, 45), SOUND),
    "view far beyond its buffer": lambda: views(SOUND, SOUND, (2**31 - 1, b"aaaa", 0, 0), SOUND),
    "view at the end of offsets": lambda: views(SOUND, SOUND, (20, b"aaaa", 0, 2**31 - 1), SOUND),
    "view before its buffer": lambda: views(SOUND, SOUND, (20, b"aaaa", 0, -1), SOUND),
    "view of negative length": lambda: views(SOUND, SOUND, (-1, b"aaaa", 0, 0), SOUND),
    "view that begins otherwise": lambda: views(SOUND, SOUND, (20, b"aaab", 0, 0), SOUND),
    "view without any buffer": lambda: views(SOUND, SOUND, SOUND, SOUND, data=None),
    "short view that is not UTF-8": lambda: views(SOUND, SOUND, (4, b"a\xffaa", 0, 0), SOUND),
    "long view that is not UTF-8": lambda: views(
        *[(20, b"aaaa", 0, 0)] * 4, data=b"a" * 19 + b"\xc3" + b"a" * 44
    ),
}


def shortened(sound: pa.Table, size: int, to: int) -> pa.Table:
    """A table that came in Arrow's IPC format, with a buffer shorter than its rows need.

    pyarrow's constructors check this, but its readers do not. The first buffer of `size` bytes is
    made shorter.
    """
    (batch,) = sound.combine_chunks().to_batches()
    content = bytearray(batch.serialize().to_pybytes())
    words = np.frombuffer(content, "<i8", len(content) // 8)
    (found,) = np.nonzero(words == size)
    at = next(int(word) for word in found if words[word - 1] % 8 == 0 and words[word - 1] < 1024)
    words[at] = to
    return pa.Table.from_batches([pa.ipc.read_record_batch(pa.py_buffer(content), sound.schema)])


def no_gap(kind: Any) -> Any:
    return pa.array(["aaaa", "aaaa", "aaaa", "bbbbbbbbbbbbb"], kind)


SHORT: dict[str, tuple[Any, int, int]] = {
    "too few integers": (pa.array([1, 2, 1, 1]), 32, 31),
    "one integer": (pa.array([1, 2, 1, 1]), 32, 8),
    "no integers": (pa.array([1, 2, 1, 1]), 32, 0),
    "too few UUIDs": (pa.array([bytes(16)] * 7, pa.binary(16)), 112, 111),
    "too few offsets": (no_gap(pa.string()), 20, 19),
    "no offsets": (no_gap(pa.string()), 20, 0),
    "too few large offsets": (no_gap(pa.large_string()), 40, 39),
    "too little text": (no_gap(pa.string()), 25, 24),
    "no large text": (no_gap(pa.large_string()), 25, 0),
    "too few views": (no_gap(pa.string_view()), 64, 63),
    "a short buffer of views": (no_gap(pa.string_view()), 13, 12),
    "too few offsets of lists": (pa.array([["a", "b"]] * 7), 32, 28),
    "too few items": (pa.array([["aaaa"], [], ["b"], ["cc"]]), 16, 12),
    "too few starts": (pa.array([[1]] * 4, pa.list_view(pa.int64())), 16, 12),
}
"""Columns, the size of one of their buffers, and a size that is too short."""


def of_dictionaries(values: Any) -> dict[str, Make]:
    """Faults of the indices of a dictionary of two values."""
    return {
        "index beyond the dictionary": lambda: coded([0, 1, 2, 0], values),
        "index far beyond the dictionary": lambda: coded([0, 1, 2**63 - 1, 0], values, "int64"),
        "index before the dictionary": lambda: coded([0, 1, -1, 0], values),
        "unsigned index beyond the dictionary": lambda: coded([0, 1, 255, 0], values, "uint8"),
        "index of nothing": lambda: coded([0, 0, 0, 0], values[:0]),
    }


DICTIONARIES: dict[str, Make] = {
    "text backwards in a dictionary": lambda: coded(
        [0, 1, 2, 0], text(pa.string(), "int32", [0, 4, 2, 4, 8])
    ),
    "view out of range in a dictionary": lambda: coded(
        [0, 1, 0, 1], views(SOUND, SOUND, (20, b"aaaa", 0, 60), SOUND)
    ),
    "text beyond its data in a large dictionary": lambda: coded(
        [0, 499, 500, 1], many_texts(2**31 - 1), "int16"
    ),
    "text backwards in a large dictionary": lambda: coded([0, 499, 500, 1], many_texts(0), "int16"),
    "index beyond a large dictionary": lambda: coded(
        [0, 1, 1000, 2], pa.array([f"{n}" for n in range(1000)]), "int16"
    ),
    "index before a large dictionary": lambda: coded(
        [0, 1, -5, 2], pa.array([f"{n}" for n in range(1000)]), "int16"
    ),
}


def lists(dtype: str, offsets: Any, items: Any, valid: Any = None) -> Any:
    kind = pa.list_(items.type) if dtype == "int32" else pa.large_list(items.type)
    buffers = [None if valid is None else pa.py_buffer(valid), octets(offsets, dtype)]
    return pa.Array.from_buffers(kind, ROWS, buffers, children=[items])


def list_views(dtype: str, starts: Any, sizes: Any, items: Any) -> Any:
    kind = pa.list_view(items.type) if dtype == "int32" else pa.large_list_view(items.type)
    buffers = [None, octets(starts, dtype), octets(sizes, dtype)]
    return pa.Array.from_buffers(kind, ROWS, buffers, children=[items])


def fixed_lists(size: int, items: Any, rows: int = ROWS) -> Any:
    return pa.Array.from_buffers(pa.list_(items.type, size), rows, [None], children=[items])


def list_faults(dtype: str, items: Any) -> dict[str, Make]:
    """Faults of lists with 32-bit or 64-bit offsets; `items` has eight values."""
    most, least = np.iinfo(dtype).max, np.iinfo(dtype).min

    def of(offsets: Any) -> Make:
        return lambda: lists(dtype, offsets, items)

    def viewed(starts: Any, sizes: Any) -> Make:
        return lambda: list_views(dtype, starts, sizes, items)

    faults = {
        "list backwards": of([0, 4, 2, 4, 8]),
        "list beyond its items": of([0, 4, 9, 9, 8]),
        "list far beyond its items": of([0, 4, most, 6, 8]),
        "list before its items": of([0, 4, -1, 4, 8]),
        "list far before its items": of([0, 4, least, 6, 8]),
        "view beyond its items": viewed([0, 2, 4, 6], [2, 2, 5, 2]),
        "view before its items": viewed([0, 2, -1, 6], [2, 2, 2, 2]),
        "view that begins beyond its items": viewed([0, 2, 9, 6], [2, 2, 0, 2]),
        "view of negative size": viewed([0, 2, 4, 6], [2, 2, -1, 2]),
        "view of far too many": viewed([0, 2, 4, 6], [2, 2, most, 2]),
        "view far away": viewed([0, 2, most, 6], [2, 2, most, 2]),
        "views that overlap, and one beyond": viewed([0, 0, 0, 6], [8, 8, 8, 3]),
        "views that overlap, and one of negative size": viewed([0, 0, 0, 6], [8, 8, 8, -8]),
        "views of sizes that add up to little": viewed([0, 0, 0, 0], [most, 1, least, 1]),
    }
    return {f"{dtype} {fault}": make for fault, make in faults.items()}


def in_lists(faults: dict[str, Make]) -> dict[str, Make]:
    """The same columns as items of lists of every layout."""

    def within(make: Make, wrap: Callable[[Any], Any]) -> Make:
        return lambda: wrap(make())

    wraps: dict[str, Callable[[Any], Any]] = {
        "list": lambda items: lists("int32", [0, 1, 2, 3, 4], items),
        "large list": lambda items: lists("int64", [0, 0, 2, 2, 4], items),
        "list view": lambda items: list_views("int32", [0, 1, 2, 3], [1, 1, 1, 1], items),
        "overlapping views": lambda items: list_views("int64", [0, 0, 1, 0], [4, 4, 3, 4], items),
        "fixed list": lambda items: fixed_lists(1, items),
    }
    return {
        f"{fault} in a {name}": within(make, wrap)
        for fault, make in faults.items()
        for name, wrap in wraps.items()
    }


def flat_faults() -> dict[str, Make]:
    """Every malformed column of ids."""
    texts = {k: v for of in OF_TEXTS for k, v in text_faults(*of).items()}
    coded_texts = of_dictionaries(pa.array(["aaaa", "bb"]))
    return INTEGERS | UUIDS | texts | VIEWS | DICTIONARIES | coded_texts


def nested_faults() -> dict[str, Make]:
    """Every malformed column of lists."""
    eight = pa.array(["aaaa", "bb"] * 4)
    faults = {k: v for width in ("int32", "int64") for k, v in list_faults(width, eight).items()}
    coded_items = coded([0, 1] * 4, pa.array(["aaaa", "bb"]))
    faults |= {f"{k} of codes": v for k, v in list_faults("int32", coded_items).items()}
    return faults | in_lists(flat_faults())
