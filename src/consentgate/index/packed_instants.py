"""Instants packed into a few bits of an id's facts: enough for nearly every comparison.

Time is cut into steps, and the facts hold the number of the step that an instant lies in. This
number decides a comparison with any time in another step. For a time in the same step, a separate
column tells where in the step the instant lies. That column is hardly ever read.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from consentgate.arrow import EARLIEST, LATEST, Int64s, Uint64s, for_each, row_blocks
from consentgate.kernel import InstantLayout

Rests = npt.NDArray[np.unsignedinteger[Any]]

SHORTEST_SHIFT = 2
"""A step has at least 2**SHORTEST_SHIFT microseconds, so that the difference between the numbers
of two steps never overflows.
"""


@dataclass(frozen=True, repr=False)
class PackedInstants:
    """One instant for each id; EARLIEST stands for none.

    The facts hold the number of the step, counted from one, or zero if there is no instant.
    `rests` holds how long before the end of its step the instant lies, so that zeroed memory means
    a later instant.

    Attributes:
        first_bit: where in the facts the number begins.
        bits: how many bits it has.
        shift: a step is 2**shift microseconds long.
        base: the step before the first one that an instant lies in, counted from 1970 in UTC.
        rests: unsigned integers in microseconds, by the index's ranks. Before the index is built it
            is empty and only has the right type.
    """

    first_bit: int
    bits: int
    shift: int
    base: int
    rests: Rests

    @classmethod
    def over(cls, instants: Int64s, *, first_bit: int, bits: int) -> "PackedInstants":
        """The layout that can hold these instants, with steps as short as the bits allow."""
        first, last = _extremes(instants)
        span = max(last - first, 0)
        shift = max(span.bit_length() + 1 - bits, SHORTEST_SHIFT)
        rest_type = np.min_scalar_type((1 << shift) - 1)
        return cls(first_bit, bits, shift, (first >> shift) - 1, np.empty(0, rest_type))

    def pack_into(self, facts: Uint64s, instants: Int64s) -> Rests:
        """Put n instants into the facts of n ids. The bits of these instants must be zero before.

        Returns:
            The n rests.
        """
        rests = np.empty(len(facts), self.rests.dtype)

        def pack(rows: slice) -> None:
            steps = (instants[rows] >> self.shift) - self.base
            steps[instants[rows] == EARLIEST] = 0
            facts[rows] |= steps.view(np.uint64) << np.uint64(self.first_bit)
            rests[rows] = ~instants[rows] & self._longest_rest

        for_each(pack, row_blocks(len(facts)))
        return rests

    @property
    def layout(self) -> InstantLayout:
        """The layout and the rests, for the kernel."""
        return InstantLayout(
            *(self.bits, self.first_bit, self.shift, self.base),
            *(self.rests.ctypes.data, self.rests.itemsize),
        )

    @property
    def _longest_rest(self) -> int:
        return (1 << self.shift) - 1


def pack_instants(
    facts: Uint64s, first_bit: int, columns: Sequence[Int64s], *, always: int | None = None
) -> tuple[list[PackedInstants | None], list[Rests]]:
    """Put columns of n instants each into n facts.

    Args:
        first_bit: the bit from which on the facts are zero, so that instants can go there.
        always: the number of a column that gets a layout even if it holds no instant.

    Returns:
        The layout of each column, None if it holds no instant; and for each layout n rests, which
        the caller must bring into the order of the index's ranks.
    """
    held = [at == always or _extremes(c)[1] != EARLIEST for at, c in enumerate(columns)]
    bits = (64 - first_bit) // max(1, sum(held))
    layouts: list[PackedInstants | None] = []
    rests = []
    for column, is_held in zip(columns, held, strict=True):
        layout = PackedInstants.over(column, first_bit=first_bit, bits=bits) if is_held else None
        layouts.append(layout)
        if layout is not None:
            rests.append(layout.pack_into(facts, column))
            first_bit += bits
    return layouts, rests


def _extremes(instants: Int64s) -> tuple[int, int]:
    """The earliest and the latest instant; LATEST and EARLIEST if there is none."""
    found: list[tuple[int, int]] = []

    def look(rows: slice) -> None:
        block = instants[rows]
        first = np.where(block == EARLIEST, LATEST, block).min(initial=LATEST)
        found.append((int(first), int(block.max(initial=EARLIEST))))

    for_each(look, row_blocks(len(instants)))
    firsts, lasts = zip((LATEST, EARLIEST), *found, strict=True)
    return min(firsts), max(lasts)


def with_rests(
    layouts: Sequence[PackedInstants | None], rests: Sequence[Rests]
) -> list[PackedInstants | None]:
    """The layouts with their rests, which are now in the order of the index's ranks."""
    columns = iter(rests)
    return [None if layout is None else replace(layout, rests=next(columns)) for layout in layouts]
