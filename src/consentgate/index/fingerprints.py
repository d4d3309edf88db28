"""Keyed hashes of ids, for looking them up.

A keyed hash has a meaning only inside the index that drew its key, or the file that the index was
saved to. The hashes must stay what they are: saved gates contain them (`storage.sections.VERSION`),
and content digests take rows in the order of these hashes.
"""

import hashlib
import math
import sys
from functools import cache
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from consentgate.arrow import Int64s, Uint64s

MAX_ID_BYTES = 65_536
"""No snapshot or registry holds a longer string id, so a longer one has no record anywhere.

Fingerprints look at an id's length and at least its first MAX_ID_BYTES bytes.
"""

_HALF = np.uint64(32)
_SPREAD = np.uint64(0x9E37_79B9_7F4A_7C15)
_SUMS = 4
_SECTION_BYTES = 56
_NUMBERS = 4 + _SECTION_BYTES // 2
"""16-bit numbers that are added up at once: times 32 bits, their sum is less than 2**53."""
_PRODUCT_ROWS = 2_048
"""A matrix product of so few rows stays in the cache, and in the thread that asks for it."""
_PIECE_ROWS = 8 * _PRODUCT_ROWS

Float64s: TypeAlias = npt.NDArray[np.float64]

assert sys.byteorder == "little", (
    "consentgate reads Arrow buffers in place, as little-endian integers"
)


def mix(values: Uint64s, multiplier: np.uint64) -> Uint64s:
    """Spread every bit of 64-bit values over the upper half; a bijection for odd multipliers."""
    mixed = values * multiplier
    mixed ^= mixed >> _HALF
    mixed *= _SPREAD
    return mixed


class StringHasher:
    """128-bit fingerprints of byte strings, as two 64-bit lanes.

    A string is read in sections of 56 bytes, filled up with zeros, each followed by the number of
    bytes that were left, and one more, so that no section is all zeros; these are numbers of 16
    bits. They are multiplied by secret 32-bit numbers, one for each position, and added up. That is
    done four times, with other secrets each time. This is multilinear hashing (Lemire and Kaser,
    "Strongly universal string hashing is fast", The Computer Journal 57(11), 2014): for any two
    different strings, whoever chose them, the odds over the secrets that all four sums agree are at
    most 2**-128. Each lane mixes two of the sums into 64 bits, which keeps these odds if the mixing
    behaves as random.

    A section's sums are exact in float64, being less than 2**53, which lets them be one matrix
    product; sections are added up as integers.

    Args:
        seed: the secret, at least 16 random bytes; equal seeds give equal fingerprints.
    """

    def __init__(self, seed: bytes) -> None:
        self._seed = seed
        stream = hashlib.shake_256(b"consentgate string lanes" + seed).digest(8 * _SUMS)
        self._odd = np.frombuffer(stream, "<u8") | np.uint64(1)
        self._keys = np.zeros((0, _NUMBERS, _SUMS))  # by section
        self._grow_keys(1)

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
        lanes = np.empty((2, len(offsets) - 1), np.uint64)
        for start in range(0, len(offsets) - 1, _PIECE_ROWS):
            rows = slice(start, start + _PIECE_ROWS)
            lanes[:, rows] = self._lanes(data, offsets[start : start + _PIECE_ROWS + 1])
        return lanes[0], lanes[1]

    def _lanes(
        self, data: npt.NDArray[np.uint8], offsets: npt.NDArray[np.integer[Any]]
    ) -> tuple[Uint64s, Uint64s]:
        first, end = int(offsets[0]), int(offsets[-1]) + _SECTION_BYTES + 8
        data = data[first:end]
        if len(data) < end - first:
            data = np.concatenate([data, np.zeros(end - first - len(data), np.uint8)])
        starts = offsets[:-1].astype(np.int64) - first
        left = offsets[1:].astype(np.int64) - first - starts
        longest = min(int(left.max(initial=0)), MAX_ID_BYTES)
        sums = self._sums(0, data, starts, left)
        rows = np.arange(len(starts))
        for section in range(1, -(-longest // _SECTION_BYTES)):
            goes_on = np.flatnonzero(left > _SECTION_BYTES)
            rows, starts, left = (values.take(goes_on) for values in (rows, starts, left))
            starts += _SECTION_BYTES
            left -= _SECTION_BYTES
            sums[:, rows] += self._sums(section, data, starts, left)
        one, other = (mix(sums[n], self._odd[n]) + sums[n + 1] * self._odd[n + 1] for n in (0, 2))
        return one, other

    def _sums(
        self, section: int, data: npt.NDArray[np.uint8], starts: Int64s, left: Int64s
    ) -> Uint64s:
        """One section's part of the sums of each of n strings: (4, n).

        Args:
            data: with at least a section and 8 bytes behind the last string.
            starts: where the section begins.
            left: how many bytes the string has from there on.
        """
        self._grow_keys(section + 1)
        size = min((int(left.max(initial=0)) + 7) // 8 * 8, _SECTION_BYTES)
        windows = np.ndarray((len(data) - size - 7,), f"V{size + 8}", data, strides=(1,))
        words = windows[starts].view(np.uint64).reshape(len(starts), size // 8 + 1)
        words &= _first_bytes(size).take(left, axis=0, mode="clip")
        words[:, -1] = left + 1
        numbers = words.view(np.uint16)
        keys = np.concatenate([self._keys[section, : size // 2], self._keys[section, -4:]])
        return _product(numbers, keys).T.astype(np.uint64, order="C")

    def _grow_keys(self, sections: int) -> None:
        """Draw the keys of so many sections; SHAKE-256 gives the same ones each time."""
        if sections > len(self._keys):
            shape = (max(sections, 2 * len(self._keys)), _NUMBERS, _SUMS)
            stream = hashlib.shake_256(b"consentgate string keys" + self._seed)
            keys = np.frombuffer(stream.digest(4 * math.prod(shape)), "<u4")
            self._keys = keys.reshape(shape).astype(np.float64)


@cache
def _first_bytes(size: int) -> Uint64s:
    """For every length up to `size`, masks of so many first bytes: (size + 1, size / 8 + 1)."""
    kept = np.arange(size + 8) < np.arange(size + 1)[:, np.newaxis]
    return (kept * np.uint8(0xFF)).view(np.uint64)


def _product(numbers: npt.NDArray[np.uint16], keys: Float64s) -> Float64s:
    """The matrix product of n rows of numbers with the keys, a few rows at a time."""
    product = np.empty((len(numbers), _SUMS))
    whole = len(numbers) // _PRODUCT_ROWS * _PRODUCT_ROWS
    factors = numbers.astype(np.float64)
    np.matmul(
        factors[:whole].reshape(-1, _PRODUCT_ROWS, len(keys)),
        keys,
        out=product[:whole].reshape(-1, _PRODUCT_ROWS, _SUMS),
    )
    np.matmul(factors[whole:], keys, out=product[whole:])
    return product
