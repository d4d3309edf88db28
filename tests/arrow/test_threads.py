"""How many threads judge, and how many rows each is given."""

from __future__ import annotations

import os

import pyarrow as pa
import pytest

import consentgate as cg
from consentgate.arrow.threads import BLOCK_ROWS, block_rows, thread_count
from tests.build import message_table
from tests.gate_data import GATE


def test_a_worker_process_judges_on_one_thread_unless_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made: list[int] = []
    pool = "consentgate.arrow.threads.ThreadPoolExecutor"

    def refuse(workers: int) -> None:
        made.append(workers)
        raise RuntimeError("a pool is made")

    monkeypatch.setattr(pool, refuse)
    monkeypatch.setattr("consentgate.arrow.threads.os.sched_getaffinity", lambda _: {0, 1, 2})
    table = message_table(sender_id=[1] * 3 * BLOCK_ROWS)
    for threads in (None, 2):
        with pytest.raises(RuntimeError, match="a pool is made"):
            GATE.decide(table, threads=threads)
    assert made == [3, 2]
    made.clear()
    with pytest.raises(RuntimeError, match="a pool is made"):
        GATE.decide(table[: BLOCK_ROWS - 1])  # less than a block, but worth three threads
    assert made == [3]
    assert GATE.decide(table[:65_536]).num_admitted == 65_536
    monkeypatch.setattr("consentgate.arrow.threads.parent_process", object)
    assert GATE.decide(table).num_admitted == 3 * BLOCK_ROWS
    assert GATE.decide(table, threads=1).num_admitted == 3 * BLOCK_ROWS


@pytest.mark.parametrize(
    ("rows", "threads", "size"),
    [(0, 1, 65_536), (200_001, 2, 100_001), (10**9, 2, 262_144), (10**5, 64, 65_536)],
)
def test_blocks_are_neither_too_many_nor_too_few(rows: int, threads: int, size: int) -> None:
    assert block_rows(rows, threads) == size


def test_chunks_that_are_judged_apart_keep_their_places() -> None:
    """Chunks of so many rows are not copied together first."""
    sizes = (17_000, 18_000, 19_000, 20_000)
    parts = [
        message_table(sender_id=[1 + n % 2] * size, message_id=range(size))
        for n, size in enumerate(sizes)
    ]
    found = GATE.decide(pa.concat_tables(parts), threads=2).reason_bits.to_pylist()
    assert found == [1 << 5 if n % 2 else 0 for n, size in enumerate(sizes) for _ in range(size)]


@pytest.mark.parametrize("count", [None, 1, 7])
def test_cores_are_counted_where_a_process_cannot_be_bound_to_some(
    count: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on macOS and Windows."""
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: count)
    assert thread_count() == (count or 1)


def test_a_process_counts_the_cores_that_it_is_bound_to(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {1, 3, 8}, raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 99)
    assert thread_count() == 3
    assert thread_count(5) == 5
    with pytest.raises(cg.ConfigurationError, match="`threads` is 0 but must be at least 1"):
        thread_count(0)
