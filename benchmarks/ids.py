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
Uint64s = npt.NDArray[np.uint64]

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
    mixed = np.stack([_scramble(numbers, 1), _scramble(numbers, 2)], axis=1)
    present = None if missing is None else pa.array(~missing).buffers()[1]
    if kind is IdKind.UUID:
        buffers = [present, pa.py_buffer(mixed)]
        storage = pa.Array.from_buffers(pa.binary(16), len(mixed), buffers)
        return pa.ExtensionArray.from_storage(pa.uuid(), storage)
    offsets, text = _texts(mixed)
    buffers = [present, pa.py_buffer(offsets), pa.py_buffer(text)]
    return pa.Array.from_buffers(pa.string(), len(mixed), buffers)


def _scramble(numbers: Numbers, lane: int) -> Uint64s:
    """SplitMix64's finaliser (Steele, Lea and Flood, OOPSLA 2014): a bijection for each lane."""
    mixed = numbers.astype(np.uint64)
    mixed += np.uint64(lane)
    mixed *= np.uint64(0x9E37_79B9_7F4A_7C15 if lane == 1 else 0xD134_2543_DE82_EF95)
    mixed ^= mixed >> np.uint64(30)
    mixed *= np.uint64(0xBF58_476D_1CE4_E5B9)
    mixed ^= mixed >> np.uint64(27)
    mixed *= np.uint64(0x94D0_49BB_1331_11EB)
    mixed ^= mixed >> np.uint64(31)
    return mixed


def _texts(mixed: Uint64s) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.uint8]]:
    """Offsets and bytes of n strings, which are a prefix and hexadecimal digits."""
    spare = (mixed[:, 1] >> np.uint64(40)) % np.uint64(_MAX_BYTES - _MIN_BYTES + 1)
    lengths = spare.astype(np.uint8) + np.uint8(_MIN_BYTES)
    offsets = np.zeros(len(mixed) + 1, dtype=np.int32)
    np.cumsum(lengths, dtype=np.int32, out=offsets[1:])
    text = np.empty(offsets[-1], dtype=np.uint8)
    for start in range(0, len(mixed), _BLOCK_ROWS):
        stop = min(start + _BLOCK_ROWS, len(mixed))
        block = _text_block(mixed[start:stop], lengths[start:stop])
        text[offsets[start] : offsets[stop]] = block
    return offsets, text


def _text_block(mixed: Uint64s, lengths: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    wide = np.empty((len(mixed), len(_PREFIX) + 2 * mixed[0].nbytes), dtype=np.uint8)
    wide[:, : len(_PREFIX)] = _PREFIX
    wide[:, len(_PREFIX) :] = _HEX_PAIRS[mixed.view(np.uint8)].view(np.uint8)
    written: npt.NDArray[np.uint8] = wide[np.arange(wide.shape[1]) < lengths[:, None]]
    return written
