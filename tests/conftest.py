"""Hypothesis profiles: `default` for every run, `thorough` for `pytest --hypothesis-profile`, and
`mutation` for `make mutate`, which only asks whether a test fails; and the fixtures of whatever
tests the command line, a full disk or an object store.
"""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, Phase, settings

from consentgate.cli import main
from tests.build import AS_OF, channel_table, consent_table
from tests.command import Outcome, Runner

if TYPE_CHECKING:
    from tests.s3 import Server, Store

settings.register_profile("default", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("thorough", settings.get_profile("default"), max_examples=5_000)
settings.register_profile(
    "mutation",
    settings.get_profile("default"),
    phases=[Phase.explicit, Phase.generate],
    derandomize=True,
    database=None,
)
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


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 100 kB."""
    place = tmp_path / "small"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=100k", "tmpfs", str(place)]
    if shutil.which("mount") is None or subprocess.run(command, check=False).returncode:
        pytest.skip("mounting a small tmpfs takes rights that this user does not have")
    yield place
    subprocess.run(["umount", "--lazy", str(place)], check=True)  # a failed test may have it open


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """One S3 server for all tests of a module."""
    from tests.s3 import serve  # which takes a while to load

    with serve() as server:
        yield server


@pytest.fixture
def store(server: Server) -> Store:
    """A bucket for one test."""
    from tests.s3 import new_bucket

    return new_bucket(server)
