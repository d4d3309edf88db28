"""Instants in a few bits of a word: enough to settle nearly every comparison.

Time from the earliest bound on is cut into steps, and a word holds the number of its bound's step.
A bound is compared exactly only with an instant of the same step; for that, what the step leaves
open lies beside the words in a column of its own, which is hardly ever read.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from consentgate._arrow import EARLIEST, LATEST, Bools, Int64s, Uint64s
from consentgate._threads import for_each, row_blocks

__all__ = ["Bounds", "pack_bounds", "with_rests"]


@dataclass(frozen=True)
class Bounds:
    """One bound for each word; EARLIEST stands for none.

    In a word the number of the step, counted from one; zero where there is no bound. In `rests`
    how much before the end of its step the bound lies, so that zeroed memory means a later bound.

    Attributes:
        first_bit: where in a word the number begins.
        bits: how many bits it has.
        base: an instant before the earliest bound, which stands for all earlier ones.
        shift: a step is 2**shift long.
        rests: unsigned integers, one beside each word; None where a step is one instant.
    """

    first_bit: int
    bits: int
    base: int
    shift: int
    rests: npt.NDArray[np.unsignedinteger[Any]] | None = None

    @classmethod
    def over(cls, bounds: Int64s, *, first_bit: int, bits: int) -> "Bounds":
        """The layout that can hold these bounds, with steps as short as the bits allow."""
        base = int(bounds.min(initial=LATEST, where=bounds != EARLIEST)) - 1
        span = max(int(bounds.max(initial=EARLIEST)) - base, 0)
        return cls(first_bit, bits, base, max(0, span.bit_length() + 1 - bits))

    @property
    def rest_type(self) -> "np.dtype[np.unsignedinteger[Any]] | None":
        """The type that holds what a step leaves open; None where that is nothing."""
        return np.min_scalar_type((1 << self.shift) - 1) if self.shift else None

    def pack_into(
        self, words: Uint64s, bounds: Int64s
    ) -> npt.NDArray[np.unsignedinteger[Any]] | None:
        """Put n bounds into n words, in which their bits are zero; returns their rests."""
        rests = None if self.rest_type is None else np.empty(len(words), self.rest_type)
        shift, first_bit = np.uint64(self.shift), np.uint64(self.first_bit)

        def pack(rows: slice) -> None:
            offsets = _after(bounds[rows], self.base)
            steps = (offsets >> shift) + np.uint64(1)
            words[rows] |= np.where(bounds[rows] == EARLIEST, np.uint64(0), steps << first_bit)
            if rests is not None:
                rests[rows] = ~offsets & np.uint64((1 << self.shift) - 1)

        for_each(pack, row_blocks(len(words)))
        return rests

    def lie_after(self, instants: Int64s, words: Uint64s, slots: Int64s) -> Bools:
        """Where a bound lies after an instant.

        Args:
            instants: n instants, or one for all.
            words: n words.
            slots: n places of the words' rests.
        """
        reached = _after(np.maximum(np.atleast_1d(instants), self.base), self.base)
        steps = words >> np.uint64(self.first_bit)
        if self.first_bit + self.bits < 64:
            steps &= np.uint64((1 << self.bits) - 1)
        last_step = (reached >> np.uint64(self.shift)) + np.uint64(1)
        later: Bools = steps > last_step
        if self.rests is not None:
            rows = np.flatnonzero(steps == last_step)
            ends = steps[rows] << np.uint64(self.shift)
            offsets = ends - np.uint64(1) - self.rests[slots[rows]]
            later[rows] = offsets > (reached[rows] if len(reached) > 1 else reached)
        return later


def pack_bounds(
    words: Uint64s, first_bit: int, columns: Sequence[Int64s]
) -> tuple[list[Bounds | None], list[npt.NDArray[Any]]]:
    """Put columns of n bounds each into n words, from a bit on that the words do not use.

    Returns:
        The layout of each column, None where it holds no bound; and the rests of n entries each
        that are to lie beside the words, in the order of the layouts that need some.
    """
    held = [bool((column != EARLIEST).any()) for column in columns]
    bits = (64 - first_bit) // max(1, sum(held))
    layouts: list[Bounds | None] = []
    rests = []
    for column, is_held in zip(columns, held, strict=True):
        layout = Bounds.over(column, first_bit=first_bit, bits=bits) if is_held else None
        layouts.append(layout)
        if layout is not None:
            first_bit += bits
            beside = layout.pack_into(words, column)
            rests += [] if beside is None else [beside]
    return layouts, rests


def with_rests(
    layouts: Sequence[Bounds | None], rests: Sequence[npt.NDArray[Any]]
) -> list[Bounds | None]:
    """The layouts with their rests, once those lie in the order of the words."""
    columns = iter(rests)
    return [
        layout if layout is None or layout.shift == 0 else replace(layout, rests=next(columns))
        for layout in layouts
    ]


def _after(instants: Int64s, base: int) -> Uint64s:
    """How long after the base instants lie, which may be more than 63 bits can say."""
    after: Uint64s = instants.view(np.uint64) - np.array(base, np.int64).view(np.uint64)
    return after
