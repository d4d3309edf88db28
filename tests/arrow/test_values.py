"""Values read from Arrow's buffers."""

from __future__ import annotations

import pyarrow as pa
import pytest

from consentgate.arrow.values import booleans


@pytest.mark.parametrize("first", range(17))
def test_booleans_are_read_at_any_offset(first: int) -> None:
    values = pa.array([None if n % 5 == 0 else n % 3 == 0 for n in range(60)])
    for last in range(first, 60, 7):
        part = values[first:last]
        expected = [value for value in part.to_pylist() if value is not None]
        assert booleans(part)[part.is_valid().to_numpy(zero_copy_only=False)].tolist() == expected
        assert booleans(part.is_valid()).tolist() == part.is_valid().to_pylist()
