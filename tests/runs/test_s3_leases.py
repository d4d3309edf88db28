"""Runs on S3, and the leases on their destinations."""

from __future__ import annotations

from contextlib import suppress

import pytest

import consentgate as cg
from consentgate.storage import locks
from consentgate.storage.folders import Folder
from consentgate.storage.locks import lock
from tests.build import make_gate
from tests.runs.s3_data import FILES, MANIFEST, STATE
from tests.s3 import LEASES, Request, Store, fails


def test_a_destination_that_is_held_is_left_alone(store: Store) -> None:
    store.put(FILES, "in")
    with lock(Folder.at(store.uri("out"))) as check:
        store.server.seen.clear()
        with fails(
            cg.DestinationBusyError, f"Another run is writing into 's3://{store.bucket}/out'"
        ):
            cg.run(make_gate(), store.uri("in"), store.uri("out"))
        assert store.written() == set()
        check()
        assert len(store.objects("out")) == 1
    cg.run(make_gate(), store.uri("in"), store.uri("out"))


@pytest.mark.parametrize("ends", ["well", "badly"])
def test_no_lease_is_left_after_a_run(store: Store, ends: str) -> None:
    store.put(FILES if ends == "well" else {**FILES, "d.parquet": b"PAR1"}, "in")
    with suppress(cg.RunIncompleteError):
        cg.run(make_gate(), store.uri("in"), store.uri("out"))
    objects = store.objects("out")
    assert (MANIFEST in objects) == (ends == "well")
    assert not [name for name in objects if name.startswith(LEASES)]


def test_a_lease_that_ran_out_is_taken_away(store: Store) -> None:
    store.put(FILES, "in")
    store.put({"dead": b""}, f"out/{LEASES[:-1]}")
    store.age(f"out/{LEASES}dead", locks.LEASE_S - 5)
    with fails(cg.DestinationBusyError, "where it was killed, for 60 seconds"):
        cg.run(make_gate(), store.uri("in"), store.uri("out"))
    store.age(f"out/{LEASES}dead", 10)
    cg.run(make_gate(), store.uri("in"), store.uri("out"))
    assert not [name for name in store.objects("out") if name.startswith(LEASES)]


def test_a_run_that_loses_its_lease_publishes_nothing_more(store: Store) -> None:
    store.put(FILES, "in")

    def lose(progress: cg.Progress) -> None:
        if progress.rows_done and not lost:
            lost.extend(name for name in store.objects("out") if name.startswith(LEASES))
            store.ask("DELETE", f"out/{lost[0]}")

    lost: list[str] = []
    with fails(cg.DestinationBusyError, "was lost"):
        cg.run(make_gate(), store.uri("in"), store.uri("out"), threads=1, on_progress=lose)
    assert store.objects("out").keys() == {STATE}


def test_a_store_that_does_not_list_what_was_written_is_no_destination(store: Store) -> None:
    store.put(FILES, "in")

    def hide(request: Request) -> None:
        if "list-type" in request.query and "leases" in request.query:
            for name in store.objects("out"):
                store.ask("DELETE", f"out/{name}")

    store.server.before = hide
    with fails(cg.OutputError, "is not listed there at once"):
        cg.run(make_gate(), store.uri("in"), store.uri("out"))
