"""Instants in a few bits of a word: enough to settle nearly every comparison.

Time is cut into steps, and a word holds the number of its bound's step. A bound is compared exactly
only with an instant of the same step; for that, what the step leaves open lies beside the words in
a column of its own, which is hardly ever read.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from consentgate.arrow import EARLIEST, LATEST, Bools, Int64s, Uint64s, for_each, row_blocks

Rests = npt.NDArray[np.unsignedinteger[Any]]

SHORTEST_SHIFT = 2
"""Steps of at least 2**SHORTEST_SHIFT, so that no difference between two of them overflows."""


@dataclass(frozen=True, repr=False)
class Bounds:
    """One bound for each word; EARLIEST stands for none.

    In a word the number of the step, counted from one; zero where there is no bound. In `rests`
    how much before the end of its step the bound lies, so that zeroed memory means a later bound.

    Attributes:
        first_bit: where in a word the number begins.
        bits: how many bits it has.
        shift: a step is 2**shift microseconds long.
        base: the step before the first one that a bound lies in, counted from 1970 in UTC.
        rests: unsigned integers in microseconds, one beside each word; none of them, but their
            type, before the words are laid out.
    """

    first_bit: int
    bits: int
    shift: int
    base: int
    rests: Rests

    @classmethod
    def over(cls, bounds: Int64s, *, first_bit: int, bits: int) -> "Bounds":
        """The layout that can hold these bounds, with steps as short as the bits allow."""
        first = int(bounds.min(initial=LATEST, where=bounds != EARLIEST))
        span = max(int(bounds.max(initial=EARLIEST)) - first, 0)
        shift = max(span.bit_length() + 1 - bits, SHORTEST_SHIFT)
        rest_type = np.min_scalar_type((1 << shift) - 1)
        return cls(first_bit, bits, shift, (first >> shift) - 1, np.empty(0, rest_type))

    def pack_into(self, words: Uint64s, bounds: Int64s) -> Rests:
        """Put n bounds into n words, in which their bits are zero; returns their rests."""
        rests = np.empty(len(words), self.rests.dtype)

        def pack(rows: slice) -> None:
            steps = (bounds[rows] >> self.shift) - self.base
            steps[bounds[rows] == EARLIEST] = 0
            words[rows] |= steps.view(np.uint64) << np.uint64(self.first_bit)
            rests[rows] = ~bounds[rows] & self._longest_rest

        for_each(pack, row_blocks(len(words)))
        return rests

    def lie_after(self, instants: Int64s, words: Uint64s, slots: Int64s) -> Bools:
        """Where a bound lies after an instant.

        Args:
            instants: n instants, or one for all.
            words: n words.
            slots: n places of the words' rests.
        """
        reached = instants >> self.shift
        reached -= self.base
        np.maximum(reached, 1, out=reached)
        steps = self._steps(words)
        later: Bools = steps > reached
        rows = np.flatnonzero(steps == reached)
        if rows.size:
            ends = ((steps[rows] + self.base) << self.shift) + self._longest_rest
            bounds = ends - self.rests[slots[rows]].astype(np.int64)
            later[rows] = bounds > np.broadcast_to(instants, words.shape)[rows]
        return later

    def instants(self, words: Uint64s, slots: Int64s) -> Int64s:
        """The bounds of n words, whose rests lie at n places; EARLIEST where there is none."""
        steps = self._steps(words)
        rests = self.rests[slots].astype(np.int64)
        bounds = ((steps + self.base) << self.shift) + self._longest_rest - rests
        return np.where(steps == 0, EARLIEST, bounds)

    def _steps(self, words: Uint64s) -> Int64s:
        steps = (words >> np.uint64(self.first_bit)).view(np.int64)
        if self.first_bit + self.bits < 64:
            steps &= (1 << self.bits) - 1
        return steps

    @property
    def _longest_rest(self) -> int:
        return (1 << self.shift) - 1


def pack_bounds(
    words: Uint64s, first_bit: int, columns: Sequence[Int64s], *, always: int | None = None
) -> tuple[list[Bounds | None], list[Rests]]:
    """Put columns of n bounds each into n words, from a bit on that the words do not use.

    Args:
        always: the number of a column that gets a layout even if it holds no bound.

    Returns:
        The layout of each column, None where it holds no bound; and for each layout the n rests
        that are to lie beside the words.
    """
    held = [at == always or bool((c != EARLIEST).any()) for at, c in enumerate(columns)]
    bits = (64 - first_bit) // max(1, sum(held))
    layouts: list[Bounds | None] = []
    rests = []
    for column, is_held in zip(columns, held, strict=True):
        layout = Bounds.over(column, first_bit=first_bit, bits=bits) if is_held else None
        layouts.append(layout)
        if layout is not None:
            rests.append(layout.pack_into(words, column))
            first_bit += bits
    return layouts, rests


def with_rests(layouts: Sequence[Bounds | None], rests: Sequence[Rests]) -> list[Bounds | None]:
    """The layouts with their rests, once those lie in the order of the words."""
    columns = iter(rests)
    return [None if layout is None else replace(layout, rests=next(columns)) for layout in layouts]
