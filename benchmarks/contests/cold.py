"""From consent records in memory to reasons. Every run has a fresh process, and builds everything.

A process that has judged before has memory at hand, which engines keep and the gate gives back. So
in a process that is used again, the first touch of memory would be in the gate's time only.
"""

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pyarrow as pa

from benchmarks.contests.joins import best, setting
from benchmarks.corpus import Corpus, Size, make_corpus
from benchmarks.ids import IdKind
from benchmarks.outcome import Outcome, Timing, ratio
from benchmarks.peers import acero_join, duckdb_join, gate, polars_join
from benchmarks.peers.base import Contestant, refuse_difference
from benchmarks.process import cores, progress, run_alone
from benchmarks.sizes import Plan
from benchmarks.timing import time_once, turns, without_collector

__all__ = ["cold"]

_TARGETS = {IdKind.INTEGER: 3.0, IdKind.STRING: 2.5}
_ROUNDS = 3
_TABLES = ("messages", "consent", "channels")
_CONTESTANTS: Mapping[str, Callable[[Corpus], Contestant]] = {
    "gate": lambda corpus: gate.cold(corpus, cores()),
    "Polars, in-memory": partial(polars_join.cold, engine="in-memory"),
    "Polars, streaming": partial(polars_join.cold, engine="streaming"),
    "DuckDB, Arrow tables": partial(duckdb_join.cold, native=False),
    "DuckDB, own tables": partial(duckdb_join.cold, native=True),
    "pyarrow Acero": acero_join.cold,
}


def cold(plan: Plan) -> Iterator[Outcome]:
    """Yield the outcomes for integers and for strings."""
    for kind, target in _TARGETS.items():
        yield _outcome(kind, plan.size, target)


def _outcome(kind: IdKind, size: Size, target: float) -> Outcome:
    title = f"Cold, {kind} ids"
    words = (
        f"{setting(size)} The time begins with the consent records in memory. Every run has a "
        "fresh process."
    )
    with TemporaryDirectory(prefix="consentgate-benchmarks-") as folder:
        progress(f"making {kind} ids and what goes with them")
        run_alone(_make, Path(folder), kind, size)
        timings = _race(Path(folder), size)
    peer = best(timings[1:])
    name = f"{title}: times as fast as the best peer ({peer.contestant})"
    return Outcome(title, words, timings, figures=(ratio(name, peer, timings[0], target),))


def _race(folder: Path, size: Size) -> tuple[Timing, ...]:
    seconds: dict[str, list[float]] = {name: [] for name in _CONTESTANTS}
    for name in turns(dict.fromkeys(_CONTESTANTS, _ROUNDS)):
        taken = run_alone(_judge, folder, name)
        progress(f"{name}: right, {taken:.3f} s")
        seconds[name].append(taken)
    return tuple(Timing(name, size.messages, tuple(each)) for name, each in seconds.items())


def _make(folder: Path, kind: IdKind, size: Size) -> None:
    """Write the tables and the answer of a gate."""
    corpus = make_corpus(kind, size)
    for name in _TABLES:
        table = getattr(corpus, name)
        with pa.ipc.new_stream(folder / name, table.schema) as sink:
            sink.write_table(table)
    judge = gate.warm(corpus, cores())
    np.save(folder / "answer.npy", judge.read(judge.judge(corpus.messages)).in_order(0))


def _judge(folder: Path, name: str) -> float:
    """The seconds that a contestant takes in this process.

    Raises:
        WrongAnswerError: It gives other reasons than the gate that wrote the answer.
    """
    corpus = Corpus(*(_read(folder / table) for table in _TABLES))
    contestant = _CONTESTANTS[name](corpus)
    messages = contestant.load(corpus.messages)
    with without_collector():
        seconds, judged = time_once(partial(contestant.judge, messages))
    bits = contestant.read(judged).in_order(0)
    refuse_difference(name, bits, np.load(folder / "answer.npy"))
    return seconds


def _read(path: Path) -> pa.Table:
    """A table in memory of its own, and not in the pages of the file."""
    with pa.OSFile(str(path)) as source, pa.ipc.open_stream(source) as batches:
        return batches.read_all()
