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

from consentgate._arrow import Bools, Int64s, Uint64s
from consentgate._threads import BLOCK_ROWS, for_each, thread_count

__all__ = ["NoPilotError", "PerfectHash"]

_HALF = np.uint64(32)
_LOW_HALF = np.uint64(0xFFFF_FFFF)
_PILOT_SPREAD = np.uint64(0x9E37_79B9_7F4A_7C15)
_PLACE_SPREAD = np.uint64(0xD134_2543_DE82_EF95)

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


@dataclass(frozen=True)
class PerfectHash:
    """Slots for n different hashes.

    The upper half of a hash says in which bucket it is, and 2**bucket_bits buckets share a part of
    the slots. All of this is part of the format of saved gates (`_sections.VERSION`).

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
        packed = _sorted((hashes & ~_LOW_HALF) | np.arange(len(hashes), dtype=np.uint64))
        order = (packed & _LOW_HALF).view(np.int64)
        packed >>= _HALF
        packed *= np.uint64(buckets)
        packed >>= _HALF
        of_hash = packed.view(np.int64)
        bounds = np.searchsorted(of_hash, np.arange(parts + 1) << bucket_bits)
        most = int(np.diff(bounds).max())
        found = cls(bucket_bits, int(most / _LOAD) + 1, np.empty(buckets, np.uint8))

        def place(part: int) -> None:
            rows = slice(bounds[part], bounds[part + 1])
            first = part << bucket_bits
            sizes = np.bincount(of_hash[rows] - first, minlength=1 << bucket_bits)
            found.pilots[first : first + len(sizes)] = _find_pilots(
                hashes.take(order[rows]), sizes, found.part_slots
            )

        for_each(place, range(parts))
        return found

    def find(self, hashes: Uint64s) -> Int64s:
        """The slot of each of n hashes."""
        bucket = hashes >> _HALF
        bucket *= np.uint64(len(self.pilots))
        bucket >>= _HALF
        pilots = self.pilots.take(bucket.view(np.int64), mode="clip")
        slots = _place(hashes, pilots, self.part_slots)
        bucket >>= np.uint64(self.bucket_bits)
        bucket *= np.uint64(self.part_slots)
        slots += bucket.view(np.int64)
        return slots


def _place(hashes: Uint64s, pilots: npt.NDArray[np.integer[Any]], slots: int) -> Int64s:
    """Where in a part of so many slots hashes come to lie with some pilots."""
    place = pilots.astype(np.uint64) * _PILOT_SPREAD ^ hashes
    place *= _PLACE_SPREAD
    place >>= _HALF
    place *= np.uint64(slots)
    place >>= _HALF
    return place.view(np.int64)


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
            at, chosen, places = _first_free(members, np.arange(pilot, pilot + tries), taken)
            mine = np.arange(places.size).reshape(places.shape)
            claims[places] = mine  # of several hashes that claim a slot, one gets it
            got = (claims.take(places) == mine).all(axis=0)
            pilots[buckets[at[got]]] = chosen[got]
            taken[places.compress(got, axis=1)] = True
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
    places = _place(members[:, np.newaxis], tried[:, np.newaxis], len(taken))
    free = ~taken.take(places).any(axis=0)
    at = np.flatnonzero(free.any(axis=0))
    first = free.take(at, axis=1).argmax(axis=0)
    where = first * free.shape[1] + at
    return at, tried[first], places.reshape(len(places), -1).take(where, axis=1)


def _sorted(words: Uint64s) -> Uint64s:
    """Words that are spread evenly over 64 bits, in ascending order."""
    count = thread_count() if len(words) > BLOCK_ROWS else 1
    parts: list[Uint64s] = [words[:0]] * count
    cuts = [(1 << 64) * part // count for part in range(count)] + [1 << 64]

    def sort(part: int) -> None:
        first, last = np.uint64(cuts[part]), np.uint64(cuts[part + 1] - 1)
        parts[part] = words[(words >= first) & (words <= last)]
        parts[part].sort()

    for_each(sort, range(count))
    return np.concatenate(parts)
