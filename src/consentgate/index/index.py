"""The index: a word for each id, found for a whole block of ids at once.

A perfect hash says where the entry of an id would be, so nothing is searched: an entry holds an
id's key and, beside it, the word that is held about it, and one read of memory gives both. The key
decides, by an exact comparison; an empty slot holds a word of zero, "nothing is known", and so does
memory that was never written.

What does not fit into a word lies in columns in slot order, kept by whoever built the index.
"""

import secrets
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from consentgate.arrow import Bools, Int64s, Uint64s, for_each, row_blocks
from consentgate.index.fingerprints import StringHasher, mix
from consentgate.index.ids import Ids, Integers, Strings, Uuids
from consentgate.index.perfect_hash import NoPilotError, PerfectHash

_TOP_BIT = np.uint64(1 << 63)
_SECRETS = 8
"""Secrets that are tried before ids are believed to be equal."""
_LINE_WORDS = 8


class Keys(NamedTuple):
    """n ids as the index compares them.

    `lanes` are one uint64 array of n entries (integers) or two (UUIDs; fingerprints of strings),
    equal for equal ids and different for different ones; `hashes` spread them over 64 bits.
    """

    lanes: tuple[Uint64s, ...]
    hashes: Uint64s

    def __repr__(self) -> str:
        return f"<Keys: {len(self.hashes)}>"  # integers and UUIDs are their own keys


class Found(NamedTuple):
    """The index's answer about n ids.

    `words` (uint64) are 0 where nothing is; `slots` (int64) say where they lie; `valid` (bool) is
    false where the id is null, and None when none is.
    """

    words: Uint64s
    slots: Int64s
    valid: Bools | None

    def __repr__(self) -> str:
        return f"<Found: {len(self.words)}>"

    def take(self, rows: Int64s) -> "Found":
        """The answer about the ids of those rows."""
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
            first, second = (np.ascontiguousarray(lane) for lane in _lanes(ids))
            return Keys((first, second), mix(mix(first, self._odd) + second, self._odd))
        lanes = self._strings.fingerprint(ids.data, ids.offsets)
        return Keys(lanes, lanes[0])

    def all_keys(self, ids: Ids) -> Keys:
        """The keys of any number of ids, a block at a time; words in memory are not copied."""
        hashes = np.empty(len(ids), np.uint64)
        lanes: tuple[Uint64s, ...]
        if isinstance(ids, Strings):
            lanes = np.empty_like(hashes), np.empty_like(hashes)
        else:
            lanes = (ids.words,) if isinstance(ids, Integers) else _lanes(ids)

        def fill(rows: slice) -> None:
            keys = self.keys(ids[rows])
            hashes[rows] = keys.hashes
            if isinstance(ids, Strings):
                for lane, values in zip(lanes, keys.lanes, strict=True):
                    lane[rows] = values

        for_each(fill, row_blocks(len(ids)))
        return Keys(lanes, hashes)


@dataclass(frozen=True, repr=False)
class Index:
    """Finds what is held about ids. Immutable, and safe to use from many threads.

    Attributes:
        seed: the secret under which ids are hashed.
        is_signed: whether integer ids are to be read as signed.
        places: where the entry of each id is.
        entries: (slots, 2) or, for keys of two lanes, (slots, 4) uint64: an id's key, its word, and
            zeros, so that no entry lies across two lines of the processor's cache.
    """

    seed: bytes
    is_signed: bool
    places: PerfectHash
    entries: Uint64s

    @classmethod
    def build(
        cls, ids: Ids, words: Uint64s, beside: Sequence[npt.NDArray[Any]] = ()
    ) -> tuple["Index", list[npt.NDArray[Any]]]:
        """An index of n ids, and columns in its slot order.

        Args:
            ids: all different.
            words: what is held about each, n uint64.
            beside: columns of n entries that go with the words.

        Returns:
            The index, and each column by slot; zero where no id is.

        Raises:
            ValueError: Some ids are equal.
        """
        hasher, keys, places = _hashed_apart(ids)
        entries = _aligned_zeros(places.slots, 2 * len(keys.lanes))
        laid = [np.zeros(places.slots, column.dtype) for column in beside]

        def fill(rows: slice) -> None:
            slots = places.find(keys.hashes[rows])
            for place, column in enumerate([*keys.lanes, words]):
                entries[slots, place] = column[rows]
            for target, column in zip(laid, beside, strict=True):
                target[slots] = column[rows]

        for_each(fill, row_blocks(len(ids)))
        is_signed = isinstance(ids, Integers) and ids.is_signed
        return cls(hasher.seed, is_signed, places, entries), laid

    def find(self, ids: Ids, valid: Bools | None = None) -> Found:
        """Look up n ids of the family that the index holds.

        Args:
            valid: where an id is not null; None when none is.
        """
        keys = self._hasher.keys(ids)
        slots = self.places.find(keys.hashes)
        entries = self.entries.take(slots, axis=0, mode="clip")
        known = entries[:, 0] == keys.lanes[0]
        for place, lane in enumerate(keys.lanes[1:], start=1):
            known &= entries[:, place] == lane
        if isinstance(ids, Integers) and ids.is_signed != self.is_signed:
            known &= ids.words < _TOP_BIT
        if valid is not None:
            known &= valid
        return Found(entries[:, len(keys.lanes)] * known, slots, valid)

    @property
    def words(self) -> Uint64s:
        """The word of every slot, 0 where it is empty: a view of the entries."""
        return self.entries[:, self.entries.shape[1] // 2]  # after the lanes, before the zeros

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


def _lanes(ids: Uuids) -> tuple[Uint64s, Uint64s]:
    return ids.words[:, 0], ids.words[:, 1]


def _hashed_apart(ids: Ids) -> tuple[IdHasher, Keys, PerfectHash]:
    """A secret under which every id has a slot of its own; nearly always the first one drawn."""
    for _ in range(_SECRETS):
        hasher = IdHasher()
        keys = hasher.all_keys(ids)
        with suppress(NoPilotError):
            return hasher, keys, PerfectHash.build(keys.hashes)
    raise ValueError("no secret keeps the ids apart, so they are not all different")


def _aligned_zeros(rows: int, columns: int) -> Uint64s:
    """Zeros that begin with a line of the processor's cache."""
    words = np.zeros(rows * columns + _LINE_WORDS, np.uint64)
    first = -(words.ctypes.data // words.itemsize) % _LINE_WORDS
    return words[first : first + rows * columns].reshape(rows, columns)
