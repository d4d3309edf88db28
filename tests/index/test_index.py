"""The index finds what it holds, and nothing else."""

from __future__ import annotations

import ctypes
import errno
import mmap
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from threading import Barrier, BrokenBarrierError
from typing import Any
from uuid import UUID

import numpy as np
import pyarrow as pa
import pytest

import consentgate.arrow.threads as threads_module
from consentgate.arrow.threads import BLOCK_ROWS
from consentgate.arrow.values import Uint64s
from consentgate.errors import ColumnTypeError
from consentgate.index import IdArray, IdFamily, IdHasher, Index, first_rows, id_family, rows_with
from consentgate.index.secret import Secret
from tests.build import make_channels, make_consent, make_gate, message_table
from tests.index.lookups import NOBODY, NULL, build, facts_in, ranks_in


def integers(start: int, stop: int) -> Any:
    return pa.array(range(start, stop), pa.int64())


def texts(start: int, stop: int) -> Any:
    numbers = range(start, stop)
    return pa.array([f"person {n}" * (n % 9) + str(n) for n in numbers], pa.large_string())


def uuids(start: int, stop: int) -> Any:
    octets = [n.to_bytes(8, "big") + bytes(7) + b"x" for n in range(start, stop)]
    return pa.array(octets, pa.binary(16))


def low_uuids(start: int, stop: int) -> Any:
    octets = [bytes(8) + n.to_bytes(8, "little") for n in range(start, stop)]
    return pa.array(octets, pa.binary(16))


FAMILIES = pytest.mark.parametrize("make", [integers, texts, uuids, low_uuids])
Make = Callable[[int, int], Any]


@pytest.fixture(params=[1, 3])
def threads(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """One thread, or several even for few rows."""
    if request.param > 1:
        monkeypatch.setattr("consentgate.index.index.BLOCK_ROWS", 1)
        monkeypatch.setattr("consentgate.index.index.thread_count", lambda: request.param)
        monkeypatch.setattr(threads_module, "BLOCK_ROWS", 100)


BY_THREADS = pytest.mark.usefixtures("threads")


def numbers(count: int) -> list[int]:
    return list(range(1, count + 1))


@BY_THREADS
@FAMILIES
@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 1000, 5000])
def test_an_index_finds_what_it_holds_and_nothing_else(make: Make, count: int) -> None:
    index = build(make(0, count))
    assert index.entries == count
    assert facts_in(index, make(0, count)) == numbers(count)
    assert not any(facts_in(index, make(count, 2 * count + 5)))


@FAMILIES
def test_an_index_of_many_is_built_by_all_threads(make: Make) -> None:
    count = BLOCK_ROWS + 1000
    index = build(make(0, count))
    assert facts_in(index, make(0, count)) == numbers(count)
    assert not any(facts_in(index, make(count, 2 * count)))


@FAMILIES
def test_an_index_of_nobody_finds_nobody(make: Make) -> None:
    assert not any(facts_in(build(make(0, 0)), make(0, 100)))


@FAMILIES
def test_a_null_has_no_facts(make: Make) -> None:
    ids = make(0, 4).take(pa.array([0, None, 2, 3]))
    assert facts_in(build(make(0, 3)), ids) == [1, NULL, 3, NOBODY]
    assert ranks_in(build(make(0, 3)), ids)[1] == -1
    assert facts_in(build(make(0, 3)), pa.nulls(3)) == [NULL] * 3


@BY_THREADS
@FAMILIES
def test_ids_without_facts_are_left_out(make: Make) -> None:
    facts = np.arange(1000) % 3
    index = build(make(0, 1000), facts=facts)
    assert index.entries == np.count_nonzero(facts)
    assert facts_in(index, make(0, 1000)) == facts.tolist()


@BY_THREADS
@FAMILIES
def test_columns_beside_are_by_rank(make: Make) -> None:
    beside: list[Any] = [
        np.arange(1, 5001, dtype=np.uint8),
        np.arange(1, 5001, dtype=np.uint16),
        np.arange(1, 5001, dtype=np.uint32),
        np.arange(5000, 0, -1, dtype=np.uint64),
    ]
    ids = make(0, 5000)
    facts = (np.arange(5000) % 7 > 0).astype(np.uint64)
    index, by_rank = Index.build(ids, facts, beside)
    ranks = ranks_in(index, ids)
    assert sorted(ranks[facts > 0].tolist()) == list(range(index.entries))
    assert (ranks[facts == 0] == -1).all()
    for column, source in zip(by_rank, beside, strict=True):
        assert (column.dtype, len(column)) == (source.dtype, index.entries)
        np.testing.assert_array_equal(column[ranks[facts > 0]], source[facts > 0])


@FAMILIES
def test_two_indexes_give_the_same_answers_under_secrets_of_their_own(make: Make) -> None:
    one, other = build(make(0, 300)), build(make(0, 300))
    assert one.seed != other.seed
    assert not np.array_equal(one.lines, other.lines)
    assert facts_in(one, make(0, 600)) == facts_in(other, make(0, 600)) == numbers(300) + [0] * 300


@BY_THREADS
@FAMILIES
def test_an_id_that_is_there_twice_is_refused(make: Make) -> None:
    twice = pa.chunked_array([make(0, 1000), make(999, 1000)]).combine_chunks()
    with pytest.raises(ValueError, match="some ids are equal"):
        build(twice)


@FAMILIES
def test_an_id_may_be_there_twice_if_only_one_of_them_has_facts(make: Make) -> None:
    twice = pa.chunked_array([make(0, 1000), make(999, 1000)]).combine_chunks()
    facts = np.arange(1, 1002)
    facts[999] = 0
    assert facts_in(build(twice, facts=facts), make(999, 1000)) == [1001]


def test_the_key_of_an_empty_place_is_nobody() -> None:
    index = build(integers(1, 1000))
    assert (index.lines[:, 4:] == 0).any()
    assert facts_in(index, pa.array([0] * 10)) == [NOBODY] * 10


def test_signs_are_told_apart() -> None:
    signed = build(pa.array([-1, 5], pa.int64()))
    unsigned = build(pa.array([2**64 - 1, 2**63, 5], pa.uint64()))
    assert facts_in(signed, pa.array([5, 2**64 - 1], pa.uint64())) == [2, NOBODY]
    assert facts_in(unsigned, pa.array([5, -1, -(2**63)], pa.int64())) == [3, NOBODY, NOBODY]


@pytest.mark.parametrize(("make", "most"), [(integers, 26), (texts, 35), (uuids, 52)])
def test_an_id_takes_so_many_bytes_at_most(make: Make, most: int) -> None:
    index = build(make(0, 50_000))
    assert 16 < (index.lines.nbytes + index.ranks.nbytes) / 50_000 <= most


@FAMILIES
@pytest.mark.parametrize("count", [0, 1, 5, 1000, 70_000])
def test_lines_are_those_of_the_processor_s_cache(make: Make, count: int) -> None:
    lines = build(make(0, count)).lines
    assert lines.ctypes.data % 64 == 0
    assert lines.flags.c_contiguous
    assert lines.shape[1:] == (8,)
    assert lines.dtype == np.uint64


# --- many ids in few lines --------------------------------------------------------------------


def crowded(count: int) -> Any:
    """Integers that all have the same line, if there are few lines, under a secret of zeros."""
    odd_inverse = pow(0x9E37_79B9_7F4A_7C15, -1, 2**64)
    keys = []
    for low in range(count):
        mixed = ((0x8000 << 48) + low) * odd_inverse % 2**64
        keys.append(mixed ^ mixed >> 32)
    return pa.array(keys, pa.uint64())


@BY_THREADS
def test_ids_of_one_line_are_in_the_lines_after_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """After the last line comes the first one. Each thread leaves some ids to the end."""
    monkeypatch.setattr("consentgate.index.index.secrets.token_bytes", bytes)
    ids = crowded(900)
    index = build(ids)
    count = len(index.lines)
    expected = {(count // 2 + further) % count for further in range(225)}
    assert set(np.flatnonzero(index.lines[:, 7]).tolist()) == expected
    assert {0, count - 1} < expected
    assert index.longest == 224
    assert facts_in(index, ids) == numbers(900)
    assert not any(facts_in(index, crowded(1200)[900:]))


@BY_THREADS
@FAMILIES
def test_a_full_table_finds_what_it_holds(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("consentgate.index.index._LOAD", 0.999)
    index = build(make(0, 3000))
    assert index.longest > 3
    assert facts_in(index, make(0, 3000)) == numbers(3000)
    assert not any(facts_in(index, make(3000, 4000)))


# --- memory -----------------------------------------------------------------------------------


@pytest.mark.skipif(not hasattr(mmap, "MADV_HUGEPAGE"), reason="no system call to refuse")
def test_a_large_table_needs_no_large_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    class Refusing(mmap.mmap):
        def madvise(self, *_: int) -> None:
            refused.append(self)
            raise OSError(errno.EINVAL, "Invalid argument")

    refused: list[Refusing] = []
    monkeypatch.setattr("consentgate.index.memory.mmap.mmap", Refusing)
    index = build(integers(0, 100_000))
    assert refused
    assert facts_in(index, integers(0, 100_001)) == [*numbers(100_000), NOBODY]


# --- torn memory ------------------------------------------------------------------------------


@FAMILIES
@pytest.mark.parametrize("words", [slice(0, 4), slice(3, 6), slice(4, 8), slice(None)])
def test_zeroed_memory_gives_nobody_the_facts_of_another(make: Make, words: slice) -> None:
    """But the id of zeros, whose key zeroed memory holds."""
    index = build(make(1, 1001))
    index.lines[::3, words] = 0
    found = facts_in(index, make(1, 2001))
    right = numbers(1000) + [NOBODY] * 1000
    assert all(facts in (NOBODY, wanted) for facts, wanted in zip(found, right, strict=True))
    assert found != right


def test_ranks_are_not_told_where_entries_are_lost() -> None:
    """Otherwise, entries would get the instants of others."""
    index = build(integers(0, 1000))
    before = ranks_in(index, integers(0, 1000))
    index.lines[32:35] = 0
    after = ranks_in(index, integers(0, 1000))
    assert ((after == before) | (after == -1)).all()
    lost = before[after == -1]
    assert set(range(int(index.ranks[2]), int(index.ranks[3]))) == set(lost.tolist())


@pytest.mark.parametrize("blank", [slice(None), slice(3, 5), slice(-1, None)])
def test_ranks_are_not_told_where_they_are_blank(blank: slice) -> None:
    index = build(integers(0, 2000))
    before = ranks_in(index, integers(0, 2000))
    index.ranks[blank] = 0
    after = ranks_in(index, integers(0, 2000))
    assert ((after == before) | (after == -1)).all()
    assert (after == -1).any()


def test_zeroed_memory_admits_nobody() -> None:
    gate = make_gate(make_consent(subject_id=[1, 2, 3]), make_channels(channel_id=[10, 11]))
    table = message_table(sender_id=[1, 2, 3])
    assert gate.decide(table).num_admitted == 3
    lines = gate._judge.consent.index.lines
    kept = lines.copy()
    lines[:, 4:] = 0
    assert gate.decide(table).counts == {"no_consent_record": 3}
    lines[:] = kept
    channels = gate._judge.channels
    assert channels is not None
    channels.index.lines[:, 4:] = 0
    assert gate.decide(table).counts == {"channel_unknown": 3}


# --- ids in Arrow's layouts -------------------------------------------------------------------


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string()])
@pytest.mark.parametrize("offsets", [None, b"", bytes(8)])
def test_no_strings_need_no_offsets(kind: Any, offsets: bytes | None) -> None:
    """An array without entries may have an offsets buffer of no bytes, or none at all."""
    buffers = [None, None if offsets is None else pa.py_buffer(offsets), pa.py_buffer(b"")]
    array = pa.Array.from_buffers(kind, 0, buffers)
    assert len(IdArray(array)) == 0
    assert facts_in(build(texts(0, 3)), array) == []
    assert len(IdHasher().hashes(array)) == 0


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
    if family is None and kind != pa.null():
        with pytest.raises(ColumnTypeError, match="is not a type of ids"):
            IdArray(pa.nulls(1, kind))


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


# --- threads ----------------------------------------------------------------------------------


@FAMILIES
def test_threads_that_use_an_index_first_at_once_share_its_secret(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    def slow(*arguments: Any) -> Secret:
        with suppress(BrokenBarrierError):  # where only one thread may be here
            all_here.wait(timeout=0.3)
        return Secret(*arguments)

    def address(_: int) -> int:
        return ctypes.addressof(index.table.secret.contents)

    index, all_here = build(make(0, 10)), Barrier(3)
    monkeypatch.setattr("consentgate.index.index.Secret", slow)
    with ThreadPoolExecutor(3) as pool:
        used = set(pool.map(address, range(3)))
    assert used == {ctypes.addressof(index.secret.struct)}


# --- repeats ----------------------------------------------------------------------------------


@BY_THREADS
@FAMILIES
@pytest.mark.parametrize("kinds", [1, 2, 50, 3000])
def test_the_first_row_of_each_id_is_found(make: Make, kinds: int) -> None:
    drawn = np.random.default_rng(kinds).integers(0, kinds, 5000)
    ids = make(0, kinds).take(pa.array(drawn))
    seen: dict[int, int] = {}
    expected = [seen.setdefault(int(number), row) for row, number in enumerate(drawn)]
    assert first_rows(ids).tolist() == expected


def test_no_ids_have_no_first_rows() -> None:
    assert first_rows(integers(0, 0)).tolist() == []


# --- hashes -----------------------------------------------------------------------------------


@FAMILIES
def test_hashes_are_spread_over_all_bits_of_their_upper_half(make: Make) -> None:
    hashes = IdHasher().hashes(make(0, 4096))
    assert len(np.unique(hashes >> np.uint64(32))) > 4000
    counts = np.bincount((hashes >> np.uint64(60)).astype(np.int64), minlength=16)
    assert counts.min() > 100


@FAMILIES
def test_equal_seeds_give_equal_hashes_and_others_do_not(make: Make) -> None:
    ids = make(1, 1000)
    one, other = IdHasher().hashes(ids), IdHasher().hashes(ids)
    assert (one != other).mean() > 0.9
    seed = bytes(range(16))
    np.testing.assert_array_equal(IdHasher(seed).hashes(ids), IdHasher(seed).hashes(ids))


@FAMILIES
def test_slices_and_blocks_have_the_hashes_of_the_whole(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids, seed = make(0, 1000), bytes(16)
    whole: Uint64s = IdHasher(seed).hashes(ids)
    np.testing.assert_array_equal(IdHasher(seed).hashes(ids[130:777]), whole[130:777])
    for block_rows in (1, 7, 999):
        monkeypatch.setattr(threads_module, "BLOCK_ROWS", block_rows)
        np.testing.assert_array_equal(IdHasher(seed).hashes(ids), whole)


@pytest.mark.parametrize("seed", [bytes(16), b"\xff" * 16, b"\2" * 16])
def test_different_integers_have_different_hashes_under_any_secret(seed: bytes) -> None:
    words = [n << shift for n in range(1, 100) for shift in (0, 20, 57)]
    hashes = IdHasher(seed).hashes(pa.array([word % 2**64 for word in words], pa.uint64()))
    assert len(np.unique(hashes)) == len({word % 2**64 for word in words})
