"""Live gates: they judge as the current gate does."""

from __future__ import annotations

import copy
import pickle
import shutil
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import consentgate as cg
from tests.build import consent_table, message_table
from tests.publishing.numbered import (
    AT_ONCE,
    NOW,
    SUBJECTS,
    messages,
    numbered_gate,
    seen,
    withdrawn,
)


def test_a_live_gate_judges_as_the_current_one(place: Path, tmp_path: Path) -> None:
    live, gate, table = cg.GateStore(place).live(), numbered_gate(0), messages()
    assert live.decide(table).reason_bits == gate.decide(table).reason_bits
    assert live.decide(table).gate_digest == gate.digest
    for mine, its in zip(live.filter(table), gate.filter(table), strict=True):
        assert mine.equals(its, check_metadata=True)
    assert live.annotate(table).equals(gate.annotate(table), check_metadata=True)
    admitted = live.stream([table], ledger=tmp_path / "ledger").read_all()
    assert admitted.equals(gate.filter(table)[0], check_metadata=True)
    (part,) = (tmp_path / "ledger").iterdir()
    assert pq.read_table(part).num_rows + admitted.num_rows == SUBJECTS
    assert repr(live) == f"<LiveGate of <GateStore: {place}>, checked every 0:00:01>"


def test_a_live_gate_takes_what_its_calls_are_given(place: Path) -> None:
    live = cg.GateStore(place).live()
    with pytest.raises(cg.ConfigurationError, match="threads"):
        live.decide(messages(), threads=0)
    with pytest.raises(cg.StaleSnapshotError, match="old at the instant of judgement"):
        live.filter(messages(), judged_at=NOW + timedelta(days=30))


def test_the_pointer_is_looked_at_when_the_interval_has_passed(place: Path) -> None:
    store, begun = cg.GateStore(place), time.monotonic()
    soon = store.live(check_every=timedelta(seconds=0.3))
    much_later = store.live(check_every=timedelta(hours=1))
    new = store.publish(numbered_gate(1)).digest
    at_first = seen(soon)
    if time.monotonic() - begun < 0.3:
        assert at_first != new
    time.sleep(0.31)
    assert seen(soon) == new
    assert seen(much_later) != new


def test_an_interval_is_not_negative(place: Path) -> None:
    with pytest.raises(cg.ConfigurationError, match="give 0 seconds or more"):
        cg.GateStore(place).live(check_every=timedelta(seconds=-1))


def test_a_live_gate_pickles_and_copies_as_what_it_follows(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    live = cg.GateStore("gates").live(check_every=AT_ONCE)
    pickled = pickle.dumps(live)
    assert len(pickled) < 1_000
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    new = cg.GateStore(place).publish(numbered_gate(1)).digest
    assert {seen(pickle.loads(pickled)), seen(copy.copy(live)), seen(copy.deepcopy(live))} == {new}
    shutil.rmtree(place)
    gone = pickle.loads(pickled)  # nothing is looked at before it is needed
    with pytest.raises(cg.UnreadableFileError, match="There is no 'current"):
        seen(gone)


def test_each_batch_of_a_stream_is_judged_by_one_gate(place: Path, tmp_path: Path) -> None:
    store, batches = cg.GateStore(place), 5

    def arriving() -> Iterator[pa.Table]:
        for number in range(batches):
            yield messages()
            if number % 2:
                store.publish(numbered_gate(number))

    live = store.live(check_every=AT_ONCE)
    reader = live.stream(arriving(), ledger=tmp_path / "ledger")
    admitted = reader.read_all()
    judges = [0, 0, 1, 1, 3]
    expected = np.concatenate([np.flatnonzero(~withdrawn(n)) for n in judges])
    assert np.array_equal(admitted["message_id"], expected)
    parts = {}
    for path in (tmp_path / "ledger").iterdir():
        part = pq.read_table(path)
        parts[part.schema.metadata[b"consentgate.snapshot_digest"].decode()] = part
    rows = [np.flatnonzero(withdrawn(n)) + SUBJECTS * batch for batch, n in enumerate(judges)]
    for number, places in ((0, rows[:2]), (1, rows[2:4]), (3, rows[4:])):
        digest = numbered_gate(number).identity.consent.digest
        assert np.array_equal(parts.pop(digest)["row"], np.concatenate(places))
    assert not parts


def test_a_gate_of_other_columns_may_follow(place: Path) -> None:
    live = cg.GateStore(place).live(check_every=AT_ONCE)
    assert live.decide(messages()).num_admitted > 0
    consent = cg.ConsentSnapshot.from_arrow(consent_table(), as_of=NOW)
    columns = cg.Columns(subjects=("author",), channels=(), visibility="seen_by")
    cg.GateStore(place).publish(cg.Gate(cg.Policy(), consent, columns=columns))
    with pytest.raises(cg.ColumnMissingError, match="author"):
        live.decide(messages())
    table = message_table(author=[1, 2], seen_by="public")
    assert live.decide(table).counts == {"no_consent_record": 1}


def test_a_store_that_is_begun_anew_with_newer_data_is_followed(place: Path) -> None:
    live = cg.GateStore(place).live(check_every=AT_ONCE)
    cg.GateStore(place).publish(numbered_gate(1))
    seen(live)
    shutil.rmtree(place)
    assert cg.GateStore(place).publish(numbered_gate(2)).number == 1
    assert seen(live) == numbered_gate(2).digest


def test_a_snapshot_that_grows_old_is_an_error_until_a_new_one_is_published(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now, passed = datetime.now(UTC).replace(microsecond=0), timedelta(0)
    monkeypatch.setattr(
        "consentgate.gate.time.time_ns", lambda: int((now + passed).timestamp() * 1000) * 10**6
    )

    def fresh() -> cg.Gate:
        return numbered_gate(1, as_of=now + passed, max_snapshot_age="PT1S")

    store = cg.GateStore(place)
    store.publish(fresh())
    live = store.live(check_every=AT_ONCE)
    for tenths in (0, 3, 6, 9):
        passed = timedelta(seconds=tenths / 10)
        live.filter(messages())
    passed = timedelta(seconds=1.2)
    with pytest.raises(cg.StaleSnapshotError, match="consent snapshot is 0:00:01"):
        live.filter(messages())
    with pytest.raises(cg.StaleSnapshotError, match="consent snapshot is 0:00:01"):
        next(live.stream([messages()]))
    new = fresh()
    store.publish(new)
    assert seen(live) == new.digest
