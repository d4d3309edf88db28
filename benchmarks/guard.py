"""The guard against slowness, which fails if the gate does not beat the best engine.

It is small enough to run for every change, and its limits are low enough to prevent false alarms.
It uses two cores only, so that the ratio means the same on a machine with more cores.
"""

import os

from benchmarks.contests.joins import best
from benchmarks.corpus import Size, make_corpus
from benchmarks.ids import IdKind
from benchmarks.outcome import Figure, ratio
from benchmarks.peers import duckdb_join, gate, polars_join
from benchmarks.peers.base import Contestant
from benchmarks.process import cores, progress, run_alone
from benchmarks.timing import race

__all__ = ["guard"]

_SIZE = Size(4_000_000, 2_000_000, 100_000)
_BOUNDS = {IdKind.INTEGER: 4.0, IdKind.STRING: 3.5}
"""How many times as fast the gate is at least."""
_ATTEMPTS = 3
_CORES = 2


def guard() -> bool:
    """Whether a gate that was built beforehand beats the best peer by enough.

    A lower ratio gets up to two more attempts, because other work on the machine may have
    disturbed the first one.
    """
    if hasattr(os, "sched_setaffinity"):  # not on macOS and Windows
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:_CORES])
    verdicts = [_is_fast(kind, bound) for kind, bound in _BOUNDS.items()]
    return all(verdicts)


def _is_fast(kind: IdKind, bound: float) -> bool:
    for _ in range(_ATTEMPTS):
        figure = run_alone(_compare, kind, bound)
        verdict = "fast enough" if figure.is_met else "too slow"
        print(f"{figure.name}: {figure.value:.2f} × (at least {bound} ×): {verdict}")
        if figure.is_met:
            return True
    return False


def _compare(kind: IdKind, bound: float) -> Figure:
    progress(f"comparing {kind} ids")
    corpus = make_corpus(kind, _SIZE)
    peers: list[Contestant] = [*polars_join.warm(corpus), *duckdb_join.warm(corpus)]
    timings = race([gate.warm(corpus, cores()), *peers], corpus.messages)
    peer = best(timings[1:])
    name = f"{kind.capitalize()} ids: times as fast as the best peer ({peer.contestant})"
    return ratio(name, peer, timings[0], bound)
