"""Timing contestants in turns, after a comparison of their answers."""

import gc
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import pyarrow as pa

from benchmarks.outcome import Timing
from benchmarks.peers.base import Contestant, refuse_difference
from benchmarks.process import progress

__all__ = ["race", "take_turns", "time_once", "turns", "without_collector"]

_ROUNDS = 5
_FEWEST_ROUNDS = 2
_BUDGET_S = 15.0
_PATIENCE_S = 45.0

Run = Callable[[], Any]


def race(contestants: Sequence[Contestant], messages: pa.Table) -> tuple[Timing, ...]:
    """Time contestants on the same messages, after a check that all give the same answer.

    The first run of a contestant is for this check, and to warm up. Then contestants take turns,
    five times each. A contestant that would take more than 15 seconds for its five turns has fewer
    turns, but at least two. If its first run takes more than 45 seconds, that run is its only time.

    Raises:
        WrongAnswerError: Two contestants differ about some message.
    """
    runs: dict[str, Run] = {}
    first_s: dict[str, float] = {}
    expected = None
    for contestant in contestants:
        run = partial(contestant.judge, contestant.load(messages))
        first_s[contestant.name], judged = time_once(run)
        bits = contestant.read(judged).in_order(0)
        expected = bits if expected is None else expected
        refuse_difference(contestant.name, bits, expected)
        progress(f"{contestant.name}: agrees, {first_s[contestant.name]:.3f} s in its first run")
        runs[contestant.name] = run
    rounds = {name: _rounds(seconds) for name, seconds in first_s.items()}
    seconds = take_turns(runs, rounds)
    return tuple(
        Timing(name, messages.num_rows, tuple(seconds[name] or [first_s[name]])) for name in runs
    )


def take_turns(runs: Mapping[str, Run], rounds: Mapping[str, int]) -> dict[str, list[float]]:
    """The seconds of all runs of each contestant. Each round begins with another contestant."""
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    with without_collector():
        for name in turns(rounds):
            seconds[name].append(time_once(runs[name])[0])
    return seconds


def turns(rounds: Mapping[str, int]) -> Iterator[str]:
    """The names in the order of their turns. Each round begins with another name."""
    names = list(rounds)
    for number in range(max(rounds.values())):
        shift = number % len(names)
        for name in names[shift:] + names[:shift]:
            if number < rounds[name]:
                yield name


def time_once(run: Run) -> tuple[float, Any]:
    """The seconds that one call takes, and what it returns."""
    start = time.perf_counter()
    result = run()
    return time.perf_counter() - start, result


@contextmanager
def without_collector() -> Iterator[None]:
    """Switch off Python's garbage collector, which would run in some contestant's time."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def _rounds(first_s: float) -> int:
    if first_s > _PATIENCE_S:
        return 0
    return max(_FEWEST_ROUNDS, min(_ROUNDS, int(_BUDGET_S / first_s)))
