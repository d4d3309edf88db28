"""Values of Arrow arrays as NumPy arrays and back, and which of them are null.

pyarrow's own `pa.array` and `to_numpy` import pandas where it is installed, which takes up to a
second. So judging, and what leads to it, uses the functions of this module in their place.
"""

from collections.abc import Iterable
from itertools import accumulate
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from consentgate.arrow.schemas import type_text
from consentgate.errors import ColumnTypeError

Bits: TypeAlias = npt.NDArray[np.uint32]
Bools: TypeAlias = npt.NDArray[np.bool_]
Int64s: TypeAlias = npt.NDArray[np.int64]
Uint64s: TypeAlias = npt.NDArray[np.uint64]


def from_numpy(values: "npt.NDArray[Any]", valid: Bools | None = None) -> pa.Array:
    """An Arrow array of n booleans or numbers. It shares the memory of the numbers.

    Args:
        values: n values.
        valid: n booleans, false where the array is to be null. None: no entry is null.
    """
    if values.dtype == np.bool_:
        kind, held = pa.bool_(), _packed(values)
    else:
        kind = pa.from_numpy_dtype(values.dtype)
        held = pa.py_buffer(np.ascontiguousarray(values))
    bits = None if valid is None else _packed(valid)
    return pa.Array.from_buffers(kind, len(values), [bits, held])


def from_texts(texts: Iterable[str]) -> pa.LargeStringArray:
    """An Arrow array of texts, none of which is null."""
    encoded = [text.encode() for text in texts]
    ends = np.array([0, *accumulate(map(len, encoded))], np.int64)
    buffers = [None, pa.py_buffer(ends), pa.py_buffer(b"".join(encoded))]
    return pa.Array.from_buffers(pa.large_string(), len(encoded), buffers)


def integers(array: pa.Array) -> "npt.NDArray[Any]":
    """The values of an array of integers, as they are in memory; a null has any value."""
    return fixed_width_values(array, np.dtype(array.type.to_pandas_dtype()))


def dictionary_codes(array: pa.DictionaryArray) -> Int64s:
    """The position of each entry in the dictionary.

    For a null, and for an index that the dictionary does not have, this is the dictionary's length.
    """
    end = len(array.dictionary)
    codes: Int64s = integers(array.indices).astype(np.int64)
    is_outside = (codes < 0) | (codes > end)
    if (valid := bitmap(array.indices)) is not None:
        is_outside |= ~valid
    return np.where(is_outside, end, codes)


def fixed_width_values(array: pa.Array, dtype: "np.dtype[Any]") -> "npt.NDArray[Any]":
    """The values of an array of fixed width, as they are in memory; a null has any value."""
    buffer = array.buffers()[1]
    if len(array) == 0 or buffer is None:
        return np.zeros(len(array), dtype)
    return np.frombuffer(buffer, dtype, len(array), array.offset * dtype.itemsize)


def booleans(array: pa.BooleanArray) -> Bools:
    """The values of a column of booleans; a null has any value."""
    if len(array) == 0:
        return np.zeros(0, np.bool_)
    return _unpacked(array.buffers()[1], array)


def bitmap(array: pa.Array) -> Bools | None:
    """An array's own validity bits, true where an entry is not null; None if it has no bits."""
    buffer = array.buffers()[0]
    return None if buffer is None or len(array) == 0 else _unpacked(buffer, array)


def _unpacked(bits: pa.Buffer, array: pa.Array) -> Bools:
    """The bits of an array's n entries as n booleans."""
    first = array.offset % 8
    octets = np.frombuffer(bits, np.uint8)[array.offset // 8 :]
    return np.unpackbits(octets, count=first + len(array), bitorder="little")[first:].view(np.bool_)


def _packed(values: Bools) -> pa.Buffer:
    return pa.py_buffer(np.packbits(values, bitorder="little"))


def valid_mask(array: pa.Array) -> Bools | None:
    """A mask that is true where an entry is not null; None if no entry is null.

    This is the package's only definition of null (docs/semantics.md, section 2.3). An entry is null
    if its validity bit says so, if its column is of Arrow's type null, if it is a NaN, or if it is
    a dictionary index or an extension value that stands for one of these. A producer's count of
    nulls is never trusted.

    Raises:
        ColumnTypeError: The array is a union or run-end-encoded, so its nulls are in its children.
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
