"""The outcome of a contest: times, other measures, and the figures computed from them."""

from dataclasses import dataclass
from enum import StrEnum

import numpy as np

__all__ = ["Bound", "Figure", "Measure", "Outcome", "Timing", "ratio"]


@dataclass(frozen=True)
class Timing:
    """The seconds that a contestant took for so many rows, run by run."""

    contestant: str
    rows: int
    seconds: tuple[float, ...]

    @property
    def median_s(self) -> float:
        """The median run."""
        return float(np.median(self.seconds))

    @property
    def spread_s(self) -> float:
        """The 90th percentile of the runs minus the 10th; zero for one run."""
        low, high = np.percentile(self.seconds, [10, 90])
        return float(high - low)

    @property
    def ns_per_row(self) -> float:
        """Nanoseconds a row in the median run."""
        return self.median_s / self.rows * 1e9


@dataclass(frozen=True)
class Measure:
    """A value that was measured once and is not a time per row."""

    name: str
    value: float
    unit: str


class Bound(StrEnum):
    """On which side of its target a figure should lie."""

    AT_LEAST = "≥"
    AT_MOST = "≤"


@dataclass(frozen=True)
class Figure:
    """A number that may have a target. Without one, it is only reported."""

    name: str
    value: float
    unit: str
    bound: Bound = Bound.AT_LEAST
    target: float | None = None

    @property
    def is_met(self) -> bool | None:
        """Whether the figure is on the right side of its target; None without a target."""
        if self.target is None:
            return None
        if self.bound is Bound.AT_LEAST:
            return self.value >= self.target
        return self.value <= self.target


@dataclass(frozen=True)
class Outcome:
    """One contest on one kind of data.

    Attributes:
        title: the contest and the data, as a heading.
        setting: how much data there is, and what a reader needs to know to understand the numbers.
    """

    title: str
    setting: str
    timings: tuple[Timing, ...] = ()
    measures: tuple[Measure, ...] = ()
    figures: tuple[Figure, ...] = ()


def ratio(name: str, slow: Timing, fast: Timing, target: float | None = None) -> Figure:
    """How many times as long the slow one takes for a row."""
    return Figure(name, slow.ns_per_row / fast.ns_per_row, "×", Bound.AT_LEAST, target)
