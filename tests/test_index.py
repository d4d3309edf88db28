"""The index and its hashes: it finds what it holds, and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

import consentgate._threads as threads_module
from consentgate._ids import Ids, read_ids
from consentgate._threads import BLOCK_ROWS
from consentgate.hashing import StringHasher, mix
from consentgate.index import IdHasher, Index, Keys, count_repeats
from tests.build import make_channels, make_consent, make_gate, message_table

ZERO_SEED = bytes(16)


def integers(start: int, stop: int) -> Any:
    return pa.array(range(start, stop), pa.int64())


def texts(start: int, stop: int) -> Any:
    return pa.array([f"person {n}" * (n % 4) + str(n) for n in range(start, stop)], pa.string())


def uuids(start: int, stop: int) -> Any:
    return pa.array([n.to_bytes(8, "big") + bytes(7) + b"x" for n in range(start, stop)], pa.uuid())


def low_uuids(start: int, stop: int) -> Any:
    return pa.array([bytes(8) + n.to_bytes(8, "little") for n in range(start, stop)], pa.uuid())


FAMILIES = pytest.mark.parametrize("make", [integers, texts, uuids, low_uuids])


def build(ids: Any, beside: Sequence[Any] = ()) -> Index:
    """An index in which the word of each id is its place, counted from one."""
    return Index.build(read_ids(ids), np.arange(1, len(ids) + 1, dtype=np.uint64), beside)[0]


def words(index: Index, ids: Any, valid: Any = None) -> list[int]:
    found: list[int] = index.find(read_ids(ids), valid).words.tolist()
    return found


def numbers(count: int) -> list[int]:
    return list(range(1, count + 1))


@FAMILIES
@pytest.mark.parametrize("count", [1, 2, 3, 1000, BLOCK_ROWS + 1000])
def test_an_index_finds_what_it_holds_and_nothing_else(
    make: Callable[[int, int], Any], count: int
) -> None:
    index = build(make(0, count))
    assert words(index, make(0, count)) == numbers(count)
    assert not any(words(index, make(count, 2 * count + 5)))


@FAMILIES
def test_an_index_of_nobody_finds_nobody(make: Callable[[int, int], Any]) -> None:
    assert not any(words(build(make(0, 0)), make(0, 100)))


@FAMILIES
def test_a_null_has_no_word(make: Callable[[int, int], Any]) -> None:
    valid = np.array([True, False, True, False])
    assert words(build(make(0, 3)), make(0, 4), valid) == [1, 0, 3, 0]


@FAMILIES
def test_columns_beside_lie_where_the_words_do(make: Callable[[int, int], Any]) -> None:
    beside: list[Any] = [
        np.arange(1, 5001, dtype=np.uint32),
        np.arange(5000, 0, -1, dtype=np.uint64),
    ]
    ids = make(0, 5000)
    index, laid = Index.build(read_ids(ids), np.ones(5000, np.uint64), beside)
    slots = index.find(read_ids(ids)).slots
    for column, source in zip(laid, beside, strict=True):
        np.testing.assert_array_equal(column[slots], source)
        assert column.dtype == source.dtype
        assert np.count_nonzero(column) == 5000


@FAMILIES
def test_two_indexes_give_the_same_answers_under_secrets_of_their_own(
    make: Callable[[int, int], Any],
) -> None:
    one, other = build(make(0, 300)), build(make(0, 300))
    assert one.seed != other.seed
    assert words(one, make(0, 600)) == words(other, make(0, 600)) == numbers(300) + [0] * 300


@FAMILIES
def test_hashes_that_collide_under_one_secret_are_kept_apart_by_another(
    make: Callable[[int, int], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    secrets = iter([ZERO_SEED, ZERO_SEED, b"\1" * 16])
    monkeypatch.setattr("consentgate.index.secrets.token_bytes", lambda _: next(secrets))
    original = IdHasher.keys

    def keys(self: IdHasher, ids: Ids) -> Keys:
        found = original(self, ids)
        return found._replace(hashes=found.hashes * np.uint64(self.seed != ZERO_SEED))

    monkeypatch.setattr(IdHasher, "keys", keys)
    index = build(make(0, 100))
    assert index.seed == b"\1" * 16
    assert words(index, make(0, 200)) == numbers(100) + [0] * 100


@FAMILIES
def test_an_id_that_is_there_twice_is_refused(make: Callable[[int, int], Any]) -> None:
    with pytest.raises(ValueError, match="not all different"):
        build(pa.chunked_array([make(0, 100), make(99, 100)]).combine_chunks())


@pytest.mark.parametrize(("make", "lost"), [(texts, 0), (texts, 1), (low_uuids, 0)])
def test_uuids_and_strings_that_agree_in_one_lane_are_told_apart(
    make: Callable[[int, int], Any], lost: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As if half of every fingerprint were lost."""
    original = IdHasher.keys

    def keys(self: IdHasher, ids: Ids) -> Keys:
        found = original(self, ids)
        lanes = list(found.lanes)
        lanes[lost] = lanes[lost] & np.uint64(3)
        return found._replace(lanes=tuple(lanes))

    monkeypatch.setattr(IdHasher, "keys", keys)
    index = build(make(0, 100))
    assert words(index, make(0, 100)) == numbers(100)
    assert not any(words(index, make(100, 400)))


def test_the_key_of_an_empty_slot_is_nobody() -> None:
    index = build(integers(1, 1000))
    assert (index.entries[:, 0] == 0).any()
    assert words(index, pa.array([0] * 10)) == [0] * 10


def test_signs_are_told_apart() -> None:
    signed = build(pa.array([-1, 5], pa.int64()))
    unsigned = build(pa.array([2**64 - 1, 2**63, 5], pa.uint64()))
    assert words(signed, pa.array([5, 2**64 - 1], pa.uint64())) == [2, 0]
    assert words(unsigned, pa.array([5, -1, -(2**63)], pa.int64())) == [3, 0, 0]


@pytest.mark.parametrize(
    ("make", "beside", "most"),
    [(integers, 0, 23), (integers, 2, 34), (texts, 2, 56), (uuids, 0, 45)],
)
def test_an_id_takes_so_many_bytes_at_most(
    make: Callable[[int, int], Any], beside: int, most: int
) -> None:
    columns = [np.zeros(50_000, np.uint32)] * beside
    index, laid = Index.build(read_ids(make(0, 50_000)), np.zeros(50_000, np.uint64), columns)
    arrays: list[Any] = [index.places.pilots, index.entries, *laid]
    assert 16 < sum(array.nbytes for array in arrays) / 50_000 <= most


@FAMILIES
@pytest.mark.parametrize("column", ["pilots", 0, 1, -1])
def test_zeroed_memory_gives_nobody_the_word_of_another(
    make: Callable[[int, int], Any], column: str | int
) -> None:
    index = build(make(0, 1000))
    if isinstance(column, str):
        index.places.pilots[:] = 0
    else:
        index.entries[:, column] = 0
    found = words(index, make(0, 2000))
    right = numbers(1000) + [0] * 1000
    assert all(word in (0, wanted) for word, wanted in zip(found, right, strict=True))


# --- repeats --------------------------------------------------------------------------------


def lanes(*columns: list[int]) -> tuple[Any, ...]:
    return tuple(np.array(column, np.uint64) for column in columns)


REPEATS: list[Any] = [
    (lanes([]), 0),
    (lanes([1]), 0),
    (lanes([1, 2, 3]), 0),
    (lanes([1, 2, 1]), 1),
    (lanes([1, 1, 1, 2, 2]), 3),
    (lanes([1, 1, 2], [1, 2, 1]), 0),
    (lanes([1, 1, 2, 1], [1, 2, 1, 2]), 1),
    (lanes([1, 2, 1, 2, 1], [0, 0, 0, 0, 1]), 2),
    (lanes([1, 1, 1], [2, 2, 2], [3, 4, 3]), 1),
    (lanes([1, 2], [2, 1]), 0),
]


@pytest.mark.parametrize(("keys", "expected"), REPEATS)
def test_repeats_are_counted(keys: tuple[Any, ...], expected: int) -> None:
    assert count_repeats(keys) == expected


@pytest.mark.parametrize(("keys", "expected"), REPEATS)
def test_repeats_are_counted_where_all_hashes_are_equal(
    keys: tuple[Any, ...], expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("consentgate.index.mix", lambda words, _: np.zeros_like(words))
    assert count_repeats(keys) == expected


def test_many_repeats_are_counted_exactly() -> None:
    rng = np.random.default_rng(1)
    first, second = rng.integers(0, 60, (2, 5000)).astype(np.uint64)
    distinct = len(set(zip(first.tolist(), second.tolist(), strict=True)))
    assert count_repeats((first, second)) == 5000 - distinct


# --- hashes ---------------------------------------------------------------------------------


def fingerprints(words: list[bytes], seed: bytes = ZERO_SEED) -> list[tuple[int, int]]:
    data = np.frombuffer(b"".join(words), np.uint8)
    offsets = np.cumsum([0, *(len(word) for word in words)])
    one, other = StringHasher(seed).fingerprint(data, offsets)
    return list(zip(one.tolist(), other.tolist(), strict=True))


WORDS = [
    b"", b"\0", b"\0\0", b"a", b"a\0", b"\0a", b"ab", b"ba", b"abcdefgh", b"abcdefg", b"abcdefghi",
    b"abcdefgh\0", b"ABCDEFGHabcdefgh", b"abcdefghABCDEFGH", b"\0" * 8, b"\0" * 9, b"\0" * 16,
    b"\0" * 24, b"x" * 10_000, b"x" * 9_999 + b"y", b"y" + b"x" * 9_999, b"x" * 65_536,
    b"x" * 65_535, b"x" * 65_535 + b"y", "ä".encode(), "a\u0308".encode(), b"\xff" * 8, b"\xff" * 7,
]  # fmt: skip


def test_different_strings_have_different_fingerprints_in_each_lane() -> None:
    for lane in zip(*fingerprints(WORDS), strict=True):
        assert len(set(lane)) == len(WORDS)


def test_the_two_lanes_are_independent() -> None:
    assert all(one != other for one, other in fingerprints(WORDS))


def test_a_fingerprint_depends_on_the_string_alone() -> None:
    together = fingerprints(WORDS)
    assert together == [fingerprints([word])[0] for word in WORDS]
    assert together == fingerprints([b"xyz", *WORDS, b"x" * 100])[1:-1]
    assert together[::-1] == fingerprints(WORDS[::-1])


def test_another_seed_gives_other_fingerprints() -> None:
    others = fingerprints(WORDS, b"\1" * 16)
    assert not set(fingerprints(WORDS)) & set(others)
    assert others == fingerprints(WORDS, b"\1" * 16)


def test_a_slice_of_an_array_has_the_fingerprints_of_its_strings() -> None:
    words = [f"{n}" * n for n in range(40)]
    for kind in (pa.string(), pa.large_string(), pa.string_view()):
        sliced = IdHasher(ZERO_SEED).keys(read_ids(pa.array(words, kind).slice(7, 9)))
        whole = IdHasher(ZERO_SEED).keys(read_ids(pa.array(words[7:16], kind)))
        np.testing.assert_array_equal(sliced.lanes, whole.lanes)
        np.testing.assert_array_equal(sliced.hashes, whole.hashes)


@FAMILIES
def test_blocks_have_the_keys_of_the_whole(
    make: Callable[[int, int], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = read_ids(make(0, 1000))
    whole = IdHasher(ZERO_SEED).keys(ids)
    for block_rows in (1, 7, 999):
        monkeypatch.setattr(threads_module, "BLOCK_ROWS", block_rows)
        blocks = IdHasher(ZERO_SEED).all_keys(ids)
        np.testing.assert_array_equal(blocks.lanes, whole.lanes)
        np.testing.assert_array_equal(blocks.hashes, whole.hashes)


@FAMILIES
def test_hashes_are_spread_over_all_bits_of_their_upper_half(
    make: Callable[[int, int], Any],
) -> None:
    hashes = IdHasher().keys(read_ids(make(0, 4096))).hashes
    assert len(np.unique(hashes >> np.uint64(32))) > 4000
    counts = np.bincount((hashes >> np.uint64(60)).astype(np.int64), minlength=16)
    assert counts.min() > 100


@pytest.mark.parametrize("seed", [ZERO_SEED, b"\xff" * 16, b"\2" * 16])
def test_different_integers_have_different_hashes_under_any_secret(seed: bytes) -> None:
    words = [n << shift for n in range(1, 100) for shift in (0, 20, 57)]
    hashes = IdHasher(seed).keys(read_ids(pa.array(words, pa.uint64()))).hashes
    assert len(np.unique(hashes)) == len(set(words))


@FAMILIES
def test_another_secret_gives_other_hashes(make: Callable[[int, int], Any]) -> None:
    ids = read_ids(make(1, 1000))
    one, other = IdHasher().keys(ids).hashes, IdHasher().keys(ids).hashes
    assert (one != other).mean() > 0.9


@pytest.mark.parametrize("multiplier", [1, 3, 2**64 - 1, 0x9E37_79B9_7F4A_7C15])
def test_mixing_loses_nothing(multiplier: int) -> None:
    words = np.concatenate([np.arange(5000), np.arange(5000) << 40, [2**62]]).astype(np.uint64)
    words = np.unique(words)
    before = words.copy()
    assert len(np.unique(mix(words, np.uint64(multiplier)))) == len(words)
    np.testing.assert_array_equal(words, before)


# --- torn memory ----------------------------------------------------------------------------


def test_zeroed_memory_admits_nobody() -> None:
    gate = make_gate(make_consent(subject_id=[1, 2, 3]), make_channels(channel_id=[10, 11]))
    table = message_table(sender_id=[1, 2, 3])
    assert gate.decide(table).num_admitted == 3
    entries = gate._judge.consent.index.entries
    kept = entries.copy()
    entries[:, 1] = 0
    assert gate.decide(table).counts == {"no_consent_record": 3}
    entries[:] = kept
    channels = gate._judge.channels
    assert channels is not None
    channels.index.entries[:, 1] = 0
    assert gate.decide(table).counts == {"channel_unknown": 3}
