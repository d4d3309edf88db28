"""The index: the facts about each id, found for a whole block of ids at once.

A perfect hash gives the slot in which the entry of an id would be, without a search. An entry holds
an id's key and, beside it, 64 bits of facts about the id. One read of memory gives both. The keys
are compared exactly. An empty slot holds zeros, which mean that nothing is known. Memory that was
never written holds zeros, too.

Facts that do not fit into 64 bits are in separate columns, in the order of the slots. The caller
that builds the index keeps these columns.
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
"""How many secrets are tried before ids are taken to be equal."""
_LINE_ENTRIES = 8


class Keys(NamedTuple):
    """n ids as the index compares them.

    Attributes:
        lanes: uint64 arrays of n entries: one for integers, two for UUIDs and for fingerprints of
            strings. They are equal for equal ids, and different for different ids.
        hashes: n uint64, the lanes spread evenly over 64 bits.
    """

    lanes: tuple[Uint64s, ...]
    hashes: Uint64s

    def __repr__(self) -> str:
        return f"<Keys: {len(self.hashes)}>"  # integers and UUIDs are their own keys


class Matches(NamedTuple):
    """The index's answer about n ids.

    Attributes:
        facts: n uint64; 0 where nothing is known.
        slots: n int64, the slot of each id's entry.
        valid: n booleans, false where the id is null; None if no id is null.
    """

    facts: Uint64s
    slots: Int64s
    valid: Bools | None

    def __repr__(self) -> str:
        return f"<Matches: {len(self.facts)}>"

    def take(self, rows: Int64s) -> "Matches":
        """The answer about the ids of those rows."""
        valid = None if self.valid is None else self.valid[rows]
        return Matches(self.facts[rows], self.slots[rows], valid)


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
            return Keys((ids.values,), mix(ids.values, self._odd))
        if isinstance(ids, Uuids):
            first, second = (np.ascontiguousarray(lane) for lane in _lanes(ids))
            return Keys((first, second), mix(mix(first, self._odd) + second, self._odd))
        lanes = self._strings.fingerprint(ids.data, ids.offsets)
        return Keys(lanes, lanes[0])

    def all_keys(self, ids: Ids) -> Keys:
        """The keys of any number of ids, a block at a time; integers and UUIDs are not copied."""
        hashes = np.empty(len(ids), np.uint64)
        lanes: tuple[Uint64s, ...]
        if isinstance(ids, Strings):
            lanes = np.empty_like(hashes), np.empty_like(hashes)
        else:
            lanes = (ids.values,) if isinstance(ids, Integers) else _lanes(ids)

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
    """Finds the facts about ids. It is immutable, and safe to use from many threads.

    Attributes:
        seed: the secret under which ids are hashed.
        is_signed: whether integer ids are to be read as signed.
        slots: the slot of each id's entry.
        entries: uint64 of shape (slots, 2) or, for keys of two lanes, (slots, 4). A row holds an
            id's key, its facts, and as many zeros as are needed so that no entry lies across two
            lines of the processor's cache.
    """

    seed: bytes
    is_signed: bool
    slots: PerfectHash
    entries: Uint64s

    @classmethod
    def build(
        cls, ids: Ids, facts: Uint64s, beside: Sequence[npt.NDArray[Any]] = ()
    ) -> tuple["Index", list[npt.NDArray[Any]]]:
        """An index of n ids, and columns in its slot order.

        Args:
            ids: all different.
            facts: what is known about each, n uint64.
            beside: more columns of n entries about the ids.

        Returns:
            The index, and each column in the order of the slots; zero in empty slots.

        Raises:
            ValueError: Some ids are equal.
        """
        hasher, keys, slot_hash = _hashed_apart(ids)
        entries = _aligned_zeros(slot_hash.slots, 2 * len(keys.lanes))
        laid = [np.zeros(slot_hash.slots, column.dtype) for column in beside]

        def fill(rows: slice) -> None:
            slots = slot_hash.find(keys.hashes[rows])
            for at, column in enumerate([*keys.lanes, facts]):
                entries[slots, at] = column[rows]
            for target, column in zip(laid, beside, strict=True):
                target[slots] = column[rows]

        for_each(fill, row_blocks(len(ids)))
        is_signed = isinstance(ids, Integers) and ids.is_signed
        return cls(hasher.seed, is_signed, slot_hash, entries), laid

    def find(self, ids: Ids, valid: Bools | None = None) -> Matches:
        """Look up n ids of the family that the index holds.

        Args:
            valid: n booleans, false where an id is null; None if no id is null.
        """
        keys = self._hasher.keys(ids)
        slots = self.slots.find(keys.hashes)
        entries = self.entries.take(slots, axis=0, mode="clip")
        known = entries[:, 0] == keys.lanes[0]
        for at, lane in enumerate(keys.lanes[1:], start=1):
            known &= entries[:, at] == lane
        if isinstance(ids, Integers) and ids.is_signed != self.is_signed:
            known &= ids.values < _TOP_BIT
        if valid is not None:
            known &= valid
        return Matches(entries[:, len(keys.lanes)] * known, slots, valid)

    @property
    def facts(self) -> Uint64s:
        """The facts in every slot, 0 in empty slots. This is a view of the entries."""
        return self.entries[:, self.entries.shape[1] // 2]  # after the lanes, before the zeros

    @cached_property
    def _hasher(self) -> IdHasher:
        return IdHasher(self.seed)


def count_repeats(lanes: tuple[Uint64s, ...]) -> int:
    """How many of n keys, given as lanes of n integers, are equal to an earlier one."""
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
    return ids.values[:, 0], ids.values[:, 1]


def _hashed_apart(ids: Ids) -> tuple[IdHasher, Keys, PerfectHash]:
    """A hasher whose secret gives each id a slot of its own, the ids' keys, and the slots.

    Nearly always, the first secret that is drawn does this.
    """
    for _ in range(_SECRETS):
        hasher = IdHasher()
        keys = hasher.all_keys(ids)
        with suppress(NoPilotError):
            return hasher, keys, PerfectHash.build(keys.hashes)
    raise ValueError("no secret keeps the ids apart, so they are not all different")


def _aligned_zeros(rows: int, columns: int) -> Uint64s:
    """Zeros whose memory begins where a line of the processor's cache begins."""
    zeros = np.zeros(rows * columns + _LINE_ENTRIES, np.uint64)
    first = -(zeros.ctypes.data // zeros.itemsize) % _LINE_ENTRIES
    return zeros[first : first + rows * columns].reshape(rows, columns)
