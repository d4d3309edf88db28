"""How the cost of a row grows with the number of subjects, and what the largest index takes."""

from collections.abc import Iterator
from functools import partial
from typing import Any, NamedTuple

from benchmarks import scenario
from benchmarks.corpus import Size, make_channels, make_consent, make_messages
from benchmarks.ids import IdKind
from benchmarks.outcome import Bound, Figure, Measure, Outcome, Timing
from benchmarks.process import cores, peak_bytes, progress, run_alone
from benchmarks.sizes import Plan
from benchmarks.timing import take_turns, time_once

__all__ = ["growth"]

_TARGET = 3.0
_MAX_GIB = 24.0
_ROUNDS = 5


class _Grown(NamedTuple):
    timing: Timing
    snapshot_s: float
    build_s: float
    peak_bytes: int


def growth(plan: Plan) -> Iterator[Outcome]:
    """The same messages' worth of rows against ever more subjects, each in its own process."""
    grown = {
        subjects: run_alone(_grow, Size(plan.size.messages, subjects, plan.size.channels))
        for subjects in plan.growth
    }
    small, large = plan.growth[0], plan.growth[-1]
    cost = grown[large].timing.ns_per_row / grown[small].timing.ns_per_row
    peak = grown[large].peak_bytes / 2**30
    title = "Growth, integer ids"
    yield Outcome(
        title,
        f"{plan.size.messages:,} messages, {plan.size.channels:,} channels; {cores()} threads. "
        "The peak is that of the whole process, the generated data included.",
        tuple(each.timing for each in grown.values()),
        tuple(measure for subjects, each in grown.items() for measure in _measures(subjects, each)),
        (
            Figure(
                f"{title}: cost of a row at {large:,} subjects to that at {small:,}",
                cost, "×", Bound.AT_MOST, _TARGET,
            ),
            Figure(
                f"{title}: peak while building {large:,} subjects",
                peak, "GiB", Bound.AT_MOST, _MAX_GIB,
            ),
        ),
    )  # fmt: skip


def _grow(size: Size) -> _Grown:
    progress(f"{size.subjects:,} subjects: making them")
    registry = scenario.take_registry(make_channels(IdKind.INTEGER, size.channels))
    snapshot_s, snapshot = _take_snapshot(size.subjects)
    progress(f"{size.subjects:,} subjects: snapshot taken in {snapshot_s:.1f} s")
    build = partial(scenario.build_gate, snapshot, registry, subjects=scenario.SCALAR)
    build_s, gate = time_once(build)
    peak = peak_bytes()
    progress(f"{size.subjects:,} subjects: gate built in {build_s:.1f} s")
    messages = make_messages(IdKind.INTEGER, size)
    name = f"gate, {size.subjects:,} subjects"
    run = partial(gate.decide, messages, threads=cores())
    run()
    seconds = take_turns({name: run}, {name: _ROUNDS})[name]
    return _Grown(Timing(name, size.messages, tuple(seconds)), snapshot_s, build_s, peak)


def _take_snapshot(subjects: int) -> tuple[float, Any]:
    """The seconds it took, and the snapshot; the records that it was taken from are let go."""
    consent = make_consent(IdKind.INTEGER, subjects)
    return time_once(partial(scenario.take_snapshot, consent))


def _measures(subjects: int, grown: _Grown) -> Iterator[Measure]:
    yield Measure(f"{subjects:,} subjects: snapshot checked and taken", grown.snapshot_s, "s")
    yield Measure(f"{subjects:,} subjects: gate built", grown.build_s, "s")
    yield Measure(f"{subjects:,} subjects: peak by then", grown.peak_bytes / 2**30, "GiB")
