"""Runs that are killed, that fill the disk, or that may not write: nothing is left half done."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

import consentgate as cg
from tests.processes import HANGING_S, ROOT, as_nobody, let_others_in
from tests.run_data import EVIDENCE, all_files, data_files, mixed_gate, mixed_messages, write_files

NAMES = ["a.parquet", "b.parquet", "c.parquet"]


def kill(work: str, folder: Path, seed: int) -> dict[str, Any]:
    """What `tests.runs.killing` found."""
    command = [sys.executable, "-m", "tests.runs.killing", work, str(folder), str(seed)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=HANGING_S)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("follows", [False, True], ids=["first run", "run after another"])
def test_a_run_killed_at_any_step_ends_as_if_it_had_not_been(follows: bool, tmp_path: Path) -> None:
    found = kill("points", tmp_path, int(follows))
    assert len(found["resumed"]) >= 16
    for name, resumed in found["resumed"].items():
        assert resumed == found["whole"], name
    assert found["whole"][-1] == []


@pytest.mark.parametrize("seed", range(2))
def test_a_run_killed_at_random_moments_ends_as_if_it_had_not_been(
    seed: int, tmp_path: Path
) -> None:
    found = kill("moments", tmp_path, seed)
    assert found["kills"] >= 3
    assert found["resumed"]["dst"] == found["whole"]


def test_of_two_processes_in_one_destination_the_second_is_refused(tmp_path: Path) -> None:
    src, dst = tmp_path / "src", tmp_path / "dst"
    write_files(src, NAMES)
    code = f"""
import sys, time, consentgate as cg, tests.run_data as r
def wait(progress):
    print("begun", flush=True)
    sys.stdin.readline()
cg.run(r.mixed_gate(), {str(src)!r}, {str(dst)!r}, on_progress=wait)
"""
    with subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as first:
        assert first.stdout is not None
        assert first.stdout.readline() == "begun\n"
        with pytest.raises(cg.DestinationBusyError, match="Another run is writing into"):
            cg.run(mixed_gate(), src, dst)
        first.communicate("\n" * 20)
        assert first.returncode == 0
    assert cg.audit(dst) == ()


def test_a_full_disk(small_disk: Path, tmp_path: Path) -> None:
    write_files(tmp_path / "src", NAMES, rows=12_000)
    dst = small_disk / "dst"
    with pytest.raises(cg.OutputError, match="No space left on device"):
        cg.run(mixed_gate(), tmp_path / "src", dst)
    cg.run(mixed_gate(), tmp_path / "src", tmp_path / "whole")
    whole = data_files(tmp_path / "whole")
    assert data_files(dst).items() <= whole.items()
    assert not any("drafts" in name for name in all_files(dst))
    subprocess.run(["mount", "-o", "remount,size=50M", str(small_disk)], check=True)
    cg.run(mixed_gate(), tmp_path / "src", dst)
    assert data_files(dst) == whole
    assert cg.audit(dst) == ()


@pytest.mark.parametrize("what", ["destination", "parent", "file"])
def test_no_permission(what: str, tmp_path: Path) -> None:
    src, dst = tmp_path / "src", tmp_path / "dst"
    write_files(src, NAMES)
    dst.mkdir()
    let_others_in(tmp_path)
    if what == "file":
        dst.chmod(0o777)
        (src / "b.parquet").chmod(0)
    target = dst / "new" if what == "parent" else dst
    done = as_nobody(f"cg.run(r.mixed_gate(), {str(src)!r}, {str(target)!r})")
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("consentgate.errors.")
    assert "Permission denied" in last
    named = {"destination": dst, "parent": target, "file": src / "b.parquet"}
    assert str(named[what]) in last
    done_files = {"a.parquet", "c.parquet"} if what == "file" else set()
    assert data_files(dst).keys() == done_files


def test_ctrl_c_stops_cleanly_and_says_how_to_go_on(tmp_path: Path) -> None:
    src, dst = tmp_path / "src", tmp_path / "dst"
    src.mkdir()
    pq.write_table(mixed_messages(20_000), src / "0.parquet")
    for place in range(1, 30):
        shutil.copy(src / "0.parquet", src / f"{place}.parquet")
    code = f"""
import signal, sys, tests.run_data as r, consentgate as cg
from consentgate.cli import main
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell may have it ignored
from consentgate.cli.options import JudgeOptions
JudgeOptions.gate = lambda self: r.mixed_gate()
sys.argv = ["consentgate", "run", {str(src)!r}, {str(dst)!r}, "--threads", "1"]
main()
"""
    process = subprocess.Popen(
        [sys.executable, "-c", code], cwd=ROOT, stderr=subprocess.PIPE, text=True
    )
    while not (dst / "7.parquet").exists() and process.poll() is None:
        time.sleep(0.002)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=HANGING_S)
    assert process.returncode == 130
    assert "of 30 files are done. Give the same command again" in said
    assert 0 < len(data_files(dst)) < 30
    assert not (dst / EVIDENCE / "drafts").exists()
    manifest = cg.run(mixed_gate(), src, dst)
    assert len(manifest.files) == 30
