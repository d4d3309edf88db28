"""One judgement of messages that are given as columns, and the columns that tests need."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pyarrow as pa

import consentgate as cg
from tests.build import (
    BEGUN,
    MICRO,
    NOW,
    make_channels,
    make_consent,
    make_gate,
    message_table,
    reasons,
)

NANOS_PER_UNIT = {"s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}
AGE = NOW - BEGUN
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)
FIRST, LAST = -(2**63), 2**63 - 1
UUID = bytes(range(16))
UUID_2 = bytes(range(8)) + bytes(8)
UUID_3 = bytes(8) + bytes(range(8, 16))
UUID_4 = bytes(range(8, 16)) + bytes(range(8))
LIST = pa.list_(pa.int64())
OK: list[str] = []


def judge(
    messages: dict[str, Any] | None = None,
    consent: dict[str, Any] | None = None,
    channels: dict[str, Any] | None = None,
    columns: cg.Columns | None = None,
    **policy: Any,
) -> list[list[str]]:
    """The reasons against each message."""
    registry = None if channels is None else make_channels(**channels)
    gate = make_gate(make_consent(**consent or {}), registry, columns=columns, **policy)
    return reasons(gate, message_table(**messages or {}))


def in_unit(instant: datetime, unit: str, *, plus_ns: int = 0, zone: str = "UTC") -> Any:
    """A column of one instant in some unit, which must be able to hold it."""
    nanos = (instant - datetime(1970, 1, 1, tzinfo=UTC)) // MICRO * 1000 + plus_ns
    assert nanos % NANOS_PER_UNIT[unit] == 0
    return ticks(nanos // NANOS_PER_UNIT[unit], unit, zone)


def ticks(count: int, unit: str, zone: str | None = "UTC") -> Any:
    """A column of one instant, given as the number that stands in its buffer."""
    return pa.array([count], pa.int64()).cast(pa.timestamp(unit, zone))


def coded(codes: list[int | None], values: Any) -> Any:
    """A dictionary-encoded column, the dictionary exactly as given."""
    values = values if isinstance(values, pa.Array) else pa.array(values)
    return pa.DictionaryArray.from_arrays(pa.array(codes, pa.int8()), values)
