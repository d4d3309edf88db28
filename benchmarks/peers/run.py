"""The library's own run as a contestant. Opening the saved gate is timed, too."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path

import consentgate as cg
from benchmarks.scenario import NOW
from benchmarks.stage import Runner, Stage

__all__ = ["RUN", "prepare"]

RUN = "consentgate run"


def prepare(stage: Stage) -> Mapping[str, Runner]:
    """The only contestant, for which nothing is prepared."""
    return {RUN: partial(_run, stage.gate)}


def _run(gate: Path, source: Path, output: Path) -> None:
    cg.run(cg.Gate.open(gate), source, output, judged_at=NOW)
