"""Publishing: which gates a store takes, which it refuses, and one publisher at a time."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import consentgate as cg
from consentgate.publishing.publication import Publication
from consentgate.storage.folders import Folder
from consentgate.storage.locks import lock
from tests.build import channel_table, consent_table, message_table
from tests.publishing.numbered import (
    AT_ONCE,
    BASE,
    NOW,
    expected_bits,
    gate_files,
    messages,
    numbered_gate,
    pointer,
    seen,
)
from tests.run_data import all_files, write_files


def test_a_published_gate_is_current(tmp_path: Path) -> None:
    gate, store = numbered_gate(3), cg.GateStore(tmp_path / "new" / "gates")
    published = store.publish(gate)
    current = store.current()
    assert current.digest == gate.digest == published.digest
    assert np.array_equal(current.decide(messages()).reason_bits, expected_bits(3))
    assert current.path == tmp_path / "new" / "gates" / published.name
    assert (published.number, published.registry_as_of) == (1, BASE + timedelta(milliseconds=3))
    assert abs(published.published_at - datetime.now(UTC)) < timedelta(minutes=1)
    assert Publication(**pointer(tmp_path / "new" / "gates")) == published
    assert repr(store) == f"<GateStore: {tmp_path}/new/gates>"


def test_each_publication_has_a_name_of_its_own(place: Path) -> None:
    store, gate = cg.GateStore(place), numbered_gate(0)
    published = [store.publish(gate) for _ in range(3)]
    assert [each.number for each in published] == [2, 3, 4]
    assert len(gate_files(place)) == 4
    assert gate_files(place)[1:] == [each.name for each in published]


def test_a_gate_stays_as_it_is_when_it_is_published(place: Path, tmp_path: Path) -> None:
    store = cg.GateStore(place)
    gate = numbered_gate(1)
    store.publish(gate)
    assert gate.path is None
    gate.save(tmp_path / "g")
    opened = cg.Gate.open(tmp_path / "g")
    for each in (gate, opened, store.current()):
        before = pickle.dumps(each)
        assert store.publish(each).digest == gate.digest
        assert pickle.dumps(each) == before


def test_a_file_uri_is_a_store(place: Path) -> None:
    store = pickle.loads(pickle.dumps(cg.GateStore(place.as_uri())))
    assert store.current().digest == cg.GateStore(place).current().digest


def test_another_policy_may_follow_as_of_the_same_instant(place: Path) -> None:
    live = cg.GateStore(place).live(check_every=AT_ONCE)
    other = numbered_gate(0, methods={"implied"})
    cg.GateStore(place).publish(other)
    assert seen(live) == other.digest
    assert live.decide(message_table()).num_admitted == 0


REFUSED: dict[str, tuple[Callable[[], cg.Gate], type[cg.ConsentGateError], str]] = {
    "a fixed instant": (
        lambda: cg.Gate(
            cg.Policy(),
            cg.ConsentSnapshot.from_arrow(consent_table(), as_of=NOW),
            cg.ChannelRegistry.from_arrow(channel_table(), as_of=NOW),
            judged_at=NOW,
        ),
        cg.ConfigurationError,
        "would never notice that consents expire",
    ),
    "an older snapshot": (
        lambda: numbered_gate(0, as_of=BASE - timedelta(microseconds=1), registry_as_of=NOW),
        cg.StaleSnapshotError,
        "older than the current one .* withdrawals would be undone: its consent snapshot is as of",
    ),
    "an older registry": (
        lambda: numbered_gate(0, as_of=NOW, registry_as_of=BASE - timedelta(microseconds=1)),
        cg.StaleSnapshotError,
        "its channel registry is as of",
    ),
    "a stale one": (
        lambda: numbered_gate(0, as_of=NOW, max_snapshot_age="PT0.001S"),
        cg.StaleSnapshotError,
        "old at the instant of judgement",
    ),
    "one of the future": (
        lambda: numbered_gate(0, as_of=NOW + timedelta(hours=1)),
        cg.FutureSnapshotError,
        "from now",
    ),
}


@pytest.mark.parametrize("what", REFUSED)
def test_a_gate_that_is_refused_changes_nothing(what: str, place: Path) -> None:
    make, error, words = REFUSED[what]
    before = all_files(place), pointer(place)
    with pytest.raises(error, match=words):
        cg.GateStore(place).publish(make())
    assert (all_files(place), pointer(place)) == before


@pytest.mark.parametrize("what", ["a fixed instant", "a stale one", "one of the future"])
def test_where_the_first_gate_is_refused_nothing_is_created(what: str, tmp_path: Path) -> None:
    make, error, words = REFUSED[what]
    with pytest.raises(error, match=words):
        cg.GateStore(tmp_path / "gates").publish(make())
    assert not (tmp_path / "gates").exists()


def test_an_older_registry_is_refused_after_a_gate_without_one(place: Path) -> None:
    columns = cg.Columns(channels=(), visibility="visibility")
    earlier = NOW - timedelta(microseconds=1)
    snapshot = cg.ConsentSnapshot.from_arrow(consent_table(), as_of=earlier)
    published = cg.GateStore(place).publish(cg.Gate(cg.Policy(), snapshot, columns=columns))
    assert published.registry_as_of == BASE
    with pytest.raises(cg.StaleSnapshotError, match="its channel registry is as of"):
        cg.GateStore(place).publish(REFUSED["an older registry"][0]())


def test_a_folder_of_other_files_is_no_store(tmp_path: Path) -> None:
    write_files(tmp_path / "src", ["a.parquet"])
    cg.run(numbered_gate(0), tmp_path / "src", tmp_path / "dst")
    for folder in ("src", "dst"):
        before = all_files(tmp_path / folder)
        with pytest.raises(cg.OutputError, match=r"holds files, such as .*; name an empty folder"):
            cg.GateStore(tmp_path / folder).publish(numbered_gate(0))
        assert all_files(tmp_path / folder) == before
    with pytest.raises(cg.UnreadableFileError, match="Not a directory"):
        cg.GateStore(tmp_path / "src" / "a.parquet").publish(numbered_gate(0))


def test_a_store_is_no_destination_of_a_run(place: Path, tmp_path: Path) -> None:
    write_files(tmp_path / "src", ["a.parquet"])
    with pytest.raises(cg.OutputError, match="holds files, but no run"):
        cg.run(numbered_gate(0), tmp_path / "src", place)
    assert cg.GateStore(place).current()


def test_one_publisher_works_at_a_time(place: Path) -> None:
    store = cg.GateStore(place)
    before = all_files(place)
    with lock(Folder.at(place), who="publisher"):
        with pytest.raises(cg.DestinationBusyError, match="Another publisher is writing into"):
            store.publish(numbered_gate(1))
        with pytest.raises(cg.DestinationBusyError, match="Another publisher is writing into"):
            store.prune(keep=1)
        assert store.current()
        assert all_files(place) == before
    store.publish(numbered_gate(1))


def test_publishers_that_compete_lose_nothing(place: Path) -> None:
    gates = [numbered_gate(n) for n in range(1, 5)]
    done: list[Publication] = []

    def publish(gate: cg.Gate) -> None:
        for _ in range(8):
            with suppress(cg.DestinationBusyError, cg.StaleSnapshotError):
                done.append(cg.GateStore(place).publish(gate))

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(publish, gates))
    assert sorted(each.number for each in done) == list(range(2, len(done) + 2))
    newest = max(done, key=lambda each: each.number)
    assert Publication(**pointer(place)) == newest
    assert gate_files(place)[1:] == [e.name for e in sorted(done, key=lambda e: e.number)]
    by_number = [each.as_of for each in sorted(done, key=lambda each: each.number)]
    assert by_number == sorted(by_number)


def test_numbers_come_to_an_end(place: Path) -> None:
    name = f"{10**15 - 1}{gate_files(place)[0][8:]}"
    numbered_gate(0).save(place / name)
    with pytest.raises(cg.OutputError, match="no higher one"):
        cg.GateStore(place).publish(numbered_gate(1))


def test_arguments_of_a_wrong_type_are_named(place: Path) -> None:
    odd: Any
    for odd in (b"gates", 3, None):
        with pytest.raises(TypeError, match="`path` is of type"):
            cg.GateStore(odd)
    for odd in (b"cache", 3, True):
        with pytest.raises(TypeError, match="`cache` is of type"):
            cg.GateStore(place, cache=odd)
    for odd in ("3", 1.5, True, None):
        with pytest.raises(TypeError, match="`keep` is of type"):
            cg.GateStore(place).prune(keep=odd)
