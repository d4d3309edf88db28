"""Gates that are published while they are used: always a whole one, and never an older one."""

from __future__ import annotations

import copy
import json
import multiprocessing
import os
import pickle
import random
import resource
import shutil
import signal
import subprocess
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import consentgate as cg
from consentgate.publishing.publication import Publication
from consentgate.storage.folders import Folder
from consentgate.storage.locks import lock
from tests.build import channel_table, consent_table, message_table
from tests.killing import end_of, fork
from tests.run_data import all_files, write_files
from tests.runs.test_killed import as_nobody

ROOT = Path(__file__).parents[2]
SUBJECTS = 2_000
BASE = datetime.now(UTC) - timedelta(hours=1)
AT_ONCE = timedelta(0)
POINTER = "current.json"


def withdrawn(number: int) -> Any:
    """Which subjects withdrew, in the numbered gate: others in every one."""
    return np.random.default_rng(number).random(SUBJECTS) < 0.5


def expected_bits(number: int) -> Any:
    """What the numbered gate decides of `messages()`."""
    return np.where(withdrawn(number), cg.Reason.CONSENT_WITHDRAWN, 0)


def numbered_gate(
    number: int,
    *,
    as_of: datetime | None = None,
    registry_as_of: datetime | None = None,
    **policy: Any,
) -> cg.Gate:
    """A gate as of so many milliseconds after BASE."""
    as_of = as_of or BASE + timedelta(milliseconds=number)
    status = np.where(withdrawn(number), "withdrawn", "given")
    table = consent_table(subject_id=range(SUBJECTS), status=pa.array(status))
    consent = cg.ConsentSnapshot.from_arrow(table, as_of=as_of)
    channels = cg.ChannelRegistry.from_arrow(channel_table(), as_of=registry_as_of or as_of)
    return cg.Gate(cg.Policy(**policy), consent, channels)


def messages() -> pa.Table:
    """A message of each subject."""
    return message_table(sender_id=range(SUBJECTS))


def seen(judge: cg.Gate | cg.LiveGate) -> str | None:
    """By which gate messages are judged now."""
    return judge.decide(message_table()).gate_digest


def pointer(place: Path) -> dict[str, Any]:
    """What the pointer says."""
    content: dict[str, Any] = json.loads((place / POINTER).read_bytes())
    return content


def set_pointer(place: Path, content: Any) -> None:
    """Let the pointer say something else."""
    draft = place / "draft"
    draft.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    draft.replace(place / POINTER)


def renumbered(place: Path, said: dict[str, Any], number: int) -> dict[str, Any]:
    """What a pointer says of the same gate under another number, whose file is there."""
    name = f"{number:08}{said['name'][said['name'].index('-') :]}"
    os.link(place / said["name"], place / name)
    return {**said, "number": number, "name": name}


def gate_files(place: Path) -> list[str]:
    """The gates' files, oldest first."""
    return sorted(path.name for path in place.glob("*.gate"))


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A store with one gate."""
    cg.GateStore(tmp_path / "gates").publish(numbered_gate(0))
    return tmp_path / "gates"


# --- publishing -------------------------------------------------------------------------------


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


NOW = datetime.now(UTC)
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


# --- the current gate -------------------------------------------------------------------------


@pytest.mark.parametrize("make", [False, True])
def test_a_store_without_a_gate_says_so(make: bool, tmp_path: Path) -> None:
    if make:
        (tmp_path / "gates").mkdir()
    store = cg.GateStore(tmp_path / "gates")
    for look in (store.current, store.live, lambda: store.prune(keep=1)):
        with pytest.raises(
            cg.UnreadableFileError, match=r"There is no 'current.json' .* publish a"
        ):
            look()
    assert (tmp_path / "gates").exists() == make


DAMAGES: dict[str, tuple[Callable[[dict[str, Any]], Any], type[cg.GateFileError]]] = {
    "empty": (lambda _: b"", cg.DamagedGateError),
    "cut off": (lambda said: json.dumps(said).encode()[:-1], cg.DamagedGateError),
    "no JSON object": (lambda said: [said], cg.DamagedGateError),
    "a field is missing": (
        lambda said: {k: v for k, v in said.items() if k != "as_of"},
        cg.DamagedGateError,
    ),
    "an instant without a zone": (
        lambda said: {**said, "as_of": "2026-01-01T00:00:00"},
        cg.DamagedGateError,
    ),
    "a name that leads elsewhere": (
        lambda said: {**said, "name": "../" + said["name"]},
        cg.DamagedGateError,
    ),
    "newer": (lambda said: {"version": 3, "gates": [said["name"]]}, cg.NewerGateError),
    "of the version before": (lambda said: {**said, "version": 1}, cg.GateFileError),
    "a number that is too long": (
        lambda said: json.dumps(said).replace('"number": 1', '"number": 1' + 5_000 * "0").encode(),
        cg.DamagedGateError,
    ),
    "a version that is too long": (
        lambda said: json.dumps(said).replace('n": 2', 'n": 2' + 5_000 * "0").encode(),
        cg.DamagedGateError,
    ),
    "deep": (lambda _: 30_000 * b"[", cg.DamagedGateError),
    "another number than its name": (lambda said: {**said, "number": 7}, cg.DamagedGateError),
    "another digest than its name": (
        lambda said: {**said, "digest": said["file_digest"]},
        cg.DamagedGateError,
    ),
    "a registry without a digest": (
        lambda said: {**said, "registry_digest": None},
        cg.DamagedGateError,
    ),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_pointer_is_an_error_until_it_is_mended(
    damage: str, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("consentgate.publishing.publication._PAUSE_S", 0.001)
    store, intact = cg.GateStore(place), pointer(place)
    live = store.live(check_every=AT_ONCE)
    alter, error = DAMAGES[damage]
    set_pointer(place, alter(intact))
    before = all_files(place)
    words = f"Pointer '{place}/current.json' (is damaged|has version [13])"
    for act in (
        store.current,
        lambda: seen(live),
        lambda: store.publish(numbered_gate(1)),
        lambda: store.prune(keep=1),
    ):
        with pytest.raises(error, match=words):
            act()
    assert all_files(place) == before
    set_pointer(place, intact)
    assert seen(live) == intact["digest"]


def test_a_pointer_that_is_gone_is_an_error_until_it_is_back(place: Path) -> None:
    live = cg.GateStore(place).live(check_every=AT_ONCE)
    (place / POINTER).rename(place / "aside")
    with pytest.raises(cg.UnreadableFileError, match="There is no 'current"):
        seen(live)
    (place / "aside").rename(place / POINTER)
    assert seen(live)


def flip(path: Path, at: int) -> None:
    content = bytearray(path.read_bytes())
    head_size = int.from_bytes(content[12:16], "little")
    content[at if at < 16 else head_size + at] ^= 1
    path.write_bytes(content)


FILE_DAMAGES: dict[str, tuple[Callable[[Path], object], type[cg.FileError], str]] = {
    "altered": (lambda path: flip(path, 100), cg.DamagedGateError, "altered in places"),
    "cut off": (lambda path: os.truncate(path, 5000), cg.DamagedGateError, "bytes long"),
    "newer": (lambda path: flip(path, 9), cg.NewerGateError, r"has version 25\d"),
    "foreign": (lambda path: flip(path, 0), cg.ForeignGateError, "no saved gate"),
    "another": (lambda path: numbered_gate(7).save(path), cg.ReplacedGateError, "another gate"),
    "gone": (lambda path: path.unlink(), cg.UnreadableFileError, "current gate of .* No such file"),
}


@pytest.mark.parametrize("damage", FILE_DAMAGES)
def test_a_gate_that_cannot_be_used_is_an_error_until_another_is_published(
    damage: str, place: Path
) -> None:
    store = cg.GateStore(place)
    live = store.live(check_every=AT_ONCE)
    published = store.publish(numbered_gate(1))
    harm, error, words = FILE_DAMAGES[damage]
    harm(place / published.name)
    for act in (store.current, lambda: seen(live), lambda: seen(live)):
        with pytest.raises(error, match=words):
            act()
    store.publish(numbered_gate(2))
    assert seen(live) == numbered_gate(2).digest


class Overtaken(cg.GateStore):
    """A store in which gates are published and pruned right before the current one is opened."""

    still_to_publish = 3

    def _open(self, published: Publication) -> cg.Gate:
        if self.still_to_publish:
            self.still_to_publish -= 1
            self.publish(numbered_gate(published.number))
            self.prune(keep=1)
        return super()._open(published)


def test_a_gate_that_is_pruned_before_it_is_opened_gives_way_to_the_next(place: Path) -> None:
    store = Overtaken(place)
    assert store.current().digest == numbered_gate(3).digest
    store.still_to_publish = 99
    with pytest.raises(cg.UnreadableFileError, match="were removed 8 times before they were open"):
        store.current()
    assert store.still_to_publish == 91


def test_an_opened_gate_outlives_its_file(place: Path) -> None:
    store = cg.GateStore(place)
    gate, live = store.current(), store.live(check_every=timedelta(hours=1))
    store.publish(numbered_gate(1))
    assert len(store.prune(keep=1)) == 1
    for judge in (gate, live):
        assert np.array_equal(judge.decide(messages()).reason_bits, expected_bits(0))


# --- pruning ----------------------------------------------------------------------------------


@pytest.mark.parametrize("keep", [1, 2, 4, 5, 9])
def test_pruning_leaves_the_current_gate_and_those_before_it(keep: int, place: Path) -> None:
    store = cg.GateStore(place)
    published = [store.publish(numbered_gate(n)) for n in range(1, 5)]
    names = gate_files(place)
    assert sorted(store.prune(keep=keep)) == names[: max(0, 5 - keep)]
    assert gate_files(place) == names[max(0, 5 - keep) :]
    assert store.current().digest == published[-1].digest
    assert store.prune(keep=keep) == ()


def test_pruning_leaves_what_is_no_gate_and_takes_what_was_left(place: Path) -> None:
    name = gate_files(place)[0]
    odd = {"notes.txt", f"{name}.bak", "00000001.gate", "9" + name[1:] + "x", f".{name}.swp"}
    left = {f".{name}.{'0' * 16}", f".{POINTER}.{'f' * 16}", "00000002" + name[8:]}
    for each in odd | left:
        (place / each).write_bytes(b"x")
    before = all_files(place)
    assert set(cg.GateStore(place).prune(keep=1)) == left
    assert all_files(place) == before - left


@pytest.mark.parametrize("keep", [0, -1])
def test_pruning_keeps_at_least_the_current_gate(keep: int, place: Path) -> None:
    with pytest.raises(cg.ConfigurationError, match=f"keep is {keep}; give 1 or more"):
        cg.GateStore(place).prune(keep=keep)


def test_arguments_of_a_wrong_type_are_named(place: Path) -> None:
    odd: Any
    for odd in (b"gates", 3, None):
        with pytest.raises(TypeError, match="`place` is of type"):
            cg.GateStore(odd)
    for odd in (b"cache", 3, True):
        with pytest.raises(TypeError, match="`cache` is of type"):
            cg.GateStore(place, cache=odd)
    for odd in ("3", 1.5, True, None):
        with pytest.raises(TypeError, match="`keep` is of type"):
            cg.GateStore(place).prune(keep=odd)


def test_pruning_goes_by_numbers_of_any_length(place: Path) -> None:
    (first,) = gate_files(place)
    set_pointer(place, renumbered(place, pointer(place), 99_999_998))
    store = cg.GateStore(place)
    names = [store.publish(numbered_gate(n)).name for n in range(1, 5)]
    assert [name[:10] for name in names[:2]] == ["99999999-" + names[0][9], "100000000-"]
    assert {first, *names[:2]} < set(store.prune(keep=2))
    assert set(gate_files(place)) == {*names[2:]}


# --- following --------------------------------------------------------------------------------


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
    store = cg.GateStore(place)
    soon = store.live(check_every=timedelta(seconds=0.3))
    much_later = store.live(check_every=timedelta(hours=1))
    begun = time.monotonic()
    new = store.publish(numbered_gate(1)).digest
    if time.monotonic() - begun < 0.2:
        assert seen(soon) != new
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


@pytest.mark.parametrize("what", ["snapshot", "registry", "number"])
def test_a_store_that_goes_back_is_not_followed(what: str, place: Path) -> None:
    store = cg.GateStore(place)
    if what == "registry":
        store.publish(numbered_gate(0, as_of=NOW))
    elif what == "number":
        store.publish(numbered_gate(0, methods={"implied"}))
    old = pointer(place)
    newer = {
        "snapshot": lambda: numbered_gate(1, registry_as_of=BASE),
        "registry": lambda: numbered_gate(0, as_of=NOW, registry_as_of=NOW + timedelta(seconds=1)),
        "number": lambda: numbered_gate(0),
    }[what]()
    live = store.live(check_every=AT_ONCE)
    store.publish(newer)
    assert seen(live) == newer.digest
    set_pointer(place, old)
    words = {"snapshot": "its consent snapshot", "registry": "its channel reg", "number": "its num"}
    for _ in range(2):
        with pytest.raises(cg.StaleSnapshotError, match=f"gone back to an older .*{words[what]}"):
            live.decide(messages())
    assert seen(store.live()) == old["digest"]  # who has not seen the newer one cannot know
    newest = numbered_gate(0, as_of=NOW + timedelta(seconds=2))
    store.publish(newest)
    assert seen(live) == newest.digest


def bring_back_pointer(place: Path, gates: list[cg.Gate]) -> None:
    """Publish some gates, then bring the pointer back that there was before them."""
    store, old = cg.GateStore(place), pointer(place)
    for gate in gates:
        store.publish(gate)
    set_pointer(place, old)


def lose_pointer(place: Path, gates: list[cg.Gate]) -> None:
    """Publish some gates, then lose the pointer."""
    bring_back_pointer(place, gates)
    (place / POINTER).unlink()


LOSSES = [lose_pointer, bring_back_pointer]


@pytest.mark.parametrize("lose", LOSSES)
@pytest.mark.parametrize("what", ["snapshot", "registry", "same instant"])
def test_an_older_gate_is_refused_where_the_pointer_is_lost(
    lose: Callable[[Path, list[cg.Gate]], None], what: str, place: Path
) -> None:
    lose(place, [numbered_gate(5), numbered_gate(6)])
    other = {
        "snapshot": lambda: numbered_gate(5, registry_as_of=NOW),
        "registry": lambda: numbered_gate(0, as_of=NOW, registry_as_of=BASE),
        "same instant": lambda: numbered_gate(1, as_of=BASE + timedelta(milliseconds=6)),
    }[what]()
    before = all_files(place)
    for _ in range(2):
        with pytest.raises(cg.StaleSnapshotError, match=r"older than gate .0000000[23]-.*: its"):
            cg.GateStore(place).publish(other)
    assert all_files(place) == before
    published = cg.GateStore(place).publish(numbered_gate(6))
    assert published.number == 4
    assert cg.GateStore(place).current().digest == numbered_gate(6).digest
    with pytest.raises(cg.StaleSnapshotError, match="older than the current one"):
        cg.GateStore(place).publish(numbered_gate(5))


def test_pruning_leaves_a_newer_gate_than_the_current_one(place: Path) -> None:
    bring_back_pointer(place, [numbered_gate(2)])
    newer = gate_files(place)[-1]
    left = f"00000007{newer[8:]}"
    numbered_gate(0).save(place / left)
    assert cg.GateStore(place).prune(keep=1) == (left,)
    with pytest.raises(cg.StaleSnapshotError, match=newer):
        cg.GateStore(place).publish(numbered_gate(1))


def test_the_registry_of_a_lost_pointer_is_remembered(place: Path) -> None:
    store = cg.GateStore(place)
    consent = cg.ConsentSnapshot.from_arrow(consent_table(), as_of=BASE + timedelta(seconds=1))
    without = cg.Gate(
        cg.Policy(), consent, columns=cg.Columns(channels=(), visibility="visibility")
    )
    (place / POINTER).unlink()
    assert store.publish(without).registry_as_of == BASE
    with pytest.raises(cg.StaleSnapshotError, match="its channel registry"):
        store.publish(numbered_gate(0, as_of=NOW, registry_as_of=BASE - timedelta(seconds=1)))


@pytest.mark.parametrize("lose", LOSSES)
@pytest.mark.parametrize("damage", ["altered head", "cut off", "blank", "empty", "foreign"])
def test_a_damaged_gate_without_a_pointer_does_not_stop_publishers(
    lose: Callable[[Path, list[cg.Gate]], None], damage: str, place: Path
) -> None:
    lose(place, [numbered_gate(2)])
    last = place / gate_files(place)[-1]
    content = last.read_bytes()
    last.write_bytes(
        {
            "altered head": content[:100] + bytes([content[100] ^ 1]) + content[101:],
            "cut off": content[:100],
            "blank": bytes(len(content)),
            "empty": b"",
            "foreign": b"PAR1" * 99,
        }[damage]
    )
    with suppress(cg.StaleSnapshotError):
        cg.GateStore(place).publish(numbered_gate(0, as_of=BASE - timedelta(seconds=1)))
        pytest.fail("the first gate's file is intact, and newer")
    assert cg.GateStore(place).publish(numbered_gate(1)).number == 3
    assert seen(cg.GateStore(place).live()) == numbered_gate(1).digest
    assert not last.exists()


@pytest.mark.parametrize("lose", LOSSES)
@pytest.mark.parametrize("kind", ["newer", "pipe", "link to a folder"])
def test_a_gate_that_may_be_newer_and_cannot_be_read_stops_publishers(
    lose: Callable[[Path, list[cg.Gate]], None], kind: str, place: Path
) -> None:
    lose(place, [numbered_gate(2)])
    last = place / gate_files(place)[-1]
    if kind == "newer":
        flip(last, 9)
    else:
        last.unlink()
        os.mkfifo(last) if kind == "pipe" else last.symlink_to("/dev")
    error = cg.NewerGateError if kind == "newer" else cg.UnreadableFileError
    with pytest.raises(error, match=last.name):
        cg.GateStore(place).publish(numbered_gate(3))
    last.unlink()
    cg.GateStore(place).publish(numbered_gate(3))


def test_numbers_come_to_an_end(place: Path) -> None:
    name = f"{10**15 - 1}{gate_files(place)[0][8:]}"
    numbered_gate(0).save(place / name)
    with pytest.raises(cg.OutputError, match="no higher one"):
        cg.GateStore(place).publish(numbered_gate(1))


SAME = "differs from the other's, but both are as of"


def other_gate(what: str) -> cg.Gate:
    """A gate whose snapshot or registry is another one as of the same instant."""
    as_of = BASE
    more = {"channel_id": [10, 11]} if what == "registry" else {}
    status = np.where(withdrawn(0 if what == "registry" else 1), "withdrawn", "given")
    table = consent_table(subject_id=range(SUBJECTS), status=pa.array(status))
    consent = cg.ConsentSnapshot.from_arrow(table, as_of=as_of)
    return cg.Gate(
        cg.Policy(), consent, cg.ChannelRegistry.from_arrow(channel_table(**more), as_of=as_of)
    )


@pytest.mark.parametrize("what", ["snapshot", "registry"])
def test_another_one_as_of_the_same_instant_is_refused(what: str, place: Path) -> None:
    store, before = cg.GateStore(place), all_files(place)
    with pytest.raises(cg.StaleSnapshotError, match=f"its .*{what} {SAME}"):
        store.publish(other_gate(what))
    assert all_files(place) == before
    store.publish(numbered_gate(0))  # the same one again


@pytest.mark.parametrize("what", ["snapshot", "registry"])
def test_another_one_as_of_the_same_instant_is_not_followed(
    what: str, place: Path, tmp_path: Path
) -> None:
    live = cg.GateStore(place).live(check_every=AT_ONCE)
    cg.GateStore(tmp_path / "other").publish(other_gate(what))
    shutil.copytree(tmp_path / "other", place, dirs_exist_ok=True)
    with pytest.raises(cg.StaleSnapshotError, match=f"its .*{what} {SAME}"):
        seen(live)


EDITS: dict[str, tuple[str, timedelta | str | None]] = {
    "a newer snapshot": ("as_of", timedelta(microseconds=1)),
    "an older snapshot": ("as_of", -timedelta(days=1)),
    "another snapshot": ("snapshot_digest", "0" * 64),
    "a newer registry": ("registry_as_of", timedelta(microseconds=1)),
    "an older registry": ("registry_as_of", -timedelta(days=1)),
    "another registry": ("registry_digest", "0" * 64),
    "no registry": ("registry", None),
}


@pytest.mark.parametrize("edit", EDITS)
def test_a_pointer_that_contradicts_its_gate_is_an_error(edit: str, place: Path) -> None:
    store, intact = cg.GateStore(place), pointer(place)
    live = store.live(check_every=AT_ONCE)
    key, change = EDITS[edit]
    if isinstance(change, timedelta):
        change = (datetime.fromisoformat(intact[key]) + change).isoformat()
    edited = dict.fromkeys(("registry_as_of", "registry_digest")) if change is None else {}
    set_pointer(place, {**intact, **(edited or {key: change})})
    before = all_files(place)
    for act in (store.current, lambda: store.publish(numbered_gate(1))):
        with pytest.raises(cg.DamagedGateError, match=r"says something else of the c.* than the"):
            act()
    with pytest.raises(
        (cg.DamagedGateError, cg.StaleSnapshotError), match=r"else|back to an older"
    ):
        seen(live)
    assert all_files(place) == before
    set_pointer(place, intact)
    assert seen(live) == intact["digest"]


def test_a_pointer_to_the_gate_before_under_the_dates_of_the_newer_is_an_error(
    place: Path,
) -> None:
    store, old = cg.GateStore(place), pointer(place)
    store.publish(numbered_gate(1))
    dates = ("as_of", "registry_as_of", "snapshot_digest", "registry_digest", "published_at")
    set_pointer(place, {**old, **{key: pointer(place)[key] for key in dates}})
    for act in (store.current, store.live, lambda: store.publish(numbered_gate(2))):
        with pytest.raises(cg.DamagedGateError, match="says something else of the consent snap"):
            act()


JUNK: list[Any] = [
    None,
    0,
    -1,
    2**70,
    1.5,
    "",
    "x",
    "\0",
    "\ud800",
    "1",
    [],
    {},
    True,
    "0" * 64,
    "9" * 5_000,
]


def mutated(said: dict[str, Any], draws: random.Random) -> bytes:
    """A pointer with something about it changed."""
    content = dict(said)
    for _ in range(draws.randint(1, 2)):
        key = draws.choice([*content, "more"])
        content[key] = draws.choice([*JUNK, content.get(draws.choice(list(content)))])
        if draws.random() < 0.2:
            del content[key]
    octets = bytearray(json.dumps(content).encode())
    for _ in range(draws.choice([0, 0, 1, 3])):
        octets[draws.randrange(len(octets))] = draws.randrange(256)
    return bytes(octets)


def test_whatever_a_pointer_holds_only_errors_of_the_library_come_out(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("consentgate.publishing.publication.TRIES", 1)
    monkeypatch.setattr("consentgate.publishing.publication._PAUSE_S", 0)
    store, said, draws = cg.GateStore(place), pointer(place), random.Random(12)
    gate, live = numbered_gate(0), store.live(check_every=AT_ONCE)
    refused = 0
    for _ in range(300):
        set_pointer(place, mutated(said, draws))
        for act in (store.current, live.current, lambda: store.publish(gate)):
            try:
                act()
            except cg.ConsentGateError:
                refused += 1
    assert refused > 600


def test_a_store_that_is_begun_anew_with_newer_data_is_followed(place: Path) -> None:
    live = cg.GateStore(place).live(check_every=AT_ONCE)
    cg.GateStore(place).publish(numbered_gate(1))
    seen(live)
    shutil.rmtree(place)
    assert cg.GateStore(place).publish(numbered_gate(2)).number == 1
    assert seen(live) == numbered_gate(2).digest


def test_a_snapshot_that_grows_old_is_an_error_until_a_new_one_is_published(place: Path) -> None:
    def fresh() -> cg.Gate:
        return numbered_gate(1, as_of=datetime.now(UTC), max_snapshot_age="PT1S")

    store = cg.GateStore(place)
    store.publish(fresh())
    live = store.live(check_every=AT_ONCE)
    begun, judged = time.monotonic(), 0
    with pytest.raises(cg.StaleSnapshotError, match="consent snapshot is 0:00:01"):
        while time.monotonic() < begun + 10:
            live.filter(messages())
            judged += 1
    assert judged > 3
    with pytest.raises(cg.StaleSnapshotError, match="consent snapshot is 0:00:01"):
        next(live.stream([messages()]))
    new = fresh()
    store.publish(new)
    assert seen(live) == new.digest


# --- many threads and processes ---------------------------------------------------------------


class Witness:
    """Sees to it that every answer is one gate's, and none is older than the answer before.

    Args:
        numbers: the gates' numbers, by what is in their decisions.
    """

    def __init__(self, numbers: dict[str, int]) -> None:
        self.numbers, self.seen = numbers, [0]
        self._table = messages()

    def look(self, live: cg.LiveGate, *, whole: bool) -> None:
        """Let a live gate judge."""
        if whole:
            admitted, excluded = live.filter(self._table, threads=1)
            number = self.numbers[excluded.schema.metadata[b"consentgate.snapshot_digest"].decode()]
            assert np.array_equal(excluded["row"], np.flatnonzero(withdrawn(number)))
            assert np.array_equal(admitted["message_id"], np.flatnonzero(~withdrawn(number)))
        else:
            decision = live.decide(self._table, threads=1)
            assert decision.gate_digest is not None
            number = self.numbers[decision.gate_digest]
            assert np.array_equal(decision.reason_bits, expected_bits(number))
        assert number >= self.seen[-1]
        if number > self.seen[-1]:
            self.seen.append(number)


def numbers_of(gates: list[cg.Gate]) -> dict[str, int]:
    """The gates' numbers, by what is in their decisions or their ledgers."""
    digests = [(gate.digest, gate.identity.consent.digest) for gate in gates]
    return {digest: number for number, pair in enumerate(digests) for digest in pair}


def follow(live: cg.LiveGate, witness: Witness, last: int, answers: Any) -> None:
    """What a reader's process does: it judges until it has seen the last gate."""
    try:
        witness.look(live, whole=False)
        answers.put("ready")
        deadline, looks = time.monotonic() + 60, 0
        while witness.seen[-1] < last and time.monotonic() < deadline:
            witness.look(live, whole=looks % 2 == 0)
            looks += 1
        answers.put((witness.seen, looks))
    except BaseException:
        answers.put(traceback.format_exc())


def test_processes_that_read_while_gates_are_published_see_whole_ones(place: Path) -> None:
    gates = [numbered_gate(n) for n in range(103)]
    store, last = cg.GateStore(place), len(gates) - 1
    live, witness = store.live(check_every=AT_ONCE), Witness(numbers_of(gates))
    readers: list[Any] = []
    spawned: Any = multiprocessing.get_context("spawn")
    answers = spawned.Queue()
    for method in ("fork", "spawn", "fork", "forkserver") * 2:
        context: Any = multiprocessing.get_context(method)
        readers.append(context.Process(target=follow, args=(live, witness, last, answers)))
    with running(readers):
        assert [answers.get(timeout=60) for _ in readers] == ["ready"] * len(readers)
        publish_all(store, gates[1:])
        ends = [answers.get(timeout=90) for _ in readers]
    broken = [end for end in ends if isinstance(end, str)]
    assert not broken, broken[0]
    assert all(numbers[-1] == last for numbers, _ in ends)
    assert sum(len(numbers) for numbers, _ in ends) > 4 * len(readers)


def publish_all(store: cg.GateStore, gates: list[cg.Gate]) -> None:
    """Publish as fast as it goes, and prune."""
    for place, gate in enumerate(gates):
        store.publish(gate)
        if place % 3 == 0:
            store.prune(keep=1 + place % 2)


@contextmanager
def running(processes: list[Any]) -> Iterator[None]:
    """The processes run while the block does, and a little longer."""
    with warnings.catch_warnings():
        # Python 3.12 and later warn that forking with threads may deadlock: what this is about
        warnings.simplefilter("ignore")
        for process in processes:
            process.start()
    try:
        yield
    finally:
        for process in processes:
            process.join(timeout=10)
            process.kill()


def test_threads_share_a_live_gate(place: Path) -> None:
    gates = [numbered_gate(n) for n in range(41)]
    numbers, store = numbers_of(gates), cg.GateStore(place)
    live = store.live(check_every=timedelta(milliseconds=3))

    def follow_here(reader: int) -> int:
        witness, deadline = Witness(numbers), time.monotonic() + 60
        while witness.seen[-1] < 40 and time.monotonic() < deadline:
            witness.look(live, whole=reader % 2 == 0)
        return len(witness.seen)

    with ThreadPoolExecutor(8) as pool:
        readers = [pool.submit(follow_here, reader) for reader in range(8)]
        publish_all(store, gates[1:])
        assert sum(reader.result(timeout=60) for reader in readers) > 16


class Slow(cg.GateStore):
    """A store in which opening the first gate takes its time."""

    has_begun, may_go_on = threading.Event(), threading.Event()

    def _open(self, published: Publication) -> cg.Gate:
        if published.number == 1:
            self.has_begun.set()
            assert self.may_go_on.wait(10)
        return super()._open(published)


def test_a_thread_that_opens_slowly_does_not_bring_an_older_gate_back(place: Path) -> None:
    live = cg.LiveGate(Slow(place), check_every=timedelta(hours=1))
    with ThreadPoolExecutor(2) as pool:
        slow = pool.submit(seen, live)
        assert Slow.has_begun.wait(10)
        cg.GateStore(place).publish(numbered_gate(1))
        other = pool.submit(seen, live)
        with suppress(TimeoutError):
            other.result(timeout=0.2)
        Slow.may_go_on.set()
        assert slow.result(timeout=10) == other.result(timeout=10) == seen(live)


def look_in_child(live: cg.LiveGate, answers: Any) -> None:
    answers.put(seen(live))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
def test_a_fork_while_another_thread_looks_at_the_store_does_not_deadlock(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = cg.GateStore(place)
    live = store.live(check_every=AT_ONCE)
    parent, newest, released = os.getpid(), store._newest, threading.Event()

    def look_slowly(last: Any) -> Any:
        assert os.getpid() != parent or released.wait(60)
        return newest(last)

    monkeypatch.setattr(store, "_newest", look_slowly)  # whoever waits in there holds the lock
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(seen, live)
        deadline = time.monotonic() + 10
        while not any(held.locked() for held in live._locks.values()):
            assert time.monotonic() < deadline
            time.sleep(0.01)
        context: Any = multiprocessing.get_context("fork")
        answers = context.Queue()
        child = context.Process(target=look_in_child, args=(live, answers))
        digest = pointer(place)["digest"]
        try:
            with running([child]):
                assert answers.get(timeout=20) == digest
        finally:
            released.set()
        assert waiting.result(timeout=10) == digest


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="only Linux tells")
def test_nothing_is_left_open_by_a_thousand_switches(place: Path) -> None:
    def held() -> tuple[int, int]:
        mapped = Path("/proc/self/maps").read_text().count(str(place))
        return len(os.listdir("/proc/self/fd")), mapped  # noqa: PTH208

    store = cg.GateStore(place)
    first = pointer(place)
    other = store.publish(numbered_gate(0, methods={"implied"}))
    said = [first, other.model_dump(mode="json")]
    live = store.live(check_every=AT_ONCE)
    seen(live)
    before = held()
    digests = []
    for number in range(3, 1_003):
        set_pointer(place, renumbered(place, said[number % 2], number))
        digests.append(seen(live))
    assert set(digests) == {said[0]["digest"], said[1]["digest"]}
    assert all(one != other for one, other in pairwise(digests))
    assert held() == before
    assert before[1] >= 1


# --- what goes wrong while publishing ---------------------------------------------------------


def die_at(event: int, place: Path) -> None:
    """Kill this process before so many of the things that it does in a folder."""
    left = [event]

    def watch(what: str, arguments: tuple[Any, ...]) -> None:
        is_act = what == "open" or what.startswith("os.")
        if is_act and arguments and str(arguments[0]).startswith(str(place)):
            left[0] -= 1
            if not left[0]:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(watch)


def killed_everywhere(folder: Path) -> dict[str, int]:
    """A publisher killed before each thing that it does in the store, and what came of it."""
    gates = [numbered_gate(n) for n in range(3)]
    digests = [gate.digest for gate in gates]
    outcomes = {"old": 0, "new": 0, "events": 0}
    while True:
        outcomes["events"] += 1
        place = folder / f"store-{outcomes['events']}"
        store = cg.GateStore(place)
        store.publish(gates[0])
        live = store.live(check_every=AT_ONCE)

        def work(store: cg.GateStore = store, place: Path = place) -> None:
            die_at(outcomes["events"], place)
            store.publish(gates[1])

        end = end_of(fork(work))
        digest = store.current().digest
        assert seen(live) == digest
        assert digest in digests[:2], place
        outcomes["old" if digest == digests[0] else "new"] += 1
        store.publish(gates[2])
        assert seen(live) == digests[2]
        published = 2 if digest == digests[0] else 3
        names = {path.name for path in place.iterdir()}
        assert len(gate_files(place)) == published, names
        assert names == {POINTER, "_consentgate", *gate_files(place)}
        if end == 0:
            return outcomes
        assert end == -signal.SIGKILL


def test_a_publisher_killed_at_any_step_leaves_the_old_gate_or_the_new(tmp_path: Path) -> None:
    code = "import sys, json; from tests.publishing.test_store import *; "
    code += "print(json.dumps(killed_everywhere(Path(sys.argv[1]))))"
    command = [sys.executable, "-c", code, str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    outcomes = json.loads(done.stdout)
    assert outcomes["old"] >= 10
    assert outcomes["new"] >= 2


def test_a_publisher_killed_while_it_writes_leaves_the_old_gate(place: Path) -> None:
    store, gate = cg.GateStore(place), numbered_gate(1)
    before = all_files(place)

    def work(limit: int) -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
        store.publish(gate)

    size = (place / gate_files(place)[0]).stat().st_size
    for limit in (1, 100, 4096, 5000, size - 1):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # as above, of forking with threads
            process = fork(partial(work, limit))
        assert end_of(process) == -signal.SIGXFSZ
        assert store.current().digest == numbered_gate(0).digest
        (left,) = all_files(place) - before
        assert (place / left).stat().st_size <= limit
    store.publish(gate)
    assert len(all_files(place) - before) == 1


def test_a_full_disk_leaves_the_old_gate(small_disk: Path) -> None:
    store = cg.GateStore(small_disk / "gates")
    old = store.publish(numbered_gate(0))
    live = store.live(check_every=AT_ONCE)
    while True:
        try:
            old = store.publish(numbered_gate(0))
        except cg.OutputError as error:
            assert "No space left on device" in str(error)
            break
    assert seen(live) == old.digest == store.current().digest
    names = gate_files(small_disk / "gates")
    assert names[-1] == old.name
    assert {path.name for path in (small_disk / "gates").iterdir()} == {
        POINTER, "_consentgate", *names,
    }  # fmt: skip
    subprocess.run(["mount", "-o", "remount,size=5M", str(small_disk)], check=True)
    assert store.publish(numbered_gate(1)).digest == seen(live)


def test_reading_takes_no_right_to_write(place: Path) -> None:
    for folder in (place, *place.parents[:3]):
        folder.chmod(0o755)
    code = f"live = cg.GateStore({str(place)!r}).live()\nprint(live.current().digest)"
    done = as_nobody(code)
    assert done.stdout.strip() == pointer(place)["digest"], done.stderr
    (place / POINTER).chmod(0)
    done = as_nobody(code)
    (place / POINTER).chmod(0o644)
    assert "UnreadableFileError: File" in done.stderr
    assert "current.json' cannot be read: Permission denied" in done.stderr


@pytest.mark.parametrize("act", ["publish(gate)", "prune(keep=1)"])
def test_a_store_that_may_not_be_written_to_is_named(act: str, place: Path) -> None:
    for folder in (place, *place.parents[:3]):
        folder.chmod(0o755)
    before = all_files(place)
    code = f"""
import datetime, tests.build as b
now = datetime.datetime.now(datetime.UTC)
consent = cg.ConsentSnapshot.from_arrow(b.consent_table(), as_of=now)
gate = cg.Gate(cg.Policy(), consent, cg.ChannelRegistry.from_arrow(b.channel_table(), as_of=now))
cg.GateStore({str(place)!r}).{act}"""
    done = as_nobody(code)
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("consentgate.errors.OutputError"), done.stderr
    assert str(place) in last
    assert "Permission denied" in last
    assert all_files(place) == before
