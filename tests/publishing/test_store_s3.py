"""Gates that are published to a real S3 server on loopback, and followed from there."""

from __future__ import annotations

import copy
import itertools
import json
import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import consentgate as cg
from consentgate.publishing import gate_cache
from consentgate.storage import locks
from consentgate.storage.folders import Folder
from consentgate.storage.locks import lock
from tests.processes import HANGING_S, ROOT
from tests.publishing.numbered import (
    AT_ONCE,
    BASE,
    POINTER,
    expected_bits,
    messages,
    numbered_gate,
    running,
    seen,
)
from tests.s3 import LEASES, SECRETS, Request, Store, fails, refuse


@pytest.fixture
def gates(store: Store) -> cg.GateStore:
    """A store with one gate."""
    gates = cg.GateStore(store.uri("gates"))
    gates.publish(numbered_gate(0))
    store.server.seen.clear()
    return gates


def pointer(store: Store) -> dict[str, Any]:
    """What the pointer says."""
    content: dict[str, Any] = json.loads(store.ask("GET", f"gates/{POINTER}"))
    return content


def cached(store: Store, place: Path) -> cg.GateStore:
    """The store, with a cache."""
    return cg.GateStore(store.uri("gates"), cache=place)


def fetches(store: Store) -> list[str]:
    """The gates that were fetched, by their names."""
    paths = [each.path for each in store.server.seen if each.method == "GET"]
    return [path.rpartition("/")[2] for path in paths if path.endswith(".gate")]


# --- publishing and opening -------------------------------------------------------------------


def test_a_published_gate_is_current(store: Store, tmp_path: Path) -> None:
    gates, gate = cg.GateStore(store.uri("gates")), numbered_gate(0)
    with fails(cg.UnreadableFileError, r"There is no 'current.json' in gate store 's3://"):
        gates.current()
    gate.save(tmp_path / "g")
    before = pickle.dumps(gate)
    published = gates.publish(gate)
    assert pickle.dumps(gate) == before
    assert store.objects("gates").keys() == {POINTER, published.name}
    current = gates.current()
    assert np.array_equal(current.decide(messages()).reason_bits, expected_bits(0))
    assert seen(current) == published.digest == gate.digest
    assert gates.publish(current).number == 2
    with fails(cg.StaleSnapshotError, "older than the current one of 's3://"):
        gates.publish(numbered_gate(0, as_of=BASE - timedelta(seconds=1)))


def test_without_a_cache_the_file_is_gone_once_it_is_mapped(
    gates: cg.GateStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    gate = gates.current()
    assert list(tmp_path.iterdir()) == []
    assert gate.path is None
    for each in (gate, pickle.loads(pickle.dumps(gate)), copy.copy(gate)):
        assert seen(each) == gate.digest
        assert np.array_equal(each.decide(messages()).reason_bits, expected_bits(0))


@pytest.mark.usefixtures("gates")
def test_a_gate_is_fetched_once_for_all_that_share_a_cache(store: Store, tmp_path: Path) -> None:
    with ThreadPoolExecutor(6) as pool:
        opened = list(pool.map(lambda _: cached(store, tmp_path / "c").current(), range(6)))
    assert fetches(store) == [pointer(store)["name"]]
    (path,) = {gate.path for gate in opened}
    assert path is not None
    assert path.parent.parent == tmp_path / "c"
    assert pickle.loads(pickle.dumps(opened[0])).path == path
    assert np.array_equal(opened[0].decide(messages()).reason_bits, expected_bits(0))


def follow(live: cg.LiveGate, answers: Any, questions: Any) -> None:
    """What a worker's process does: it says what it sees whenever it is asked."""
    for _ in range(2):
        questions.get(timeout=HANGING_S)
        try:
            answers.put((seen(live), str(live.current().path)))
        except cg.ConsentGateError as error:
            answers.put((error.code, str(error)))


def test_workers_follow_however_they_were_started(
    gates: cg.GateStore, store: Store, tmp_path: Path
) -> None:
    live = cached(store, tmp_path).live(check_every=AT_ONCE)
    spawned: Any = multiprocessing.get_context("spawn")
    answers, questions = spawned.Queue(), spawned.Queue()
    workers: list[Any] = []
    for method in ("fork", "spawn", "forkserver"):
        context: Any = multiprocessing.get_context(method)
        workers.append(context.Process(target=follow, args=(live, answers, questions)))
    with running(workers):
        for number in range(2):
            if number:
                gates.publish(numbered_gate(number))
            for _ in workers:
                questions.put("what do you see?")
            (answer,) = {answers.get(timeout=HANGING_S) for _ in workers}
            assert answer == (numbered_gate(number).digest, str(live.current().path))
    assert len(fetches(store)) == 2 + 1  # the publisher looked at the head of the one before


def test_a_cache_mends_itself_and_stays_small(
    gates: cg.GateStore, store: Store, tmp_path: Path
) -> None:
    following = cached(store, tmp_path)
    live = following.live(check_every=AT_ONCE)
    path = live.current().path
    assert path is not None
    (path.parent / f".{path.name}.{'0' * 16}").write_bytes(b"left by a fetch that was killed")
    os.truncate(path, 5_000)
    assert following.current().path == path
    assert [each.name for each in path.parent.glob("*gate*")] == [path.name]
    paths = [path]
    for number in range(1, 5):
        gates.publish(numbered_gate(number))
        new = live.current().path
        assert new is not None
        paths.append(new)
    assert set(path.parent.glob("*gate*")) == set(paths[-3:])
    assert len(fetches(store)) == 6 + 4  # the publisher looked at the heads of those before


def test_a_cache_that_cannot_be_written_to_is_named(
    gates: cg.GateStore, store: Store, tmp_path: Path
) -> None:
    assert gates.current()
    (tmp_path / "file").write_bytes(b"")
    with fails(cg.OutputError, f"Cache '{tmp_path}/file/.*' cannot be written: Not a directory"):
        cached(store, tmp_path / "file").current()


@pytest.mark.parametrize("has_cache", [False, True])
def test_a_gate_that_was_altered_in_the_store_is_refused(
    gates: cg.GateStore, store: Store, tmp_path: Path, has_cache: bool
) -> None:
    following = cached(store, tmp_path) if has_cache else gates
    name = pointer(store)["name"]
    content = bytearray(store.ask("GET", f"gates/{name}"))
    content[-1] ^= 1  # in what no sample looks at
    store.ask("PUT", f"gates/{name}", bytes(content))
    with fails(cg.DamagedGateError, f"As fetched from 's3://.*{name}': .* checksum of its section"):
        following.current()
    assert not list(tmp_path.rglob("*gate*"))
    numbered_gate(5).save(tmp_path / "other")
    store.ask("PUT", f"gates/{name}", (tmp_path / "other").read_bytes())
    with fails(cg.ReplacedGateError, "As fetched from .* holds another gate"):
        following.current()


def test_old_gates_are_pruned(gates: cg.GateStore, store: Store) -> None:
    names = [gates.publish(numbered_gate(n)).name for n in range(1, 4)]
    left = "00000009-" + names[0][9:]
    store.ask("PUT", f"gates/{left}", b"x")
    assert gates.prune(keep=2)[-1] == left
    assert store.objects("gates").keys() == {POINTER, *names[1:]}
    assert seen(gates.current()) == numbered_gate(3).digest


# --- what changes while it is read ------------------------------------------------------------


@pytest.mark.parametrize("becomes", ["longer", "shorter"])
def test_a_pointer_that_is_replaced_while_it_is_read_is_read_again(
    gates: cg.GateStore, store: Store, becomes: str
) -> None:
    old = store.ask("GET", f"gates/{POINTER}")
    gates.publish(numbered_gate(1))
    said = pointer(store)
    new = json.dumps(said, indent=8 if becomes == "longer" else None).encode()
    assert (len(new) > len(old)) == (becomes == "longer")
    store.ask("PUT", f"gates/{POINTER}", old)
    replaced: list[Request] = []

    def replace(request: Request) -> None:
        if request.method == "GET" and request.path.endswith(POINTER) and not replaced:
            replaced.append(request)
            store.ask("PUT", f"gates/{POINTER}", new)

    store.server.before = replace
    assert gates.current().digest == said["digest"]
    assert replaced


@pytest.mark.parametrize("has_cache", [False, True])
@pytest.mark.parametrize("method", ["HEAD", "GET"])
def test_a_gate_that_is_pruned_before_it_is_fetched_gives_way_to_the_next(
    gates: cg.GateStore, store: Store, tmp_path: Path, method: str, has_cache: bool
) -> None:
    following = cached(store, tmp_path) if has_cache else gates
    name = pointer(store)["name"]
    publisher = cg.GateStore(store.uri("gates"))
    overtaken: list[Request] = []

    def overtake(request: Request) -> None:
        if request.method == method and request.path.endswith(name) and not overtaken:
            overtaken.append(request)
            publisher.publish(numbered_gate(1))
            publisher.prune(keep=1)

    store.server.before = overtake
    assert following.current().digest == numbered_gate(1).digest
    assert overtaken


def test_a_gate_that_is_gone_is_an_error(gates: cg.GateStore, store: Store) -> None:
    live = gates.live(check_every=AT_ONCE)
    store.ask("DELETE", f"gates/{gates.publish(numbered_gate(1)).name}")
    with fails(
        cg.UnreadableFileError, "The current gate of 's3://.*' cannot be opened: .* not the"
    ):
        seen(live)


@pytest.mark.parametrize("path", [POINTER, ".gate"])
def test_a_store_that_cannot_be_read_is_an_error_until_it_can(
    gates: cg.GateStore, store: Store, path: str
) -> None:
    live, new = gates.live(check_every=AT_ONCE), numbered_gate(1)
    gates.publish(new)
    store.server.before = refuse(403, path=path)
    for _ in range(2):
        with fails(cg.UnreadableFileError, f"{path}' cannot be read: .*ACCESS_DENIED|403"):
            seen(live)
    store.server.before = None
    assert seen(live) == new.digest


def test_between_two_checks_nothing_is_asked_of_the_store(
    gates: cg.GateStore, store: Store
) -> None:
    seldom, often = gates.live(check_every=timedelta(hours=1)), gates.live(check_every=AT_ONCE)
    store.server.seen.clear()
    for _ in range(5):
        seen(seldom)
    assert not store.server.seen
    for _ in range(5):
        seen(often)
    assert [each.path.rpartition("/")[2] for each in store.server.seen] == [POINTER] * 10


def test_no_secret_is_told(gates: cg.GateStore) -> None:
    told = repr(gates) + repr(gates.live()) + repr(gates.publish(numbered_gate(1)))
    assert not [secret for secret in SECRETS if secret in told]


# --- forks ------------------------------------------------------------------------------------


def test_a_fork_while_another_thread_asks_the_store_is_an_error_and_no_deadlock(
    gates: cg.GateStore, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gate_cache, "_FORKED_S", 1.0)
    live = gates.live(check_every=AT_ONCE)
    asked, go_on = threading.Event(), threading.Event()

    def wait(_: Request) -> None:
        asked.set()
        go_on.wait(HANGING_S)

    store.server.before = wait
    context: Any = multiprocessing.get_context("fork")
    answers, questions = context.Queue(), context.Queue()
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(seen, live)
        assert asked.wait(HANGING_S)
        with running([context.Process(target=follow, args=(live, answers, questions))]):
            questions.put("what do you see?")
            code, words = answers.get(timeout=HANGING_S)
            store.server.before = None
            go_on.set()
            questions.put("and now?")
            assert answers.get(timeout=HANGING_S)[0] == "unreadable_file"
        assert waiting.result(timeout=HANGING_S) == numbered_gate(0).digest
    assert code == "unreadable_file"
    assert "forked while another thread was using object storage; start worker" in words


# --- what goes wrong while publishing ---------------------------------------------------------


def test_one_publisher_works_at_a_time(gates: cg.GateStore, store: Store) -> None:
    with lock(Folder.at(store.uri("gates")), who="publisher"):
        with fails(cg.DestinationBusyError, "Another publisher is writing into 's3://"):
            gates.publish(numbered_gate(1))
        with fails(cg.DestinationBusyError, "Another publisher is writing into 's3://"):
            gates.prune(keep=1)
    gates.publish(numbered_gate(1))


def test_a_publisher_that_loses_its_lease_leaves_the_old_gate(
    gates: cg.GateStore, store: Store
) -> None:
    def lose(request: Request) -> None:
        if request.path.endswith(".gate") and "uploadId" in request.query:
            for name in store.objects("gates"):
                if name.startswith(LEASES):
                    store.ask("DELETE", f"gates/{name}")

    store.server.before = lose
    with fails(cg.DestinationBusyError, "was lost, so another publisher may have begun there"):
        gates.publish(numbered_gate(1))
    store.server.before = None
    assert seen(gates.current()) == numbered_gate(0).digest
    assert len(store.objects("gates")) == 3
    published = gates.publish(numbered_gate(1))
    assert len(store.objects("gates")) == 3
    assert seen(gates.current()) == published.digest


def test_whichever_write_is_refused_the_old_gate_or_the_new_is_current(
    gates: cg.GateStore, store: Store
) -> None:
    live, digests = gates.live(check_every=AT_ONCE), {numbered_gate(0).digest}
    for chosen in itertools.count():
        writes = itertools.count()

        def refuse_one(request: Request, chosen: int = chosen, writes: Any = writes) -> int | None:
            return 403 if request.is_write and next(writes) == chosen else None

        new = numbered_gate(chosen + 1)
        store.server.before = refuse_one
        with suppress(cg.OutputError):
            gates.publish(new)
        store.server.before = None
        digest = seen(live)
        assert digest in {*digests, new.digest}
        digests = {digest or ""}
        for name in store.objects("gates"):
            if name.startswith(LEASES):
                store.ask("DELETE", f"gates/{name}")
        if next(writes) <= chosen:
            break
    assert chosen > 5
    assert digests == {new.digest}
    gates.prune(keep=1)
    assert len(store.objects("gates")) == 2


PUBLISH = """
import sys
import consentgate as cg
from datetime import datetime
from tests.publishing.numbered import numbered_gate
gate = numbered_gate(1, as_of=datetime.fromisoformat(sys.argv[2]))
print("ready", flush=True)
sys.stdin.readline()
cg.GateStore(sys.argv[1]).publish(gate)
"""


@pytest.mark.parametrize(
    ("name", "query"), [(".gate", "partNumber"), (POINTER, "uploads"), (POINTER, "uploadId")]
)
def test_a_publisher_that_is_killed_leaves_the_old_gate(
    gates: cg.GateStore, store: Store, name: str, query: str
) -> None:
    as_of = BASE + timedelta(milliseconds=1)
    with subprocess.Popen(
        [sys.executable, "-c", PUBLISH, store.uri("gates"), as_of.isoformat()],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    ) as process:
        assert process.stdin is not None and process.stdout is not None
        assert process.stdout.readline() == "ready\n"

        def kill(request: Request) -> int | None:
            if request.path.endswith(name) and query in request.query:
                os.kill(process.pid, signal.SIGKILL)
                return 500
            return None

        store.server.before = kill
        process.stdin.write("go\n")
        process.stdin.flush()
        assert process.wait(timeout=HANGING_S) == -signal.SIGKILL
    store.server.before = None
    assert seen(gates.current()) == numbered_gate(0).digest
    (lease,) = [each for each in store.objects("gates") if each.startswith(LEASES)]
    with fails(cg.DestinationBusyError, "Another publisher .* where it was killed, for 60 seconds"):
        gates.publish(numbered_gate(2))
    store.age(f"gates/{lease}", locks.LEASE_S + 5)
    published = gates.publish(numbered_gate(2))
    assert len(store.objects("gates")) == 3
    assert seen(gates.current()) == published.digest
