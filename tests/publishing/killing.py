"""A publisher that is killed before each thing that it does in a store.

It is a process of its own so that a fork is cheap and has no threads to lose:
`python -m tests.publishing.killing FOLDER` prints one JSON object.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import consentgate as cg
from tests.processes import end_of, fork
from tests.publishing.numbered import AT_ONCE, POINTER, gate_files, numbered_gate, seen


def die_at(event: int, place: Path) -> None:
    """Kill this process before so many of the things that it does in a folder."""
    left = [event]

    def watch(what: str, arguments: tuple[Any, ...]) -> None:
        is_act = what == "open" or what.startswith("os.")
        if is_act and arguments and str(arguments[0]).startswith(str(place)):
            left[0] -= 1
            if not left[0]:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(watch)


def killed_everywhere(folder: Path) -> dict[str, int]:
    """A publisher killed before each thing that it does in the store, and what came of it."""
    gates = [numbered_gate(n) for n in range(3)]
    digests = [gate.digest for gate in gates]
    outcomes = {"old": 0, "new": 0, "events": 0}
    while True:
        outcomes["events"] += 1
        place = folder / f"store-{outcomes['events']}"
        store = cg.GateStore(place)
        store.publish(gates[0])
        live = store.live(check_every=AT_ONCE)

        def work(store: cg.GateStore = store, place: Path = place) -> None:
            die_at(outcomes["events"], place)
            store.publish(gates[1])

        end = end_of(fork(work))
        digest = store.current().digest
        assert seen(live) == digest
        assert digest in digests[:2], place
        outcomes["old" if digest == digests[0] else "new"] += 1
        store.publish(gates[2])
        assert seen(live) == digests[2]
        published = 2 if digest == digests[0] else 3
        names = {path.name for path in place.iterdir()}
        assert len(gate_files(place)) == published, names
        assert names == {POINTER, "_consentgate", *gate_files(place)}
        if end == 0:
            return outcomes
        assert end == -signal.SIGKILL


if __name__ == "__main__":
    print(json.dumps(killed_everywhere(Path(sys.argv[1]))))
