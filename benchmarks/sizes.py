"""The amounts of data that each run of the suite judges."""

from dataclasses import dataclass

from benchmarks.corpus import Size

__all__ = ["FULL", "SMALL", "Plan", "Shapes"]

_MIB, _GIB = 1 << 20, 1 << 30


@dataclass(frozen=True)
class Shapes:
    """The sizes of data sets with which the memory of a run should not grow.

    Attributes:
        large_bytes: the size of a file of one row group.
        groups: how many row groups of ten rows a file has.
        files: how many small files there are.
        wide_rows: how many rows the file of 2,000 columns has, in one row group.
    """

    large_bytes: int
    groups: int
    files: int
    wide_rows: int


@dataclass(frozen=True)
class Plan:
    """The data and the rounds of one run of the suite.

    Attributes:
        name: the name under which results are saved.
        size: the data of most contests.
        string_lists: the data of the contest on lists of strings, where peers need most memory.
        batches: how many batches each small-batch contest judges.
        growth: the numbers of subjects for which the cost of a row is compared.
        runs: the data of the timed runs from data set to data set, and of the adapters.
        run_rounds: how many turns each contestant takes there.
        shapes: the data of the runs whose memory is watched.
    """

    name: str
    size: Size
    string_lists: Size
    batches: int
    growth: tuple[int, ...]
    runs: Size
    run_rounds: int
    shapes: Shapes


SMALL = Plan(
    name="small",
    size=Size(messages=1_000_000, subjects=500_000, channels=25_000),
    string_lists=Size(messages=1_000_000, subjects=500_000, channels=25_000),
    batches=100,
    growth=(50_000, 500_000),
    runs=Size(messages=100_000, subjects=100_000, channels=5_000),
    run_rounds=2,
    shapes=Shapes(large_bytes=128 * _MIB, groups=2_000, files=300, wide_rows=1_000),
)
FULL = Plan(
    name="full",
    size=Size(messages=20_000_000, subjects=10_000_000, channels=500_000),
    string_lists=Size(messages=10_000_000, subjects=10_000_000, channels=500_000),
    batches=200,
    growth=(1_000_000, 10_000_000, 100_000_000),
    runs=Size(messages=5_000_000, subjects=10_000_000, channels=500_000),
    run_rounds=5,
    shapes=Shapes(large_bytes=4 * _GIB, groups=100_000, files=10_000, wide_rows=100_000),
)
