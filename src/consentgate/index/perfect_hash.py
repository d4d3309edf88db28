"""A perfect hash: a slot of its own for each of a fixed set of hashes, found without searching.

Hash and displace. The hashes are dealt out into small buckets, and every bucket has a pilot: a
number that, mixed into its hashes, sends each of them to a slot that no other one has. To find a
slot takes one byte from the pilots, which are few enough for the processor's cache. A hash outside
the set gets some slot too, so whoever looks there compares what the slot holds.

After Pibiri and Trani, "PTHash: Revisiting FCH Minimal Perfect Hashing", SIGIR 2021; but a few
buckets, or many at once, are tried together, so that NumPy does the work.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from consentgate.arrow import BLOCK_ROWS, Bools, Int64s, Uint64s, for_each, thread_count

_HALF = np.uint64(32)
_PILOT_SPREAD = np.uint64(0x9E37_79B9_7F4A_7C15)
_SLOT_SPREAD = np.uint64(0xD134_2543_DE82_EF95)

_LOAD = 0.75
"""How full a part is: fuller takes less memory and longer to build; lookups are alike."""
_PART_HASHES = 1 << 19
"""About so many hashes are placed together, so that what is looked at stays in the cache."""
_PILOTS = 256
_FEW = 16_384
"""For so few hashes of one size of bucket, _TRIES pilots are tried at once."""
_TRIES = 8


class NoPilotError(Exception):
    """A bucket has no pilot that keeps its hashes apart; others, under a new secret, will have."""


@dataclass(frozen=True, repr=False)
class PerfectHash:
    """Slots for n different hashes.

    The upper half of a hash says in which bucket it is, and 2**bucket_bits buckets share a part of
    the slots. All of this is part of the format of saved gates (`storage.sections.VERSION`).

    Attributes:
        bucket_bits: see above.
        part_slots: how many slots each part has.
        pilots: uint8, one for each bucket, of which there are from n / 2 to n.
    """

    bucket_bits: int
    part_slots: int
    pilots: npt.NDArray[np.uint8]

    @property
    def slots(self) -> int:
        """How many slots there are."""
        return (len(self.pilots) >> self.bucket_bits) * self.part_slots

    @classmethod
    def build(cls, hashes: Uint64s) -> "PerfectHash":
        """A perfect hash of n hashes, which should be spread evenly over 64 bits.

        Raises:
            NoPilotError: Two hashes are equal, or by bad luck, which is very rare.
        """
        parts = max(1, -(-len(hashes) // _PART_HASHES))
        bucket_bits = max(0, (len(hashes) // parts - 1).bit_length() - 1)
        buckets = parts << bucket_bits
        in_order = _sorted(hashes)
        firsts = [-(-(part << 32) // parts) << 32 for part in range(1, parts)]
        bounds = [0, *np.searchsorted(in_order, np.array(firsts, np.uint64)), len(hashes)]
        most = int(np.diff(bounds).max())
        made = cls(bucket_bits, int(most / _LOAD) + 1, np.empty(buckets, np.uint8))

        def fill(part: int) -> None:
            members = in_order[bounds[part] : bounds[part + 1]]
            first = part << bucket_bits
            sizes = np.bincount(made._buckets(members) - first, minlength=1 << bucket_bits)
            pilots = _find_pilots(members, sizes, made.part_slots)
            made.pilots[first : first + len(pilots)] = pilots

        for_each(fill, range(parts))
        return made

    def find(self, hashes: Uint64s) -> Int64s:
        """The slot of each of n hashes."""
        buckets = self._buckets(hashes)
        slots = _slot_of(hashes, self.pilots.take(buckets, mode="clip"), self.part_slots)
        buckets >>= self.bucket_bits
        buckets *= self.part_slots
        slots += buckets
        return slots

    def _buckets(self, hashes: Uint64s) -> Int64s:
        buckets = hashes >> _HALF
        buckets *= np.uint64(len(self.pilots))
        buckets >>= _HALF
        return buckets.view(np.int64)


def _slot_of(hashes: Uint64s, pilots: npt.NDArray[np.integer[Any]], slots: int) -> Int64s:
    """Where in a part of so many slots hashes come to lie with some pilots."""
    slot = pilots.astype(np.uint64) * _PILOT_SPREAD ^ hashes
    slot *= _SLOT_SPREAD
    slot >>= _HALF
    slot *= np.uint64(slots)
    slot >>= _HALF
    return slot.view(np.int64)


def _find_pilots(hashes: Uint64s, sizes: Int64s, slots: int) -> npt.NDArray[np.uint8]:
    """A pilot for each bucket of a part; the largest buckets choose first.

    Args:
        hashes: bucket by bucket.
        sizes: how many hashes each bucket has.
        slots: how many slots the part has.
    """
    starts = np.cumsum(sizes) - sizes
    pilots = np.zeros(len(sizes), np.uint8)
    taken = np.zeros(slots, np.bool_)
    claims = np.empty(slots, np.int64)
    for size in range(int(sizes.max()), 0, -1):
        buckets = np.flatnonzero(sizes == size)
        members = hashes.take(starts[buckets] + np.arange(size)[:, np.newaxis])
        pilot = 0
        while buckets.size:
            tries = min(_TRIES if members.size <= _FEW else 1, _PILOTS - pilot)
            if tries == 0:
                raise NoPilotError
            at, chosen, targets = _first_free(members, np.arange(pilot, pilot + tries), taken)
            mine = np.arange(targets.size).reshape(targets.shape)
            claims[targets] = mine  # of several hashes that claim a slot, one gets it
            got = (claims.take(targets) == mine).all(axis=0)
            pilots[buckets[at[got]]] = chosen[got]
            taken[targets.compress(got, axis=1)] = True
            waits = np.ones(len(buckets), np.bool_)
            waits[at[got]] = False
            kept = np.flatnonzero(waits)
            buckets, members = buckets.take(kept), members.take(kept, axis=1)
            pilot += tries
    return pilots


def _first_free(members: Uint64s, tried: Int64s, taken: Bools) -> tuple[Int64s, Int64s, Int64s]:
    """The buckets for which a pilot leads to free slots; the first such; and those slots.

    Those of a bucket may still be one and the same; claiming them shows it.

    Args:
        members: (size, n) hashes of n buckets.
    """
    targets = _slot_of(members[:, np.newaxis], tried[:, np.newaxis], len(taken))
    free = ~taken.take(targets).any(axis=0)
    at = np.flatnonzero(free.any(axis=0))
    first = free.take(at, axis=1).argmax(axis=0)
    where = first * free.shape[1] + at
    return at, tried[first], targets.reshape(len(targets), -1).take(where, axis=1)


def _sorted(hashes: Uint64s) -> Uint64s:
    """Words that are spread evenly over 64 bits, in ascending order."""
    count = thread_count() if len(hashes) > BLOCK_ROWS else 1
    firsts = [np.uint64((part << 64) // count) for part in range(count)]
    lasts = [*(first - np.uint64(1) for first in firsts[1:]), np.uint64(2**64 - 1)]
    ends = [np.count_nonzero(hashes <= last) for last in lasts]
    in_order = np.empty_like(hashes)

    def sort(part: int) -> None:
        mine = in_order[ends[part - 1] if part else 0 : ends[part]]
        np.compress((hashes >= firsts[part]) & (hashes <= lasts[part]), hashes, out=mine)
        mine.sort()

    for_each(sort, range(count))
    return in_order
