"""How much data each run judges."""

from dataclasses import dataclass

from benchmarks.corpus import Size

__all__ = ["FULL", "SMALL", "Plan"]


@dataclass(frozen=True)
class Plan:
    """What one run of the suite consists of.

    Attributes:
        name: what results are filed under.
        size: the data of most contests.
        string_lists: the data of the one on lists of strings, of which the peers need most memory.
        batches: how many batches each small-batch contest judges.
        growth: numbers of subjects over which the cost per row may grow.
    """

    name: str
    size: Size
    string_lists: Size
    batches: int
    growth: tuple[int, ...]


SMALL = Plan(
    name="small",
    size=Size(messages=1_000_000, subjects=500_000, channels=25_000),
    string_lists=Size(messages=1_000_000, subjects=500_000, channels=25_000),
    batches=100,
    growth=(50_000, 500_000),
)
FULL = Plan(
    name="full",
    size=Size(messages=20_000_000, subjects=10_000_000, channels=500_000),
    string_lists=Size(messages=10_000_000, subjects=10_000_000, channels=500_000),
    batches=200,
    growth=(1_000_000, 10_000_000, 100_000_000),
)
