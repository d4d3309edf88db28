"""From files with nothing built: compiling a gate, and whole runs against engines' scripts.

Snapshot, registry and messages are Parquet files. Every turn has a fresh process, as a script has.
"""

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import pyarrow.parquet as pq

import consentgate as cg
from benchmarks import scenario
from benchmarks.contests.joins import best, setting
from benchmarks.contests.runs import refuse_wrong_output
from benchmarks.corpus import CHUNK_ROWS, Size
from benchmarks.outcome import Bound, Figure, Measure, Outcome, Timing, ratio
from benchmarks.peers import duckdb_run, polars_run, run
from benchmarks.peers.base import refuse_difference
from benchmarks.process import cores, progress, run_alone
from benchmarks.sizes import Plan
from benchmarks.stage import Crew, Runner, Stage
from benchmarks.staging import RightAnswer, fill
from benchmarks.timing import time_once, turns

__all__ = ["files"]

_COMPILE_TARGET_S = 3.0
_RUN_TARGET = 1.2
_ROUNDS = 3
_JUDGED = [scenario.SCALAR, "channel_id", "created_at", "is_automated"]
_Scripts = Callable[[Stage], Mapping[str, Runner]]


class _Compiled(NamedTuple):
    """The seconds of each step of compiling."""

    read_s: float
    build_s: float
    save_s: float


def files(plan: Plan) -> Iterator[Outcome]:
    """Yield the outcome of compiling, and then that of runs."""
    with TemporaryDirectory(prefix="consentgate-benchmarks-") as folder:
        stage = Stage(Path(folder))
        run_alone(_make, stage, plan.runs)
        yield _compile_outcome(plan.runs, [_compile(stage) for _ in range(_ROUNDS)])
        yield _runs_outcome(plan.runs, _race(stage, RightAnswer.read(stage)))


def _make(stage: Stage, size: Size) -> None:
    """Fill the stage."""
    corpus = fill(stage, size)
    for table, path in (
        (corpus.messages, stage.one_file),
        (corpus.consent, stage.consent),
        (corpus.channels, stage.registry),
    ):
        pq.write_table(table, path, compression="zstd", row_group_size=CHUNK_ROWS)


def _compile(stage: Stage) -> _Compiled:
    compiled = run_alone(_compile_here, stage)
    progress(f"compiled in {sum(compiled):.3f} s")
    return compiled


def _compile_here(stage: Stage) -> _Compiled:
    """Compile in this process, and compare what the saved gate says with the right answer."""
    read_s, (snapshot, registry) = time_once(partial(run.read_sources, stage))
    build_s, gate = time_once(
        partial(scenario.build_gate, snapshot, registry, subjects=scenario.SCALAR)
    )
    path = stage.folder / "compiled"
    save_s, _ = time_once(partial(gate.save, path))
    messages = pq.read_table(stage.one_file, columns=_JUDGED)
    bits = cg.Gate.open(path).decide(messages, threads=cores()).reason_bits.to_numpy()
    refuse_difference("the compiled gate", bits, RightAnswer.read(stage).bits)
    return _Compiled(read_s, build_s, save_s)


def _compile_outcome(size: Size, compiled: list[_Compiled]) -> Outcome:
    title = "Compile, string ids"
    total = Timing("consentgate compile", size.subjects, tuple(map(sum, compiled)))
    steps = zip(("read and checked", "built", "saved"), zip(*compiled, strict=True), strict=True)
    measures = (
        Measure(name, Timing(name, size.subjects, taken).median_s, "s") for name, taken in steps
    )
    name = f"{title}: {size.subjects:,} subjects, from Parquet to a saved gate"
    return Outcome(
        title,
        f"{size.subjects:,} subjects and {size.channels:,} channels; {cores()} threads. Rows are "
        "subjects. Snapshot and registry are read, checked, compiled and saved.",
        (total,),
        tuple(measures),
        (Figure(name, total.median_s, "s", Bound.AT_MOST, _COMPILE_TARGET_S),),
    )


def _race(stage: Stage, answer: RightAnswer) -> tuple[Timing, ...]:
    """Let contestants take turns, each in a fresh process, and compare what each writes."""
    contestants = dict(_contestants(stage))
    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    for name in turns(dict.fromkeys(contestants, _ROUNDS)):
        with Crew(contestants[name], stage) as crew:
            seconds[name].append(crew.take_turn(name, stage.one_file).seconds)
        refuse_wrong_output(answer, name, stage.output)
        progress(f"{name}: right, {seconds[name][-1]:.3f} s")
    return tuple(Timing(name, len(answer.bits), tuple(each)) for name, each in seconds.items())


def _contestants(stage: Stage) -> Iterator[tuple[str, _Scripts]]:
    for scripts in (run.scripts, polars_run.scripts, duckdb_run.scripts):
        with Crew(scripts, stage) as crew:
            for name in crew.names:
                yield name, scripts


def _runs_outcome(size: Size, timings: tuple[Timing, ...]) -> Outcome:
    title = "Run from files"
    rival = best(timings[1:])
    name = f"{title}: times as fast as the best engine's script ({rival.contestant})"
    return Outcome(
        title,
        f"{setting(size)} Texts of about 200 bytes, string ids. Snapshot, registry and messages "
        "are zstd Parquet. Scripts compute all reasons, and write the admitted messages and a "
        "ledger of the others.",
        timings,
        figures=(ratio(name, rival, timings[0], _RUN_TARGET),),
    )
