"""Whole runs from data set to data set, against plain copies and engines, and their memory."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.contests.joins import best, setting
from benchmarks.contests.run_memory import run_memory
from benchmarks.corpus import CHUNK_ROWS, Size
from benchmarks.datasets import write_files
from benchmarks.outcome import Bound, Figure, Measure, Outcome, Timing, ratio
from benchmarks.peers import duckdb_run, polars_run, pyarrow_copy, run
from benchmarks.peers.base import Bits, WrongAnswerError, refuse_difference
from benchmarks.peers.duckdb_join import compact_facts
from benchmarks.process import progress, run_alone
from benchmarks.sizes import Plan
from benchmarks.stage import Crew, Stage, Turn, ledger_folder, parquet_files
from benchmarks.staging import Found, RightAnswer, fill, refuse_other
from benchmarks.timing import turns

__all__ = ["refuse_wrong_output", "runs"]

_COPY = "plain copy"
_COPY_TARGET = 1.2
_PEERS = ("Polars", "DuckDB")
_PEER_TARGET = 1.6
_CORES_TARGET = 1.6
_FILES = 8
_HOPELESS = 1.5
"""A contestant that takes more times as long as the best of its kind has no further turns."""


def runs(plan: Plan) -> Iterator[Outcome]:
    """Yield the time of a run over one file and over several, and then the memory of runs."""
    with TemporaryDirectory(prefix="consentgate-benchmarks-") as folder, ExitStack() as stack:
        stage = Stage(Path(folder))
        run_alone(_make, stage, plan.runs)
        progress("preparing the contestants")
        modules = (run, pyarrow_copy, polars_run, duckdb_run)
        crews = [stack.enter_context(Crew(module.prepare, stage)) for module in modules]
        answer = RightAnswer.read(stage)
        for data, source in _sources(stage).items():
            race = _race(crews, stage, source, answer, plan.run_rounds)
            yield _outcome(data, plan.runs, race)
    yield from run_memory(plan)


def _sources(stage: Stage) -> Mapping[str, Path]:
    return {"one file": stage.one_file, f"{_FILES} files": stage.many_files}


def _make(stage: Stage, size: Size) -> None:
    """Fill the stage."""
    corpus = fill(stage, size)
    write_files(corpus.messages, stage.many_files, _FILES)
    pq.write_table(corpus.messages, stage.one_file, compression="zstd", row_group_size=CHUNK_ROWS)
    for table, path in zip(compact_facts(corpus), (stage.facts, stage.channels), strict=True):
        pq.write_table(table, path)


def refuse_wrong_output(answer: RightAnswer, name: str, output: Path) -> None:
    """Compare a contestant's output with the gate's answer; for a plain copy, only the messages.

    Raises:
        WrongAnswerError: Messages or reasons are not the ones that the gate gives.
    """
    refuse_other(name, Found.of(_read(output, ["message_id", "text"])), answer.admitted)
    if _kind(name) != _COPY:
        refuse_difference(name, _read_bits(answer.bits, name, output), answer.bits)


def _read_bits(expected: Bits, name: str, output: Path) -> Bits:
    """The bits of every message; zero for messages that are not in the ledger."""
    ledger = _read(ledger_folder(output), ["record_id", "reason_bits"])
    if ledger.num_rows != np.count_nonzero(expected):
        raise WrongAnswerError(f"{name} writes a ledger of {ledger.num_rows} rows.")
    bits = np.zeros_like(expected)
    bits[ledger["record_id"].to_numpy()] = ledger["reason_bits"].to_numpy()
    return bits


def _read(data: Path, columns: list[str]) -> pa.Table:
    return pa.concat_tables(pq.read_table(path, columns=columns) for path in parquet_files(data))


@dataclass(frozen=True)
class _Race:
    """The turns of every contestant, and how much it wrote. The library's run is the first."""

    rows: int
    turns: Mapping[str, Sequence[Turn]]
    written_bytes: Mapping[str, int]

    @property
    def timings(self) -> tuple[Timing, ...]:
        """The seconds of every contestant."""
        return tuple(
            Timing(name, self.rows, tuple(turn.seconds for turn in taken))
            for name, taken in self.turns.items()
        )

    def best(self, kind: str) -> Timing:
        """The fastest contestant of a kind."""
        return best([timing for timing in self.timings if _kind(timing.contestant) == kind])

    def cores_busy(self, name: str) -> float:
        """How many cores a contestant keeps busy, on average over its median turn."""
        return float(np.median([turn.cpu_s / turn.seconds for turn in self.turns[name]]))


def _race(
    crews: Sequence[Crew], stage: Stage, source: Path, answer: RightAnswer, rounds: int
) -> _Race:
    """Let contestants take turns, after a check that each gives the right answer.

    The first turn is for this check, and to warm up. The turns from the second one on count. A
    contestant that is far too slow in both the first and the second turn has no further turns.
    """
    crew_of = {name: crew for crew in crews for name in crew.names}
    first, written_bytes = {}, {}
    for name, crew in crew_of.items():
        first[name] = crew.take_turn(name, source)
        refuse_wrong_output(answer, name, stage.output)
        written_bytes[name] = sum(path.stat().st_size for path in parquet_files(stage.output))
        progress(f"{name}: right, {first[name].seconds:.3f} s in its first turn")
    taken = {name: [crew.take_turn(name, source)] for name, crew in crew_of.items()}
    for name in turns(dict.fromkeys(_contenders(first, taken), rounds - 1)):
        taken[name].append(crew_of[name].take_turn(name, source))
    return _Race(len(answer.bits), taken, written_bytes)


def _contenders(first: Mapping[str, Turn], second: Mapping[str, Sequence[Turn]]) -> Iterator[str]:
    fastest = {name: min(first[name].seconds, turn.seconds) for name, (turn,) in second.items()}
    best_s: dict[str, float] = {}
    for name, seconds in fastest.items():
        best_s[_kind(name)] = min(seconds, best_s.get(_kind(name), seconds))
    for name, seconds in fastest.items():
        if seconds <= _HOPELESS * best_s[_kind(name)]:
            yield name


def _kind(name: str) -> str:
    return name.partition(",")[0]


def _outcome(data: str, size: Size, race: _Race) -> Outcome:
    title = f"Run, {data}"
    rivals = [race.best(kind) for kind in (_COPY, *_PEERS)]
    words = (
        f"{setting(size)} Texts of about 200 bytes, string ids, zstd Parquet in row groups of "
        f"{CHUNK_ROWS:,} rows. Plain copies have a ready mask and write no ledger. Polars and "
        "DuckDB have compact facts beforehand, and write the ledger without the reasons' names."
    )
    names = [timing.contestant for timing in (race.best(run.RUN), *rivals)]
    return Outcome(
        title,
        words,
        race.timings,
        tuple(measure for name in names for measure in _measures(race, name)),
        tuple(_figures(title, race, *rivals)),
    )


def _measures(race: _Race, name: str) -> Iterator[Measure]:
    yield Measure(f"{name}: messages written", race.written_bytes[name] / 1e6, "MB")
    yield Measure(f"{name}: busy", race.cores_busy(name), "cores")


def _figures(title: str, race: _Race, copy: Timing, *peers: Timing) -> Iterator[Figure]:
    own = race.best(run.RUN)
    name = f"{title}: time compared with the fastest {_COPY} ({_way(copy)})"
    yield Figure(name, own.median_s / copy.median_s, "×", Bound.AT_MOST, _COPY_TARGET)
    for peer in peers:
        name = f"{title}: times as fast as the best of {_kind(peer.contestant)} ({_way(peer)})"
        yield ratio(name, peer, own, _PEER_TARGET)
    busy = race.cores_busy(run.RUN)
    yield Figure(f"{title}: cores busy", busy, "cores", Bound.AT_LEAST, _CORES_TARGET)


def _way(timing: Timing) -> str:
    return timing.contestant.partition(", ")[2]
