"""Section 4 of the design, case by case: every reason, and every boundary from both its sides."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
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


# --- status, method, notice, purposes -------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "code"),
    [
        ("given", None),
        ("renewed", None),
        ("refused", "consent_refused"),
        ("withdrawn", "consent_withdrawn"),
        ("revoked", "consent_withdrawn"),
        ("expired", "consent_expired"),
        ("requested", "consent_not_given"),
        ("request_deferred", "consent_not_given"),
        ("invalidated", "consent_not_given"),
        ("unknown", "consent_not_given"),
    ],
)
def test_each_status_has_its_reason(status: str, code: str | None) -> None:
    assert judge(consent={"status": status}) == [[code] if code else OK]


@pytest.mark.parametrize("status", ["refused", "withdrawn", "expired", "requested"])
def test_only_a_valid_record_is_looked_at_further(status: str) -> None:
    invalid = {
        "status": status,
        "method": "implied",
        "effective_from": NOW,
        "expires_at": LONG_AGO,
        "notice_version": None,
    }
    found = judge(consent=invalid, notice_versions={"v1"}, max_consent_age=timedelta(0))
    assert [len(codes) for codes in found] == [1]


@pytest.mark.parametrize(
    ("method", "accepted", "expected"),
    [
        ("explicit", {"explicit"}, OK),
        ("default_on", {"explicit"}, ["consent_not_explicit"]),
        ("Explicit", {"explicit"}, ["consent_not_explicit"]),
        ("explicit ", {"explicit"}, ["consent_not_explicit"]),
        (None, {"explicit"}, ["consent_not_explicit"]),
        ("imported", {"explicit", "imported"}, OK),
        ("explicit", {"imported"}, ["consent_not_explicit"]),
    ],
)
def test_method_must_be_accepted(
    method: str | None, accepted: set[str], expected: list[str]
) -> None:
    assert judge(consent={"method": method}, methods=accepted) == [expected]


@pytest.mark.parametrize(
    ("version", "accepted", "expected"),
    [
        ("v1", None, OK),
        (None, None, OK),
        (ABSENT, None, OK),
        ("v1", {"v1", "v2"}, OK),
        ("v3", {"v1", "v2"}, ["notice_not_accepted"]),
        ("", {"v1"}, ["notice_not_accepted"]),
        (None, {"v1"}, ["notice_not_accepted"]),
        (ABSENT, {"v1"}, ["notice_not_accepted"]),
    ],
)
def test_notice_must_be_accepted_where_the_policy_names_some(
    version: Any, accepted: set[str] | None, expected: list[str]
) -> None:
    assert judge(consent={"notice_version": version}, notice_versions=accepted) == [expected]


@pytest.mark.parametrize(
    ("purposes", "statuses", "expected"),
    [
        (["a", "b"], ["given", "given"], OK),
        (["b", "a"], ["given", "renewed"], OK),
        (["a"], ["given"], ["no_consent_record"]),
        (["b"], ["given"], ["no_consent_record"]),
        (["c"], ["given"], ["no_consent_record"]),
        (["a", "c"], ["given", "given"], ["no_consent_record"]),
        (["a", "b", "c"], ["given", "given", "refused"], OK),
        (["a", "b"], ["refused", "revoked"], ["consent_refused", "consent_withdrawn"]),
        (["a", "b"], ["given", "revoked"], ["consent_withdrawn"]),
        (["a"], ["refused"], ["no_consent_record", "consent_refused"]),
    ],
)
def test_every_purpose_must_be_consented_to(
    purposes: list[str], statuses: list[str], expected: list[str]
) -> None:
    records = {"subject_id": [1] * len(purposes), "purpose": purposes, "status": statuses}
    assert judge(consent=records, purposes={"a", "b"}) == [expected]


def test_purposes_of_different_subjects_do_not_add_up() -> None:
    records = {"subject_id": [1, 2, 3, 3], "purpose": ["a", "b", "b", "a"]}
    found = judge({"sender_id": [1, 2, 3]}, records, purposes={"a", "b"})
    assert found == [["no_consent_record"], ["no_consent_record"], OK]


def test_consent_for_another_purpose_is_no_record() -> None:
    assert judge(consent={"purpose": "personalize"}) == [["no_consent_record"]]


@pytest.mark.parametrize("turned", [False, True])
def test_the_narrowest_of_several_purposes_holds(turned: bool) -> None:
    step = -1 if turned else 1
    records = {
        "subject_id": [1, 1],
        "purpose": ["a", "b"],
        "effective_from": [BEGUN, WRITTEN][::step],
        "expires_at": [NOW + MICRO, NOW + 2 * MICRO][::step],
    }
    gate = make_gate(make_consent(**records), purposes={"a", "b"})
    messages = message_table(created_at=[WRITTEN - MICRO, WRITTEN])
    assert reasons(gate, messages) == [["predates_consent"], OK]
    later = reasons(gate, messages, judged_at=NOW + MICRO)
    assert later == [["consent_expired", "predates_consent"], ["consent_expired"]]


def test_a_start_that_covers_the_past_does_not_hide_another_purposes_start() -> None:
    records = {
        "subject_id": [1, 1],
        "purpose": ["a", "b"],
        "effective_from": [AS_OF, WRITTEN],
        "covers_prior": [True, False],
    }
    found = judge({"created_at": [WRITTEN - MICRO, WRITTEN]}, records, purposes={"a", "b"})
    assert found == [["predates_consent"], OK]


@pytest.mark.parametrize("status", ["refused", "withdrawn", "expired", "unknown"])
def test_a_snapshot_of_invalid_records_needs_no_start(status: str) -> None:
    found = judge(consent={"status": status, "effective_from": ABSENT}, max_consent_age=AGE)
    assert [len(codes) for codes in found] == [1]


# --- instants -------------------------------------------------------------------------------


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
NONEXISTENT = datetime(2025, 3, 30, 2, 30)  # in Berlin clocks go from 02:00 to 03:00 at 01:00 UTC
FIRST_TIME = datetime(2025, 10, 26, 0, 30, tzinfo=UTC)
SUMMER, SUMMER_UTC = datetime(2025, 7, 1, 12), datetime(2025, 7, 1, 10, tzinfo=UTC)
BERLIN = cg.Columns(assume_timezone="Europe/Berlin")


@pytest.mark.parametrize(
    ("local", "effective_from", "expected"),
    [
        (AMBIGUOUS, FIRST_TIME, OK),
        (AMBIGUOUS, FIRST_TIME + MICRO, ["predates_consent"]),
        (NONEXISTENT, datetime(2025, 3, 30, 1, tzinfo=UTC) - MICRO, OK),
        (NONEXISTENT, datetime(2025, 3, 30, 1, tzinfo=UTC), ["predates_consent"]),
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
    ("as_of", "expected"),
    [
        (FIRST_TIME + timedelta(hours=1), OK),
        (FIRST_TIME + timedelta(hours=1) - MICRO, ["after_snapshot"]),
    ],
)
def test_local_times_are_judged_at_their_latest_against_the_snapshot(
    as_of: datetime, expected: list[str]
) -> None:
    consent = cg.ConsentSnapshot.from_arrow(consent_table(), as_of=as_of)
    gate = make_gate(consent, columns=BERLIN, max_snapshot_age=None)
    assert reasons(gate, message_table(created_at=[AMBIGUOUS])) == [expected]


def test_a_naive_timestamp_may_be_taken_for_utc() -> None:
    naive = [datetime(2025, 1, 1), datetime(2024, 12, 31, 23, 59, 59, 999_999)]
    found = judge({"created_at": naive}, columns=cg.Columns(assume_timezone="UTC"))
    assert found == [OK, ["predates_consent"]]


def test_an_assumed_zone_changes_nothing_where_there_is_one() -> None:
    found = judge({"created_at": [BEGUN, BEGUN - MICRO]}, columns=BERLIN)
    assert found == [OK, ["predates_consent"]]


# --- channels and visibility ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("visibility", "expected"),
    [
        ("public", OK),
        ("private", ["private_channel"]),
        ("Public", ["private_channel"]),
        ("public ", ["private_channel"]),
        ("", ["private_channel"]),
        (None, ["channel_unknown"]),
    ],
)
def test_a_place_must_be_public(visibility: str | None, expected: list[str]) -> None:
    assert judge(channels={"visibility": visibility}) == [expected]
    on_row = cg.Columns(channels=(), visibility="seen_by")
    assert judge({"seen_by": visibility}, columns=on_row) == [expected]
    both = cg.Columns(visibility="seen_by")
    assert judge({"seen_by": visibility}, columns=both) == [expected]
    assert judge({"seen_by": "public"}, {}, {"visibility": visibility}, both) == [expected]


def test_the_policy_says_which_words_mean_public() -> None:
    channels = {"channel_id": [1, 2, 3], "visibility": ["open", "world", "public"]}
    found = judge(
        {"channel_id": [1, 2, 3]}, channels=channels, public_visibilities={"open", "world"}
    )
    assert found == [OK, OK, ["private_channel"]]


def test_an_unknown_or_missing_channel_is_unknown() -> None:
    found = judge({"channel_id": [10, 11, None]})
    assert found == [OK, ["channel_unknown"], ["channel_unknown"]]


def test_every_channel_of_several_must_be_public() -> None:
    messages = {"channel_id": [10, 10, 11, 10, 11], "thread": [10, 11, 10, None, 99]}
    channels = {"channel_id": [10, 11], "visibility": ["public", "private"]}
    found = judge(
        messages, channels=channels, columns=cg.Columns(channels=("channel_id", "thread"))
    )
    private, unknown = ["private_channel"], ["channel_unknown"]
    assert found == [OK, private, private, unknown, private + unknown]


@pytest.mark.parametrize(
    "words",
    [
        coded([0, 1, 2, None], ["public", "private", None, "public"]),
        coded([3, 1, 2, None], ["unused", "private", None, "public"]),
        pa.array(["public", "private", None, None], pa.string_view()),
        pa.chunked_array([["public", "private"], [None, None]], pa.large_string()),
    ],
    ids=["repeated", "unused", "string_view", "chunks"],
)
def test_visibility_may_have_any_text_layout(words: Any) -> None:
    found = judge({"seen_by": words}, columns=cg.Columns(channels=(), visibility="seen_by"))
    unknown = ["channel_unknown"]
    assert found == [OK, ["private_channel"], unknown, unknown]


def test_columns_of_nulls_alone_are_unknown_or_missing() -> None:
    nulls = pa.nulls(2)
    both = cg.Columns(visibility="seen_by")
    assert judge({"sender_id": nulls}) == [["subject_missing"]] * 2
    assert judge({"channel_id": nulls}) == [["channel_unknown"]] * 2
    assert judge({"seen_by": nulls}, columns=both) == [["channel_unknown"]] * 2


# --- subjects -------------------------------------------------------------------------------


def test_every_subject_column_must_name_consenting_people() -> None:
    messages = {"sender_id": [1, 1, 2, 3, None], "recipient_id": [1, 2, 1, 9, 3]}
    consent = {"subject_id": [1, 2, 3], "status": ["given", "refused", "withdrawn"]}
    found = judge(messages, consent, columns=cg.Columns(subjects=("sender_id", "recipient_id")))
    assert found == [
        OK,
        ["consent_refused"],
        ["consent_refused"],
        ["no_consent_record", "consent_withdrawn"],
        ["subject_missing", "consent_withdrawn"],
    ]


LISTS = [[1], [], [2, 1], None, [1, 1], [3], [1, None], [], [9, 2, 1], [1]]
LIST_REASONS = [
    OK,
    ["subject_missing"],
    ["consent_refused"],
    ["subject_missing"],
    OK,
    ["consent_withdrawn"],
    ["subject_missing"],
    ["subject_missing"],
    ["no_consent_record", "consent_refused"],
    OK,
]


@pytest.mark.parametrize(
    "kind",
    [
        pa.list_(pa.int64()),
        pa.large_list(pa.int8()),
        pa.list_view(pa.uint16()),
        pa.large_list_view(pa.int32()),
    ],
    ids=str,
)
@pytest.mark.parametrize("start", [0, 3])
def test_every_subject_of_a_list_must_consent(kind: pa.DataType, start: int) -> None:
    lists = pa.array(LISTS, kind).slice(start)
    consent = {"subject_id": [1, 2, 3], "status": ["given", "refused", "withdrawn"]}
    assert judge({"sender_id": lists}, consent) == LIST_REASONS[start:]


def test_lists_of_one_size_are_read_behind_nulls_too() -> None:
    lists = pa.array([[2, 1], None, [1, 1], [1, None], [1, 2]], pa.list_(pa.int64(), 2))
    consent = {"subject_id": [1, 2], "status": ["given", "refused"]}
    missing, refused = ["subject_missing"], ["consent_refused"]
    assert judge({"sender_id": lists}, consent) == [refused, missing, OK, missing, refused]
    assert judge({"sender_id": lists.slice(1, 3)}, consent) == [missing, OK, missing]


def test_a_dictionary_within_lists_is_read() -> None:
    values = coded([0, 1, None, 2, 0], [1, 2, None])
    lists = pa.ListArray.from_arrays(pa.array([0, 1, 2, 3, 5], pa.int32()), values)
    missing = ["subject_missing"]
    assert judge({"sender_id": lists}) == [OK, ["no_consent_record"], missing, missing]


@pytest.mark.parametrize(
    ("sender", "mentioned", "expected"),
    [
        (1, [], OK),
        (1, [1], OK),
        (1, None, ["subject_missing"]),
        (1, [None], ["subject_missing"]),
        (1, [2], ["no_consent_record"]),
        (None, [1], ["subject_missing"]),
    ],
)
def test_an_empty_list_is_fine_beside_another_subject(
    sender: int | None, mentioned: Any, expected: list[str]
) -> None:
    messages = {
        "sender_id": pa.array([sender], pa.int64()),
        "mentioned": pa.array([mentioned], LIST),
    }
    found = judge(messages, columns=cg.Columns(subjects=("sender_id", "mentioned")))
    assert found == [expected]


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ([], [], ["subject_missing"]),
        ([1], [], OK),
        ([], [1], OK),
        ([], None, ["subject_missing"]),
        ([1], [2], ["no_consent_record"]),
    ],
)
def test_a_row_must_name_someone_in_some_list(first: Any, second: Any, expected: list[str]) -> None:
    messages = {"a": pa.array([first], LIST), "b": pa.array([second], LIST)}
    assert judge(messages, columns=cg.Columns(subjects=("a", "b"))) == [expected]


@pytest.mark.parametrize("make", [pa.ListViewArray, pa.LargeListViewArray])
@pytest.mark.parametrize(
    ("consent", "bits"),
    [
        ({"status": ["given", "refused", "given"]}, ["", "consent_refused", "subject_missing"]),
        (
            {"effective_from": [BEGUN, WRITTEN + MICRO, WRITTEN]},
            ["", "predates_consent", "subject_missing"],
        ),
        (
            {
                "covers_prior": True,
                "effective_from": WRITTEN + MICRO,
                "method": ["explicit", "", "explicit"],
            },
            ["", "consent_not_explicit", "subject_missing"],
        ),
    ],
)
def test_views_that_share_their_values_are_judged_one_by_one(
    make: Any, consent: dict[str, Any], bits: list[str]
) -> None:
    """Of six values, views hold twelve; the last value is a null, and nobody knows subject 9."""
    values = pa.array([9, 1, 2, 3, 1, None], pa.int64())
    spans = [(1, 1), (1, 2), (2, 2), (3, 2), (1, 4), (0, 2), (4, 2), (5, 0), (3, 1)]
    offset_type = pa.int32() if make is pa.ListViewArray else pa.int64()
    starts, sizes = (pa.array(column, offset_type) for column in zip(*spans, strict=True))
    views = make.from_arrays(starts, sizes, values, mask=pa.array([False] * 8 + [True]))
    good, wrong, missing = bits
    names = [[good], [good, wrong], [wrong, good], [good], [good, wrong], ["no_consent_record"]]
    names += [[missing], [missing], [missing]]
    found = judge({"sender_id": views}, {"subject_id": [1, 2, 3], **consent})
    assert found == [[name for name in row if name] for row in names]
    unjoined = judge(
        {"sender_id": views, "author": [1] * 7 + [1, 2]},
        {"subject_id": [1, 2, 3], **consent},
        columns=cg.Columns(subjects=("author", "sender_id")),
    )
    assert unjoined[:7] == found[:7]
    assert unjoined[7] == OK
    assert unjoined[8] == [missing, wrong]


def test_lists_of_nulls_alone_name_nobody() -> None:
    lists = pa.array([[None], [], None], pa.list_(pa.null()))
    assert judge({"sender_id": lists}) == [["subject_missing"]] * 3


def test_each_member_of_a_list_is_judged_at_its_own_messages_instant() -> None:
    consent = {"subject_id": [1, 2], "effective_from": [BEGUN, WRITTEN]}
    messages = {
        "sender_id": pa.array([[1, 2], [1], [], [2, 1], [2]], LIST),
        "created_at": [WRITTEN, BEGUN, WRITTEN, WRITTEN - MICRO, AS_OF],
    }
    found = judge(messages, consent)
    assert found == [OK, OK, ["subject_missing"], ["predates_consent"], OK]


# --- rules ----------------------------------------------------------------------------------

WORDS = ["de", "DE", "", None, "us"]
NUMBERS = [1, 0, -1, None, 127]
TRUTHS = [True, False, None]
RULES: list[Any] = [
    (WORDS, {"any_of": ["de", "us"]}, [1, 0, 0, 1, 1]),
    (WORDS, {"none_of": ["de", "us"]}, [0, 1, 1, 1, 0]),
    (WORDS, {"any_of": [""]}, [0, 0, 1, 1, 0]),
    (WORDS, {"is_null": True}, [0, 0, 0, 1, 0]),
    (NUMBERS, {"any_of": [1, 127]}, [1, 0, 0, 1, 1]),
    (NUMBERS, {"none_of": [0, -1]}, [1, 0, 0, 1, 1]),
    (NUMBERS, {"is_null": True}, [0, 0, 0, 1, 0]),
    (TRUTHS, {"any_of": [True]}, [1, 0, 1]),
    (TRUTHS, {"any_of": [False]}, [0, 1, 1]),
    (TRUTHS, {"none_of": [True]}, [0, 1, 1]),
    (TRUTHS, {"none_of": [True, False]}, [0, 0, 1]),
    (TRUTHS, {"is_null": True}, [0, 0, 1]),
    (pa.array([127, -128, None], pa.int8()), {"any_of": [127]}, [1, 0, 1]),
    (pa.array([127, -128, None], pa.int8()), {"any_of": [-128]}, [0, 1, 1]),
    (pa.array([127, -128, None], pa.int8()), {"any_of": [128, -129, 383]}, [0, 0, 1]),
    (pa.array([127, -128, None], pa.int8()), {"none_of": [128, -129]}, [1, 1, 1]),
    (pa.array([2**64 - 1, 0], pa.uint64()), {"any_of": [2**64 - 1, -1]}, [1, 0]),
    (pa.array([-1, 1], pa.int64()), {"any_of": [2**64 - 1]}, [0, 0]),
    (pa.array(WORDS, pa.string_view()), {"any_of": ["de"]}, [1, 0, 0, 1, 0]),
    (pa.array([1.5, float("nan"), None]), {"is_null": True}, [0, 1, 1]),
    (pa.array([WRITTEN, None]), {"is_null": True}, [0, 1]),
    (pa.nulls(2), {"any_of": ["de"]}, [1, 1]),
    (pa.nulls(2), {"is_null": True}, [1, 1]),
    (coded([0, 1, 2, None, 3], ["de", "us", None, "de"]), {"any_of": ["de"]}, [1, 0, 1, 1, 1]),
    (coded([0, 1, 2, None, 3], ["de", "us", None, "de"]), {"none_of": ["de"]}, [0, 1, 1, 1, 0]),
    (coded([0, 1, 2, None, 3], ["de", "us", None, "de"]), {"is_null": True}, [0, 0, 1, 1, 0]),
    (coded([0, 1, None], [5, 6]), {"any_of": [6]}, [0, 1, 1]),
]  # fmt: skip


@pytest.mark.parametrize(
    ("column", "test", "matches"), [*RULES, (pa.nulls(2), {"none_of": [3]}, [1, 1])]
)
def test_a_record_rule_excludes_what_it_matches(
    column: Any, test: dict[str, Any], matches: list[int]
) -> None:
    rule = cg.Rule(name="rule", column="field", **test)
    found = judge({"field": column}, record_rules=(rule,))
    assert found == [["rule"] if match else OK for match in matches]


@pytest.mark.parametrize(("column", "test", "matches"), RULES)
def test_a_subject_rule_excludes_the_messages_of_those_it_matches(
    column: Any, test: dict[str, Any], matches: list[int]
) -> None:
    people = list(range(len(matches)))
    rule = cg.Rule(name="rule", column="field", **test)
    consent = {"subject_id": people, "field": column}
    found = judge({"sender_id": people}, consent, subject_rules=(rule,))
    assert found == [["rule"] if match else OK for match in matches]


def test_a_subject_rule_looks_at_each_purpose_asked_for_whatever_its_status() -> None:
    consent = {
        "subject_id": [1, 1, 2, 2, 3, 3, 4],
        "purpose": ["a", "b", "a", "b", "a", "c", "a"],
        "status": ["given", "given", "refused", "given", "given", "given", "given"],
        "effective_from": BEGUN,
        "tier": ["paid", "free", "paid", "free", "free", "paid", "free"],
    }
    rule = cg.Rule(name="pays", column="tier", any_of=("paid",))
    found = judge(
        {"sender_id": [1, 2, 3, 4, 5]}, consent, purposes={"a", "b"}, subject_rules=(rule,)
    )
    assert found == [
        ["pays"],
        ["consent_refused", "pays"],
        ["no_consent_record"],
        ["no_consent_record"],
        ["no_consent_record"],
    ]


def test_rules_have_their_bits_in_order_record_rules_first() -> None:
    record_rules = tuple(cg.Rule(name=f"r{n}", column="field", any_of=(n, 99)) for n in range(14))
    subject_rules = tuple(cg.Rule(name=f"s{n}", column="tier", any_of=(n, 99)) for n in (1, 2))
    consent = {"subject_id": [0, 1, 2, 3], "tier": [0, 1, 2, 99]}
    gate = make_gate(
        make_consent(**consent), record_rules=record_rules, subject_rules=subject_rules
    )
    messages = message_table(field=[-1, 0, 13, -1, -1, 99], sender_id=[0, 0, 0, 1, 2, 3])
    decision = gate.decide(messages)
    bits = [0, 1 << 16, 1 << 29, 1 << 30, 1 << 31, 0xFFFF_0000]
    assert decision.reason_bits.to_pylist() == bits
    assert decision.reason.to_pylist() == [None, "r0", "r13", "s1", "s2", "r0"]
    assert decision.counts == {"r0": 2, "r13": 1, "s1": 1, "s2": 1}
    assert decision.occurrences["s2"] == 2


# --- ids ------------------------------------------------------------------------------------

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


# --- the decision ---------------------------------------------------------------------------


def test_a_decision_says_how_many_and_why() -> None:
    consent = make_consent(subject_id=[1, 2, 3], status=["given", "refused", "withdrawn"])
    messages = message_table(sender_id=[1, 2, 2, 3, None, 1], channel_id=[10, 10, 99, 99, 10, 10])
    decision = make_gate(consent).decide(messages)
    assert len(decision) == 6
    assert (decision.num_admitted, decision.num_excluded) == (2, 4)
    assert decision.reason_bits == pa.array([0, 1 << 4, 18, 34, 4, 0], pa.uint32())
    assert decision.admitted == pa.array([True, False, False, False, False, True])
    expected = [
        None,
        "consent_refused",
        "channel_unknown",
        "channel_unknown",
        "subject_missing",
        None,
    ]
    assert decision.reason.to_pylist() == expected
    assert decision.reason.type == pa.dictionary(pa.int32(), pa.string())
    assert list(decision.counts.items()) == [
        ("channel_unknown", 2),
        ("subject_missing", 1),
        ("consent_refused", 1),
    ]
    assert list(decision.occurrences.items()) == [
        ("channel_unknown", 2),
        ("subject_missing", 1),
        ("consent_refused", 2),
        ("consent_withdrawn", 1),
    ]
    assert repr(decision) == (
        "<Decision: 6 rows, 2 admitted, 4 excluded "
        "(channel_unknown 2, subject_missing 1, consent_refused 1)>"
    )


@pytest.mark.parametrize("reason", list(cg.Reason), ids=lambda reason: reason.code)
def test_each_built_in_reason_is_the_primary_one_when_alone(reason: cg.Reason) -> None:
    names = make_gate().decide(message_table()).reason_names
    decision = cg.Decision(pa.array([reason.value, 0], pa.uint32()), names)
    assert decision.reason.to_pylist() == [reason.code, None]
    assert decision.counts == decision.occurrences == {reason.code: 1}


def test_the_reasons_are_those_of_the_design_in_its_order() -> None:
    codes = [reason.code for reason in cg.Reason]
    assert [reason.value for reason in cg.Reason] == [1 << bit for bit in range(13)]
    assert codes == [
        "private_channel", "channel_unknown", "subject_missing", "no_consent_record",
        "consent_refused", "consent_withdrawn", "consent_not_given", "consent_expired",
        "consent_not_explicit", "notice_not_accepted", "predates_consent", "timestamp_missing",
        "after_snapshot",
    ]  # fmt: skip


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


def test_a_null_list_may_have_items_behind_all_others() -> None:
    """Those of lists of fixed size have; they are looked up with the others and then left out."""
    senders = pa.array([[1], [1], None], pa.list_(pa.int64(), 1))
    gate = make_gate(make_consent(subject_id=[1, 2], effective_from=[BEGUN, WRITTEN]))
    assert reasons(gate, message_table(sender_id=senders)) == [[], [], ["subject_missing"]]
