"""Two threads against one, and both against a bare random gather, which is the lower limit."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt

import consentgate as cg
from benchmarks import scenario
from benchmarks.contests.joins import setting
from benchmarks.corpus import SEED, Corpus, Size, make_corpus, skewed
from benchmarks.ids import IdKind, make_ids
from benchmarks.outcome import Figure, Measure, Outcome, Timing, ratio
from benchmarks.peers.gate import GateContestant
from benchmarks.process import progress, resident_bytes, run_alone
from benchmarks.sizes import Plan
from benchmarks.timing import race, take_turns
from consentgate.arrow.threads import row_blocks

__all__ = ["threads"]

_TARGET = 1.7
_ROUNDS = 5
_ENTRY_INTEGERS = {IdKind.INTEGER: 2, IdKind.STRING: 4}
"""64-bit integers of an entry, as many as the entries of the gate's index have."""


def threads(plan: Plan) -> Iterator[Outcome]:
    """Time the gate and the gather, each with one thread and with two."""
    for kind in (IdKind.INTEGER, IdKind.STRING):
        yield run_alone(_scale, kind, plan.size)


def _scale(kind: IdKind, size: Size) -> Outcome:
    progress(f"making {kind} ids and what goes with them")
    corpus = make_corpus(kind, size)
    gate, index_bytes = _weighed_gate(corpus)
    judges = [_contestant(gate, 1), _contestant(gate, 2)]
    gate_1, gate_2 = race([*judges], corpus.messages)
    width = _ENTRY_INTEGERS[kind]
    gather = _Gather.make(size, index_bytes // (8 * width), width)
    gather_1, gather_2 = _time_gather(gather)
    title = f"Threads, {kind} ids"
    described = (
        f"{setting(size)} The gather reads one entry of {8 * width} bytes for each message, from "
        "as much memory as the gate takes. The entries are random, and as skewed as the senders. "
        "The gate looks up a subject and a channel for each message."
    )
    return Outcome(
        title,
        described,
        (gate_1, gate_2, gather_1, gather_2),
        (Measure("memory that is gathered from", index_bytes / 2**20, "MiB"),),
        (
            ratio(f"{title}: two against one", gate_1, gate_2, _TARGET),
            _distance(f"{title}: one thread's time compared with the gather", gate_1, gather_1),
            _distance(f"{title}: two threads' time compared with the gather", gate_2, gather_2),
        ),
    )


@dataclass(frozen=True)
class _Gather:
    """A number of entries, and the position of one of them for every message."""

    entries: npt.NDArray[np.uint64]
    positions: npt.NDArray[np.int64]

    @classmethod
    def make(cls, size: Size, entries: int, width: int) -> "_Gather":
        """Draw positions that are as skewed as senders; an entry is so many 64-bit integers."""
        random = np.random.default_rng([SEED, 4])
        senders = skewed(random, size.subjects, size.messages)
        positions = make_ids(IdKind.INTEGER, senders).to_numpy() % entries
        return cls(np.ones((entries, width), dtype=np.uint64), positions)

    def run(self, workers: int) -> None:
        """Gather for every message, a block at a time."""
        with ThreadPoolExecutor(workers) as pool:
            for _ in pool.map(self._take, row_blocks(len(self.positions))):
                pass

    def _take(self, rows: slice) -> None:
        self.entries.take(self.positions[rows], axis=0, mode="clip")  # as the gate does it


def _weighed_gate(corpus: Corpus) -> tuple[cg.Gate, int]:
    """A gate, and how much memory it takes."""
    snapshot = scenario.take_snapshot(corpus.consent)
    registry = scenario.take_registry(corpus.channels)
    before = resident_bytes()
    gate = scenario.build_gate(snapshot, registry, subjects=corpus.subjects)
    return gate, resident_bytes() - before


def _contestant(gate: cg.Gate, count: int) -> GateContestant:
    return GateContestant(f"gate, {_counted(count)}", lambda: gate, count)


def _time_gather(gather: _Gather) -> Iterator[Timing]:
    runs = {f"gather, {_counted(count)}": partial(gather.run, count) for count in (1, 2)}
    seconds = take_turns(runs, dict.fromkeys(runs, _ROUNDS))
    for name, each in seconds.items():
        yield Timing(name, len(gather.positions), tuple(each))


def _distance(name: str, gate: Timing, gather: Timing) -> Figure:
    return Figure(name, gate.ns_per_row / gather.ns_per_row, "×")


def _counted(count: int) -> str:
    return f"{count} thread{'s' if count > 1 else ''}"
