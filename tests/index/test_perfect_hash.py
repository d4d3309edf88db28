"""The perfect hash: a slot for each, and never an endless search for one."""

import numpy as np
import pytest

import consentgate.index.perfect_hash as module
from consentgate.arrow.values import Uint64s
from consentgate.index.perfect_hash import NoPilotError, PerfectHash, _sorted


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


def plain_slot(found: PerfectHash, word: int) -> int:
    """The slot of one hash, in Python's integers: where the entries of saved gates lie."""
    bucket = (word >> 32) * len(found.pilots) >> 32
    place = int(found.pilots[bucket]) * 0x9E37_79B9_7F4A_7C15 % 2**64 ^ word
    place = place * 0xD134_2543_DE82_EF95 % 2**64 >> 32
    return (bucket >> found.bucket_bits) * found.part_slots + (place * found.part_slots >> 32)


@pytest.mark.parametrize("count", [1, 2, 5, 64, 65, 1000])
def test_slots_are_where_saved_gates_have_them(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_PART_HASHES", 64)
    wanted = hashes(count)
    found = check(wanted)
    expected = [plain_slot(found, word) for word in wanted.tolist()]
    assert found.find(wanted).tolist() == expected
    assert found.slots == len(found.pilots) // 2**found.bucket_bits * found.part_slots


def ends_of_ranges(parts: int) -> list[int]:
    """Hashes at both ends of all there are, and on both sides of where parts meet."""
    firsts = [-(-(part << 32) // parts) << 32 for part in range(1, parts)]
    firsts += [(part << 64) // parts for part in range(1, parts)]
    return [0, 1, 2**64 - 2, 2**64 - 1, *(first + step for first in firsts for step in (-1, 0, 1))]


@pytest.mark.parametrize("parts", range(1, 8))
def test_hashes_at_the_ends_of_their_range_have_slots(
    parts: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_PART_HASHES", 100)
    ends = np.unique(np.array(ends_of_ranges(parts), np.uint64))
    check(np.concatenate([ends, hashes(100 * parts - len(ends))]))
    check(np.array([0, 2**64 - 1], np.uint64))


@pytest.mark.parametrize("threads", range(1, 8))
def test_sorting_loses_and_doubles_no_hash(threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "thread_count", lambda: threads)
    monkeypatch.setattr(module, "BLOCK_ROWS", 10)
    ends = np.array(ends_of_ranges(threads), np.uint64)
    for words in (ends, np.concatenate([hashes(500), ends[::-1]]), ends[:10], ends[:2], ends[:0]):
        np.testing.assert_array_equal(_sorted(words), np.sort(words))


@pytest.mark.parametrize("value", [0, 255])
def test_damaged_pilots_lead_to_slots_that_are_there(value: int) -> None:
    wanted = hashes(5000)
    found = PerfectHash.build(wanted)
    found.pilots[:] = value
    slots = found.find(wanted)
    assert 0 <= slots.min() <= slots.max() < found.slots
