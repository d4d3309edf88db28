"""The memory that the gate's index takes at rest, and the peak while it is built."""

from collections.abc import Iterator

import pyarrow as pa

import consentgate as cg
from benchmarks import scenario
from benchmarks.corpus import Size, make_consent, make_messages
from benchmarks.ids import IdKind
from benchmarks.outcome import Bound, Figure, Measure, Outcome
from benchmarks.process import forget_peak, peak_bytes, progress, resident_bytes, run_alone
from benchmarks.sizes import Plan

__all__ = ["memory"]

_AT_REST = {IdKind.INTEGER: 33.0, IdKind.STRING: 48.0, IdKind.UUID: None}
_PEAK = 3.0
_FEW = Size(messages=1000, subjects=1000, channels=100)


def memory(plan: Plan) -> Iterator[Outcome]:
    """Yield the memory of an index of each kind of ids, as the operating system counts it."""
    for kind, target in _AT_REST.items():
        yield run_alone(_weigh, kind, plan.size.subjects, target)


def _weigh(kind: IdKind, subjects: int, target: float | None) -> Outcome:
    """Measure the memory of a gate without channels, so that only the index of subjects counts.

    The snapshot is in memory all the time, so it does not count. A first gate is built before, so
    that modules which it loads do not count. A few messages are judged, so that memory which a gate
    takes at its first use counts.
    """
    progress(f"weighing {kind} ids")
    messages = make_messages(kind, _FEW)
    messages = messages.append_column("visibility", pa.array(["public"] * messages.num_rows))
    _build(scenario.take_snapshot(make_consent(kind, _FEW.subjects))).decide(messages)
    snapshot = scenario.take_snapshot(make_consent(kind, subjects))
    before = resident_bytes()
    forget_peak()
    gate = _build(snapshot)
    peak = peak_bytes() - before
    gate.decide(messages)
    at_rest = resident_bytes() - before
    title = f"Memory, {kind} ids"
    each, most = at_rest / subjects, peak / subjects
    return Outcome(
        title,
        f"{subjects:,} subjects. Resident memory without that of the snapshot.",
        measures=(
            Measure("at rest", each, "bytes a subject"),
            Measure("peak while building", most, "bytes a subject"),
        ),
        figures=(
            Figure(f"{title}: at rest", each, "bytes a subject", Bound.AT_MOST, target),
            Figure(f"{title}: peak while building", most / each, "× at rest", Bound.AT_MOST, _PEAK),
        ),
    )


def _build(snapshot: cg.ConsentSnapshot) -> cg.Gate:
    return scenario.build_gate(snapshot, None, channels=(), visibility="visibility")
