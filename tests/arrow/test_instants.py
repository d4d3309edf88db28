"""Timestamps as microseconds: exact at the very ends of what each unit and 64 bits can hold."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from fractions import Fraction
from zoneinfo import ZoneInfo

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

import consentgate as cg
from consentgate.arrow.instants import EARLIEST, LATEST, as_micros, micros_text, read_instants
from tests.build import AS_OF, MICRO, make_gate, message_table, reasons

FIRST, LAST = -(2**63), 2**63 - 1
UNITS = {"s": Fraction(10**6), "ms": Fraction(10**3), "us": Fraction(1), "ns": Fraction(1, 1000)}
CALENDAR = 285 * 365 * 86_400 * 10**6
"""Microseconds from 1970 to where local times are given up."""


def clamped(micros: int) -> int:
    """The nearest number that 64 bits can hold."""
    return min(max(micros, FIRST), LAST)


def around(micros: int, unit: str) -> list[int]:
    """The ticks on both sides of an instant that fit into 64 bits."""
    tick = micros // UNITS[unit]
    return [t for t in range(tick - 2, tick + 3) if FIRST <= t <= LAST]


def ends(unit: str) -> list[int]:
    """Ticks at the ends of 64 bits, of what fits once it is microseconds, and near 1970."""
    return [
        *range(FIRST, FIRST + 3),
        *range(LAST - 2, LAST + 1),
        *(
            t
            for micros in (FIRST, -1001, -1000, -1, 0, 1, 1000, LAST)
            for t in around(micros, unit)
        ),
    ]


def check(
    ticks: list[int], unit: str, zone: str | None = "UTC", assumed: str | None = None
) -> None:
    """That instants are their ticks, rounded down and up exactly and clamped."""
    column = pa.array(ticks, pa.int64()).view(pa.timestamp(unit, zone))
    found = read_instants(column, "created_at", assumed)
    exact = [tick * UNITS[unit] for tick in ticks]
    assert found.floor.tolist() == [clamped(micros.__floor__()) for micros in exact]
    assert found.ceil.tolist() == [max(clamped(micros.__ceil__()), FIRST + 1) for micros in exact]
    assert found.valid is None


@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize(("zone", "assumed"), [("UTC", None), ("Asia/Tokyo", None), (None, "UTC")])
def test_instants_are_exact_at_the_ends_of_their_range(
    unit: str, zone: str | None, assumed: str | None
) -> None:
    assert (EARLIEST, LATEST) == (FIRST, LAST)
    check(ends(unit), unit, zone, assumed)


@given(unit=st.sampled_from(list(UNITS)), ticks=st.lists(st.integers(FIRST, LAST)))
def test_instants_are_rounded_both_ways(unit: str, ticks: list[int]) -> None:
    check(ticks, unit)


@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize("sign", [-1, 1])
def test_local_times_are_given_up_just_behind_the_edge_of_the_calendar(
    unit: str, sign: int
) -> None:
    ticks = around(sign * CALENDAR, unit)
    assert any(abs(tick * UNITS[unit]) == CALENDAR for tick in ticks)
    column = pa.array(ticks, pa.int64()).view(pa.timestamp(unit))
    found = read_instants(column, "created_at", "-01:00")
    for tick, floor, ceil in zip(ticks, found.floor.tolist(), found.ceil.tolist(), strict=True):
        local = tick * UNITS[unit]
        if local.__ceil__() > CALENDAR or local.__ceil__() < -CALENDAR:
            assert (floor, ceil) == (EARLIEST, LATEST)
        else:
            utc = local + 3600 * 10**6
            assert (floor, ceil) == (utc.__floor__(), utc.__ceil__())


@pytest.mark.parametrize("unit", UNITS)
def test_local_times_are_judged_up_to_the_edge_and_not_beyond(unit: str) -> None:
    """Those beyond count as too early and too late, so they are newer than the snapshot."""
    columns = cg.Columns(assume_timezone="America/New_York")
    ticks = around(-CALENDAR, unit)
    created_at = pa.array(ticks, pa.int64()).view(pa.timestamp(unit))
    found = reasons(make_gate(columns=columns), message_table(created_at=created_at))
    for tick, codes in zip(ticks, found, strict=True):
        is_wild = (tick * UNITS[unit]).__ceil__() < -CALENDAR
        assert ("after_snapshot" in codes) == is_wild
        assert "predates_consent" in codes


@pytest.mark.parametrize("hour", range(4))
@pytest.mark.parametrize("day", [datetime(2025, 3, 30), datetime(2025, 10, 26)])
def test_a_local_time_that_is_there_twice_or_never_is_rounded_both_ways(
    day: datetime, hour: int
) -> None:
    """Berlin's clocks skip the hour from 2 in March and repeat it in October."""
    local = day + timedelta(hours=hour, minutes=30)
    berlin = ZoneInfo("Europe/Berlin")
    guesses = [local.replace(tzinfo=berlin, fold=fold).astimezone(UTC) for fold in (0, 1)]
    for unit in UNITS:
        found = read_instants(pa.array([local], pa.timestamp(unit)), "created_at", "Europe/Berlin")
        floor, ceil = (
            datetime.fromtimestamp(0, UTC) + MICRO * int(n[0]) for n in (found.floor, found.ceil)
        )
        assert (floor, ceil) == (min(guesses), max(guesses))


def test_a_day_that_a_zone_skips_is_rounded_both_ways() -> None:
    """Samoa went from UTC-10 to UTC+14 at the end of 29 December 2011."""
    local = [datetime(2011, 12, day, 12) for day in (29, 30, 31)]
    found = read_instants(pa.array([*local, None], pa.timestamp("s")), "x", "Pacific/Apia")
    hours = [[round(n / 3.6e9) for n in side[:3]] for side in (found.floor, found.ceil)]
    midday = round(datetime(2011, 12, 30, 12, tzinfo=UTC).timestamp() / 3600)
    before, after = midday - 14, midday + 10
    assert hours == [[before, before, after], [before, after, after]]


@pytest.mark.parametrize("step", [-MICRO, timedelta(0), MICRO])
def test_a_datetime_is_its_microseconds(step: timedelta) -> None:
    for instant in (AS_OF, datetime(1969, 12, 31, 23, 59, 59, 999_999, UTC)):
        expected = int((instant + step - datetime(1970, 1, 1, tzinfo=UTC)) / MICRO)
        assert as_micros(instant + step, name="as_of") == expected
        in_tokyo = (instant + step).astimezone(ZoneInfo("Asia/Tokyo"))
        assert as_micros(in_tokyo, name="as_of") == expected


@pytest.mark.parametrize(
    ("micros", "text"),
    [
        (0, "1970-01-01T00:00:00Z"),
        (-1, "1969-12-31T23:59:59.999999Z"),
        (LATEST, "9223372036854775807 microseconds from 1970"),
        (EARLIEST, "-9223372036854775808 microseconds from 1970"),
    ],
)
def test_microseconds_as_text(micros: int, text: str) -> None:
    assert micros_text(micros) == text
