"""The command line where stdout or stderr takes no text."""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.filtering import (
    METADATA,
    assert_outputs,
    assert_same,
    expected,
    messages,
    read,
    write,
)
from tests.command import Outcome, judge, run_process
from tests.processes import HANGING_S


def run_in_shell(redirection: str, *arguments: str) -> Outcome:
    """The command line, its streams redirected by a shell."""
    command = shlex.join([sys.executable, "-m", "consentgate", *arguments])
    done = subprocess.run(
        ["bash", "-c", f"{command} {redirection}; exit ${{PIPESTATUS[0]}}"],
        capture_output=True,
        text=True,
        timeout=HANGING_S,
    )
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr
    return Outcome(done.returncode, done.stdout, done.stderr)


LOST = "consentgate: Text for stdout was lost: No space left on device."
DONE = "All else that the command had to do is done."


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(
    ("redirection", "code", "words"),
    [
        (">&-", 0, ""),
        ("<&- >&- 2>&-", 0, ""),
        ("2>&-", 0, ""),
        (">/dev/full", 1, f"{LOST} {DONE}"),
        (">/dev/full 2>/dev/full", 1, ""),
        ("| true", 1, ""),
    ],
)
def test_outputs_are_whole_whatever_stdout_is(redirection: str, code: int, words: str) -> None:
    path = write(messages(100), "in.parquet")
    outcome = run_in_shell(redirection, "filter", path, "--out", "out", *judge())
    assert (outcome.code, outcome.err.startswith(words), bool(outcome.err)) == (
        code, True, bool(words),
    )  # fmt: skip
    assert_outputs("out", messages(100))


@pytest.mark.usefixtures("folder")
def test_a_run_goes_on_when_nobody_reads_its_progress() -> None:
    path = write(messages(100), "in.parquet")
    assert run_in_shell("| true", "run", path, "out", "--json", *judge()).code == 1
    assert run_process("verify", "out").code == 0
    assert_same(
        read("out/in.parquet").replace_schema_metadata(METADATA), expected(messages(100))[0]
    )


@pytest.mark.usefixtures("folder")
def test_findings_fail_a_check_whose_text_is_lost() -> None:
    path = write(messages(100), "in.parquet")
    assert run_process("run", path, "out", *judge()).code == 0
    Path("out/in.parquet").unlink()
    for redirection in (">&-", ">/dev/full"):
        outcome = run_in_shell(redirection, "verify", "out")
        assert outcome.code == 1
        assert DONE not in outcome.err


@pytest.mark.usefixtures("folder")
def test_a_fault_is_no_traceback_where_stderr_is_closed() -> None:
    for redirection in (">&- 2>&-", "2>/dev/full"):
        assert run_in_shell(redirection, "policy", "check", "missing.toml").code == 1
