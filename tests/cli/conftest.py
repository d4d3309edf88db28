"""The fixtures of tests of `consentgate ledger`."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import pytest

from consentgate.cli import main
from tests.cli.ledgers import Command, Outcome


@pytest.fixture
def small_batches(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Parts are read in many batches, and the tests run in a folder of their own."""
    monkeypatch.setattr("consentgate.cli.ledger_files._BATCH_ROWS", 7)
    monkeypatch.setattr("consentgate.cli.ledger._ALIGNED_ROWS", 5)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def ledger(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """`consentgate ledger`, run within this process."""
    before = signal.getsignal(signal.SIGTERM)

    def run_main(*arguments: str | Path) -> Outcome:
        monkeypatch.setattr(sys, "argv", ["consentgate", "ledger", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            main()
        signal.signal(signal.SIGTERM, before)
        return Outcome(int(end.value.code or 0), *capsys.readouterr())

    return run_main
