"""The current gate: a damaged pointer or file is an error until it is mended."""

from __future__ import annotations

import json
import os
import random
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import consentgate as cg
from consentgate.publishing.publication import Publication
from tests.publishing.numbered import (
    AT_ONCE,
    POINTER,
    expected_bits,
    flip,
    messages,
    numbered_gate,
    pointer,
    seen,
    set_pointer,
)
from tests.run_data import all_files


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


FILE_DAMAGES: dict[str, tuple[Callable[[Path], object], type[cg.FileError], str]] = {
    "altered": (lambda path: flip(path, 100), cg.DamagedGateError, "altered in places"),
    "cut off": (lambda path: os.truncate(path, 5000), cg.DamagedGateError, "bytes long"),
    "newer": (lambda path: flip(path, 9), cg.NewerGateError, r"has version 2\d\d"),
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
