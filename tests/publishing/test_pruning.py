"""Pruning: which gates stay in a store."""

from __future__ import annotations

from pathlib import Path

import pytest

import consentgate as cg
from tests.publishing.numbered import (
    POINTER,
    bring_back_pointer,
    gate_files,
    numbered_gate,
    pointer,
    renumbered,
    set_pointer,
)
from tests.run_data import all_files


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
    with pytest.raises(cg.ConfigurationError, match=f"`keep` is {keep}; give 1 or more"):
        cg.GateStore(place).prune(keep=keep)


def test_pruning_goes_by_numbers_of_any_length(place: Path) -> None:
    (first,) = gate_files(place)
    set_pointer(place, renumbered(place, pointer(place), 99_999_998))
    store = cg.GateStore(place)
    names = [store.publish(numbered_gate(n)).name for n in range(1, 5)]
    assert [name[:10] for name in names[:2]] == ["99999999-" + names[0][9], "100000000-"]
    assert {first, *names[:2]} < set(store.prune(keep=2))
    assert set(gate_files(place)) == {*names[2:]}


def test_pruning_leaves_a_newer_gate_than_the_current_one(place: Path) -> None:
    bring_back_pointer(place, [numbered_gate(2)])
    newer = gate_files(place)[-1]
    left = f"00000007{newer[8:]}"
    numbered_gate(0).save(place / left)
    assert cg.GateStore(place).prune(keep=1) == (left,)
    with pytest.raises(cg.StaleSnapshotError, match=newer):
        cg.GateStore(place).publish(numbered_gate(1))
