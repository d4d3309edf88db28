"""The index: a word for each id, found for a whole block of ids at once.

Linear probing over one flat array of entries: an id's key and, beside it, the word that is held
about it, so that one read of memory gives both. An id's home slot is the top of its hash. Building
lays the ids out in the order of their hashes, each in its home slot or the next free one after it.
An empty slot holds a key that no id has and a word of zero, so a search that ends there has found
"nothing is known" without a branch; so has one that has gone further than any id was laid, which
happens in damaged memory alone.

What does not fit into a word lies in columns in slot order, kept by whoever built the index.
"""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from consentgate._arrow import Bools, Int64s, Uint64s
from consentgate._ids import Ids, Integers, Uuids
from consentgate._threads import BLOCK_ROWS, for_each, row_blocks, thread_count
from consentgate.hashing import StringHasher, mix

__all__ = ["Found", "IdHasher", "Index", "Keys", "count_repeats"]

_HALF = np.uint64(32)
_LOW_HALF = np.uint64(0xFFFF_FFFF)
_TOP_BIT = np.uint64(1 << 63)

_BYTES_PER_ID = 38
"""The memory for each id, from which follows how full the table is: fuller is slower."""
_FEW = 2048
_WINDOW = 8
"""For a few ids that are not found at once, so many slots are looked at in one go."""


class Keys(NamedTuple):
    """n ids as the index compares them.

    `lanes` are one uint64 array of n entries (integers) or two (UUIDs; fingerprints of strings),
    equal for equal ids and different for different ones; `hashes` spread them over 64 bits.
    """

    lanes: tuple[Uint64s, ...]
    hashes: Uint64s


class Found(NamedTuple):
    """What is held about n ids.

    `words` are 0 where nothing is; `slots` say where they lie; `valid` is false where the id is
    null, and None when none is.
    """

    words: Uint64s
    slots: Int64s
    valid: Bools | None

    def take(self, rows: Int64s) -> "Found":
        """What is held about the ids of those rows."""
        valid = None if self.valid is None else self.valid[rows]
        return Found(self.words[rows], self.slots[rows], valid)


class IdHasher:
    """Turns ids into keys, under a secret.

    Args:
        seed: 16 bytes; equal seeds give equal keys. None draws a new secret.
    """

    def __init__(self, seed: bytes | None = None) -> None:
        self.seed = secrets.token_bytes(16) if seed is None else seed
        self._strings = StringHasher(self.seed)
        self._odd = np.uint64(int.from_bytes(self.seed[:8], "little") | 1)

    def keys(self, ids: Ids) -> Keys:
        """The keys of n ids."""
        if isinstance(ids, Integers):
            return Keys((ids.words,), mix(ids.words, self._odd))
        if isinstance(ids, Uuids):
            first, second = (np.ascontiguousarray(ids.words[:, lane]) for lane in (0, 1))
            return Keys((first, second), mix(mix(first, self._odd) + second, self._odd))
        lanes = self._strings.fingerprint(ids.data, ids.offsets)
        return Keys(lanes, lanes[0])

    def all_keys(self, ids: Ids) -> Keys:
        """The keys of any number of ids, a block at a time."""
        lanes = tuple(np.empty(len(ids), np.uint64) for _ in self.keys(ids[:0]).lanes)
        hashes = np.empty(len(ids), np.uint64)

        def fill(rows: slice) -> None:
            keys = self.keys(ids[rows])
            hashes[rows] = keys.hashes
            for lane, values in zip(lanes, keys.lanes, strict=True):
                lane[rows] = values

        for_each(fill, row_blocks(len(ids)))
        return Keys(lanes, hashes)


@dataclass(frozen=True)
class Index:
    """Finds what is held about ids. Immutable, and safe to use from many threads.

    Attributes:
        seed: the secret under which ids are hashed.
        is_signed: whether integer ids are to be read as signed.
        homes: how many home slots there are.
        reach: how many slots after its home an id may lie.
        empty: the key that no id has.
        entries: (slots, 2) uint64: the first lane of an id's key, and its word.
        second_lane: uint64 by slot: the second lane of an id's key; None where keys have one.
    """

    seed: bytes
    is_signed: bool
    homes: int
    reach: int
    empty: int
    entries: Uint64s
    second_lane: Uint64s | None

    @classmethod
    def build(
        cls,
        ids: Ids,
        words: Uint64s,
        beside: Sequence[npt.NDArray[Any]] = (),
        *,
        spare_bytes: int = 0,
    ) -> tuple["Index", list[npt.NDArray[Any]]]:
        """An index of n ids, and columns in its slot order.

        Args:
            ids: all different.
            words: what is held about each.
            beside: columns of n entries that go with the words.
            spare_bytes: memory for each id beyond the usual, which makes searches shorter.
        """
        hasher = IdHasher()
        keys = hasher.all_keys(ids)
        homes = max(1, int(len(ids) * _slots_per_id(len(keys.lanes), beside, spare_bytes)))
        order, places, reach = _lay_out(keys.hashes, homes)
        empty = _unused_key(keys.lanes[0])
        size = homes + reach + 1 + _WINDOW
        entries = np.empty((size, 2), dtype=np.uint64)
        columns = [*keys.lanes[1:], *beside]
        laid = [np.empty(size, column.dtype) for column in columns]

        def fill(rows: slice) -> None:
            at, chosen = places[rows], order[rows]
            start = int(at[0]) if rows.start else 0
            slots = slice(start, int(places[rows.stop]) if rows.stop < len(places) else size)
            entries[slots, 0], entries[slots, 1] = empty, 0
            entries[at, 0] = keys.lanes[0].take(chosen, mode="clip")
            entries[at, 1] = words.take(chosen, mode="clip")
            for target, column in zip(laid, columns, strict=True):
                target[slots] = 0
                target[at] = column.take(chosen, mode="clip")

        for_each(fill, row_blocks(len(ids)) or [slice(0, 0)])
        is_signed = isinstance(ids, Integers) and ids.is_signed
        second = laid.pop(0) if len(keys.lanes) == 2 else None
        return cls(hasher.seed, is_signed, homes, reach, empty, entries, second), laid

    def find(self, ids: Ids, valid: Bools | None = None) -> Found:
        """What is held about n ids of the family that the index holds.

        Args:
            valid: where an id is not null; None when none is.
        """
        keys = self._hasher.keys(ids)
        slots = self._home(keys.hashes)
        entries, goes_on = self._look(slots, keys.lanes)
        words = entries[:, 1].copy()
        self._search_on(np.flatnonzero(goes_on), keys.lanes, words, slots)
        if isinstance(ids, Integers) and ids.is_signed != self.is_signed:
            words[ids.words >= _TOP_BIT] = 0
        if valid is not None:
            words[~valid] = 0
        return Found(words, slots, valid)

    def _search_on(
        self, rows: Int64s, lanes: tuple[Uint64s, ...], words: Uint64s, slots: Int64s
    ) -> None:
        """Find the ids of the rows whose home slot holds another id."""
        at, step = slots.take(rows), 0
        lanes = tuple(lane.take(rows) for lane in lanes)
        while rows.size and step < self.reach:
            if rows.size > _FEW:
                at += 1
                step += 1
            else:
                step += _WINDOW
                at = self._look_ahead(at, lanes)
            entries, goes_on = self._look(at, lanes)
            slots[rows], words[rows] = at, entries[:, 1]
            still = np.flatnonzero(goes_on)
            rows, at = rows.take(still), at.take(still)
            lanes = tuple(lane.take(still) for lane in lanes)
        words[rows] = 0

    def _look(self, slots: Int64s, lanes: tuple[Uint64s, ...]) -> tuple[Uint64s, Bools]:
        """The entries in some slots, and where an id other than the one sought holds the slot."""
        entries: Uint64s = self.entries.take(slots, axis=0, mode="clip")
        goes_on = entries[:, 0] != lanes[0]
        if self.second_lane is not None:
            goes_on |= self.second_lane.take(slots, mode="clip") != lanes[1]
        goes_on &= entries[:, 0] != self.empty
        return entries, goes_on

    def _look_ahead(self, slots: Int64s, lanes: tuple[Uint64s, ...]) -> Int64s:
        """Where among the next few slots each search ends; the last of them where it goes on."""
        window = slots[:, np.newaxis] + np.arange(1, _WINDOW + 1)
        keys = self.entries.reshape(-1).take(2 * window, mode="clip")
        ends = keys == lanes[0][:, np.newaxis]
        if self.second_lane is not None:
            ends &= self.second_lane.take(window, mode="clip") == lanes[1][:, np.newaxis]
        ends |= keys == self.empty
        ends[:, -1] = True
        ahead: Int64s = ends.argmax(axis=1)
        return slots + ahead + 1

    def _home(self, hashes: Uint64s) -> Int64s:
        return _homes(hashes, self.homes)

    @cached_property
    def _hasher(self) -> IdHasher:
        return IdHasher(self.seed)


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


def _slots_per_id(lanes: int, beside: Sequence[npt.NDArray[Any]], spare_bytes: int) -> float:
    """How many slots the memory for each id pays for."""
    id_bytes = _BYTES_PER_ID + 16 * (lanes - 1) + spare_bytes
    slot_bytes = 8 + 8 * lanes + sum(column.itemsize for column in beside)
    return min(max(id_bytes / slot_bytes, 1.3), 3.0)


def _lay_out(hashes: Uint64s, homes: int) -> tuple[Int64s, Int64s, int]:
    """The order of n ids by home slot; the slot of each in that order; and the reach.

    The upper half of a hash and the row's number packed into one word sort several times faster
    than an argsort.
    """
    packed = _sorted((hashes & ~_LOW_HALF) | np.arange(len(hashes), dtype=np.uint64))
    order = (packed & _LOW_HALF).view(np.int64)
    home = _homes(packed, homes)
    del packed
    places = np.arange(len(order))
    home -= places
    free = np.maximum.accumulate(home)
    reach = int((free - home).max(initial=0))
    free += places
    return order, free, reach


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


def _homes(hashes: Uint64s, homes: int) -> Int64s:
    home = hashes >> _HALF
    home *= np.uint64(homes)
    home >>= _HALF
    return home.view(np.int64)


def _unused_key(keys: Uint64s) -> int:
    while True:
        candidate = secrets.randbits(64)
        if candidate and not (keys == np.uint64(candidate)).any():
            return candidate
