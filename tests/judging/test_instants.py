"""Instants of messages, consents and channels: every boundary from both its sides."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
import pytest

import consentgate as cg
from tests.build import (
    ABSENT,
    AS_OF,
    BEGUN,
    MICRO,
    NOW,
    WRITTEN,
    consent_table,
    make_consent,
    make_gate,
    message_table,
    reasons,
)
from tests.judging.judge import (
    AGE,
    FIRST,
    LAST,
    LIST,
    LONG_AGO,
    NANOS_PER_UNIT,
    OK,
    in_unit,
    judge,
    ticks,
)


@pytest.mark.parametrize("lists", [False, True])
def test_bounds_of_others_hide_no_reason(lists: bool) -> None:
    """Every subject keeps its reasons where a snapshot has records with every kind of bound."""
    consent = {
        "subject_id": [1, 2, 3, 4, 5, 6],
        "status": ["given", "refused", "withdrawn", "given", "given", "renewed"],
        "method": ["explicit", "implied", "explicit", "implied", "explicit", "explicit"],
        "effective_from": [BEGUN, None, BEGUN, BEGUN, WRITTEN + MICRO, BEGUN],
        "expires_at": [NOW + MICRO, LONG_AGO, None, LONG_AGO, LONG_AGO, None],
        "covers_prior": [True, True, None, False, False, False],
        "tier": ["free", "free", "paid", "free", "paid", "paid"],
    }
    rule = cg.Rule(name="pays", column="tier", any_of=["paid"])
    subjects = pa.array([1, 2, 3, 4, 5, 6, 7, None], pa.int64())
    if lists:
        subjects = pa.array([[subject] for subject in subjects.to_pylist()], LIST)
    found = judge(
        {"sender_id": subjects, "created_at": WRITTEN},
        consent,
        {"channel_id": [10, 11], "public_since": [None, LONG_AGO]},
        subject_rules=[rule],
    )
    assert found == [
        OK,
        ["consent_refused"],
        ["consent_withdrawn", "pays"],
        ["consent_expired", "consent_not_explicit"],
        ["consent_expired", "predates_consent", "pays"],
        ["pays"],
        ["no_consent_record"],
        ["subject_missing"],
    ]


@pytest.mark.parametrize(
    ("created_at", "expected"),
    [
        (BEGUN - MICRO, ["predates_consent"]),
        (BEGUN, OK),
        (BEGUN + MICRO, OK),
        (AS_OF - MICRO, OK),
        (AS_OF, OK),
        (AS_OF + MICRO, ["after_snapshot"]),
        (NOW + timedelta(days=900), ["after_snapshot"]),
        (datetime(1890, 1, 1, tzinfo=UTC), ["predates_consent"]),
    ],
)
def test_messages_lie_between_the_consent_and_the_snapshot(
    created_at: datetime, expected: list[str]
) -> None:
    assert judge({"created_at": [created_at]}) == [expected]


@pytest.mark.parametrize(
    ("covers_prior", "expected"),
    [
        (True, OK),
        (False, ["predates_consent"]),
        (None, ["predates_consent"]),
        (ABSENT, ["predates_consent"]),
    ],
)
def test_earlier_messages_are_covered_only_expressly(
    covers_prior: Any, expected: list[str]
) -> None:
    consent = {"covers_prior": covers_prior}
    assert judge({"created_at": [BEGUN - MICRO]}, consent) == [expected]


@pytest.mark.parametrize(
    ("expires_at", "expected"),
    [
        (NOW - MICRO, ["consent_expired"]),
        (NOW, ["consent_expired"]),
        (NOW + MICRO, OK),
        (None, OK),
        (datetime(1900, 1, 1, tzinfo=UTC), ["consent_expired"]),
    ],
)
def test_consent_ends_when_it_expires(expires_at: datetime | None, expected: list[str]) -> None:
    assert judge(consent={"expires_at": expires_at}) == [expected]


def test_only_some_records_expire() -> None:
    consent = {"subject_id": [1, 2, 3], "expires_at": [None, NOW, NOW + MICRO]}
    found = judge({"sender_id": [1, 2, 3]}, consent)
    assert found == [OK, ["consent_expired"], OK]


@pytest.mark.parametrize(
    ("age", "expected"),
    [
        (AGE - MICRO, ["consent_expired"]),
        (AGE, ["consent_expired"]),
        (AGE + MICRO, OK),
        (timedelta(0), ["consent_expired"]),
        (timedelta.max, OK),
        (None, OK),
    ],
)
def test_consent_grows_too_old(age: timedelta | None, expected: list[str]) -> None:
    assert judge(max_consent_age=age) == [expected]


@pytest.mark.parametrize("start", [FIRST, FIRST + 1, -1, LAST])
def test_a_great_age_neither_overflows_nor_expires_what_began_late(start: int) -> None:
    consent = {"effective_from": ticks(start, "us"), "covers_prior": True}
    expected = ["consent_expired"] if start < -1 else OK
    if start == LAST:
        expected = ["consent_not_given"]  # it has not begun
    assert judge(consent=consent, max_consent_age=timedelta.max) == [expected]


@pytest.mark.parametrize(
    ("age", "expires_at"), [(AGE, NOW + MICRO), (AGE + MICRO, NOW), (AGE, None)]
)
def test_the_earlier_of_age_and_expiry_ends_a_consent(
    age: timedelta, expires_at: datetime | None
) -> None:
    found = judge(consent={"expires_at": expires_at}, max_consent_age=age)
    assert found == [["consent_expired"]]


@pytest.mark.parametrize(
    ("created_at", "expected"),
    [(WRITTEN - MICRO, ["private_channel"]), (WRITTEN, OK), (WRITTEN + MICRO, OK)],
)
def test_what_was_written_before_a_channel_became_public_stays_private(
    created_at: datetime, expected: list[str]
) -> None:
    assert judge({"created_at": [created_at]}, channels={"public_since": WRITTEN}) == [expected]


def test_a_channel_without_public_since_was_always_public() -> None:
    channels = {"channel_id": [10, 11], "public_since": [None, WRITTEN]}
    found = judge({"channel_id": [10, 11], "created_at": BEGUN}, channels=channels)
    assert found == [OK, ["private_channel"]]


def test_a_message_without_an_instant_is_excluded_for_that_alone() -> None:
    consent = {"expires_at": NOW + MICRO, "effective_from": AS_OF}
    created_at = pa.array([None, AS_OF], pa.timestamp("us", "UTC"))
    found = judge({"created_at": created_at}, consent, {"public_since": AS_OF})
    assert found == [["timestamp_missing"], OK]


def test_a_missing_instant_hides_no_other_reason() -> None:
    created_at = pa.array([None], pa.timestamp("us", "UTC"))
    found = judge({"created_at": created_at}, {"status": "withdrawn"}, {"visibility": "private"})
    assert found == [["private_channel", "consent_withdrawn", "timestamp_missing"]]


def test_a_missing_instant_in_a_list_of_subjects_is_excluded_for_that_alone() -> None:
    messages = {
        "sender_id": pa.array([[1, 1], [1]], LIST),
        "created_at": pa.array([None, WRITTEN], pa.timestamp("us", "UTC")),
    }
    assert judge(messages) == [["timestamp_missing"], OK]


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
@pytest.mark.parametrize("zone", ["UTC", "Asia/Kolkata", "America/New_York", "-08:00"])
def test_units_and_zones_do_not_matter(unit: str, zone: str) -> None:
    consent = {"effective_from": in_unit(WRITTEN, unit, zone=zone)}
    consent["expires_at"] = in_unit(NOW + timedelta(seconds=1), unit, zone=zone)
    channels = {"public_since": in_unit(WRITTEN, unit, zone=zone)}
    for shift, expected in ((0, OK), (-1, ["private_channel", "predates_consent"])):
        created_at = in_unit(WRITTEN + timedelta(seconds=shift), unit, zone=zone)
        assert judge({"created_at": created_at}, consent, channels) == [expected]


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_every_unit_compares_with_the_snapshots_instant(unit: str) -> None:
    tick = NANOS_PER_UNIT[unit]
    assert judge({"created_at": in_unit(AS_OF, unit)}) == [OK]
    later = {"created_at": in_unit(AS_OF, unit, plus_ns=tick)}
    assert judge(later) == [["after_snapshot"]]


@pytest.mark.parametrize(
    ("part", "column", "instant", "plus_ns", "expected"),
    [
        ("messages", "created_at", BEGUN, -1, ["predates_consent"]),
        ("messages", "created_at", BEGUN, 0, OK),
        ("messages", "created_at", BEGUN, 1, OK),
        ("messages", "created_at", AS_OF, -1, OK),
        ("messages", "created_at", AS_OF, 0, OK),
        ("messages", "created_at", AS_OF, 1, ["after_snapshot"]),
        ("consent", "effective_from", WRITTEN, -999, OK),
        ("consent", "effective_from", WRITTEN, 0, OK),
        ("consent", "effective_from", WRITTEN, 1, ["predates_consent"]),
        ("consent", "expires_at", NOW, 999, ["consent_expired"]),
        ("consent", "expires_at", NOW, 1000, OK),
        ("channels", "public_since", WRITTEN, 0, OK),
        ("channels", "public_since", WRITTEN, 1, ["private_channel"]),
    ],
)
def test_nanoseconds_round_against_admission(
    part: str, column: str, instant: datetime, plus_ns: int, expected: list[str]
) -> None:
    parts: dict[str, dict[str, Any]] = {"messages": {}, "consent": {}, "channels": {}}
    parts[part][column] = in_unit(instant, "ns", plus_ns=plus_ns)
    assert judge(parts["messages"], parts["consent"], parts["channels"]) == [expected]


def test_nanoseconds_beside_a_null_round_against_admission() -> None:
    parts = [in_unit(BEGUN, "ns", plus_ns=-1), pa.nulls(1, pa.timestamp("ns", "UTC"))]
    expected = [["predates_consent"], ["timestamp_missing"]]
    assert judge({"created_at": pa.concat_arrays(parts)}) == expected


def test_the_age_of_a_consent_counts_from_the_microsecond_before_it() -> None:
    consent = {"effective_from": in_unit(BEGUN, "ns", plus_ns=999)}
    assert judge(consent=consent, max_consent_age=AGE) == [["consent_expired"]]


def test_equal_nanoseconds_of_message_and_consent_are_not_told_apart_in_its_favour() -> None:
    same = in_unit(WRITTEN, "ns", plus_ns=1)
    assert judge({"created_at": same}, {"effective_from": same}) == [["predates_consent"]]


@pytest.mark.parametrize("unit", ["s", "ms", "us"])
@pytest.mark.parametrize("start", [FIRST, FIRST + 1, LAST])
def test_instants_at_the_ends_of_time_are_excluded(unit: str, start: int) -> None:
    code = "after_snapshot" if start > 0 else "predates_consent"
    assert judge({"created_at": ticks(start, unit)}) == [[code]]


@pytest.mark.parametrize("unit", ["s", "ms", "us"])
def test_the_earliest_instant_is_never_late_enough(unit: str) -> None:
    first = ticks(FIRST, unit)
    assert judge({"created_at": first}, {"effective_from": first}) == [["predates_consent"]]
    found = judge({"created_at": first}, {"covers_prior": True}, {"public_since": first})
    assert found == [["private_channel"]]


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_extreme_instants_in_a_consent_exclude(unit: str) -> None:
    never, always = ticks(LAST, unit), ticks(FIRST, unit)
    assert judge(consent={"effective_from": never}) == [["consent_not_given", "predates_consent"]]
    assert judge(consent={"expires_at": always}) == [["consent_expired"]]
    assert judge(consent={"expires_at": never}) == [OK]
    assert judge(consent={"effective_from": always}) == [OK]
    assert judge(channels={"public_since": never}) == [["private_channel"]]
    found = judge(consent={"effective_from": always}, max_consent_age=AGE)
    assert found == [["consent_expired"]]


def test_seconds_just_within_and_just_beyond_the_microseconds_of_64_bits() -> None:
    gate = make_gate(make_consent(covers_prior=True))
    for unit, factor in (("s", 10**6), ("ms", 10**3)):
        edges = [FIRST // factor, FIRST // factor + 1, LAST // factor, LAST // factor + 1]
        created_at = pa.array(edges, pa.int64()).cast(pa.timestamp(unit, "UTC"))
        found = reasons(gate, message_table(created_at=created_at))
        assert found == [OK, OK, ["after_snapshot"], ["after_snapshot"]]


AMBIGUOUS = datetime(2025, 10, 26, 2, 30)  # in Berlin at 00:30 UTC and again at 01:30 UTC
NONEXISTENT = datetime(2025, 3, 30, 2, 30)  # in Berlin 00:30 UTC by summer time, else 01:30 UTC
FIRST_TIME = datetime(2025, 10, 26, 0, 30, tzinfo=UTC)
SUMMER, SUMMER_UTC = datetime(2025, 7, 1, 12), datetime(2025, 7, 1, 10, tzinfo=UTC)
BERLIN = cg.Columns(assume_timezone="Europe/Berlin")


@pytest.mark.parametrize(
    ("local", "effective_from", "expected"),
    [
        (AMBIGUOUS, FIRST_TIME, OK),
        (AMBIGUOUS, FIRST_TIME + MICRO, ["predates_consent"]),
        (NONEXISTENT, datetime(2025, 3, 30, 0, 30, tzinfo=UTC), OK),
        (NONEXISTENT, datetime(2025, 3, 30, 0, 30, tzinfo=UTC) + MICRO, ["predates_consent"]),
        (SUMMER, SUMMER_UTC, OK),
        (SUMMER, SUMMER_UTC + MICRO, ["predates_consent"]),
    ],
)  # fmt: skip
def test_local_times_are_judged_at_their_earliest_against_the_consent(
    local: datetime, effective_from: datetime, expected: list[str]
) -> None:
    consent = {"effective_from": effective_from}
    assert judge({"created_at": [local]}, consent, columns=BERLIN) == [expected]


@pytest.mark.parametrize(
    ("local", "as_of", "expected"),
    [
        (AMBIGUOUS, FIRST_TIME + timedelta(hours=1), OK),
        (AMBIGUOUS, FIRST_TIME + timedelta(hours=1) - MICRO, ["after_snapshot"]),
        (NONEXISTENT, datetime(2025, 3, 30, 1, 30, tzinfo=UTC), OK),
        (NONEXISTENT, datetime(2025, 3, 30, 1, 30, tzinfo=UTC) - MICRO, ["after_snapshot"]),
    ],
)  # fmt: skip
def test_local_times_are_judged_at_their_latest_against_the_snapshot(
    local: datetime, as_of: datetime, expected: list[str]
) -> None:
    consent = cg.ConsentSnapshot.from_arrow(consent_table(), as_of=as_of)
    gate = make_gate(consent, columns=BERLIN, max_snapshot_age=None)
    assert reasons(gate, message_table(created_at=[local])) == [expected]


def test_a_naive_timestamp_may_be_taken_for_utc() -> None:
    naive = [datetime(2025, 1, 1), datetime(2024, 12, 31, 23, 59, 59, 999_999)]
    found = judge({"created_at": naive}, columns=cg.Columns(assume_timezone="UTC"))
    assert found == [OK, ["predates_consent"]]


def test_an_assumed_zone_changes_nothing_where_there_is_one() -> None:
    found = judge({"created_at": [BEGUN, BEGUN - MICRO]}, columns=BERLIN)
    assert found == [OK, ["predates_consent"]]


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
@pytest.mark.parametrize("ticks", [-(2**63), 2**63 - 1])
@pytest.mark.parametrize("zone", ["America/New_York", "Asia/Tokyo"])
def test_local_time_beyond_any_calendar_is_excluded(unit: str, ticks: int, zone: str) -> None:
    """Moving it into its zone wraps round, so it is judged as too early and too late."""
    consent = cg.ConsentSnapshot.from_arrow(
        pa.table(
            {
                "subject_id": ["ada"],
                "purpose": ["train_ai_system"],
                "status": ["given"],
                "method": ["explicit"],
                "effective_from": pa.array([0], pa.timestamp("us", "UTC")),
                "covers_prior": [True],
            }
        ),
        as_of=datetime(2026, 1, 1, tzinfo=UTC),
    )
    columns = cg.Columns(channels=(), visibility="visibility", assume_timezone=zone)
    gate = cg.Gate(cg.Policy(), consent, columns=columns, judged_at=consent.as_of)
    messages = pa.table(
        {
            "message_id": [1],
            "sender_id": ["ada"],
            "visibility": ["public"],
            "created_at": pa.array([ticks], pa.timestamp(unit)),
        }
    )
    assert gate.decide(messages).occurrences == {"after_snapshot": 1}
