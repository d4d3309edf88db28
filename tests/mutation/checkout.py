"""Copies of the project, in which mutants are tested."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from enum import StrEnum
from itertools import count
from pathlib import Path
from typing import NamedTuple

__all__ = ["PROJECT", "Checkout", "Fate", "Outcome"]

PROJECT = Path(__file__).parents[2]
COPIED = ["src", "tests", "docs", "pyproject.toml"]
MOST_MEMORY = 12 << 30
"""Most bytes of address space of a test process, so that a mutant cannot take all memory."""
HANGING_S = 60
"""A single test that takes more seconds than this is taken to hang."""
OPTIONS = [
    *("-x", "-q", "--no-header", "--tb=line", "-p", "no:cacheprovider", "--basetemp=tmp"),
    *("--hypothesis-profile=mutation", "-o", f"faulthandler_timeout={HANGING_S}"),
    *("-o", "faulthandler_exit_on_timeout=true"),
]


class Fate(StrEnum):
    """How the test of a mutant can end."""

    KILLED = "killed"
    HUNG = "killed, as it hung"
    SURVIVED = "survived"
    EQUIVALENT = "equivalent"


class Outcome(NamedTuple):
    """The fate of a mutant, the seconds that its tests took, and what they printed."""

    fate: Fate
    seconds: float
    output: str


class Checkout:
    """A copy of the sources and tests, in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._instants = count(1_000_000_000)
        for name in COPIED:
            copy = shutil.copytree if (PROJECT / name).is_dir() else shutil.copy
            copy(PROJECT / name, folder / name)

    def test(self, module: str, code: str, tests: Sequence[str], *, timeout_s: float) -> Outcome:
        """Run tests until one fails, with other code instead of a module's own."""
        path = self.folder / "src" / "consentgate" / f"{module}.py"
        original = path.read_text(encoding="utf-8")
        self._write(path, code)
        try:
            return self._run(["-m", "pytest", *OPTIONS, *tests], timeout_s)
        finally:
            self._write(path, original)

    def imported_from(self) -> Path:
        """The path from which a test process imports the package."""
        where = self._run(["-c", "import consentgate; print(consentgate.__file__)"], HANGING_S)
        return Path(where.output.strip())

    def _write(self, path: Path, code: str) -> None:
        """Write a module, with a modification time that no other version of it had.

        By this time and the size, Python knows whether a compiled module is out of date.
        """
        path.write_text(code, encoding="utf-8")
        instant = next(self._instants)
        os.utime(path, (instant, instant))

    def _run(self, arguments: Sequence[str], timeout_s: float) -> Outcome:
        environment = {name: v for name, v in os.environ.items() if not name.startswith("PYTHON")}
        began = time.monotonic()
        process = subprocess.Popen(
            [sys.executable, *arguments],
            cwd=self.folder,
            env={**environment, "PYTHONPATH": str(self.folder / "src")},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
            preexec_fn=_limit_memory,
        )
        try:
            output, _ = process.communicate(timeout=timeout_s)
            fate = Fate.KILLED if process.returncode else Fate.SURVIVED
        except subprocess.TimeoutExpired:
            output, fate = "", Fate.HUNG
        _end(process)
        return Outcome(fate, time.monotonic() - began, output)


def _limit_memory() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MOST_MEMORY, MOST_MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _end(process: subprocess.Popen[str]) -> None:
    """End all processes that the tests have left running. They are in one process group."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
