"""Columns of any layout turned into one plain layout: no views, no dictionary, one chunk."""

from typing import Any

import numpy as np
import pyarrow as pa

from consentgate.arrow.schemas import is_text, plain_layout
from consentgate.arrow.threads import for_each
from consentgate.arrow.values import Int64s, bitmap, fixed_width_values, from_numpy
from consentgate.errors import MalformedDataError

_MOST_SHARED_BYTES = 1 << 30
_MOST_SHARED = 4
"""Views that share data are written out up to 1 GiB or 4 times that data, whichever is more."""


def plain_text(column: pa.Array | pa.ChunkedArray) -> Any:
    """A column of text as large_string, from any layout, with a dictionary or without."""
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
    """Raise an error if views that share data would take far more memory when written out.

    Raises:
        MalformedDataError: They would take more than the limits above.
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


def _with_blank_nulls(views: pa.Array) -> pa.Array:
    """The same views with zeros in the cells of nulls, because pyarrow 26 can crash over others."""
    valid = bitmap(views)
    if valid is None:
        return views
    cells = fixed_width_values(views, np.dtype((np.uint64, 2))).copy()
    cells[~valid] = 0
    bits = np.packbits(valid, bitorder="little")
    buffers = [pa.py_buffer(bits), pa.py_buffer(cells), *views.buffers()[2:]]
    return pa.Array.from_buffers(views.type, len(views), buffers)


def decoded(column: pa.Array | pa.ChunkedArray) -> Any:
    """A dictionary-encoded column as plain values without views; any other column as it is."""
    if not pa.types.is_dictionary(column.type):
        return column
    if is_text(column.type.value_type):
        return plain_text(column)
    if isinstance(column, pa.ChunkedArray):
        kind = plain_layout(column.type.value_type) or column.type.value_type
        return pa.chunked_array([decoded(chunk) for chunk in column.chunks], kind)
    return without_views(column.dictionary).take(column.indices)


def one_text(column: pa.ChunkedArray) -> pa.LargeStringArray:
    """A column of text of any layout as one array. Several threads copy its chunks."""
    chunks = [chunk for chunk in column.chunks if len(chunk)]
    if len(chunks) == 1:
        return plain_text(chunks[0])
    texts = [chunk if _has_offsets(chunk) else plain_text(chunk) for chunk in chunks]
    ends = [_offsets(text) for text in texts]
    rows = np.cumsum([0, *map(len, texts)])
    octets = np.cumsum([0, *(int(own[-1]) - int(own[0]) for own in ends)])
    offsets, data = np.zeros(rows[-1] + 1, np.int64), np.empty(octets[-1], np.uint8)

    def copy(at: int) -> None:
        own, bounds = ends[at], slice(octets[at], octets[at + 1])
        offsets[rows[at] + 1 : rows[at + 1] + 1] = own[1:] + (octets[at] - own[0])
        if bounds.stop > bounds.start:
            data[bounds] = np.frombuffer(texts[at].buffers()[2], np.uint8)[own[0] : own[-1]]

    for_each(copy, range(len(texts)))
    buffers = [_validity(texts), pa.py_buffer(offsets), pa.py_buffer(data)]
    return pa.Array.from_buffers(pa.large_string(), len(offsets) - 1, buffers)


def _has_offsets(texts: pa.Array) -> bool:
    return bool(pa.types.is_string(texts.type) or pa.types.is_large_string(texts.type))


def _offsets(texts: pa.Array) -> Int64s:
    """The offsets of n texts, of which n is not zero: n + 1 integers."""
    width = np.dtype(np.int32 if pa.types.is_string(texts.type) else np.int64)
    first, buffer = texts.offset * width.itemsize, texts.buffers()[1]
    return np.frombuffer(buffer, width, len(texts) + 1, first).astype(np.int64)


def _validity(arrays: list[pa.Array]) -> pa.Buffer | None:
    """The validity bits of arrays that are put one after the other; None if no entry is null."""
    masks = [bitmap(array) for array in arrays]
    if all(mask is None for mask in masks):
        return None
    whole = [
        np.ones(len(array), np.bool_) if mask is None else mask
        for array, mask in zip(arrays, masks, strict=True)
    ]
    return from_numpy(np.concatenate(whole)).buffers()[1]


def one_chunk(column: pa.ChunkedArray) -> pa.Array:
    """The column as one array.

    Empty chunks are left out first. A C stream can hand over empty chunks with an offset but no
    buffer, and pyarrow 26 refuses to combine these.
    """
    chunks = [chunk for chunk in column.chunks if len(chunk)]
    if len(chunks) > 1:
        return pa.concat_arrays(chunks)
    return chunks[0] if chunks else pa.nulls(0, column.type)
