"""Values read from Arrow's buffers."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from consentgate.arrow.values import (
    booleans,
    dictionary_codes,
    from_numpy,
    from_texts,
    integers,
)


@pytest.mark.parametrize("first", range(17))
def test_booleans_are_read_at_any_offset(first: int) -> None:
    values = pa.array([None if n % 5 == 0 else n % 3 == 0 for n in range(60)])
    for last in range(first, 60, 7):
        part = values[first:last]
        expected = [value for value in part.to_pylist() if value is not None]
        assert booleans(part)[part.is_valid().to_numpy(zero_copy_only=False)].tolist() == expected
        assert booleans(part.is_valid()).tolist() == part.is_valid().to_pylist()


@pytest.mark.parametrize("dtype", ["bool", "int8", "uint16", "int64", "uint64", "float32"])
@pytest.mark.parametrize("length", [0, 1, 7, 8, 9, 100])
def test_arrays_are_made_of_numpy_values(dtype: str, length: int) -> None:
    values = np.arange(length).astype(dtype)[:: -1 if length > 1 else 1]
    valid = np.arange(length) % 3 > 0
    made = from_numpy(values)
    made.validate(full=True)
    assert made.equals(pa.array(values))
    made = from_numpy(values, valid)
    made.validate(full=True)
    assert made.equals(pa.array(values, mask=~valid))


@pytest.mark.parametrize("texts", [[], [""], ["a", "", "né", "𝒳" * 9]])
def test_arrays_are_made_of_texts(texts: list[str]) -> None:
    made = from_texts(iter(texts))
    made.validate(full=True)
    assert made.equals(pa.array(texts, pa.large_string()))


@pytest.mark.parametrize("kind", [pa.int8(), pa.uint16(), pa.int32(), pa.uint64()], ids=str)
def test_integers_are_read_at_any_offset(kind: pa.DataType) -> None:
    values = pa.array([1, None, 3, 4, 5], kind)
    assert integers(values[2:]).tolist() == [3, 4, 5]
    assert integers(values[5:]).tolist() == []
    assert integers(values).dtype == kind.to_pandas_dtype()


def test_codes_outside_of_the_dictionary_are_those_of_nulls() -> None:
    indices = pa.array([0, 2**64 - 1, None, 2], pa.uint64())
    array = pa.DictionaryArray.from_arrays(indices, pa.array(["a", "b", "c"]), safe=False)
    assert dictionary_codes(array).tolist() == [0, 3, 3, 2]
