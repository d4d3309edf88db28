"""The instant of a run that is resumed: the clock's is kept while nothing expires, others never."""

from __future__ import annotations

import itertools
import json
import time
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

import consentgate as cg
from consentgate.arrow.instants import as_micros
from tests.build import make_channels, make_consent, message_table
from tests.run_data import EVIDENCE, data_files

HOUR, SECOND = timedelta(hours=1), timedelta(seconds=1)
NAMES = ["a.parquet", "b.parquet", "c.parquet"]
BEGUN = datetime(2026, 3, 1, 12, tzinfo=UTC)
"""When runs begin here, by a clock that tests set."""


class Clock:
    """A clock that stands still until it is set."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = BEGUN
        monkeypatch.setattr(time, "time_ns", lambda: as_micros(self.now, name="now") * 1000)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The clock of this machine."""
    return Clock(monkeypatch)


@pytest.fixture
def src(tmp_path: Path) -> Path:
    """Three files of messages by four people."""
    (tmp_path / "src").mkdir()
    for place, name in enumerate(NAMES):
        ids = range(4 * place, 4 * place + 4)
        pq.write_table(
            message_table(sender_id=[1, 2, 3, 4], message_id=list(ids)), tmp_path / "src" / name
        )
    return tmp_path / "src"


def live(expires_at: datetime | None = None, **options: Any) -> cg.Gate:
    """A gate that reads the clock; the consent of subject 4 expires."""
    ends = [None, None, None, expires_at]
    given = make_consent(subject_id=[1, 2, 3, 4], expires_at=ends).table
    as_of = BEGUN - HOUR
    consent = cg.ConsentSnapshot.from_arrow(given, as_of=as_of)
    channels = cg.ChannelRegistry.from_arrow(make_channels().table, as_of=as_of)
    return cg.Gate(cg.Policy(**options), consent, channels)


def interrupt(progress: cg.Progress) -> None:
    """Ends a run once it judges the third file of four rows each, before that is written."""
    if progress.rows_done > 8:
        raise KeyboardInterrupt


def stop(gate: cg.Gate, src: Path, dst: Path, **options: Any) -> dict[str, str]:
    """A run that is stopped after two of three files; returns what is there then."""
    with pytest.raises(KeyboardInterrupt):
        cg.run(gate, src, dst, threads=1, on_progress=interrupt, **options)
    assert len(data_files(dst)) == 2
    return data_files(dst)


def admitted(manifest: cg.Manifest) -> set[int]:
    """How many rows of each file are admitted."""
    return {record.output.rows for record in manifest.files}


def test_an_instant_that_was_given_is_not_kept_for_a_call_that_gives_none(
    src: Path, dst: Path, clock: Clock
) -> None:
    gate = live(BEGUN - HOUR)
    stop(gate, src, dst, judged_at=BEGUN - 5 * HOUR)
    manifest = cg.run(gate, src, dst)
    assert manifest.judgement.judged_at == clock.now
    assert admitted(manifest) == {3}
    assert cg.audit(dst, gate=gate) == ()


def test_the_instant_of_a_gate_is_not_kept_for_one_that_has_none(
    src: Path, dst: Path, clock: Clock
) -> None:
    gate = live(BEGUN - HOUR)
    assert gate.consent is not None
    then = BEGUN - 5 * HOUR
    stop(cg.Gate(gate.policy, gate.consent, gate.channels, judged_at=then), src, dst)
    manifest = cg.run(gate, src, dst)
    assert manifest.judgement.judged_at == clock.now
    assert admitted(manifest) == {3}


@pytest.mark.parametrize("given", [BEGUN, BEGUN + HOUR])
def test_an_instant_that_is_given_replaces_the_clocks(
    given: datetime, src: Path, dst: Path, clock: Clock
) -> None:
    gate = live(BEGUN + HOUR / 2)
    stop(gate, src, dst)
    clock.now += 2 * HOUR
    manifest = cg.run(gate, src, dst, judged_at=given)
    assert manifest.judgement.judged_at == given
    assert admitted(manifest) == {4 if given == BEGUN else 3}


def test_a_given_instant_before_the_clocks_is_refused(src: Path, dst: Path, clock: Clock) -> None:
    gate = live(BEGUN)
    before = stop(gate, src, dst)
    clock.now += HOUR
    with pytest.raises(cg.StaleSnapshotError, match="have expired in between would count again"):
        cg.run(gate, src, dst, judged_at=BEGUN - HOUR)
    assert data_files(dst) == before


def test_the_clocks_instant_is_kept_while_nothing_expires(
    src: Path, dst: Path, clock: Clock
) -> None:
    gate = live(BEGUN + 5 * HOUR)
    before = stop(gate, src, dst)
    clock.now += 5 * HOUR - SECOND
    manifest = cg.run(gate, src, dst)
    assert manifest.judgement.judged_at == manifest.newest.judged_at == BEGUN
    assert before.items() <= data_files(dst).items()
    assert cg.audit(dst, gate=gate) == ()


@pytest.mark.parametrize("by_age", [False, True])
def test_the_clocks_instant_is_given_up_once_a_consent_expires(
    by_age: bool, src: Path, dst: Path, clock: Clock
) -> None:
    gate = live(BEGUN + 5 * HOUR)
    if by_age:
        gate = live(max_consent_age=BEGUN + 5 * HOUR - datetime(2025, 1, 1, tzinfo=UTC))
    stop(gate, src, dst)
    clock.now += 5 * HOUR
    manifest = cg.run(gate, src, dst)
    assert manifest.judgement.judged_at == clock.now
    assert admitted(manifest) == {0 if by_age else 3}
    assert cg.audit(dst, gate=gate) == ()


@pytest.mark.parametrize("saved", [False, True])
def test_the_clocks_instant_is_given_up_after_a_day(
    saved: bool, src: Path, dst: Path, clock: Clock, tmp_path: Path
) -> None:
    gate = live()
    if saved:
        gate.save(tmp_path / "gate")
        gate = cg.Gate.open(tmp_path / "gate")
    stop(gate, src, dst)
    clock.now += 24 * HOUR - SECOND
    stop(gate, src, dst)
    clock.now += SECOND
    assert cg.run(gate, src, dst).judgement.judged_at == clock.now


def test_a_saved_gate_knows_what_has_expired(
    src: Path, dst: Path, clock: Clock, tmp_path: Path
) -> None:
    live(BEGUN + HOUR).save(tmp_path / "gate")
    gate = cg.Gate.open(tmp_path / "gate")
    stop(gate, src, dst)
    clock.now += HOUR
    manifest = cg.run(gate, src, dst)
    assert manifest.judgement.judged_at == clock.now
    assert admitted(manifest) == {3}


def test_what_stands_in_the_state_decides_and_no_timestamp(
    src: Path, dst: Path, clock: Clock
) -> None:
    """An instant that was given and happens to be the clock's is still one that was given."""
    gate = live()
    stop(gate, src, dst, judged_at=clock.now)
    state = json.loads((dst / EVIDENCE / "run.json").read_text())
    assert state["instant_from"] == "argument"
    clock.now += SECOND
    assert cg.run(gate, src, dst).judgement.judged_at == clock.now


def test_a_clock_that_goes_back_a_little_resumes(src: Path, dst: Path, clock: Clock) -> None:
    gate = live(BEGUN)
    before = stop(gate, src, dst)
    clock.now -= SECOND
    manifest = cg.run(gate, src, dst)
    assert manifest.judgement.judged_at == BEGUN
    assert admitted(manifest) == {3}
    assert before.items() <= data_files(dst).items()


def test_a_state_that_was_altered_to_an_earlier_instant_admits_nothing_more(
    src: Path, dst: Path, clock: Clock
) -> None:
    gate = live(BEGUN - HOUR)
    stop(gate, src, dst)
    path = dst / EVIDENCE / "run.json"
    state = json.loads(path.read_text())
    state["judgement"]["judged_at"] = (BEGUN - 2 * HOUR).isoformat()
    path.write_text(json.dumps(state))
    manifest = cg.run(gate, src, dst)
    assert manifest.judgement.judged_at == clock.now
    assert admitted(manifest) == {3}


@pytest.mark.parametrize(
    "instant",
    [
        datetime(2026, 3, 1),
        datetime.min.replace(tzinfo=timezone(14 * HOUR)),
        datetime.max.replace(tzinfo=timezone(-14 * HOUR)),
    ],
)
def test_instants_that_make_no_sense(instant: datetime, src: Path, dst: Path) -> None:
    with pytest.raises(cg.ConfigurationError, match="`judged_at`"):
        cg.run(live(), src, dst, judged_at=instant)
    assert not dst.exists()


OFFSETS = [-1, 0, 1]


@pytest.mark.parametrize("ids", [[1, 2, 3], ["a", "b", "c"]])
def test_what_expires_between_two_instants_is_known_exactly(ids: list[Any]) -> None:
    micro = timedelta(microseconds=1)
    ends = [None, BEGUN, BEGUN + HOUR]
    snapshot = make_consent(subject_id=ids, expires_at=ends)
    gate = cg.Gate(cg.Policy(), snapshot, make_channels())
    edges = [BEGUN + n * micro for n in OFFSETS] + [BEGUN + HOUR + n * micro for n in OFFSETS]
    for before, now in itertools.combinations_with_replacement(edges, 2):
        expected = any(before < end <= now for end in ends if end is not None)
        micros = (as_micros(instant, name="now") for instant in (before, now))
        assert gate._judge.consent.changes_between(*micros) is expected


def test_nothing_expires_where_no_consent_has_an_end() -> None:
    assert not live()._judge.consent.changes_between(0, 2**62)
