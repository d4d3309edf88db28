"""The gate against a Python dict and the engines, in small batches such as a data loader reads."""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial

import numpy as np
import pyarrow as pa

from benchmarks.contests.joins import best
from benchmarks.corpus import SEED, Corpus, Size, make_corpus
from benchmarks.ids import IdKind
from benchmarks.outcome import Bound, Figure, Outcome, Timing, ratio
from benchmarks.peers import duckdb_join, gate, polars_join, python_dict
from benchmarks.peers.base import Bits, Contestant, WrongAnswerError, refuse_difference
from benchmarks.process import cores, progress, run_alone
from benchmarks.sizes import Plan
from benchmarks.texts import make_texts
from benchmarks.timing import time_once, without_collector

__all__ = ["batches"]

_TARGETS: Mapping[int, Mapping[str, float | None]] = {
    4096: {"Python dict": 30.0, "DuckDB": 500.0, "Polars": None},
    256: {"Python dict": 2.0},
}
_MOST_ROWS = max(_TARGETS)
_FILTER_TARGET_MS = 0.3
_TURN = 10
_SLOW_S = 0.025


def batches(plan: Plan) -> Iterator[Outcome]:
    """Yield the outcomes for batches of two sizes, and then that of filtering batches."""
    yield from run_alone(_judge_batches, plan)


def _judge_batches(plan: Plan) -> list[Outcome]:
    progress("making string ids and what goes with them")
    size = Size(_MOST_ROWS * (plan.batches + 1), plan.size.subjects, plan.size.channels)
    corpus = make_corpus(IdKind.STRING, size)
    progress("preparing the contestants")
    judge = gate.warm(corpus, cores())
    contestants: list[Contestant] = [
        judge,
        *python_dict.batches(corpus),
        *polars_join.batches(corpus),
        *duckdb_join.batches(corpus),
    ]
    outcomes = [_outcome(corpus, contestants, rows, plan) for rows in _TARGETS]
    return [*outcomes, _filter_outcome(judge, corpus.messages, plan)]


def _outcome(corpus: Corpus, contestants: Sequence[Contestant], rows: int, plan: Plan) -> Outcome:
    progress(f"judging batches of {rows} rows")
    timings = _race(contestants, _cut(corpus.messages, rows, plan.batches + 1))
    title = f"Batches of {rows:,} rows, string ids"
    words = (
        f"{plan.batches} different batches against {plan.size.subjects:,} subjects and "
        f"{plan.size.channels:,} channels. Contestants that are slow judge every tenth batch. Each "
        "run is one batch."
    )
    return Outcome(title, words, timings, figures=tuple(_figures(title, timings)))


def _figures(title: str, timings: Sequence[Timing]) -> Iterator[Figure]:
    for peer, target in _TARGETS[timings[0].rows].items():
        fastest = best([timing for timing in timings if timing.contestant.startswith(peer)])
        name = f"{title}: times as fast as {fastest.contestant}"
        yield ratio(name, fastest, timings[0], target)


def _cut(messages: pa.Table, rows: int, count: int) -> list[pa.Table]:
    """Batches from all over the messages, each in memory of its own, as a reader makes them."""
    starts = [messages.num_rows // count * number for number in range(count)]
    return [messages.slice(start, rows).take(pa.array(range(rows))) for start in starts]


def _race(contestants: Sequence[Contestant], batches: Sequence[pa.Table]) -> tuple[Timing, ...]:
    """Let contestants take turns of ten batches. The last batch is only for warming up.

    Raises:
        WrongAnswerError: A contestant differs from the first about some message of some batch.
    """
    *judged, spare = batches
    strides = {contestant.name: _stride(contestant, spare) for contestant in contestants}
    seconds: dict[str, list[float]] = {contestant.name: [] for contestant in contestants}
    with without_collector():
        for number, start in enumerate(range(0, len(judged), _TURN)):
            turn = judged[start : start + _TURN]
            shift = number % len(contestants)
            answers = []
            for contestant in [*contestants[shift:], *contestants[:shift]]:
                for at in range(0, len(turn), strides[contestant.name]):
                    taken, bits = _judge_one(contestant, turn[at])
                    seconds[contestant.name].append(taken)
                    answers.append((contestant.name, at, bits))
            _compare(answers, [_judge_one(contestants[0], batch)[1] for batch in turn])
    return tuple(Timing(name, spare.num_rows, tuple(each)) for name, each in seconds.items())


def _compare(answers: Sequence[tuple[str, int, Bits]], expected: Sequence[Bits]) -> None:
    for name, at, bits in answers:
        refuse_difference(name, bits, expected[at])


def _stride(contestant: Contestant, batch: pa.Table) -> int:
    """Warm a contestant up; 1 if it should judge every batch, 10 if every tenth."""
    _judge_one(contestant, batch)
    taken, _ = _judge_one(contestant, batch)
    return _TURN if taken > _SLOW_S else 1


def _judge_one(contestant: Contestant, batch: pa.Table) -> tuple[float, Bits]:
    taken, judged = time_once(partial(contestant.judge, contestant.load(batch)))
    first = int(batch["message_id"][0].as_py())
    return taken, np.array(contestant.read(judged).in_order(first))


def _filter_outcome(judge: gate.GateContestant, messages: pa.Table, plan: Plan) -> Outcome:
    progress(f"filtering batches of {_MOST_ROWS} rows")
    texts = make_texts(np.random.default_rng([SEED, 7]), messages.num_rows)
    batches = _cut(messages.append_column("text", texts), _MOST_ROWS, plan.batches + 1)
    timings = _race_filters(judge, batches)
    title = f"Filter of batches of {_MOST_ROWS:,} rows with texts of 200 bytes, string ids"
    words = (
        "Batches as above, with texts. The gate returns the admitted rows and the list of excluded "
        "ones. The copies take the same rows by a ready mask."
    )
    own_ms = timings[0].median_s * 1e3
    figure = Figure(f"{title}: takes", own_ms, "ms", Bound.AT_MOST, _FILTER_TARGET_MS)
    return Outcome(title, words, timings, figures=(figure,))


def _race_filters(judge: gate.GateContestant, batches: Sequence[pa.Table]) -> tuple[Timing, ...]:
    """Time `filter` and plain copies of the same rows in turns. The first batch is for warming up.

    Raises:
        WrongAnswerError: A batch that is filtered has other rows or reasons than `decide` gives.
    """
    seconds: dict[str, list[float]] = {"gate": [], "plain copy": []}
    filtering = judge.make_gate()
    with without_collector():
        for number, batch in enumerate(reversed(batches)):
            run = partial(filtering.filter, batch, threads=judge.threads)
            own_s, (admitted, excluded) = time_once(run)  # before other work reads the same memory
            bits = judge.read(judge.judge(batch)).in_order(0)
            copy_s, copied = time_once(partial(batch.filter, pa.array(bits == 0)))
            _refuse_other_rows(bits, admitted, excluded, copied)
            if number:
                seconds["gate"].append(own_s)
                seconds["plain copy"].append(copy_s)
    return tuple(Timing(name, _MOST_ROWS, tuple(each)) for name, each in seconds.items())


def _refuse_other_rows(
    bits: Bits, admitted: pa.Table, excluded: pa.Table, copied: pa.Table
) -> None:
    found = np.zeros_like(bits)
    found[excluded["row"].to_numpy()] = excluded["reason_bits"].to_numpy()
    refuse_difference("filter", found, bits)
    if not admitted.equals(copied):
        raise WrongAnswerError("filter does not return the rows that it should.")
