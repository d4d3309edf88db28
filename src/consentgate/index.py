"""The index: the slot of each id, found for a whole block of ids at once.

Linear probing over flat arrays of keys. An id's home slot is the top of its hash. Building lays
the ids out in the order of their hashes, each in its home slot or the next free one after it. An
empty slot holds a key that no id has, so a search that ends there has found "no record" without a
branch.

The index knows only where ids lie. What is known about them lies in arrays of `size` entries in
slot order, kept by whoever built the index (see facts.py). Two slots never hold an id:
`nobody`, and `null` for ids that are null.
"""

import secrets
from typing import NamedTuple

import numpy as np

from consentgate._arrow import Bools, Int64s, Uint64s
from consentgate._ids import Ids, Integers, Uuids
from consentgate.hashing import StringHasher, mix

__all__ = ["BLOCK_ROWS", "IdHasher", "Index", "Keys", "count_repeats"]

BLOCK_ROWS = 65_536
"""So many rows are worked on at a time, so that temporaries stay in the processor's cache."""

_SLOTS_PER_ID = 2
_HALF = np.uint64(32)
_LOW_HALF = np.uint64(0xFFFF_FFFF)
_TOP_BIT = np.uint64(1 << 63)


class Keys(NamedTuple):
    """n ids as the index compares them.

    `lanes` are one uint64 array of n entries (integers) or two (UUIDs; fingerprints of strings),
    equal for equal ids and different for different ones; `hashes` spread them over 64 bits.
    """

    lanes: tuple[Uint64s, ...]
    hashes: Uint64s


class IdHasher:
    """Turns ids into keys, under a secret.

    Args:
        seed: 16 bytes; equal seeds give equal keys. None draws a new secret.
    """

    def __init__(self, seed: bytes | None = None) -> None:
        seed = secrets.token_bytes(16) if seed is None else seed
        self._strings = StringHasher(seed)
        self._odd = np.uint64(int.from_bytes(seed[:8], "little") | 1)

    def keys(self, ids: Ids) -> Keys:
        """The keys of n ids, a block at a time."""
        if len(ids) <= BLOCK_ROWS:
            return self._block_keys(ids)
        starts = range(0, len(ids), BLOCK_ROWS)
        blocks = [self._block_keys(ids[start : start + BLOCK_ROWS]) for start in starts]
        lanes = tuple(np.concatenate(lane) for lane in zip(*(b.lanes for b in blocks), strict=True))
        return Keys(lanes, np.concatenate([block.hashes for block in blocks]))

    def _block_keys(self, ids: Ids) -> Keys:
        if isinstance(ids, Integers):
            return Keys((ids.words,), mix(ids.words, self._odd))
        if isinstance(ids, Uuids):
            first, second = (np.ascontiguousarray(ids.words[:, lane]) for lane in (0, 1))
            return Keys((first, second), mix(mix(first, self._odd) + second, self._odd))
        lanes = self._strings.fingerprint(ids.data, ids.offsets)
        return Keys(lanes, lanes[0])


class Index:
    """Finds ids among those it was built from. Immutable, and safe to use from many threads.

    Args:
        ids: the n ids to hold, all different.

    Attributes:
        slots: int64, the slot of each id, in the order in which they were given.
        size: how many slots there are.
        nobody: a slot that holds no id.
        null: the slot that stands for a null id.
    """

    def __init__(self, ids: Ids) -> None:
        self._hasher = IdHasher()
        self._is_signed = isinstance(ids, Integers) and ids.is_signed
        keys = self._hasher.keys(ids)
        self._homes = np.uint64(max(1, _SLOTS_PER_ID * len(ids)))
        order = _order(keys.hashes)
        home = self._home(keys.hashes[order])
        places = np.arange(len(ids), dtype=np.int64)
        in_order = np.maximum.accumulate(home - places) + places
        self.slots = np.empty(len(ids), dtype=np.int64)
        self.slots[order] = in_order

        self.nobody = max(int(self._homes), int(in_order[-1]) + 1 if len(ids) else 0)
        self.null = self.nobody + 1
        self.size = self.null + 1
        self._empty = _unused_key(keys.lanes)
        self._lanes = tuple(np.full(self.size, empty) for empty in self._empty)
        for lane, values in zip(self._lanes, keys.lanes, strict=True):
            lane[self.slots] = values

    def find(self, ids: Ids, valid: Bools | None = None) -> Int64s:
        """The slots of ids.

        Args:
            ids: n ids of the family that the index holds.
            valid: where an id is not null; None when none is.

        Returns:
            n slots: an id's own; some slot without an id for an unknown one; `null` for a null.
        """
        keys = self._hasher.keys(ids)
        slots = self._home(keys.hashes)
        pending = np.flatnonzero(self._is_other_id(slots, keys.lanes))
        lanes = keys.lanes
        while pending.size:
            slots[pending] += 1
            lanes = tuple(lane[pending] for lane in keys.lanes)
            pending = pending[self._is_other_id(slots[pending], lanes)]
        if isinstance(ids, Integers) and ids.is_signed != self._is_signed:
            slots[ids.words >= _TOP_BIT] = self.nobody
        if valid is not None:
            slots[~valid] = self.null
        return slots

    def _home(self, hashes: Uint64s) -> Int64s:
        return ((hashes >> _HALF) * self._homes >> _HALF).astype(np.int64)

    def _is_other_id(self, slots: Int64s, lanes: tuple[Uint64s, ...]) -> Bools:
        """Where a slot holds an id other than the one sought, so that the search goes on."""
        differs = np.zeros(len(slots), dtype=bool)
        occupied = np.zeros(len(slots), dtype=bool)
        for held, sought, empty in zip(self._lanes, lanes, self._empty, strict=True):
            key = held[slots]
            differs |= key != sought
            occupied |= key != empty
        return differs & occupied


def count_repeats(lanes: tuple[Uint64s, ...]) -> int:
    """How many of n keys, given as lanes of n words, are equal to an earlier one."""
    odd = np.uint64(secrets.randbits(64) | 1)
    hashes = lanes[0]
    for lane in lanes[1:]:
        hashes = mix(hashes, odd) + lane
    hashes = mix(hashes, odd)
    order = np.argsort(hashes)
    in_order = hashes[order]
    twins = np.flatnonzero(in_order[1:] == in_order[:-1])
    suspects = order[np.union1d(twins, twins + 1)]
    keys = np.stack([lane[suspects] for lane in lanes], axis=1)
    return len(keys) - len(np.unique(keys, axis=0))


def _order(hashes: Uint64s) -> Int64s:
    """An order in which the hashes' upper halves ascend.

    The upper half and the row's number packed into one word sort several times faster than an
    argsort.
    """
    rows = np.arange(len(hashes), dtype=np.uint64)
    packed = np.sort((hashes & ~_LOW_HALF) | rows)
    return (packed & _LOW_HALF).astype(np.int64)


def _unused_key(lanes: tuple[Uint64s, ...]) -> tuple[np.uint64, ...]:
    while True:
        candidate = tuple(np.uint64(secrets.randbits(64)) for _ in lanes)
        taken = np.ones(len(lanes[0]), dtype=bool)
        for lane, word in zip(lanes, candidate, strict=True):
            taken &= lane == word
        if not taken.any():
            return candidate
