"""Leases: one process at a time writes into a folder of an object store."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from types import SimpleNamespace

import pytest

import consentgate as cg
from consentgate.storage import locks
from consentgate.storage.folders import Folder
from consentgate.storage.locks import lock
from tests.processes import HANGING_S
from tests.s3 import Request, Store, fails


def test_never_two_hold_a_destination(store: Store) -> None:
    folder, held, most = Folder.at(store.uri("out")), threading.Semaphore(1), []

    def compete() -> None:
        for _ in range(4):
            with suppress(cg.DestinationBusyError), lock(folder):
                most.append(held.acquire(blocking=False))
                time.sleep(0.01)
                held.release()

    with ThreadPoolExecutor(4) as pool:
        for _ in range(4):
            pool.submit(compete)
    assert all(most)
    with lock(folder) as check:
        check()


def test_a_lease_is_renewed(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locks, "LEASE_S", 2.0)
    with lock(Folder.at(store.uri("out"))) as check:
        (key,) = store.objects("out")
        store.age(f"out/{key}", 1_000)
        old = store.stored(f"out/{key}").last_modified
        wait_until(lambda: store.stored(f"out/{key}").last_modified > old)
        check()


def wait_until(is_so: Callable[[], bool]) -> None:
    """Nothing, once something is so."""
    deadline = time.monotonic() + HANGING_S
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_lease_that_was_taken_away_is_lost(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locks, "LEASE_S", 2.0)
    with lock(Folder.at(store.uri("out"))) as check:
        (key,) = store.objects("out")
        store.ask("DELETE", f"out/{key}")
        with fails(cg.DestinationBusyError, "The lease on .* was lost, so another run may"):
            check()
        time.sleep(0.6)  # it is not written again, either
        assert store.objects("out") == {}
        with fails(cg.DestinationBusyError, "was lost"):
            check()


def test_a_lease_that_is_not_renewed_in_time_is_lost(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    slept = 0.0
    clock = SimpleNamespace(monotonic=lambda: time.monotonic() + slept)
    monkeypatch.setattr(locks, "time", clock)
    with lock(Folder.at(store.uri("out"))) as check:
        slept = locks.LEASE_S / 2
        check()
        slept = locks.LEASE_S * 0.8
        with fails(cg.DestinationBusyError, "was lost"):
            check()
        slept = 0.0
        with fails(cg.DestinationBusyError, "was lost"):
            check()


def test_a_renewal_that_fails_is_tried_again(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locks, "LEASE_S", 3.0)
    refused: list[Request] = []

    def refuse(request: Request) -> int | None:
        if len(refused) < 1 and request.method == "POST":
            refused.append(request)
            return 403
        return None

    with lock(Folder.at(store.uri("out"))) as check:
        (key,) = store.objects("out")
        store.age(f"out/{key}", 1_000)
        old = store.stored(f"out/{key}").last_modified
        store.server.before = refuse
        wait_until(lambda: store.stored(f"out/{key}").last_modified > old)
        check()
    assert len(refused) == 1
