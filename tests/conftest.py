"""Hypothesis profiles: `default` for every run, `thorough` for `pytest --hypothesis-profile`; and
the fixtures of whatever tests the command line.
"""

import signal
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, settings

from consentgate.cli import main
from tests.build import AS_OF, channel_table, consent_table
from tests.command import Outcome, Runner

settings.register_profile("default", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("thorough", settings.get_profile("default"), max_examples=5_000)
settings.load_profile("default")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with a policy, a snapshot and a registry."""
    monkeypatch.chdir(tmp_path)
    Path("policy.toml").write_text('name = "tests"\nmax_snapshot_age = "none"\n')
    as_of = {"consentgate.as_of": AS_OF.isoformat()}
    consent = consent_table(subject_id=[1, 2], status=["given", "withdrawn"])
    channels = channel_table(channel_id=[10, 11], visibility=["public", "private"])
    pq.write_table(consent.replace_schema_metadata(as_of), "consent.parquet")
    pq.write_table(channels.replace_schema_metadata(as_of), "channels.parquet")
    return tmp_path


@pytest.fixture
def run(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Runner:
    """The command line, run within this process in `folder`."""
    before = signal.getsignal(signal.SIGTERM)

    def run_main(*arguments: str | Path) -> Outcome:
        monkeypatch.chdir(folder)
        monkeypatch.setattr(sys, "argv", ["consentgate", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            main()
        signal.signal(signal.SIGTERM, before)
        return Outcome(int(end.value.code or 0), *capsys.readouterr())

    return run_main
