"""Timestamps without a time zone in snapshots and registries: read against admission."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

import consentgate as cg
from tests.build import (
    AS_OF,
    BEGUN,
    MICRO,
    NOW,
    WRITTEN,
    channel_table,
    consent_table,
    make_channels,
    make_consent,
    make_gate,
    message_table,
    reasons,
)

ZONE = "Europe/Berlin"
TWICE = datetime(2025, 10, 26, 2, 30)
"""In Berlin both 00:30 and 01:30 in UTC."""
EARLIER, LATER = (datetime(2025, 10, 26, hour, 30, tzinfo=UTC) for hour in (0, 1))
NEVER = datetime(2025, 3, 30, 2, 30)
"""In Berlin the clocks go from 02:00 to 03:00. By summer time this is 00:30 in UTC, else 01:30."""
BY_SUMMER, BY_WINTER = (datetime(2025, 3, 30, hour, 30, tzinfo=UTC) for hour in (0, 1))
FAR = datetime(2400, 1, 1)


def consent(zone: str | None = ZONE, **columns: Any) -> cg.ConsentSnapshot:
    """A snapshot whose naive timestamps are read in a zone."""
    return cg.ConsentSnapshot.from_arrow(
        consent_table(**columns), as_of=AS_OF, assume_timezone=zone
    )


def channels(**columns: Any) -> cg.ChannelRegistry:
    """A registry whose naive timestamps are read in Berlin."""
    return cg.ChannelRegistry.from_arrow(
        channel_table(**columns), as_of=AS_OF, assume_timezone=ZONE
    )


def reasons_at(snapshot: cg.ConsentSnapshot, *written: datetime, **policy: Any) -> list[list[str]]:
    """The reasons against messages of these instants."""
    table = message_table(created_at=list(written))
    return reasons(make_gate(snapshot, **policy), table)


def test_local_times_are_instants_of_their_zone() -> None:
    naive = consent(effective_from=datetime(2025, 1, 1, 1), expires_at=datetime(2026, 7, 1, 2))
    plain = make_consent(effective_from=BEGUN, expires_at=datetime(2026, 7, 1, tzinfo=UTC))
    assert naive.digest == plain.digest
    assert naive.table.schema == plain.table.schema
    assert reasons_at(naive, BEGUN - MICRO, BEGUN) == [["predates_consent"], []]


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
@pytest.mark.parametrize("zone", ["UTC", ZONE])
def test_the_digest_is_that_of_the_same_instants_with_a_zone(zone: str, unit: str) -> None:
    local = pa.array([BEGUN.replace(tzinfo=None)], pa.timestamp(unit))
    there = BEGUN.replace(tzinfo=ZoneInfo(zone)).astimezone(UTC)
    assert consent(zone, effective_from=local).digest == make_consent(effective_from=there).digest


def test_a_consent_begins_at_the_later_of_two_instants() -> None:
    snapshot = consent(effective_from=TWICE)
    assert reasons_at(snapshot, EARLIER, LATER - MICRO, LATER) == [
        ["predates_consent"],
        ["predates_consent"],
        [],
    ]
    assert snapshot.table["effective_from"].to_pylist() == [LATER]
    assert snapshot.table["effective_from_earliest"].to_pylist() == [EARLIER]


def test_a_consent_may_begin_after_the_snapshot_at_the_later_of_two_instants() -> None:
    for as_of, expected in ((LATER - MICRO, [["consent_not_given"]]), (LATER, [[]])):
        snapshot = cg.ConsentSnapshot.from_arrow(
            consent_table(effective_from=TWICE, covers_prior=True),
            as_of=as_of,
            assume_timezone=ZONE,
        )
        assert reasons_at(snapshot, WRITTEN, max_snapshot_age=None) == expected


def test_the_age_of_a_consent_counts_from_the_earlier_of_two_instants() -> None:
    snapshot, plain = consent(effective_from=TWICE), make_consent(effective_from=LATER)
    written = message_table(created_at=[LATER])
    for age, expected, at_later in (
        (NOW - EARLIER + MICRO, [[]], [[]]),
        (NOW - EARLIER, [["consent_expired"]], [[]]),
        (NOW - LATER, [["consent_expired"]], [["consent_expired"]]),
    ):
        assert reasons(make_gate(snapshot, max_consent_age=age), written) == expected
        assert reasons(make_gate(plain, max_consent_age=age), written) == at_later


def test_a_consent_expires_at_the_earlier_of_two_instants() -> None:
    snapshot = consent(expires_at=TWICE)
    gate = make_gate(snapshot)
    for now, expected in ((EARLIER - MICRO, [[]]), (EARLIER, [["consent_expired"]])):
        assert reasons(gate, message_table(), judged_at=now) == expected
    assert snapshot.table["expires_at"].to_pylist() == [EARLIER]
    assert snapshot.table.column_names[-1] == "expires_at"


def test_a_channel_is_public_from_the_later_of_two_instants() -> None:
    registry = channels(public_since=TWICE)
    gate = make_gate(channels=registry)
    table = message_table(created_at=[EARLIER, LATER - MICRO, LATER])
    assert reasons(gate, table) == [["private_channel"], ["private_channel"], []]
    assert registry.table["public_since"].to_pylist() == [LATER]


def test_a_local_time_that_never_was_is_read_on_the_side_that_excludes() -> None:
    starts, ends = consent(effective_from=NEVER), consent(expires_at=NEVER)
    assert reasons_at(starts, BY_WINTER - MICRO, BY_WINTER) == [["predates_consent"], []]
    for now, expected in ((BY_SUMMER - MICRO, [[]]), (BY_SUMMER, [["consent_expired"]])):
        assert reasons(make_gate(ends), message_table(), judged_at=now) == expected
    assert starts.table["effective_from"].to_pylist() == [BY_WINTER]
    assert starts.table["effective_from_earliest"].to_pylist() == [BY_SUMMER]


def test_a_local_time_beyond_the_calendar_excludes() -> None:
    """Moving it into its zone could turn it round."""
    far = pa.array([FAR], pa.timestamp("us"))
    assert reasons_at(consent(effective_from=far), WRITTEN) == [
        ["consent_not_given", "predates_consent"]
    ]
    assert reasons_at(consent(expires_at=far), WRITTEN) == [["consent_expired"]]
    gate = make_gate(channels=channels(public_since=far))
    assert reasons(gate, message_table()) == [["private_channel"]]


def test_nanoseconds_are_rounded_against_admission() -> None:
    local = pa.array([1_735_689_600_000_000_001], pa.timestamp("ns"))
    late = BEGUN - timedelta(hours=1) + MICRO
    snapshot = consent(effective_from=local)
    assert reasons_at(snapshot, late - MICRO, late) == [["predates_consent"], []]
    (end,) = consent(expires_at=local).table["expires_at"].to_pylist()
    assert end == late - MICRO


def test_timestamps_with_a_zone_keep_it() -> None:
    assert consent(effective_from=BEGUN).digest == make_consent(effective_from=BEGUN).digest


def test_nulls_stay_null() -> None:
    snapshot = consent(
        subject_id=[1, 2],
        status=["refused", "given"],
        effective_from=pa.array([None, TWICE]),
        expires_at=pa.array([None, NEVER]),
    )
    for name in ("effective_from", "effective_from_earliest", "expires_at"):
        assert snapshot.table[name].is_valid().to_pylist() == [False, True]


def test_the_earliest_start_is_made_and_never_read() -> None:
    snapshot = consent(effective_from_earliest=[BEGUN - timedelta(days=900)])
    assert snapshot.digest == make_consent().digest
    rule = cg.Rule(name="odd", column="effective_from_earliest", is_null=True)
    with pytest.raises(cg.RuleColumnMissingError, match="'effective_from_earliest'"):
        make_gate(snapshot, subject_rules=[rule])


LOCAL_TIMES = st.datetimes(datetime(2025, 3, 29, 20), datetime(2025, 3, 30, 9)) | st.datetimes(
    datetime(2025, 10, 25, 20), datetime(2025, 10, 26, 9)
)


@given(LOCAL_TIMES)
def test_starts_and_ends_are_those_of_the_time_zone_database(local: datetime) -> None:
    sides = [local.replace(tzinfo=ZoneInfo(ZONE), fold=fold).astimezone(UTC) for fold in (0, 1)]
    table = consent(effective_from=local, expires_at=local).table
    (start,), (end,) = (table[name].to_pylist() for name in ("effective_from", "expires_at"))
    assert (end, start) == (min(sides), max(sides))


# --- files of text --------------------------------------------------------------------------

HEADER = "subject_id,purpose,status,method,effective_from\n"


def read(tmp_path: Path, *starts: str, zone: str | None = ZONE) -> cg.ConsentSnapshot:
    """A CSV file of consents that began then."""
    rows = [f"{at},train_ai_system,given,explicit,{start}\n" for at, start in enumerate(starts)]
    (tmp_path / "x.csv").write_text(HEADER + "".join(rows))
    return cg.ConsentSnapshot.read(tmp_path / "x.csv", as_of=AS_OF, assume_timezone=zone)


@pytest.mark.parametrize(
    "text", ["2025-06-01T02:00:00", "2025-06-01 02:00", "2025-06-01T02:00:00.000"]
)
@pytest.mark.parametrize("zone", [ZONE, "UTC"])
def test_text_without_an_offset_is_read_in_the_zone(text: str, zone: str, tmp_path: Path) -> None:
    local = datetime(2025, 6, 1, 2, tzinfo=ZoneInfo(zone)).astimezone(UTC)
    assert read(tmp_path, text, zone=zone).table["effective_from"].to_pylist() == [local]


@pytest.mark.parametrize("zone", [ZONE, "UTC"])
def test_an_offset_in_text_goes_before_the_zone(zone: str, tmp_path: Path) -> None:
    texts = ["2025-06-01T02:00:00+05:00", "2025-06-01T02:00:00", "2025-06-01T02:00:00Z"]
    table = read(tmp_path, *texts, zone=zone).table
    local = datetime(2025, 6, 1, 2, tzinfo=ZoneInfo(zone)).astimezone(UTC)
    expected = [WRITTEN - timedelta(hours=3), local, WRITTEN + timedelta(hours=2)]
    assert table["effective_from"].to_pylist() == expected
    assert "effective_from_earliest" not in table.column_names


def test_text_is_uncertain_as_columns_are(tmp_path: Path) -> None:
    texts = ["2025-10-26T02:30:00", "2025-06-01T00:00:00Z", "2025-06-01T00:00:00.0000005Z"]
    table = read(tmp_path, *texts).table
    assert table["effective_from"].to_pylist() == [LATER, WRITTEN, WRITTEN + MICRO]
    assert table["effective_from_earliest"].to_pylist() == [EARLIER, WRITTEN, WRITTEN]


def test_local_nanoseconds_beside_an_offset_are_rounded_both_ways(tmp_path: Path) -> None:
    texts = ["2025-06-01T00:00:00.000000001", "2025-06-01T00:00:00Z"]
    table = read(tmp_path, *texts, zone="UTC").table
    assert table["effective_from"].to_pylist() == [WRITTEN + MICRO, WRITTEN]
    assert table["effective_from_earliest"].to_pylist() == [WRITTEN, WRITTEN]


@pytest.mark.parametrize("text", ["2025-06-01", "2025-06-01T02", "02:00", "June 1 2025"])
def test_a_day_or_an_hour_is_no_instant_in_any_zone(text: str, tmp_path: Path) -> None:
    with pytest.raises(cg.UnreadableFileError, match=r"not an ISO 8601 timestamp in 1 of 1 rows"):
        read(tmp_path, text)


@pytest.mark.parametrize("suffix", ["csv", "jsonl"])
def test_text_without_an_offset_is_refused_without_a_zone(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"x.{suffix}"
    row = '{"channel_id": 1, "visibility": "public", "public_since": "2025-06-01T00:00:00"}\n'
    text = "channel_id,visibility,public_since\n1,public,2025-06-01T00:00:00\n"
    path.write_text(row if suffix == "jsonl" else text)
    with pytest.raises(cg.NaiveTimestampError, match="with `assume_timezone`") as caught:
        cg.ChannelRegistry.read(path, as_of=AS_OF)
    assert f"Column 'public_since' of file '{path}' has no offset from UTC" in str(caught.value)
    registry = cg.ChannelRegistry.read(path, as_of=AS_OF, assume_timezone="UTC")
    assert registry.digest == make_channels(channel_id=[1], public_since=WRITTEN).digest


# --- the argument ---------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [cg.ConsentSnapshot, cg.ChannelRegistry])
@pytest.mark.parametrize(
    ("zone", "error", "words"),
    [
        (3, TypeError, "`assume_timezone` is of type 'int'"),
        ("Mars/Olympus", cg.ConfigurationError, "Time zone 'Mars/Olympus' is not known"),
        ("", cg.ConfigurationError, "Time zone '' is not known"),
        ("\ud800", cg.ConfigurationError, "`assume_timezone` holds half of a surrogate pair"),
    ],
)
def test_a_zone_that_is_none_is_refused(
    kind: Any, zone: Any, error: type[Exception], words: str, tmp_path: Path
) -> None:
    table = consent_table() if kind is cg.ConsentSnapshot else channel_table()
    pq.write_table(table, tmp_path / "x.parquet")
    with pytest.raises(error, match=words):
        kind.from_arrow(table, as_of=AS_OF, assume_timezone=zone)
    with pytest.raises(error, match=words):
        kind.read(tmp_path / "x.parquet", as_of=AS_OF, assume_timezone=zone)


def test_a_naive_column_without_a_zone_names_the_argument() -> None:
    with pytest.raises(cg.NaiveTimestampError, match=r"name its time zone with `assume_timezone`"):
        consent(None, effective_from=TWICE)
    naive = message_table(created_at=[TWICE])
    with pytest.raises(cg.NaiveTimestampError, match=r"with `Columns.assume_timezone`"):
        make_gate().decide(naive)
