"""Ids of every kind, made from plain numbers. Equal numbers give equal ids in every column.

Ids are computed and not looked up, so twenty million ids of 23 to 36 bytes take seconds and little
memory.
"""

from enum import StrEnum
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

Numbers = npt.NDArray[np.int64]
Words = npt.NDArray[np.uint64]

_PREFIX = np.frombuffer(b"user-", dtype=np.uint8)
_MIN_BYTES, _MAX_BYTES = 23, 36
_BLOCK_ROWS = 1 << 16  # so that temporaries stay in the processor's cache
_HEX_PAIRS = np.frombuffer(bytes(range(256)).hex().encode(), dtype=np.uint16)


class IdKind(StrEnum):
    """The kind of value that ids are."""

    INTEGER = "integer"
    STRING = "string"
    UUID = "uuid"

    @property
    def arrow_type(self) -> pa.DataType:
        """The type of a column of such ids."""
        return {"integer": pa.int64(), "string": pa.string(), "uuid": pa.uuid()}[self.value]


def make_ids(kind: IdKind, numbers: Numbers, missing: npt.NDArray[np.bool_] | None = None) -> Any:
    """One id for each number: int64 in no order, strings of 23 to 36 bytes, or UUIDs.

    Args:
        kind: the kind of value that ids are.
        numbers: n numbers, at least 0.
        missing: n booleans, true where the id is null; None if no id is null.
    """
    if kind is IdKind.INTEGER:
        return pa.array((_scramble(numbers, 1) >> np.uint64(1)).astype(np.int64), mask=missing)
    words = np.stack([_scramble(numbers, 1), _scramble(numbers, 2)], axis=1)
    present = None if missing is None else pa.array(~missing).buffers()[1]
    if kind is IdKind.UUID:
        buffers = [present, pa.py_buffer(words)]
        storage = pa.Array.from_buffers(pa.binary(16), len(words), buffers)
        return pa.ExtensionArray.from_storage(pa.uuid(), storage)
    offsets, text = _texts(words)
    buffers = [present, pa.py_buffer(offsets), pa.py_buffer(text)]
    return pa.Array.from_buffers(pa.string(), len(words), buffers)


def _scramble(numbers: Numbers, lane: int) -> Words:
    """SplitMix64's finaliser (Steele, Lea and Flood, OOPSLA 2014): a bijection for each lane."""
    words = numbers.astype(np.uint64)
    words += np.uint64(lane)
    words *= np.uint64(0x9E37_79B9_7F4A_7C15 if lane == 1 else 0xD134_2543_DE82_EF95)
    words ^= words >> np.uint64(30)
    words *= np.uint64(0xBF58_476D_1CE4_E5B9)
    words ^= words >> np.uint64(27)
    words *= np.uint64(0x94D0_49BB_1331_11EB)
    words ^= words >> np.uint64(31)
    return words


def _texts(words: Words) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.uint8]]:
    """Offsets and bytes of n strings, which are a prefix and hexadecimal digits of the words."""
    spare = (words[:, 1] >> np.uint64(40)) % np.uint64(_MAX_BYTES - _MIN_BYTES + 1)
    lengths = spare.astype(np.uint8) + np.uint8(_MIN_BYTES)
    offsets = np.zeros(len(words) + 1, dtype=np.int32)
    np.cumsum(lengths, dtype=np.int32, out=offsets[1:])
    text = np.empty(offsets[-1], dtype=np.uint8)
    for start in range(0, len(words), _BLOCK_ROWS):
        stop = min(start + _BLOCK_ROWS, len(words))
        block = _text_block(words[start:stop], lengths[start:stop])
        text[offsets[start] : offsets[stop]] = block
    return offsets, text


def _text_block(words: Words, lengths: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    wide = np.empty((len(words), len(_PREFIX) + 2 * words[0].nbytes), dtype=np.uint8)
    wide[:, : len(_PREFIX)] = _PREFIX
    wide[:, len(_PREFIX) :] = _HEX_PAIRS[words.view(np.uint8)].view(np.uint8)
    written: npt.NDArray[np.uint8] = wide[np.arange(wide.shape[1]) < lengths[:, None]]
    return written
