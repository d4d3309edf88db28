"""Faults that the kernel finds while it writes rows as bytes, before it leaves its buffers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from consentgate.kernel import Dealt, Extent, Fault, Field, FieldKind, Rows, kernel

EXTENT = np.dtype(Extent)
HASHES = np.zeros(2, np.uint64)
DATA = np.frombuffer(b"aabb", np.uint8)
RANKS = np.zeros(3, np.uint32)


def texts(*offsets: int) -> tuple[Field, Any]:
    held = np.array(offsets, np.int64)
    at = held.ctypes.data
    return Field(FieldKind.TEXT, at, offsets=at, data=DATA.ctypes.data, data_bytes=4), held


def coded(kind: FieldKind, *indices: int) -> tuple[Field, Any]:
    held, offsets = np.array(indices, np.int32), np.array([0, 2, 4, 4], np.int64)
    field = Field(
        kind,
        held.ctypes.data,
        dictionary_length=3,
        ranks=RANKS.ctypes.data,
        rank_bytes=1,
        offsets=offsets.ctypes.data,
        data=DATA.ctypes.data,
        data_bytes=4,
    )
    return field, (held, offsets)


def deal(field: Field, room: tuple[int, int]) -> int:
    """The fault of dealing two rows into one bucket that has room for so many rows and bytes."""
    rows = Rows(HASHES.ctypes.data, 0, (Field * 1)(field), 1)
    start, end = np.zeros(1, EXTENT), np.array([room], EXTENT)
    dealt, octets = np.zeros(2, np.dtype(Dealt)), np.full(room[1] + 64, 7, np.uint8)
    fault: int = kernel.cg_deal_rows(
        *(rows, 0, 2, 0, 1, start.ctypes.data, end.ctypes.data),
        *(dealt.ctypes.data, octets.ctypes.data),
    )
    assert (octets[room[1] :] == 7).all()
    return fault


@pytest.mark.parametrize(
    ("made", "fault"),
    [
        (texts(0, 2, 4), Fault.SOUND),
        (texts(0, 2, 5), Fault.BAD_OFFSETS),
        (texts(-1, 2, 4), Fault.BAD_OFFSETS),
        (texts(0, 2, 1), Fault.BAD_OFFSETS),
        (coded(FieldKind.WORD, 2, 0), Fault.SOUND),
        (coded(FieldKind.WORD, 0, 3), Fault.BAD_INDEX),
        (coded(FieldKind.WORD, 0, -1), Fault.BAD_INDEX),
        (coded(FieldKind.DICTIONARY_TEXT, 2, 0), Fault.SOUND),
        (coded(FieldKind.DICTIONARY_TEXT, 0, 3), Fault.BAD_INDEX),
        (coded(FieldKind.DICTIONARY_TEXT, -1, 0), Fault.BAD_INDEX),
    ],
)
def test_texts_and_indices_out_of_bounds_are_faults(made: tuple[Field, Any], fault: Fault) -> None:
    assert deal(made[0], (2, 1000)) == fault


@pytest.mark.parametrize("room", [(1, 1000), (2, 37), (2, 20), (2, 8), (2, 3), (0, 0)])
def test_rows_that_take_more_than_their_room_are_a_fault(room: tuple[int, int]) -> None:
    field, _held = texts(0, 2, 4)
    assert deal(field, (2, 38)) == Fault.SOUND
    assert deal(field, room) == Fault.NO_SPACE


def test_a_bucket_that_takes_more_than_its_space_is_refused() -> None:
    dealt, scratch = np.zeros(1, np.dtype(Dealt)), np.zeros(1, np.dtype(Dealt))
    octets, ordered = np.zeros(16, np.uint8), np.full(8, 7, np.uint8)
    octets[0] = 8  # the length of the row, which is before its bytes
    for space, written in ((8, 8), (7, -1)):
        given = (dealt.ctypes.data, 1, 0, scratch.ctypes.data, octets.ctypes.data)
        assert kernel.cg_order_bucket(*given, ordered.ctypes.data, space) == written
