"""Ids: those of one family meet whatever their layout, and no others do."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from tests.build import make_channels, make_consent, make_gate, message_table, reasons
from tests.judging.judge import FIRST, OK, UUID, UUID_2, UUID_3, UUID_4, coded, judge

ID_COLUMNS: list[Any] = [
    (pa.array([7], pa.int64()), pa.array([7, 8, None], kind))
    for kind in (
        pa.int8(), pa.int16(), pa.int32(), pa.int64(),
        pa.uint8(), pa.uint16(), pa.uint32(), pa.uint64(),
    )
]  # fmt: skip

ID_COLUMNS += [
    (pa.array(["ann"], kept), pa.array(["ann", "bob", None], kind))
    for kept in (pa.string(), pa.string_view())
    for kind in (pa.string(), pa.large_string(), pa.string_view())
]

ID_COLUMNS += [
    (pa.array([7, 2**64 - 2], pa.uint64()), pa.array([7, -2, None], pa.int8())),
    (pa.array([2**64 - 1], pa.uint64()), pa.array([2**64 - 1, 1, None], pa.uint64())),
    (pa.array([2**63], pa.uint64()), pa.array([2**63, 2**63 - 1, None], pa.uint64())),
    (pa.array([2**63 - 1], pa.uint64()), pa.array([2**63 - 1, 0, None], pa.int64())),
    (pa.array([2**63 - 1, 2**63], pa.uint64()), pa.array([2**63 - 1, 0, None], pa.int64())),
    (pa.array([2**63 - 1], pa.int64()), pa.array([2**63 - 1, 2**63, None], pa.uint64())),
    (pa.array([-1], pa.int8()), pa.array([-1, 1, None], pa.int64())),
    (pa.array([0], pa.int8()), pa.array([0, 1, None], pa.int64())),
    (pa.array([-(2**63)], pa.int64()), pa.array([-(2**63), 0, None], pa.int64())),
    (pa.array([2**53 + 1]), pa.array([2**53 + 1, 2**53, None])),
    (pa.array(["a"]), pa.array(["a", "a\0", None])),
    (pa.array(["a\0"]), pa.array(["a\0", "a", None])),
    (pa.array([""]), pa.array(["", "\0", None])),
    (pa.array(["abcdefgh1"]), pa.array(["abcdefgh1", "abcdefgh2", None])),
    (pa.array(["ä"]), pa.array(["ä", "a\u0308", None])),
    (pa.array(["x" * 10_000]), pa.array(["x" * 10_000, "x" * 9_999 + "y", None])),
    (pa.array(["x" * 65_536]), pa.array(["x" * 65_536, "x" * 65_535, None])),
    (pa.array(["x" * 65_536]), pa.array(["x" * 65_536, "x" * 70_000, None])),
    (pa.array([UUID], pa.binary(16)), pa.array([UUID, UUID_2, None], pa.binary(16))),
    (pa.array([UUID], pa.uuid()), pa.array([UUID, UUID_3, None], pa.binary(16))),
    (pa.array([UUID], pa.binary(16)), pa.array([UUID, UUID_4, None], pa.uuid())),
    (pa.array([UUID], pa.uuid()), pa.array([UUID, bytes(16), None], pa.uuid())),
    (coded([0], ["ann", "unused"]), coded([0, 1, None], ["ann", "bob"])),
    (pa.array(["ann"]), coded([0, 1, 2], ["ann", "bob", None])),
    (pa.array(["ann"]), coded([2, 1, None], ["ann", "bob", "ann"])),
    (pa.array(["ann"]), coded([4, 1, 3], ["x", "bob", "y", None, "ann", "z"])),
    (pa.array(["ann"]), coded([1, 0, 2], pa.array(["bob", "ann", None], pa.string_view()))),
    (pa.array([7]), coded([1, 0, 2], pa.array([8, 7, None], pa.uint8()))),
    (pa.array([7]), coded([1, 0, 4], pa.array([8, 7, 1, 2, None], pa.int16()))),
    (pa.array([UUID], pa.uuid()), coded([0, 1, None], pa.array([UUID, UUID_2], pa.binary(16)))),
]


@pytest.mark.parametrize(("kept", "sought"), ID_COLUMNS)
@pytest.mark.parametrize("around", [0, 2], ids=["whole", "sliced"])
def test_ids_of_one_family_meet_whatever_their_layout(kept: Any, sought: Any, around: int) -> None:
    expected = [OK, ["no_consent_record"], ["subject_missing"]]
    if around:
        sought = pa.concat_arrays([sought, sought]).slice(around, 3)
        expected = [expected[2], *expected[:2]]
    gate = make_gate(make_consent(subject_id=kept))
    assert reasons(gate, message_table(sender_id=sought)) == expected


@pytest.mark.parametrize(("kept", "sought"), ID_COLUMNS)
def test_channel_ids_meet_as_subject_ids_do(kept: Any, sought: Any) -> None:
    gate = make_gate(channels=make_channels(channel_id=kept))
    found = reasons(gate, message_table(channel_id=sought))
    assert found == [OK, ["channel_unknown"], ["channel_unknown"]]


@pytest.mark.parametrize(
    ("kept", "sought"),
    [
        (pa.array([2**64 - 1], pa.uint64()), pa.array([-1], pa.int64())),
        (pa.array([-1], pa.int64()), pa.array([2**64 - 1], pa.uint64())),
        (pa.array([2**63], pa.uint64()), pa.array([FIRST], pa.int64())),
        (pa.array([FIRST], pa.int64()), pa.array([2**63], pa.uint64())),
        (pa.array([2**64 - 1], pa.uint64()), coded([0], pa.array([-1], pa.int64()))),
        (pa.array([-1], pa.int64()), pa.array([[2**64 - 1]], pa.list_(pa.uint64()))),
    ],
)
def test_equal_bits_of_other_sign_are_another_id(kept: Any, sought: Any) -> None:
    assert judge({"sender_id": sought}, {"subject_id": kept}) == [["no_consent_record"]]


def test_an_empty_snapshot_knows_nobody_and_an_empty_registry_no_channel() -> None:
    nobody = make_consent(subject_id=pa.array([], pa.int64()))
    assert reasons(make_gate(nobody), message_table()) == [["no_consent_record"]]
    nowhere = make_channels(channel_id=pa.array([], pa.int64()))
    assert reasons(make_gate(None, nowhere), message_table()) == [["channel_unknown"]]


def test_many_subjects_and_channels_are_told_apart_across_blocks() -> None:
    rng = np.random.default_rng(7)
    people, rooms = np.arange(0, 90_000, 2), np.arange(0, 3_000, 3)
    consent = make_consent(
        subject_id=pa.array(people),
        status=pa.array(np.where(people % 5 == 0, "refused", "given")),
    )
    channels = make_channels(
        channel_id=pa.array(rooms),
        visibility=pa.array(np.where(rooms % 7 == 0, "private", "public")),
    )
    sender, room = rng.integers(0, 90_000, 150_000), rng.integers(0, 3_000, 150_000)
    expected = (room % 3 != 0) * 2 + ((room % 3 == 0) & (room % 7 == 0)) * 1
    expected = expected + (sender % 2 != 0) * 8 + ((sender % 2 == 0) & (sender % 5 == 0)) * 16
    messages = message_table(sender_id=pa.array(sender), channel_id=pa.array(room))
    gate = make_gate(consent, channels)
    for threads in (1, 2, None):
        bits = gate.decide(messages, threads=threads).reason_bits.to_numpy()
        np.testing.assert_array_equal(bits, expected.astype(np.uint32))
