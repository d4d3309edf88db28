"""Many threads and processes that publish and follow: each sees whole gates, in their order."""

from __future__ import annotations

import gc
import multiprocessing
import os
import threading
import time
import traceback
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import consentgate as cg
from consentgate.publishing.publication import Publication
from tests.processes import HANGING_S
from tests.publishing.numbered import (
    AT_ONCE,
    expected_bits,
    messages,
    numbered_gate,
    pointer,
    renumbered,
    running,
    seen,
    set_pointer,
    withdrawn,
)


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
        deadline, looks = time.monotonic() + HANGING_S, 0
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
        assert [answers.get(timeout=HANGING_S) for _ in readers] == ["ready"] * len(readers)
        publish_all(store, gates[1:])
        ends = [answers.get(timeout=2 * HANGING_S) for _ in readers]
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


def test_threads_share_a_live_gate(place: Path) -> None:
    gates = [numbered_gate(n) for n in range(41)]
    numbers, store = numbers_of(gates), cg.GateStore(place)
    live = store.live(check_every=timedelta(milliseconds=3))

    def follow_here(reader: int) -> int:
        witness, deadline = Witness(numbers), time.monotonic() + HANGING_S
        while witness.seen[-1] < 40 and time.monotonic() < deadline:
            witness.look(live, whole=reader % 2 == 0)
        return len(witness.seen)

    with ThreadPoolExecutor(8) as pool:
        readers = [pool.submit(follow_here, reader) for reader in range(8)]
        publish_all(store, gates[1:])
        assert sum(reader.result(timeout=HANGING_S) for reader in readers) > 16


class Slow(cg.GateStore):
    """A store in which opening the first gate takes its time."""

    has_begun, may_go_on = threading.Event(), threading.Event()

    def _open(self, published: Publication) -> cg.Gate:
        if published.number == 1:
            self.has_begun.set()
            assert self.may_go_on.wait(HANGING_S)
        return super()._open(published)


def test_a_thread_that_opens_slowly_does_not_bring_an_older_gate_back(place: Path) -> None:
    live = cg.LiveGate(Slow(place), check_every=timedelta(hours=1))
    with ThreadPoolExecutor(2) as pool:
        slow = pool.submit(seen, live)
        assert Slow.has_begun.wait(HANGING_S)
        cg.GateStore(place).publish(numbered_gate(1))
        other = pool.submit(seen, live)
        with suppress(TimeoutError):
            other.result(timeout=0.2)
        Slow.may_go_on.set()
        assert slow.result(timeout=HANGING_S) == other.result(timeout=HANGING_S) == seen(live)


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
        assert os.getpid() != parent or released.wait(HANGING_S)
        return newest(last)

    monkeypatch.setattr(store, "_newest", look_slowly)  # whoever waits in there holds the lock
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(seen, live)
        deadline = time.monotonic() + HANGING_S
        while not any(held.locked() for held in live._locks.values()):
            assert time.monotonic() < deadline
            time.sleep(0.01)
        context: Any = multiprocessing.get_context("fork")
        answers = context.Queue()
        child = context.Process(target=look_in_child, args=(live, answers))
        digest = pointer(place)["digest"]
        try:
            with running([child]):
                assert answers.get(timeout=HANGING_S) == digest
        finally:
            released.set()
        assert waiting.result(timeout=HANGING_S) == digest


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
    gc.collect()  # tests before this one may have left objects that hold files
    before = held()
    digests = []
    for number in range(3, 1_003):
        set_pointer(place, renumbered(place, said[number % 2], number))
        digests.append(seen(live))
    assert set(digests) == {said[0]["digest"], said[1]["digest"]}
    assert all(one != other for one, other in pairwise(digests))
    assert held() == before
    assert before[1] >= 1
