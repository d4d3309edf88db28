"""Keyed hashes of ids, for looking them up; and SHA-256 digests of content, for evidence.

The two have nothing in common but the word: a keyed hash means something only inside the index
that drew its key, a digest is the same everywhere and for ever.
"""

import hashlib
import json
import sys
from collections.abc import Iterable
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
_SPREAD = np.uint64(0x9E37_79B9_7F4A_7C15)
_FEW = 64
"""So many strings are hashed word by word together; fewer, all their words at once."""
_FIRST_BYTES = np.array([(1 << 8 * kept) - 1 for kept in range(9)], dtype=np.uint64)

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
        self._keys = np.zeros((4, 0), dtype=np.uint64)
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
        first, last = int(offsets[0]), int(offsets[-1])
        padded = np.zeros(last - first + 8, dtype=np.uint8)
        padded[:-8] = data[first:last]
        words = np.ndarray(len(padded) - 7, dtype=np.uint64, buffer=padded, strides=(1,))

        starts = offsets[:-1].astype(np.int64) - first
        lengths = np.diff(offsets).astype(np.int64)
        lanes = self._products(0, lengths.astype(np.uint64))
        hashed = np.minimum(lengths, MAX_ID_BYTES)
        self._grow_keys(1 + (int(hashed.max(initial=0)) + 7) // 8)
        rows, place = np.flatnonzero(hashed), 0
        while len(rows) > _FEW:
            word = words[starts[rows] + 8 * place] & _first_bytes(lengths[rows] - 8 * place)
            for lane, term in zip(lanes, self._products(place + 1, word), strict=True):
                lane[rows] += term
            place += 1
            rows = rows[hashed[rows] > 8 * place]
        if len(rows):
            counts = (hashed[rows] + 7) // 8 - place
            ends = np.cumsum(counts)
            places = np.arange(ends[-1]) - np.repeat(ends - counts, counts) + place
            owners = np.repeat(rows, counts)
            word = words[starts[owners] + 8 * places] & _first_bytes(lengths[owners] - 8 * places)
            for lane, term in zip(lanes, self._products(places + 1, word), strict=True):
                lane[rows] += np.add.reduceat(term, ends - counts)
        return lanes

    def _products(self, places: int | Int64s, word: Uint64s) -> tuple[Uint64s, Uint64s]:
        """Each lane's term for words at given places in their strings (the length is at 0)."""
        spread = mix(word, _SPREAD)
        spread ^= spread >> _HALF
        low, high = spread & _LOW_HALF, spread >> _HALF
        a, b, c, d = self._keys[:, places]
        return (low + a) * (high + b), (low + c) * (high + d)

    def _grow_keys(self, places: int) -> None:
        """Draw the keys of as many words as are needed; SHAKE-256 gives the same ones each time."""
        if places > self._keys.shape[1]:
            places = max(places, 2 * self._keys.shape[1])
            stream = hashlib.shake_256(b"consentgate string keys" + self._seed).digest(32 * places)
            self._keys = np.frombuffer(stream, dtype="<u8").reshape(places, 4).T.copy()


def _first_bytes(count: Int64s) -> Uint64s:
    """Masks that keep the first `count` bytes of a word, and all of it where that is over 8."""
    return _FIRST_BYTES[np.minimum(count, 8)]


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
