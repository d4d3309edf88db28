"""The command line's version and help."""

from __future__ import annotations

import subprocess
import sys

import pytest

import consentgate as cg
from tests.command import Outcome, Runner
from tests.processes import HANGING_S


def test_the_version_is_the_packages(run: Runner) -> None:
    assert run("--version") == Outcome(0, f"consentgate {cg.__version__}\n", "")


@pytest.mark.parametrize(
    "command", [[], ["demo"], ["filter"], ["explain"], ["policy"], ["policy", "check"]]
)
def test_help_documents_the_exit_codes(run: Runner, command: list[str]) -> None:
    outcome = run(*command, "--help")
    assert outcome.code == 0
    assert "Exit codes: 0 done; 1 the input or the policy is at fault" in outcome.out


def test_the_library_loads_no_command_line() -> None:
    script = "import sys, consentgate; sys.exit(bool({'typer', 'rich'} & sys.modules.keys()))"
    assert subprocess.run([sys.executable, "-c", script], timeout=HANGING_S).returncode == 0
