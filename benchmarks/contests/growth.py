"""The cost of a row for more and more subjects, and the memory that the largest index takes.

The same gates are saved, and are opened by other processes.
"""

import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import consentgate as cg
from benchmarks import scenario
from benchmarks.corpus import Size, make_channels, make_consent, make_messages
from benchmarks.ids import IdKind
from benchmarks.outcome import Bound, Figure, Measure, Outcome, Timing
from benchmarks.process import cores, peak_bytes, progress, run_alone
from benchmarks.sizes import Plan
from benchmarks.timing import take_turns, time_once

__all__ = ["growth"]

_TARGET = 3.0
_MAX_BUILD_S = 20.0
_MAX_GIB = 10.0
_MAX_OPEN_MS = 50.0
_MAX_OPEN_MB = 50.0
_ROUNDS = 5
_ROLLUP = Path("/proc/self/smaps_rollup")


class _Grown(NamedTuple):
    timing: Timing
    snapshot_s: float
    build_s: float
    peak_bytes: int
    save_s: float
    file_bytes: int


class _Opened(NamedTuple):
    timing: Timing
    open_s: float
    private_bytes: int


def growth(plan: Plan) -> Iterator[Outcome]:
    """Judge the same number of messages against more and more subjects, each in its own process."""
    grown, opened = {}, {}
    for subjects in plan.growth:
        size = Size(plan.size.messages, subjects, plan.size.channels)
        with TemporaryDirectory() as directory:
            path = Path(directory) / "gate"
            grown[subjects] = run_alone(_grow, size, path)
            opened[subjects] = run_alone(_open, size, path)
    yield _growth(plan, grown)
    yield _saved(plan, grown, opened)


def _growth(plan: Plan, grown: dict[int, _Grown]) -> Outcome:
    small, large = plan.growth[0], plan.growth[-1]
    cost = grown[large].timing.ns_per_row / grown[small].timing.ns_per_row
    peak = grown[large].peak_bytes / 2**30
    title = "Growth, integer ids"
    return Outcome(
        title,
        f"{plan.size.messages:,} messages, {plan.size.channels:,} channels; {cores()} threads. "
        "The peak is that of the whole process, and includes the generated data.",
        tuple(each.timing for each in grown.values()),
        tuple(measure for subjects, each in grown.items() for measure in _measures(subjects, each)),
        (
            Figure(
                f"{title}: cost of a row at {large:,} subjects compared with {small:,}",
                cost, "×", Bound.AT_MOST, _TARGET,
            ),
            Figure(
                f"{title}: building a gate of {large:,} subjects",
                grown[large].build_s, "s", Bound.AT_MOST, _MAX_BUILD_S,
            ),
            Figure(
                f"{title}: peak while building {large:,} subjects",
                peak, "GiB", Bound.AT_MOST, _MAX_GIB,
            ),
        ),
    )  # fmt: skip


def _saved(plan: Plan, grown: dict[int, _Grown], opened: dict[int, _Opened]) -> Outcome:
    title = "Saved gates, integer ids"
    figures = []
    for subjects, each in opened.items():
        name = f"{title}: {subjects:,} subjects"
        opening, private = each.open_s * 1e3, each.private_bytes / 1e6
        figures += [
            Figure(f"{name}, opened in", opening, "ms", Bound.AT_MOST, _MAX_OPEN_MS),
            Figure(f"{name}, private memory", private, "MB", Bound.AT_MOST, _MAX_OPEN_MB),
        ]
    return Outcome(
        title,
        f"The gates of the contest before are saved. Another process opens each one and judges the "
        f"same {plan.size.messages:,} messages with the mapped file.",
        tuple(each.timing for each in opened.values()),
        tuple(
            measure
            for subjects, each in grown.items()
            for measure in (
                Measure(f"{subjects:,} subjects: saved", each.save_s, "s"),
                Measure(f"{subjects:,} subjects: file", each.file_bytes / 1e6, "MB"),
            )
        ),
        tuple(figures),
    )


def _grow(size: Size, path: Path) -> _Grown:
    progress(f"{size.subjects:,} subjects: making them")
    registry = scenario.take_registry(make_channels(IdKind.INTEGER, size.channels))
    snapshot_s, snapshot = _take_snapshot(size.subjects)
    progress(f"{size.subjects:,} subjects: snapshot taken in {snapshot_s:.1f} s")
    build = partial(scenario.build_gate, snapshot, registry, subjects=scenario.SCALAR)
    build_s, gate = time_once(build)
    peak = peak_bytes()
    progress(f"{size.subjects:,} subjects: gate built in {build_s:.1f} s")
    timing = _time(f"gate, {size.subjects:,} subjects", gate, size)
    save_s, _ = time_once(partial(gate.save, path))
    progress(f"{size.subjects:,} subjects: gate saved in {save_s:.1f} s")
    return _Grown(timing, snapshot_s, build_s, peak, save_s, path.stat().st_size)


def _open(size: Size, path: Path) -> _Opened:
    """Open the gate twice, because the first time includes loading Python modules."""
    cg.Gate.open(path)
    before = _private_bytes()
    open_s, gate = time_once(partial(cg.Gate.open, path))
    private = _private_bytes() - before
    timing = _time(f"opened gate, {size.subjects:,} subjects", gate, size)
    return _Opened(timing, open_s, private)


def _time(name: str, gate: cg.Gate, size: Size) -> Timing:
    messages = make_messages(IdKind.INTEGER, size)
    run = partial(gate.decide, messages, threads=cores())
    run()
    return Timing(name, size.messages, tuple(take_turns({name: run}, {name: _ROUNDS})[name]))


def _private_bytes() -> int:
    """The memory that no other process shares."""
    sizes = re.findall(r"^Private_\w+: +(\d+) kB", _ROLLUP.read_text(), re.MULTILINE)
    return 1024 * sum(int(kilobytes) for kilobytes in sizes)


def _take_snapshot(subjects: int) -> tuple[float, Any]:
    """The seconds to take a snapshot, and the snapshot. The records it was taken from are freed."""
    consent = make_consent(IdKind.INTEGER, subjects)
    return time_once(partial(scenario.take_snapshot, consent))


def _measures(subjects: int, grown: _Grown) -> Iterator[Measure]:
    yield Measure(f"{subjects:,} subjects: snapshot checked and taken", grown.snapshot_s, "s")
    yield Measure(f"{subjects:,} subjects: gate built", grown.build_s, "s")
    yield Measure(f"{subjects:,} subjects: peak by then", grown.peak_bytes / 2**30, "GiB")
