"""A perfect hash: a slot of its own for each of a fixed set of hashes, found without a search.

The method is called "hash and displace". Hashes are divided into small buckets, and each bucket has
a pilot. This is a number that, mixed into the bucket's hashes, sends each of them to a slot that no
other hash has. Finding a slot takes one byte from the pilots, which are few enough for the
processor's cache. A hash outside the set gets some slot, too. So the caller must compare its key
with the one in the slot.

The method follows Pibiri and Trani, "PTHash: Revisiting FCH Minimal Perfect Hashing", SIGIR 2021.
But here, pilots are tried for many buckets at once, so that NumPy does the work.
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
"""The share of slots that are used. A larger share takes less memory, but more time to build.

Lookups take the same time.
"""
_PART_HASHES = 1 << 19
"""About how many hashes are placed together, so that their slots stay in the cache."""
_PILOTS = 256
_FEW = 16_384
"""If the buckets of one size have at most so many hashes, _TRIES pilots are tried at once."""
_TRIES = 8


class NoPilotError(Exception):
    """A bucket has no pilot that keeps its hashes apart. A new secret would give other hashes."""


@dataclass(frozen=True, repr=False)
class PerfectHash:
    """Slots for n different hashes.

    The upper half of a hash gives its bucket. Slots are divided into parts, and 2**bucket_bits
    buckets share each part. All of this belongs to the format of saved gates
    (`storage.sections.VERSION`).

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
            NoPilotError: Two hashes are equal, or, which is very rare, no pilot was found by bad
                luck.
        """
        parts = max(1, -(-len(hashes) // _PART_HASHES))
        bucket_bits = max(0, (len(hashes) // parts - 1).bit_length() - 1)
        buckets = parts << bucket_bits
        in_order = _sorted(hashes)
        firsts = [-(-(part << 32) // parts) << 32 for part in range(1, parts)]
        edges = [0, *np.searchsorted(in_order, np.array(firsts, np.uint64)), len(hashes)]
        most = int(np.diff(edges).max())
        made = cls(bucket_bits, int(most / _LOAD) + 1, np.empty(buckets, np.uint8))

        def fill(part: int) -> None:
            members = in_order[edges[part] : edges[part + 1]]
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
    """The slots that hashes get with their pilots, in a part of so many slots."""
    slot = pilots.astype(np.uint64) * _PILOT_SPREAD ^ hashes
    slot *= _SLOT_SPREAD
    slot >>= _HALF
    slot *= np.uint64(slots)
    slot >>= _HALF
    return slot.view(np.int64)


def _find_pilots(hashes: Uint64s, sizes: Int64s, slots: int) -> npt.NDArray[np.uint8]:
    """A pilot for each bucket of a part; the largest buckets choose first.

    Args:
        hashes: all hashes of the part, in the order of their buckets.
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
    """The buckets for which a pilot leads to free slots, the first such pilot, and these slots.

    Two hashes of a bucket may still have the same slot. The caller notices this when it claims the
    slots.

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
    """The hashes in ascending order. They should be spread evenly over 64 bits."""
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
