"""The perfect hash: a slot for each, and never an endless search for one."""

import numpy as np
import pytest

import consentgate._perfect_hash as module
from consentgate._arrow import Uint64s
from consentgate._perfect_hash import NoPilotError, PerfectHash


def hashes(count: int, seed: int = 1) -> Uint64s:
    return np.random.default_rng(seed).integers(0, 2**64, count, dtype=np.uint64)


def check(wanted: Uint64s) -> PerfectHash:
    """A perfect hash, once it is known to be perfect."""
    found = PerfectHash.build(wanted)
    slots = found.find(wanted)
    assert len(np.unique(slots)) == len(wanted)
    others = found.find(hashes(1000, seed=2))
    assert min(slots.min(initial=0), others.min()) >= 0
    assert max(slots.max(initial=0), others.max()) < found.slots
    return found


@pytest.mark.parametrize("count", [0, 1, 2, 3, 4, 5, 7, 8, 9, 100, 4095, 4096, 4097, 70_000])
def test_every_hash_has_a_slot_of_its_own(count: int) -> None:
    check(hashes(count))


@pytest.mark.parametrize("count", [63, 64, 65, 127, 128, 129, 1000, 4096])
@pytest.mark.parametrize("seed", range(5))
def test_parts_do_not_get_into_each_others_way(
    count: int, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_PART_HASHES", 64)
    check(hashes(count, seed))


def test_a_hash_of_many_parts_takes_little_more_memory_than_its_load_says() -> None:
    found = check(hashes(600_000))
    assert found.slots <= 600_000 / 0.75 * 1.01
    assert len(found.pilots) <= 600_000


@pytest.mark.parametrize("few", [0, 10**9])
def test_any_number_of_pilots_tried_at_once_keeps_hashes_apart(
    few: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_FEW", few)
    check(hashes(20_000))


@pytest.mark.parametrize("bits", [0, 63])
def test_hashes_that_differ_in_one_bit_are_kept_apart(bits: int) -> None:
    one = hashes(2000)
    check(np.concatenate([one, one ^ np.uint64(1 << bits)]))


@pytest.mark.parametrize("count", [2, 3, 1000])
def test_equal_hashes_have_no_pilot(count: int) -> None:
    wanted = hashes(count)
    wanted[-1] = wanted[0]
    with pytest.raises(NoPilotError):
        PerfectHash.build(wanted)


def test_buckets_that_are_much_too_full_have_no_pilot() -> None:
    with pytest.raises(NoPilotError):
        PerfectHash.build(hashes(1000) >> np.uint64(32))


@pytest.mark.parametrize("value", [0, 255])
def test_damaged_pilots_lead_to_slots_that_are_there(value: int) -> None:
    wanted = hashes(5000)
    found = PerfectHash.build(wanted)
    found.pilots[:] = value
    slots = found.find(wanted)
    assert 0 <= slots.min() <= slots.max() < found.slots
