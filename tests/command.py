"""Functions that run the command line and return how it ended."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from tests.build import NOW
from tests.processes import HANGING_S

Runner = Callable[..., "Outcome"]


@dataclass(frozen=True)
class Outcome:
    """The exit code of a command and its output."""

    code: int
    out: str
    err: str


def judge(**others: str) -> list[str]:
    """The options that every judgement needs; a keyword adds or replaces one."""
    options = {
        "policy": "policy.toml",
        "consent": "consent.parquet",
        "channels": "channels.parquet",
        "judged_at": NOW.isoformat(),
    }
    pairs = {**options, **others}.items()
    return [word for name, value in pairs for word in ("--" + name.replace("_", "-"), value)]


def run_process(*arguments: str, **options: Any) -> Outcome:
    """The command line as a process of its own."""
    command = [sys.executable, "-m", "consentgate", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=HANGING_S, **options)
    return Outcome(done.returncode, done.stdout, done.stderr)


def shown_on_terminal(*arguments: str, stream: str = "stderr", **environment: str) -> str:
    """Run a command on a terminal. Returns what it writes there. The command must succeed."""
    command = [sys.executable, "-m", "consentgate", *arguments]
    ours, theirs = pty.openpty()
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, stream: theirs}
    variables = {**os.environ, "TERM": "xterm", "COLUMNS": "120", **environment}
    with subprocess.Popen(command, env=variables, **streams) as process:  # type: ignore[call-overload]
        os.close(theirs)
        shown = b""
        with suppress(OSError):  # Linux says EIO once the other end is closed
            while chunk := os.read(ours, 4096):
                shown += chunk
        assert process.wait(HANGING_S) == 0
    os.close(ours)
    return shown.decode()


def assert_paragraph(text: str, code: str) -> None:
    assert text.startswith("consentgate: ")
    assert text.endswith(f"[{code}]\n")
    assert text.count("\n") == 1
    assert "Traceback" not in text
