"""The gate against joins. The gate is built and the peers' facts are computed beforehand."""

from collections.abc import Iterator, Sequence

from benchmarks.corpus import Corpus, Size, make_corpus
from benchmarks.ids import IdKind
from benchmarks.outcome import Outcome, Timing, ratio
from benchmarks.peers import acero_join, duckdb_join, gate, polars_join
from benchmarks.peers.base import Contestant
from benchmarks.process import cores, progress, run_alone
from benchmarks.sizes import Plan
from benchmarks.timing import race

__all__ = ["best", "lists", "setting", "warm"]

_WARM = {IdKind.INTEGER: 8.0, IdKind.STRING: 7.0, IdKind.UUID: 7.0}
_LISTS = {IdKind.INTEGER: 8.0, IdKind.STRING: 7.0}


def warm(plan: Plan) -> Iterator[Outcome]:
    """One subject a message."""
    for kind, target in _WARM.items():
        yield run_alone(_judge_warm, kind, plan.size, target)


def lists(plan: Plan) -> Iterator[Outcome]:
    """2 to 5 subjects a message."""
    for kind, target in _LISTS.items():
        size = plan.string_lists if kind is IdKind.STRING else plan.size
        yield run_alone(_judge_lists, kind, size, target)


def _judge_warm(kind: IdKind, size: Size, target: float) -> Outcome:
    corpus = _make(kind, size)
    contestants: list[Contestant] = [
        gate.warm(corpus, cores()),
        *polars_join.warm(corpus),
        *duckdb_join.warm(corpus),
        *acero_join.warm(corpus),
    ]
    return _race(f"Warm, {kind} ids", setting(size), corpus, contestants, target)


def _judge_lists(kind: IdKind, size: Size, target: float) -> Outcome:
    corpus = _make(kind, size, lists=True)
    contestants: list[Contestant] = [
        gate.warm(corpus, cores()),
        *polars_join.warm(corpus),
        *duckdb_join.warm(corpus),
    ]
    words = f"{setting(size)} Each message names 2 to 5 subjects. Acero cannot judge lists."
    return _race(f"Warm, lists of {kind} ids", words, corpus, contestants, target)


def _make(kind: IdKind, size: Size, *, lists: bool = False) -> Corpus:
    progress(f"making {kind} ids and what goes with them")
    return make_corpus(kind, size, lists=lists)


def _race(
    title: str,
    words: str,
    corpus: Corpus,
    contestants: Sequence[Contestant],
    target: float,
) -> Outcome:
    timings = race(contestants, corpus.messages)
    peer = best(timings[1:])
    name = f"{title}: times as fast as the best peer ({peer.contestant})"
    return Outcome(title, words, timings, figures=(ratio(name, peer, timings[0], target),))


def best(timings: Sequence[Timing]) -> Timing:
    """The fastest of them."""
    return min(timings, key=lambda timing: timing.ns_per_row)


def setting(size: Size) -> str:
    """How much data there is, in words."""
    return (
        f"{size.messages:,} messages, {size.subjects:,} subjects, {size.channels:,} channels; "
        f"{cores()} threads."
    )
