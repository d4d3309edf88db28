"""Stores that lost their pointer or went back: an older gate is neither taken nor followed."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

import consentgate as cg
from tests.build import channel_table, consent_table
from tests.publishing.numbered import (
    AT_ONCE,
    BASE,
    LOSSES,
    NOW,
    POINTER,
    SUBJECTS,
    flip,
    gate_files,
    messages,
    numbered_gate,
    pointer,
    seen,
    set_pointer,
    withdrawn,
)
from tests.run_data import all_files


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
