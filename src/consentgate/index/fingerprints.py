"""Keyed hashes of ids, for looking ids up.

Each index draws its own key. So a hash can only be compared with others of the same index, or of
the file that this index was saved to. The functions here must not change their results: saved gates
contain such hashes (`storage.sections.VERSION`), and content digests order rows by them.
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
"""Most bytes of a string id in a snapshot or registry. A longer id has no record anywhere.

Fingerprints look at an id's length and at least its first MAX_ID_BYTES bytes.
"""

_HALF = np.uint64(32)
_SPREAD = np.uint64(0x9E37_79B9_7F4A_7C15)
_SUMS = 4
_SECTION_BYTES = 56
_NUMBERS = 4 + _SECTION_BYTES // 2
"""How many 16-bit numbers are multiplied by 32-bit numbers and added up: the sum is below 2**53."""
_PRODUCT_ROWS = 2_048
"""Rows of one matrix product: so few that it stays in the cache, and in the calling thread."""
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

    A string is read in sections of 56 bytes. The last section is filled up with zeros. Each section
    is followed by a 64-bit integer: one more than the number of bytes that the string has from the
    section on. So no section is all zeros. A section and its integer are read as numbers of 16
    bits. Each number is multiplied by a secret 32-bit number of its position, and the products are
    added up. This is done four times, with other secrets each time.

    This is multilinear hashing (Lemire and Kaser, "Strongly universal string hashing is fast", The
    Computer Journal 57(11), 2014). For any two different strings, even if an attacker chose them,
    the odds over the secrets that all four sums agree are at most 2**-128. Each lane mixes two of
    the sums into 64 bits. This keeps these odds if the mixing behaves as random.

    The sums of a section are less than 2**53. So they are exact in float64 and are computed as one
    matrix product. The sums of several sections are added up as integers.

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
        """The share of one section in the sums of each of n strings, as an array of shape (4, n).

        Args:
            data: the bytes of the strings, and at least a section and 8 bytes after them.
            starts: the positions in `data` where the section of each string begins.
            left: how many bytes each string has from there on.
        """
        self._grow_keys(section + 1)
        size = min((int(left.max(initial=0)) + 7) // 8 * 8, _SECTION_BYTES)
        windows = np.ndarray((len(data) - size - 7,), f"V{size + 8}", data, strides=(1,))
        padded = windows[starts].view(np.uint64).reshape(len(starts), size // 8 + 1)
        padded &= _first_bytes(size).take(left, axis=0, mode="clip")
        padded[:, -1] = left + 1
        numbers = padded.view(np.uint16)
        keys = np.concatenate([self._keys[section, : size // 2], self._keys[section, -4:]])
        return _product(numbers, keys).T.astype(np.uint64, order="C")

    def _grow_keys(self, sections: int) -> None:
        """Draw the keys of at least so many sections. SHAKE-256 gives the same keys each time."""
        if sections > len(self._keys):
            shape = (max(sections, 2 * len(self._keys)), _NUMBERS, _SUMS)
            stream = hashlib.shake_256(b"consentgate string keys" + self._seed)
            keys = np.frombuffer(stream.digest(4 * math.prod(shape)), "<u4")
            self._keys = keys.reshape(shape).astype(np.float64)


@cache
def _first_bytes(size: int) -> Uint64s:
    """Masks that keep the first 0, 1, …, `size` bytes, of shape (size + 1, size / 8 + 1)."""
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
