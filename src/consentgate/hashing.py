"""Keyed hashes of ids, for looking them up; and SHA-256 digests of content, for evidence.

The two have nothing in common but the word: a keyed hash means something only inside the index
that drew its key, a digest is the same everywhere and for ever.
"""

import hashlib
import json
import sys
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from consentgate._arrow import Int64s, Uint64s

__all__ = ["MAX_ID_BYTES", "StringHasher", "digest_bytes", "digest_json", "mix"]

MAX_ID_BYTES = 65_536
"""No snapshot or registry holds a longer string id, so a longer one has no record anywhere.

Fingerprints look at an id's length and its first MAX_ID_BYTES bytes.
"""

_LOW_HALF = np.uint64(0xFFFF_FFFF)
_HALF = np.uint64(32)
_WORD_BITS = np.uint64(64)
_SPREAD = np.uint64(0x9E37_79B9_7F4A_7C15)
_FEW_WORDS = 2_048
"""So many words are hashed all at once; more, place by place."""
_ALL_BITS = np.uint64(2**64 - 1)

assert sys.byteorder == "little", "consentgate reads Arrow buffers in place, as little-endian words"


def mix(words: Uint64s, multiplier: np.uint64) -> Uint64s:
    """Spread every bit of 64-bit words over the upper half; a bijection for odd multipliers."""
    mixed = words * multiplier
    mixed ^= mixed >> _HALF
    mixed *= _SPREAD
    return mixed


class StringHasher:
    """128-bit fingerprints of byte strings, as two independent 64-bit lanes.

    Each lane is a multilinear-HM hash (Lemire and Kaser, "Strongly universal string hashing is
    fast", The Computer Journal 57(11), 2014) over the string's length and its 8-byte words, each
    word spread by a fixed bijection and split into halves, with a secret 64-bit key for every
    half. For any two different strings, whoever chose them, the odds over the keys that one lane
    agrees are at most 2^-33; for strings that were not chosen against it they are close to 2^-64.

    Args:
        seed: the secret, at least 16 random bytes; equal seeds give equal fingerprints.
    """

    def __init__(self, seed: bytes) -> None:
        self._seed = seed
        self._keys = np.zeros((2, 3, 0), dtype=np.uint64)  # a, b and a * b of each lane, by place
        self._grow_keys(8)

    def fingerprint(
        self, data: npt.NDArray[np.uint8], offsets: npt.NDArray[np.integer[Any]]
    ) -> tuple[Uint64s, Uint64s]:
        """The fingerprints of n strings.

        Args:
            data: the strings' bytes.
            offsets: n + 1 ascending positions in `data`; string i is data[offsets[i]:offsets[i+1]].

        Returns:
            Two uint64 lanes of n entries.
        """
        words = _Words(data, offsets)
        self._grow_keys(1 + (words.longest + 7) // 8)
        lengths = np.diff(offsets).astype(np.uint64) + np.uint64(1)
        lanes = lengths * self._keys[0, 0, 0], lengths * self._keys[1, 0, 0]
        while words.most_left() > _FEW_WORDS:
            words.drop_ended()
            word = words.take()
            for lane, term in zip(lanes, self._terms(words.place, word), strict=True):
                words.add(lane, term)
        if words.most_left():
            rows, places, word = words.take_all()
            first = np.flatnonzero(np.diff(rows, prepend=-1))
            for lane, term in zip(lanes, self._terms(places, word), strict=True):
                lane[rows[first]] += np.add.reduceat(term, first)
        return lanes

    def _terms(self, places: int | Int64s, words: Uint64s) -> Iterator[Uint64s]:
        """What words add to each lane, the first one of a string having place 1.

        That is (low + a) * (high + b) - a * b, which is nothing for a word of zeros.
        """
        spread = mix(words, _SPREAD)
        spread ^= spread >> _HALF
        high = spread >> _HALF
        spread &= _LOW_HALF
        for a, b, product in self._keys:
            term = spread + a[places]
            term *= high + b[places]
            term -= product[places]
            yield term

    def _grow_keys(self, places: int) -> None:
        """Draw the keys of as many words as are needed; SHAKE-256 gives the same ones each time."""
        if places > self._keys.shape[2]:
            places = max(places, 2 * self._keys.shape[2])
            stream = hashlib.shake_256(b"consentgate string keys" + self._seed).digest(32 * places)
            a, b, c, d = np.frombuffer(stream, dtype="<u8").reshape(places, 4).T
            self._keys = np.array([(a, b, a * b), (c, d, c * d)])


def _first_bytes(count: Int64s) -> Uint64s:
    """Masks of the first `count` bytes of a word: of none below 1, of all above 7."""
    cut_off = 64 - 8 * count
    np.maximum(cut_off, 0, out=cut_off)
    mask: Uint64s = _ALL_BITS >> cut_off.view(np.uint64)  # NumPy shifts by 64 and more to zero
    return mask


class _Words:
    """The 8-byte words of n strings, place by place; what lies beyond a string's end is zero.

    Two aligned words are read and shifted together, which NumPy does faster than reading one that
    is not aligned.

    Attributes:
        place: how many words of every string have been taken.
        longest: the bytes of the longest string, as far as they are looked at.
    """

    def __init__(self, data: npt.NDArray[np.uint8], offsets: npt.NDArray[np.integer[Any]]) -> None:
        first, last = int(offsets[0]), int(offsets[-1])
        self._words = np.zeros((last - first) // 8 + 2, dtype=np.uint64)
        self._words.view(np.uint8)[: last - first] = data[first:last]
        starts = offsets[:-1].astype(np.int64)
        starts -= first
        self._next = starts >> 3
        self._skip = (starts & 7).view(np.uint64) << np.uint64(3)
        self._left = np.minimum(np.diff(offsets), MAX_ID_BYTES).astype(np.int64)
        self._rows: Int64s | None = None
        self._full_words = int(self._left.min(initial=MAX_ID_BYTES)) // 8
        self.longest = int(self._left.max(initial=0))
        self.place = 0

    def most_left(self) -> int:
        """How many words are left at most."""
        return len(self._left) * max(0, (self.longest + 7) // 8 - self.place)

    def drop_ended(self) -> None:
        """Leave out strings that have ended, once most have."""
        if self.place >= self._full_words:
            going_on = self._left > 0
            if 2 * np.count_nonzero(going_on) < len(going_on):
                self._keep(np.flatnonzero(going_on))

    def take(self) -> Uint64s:
        """The next word of every string that is still read."""
        word = self._read(self._next, self._skip)
        if self.place >= self._full_words:
            word &= _first_bytes(self._left)
        self._next += 1
        self._left -= 8
        self.place += 1
        return word

    def take_all(self) -> tuple[Int64s, Int64s, Uint64s]:
        """All words that are left: whose each is, its place (the first has 1), and the word."""
        self._keep(np.flatnonzero(self._left > 0))
        assert self._rows is not None
        counts = (self._left + 7) // 8
        owners = np.repeat(np.arange(len(counts)), counts)
        step = np.arange(len(owners)) - np.repeat(np.cumsum(counts) - counts, counts)
        word = self._read(self._next[owners] + step, self._skip[owners])
        word &= _first_bytes(self._left[owners] - 8 * step)
        return self._rows[owners], self.place + 1 + step, word

    def add(self, lane: Uint64s, term: Uint64s) -> None:
        """Add the terms of the words taken last to their strings' entries of a lane."""
        if self._rows is None:
            lane += term
        else:
            lane[self._rows] += term

    def _read(self, at: Int64s, skip: Uint64s) -> Uint64s:
        word = self._words.take(at, mode="clip") >> skip
        word |= self._words.take(at + 1, mode="clip") << (_WORD_BITS - skip)  # a shift by 64: zero
        return word

    def _keep(self, kept: Int64s) -> None:
        self._rows = kept if self._rows is None else self._rows[kept]
        self._next, self._skip, self._left = self._next[kept], self._skip[kept], self._left[kept]


def digest_bytes(parts: Iterable[Any]) -> str:
    """The SHA-256 of buffers one after the other, in hexadecimal.

    Whoever calls it makes the parts' bounds unambiguous, for instance by putting lengths first.
    """
    total = hashlib.sha256()
    for part in parts:
        total.update(part)
    return total.hexdigest()


def digest_json(value: Any) -> str:
    """The SHA-256 of a value's canonical JSON: sorted keys, no spaces, UTF-8."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return digest_bytes([text.encode()])
