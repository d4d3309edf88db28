"""Contestants that read data sets and write others: what they are given, and where each works.

Every engine has a process of its own for as long as a contest takes, so that none is in another's
way, and what it prepares once, it prepares there. They take turns; a turn begins when the disk has
written what the turn before it left behind.
"""

import gc
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple, Self

from benchmarks.process import Worker, cpu_s
from benchmarks.timing import time_once

__all__ = ["Crew", "Runner", "Stage", "Turn", "ledger_folder", "parquet_files"]

Runner = Callable[[Path, Path], None]
"""Reads messages in one file or folder and writes the admitted ones into another folder."""

_runners: dict[str, Runner] = {}


@dataclass(frozen=True)
class Stage:
    """A folder with what contestants need."""

    folder: Path

    @property
    def gate(self) -> Path:
        """The saved gate."""
        return self.folder / "gate"

    @property
    def facts(self) -> Path:
        """The compact table of subjects, in Parquet."""
        return self.folder / "facts.parquet"

    @property
    def channels(self) -> Path:
        """The compact table of channels, in Parquet."""
        return self.folder / "channels.parquet"

    @property
    def answer(self) -> Path:
        """`message_id`, `reason_bits`, `admitted` and `text_bytes` by message, in Parquet."""
        return self.folder / "answer.parquet"

    @property
    def one_file(self) -> Path:
        """All messages."""
        return self.folder / "messages.parquet"

    @property
    def marked_file(self) -> Path:
        """All messages and, last, the boolean `ok`: whether they are admitted."""
        return self.folder / "marked.parquet"

    @property
    def many_files(self) -> Path:
        """All messages again, in the files of a folder."""
        return self.folder / "messages"

    @property
    def output(self) -> Path:
        """Where contestants write."""
        return self.folder / "output"


class Turn(NamedTuple):
    """What one turn took: seconds, and seconds of one core."""

    seconds: float
    cpu_s: float


class Crew:
    """The contestants of one engine, in a process of their own until the block ends.

    Args:
        prepare: called over there, before any turn; a function of a module.
    """

    def __init__(self, prepare: Callable[[Stage], Mapping[str, Runner]], stage: Stage) -> None:
        self._worker, self._prepare, self._stage = Worker(), prepare, stage
        self.names: tuple[str, ...] = ()

    def take_turn(self, name: str, source: Path) -> Turn:
        """Let a contestant read the source and fill the stage's output folder anew."""
        return self._worker.call(_take_turn, name, source, self._stage.output)

    def __enter__(self) -> Self:
        self._worker.__enter__()
        self.names = self._worker.call(_hire, self._prepare, self._stage)
        return self

    def __exit__(self, *error: object) -> None:
        self._worker.__exit__(*error)


def _hire(prepare: Callable[[Stage], Mapping[str, Runner]], stage: Stage) -> tuple[str, ...]:
    _runners.update(prepare(stage))
    return tuple(_runners)


def _take_turn(name: str, source: Path, output: Path) -> Turn:
    shutil.rmtree(output, ignore_errors=True)
    output.mkdir()
    gc.collect()
    os.sync()
    before = cpu_s()
    seconds, _ = time_once(partial(_runners[name], source, output))
    return Turn(seconds, cpu_s() - before)


def parquet_files(place: Path) -> list[Path]:
    """A file by itself, or those of a folder in order; a ledger is none of them."""
    if place.is_file():
        return [place]
    return sorted(path for path in place.rglob("[!_]*.parquet") if _is_data(path, place))


def ledger_folder(output: Path) -> Path:
    """Where the ledger of a run goes, so that all contestants' are found in the same way."""
    return output / "_consentgate" / "ledger"


def _is_data(path: Path, place: Path) -> bool:
    return path.is_file() and path.relative_to(place).parts[0] != "_consentgate"
