"""One gate in many processes and threads gives the same answers from the same memory."""

from __future__ import annotations

import multiprocessing
import re
import subprocess
import sys
import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

import consentgate as cg
from consentgate.storage.digests import digest_bytes
from tests.build import NOW, make_channels, make_consent, make_gate, message_table
from tests.processes import HANGING_S

SUBJECTS = 50_000
ROWS, FEW_ROWS = 200_000, 20_000


@pytest.fixture(scope="module")
def gate() -> cg.Gate:
    """A gate of string ids, of which it knows two of three."""
    return make_gate(make_consent(subject_id=[f"subject {n}" for n in range(SUBJECTS)]))


def messages(rows: int = ROWS) -> pa.Table:
    numbers = np.arange(rows) * 7919 % (SUBJECTS * 3 // 2)
    names = pc.binary_join_element_wise("subject", pa.array(numbers).cast(pa.string()), " ")
    return message_table(sender_id=names)


def digest(gate: cg.Gate, threads: int | None = None, rows: int = ROWS) -> str:
    """A digest of every row's reasons."""
    bits = gate.decide(messages(rows), threads=threads).reason_bits
    return digest_bytes([bits.to_numpy()])


def judge(gate: cg.Gate, answers: Any) -> None:
    """The work of a worker process: to judge, with and without threads, and to filter."""
    admitted, excluded = gate.filter(messages())
    answers.put((digest(gate), digest(gate, 2), admitted.num_rows + excluded.num_rows))


def use_every_thread_pool() -> None:
    """Let Polars, DuckDB, pyarrow and NumPy start threads, none of which survives a fork."""
    import duckdb  # here, because each process that is spawned imports this module
    import polars as pl

    frame = pl.DataFrame({"a": range(300_000)}).lazy().group_by(pl.col("a") % 7).len()
    assert frame.collect().height == 7
    table = pa.table({"a": range(300_000)})
    with duckdb.connect() as connection:
        connection.register("numbers", table)
        counted = connection.execute("select a % 7, count(*) from numbers group by all").fetchall()
    assert len(counted) == 7
    assert table.group_by("a", use_threads=True).aggregate([]).num_rows == 300_000
    assert table.filter(pc.field("a") > 5).num_rows == 299_994
    square = np.ones((1000, 1000))
    assert (square @ square == 1000).all()


def run_together(processes: Sequence[BaseProcess], answers: Any) -> list[Any]:
    """The answer of each process, all of which must end well in time."""
    with warnings.catch_warnings():
        # Python 3.12 and Polars warn that forking with threads may deadlock: what this is about
        warnings.simplefilter("ignore")
        for process in processes:
            process.start()
    try:
        return [answers.get(timeout=HANGING_S) for _ in processes]
    finally:
        for process in processes:
            process.join(timeout=10)
            process.kill()


@pytest.mark.parametrize("is_saved", [False, True])
@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_worker_processes_judge_as_their_parent(
    gate: cg.Gate, method: str, is_saved: bool, tmp_path: Path
) -> None:
    use_every_thread_pool()
    if is_saved:
        gate.save(tmp_path / "g")
        gate = cg.Gate.open(tmp_path / "g")
    expected = digest(gate, threads=2)
    context: Any = multiprocessing.get_context(method)
    answers = context.Queue()
    processes = [context.Process(target=judge, args=(gate, answers)) for _ in range(3)]
    assert run_together(processes, answers) == [(expected, expected, ROWS)] * 3


def open_and_judge(path: Path, answers: Any) -> None:
    answers.put(digest(cg.Gate.open(path), rows=FEW_ROWS))


def test_sixty_four_processes_open_one_file(gate: cg.Gate, tmp_path: Path) -> None:
    gate.save(tmp_path / "g")
    context: Any = multiprocessing.get_context("fork")
    answers = context.Queue()
    arguments = (tmp_path / "g", answers)
    processes = [context.Process(target=open_and_judge, args=arguments) for _ in range(64)]
    assert run_together(processes, answers) == [digest(gate, rows=FEW_ROWS)] * 64


def test_threads_share_one_gate(gate: cg.Gate) -> None:
    with ThreadPoolExecutor(8) as pool:
        found = set(pool.map(lambda threads: digest(gate, threads), [1, 2, None, 3] * 4))
    assert found == {digest(gate)}


MEASURE = """
import re, sys, time
import consentgate as cg

def private_bytes():
    rollup = open("/proc/self/smaps_rollup").read()
    return 1024 * sum(int(kb) for kb in re.findall(r"Private_\\w+: +(\\d+) kB", rollup))

cg.Gate.open(sys.argv[1])
before, start = private_bytes(), time.process_time()  # other processes may be busy
gate = cg.Gate.open(sys.argv[2])
print(time.process_time() - start, private_bytes() - before)
"""


@pytest.mark.skipif(not Path("/proc/self/smaps_rollup").exists(), reason="only Linux tells")
def test_opening_a_gate_takes_no_time_and_no_memory_of_its_own(tmp_path: Path) -> None:
    make_gate().save(tmp_path / "small")
    snapshot = make_consent(subject_id=pa.array(np.arange(1_000_000)))
    cg.Gate(cg.Policy(), snapshot, make_channels(), judged_at=NOW).save(tmp_path / "large")
    assert (tmp_path / "large").stat().st_size > 20_000_000
    command = [sys.executable, "-c", MEASURE, str(tmp_path / "small"), str(tmp_path / "large")]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    seconds, private = re.findall(r"[\d.e-]+", printed)
    assert float(seconds) < 0.5
    assert int(private) < 5_000_000


RESIDENT = """
import re, sys
import consentgate as cg

def resident_bytes():
    mapped = open("/proc/self/smaps").read().split(sys.argv[1])[1:]
    return sum(1024 * int(re.search(r"Rss: +(\\d+) kB", each)[1]) for each in mapped)

gate = cg.Gate.open(sys.argv[1])
before = resident_bytes()
gate.preload()
print(before, resident_bytes())
"""


@pytest.mark.skipif(not Path("/proc/self/smaps").exists(), reason="only Linux tells")
def test_a_gate_can_be_read_into_memory_at_once(tmp_path: Path) -> None:
    snapshot = make_consent(subject_id=pa.array(np.arange(1_000_000)))
    cg.Gate(cg.Policy(), snapshot, make_channels(), judged_at=NOW).save(tmp_path / "gate")
    command = [sys.executable, "-c", RESIDENT, str(tmp_path / "gate")]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    before, after = map(int, printed.split())
    size = (tmp_path / "gate").stat().st_size
    assert before < size / 2
    assert after > size * 0.95
