"""Small pools of ids, instants and words, many of which are equal or nearly equal."""

from __future__ import annotations

from datetime import UTC, timedelta, timezone
from typing import Any

import pyarrow as pa

DAY_NS = 86_400 * 10**9
BEYOND_NS = 10**40  # clamped to the least or greatest int64 of the unit in which it is stored
NEAR_NS = (0, -1, 1, -1_000, 1_000, -1_000_000, 10**9, -(10**9))
PARTS_OF_MICROSECOND_NS = (0, 0, 1, 999)
UNITS_NS = (1_000, 1, 1, 1_000_000, 10**9)
BEGINNINGS_NS = (
    1_717_243_200 * 10**9,  # June 2024
    0,
    -1_000,  # one microsecond before 1970
    1_711_846_799_999_999_000,  # one microsecond before Berlin's clocks change
    -2_500_000_000 * 10**9,  # 1890
)
ZONES = (UTC, timezone(timedelta(hours=5, minutes=30)), timezone(timedelta(hours=-8)))

INTEGER_IDS = (
    1, 257, 0, 2, 255, -1, 2**64 - 1, 2**63, 2**63 - 1, -(2**63), 2**53, 2**53 + 1, 2**32 + 1,
    -(2**31), 127, -128,
)  # fmt: skip
INTEGER_RANGES = (
    (-(2**63), 2**63), (0, 2**64), (-(2**31), 2**31), (0, 2**32), (-(2**15), 2**15), (0, 2**16),
    (-128, 128), (0, 256),
)  # fmt: skip
STRING_IDS = (
    "a", "", "ab", "a\0", "\0", "abcdefg", "abcdefgh", "abcdefgi", "abcdefghi", "abcdefgh1234",
    "abcdefgh12345", "abcdefgh12346", "abcdefgh1234567", "abcdefgh12345678", "abcdefgh12345679",
    "abcdefgh123456789", "ä", "a\u0308", "😀", "null", "x" * 10_000, "x" * 9_999 + "y", "A", "a ",
)  # fmt: skip
UUID_IDS = (
    bytes(range(16)), bytes(range(15)) + b"\x00", b"\x01" + bytes(range(1, 16)), bytes(16),
    b"\xff" * 16, bytes(range(8, 16)) + bytes(range(8)), bytes(8) + bytes(range(8, 16)),
    bytes(range(8)) + bytes(8),
)  # fmt: skip
IDS_BY_FAMILY: dict[str, tuple[Any, ...]] = {
    "integer": INTEGER_IDS,
    "string": STRING_IDS,
    "uuid": UUID_IDS,
}
FAMILIES = tuple(IDS_BY_FAMILY)

STATUSES = (
    "refused", "withdrawn", "revoked", "expired", "requested", "request_deferred", "invalidated",
    "unknown", "refused",
)  # fmt: skip
ODD_METHODS = ("default_on", None, "Explicit", "unknown", "implied", "")
ODD_NOTICES = (None, "v0", "V1", "")
ODD_VISIBILITIES = ("private", "Public", "unlisted", None, "", "public ")
PURPOSES = ("train_ai_system", "personalize", "analyse")
OTHER_PURPOSE = "advertise"

SUBJECT_NAMES = ("sender_id", "participant_ids", "mentioned")
CHANNEL_NAMES = ("channel_id", "thread_id")
SUBJECT_SHAPES: tuple[tuple[int, ...], ...] = (  # how long lists are; () holds no lists
    (), (1, 2, 3), (1, 2, 3), (2,), (1,),
)  # fmt: skip

USUAL_VALUES: dict[str, Any] = {"string": "de", "integer": 1, "boolean": False}
ODD_VALUES: dict[str, tuple[Any, ...]] = {
    "string": ("DE", "", None, "d", "de\0"),
    "integer": (0, None, 257, -1, 2**53, 2**53 + 1),
    "boolean": (True, None),
}
PAYLOADS = (
    (),
    (("body", pa.string(), ("hello", None, "")),),
    (
        ("body", pa.large_string(), (None, "ä" * 30)),
        ("extra", pa.struct([("n", pa.int32()), ("l", pa.list_(pa.string()))]), (
            {"n": 1, "l": ["x", None]}, None, {"n": None, "l": None}, {"n": 2, "l": []})),
    ),
    (("body", pa.string(), ("one", None)), ("body", pa.int8(), (2, None))),
)  # fmt: skip


def make_twins(identifier: Any) -> tuple[Any, ...]:
    """Return ids that a careless comparison would take for this id."""
    if isinstance(identifier, int):
        steps = (2**64, -(2**64), 2**32, 256, -256)
        return (*(identifier + step for step in steps), -identifier)
    if isinstance(identifier, str):
        shorter = identifier[:-1]
        return (identifier + "\0", shorter, shorter + "z", identifier.upper(), identifier + " ")
    flipped = bytes([identifier[-1] ^ 1])
    return identifier[:-1] + flipped, identifier[8:] + identifier[:8], flipped + identifier[1:]


def near(*instants_ns: int) -> tuple[int, ...]:
    """Return the instants, and instants just before and after them."""
    return tuple(instant + step for instant in instants_ns for step in NEAR_NS)


def just_after(*instants_ns: int) -> tuple[int, ...]:
    """Return the instants and others that round down to the same microsecond, three times each."""
    return tuple(instant + part for instant in instants_ns for part in PARTS_OF_MICROSECOND_NS) * 3
