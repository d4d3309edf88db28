"""Timestamp columns as microseconds since 1970 in UTC, rounded both ways."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from consentgate.arguments import require
from consentgate.arrow.schemas import type_text
from consentgate.arrow.values import Bools, Int64s, fixed_width_values, from_numpy, valid_mask
from consentgate.errors import ColumnTypeError, ConfigurationError, NaiveTimestampError

EARLIEST = int(np.iinfo(np.int64).min)
LATEST = int(np.iinfo(np.int64).max)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_CALENDAR_MICROS = 285 * 365 * 86_400 * 1_000_000
"""Local times farther from 1970 than this count as EARLIEST and LATEST.

Timestamps in nanoseconds end soon after.
"""
_MICROS_PER_UNIT = {"s": 1_000_000, "ms": 1_000, "us": 1}


def as_micros(instant: datetime, *, name: str) -> int:
    """An aware datetime as microseconds since 1970 in UTC.

    Raises:
        TypeError: It is not a datetime.
        ConfigurationError: It has no time zone, or is pandas' NaT.
    """
    require(instant, name, datetime, hint="give a datetime with a time zone")
    is_instant = instant == instant  # NaT does not equal itself
    if not is_instant or instant.utcoffset() is None:
        raise ConfigurationError(
            f"`{name}` must be a datetime with a time zone, such as "
            "datetime(2026, 1, 31, tzinfo=timezone.utc)."
        )
    return (instant - _EPOCH) // timedelta(microseconds=1)


def micros_text(micros: int) -> str:
    """An instant in microseconds since 1970 in UTC as ISO 8601, or as a number if it is too far."""
    try:
        instant = _EPOCH + timedelta(microseconds=micros)
    except OverflowError:
        return f"{micros} microseconds from 1970"
    return instant.isoformat().replace("+00:00", "Z")


@dataclass(frozen=True, repr=False)
class Instants:
    """Timestamps as int64 microseconds since 1970 in UTC, rounded both ways.

    `floor` is never later than the true instant, and `ceil` is never earlier. So each comparison
    can use the one that goes against admission. An instant that does not fit into 64 bits is
    clamped to EARLIEST or LATEST. `ceil` is at least EARLIEST + 1, so two instants that are both
    too early for 64 bits still compare against admission. A null entry holds an arbitrary number.
    """

    floor: Int64s
    ceil: Int64s
    valid: Bools | None


def read_instants(array: pa.Array, name: str, assume_timezone: str | None = None) -> Instants:
    """A timestamp column of any unit and time zone as instants.

    Raises:
        ColumnTypeError: The column holds no timestamps.
        NaiveTimestampError: It has no time zone, and `assume_timezone` is None.
    """
    check_instants(array.type, name, assume_timezone)
    early = late = _ticks(array)
    unit = array.type.unit
    is_local = array.type.tz is None and assume_timezone != "UTC"
    if is_local:  # this far from 1970, moving into the time zone may have wrapped round
        wild = np.abs(_to_micros(early, unit, round_up=True)) > _CALENDAR_MICROS
        early, late = _both_instants(array, str(assume_timezone), ~wild)
    floor, ceil = _to_micros(early, unit, round_up=False), _to_micros(late, unit, round_up=True)
    if is_local:
        floor, ceil = np.where(wild, EARLIEST, floor), np.where(wild, LATEST, ceil)
    return Instants(floor, ceil, valid_mask(array))


def check_instants(
    kind: pa.DataType,
    name: str,
    assume_timezone: str | None = None,
    *,
    parameter: str = "Columns.assume_timezone",
) -> None:
    """Raise an error unless `read_instants` can read a column of that type.

    Args:
        parameter: the argument that gives the time zone, as messages name it.

    Raises:
        ColumnTypeError, NaiveTimestampError: As `read_instants`.
    """
    if not pa.types.is_timestamp(kind):
        raise ColumnTypeError(
            f"Column '{name}' is {type_text(kind)} but must be a timestamp with a time zone; "
            "convert it first."
        )
    if kind.tz is None and assume_timezone is None:
        raise NaiveTimestampError(
            f"Column '{name}' is {kind}, which has no time zone, so its instants are unknown; give "
            f"it one, or name its time zone with `{parameter}`."
        )


def check_time_zone(zone: str) -> None:
    """Raise an error unless the zone is known.

    Raises:
        ConfigurationError: The zone is not known on this machine.
    """
    if zone != "UTC":
        try:
            _localise(pa.array([0], pa.timestamp("us")), zone, "earliest")
        except pa.ArrowInvalid as error:
            raise ConfigurationError(
                f"Time zone '{zone}' is not known on this machine; give a name of the IANA "
                "database, such as 'UTC' or 'Europe/Berlin'."
            ) from error


def _both_instants(array: pa.Array, zone: str, looked_at: Bools) -> tuple[Int64s, Int64s]:
    """The earliest and the latest instant that each local time can stand for, in ticks.

    For a local time that clocks skip, pyarrow gives the instant of the change. By a clock that was
    not put forward it stands for a later instant, and by one that was before, for an earlier one.

    Args:
        looked_at: n booleans, false where the result does not matter.
    """
    sides = [_localise(array, zone, side) for side in ("earliest", "latest")]
    early, late = map(_ticks, sides)
    odd = np.flatnonzero((early != late) & looked_at)
    if len(odd):
        local = _ticks(array)[odd]
        guesses = [local - _offsets(side.take(from_numpy(odd))) for side in sides]
        early, late = early.copy(), late.copy()
        early[odd], late[odd] = np.minimum(*guesses), np.maximum(*guesses)
    return early, late


def _offsets(instants: pa.Array) -> Int64s:
    """How far the local time of each instant is ahead of UTC, in ticks."""
    offsets: Int64s = _ticks(pc.local_timestamp(instants)) - _ticks(instants)
    return offsets


def _ticks(array: pa.Array) -> Int64s:
    return fixed_width_values(array, np.dtype(np.int64))


def _localise(array: pa.Array, zone: str, side: str) -> pa.Array:
    return pc.assume_timezone(array, zone, ambiguous=side, nonexistent=side)


def _to_micros(ticks: Int64s, unit: str, *, round_up: bool) -> Int64s:
    if unit == "ns":
        return ticks // 1000 + (ticks % 1000 != 0) if round_up else ticks // 1000
    factor = _MICROS_PER_UNIT[unit]
    if factor > 1:
        lowest, highest = EARLIEST // factor + 1, LATEST // factor
        micros = np.clip(ticks, lowest, highest) * factor
        micros[ticks > highest] = LATEST
        micros[ticks < lowest] = EARLIEST
        ticks = micros
    return np.maximum(ticks, EARLIEST + 1) if round_up else ticks
