"""How the package looks into Arrow data: the pieces, each against plain Python."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

import consentgate as cg
from consentgate.arrow.instants import check_time_zone
from consentgate.arrow.layouts import one_chunk
from consentgate.arrow.lists import list_items, spans, unite
from consentgate.arrow.schemas import find_column, is_list, quoted, schema_difference
from consentgate.arrow.validation import Validator
from consentgate.arrow.values import (
    bitmap,
    booleans,
    dictionary_codes,
    fixed_width_values,
    valid_mask,
)

LIST_TYPES: list[Any] = [
    pa.list_(pa.int64()),
    pa.large_list(pa.int64()),
    pa.list_(pa.int64(), 2),
    pa.list_view(pa.int64()),
    pa.large_list_view(pa.int64()),
]


@pytest.mark.parametrize("longest", [1, 2, 3, 4, 5, 7, 8, 9, 16, 17])
def test_spans_of_every_length_are_united(longest: int) -> None:
    values = np.random.default_rng(1).integers(0, 2**20, 40, dtype=np.uint32)
    pairs = [(s, n) for n in range(1, longest + 1) for s in (0, 1, 40 - n)]
    for of in (pairs, pairs[::-1], pairs[-1:], [(0, longest)] * 2):
        starts, counts = np.array(of).T
        parts = [values[start : start + count] for start, count in of]
        ored = unite(np.bitwise_or, values, starts, counts)
        assert ored.tolist() == [int(np.bitwise_or.reduce(part)) for part in parts]
        assert ored.dtype == values.dtype
        greatest = unite(np.maximum, values.astype(np.int64) - 2**19, starts, counts)
        assert greatest.tolist() == [int(part.max()) - 2**19 for part in parts]


def test_spans_are_written_out() -> None:
    starts, counts = np.array([5, 0, 9, 2, 2]), np.array([2, 3, 0, 1, 1])
    assert spans(starts, counts).tolist() == [5, 6, 0, 1, 2, 2, 2]
    assert spans(starts[:0], counts[:0]).tolist() == []


@pytest.mark.parametrize("kind", LIST_TYPES)
@pytest.mark.parametrize("start", [0, 1, 3])
def test_a_lists_items_lie_where_it_says(kind: pa.DataType, start: int) -> None:
    assert is_list(kind)
    lists = pa.array([[1, 2], None, [3, 4], [5, 6], None], kind).slice(start)
    values, starts, counts = list_items(lists)
    found = [values[s : s + n].to_pylist() for s, n in zip(starts, counts, strict=True)]
    assert found == [items or [] for items in lists.to_pylist()]


@pytest.mark.parametrize("kind", [pa.struct([("a", pa.int8())]), pa.map_(pa.int8(), pa.int8())])
def test_structs_and_maps_are_no_lists(kind: pa.DataType) -> None:
    assert not is_list(kind)


@pytest.mark.parametrize("start", [0, 1, 7, 8, 9, 15, 16, 17])
@pytest.mark.parametrize("count", [0, 1, 7, 8, 9])
def test_bits_are_read_at_any_offset(start: int, count: int) -> None:
    numbers = np.random.default_rng(1).integers(0, 3, 40).tolist()
    flags = [None if number == 2 else number == 1 for number in numbers]
    array = pa.array(flags, pa.bool_()).slice(start, count)
    part = flags[start : start + count]
    read = booleans(array).tolist()
    assert [flag for flag, given in zip(read, part, strict=True) if given is not None] == [
        given for given in part if given is not None
    ]
    valid = [given is not None for given in part]
    bits = bitmap(array)
    assert (bits is None) == (count == 0)
    assert bits is None or bits.tolist() == valid
    mask = valid_mask(array)
    assert (mask is None) == all(valid)
    assert mask is None or mask.tolist() == valid


def test_an_array_without_a_bitmap_has_no_nulls() -> None:
    assert bitmap(pa.array([1, 2])) is None
    assert valid_mask(pa.array([1, 2])) is None
    assert valid_mask(pa.array([1.5, float("inf")])) is None


def test_whatever_is_null_in_some_way_is_null() -> None:
    nan = float("nan")
    mixed = valid_mask(pa.array([1.0, nan, None, -1.0], pa.float32()))
    assert mixed is not None
    assert mixed.tolist() == [True, False, False, True]
    alone = valid_mask(pa.nulls(2))
    assert alone is not None
    assert alone.tolist() == [False, False]
    for codes, values, expected in (
        ([0, 1, None], ["a", None], [True, False, False]),
        ([0, None], ["a", "b"], [True, False]),
        ([1, 0], [None, "b"], [True, False]),
    ):
        coded = pa.DictionaryArray.from_arrays(pa.array(codes, pa.int8()), pa.array(values))
        mask = valid_mask(coded)
        assert mask is not None
        assert mask.tolist() == expected


def test_codes_that_the_dictionary_does_not_have_are_its_length() -> None:
    codes = pa.array([0, 1, 2, 3, 127, -1, -128, None], pa.int8())
    coded = pa.DictionaryArray.from_arrays(codes, pa.array(["a", "b"]), safe=False)
    assert dictionary_codes(coded).tolist() == [0, 1, 2, 2, 2, 2, 2, 2]
    assert dictionary_codes(coded.slice(1, 2)).tolist() == [1, 2]


@pytest.mark.parametrize("kind", [pa.int8(), pa.uint16(), pa.int64(), pa.timestamp("us")])
def test_values_of_one_width_are_read_where_they_lie(kind: pa.DataType) -> None:
    array = pa.array([3, 1, 4, 1, 5], kind)
    dtype = np.dtype("int64") if pa.types.is_timestamp(kind) else np.dtype(kind.to_pandas_dtype())
    assert fixed_width_values(array.slice(1, 3), dtype).tolist() == [1, 4, 1]
    assert fixed_width_values(array.slice(5), dtype).tolist() == []
    assert fixed_width_values(pa.Array.from_buffers(kind, 0, [None, None]), dtype).tolist() == []


def test_chunks_are_joined_and_empty_ones_left_out() -> None:
    for chunks in ([[1], [], [2, 3]], [[], [1, 2, 3]], [[1, 2, 3]]):
        assert one_chunk(pa.chunked_array(chunks, pa.int8())).to_pylist() == [1, 2, 3]
    for count in range(3):
        assert one_chunk(pa.chunked_array([[]] * count, pa.int8())).equals(pa.array([], pa.int8()))


def test_names_are_quoted_in_their_order() -> None:
    assert quoted(["b", "a"]) == "'a', 'b'"
    assert quoted([]) == "none"


def test_the_one_column_of_a_name_is_found() -> None:
    schema = pa.schema([("a", pa.int8()), ("b", pa.int8()), ("c", pa.int8()), ("a", pa.int8())])
    assert [find_column(schema, name, role="needed") for name in "bc"] == [1, 2]
    with pytest.raises(
        cg.ColumnMissingError, match=r"'d' \(needed\) is missing.* 'a', 'a', 'b', 'c'"
    ):
        find_column(schema, "d", role="needed")
    with pytest.raises(cg.ColumnAmbiguousError, match=r"^2 columns are named 'a' \(needed\)"):
        find_column(schema, "a", role="needed")


@pytest.mark.parametrize(
    ("other", "difference"),
    [
        ([("a", pa.int8()), ("b", pa.string())], ""),
        ([("b", pa.string()), ("a", pa.int8())], "the columns' order differs"),
        ([("a", pa.int8())], "column 'b' is missing"),
        (
            [("a", pa.int8()), ("b", pa.string()), ("c", pa.int8())],
            "column 'c' is additional",
        ),
        (
            [("a", pa.int16()), ("b", pa.binary())],
            "column 'a' is int16 instead of int8, column 'b' is binary instead of string",
        ),
        (
            [pa.field("a", pa.int8(), nullable=False), ("b", pa.string())],
            "column 'a' is int8 not null instead of int8",
        ),
        (
            [("a", pa.int8()), ("a", pa.int8()), ("b", pa.string())],
            "column 'a' is int8 and int8 instead of int8",
        ),
    ],
)
def test_schemas_differ_in_words(other: Any, difference: str) -> None:
    first = pa.schema([("a", pa.int8()), ("b", pa.string())])
    assert schema_difference(first, pa.schema(other, metadata={"x": "y"})) == difference


def test_time_zones_must_be_known() -> None:
    for zone in ("UTC", "Europe/Berlin", "+02:00"):
        check_time_zone(zone)
    for zone in ("Mars/Base", "", "Nowhere"):
        with pytest.raises(cg.ConfigurationError, match=f"'{zone}' is not known on this machine"):
            check_time_zone(zone)


@pytest.mark.parametrize("make", [pa.ListViewArray, pa.LargeListViewArray])
@pytest.mark.parametrize("wrong", range(4))
def test_every_value_that_a_view_uses_is_validated_and_no_other(make: Any, wrong: int) -> None:
    """Whatever the order of the views; the fourth value is in none."""
    data = pa.py_buffer(b"".join(b"\xff" if place == wrong else b"a" for place in range(4)))
    offsets = pa.py_buffer(np.arange(5, dtype=np.int32))
    values = pa.StringArray.from_buffers(4, offsets, data)
    kind = pa.int32() if make is pa.ListViewArray else pa.int64()
    for views in ([(2, 1), (0, 2)], [(0, 2), (2, 1)], [(1, 2), (0, 1)], [(0, 3)], [(2, 1), (0, 3)]):
        starts, sizes = (pa.array(column, kind) for column in zip(*views, strict=True))
        table = pa.table({"texts": make.from_arrays(starts, sizes, values)})
        if wrong == 3:
            Validator().check(table)
        else:
            with pytest.raises(cg.MalformedDataError, match="'texts'"):
                Validator().check(table)
