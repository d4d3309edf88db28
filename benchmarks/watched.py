"""A run whose memory is watched, in a process that has loaded little else."""

from pathlib import Path
from typing import NamedTuple

import consentgate as cg
from benchmarks.process import MemoryWatch, peak_bytes
from benchmarks.scenario import NOW
from benchmarks.timing import time_once

__all__ = ["WatchedRun", "watch_run"]


class WatchedRun(NamedTuple):
    """The time and the memory of a run.

    Attributes:
        own_bytes: the most memory that the process held, without the pages of files.
        before_bytes: such memory that the process held before the run, with all modules loaded.
        resident_bytes: the most memory that the process held, with the pages of files.
    """

    rows: int
    seconds: float
    own_bytes: int
    before_bytes: int
    resident_bytes: int


def watch_run(gate: Path, source: Path, destination: Path) -> WatchedRun:
    """Run a saved gate from one data set to another."""
    with MemoryWatch() as watch:
        seconds, manifest = time_once(lambda: _run(gate, source, destination))
    totals = manifest.totals
    return WatchedRun(totals.rows, seconds, watch.peak_bytes, watch.before_bytes, peak_bytes())


def _run(gate: Path, source: Path, destination: Path) -> cg.Manifest:
    return cg.run(cg.Gate.open(gate), source, destination, judged_at=NOW)
