"""Instants in a few bits of a word: they compare as the instants themselves would."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

import consentgate.arrow.threads as threads_module
from consentgate.arrow.instants import EARLIEST, LATEST
from consentgate.arrow.values import Int64s, Uint64s
from consentgate.index import Index
from consentgate.index.packed_instants import PackedInstants, pack_instants, with_rests
from consentgate.judging.facts import Facts, Meaning

NEAR_ENDS = [EARLIEST, EARLIEST + 1, EARLIEST + 2, -1, 0, 1, LATEST - 1, LATEST]
POWERS = [sign << n for n in range(0, 62, 3) for sign in (-1, 1)]
INSTANTS = st.one_of(
    st.sampled_from(NEAR_ENDS),
    st.integers(EARLIEST, LATEST),
    st.integers(-20, 20),
    st.builds(lambda power, step: power + step, st.sampled_from(POWERS), st.integers(-2, 2)),
)


def packed(columns: list[Int64s], first_bit: int) -> tuple[list[PackedInstants | None], Uint64s]:
    """The layouts of columns of bounds, and the words that hold them."""
    words = np.full(len(columns[0]), (1 << first_bit) - 1, np.uint64)
    layouts, rests = pack_instants(words, first_bit, columns)
    return with_rests(layouts, rests), words


LATER = 1 << 31


class Compared:
    """Bounds in facts, as the kernel reads them and compares them with instants."""

    def __init__(self, layout: PackedInstants, facts: Uint64s, rests: Any) -> None:
        self.ids = pa.array(np.arange(len(facts)))
        index, (by_rank,) = Index.build(self.ids, facts, [rests])
        placed = replace(layout, rests=by_rank)
        self.facts = Facts(index, Meaning(0, 2, 0, 0, 0, LATER), placed, placed)

    def bounds(self) -> list[int]:
        held: list[int] = self.facts.resolve(self.ids, 0).since[:-1].tolist()
        return held

    def later_than(self, instant: int) -> list[bool]:
        # the kernel compares with the complement of the instant of judgement
        found = self.facts.resolve(self.ids, ~(instant + 1))
        return [bool(bits & LATER) for bits in found.bits[:-1].tolist()]


def check(columns: list[list[int]], instants: list[int], first_bit: int) -> None:
    """That every bound compares with every instant as whole numbers do."""
    bounds = [np.array(column, np.int64) for column in columns]
    layouts, facts = packed(bounds, first_bit)
    assert (facts & np.uint64((1 << first_bit) - 1) == (1 << first_bit) - 1).all()
    for layout, column in zip(layouts, columns, strict=True):
        assert (layout is None) == all(bound == EARLIEST for bound in column)
        if layout is None:
            continue
        compared = Compared(layout, facts, layout.rests)
        assert compared.bounds() == column
        for instant in {*instants, *column, *(b + 1 for b in column if b < LATEST)} - {LATEST}:
            assert compared.later_than(instant) == [bound > instant for bound in column]


@given(
    columns=st.integers(1, 5).flatmap(
        lambda n: st.lists(st.lists(INSTANTS, min_size=n, max_size=n), min_size=1, max_size=3)
    ),
    instants=st.lists(INSTANTS, max_size=4),
    first_bit=st.integers(2, 29),
)
def test_bounds_compare_as_whole_numbers_do(
    columns: list[list[int]], instants: list[int], first_bit: int
) -> None:
    check(columns, instants, first_bit)


@pytest.mark.parametrize("first_bit", range(2, 30))
@pytest.mark.parametrize("first", [EARLIEST + 1, -3, 0, 1, 2**40 + 1])
def test_the_widest_spans_fit_into_their_bits(first: int, first_bit: int) -> None:
    """The number of the last step takes the highest bit that there is."""
    spans = [s for n in (1, 2, 3, 61, 62, 63) for s in (2**n - 1, 2**n)]
    spans += [2**n - 1 for n in range(20, 61, 5)]
    for span in spans:
        last = min(first + span, LATEST)
        column = [first, last, EARLIEST, max(last - 1, first), first + 1]
        check([column, column], [first - 1, last], first_bit)
        check([column], [first - 1, last], first_bit)


def test_columns_do_not_get_into_each_others_way() -> None:
    columns = [[5, EARLIEST, 2**50], [EARLIEST] * 3, [LATEST, 7, EARLIEST], [0, -9, 2**30]]
    check(columns, [4, 5, 6, 7], 10)


def test_rests_of_zero_mean_a_later_bound() -> None:
    column = np.arange(-500, 500, 3, dtype=np.int64) * 1_000_003
    (layout, _), facts = packed([column, column], 29)
    assert layout is not None
    compared = Compared(layout, facts, np.zeros_like(layout.rests))
    for instant in column.tolist()[::10]:
        found = compared.later_than(instant - 1)
        assert (np.array(found) | (column <= instant - 1)).all()


@pytest.mark.parametrize("block_rows", [1, 7])
def test_blocks_are_packed_like_the_whole(block_rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads_module, "BLOCK_ROWS", block_rows)
    check([[EARLIEST, *range(-60, 60, 3), LATEST]], [0, 1, 2], 5)


@pytest.mark.parametrize("first_bit", [2, 7, 10, 29])
@pytest.mark.parametrize("held", [1, 2, 3])
def test_bounds_share_the_bits_that_are_left(first_bit: int, held: int) -> None:
    """As saved gates have it."""
    column = np.array([7, EARLIEST, 9])
    layouts, _ = packed([column] * held + [np.full(3, EARLIEST)], first_bit)
    bits = (64 - first_bit) // held
    found = [(layout.first_bit, layout.bits) for layout in layouts if layout is not None]
    assert found == [(first_bit + place * bits, bits) for place in range(held)]


def test_steps_are_as_short_as_the_bits_allow() -> None:
    for span in (0, 1, 2**20, 2**40 - 1, 2**40):
        layout = PackedInstants.over(np.array([7, 7 + span, EARLIEST]), first_bit=10, bits=20)
        steps = ((7 + span) >> layout.shift) - layout.base
        assert steps < 2**20
        assert layout.shift == 2 or ((7 + span) >> layout.shift - 1) - layout.base >= 2**18
        assert layout.rests.dtype == np.min_scalar_type(2**layout.shift - 1)
        assert len(layout.rests) == 0
