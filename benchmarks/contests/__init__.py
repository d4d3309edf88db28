"""The contests by name. Each is a function that takes a plan and yields outcomes."""

from collections.abc import Callable, Iterator, Mapping

from benchmarks.contests.adapters import adapters
from benchmarks.contests.batches import batches
from benchmarks.contests.cold import cold
from benchmarks.contests.files import files
from benchmarks.contests.growth import growth
from benchmarks.contests.joins import lists, warm
from benchmarks.contests.memory import memory
from benchmarks.contests.runs import runs
from benchmarks.contests.threads import threads
from benchmarks.outcome import Outcome
from benchmarks.sizes import Plan

__all__ = ["CONTESTS"]

CONTESTS: Mapping[str, Callable[[Plan], Iterator[Outcome]]] = {
    "warm": warm,
    "lists": lists,
    "cold": cold,
    "batches": batches,
    "memory": memory,
    "growth": growth,
    "threads": threads,
    "files": files,
    "runs": runs,
    "adapters": adapters,
}
"""To add a contest, name its function here."""
