"""Two threads against one, and both against a bare random gather, which is the lower limit."""

from collections.abc import Iterator
from functools import partial

import consentgate as cg
from benchmarks import scenario
from benchmarks.contests.joins import setting
from benchmarks.corpus import Corpus, Size, make_corpus
from benchmarks.gather import LINE_BYTES, Gather
from benchmarks.ids import IdKind
from benchmarks.outcome import Bound, Figure, Measure, Outcome, Timing, ratio
from benchmarks.peers.gate import GateContestant
from benchmarks.process import progress, resident_bytes, run_alone
from benchmarks.sizes import Plan
from benchmarks.timing import race, take_turns

__all__ = ["threads"]

_TARGET = 1.8
_DISTANCES = {IdKind.INTEGER: 2.5, IdKind.STRING: None}
_ROUNDS = 5


def threads(plan: Plan) -> Iterator[Outcome]:
    """Time the gate and the gather, each with one thread and with two."""
    for kind, distance in _DISTANCES.items():
        yield run_alone(_scale, kind, plan.size, distance)


def _scale(kind: IdKind, size: Size, distance: float | None) -> Outcome:
    progress(f"making {kind} ids and what goes with them")
    corpus = make_corpus(kind, size)
    gate, index_bytes = _weighed_gate(corpus)
    judges = [_contestant(gate, 1), _contestant(gate, 2)]
    gate_1, gate_2 = race([*judges], corpus.messages)
    gather = Gather.make(size, index_bytes // LINE_BYTES)
    gather_1, gather_2 = _time_gather(gather)
    title = f"Threads, {kind} ids"
    described = (
        f"{setting(size)} The gather reads one word from a line of {LINE_BYTES} bytes for each "
        "message, from as much memory as the gate takes. Lines are as skewed as the senders. "
        "The gate looks up a subject and a channel for each message."
    )
    return Outcome(
        title,
        described,
        (gate_1, gate_2, gather_1, gather_2),
        (Measure("memory that is gathered from", index_bytes / 2**20, "MiB"),),
        (
            ratio(f"{title}: two against one", gate_1, gate_2, _TARGET),
            _distance(
                f"{title}: one thread's time compared with the gather", gate_1, gather_1, distance
            ),
            _distance(f"{title}: two threads' time compared with the gather", gate_2, gather_2),
        ),
    )


def _weighed_gate(corpus: Corpus) -> tuple[cg.Gate, int]:
    """A gate, and how much memory it takes."""
    snapshot = scenario.take_snapshot(corpus.consent)
    registry = scenario.take_registry(corpus.channels)
    before = resident_bytes()
    gate = scenario.build_gate(snapshot, registry, subjects=corpus.subjects)
    return gate, resident_bytes() - before


def _contestant(gate: cg.Gate, count: int) -> GateContestant:
    return GateContestant(f"gate, {_counted(count)}", lambda: gate, count)


def _time_gather(gather: Gather) -> Iterator[Timing]:
    runs = {f"gather, {_counted(count)}": partial(gather.run, count) for count in (1, 2)}
    seconds = take_turns(runs, dict.fromkeys(runs, _ROUNDS))
    for name, each in seconds.items():
        yield Timing(name, len(gather.positions), tuple(each))


def _distance(name: str, gate: Timing, gather: Timing, target: float | None = None) -> Figure:
    return Figure(name, gate.ns_per_row / gather.ns_per_row, "×", Bound.AT_MOST, target)


def _counted(count: int) -> str:
    return f"{count} thread{'s' if count > 1 else ''}"
