"""The adapters of PyTorch and Polars against the same loaders and queries without a gate."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import pyarrow.parquet as pq

from benchmarks import scans
from benchmarks.contests.joins import best, setting
from benchmarks.corpus import CHUNK_ROWS, Size
from benchmarks.outcome import Bound, Figure, Measure, Outcome, Timing, ratio
from benchmarks.process import progress, run_alone
from benchmarks.sizes import Plan
from benchmarks.stage import Crew, Stage
from benchmarks.staging import Found, RightAnswer, fill, refuse_other
from benchmarks.timing import turns

if TYPE_CHECKING:
    from benchmarks.loaders import LoaderCrew, Private

__all__ = ["adapters"]

_LOADER_TARGETS: Mapping[str, float] = {"all columns": 0.9}
_WATCHED = "all columns"
_PRIVATE_TARGET_MB = 60.0
_SCAN_TARGET = 1.3
_FEWEST_GROUPS = 8


def adapters(plan: Plan) -> Iterator[Outcome]:
    """Yield the outcomes of the loaders and their memory, and then of the queries."""
    with TemporaryDirectory(prefix="consentgate-benchmarks-") as folder:
        stage = Stage(Path(folder))
        run_alone(_make, stage, plan.runs)
        answer = RightAnswer.read(stage)
        yield from _loaders(stage, answer, plan)
        yield from _scans(stage, answer, plan)


def _make(stage: Stage, size: Size) -> None:
    """Fill the stage, with enough row groups for all workers."""
    messages = fill(stage, size).messages
    admitted = pq.read_table(stage.answer, columns=["admitted"])["admitted"]
    marked = messages.append_column("ok", admitted)
    rows = min(CHUNK_ROWS, -(-size.messages // _FEWEST_GROUPS))
    for table, path in ((messages, stage.one_file), (marked, stage.marked_file)):
        pq.write_table(table, path, compression="zstd", row_group_size=rows)


def _loaders(stage: Stage, answer: RightAnswer, plan: Plan) -> Iterator[Outcome]:
    # imported here, so that the processes of other contests do not wait for PyTorch
    from benchmarks.loaders import SETTING, USES, LoaderCrew

    words = (
        f"{plan.runs.messages:,} messages, {plan.runs.subjects:,} subjects, "
        f"{plan.runs.channels:,} channels; {SETTING} of zstd Parquet with texts of about 200 "
        "bytes. Rows are counted in the file. The gated loader gives out about half of them."
    )
    for name, use in USES.items():
        progress(f"loaders: {name}")
        with LoaderCrew(stage, use) as crew:
            timings = _race_loaders(crew, answer, plan.run_rounds)
            yield _loaders_outcome(
                f"Data loader, {name}", words, timings, _LOADER_TARGETS.get(name)
            )
            if name == _WATCHED:
                yield _memory_outcome(_watch(crew, plan.run_rounds))


def _race_loaders(crew: LoaderCrew, answer: RightAnswer, rounds: int) -> tuple[Timing, ...]:
    """Let loaders take turns, after a check that each gives the right messages."""
    gated, *others = crew.names
    for name, expected in {gated: answer.admitted, **dict.fromkeys(others, answer.all)}.items():
        refuse_other(name, crew.read_through(name), expected)
        progress(f"{name}: right")
    taken: dict[str, list[float]] = {name: [] for name in crew.names}
    for name in turns(dict.fromkeys(crew.names, rounds)):
        taken[name].append(crew.take_turn(name))
    return _timings(answer, taken)


def _timings(answer: RightAnswer, taken: Mapping[str, Sequence[float]]) -> tuple[Timing, ...]:
    rows = len(answer.bits)
    return tuple(Timing(name, rows, tuple(seconds)) for name, seconds in taken.items())


def _loaders_outcome(
    title: str, words: str, timings: tuple[Timing, ...], target: float | None
) -> Outcome:
    own, *others = timings
    rival = best(others)
    name = f"{title}: rate compared with the fastest without a gate ({rival.contestant})"
    return Outcome(title, words, timings, figures=(ratio(name, rival, own, target),))


def _watch(crew: LoaderCrew, rounds: int) -> Mapping[str, Sequence[Private]]:
    """The most memory that any worker of each loader held, turn by turn."""
    seen: dict[str, list[Private]] = {name: [] for name in crew.names}
    for name in turns(dict.fromkeys(crew.names, rounds)):
        seen[name].append(crew.watch(name))
    return seen


def _memory_outcome(seen: Mapping[str, Sequence[Private]]) -> Outcome:
    title = "Memory of a loader's worker"
    words = (
        "All columns, as above. The memory that Linux counts as private to a worker is read every "
        "20 ms, and the most that any worker held is given here. A page of the saved gate counts "
        "as private as long as only one worker has read it. Memory that workers have written "
        "leaves out the pages of files. The figures are the difference to the loader without a "
        "gate that holds the least."
    )
    private = {name: max(each.total_bytes for each in turns) for name, turns in seen.items()}
    written = {name: max(each.written_bytes for each in turns) for name, turns in seen.items()}
    kinds = {"private": private, "written": written}
    measures = (
        Measure(f"{name}: {kind}, at most", size / 1e6, "MB")
        for kind, held in kinds.items()
        for name, size in held.items()
    )
    figures = (_more(f"{title}: {kind}", *held.values()) for kind, held in kinds.items())
    return Outcome(title, words, measures=tuple(measures), figures=tuple(figures))


def _more(name: str, own_bytes: int, *others_bytes: int) -> Figure:
    more_mb = (own_bytes - min(others_bytes)) / 1e6
    name = f"{name}, more than without a gate"
    return Figure(name, more_mb, "MB", Bound.AT_MOST, _PRIVATE_TARGET_MB)


def _scans(stage: Stage, answer: RightAnswer, plan: Plan) -> Iterator[Outcome]:
    with Crew(scans.prepare, stage) as crew:
        for name in crew.names:
            seconds, _ = crew.take_turn(name, stage.marked_file)
            refuse_other(name, _read(stage.output / "data.parquet"), answer.admitted)
            progress(f"{name}: right, {seconds:.3f} s in its first turn")
        taken: dict[str, list[float]] = {name: [] for name in crew.names}
        for name in turns(dict.fromkeys(crew.names, plan.run_rounds)):
            taken[name].append(crew.take_turn(name, stage.marked_file).seconds)
    for end in scans.ENDS:
        ended = {name: seconds for name, seconds in taken.items() if name.endswith(end)}
        yield _scans_outcome(f"LazyFrame, {end}", plan.runs, _timings(answer, ended))


def _read(path: Path) -> Found:
    """Read the output of a query: messages, or their sums."""
    table = pq.read_table(path)
    if "text" in table.column_names:
        return Found.of(table)
    (sums,) = table.to_pylist()
    return Found(**sums)


def _scans_outcome(title: str, size: Size, timings: tuple[Timing, ...]) -> Outcome:
    own, masked = timings
    words = (
        f"{setting(size)} Both read the same zstd Parquet with texts of about 200 bytes. One "
        "column says which rows are admitted. The gated scan does not read it, and the other one "
        "filters by it. Outputs are compressed with zstd."
    )
    name = f"{title}: time compared with a ready mask"
    value = own.median_s / masked.median_s
    figure = Figure(name, value, "×", Bound.AT_MOST, _SCAN_TARGET)
    return Outcome(title, words, timings, figures=(figure,))
