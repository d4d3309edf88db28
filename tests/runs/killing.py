"""A process that forks runs and kills them with SIGKILL, as often as it takes.

It is a process of its own so that a fork is cheap and has no threads to lose:
`python -m tests.runs.killing points|moments FOLDER SEED` prints one JSON object.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

import consentgate as cg
from consentgate.storage.folders import Folder
from tests.build import make_gate
from tests.processes import end_of, fork
from tests.run_data import as_of, data_files, mixed_gate, mixed_messages, write_files

NAMES = ["a.parquet", "b.parquet", "deep/c.parquet"]
STEPS = ("publish", "write", "delete")


def die_at(step: int, *, before: bool) -> None:
    """Kill this process before or after so many steps that change the destination."""
    left = [step]

    def counted(change: Callable[..., Any]) -> Callable[..., Any]:
        def method(*arguments: Any) -> Any:
            left[0] -= 1
            if left[0] == 0 and before:
                os.kill(os.getpid(), signal.SIGKILL)
            result = change(*arguments)
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return result

        return method

    for name in STEPS:
        setattr(Folder, name, counted(getattr(Folder, name)))


def result(dst: Path) -> Any:
    """What has to be the same however often a run was killed."""
    manifest = cg.Manifest.read(dst)
    findings = [str(finding) for finding in cg.audit(dst)]
    parts = [(f.ledger.path, f.ledger.sha256) for f in manifest.files]
    return [data_files(dst), manifest.totals.model_dump(), parts, findings]


def run_once(src: Path, dst: Path, gate: cg.Gate, *, threads: int = 2) -> None:
    """A run to its end, in a process of its own."""
    assert end_of(fork(partial(cg.run, gate, src, dst, threads=threads))) == 0


def points(folder: Path, *, follows: bool) -> dict[str, Any]:
    """A run killed at each step in turn, before and after it, and then resumed."""
    src, gate = folder / "src", as_of(mixed_gate())
    write_files(src, NAMES)
    if follows:  # the run that is killed follows another one
        run_once(src, folder / "before", make_gate())
        shutil.copytree(folder / "before", folder / "whole")
    run_once(src, folder / "whole", gate)
    results, step, before = {}, 1, True
    while True:
        dst = folder / f"{step}-{before}"
        if follows:
            shutil.copytree(folder / "before", dst)

        def killed(dst: Path = dst, step: int = step, before: bool = before) -> None:
            die_at(step, before=before)
            cg.run(gate, src, dst, threads=1)

        if end_of(fork(killed)) == 0:
            break
        run_once(src, dst, gate)
        results[dst.name] = result(dst)
        step, before = (step, False) if before else (step + 1, True)
    return {"whole": result(folder / "whole"), "resumed": results}


def moments(folder: Path, seed: int) -> dict[str, Any]:
    """A run killed at random moments until one of them is quick enough."""
    src, dst, gate = folder / "src", folder / "dst", mixed_gate()
    for place in range(6):
        src.mkdir(exist_ok=True)
        pq.write_table(mixed_messages(20_000, 20_000 * place), src / f"{place}.parquet")
    begun = time.monotonic()
    run_once(src, folder / "whole", gate)
    longest, draw = time.monotonic() - begun, random.Random(seed)
    kills = 0
    while True:
        process = fork(lambda: cg.run(gate, src, dst))
        if kills < 40:
            time.sleep(draw.random() * longest / 4)
            os.kill(process, signal.SIGKILL)
        if end_of(process) == 0:
            break
        kills += 1
    return {"whole": result(folder / "whole"), "resumed": {"dst": result(dst)}, "kills": kills}


if __name__ == "__main__":
    work, place, seed = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
    found = moments(place, seed) if work == "moments" else points(place, follows=bool(seed))
    print(json.dumps(found))
