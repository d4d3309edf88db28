"""Functions that fork processes, wait for them, or run code as a user without rights."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
HANGING_S = 300
"""Seconds after which a process or a thread is taken to hang.

It is far more than any takes, because a machine may run several tests and other work at once.
"""


def fork(work: Callable[[], object]) -> int:
    """The process that does some work and exits with 0 if it went well."""
    process = os.fork()
    if process == 0:
        code = 1
        try:
            work()
            code = 0
        finally:
            os._exit(code)
    return process


def end_of(process: int) -> int:
    """The exit code of a process, or minus the number of the signal that killed it."""
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


def let_others_in(folder: Path) -> None:
    """Let every user read a folder and reach it through the folders above.

    Only root changes anything: as any other user, `as_nobody` skips the test.
    """
    if os.geteuid():
        return
    for each in (folder, *folder.parents):
        if each.stat().st_mode & 0o005 != 0o005:
            each.chmod(0o755)


def as_nobody(code: str) -> subprocess.CompletedProcess[str]:
    """Run some code as a user without rights."""
    if os.geteuid():
        pytest.skip("only root can become somebody who may do less")
    code = f"import os; os.setgid(65534); os.setuid(65534)\n{code}"
    command = [sys.executable, "-c", f"import consentgate as cg, tests.run_data as r\n{code}"]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
