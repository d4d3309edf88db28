"""The index and its hashes: it finds what it holds, and nothing else."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any
from uuid import UUID

import numpy as np
import pyarrow as pa
import pytest

import consentgate.arrow.threads as threads_module
from consentgate.arrow.threads import BLOCK_ROWS
from consentgate.errors import ColumnTypeError
from consentgate.index.fingerprints import StringHasher, mix
from consentgate.index.ids import (
    IdFamily,
    Ids,
    Integers,
    Strings,
    Uuids,
    id_family,
    read_ids,
    rows_with,
)
from consentgate.index.index import IdHasher, Index, Keys, count_repeats
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
    found: list[int] = index.find(read_ids(ids), valid).facts.tolist()
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
@pytest.mark.parametrize("valid", [None, np.array([True, False, True])])
def test_what_is_found_can_be_taken_row_by_row(make: Callable[[int, int], Any], valid: Any) -> None:
    found = build(make(0, 2)).find(read_ids(make(0, 3)), valid)
    taken = found.take(np.array([2, 0, 0, 1]))
    assert taken.facts.tolist() == [0, 1, 1, 2 if valid is None else 0]
    assert taken.slots.tolist() == [int(found.slots[row]) for row in (2, 0, 0, 1)]
    assert (taken.valid is None) == (valid is None)
    assert valid is None or taken.valid is None or taken.valid.tolist() == [True, True, True, False]


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
    monkeypatch.setattr("consentgate.index.index.secrets.token_bytes", lambda _: next(secrets))
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
    arrays: list[Any] = [index.slots.pilots, index.entries, *laid]
    assert 16 < sum(array.nbytes for array in arrays) / 50_000 <= most


@FAMILIES
@pytest.mark.parametrize("count", [0, 1, 5, 1000])
def test_no_entry_lies_across_two_lines_of_the_cache(
    make: Callable[[int, int], Any], count: int
) -> None:
    entries = build(make(0, count)).entries
    assert entries.ctypes.data % 64 == 0
    assert 64 % entries[:1].nbytes == 0
    assert entries.flags.c_contiguous


@FAMILIES
@pytest.mark.parametrize("column", ["pilots", 0, 1, -1])
def test_zeroed_memory_gives_nobody_the_word_of_another(
    make: Callable[[int, int], Any], column: str | int
) -> None:
    index = build(make(0, 1000))
    if isinstance(column, str):
        index.slots.pilots[:] = 0
    else:
        index.entries[:, column] = 0
    found = words(index, make(0, 2000))
    right = numbers(1000) + [0] * 1000
    assert all(word in (0, wanted) for word, wanted in zip(found, right, strict=True))


# --- ids in Arrow's layouts -----------------------------------------------------------------


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string()])
@pytest.mark.parametrize("offsets", [None, b"", bytes(8)])
def test_no_strings_need_no_offsets(kind: Any, offsets: bytes | None) -> None:
    """An array without entries may have an offsets buffer of no bytes, or none at all."""
    buffers = [None, None if offsets is None else pa.py_buffer(offsets), pa.py_buffer(b"")]
    array = pa.Array.from_buffers(kind, 0, buffers)
    assert len(read_ids(array)) == 0
    assert words(build(texts(0, 3)), array) == []
    assert len(IdHasher().all_keys(read_ids(array)).hashes) == 0


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.string_view()])
@pytest.mark.parametrize("start", [0, 1, 5])
def test_slices_of_strings_are_read_where_they_lie(kind: Any, start: int) -> None:
    ids = pa.array([None, "a", "", "bc", None, "d"], kind).slice(start)
    read = read_ids(ids)
    assert isinstance(read, Strings)
    data, offsets = read.data.tobytes(), read.offsets.tolist()
    found = [data[first:end].decode() for first, end in pairwise(offsets)]
    assert found == [text or "" for text in ids.to_pylist()]
    assert len(read[1:]) == len(ids) - 1


@pytest.mark.parametrize("bits", [8, 16, 32, 64])
@pytest.mark.parametrize("is_signed", [True, False])
def test_integers_of_every_width_are_read_to_their_ends(bits: int, is_signed: bool) -> None:
    kind = pa.type_for_alias(f"{'' if is_signed else 'u'}int{bits}")
    lowest, highest = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if is_signed else (0, 2**bits - 1)
    numbers = [lowest, lowest + 1, 0, 1, highest - 1, highest]
    read = read_ids(pa.array([7, *numbers], kind).slice(1))
    assert isinstance(read, Integers)
    assert read.is_signed == is_signed
    assert read.values.tolist() == [number % 2**64 for number in numbers]
    assert read[2:4].values.tolist() == [0, 1]
    assert read[2:4].is_signed == is_signed


@pytest.mark.parametrize("kind", [pa.uuid(), pa.binary(16)])
def test_uuids_are_read_as_their_bytes(kind: Any) -> None:
    octets = [bytes(range(n, n + 16)) for n in range(5)]
    ids = pa.array(octets, pa.binary(16))
    ids = pa.ExtensionArray.from_storage(kind, ids) if kind == pa.uuid() else ids
    read = read_ids(ids.slice(2))
    assert isinstance(read, Uuids)
    assert read.values.tobytes() == b"".join(octets[2:])
    assert read[1:2].values.tobytes() == octets[3]
    assert (len(read), len(read[1:2])) == (3, 1)


ID_TYPES: list[tuple[Any, IdFamily | None]] = [
    (pa.int8(), IdFamily.INTEGER),
    (pa.uint64(), IdFamily.INTEGER),
    (pa.string(), IdFamily.STRING),
    (pa.large_string(), IdFamily.STRING),
    (pa.string_view(), IdFamily.STRING),
    (pa.uuid(), IdFamily.UUID),
    (pa.binary(16), IdFamily.UUID),
    (pa.binary(15), None),
    (pa.binary(), None),
    (pa.bool_(), None),
    (pa.float64(), None),
    (pa.null(), None),
    (pa.list_(pa.int8()), None),
    (pa.timestamp("us"), None),
]


@pytest.mark.parametrize(("kind", "family"), ID_TYPES)
def test_ids_are_of_three_families(kind: Any, family: IdFamily | None) -> None:
    assert id_family(kind) is family
    if not pa.types.is_nested(kind):
        assert id_family(pa.dictionary(pa.int8(), kind)) is family
    if family is None:
        with pytest.raises(ColumnTypeError, match="is not a type of ids"):
            read_ids(pa.nulls(1, kind))


@pytest.mark.parametrize(
    ("ids", "value", "rows"),
    [
        (pa.array([1, None, 2, 1], pa.int8()), 1, [0, 3]),
        (pa.array([1, None], pa.int8()), 1000, []),
        (pa.array([1, None], pa.int8()), "1", []),
        (pa.array([1, None], pa.uint64()), -1, []),
        (pa.array(["a", None, "b", "a"]), "a", [0, 3]),
        (pa.array(["a", None], pa.string_view()), "a", [0]),
        (pa.array(["a", None]).dictionary_encode(), "a", [0]),
        (pa.array(["b", "a", None], pa.string_view()).dictionary_encode(), "a", [1]),
        (pa.array([5, 7, None], pa.uint8()).dictionary_encode(), 7, [1]),
        (pa.array([bytes(16), None], pa.binary(16)).dictionary_encode(), UUID(int=0), [0]),
        (pa.array(["1", None]), 1, []),
        (pa.array([bytes(16), None], pa.binary(16)), UUID(int=0), [0]),
        (pa.array([bytes(16), None], pa.uuid()), UUID(int=0), [0]),
        (pa.array([bytes(16), None], pa.uuid()), bytes(16), [0]),
        (pa.array([bytes(16), None], pa.uuid()), UUID(int=1), []),
        (pa.chunked_array([["a"], ["b", "a"]]), "a", [0, 2]),
    ],
)
def test_rows_with_an_id_are_found(ids: Any, value: Any, rows: list[int]) -> None:
    assert rows_with(ids, value) == rows


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
    monkeypatch.setattr("consentgate.index.index.mix", lambda words, _: np.zeros_like(words))
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


def mixed(word: int, multiplier: int) -> int:
    """One word as `mix` mixes it."""
    word = word * multiplier % 2**64
    return (word ^ word >> 32) * 0x9E37_79B9_7F4A_7C15 % 2**64


def plain_fingerprint(word: bytes, seed: bytes) -> tuple[int, int]:
    """The fingerprint of one string as `StringHasher` describes it, in Python's integers.

    Saved gates hold fingerprints, so these must stay what they are: see `_sections.VERSION`.
    """
    sections = range(max(1, -(-len(word) // 56)))
    stream = hashlib.shake_256(b"consentgate string keys" + seed).digest(512 * len(sections))
    keys = np.frombuffer(stream, "<u4").reshape(len(sections), 32, 4).tolist()
    sums = [0, 0, 0, 0]
    for section in sections:
        octets = word[56 * section :][:56].ljust(56, b"\0")
        octets += (len(word) - 56 * section + 1).to_bytes(8, "little")
        for number, of_place in zip(np.frombuffer(octets, "<u2"), keys[section], strict=True):
            sums = [total + int(number) * key for total, key in zip(sums, of_place, strict=True)]
    stream = hashlib.shake_256(b"consentgate string lanes" + seed).digest(32)
    odd = [int(number) | 1 for number in np.frombuffer(stream, "<u8")]
    one, other = ((mixed(sums[n], odd[n]) + sums[n + 1] * odd[n + 1]) % 2**64 for n in (0, 2))
    return one, other


AROUND = (-8, -7, -1, 0, 1, 7, 8)
SECTION_ENDS = [*range(10), *(56 * n + more for n in range(1, 5) for more in AROUND)]


@pytest.mark.parametrize("seed", [ZERO_SEED, bytes(range(16))])
def test_fingerprints_are_what_saved_gates_hold(seed: bytes) -> None:
    rng = np.random.default_rng(1)
    words = [rng.bytes(length) for length in [*SECTION_ENDS, 7000]]
    expected = [plain_fingerprint(word, seed) for word in words]
    assert fingerprints(words, seed) == expected
    assert [fingerprints([word], seed)[0] for word in words] == expected


def test_extreme_bytes_and_lengths_are_added_up_exactly() -> None:
    words = [b"\xff" * length for length in (55, 56, 57, 111, 112, 113, 65_535, 65_536)]
    assert fingerprints(words) == [plain_fingerprint(word, ZERO_SEED) for word in words]


@pytest.mark.parametrize("length", [n for n in SECTION_ENDS if n])
def test_a_byte_at_a_sections_end_makes_another_fingerprint(length: int) -> None:
    word = b"x" * length
    places = {p for s in range(0, length + 1, 56) for p in (s - 1, s, s + 1) if 0 <= p < length}
    others = [word[:p] + b"y" + word[p + 1 :] for p in sorted(places | {length - 1})]
    others += [word + b"\0", word + b"x", word[:-1], word[:-1] + b"\0"]
    for lane in zip(*fingerprints([word, *others]), strict=True):
        assert len(set(lane)) == 1 + len(others)


def test_string_ids_of_whole_sections_are_told_apart_by_the_index() -> None:
    ids = ["x" * length + end for length in (55, 56, 111, 112, 167) for end in ("a", "b")]
    others = [text[:-1] + "c" for text in ids]
    for batch in ([*ids, *others], [*ids[:2], *others[:2]], ids[2:4], [others[5]]):
        expected = [ids.index(text) + 1 if text in ids else 0 for text in batch]
        assert words(build(pa.array(ids)), pa.array(batch)) == expected


def test_keys_of_integers_and_uuids_are_what_saved_gates_hold() -> None:
    odd = int.from_bytes(bytes(range(1, 9)), "little") | 1
    hasher = IdHasher(bytes(range(1, 17)))
    numbers = [0, 1, 2**32, 2**63, 2**64 - 1]
    keys = hasher.keys(read_ids(pa.array(numbers, pa.uint64())))
    assert [lane.tolist() for lane in keys.lanes] == [numbers]
    assert keys.hashes.tolist() == [mixed(number, odd) for number in numbers]
    pairs = [(0, 0), (0, 1), (1, 0), (2**64 - 1, 2**64 - 1), (2**63, 5)]
    octets = [a.to_bytes(8, "little") + b.to_bytes(8, "little") for a, b in pairs]
    keys = hasher.keys(read_ids(pa.array(octets, pa.uuid())))
    assert list(zip(*(lane.tolist() for lane in keys.lanes), strict=True)) == pairs
    assert keys.hashes.tolist() == [
        mixed((mixed(first, odd) + second) % 2**64, odd) for first, second in pairs
    ]


def test_even_secrets_are_made_odd() -> None:
    even, odd = bytes([2]) + bytes(15), bytes([3]) + bytes(15)
    ids = read_ids(pa.array([1, 2, 3]))
    np.testing.assert_array_equal(IdHasher(even).keys(ids).hashes, IdHasher(odd).keys(ids).hashes)


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
