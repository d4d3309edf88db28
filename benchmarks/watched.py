"""A run whose memory is watched, in a process that has loaded little else."""

from pathlib import Path
from typing import NamedTuple

import consentgate as cg
from benchmarks.process import MemoryWatch, peak_bytes
from benchmarks.scenario import NOW
from benchmarks.timing import time_once

__all__ = ["WatchedRun", "watch_run"]


class WatchedRun(NamedTuple):
    """What a run took.

    Attributes:
        own_bytes: the most memory the process held, files' pages left out.
        before_bytes: as much of that as it held before, with everything loaded.
        resident_bytes: the most it held, files' pages included.
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
