"""Publishers that are killed, that fill the disk, or that may not write."""

from __future__ import annotations

import json
import resource
import signal
import subprocess
import sys
import warnings
from functools import partial
from pathlib import Path

import pytest

import consentgate as cg
from tests.processes import HANGING_S, ROOT, as_nobody, end_of, fork, let_others_in
from tests.publishing.numbered import AT_ONCE, POINTER, gate_files, numbered_gate, pointer, seen
from tests.run_data import all_files


def test_a_publisher_killed_at_any_step_leaves_the_old_gate_or_the_new(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.publishing.killing", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=HANGING_S)
    assert done.returncode == 0, done.stderr
    outcomes = json.loads(done.stdout)
    assert outcomes["old"] >= 10
    assert outcomes["new"] >= 2


def test_a_publisher_killed_while_it_writes_leaves_the_old_gate(place: Path) -> None:
    store, gate = cg.GateStore(place), numbered_gate(1)
    before = all_files(place)

    def work(limit: int) -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
        store.publish(gate)

    size = (place / gate_files(place)[0]).stat().st_size
    for limit in (1, 100, 4096, 5000, size - 1):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # as above, of forking with threads
            process = fork(partial(work, limit))
        assert end_of(process) == -signal.SIGXFSZ
        assert store.current().digest == numbered_gate(0).digest
        (left,) = all_files(place) - before
        assert (place / left).stat().st_size <= limit
    store.publish(gate)
    assert len(all_files(place) - before) == 1


def test_a_full_disk_leaves_the_old_gate(small_disk: Path) -> None:
    store = cg.GateStore(small_disk / "gates")
    old = store.publish(numbered_gate(0))
    live = store.live(check_every=AT_ONCE)
    while True:
        try:
            old = store.publish(numbered_gate(0))
        except cg.OutputError as error:
            assert "No space left on device" in str(error)
            break
    assert seen(live) == old.digest == store.current().digest
    names = gate_files(small_disk / "gates")
    assert names[-1] == old.name
    assert {path.name for path in (small_disk / "gates").iterdir()} == {
        POINTER, "_consentgate", *names,
    }  # fmt: skip
    subprocess.run(["mount", "-o", "remount,size=5M", str(small_disk)], check=True)
    assert store.publish(numbered_gate(1)).digest == seen(live)


def test_reading_takes_no_right_to_write(place: Path) -> None:
    let_others_in(place)
    code = f"live = cg.GateStore({str(place)!r}).live()\nprint(live.current().digest)"
    done = as_nobody(code)
    assert done.stdout.strip() == pointer(place)["digest"], done.stderr
    (place / POINTER).chmod(0)
    done = as_nobody(code)
    (place / POINTER).chmod(0o644)
    assert "UnreadableFileError: File" in done.stderr
    assert "current.json' cannot be read: Permission denied" in done.stderr


@pytest.mark.parametrize("act", ["publish(gate)", "prune(keep=1)"])
def test_a_store_that_may_not_be_written_to_is_named(act: str, place: Path) -> None:
    let_others_in(place)
    before = all_files(place)
    code = f"""
import datetime, tests.build as b
now = datetime.datetime.now(datetime.UTC)
consent = cg.ConsentSnapshot.from_arrow(b.consent_table(), as_of=now)
gate = cg.Gate(cg.Policy(), consent, cg.ChannelRegistry.from_arrow(b.channel_table(), as_of=now))
cg.GateStore({str(place)!r}).{act}"""
    done = as_nobody(code)
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("consentgate.errors.OutputError"), done.stderr
    assert str(place) in last
    assert "Permission denied" in last
    assert all_files(place) == before
