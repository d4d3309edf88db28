"""The memory of a run over large files, wide files, files of many row groups, and many files."""

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks import datasets, scenario
from benchmarks.corpus import make_channels, make_consent
from benchmarks.ids import IdKind
from benchmarks.outcome import Bound, Figure, Measure, Outcome, Timing
from benchmarks.process import progress, run_alone
from benchmarks.sizes import Plan, Shapes
from benchmarks.watched import WatchedRun, watch_run

__all__ = ["run_memory"]

_TARGET_GIB = 1.0
_TITLE = "Memory of a run"


def run_memory(plan: Plan) -> Iterator[Outcome]:
    """Watch one run over a data set of each shape, each in a process of its own."""
    watched = {}
    with TemporaryDirectory(prefix="consentgate-benchmarks-") as folder:
        gate = Path(folder, "gate")
        run_alone(_save_gate, gate)
        for name, write in _shapes(plan.shapes).items():
            progress(f"{name}: making it")
            with TemporaryDirectory(dir=folder) as scratch:
                source = Path(scratch, "messages.parquet")
                run_alone(write, source)
                progress(f"{name}: running")
                watched[name] = run_alone(watch_run, gate, source, Path(scratch, "clean"))
    yield _outcome(watched)


def _shapes(shapes: Shapes) -> Mapping[str, Callable[[Path], None]]:
    """For each shape of data set, by its name, the function that writes it."""
    large_gib, width = shapes.large_bytes / 2**30, datasets.WIDE_COLUMNS
    return {
        f"one row group of {large_gib:.3g} GiB": partial(
            datasets.write_large, size_bytes=shapes.large_bytes
        ),
        f"{shapes.groups:,} row groups of ten rows": partial(
            datasets.write_groups, groups=shapes.groups
        ),
        f"{shapes.files:,} files": partial(datasets.write_many, files=shapes.files),
        f"{width:,} columns": partial(datasets.write_wide, rows=shapes.wide_rows),
    }


def _save_gate(path: Path) -> None:
    """Save a gate that is so small that only the memory of the run counts."""
    snapshot = scenario.take_snapshot(make_consent(IdKind.STRING, datasets.SUBJECTS))
    registry = scenario.take_registry(make_channels(IdKind.STRING, datasets.CHANNELS))
    scenario.build_gate(snapshot, registry, subjects=scenario.SCALAR).save(path)


def _outcome(watched: Mapping[str, WatchedRun]) -> Outcome:
    words = (
        f"Messages as above, and a gate of {datasets.SUBJECTS:,} subjects. All memory of the "
        "process counts, except the pages of files. All processes that open a saved gate share its "
        "pages."
    )
    timings = (Timing(name, each.rows, (each.seconds,)) for name, each in watched.items())
    measures = (measure for name, each in watched.items() for measure in _measures(name, each))
    figures = (
        Figure(
            f"{_TITLE}: {name}, at most", each.own_bytes / 2**30, "GiB", Bound.AT_MOST, _TARGET_GIB
        )
        for name, each in watched.items()
    )
    return Outcome(_TITLE, words, tuple(timings), tuple(measures), tuple(figures))


def _measures(name: str, watched: WatchedRun) -> Iterator[Measure]:
    yield Measure(f"{name}: before it began", watched.before_bytes / 2**20, "MiB")
    yield Measure(f"{name}: at most, files' pages included", watched.resident_bytes / 2**20, "MiB")
