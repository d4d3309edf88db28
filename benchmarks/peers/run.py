"""The library's own run as a contestant, with a saved gate and from files with nothing built."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path

import consentgate as cg
from benchmarks.scenario import AS_OF, NOW, SCALAR, build_gate
from benchmarks.stage import Runner, Stage

__all__ = ["RUN", "prepare", "read_sources", "scripts"]

RUN = "consentgate run"


def prepare(stage: Stage) -> Mapping[str, Runner]:
    """The only contestant. Opening the saved gate is timed, too."""
    return {RUN: partial(_run, stage.gate)}


def scripts(stage: Stage) -> Mapping[str, Runner]:
    """A contestant that reads snapshot and registry, and builds the gate."""
    return {RUN: partial(_run_from_files, stage)}


def read_sources(stage: Stage) -> tuple[cg.ConsentSnapshot, cg.ChannelRegistry]:
    """The snapshot and the registry that are on the stage."""
    snapshot = cg.ConsentSnapshot.read(stage.consent, as_of=AS_OF, source="generated")
    registry = cg.ChannelRegistry.read(stage.registry, as_of=AS_OF, source="generated")
    return snapshot, registry


def _run(gate: Path, source: Path, output: Path) -> None:
    cg.run(cg.Gate.open(gate), source, output, judged_at=NOW)


def _run_from_files(stage: Stage, source: Path, output: Path) -> None:
    gate = build_gate(*read_sources(stage), subjects=SCALAR)
    cg.run(gate, source, output, judged_at=NOW)
