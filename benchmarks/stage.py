"""Contestants that read data sets and write others: their files, and the processes they work in.

Every engine has a process of its own as long as a contest takes, so that engines do not disturb
each other. It prepares its contestants there, once. Contestants take turns. Before a turn begins,
everything that earlier turns wrote is synced to the disk.
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
    """A folder with the files that contestants need."""

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
    def consent(self) -> Path:
        """The consent records, in Parquet."""
        return self.folder / "consent.parquet"

    @property
    def registry(self) -> Path:
        """The channel registry, in Parquet."""
        return self.folder / "registry.parquet"

    @property
    def answer(self) -> Path:
        """`message_id`, `reason_bits`, `admitted` and `text_bytes` of each message, in Parquet."""
        return self.folder / "answer.parquet"

    @property
    def one_file(self) -> Path:
        """All messages, in one file."""
        return self.folder / "messages.parquet"

    @property
    def marked_file(self) -> Path:
        """All messages, with a last column `ok` that says whether they are admitted."""
        return self.folder / "marked.parquet"

    @property
    def many_files(self) -> Path:
        """All messages, in several files of a folder."""
        return self.folder / "messages"

    @property
    def output(self) -> Path:
        """The folder that contestants write."""
        return self.folder / "output"


class Turn(NamedTuple):
    """The seconds that one turn took, and its processor seconds."""

    seconds: float
    cpu_s: float


class Crew:
    """The contestants of one engine, in a process of their own until the block ends.

    Args:
        prepare: a module's function, which is called in that process before any turn.
    """

    def __init__(self, prepare: Callable[[Stage], Mapping[str, Runner]], stage: Stage) -> None:
        self._worker, self._prepare, self._stage = Worker(), prepare, stage
        self.names: tuple[str, ...] = ()

    def take_turn(self, name: str, source: Path) -> Turn:
        """Empty the stage's output folder, and let a contestant read the source and write there."""
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


def parquet_files(data: Path) -> list[Path]:
    """The file at a path, or the files of a folder in order, without those of a ledger."""
    if data.is_file():
        return [data]
    return sorted(path for path in data.rglob("[!_]*.parquet") if _is_data(path, data))


def ledger_folder(output: Path) -> Path:
    """The folder of the ledger in an output, which is the same for all contestants."""
    return output / "_consentgate" / "ledger"


def _is_data(path: Path, folder: Path) -> bool:
    return path.is_file() and path.relative_to(folder).parts[0] != "_consentgate"
