"""Counts that worker processes keep and their parent reads.

Each process counts in a file of its own, mapped into memory, in a folder that the parent made; so
a count takes no lock and no message, whichever way the processes were started.
"""

import json
import os
import shutil
import tempfile
import uuid
import weakref
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from consentgate._arrow import Int64s
from consentgate._durable import write_faults_named
from consentgate.decision import Decision

__all__ = ["ADMITTED", "Tally"]

ADMITTED = "admitted"
"""Under this word are the admitted rows counted, which no reason is called."""
_HEAD_BYTES = 8192
"""Where the counts begin; before them, as JSON, stand their names."""


class Tally:
    """How many rows were admitted, and how many excluded by primary reason, in all processes.

    The folder lives as long as the object in the process that made it.

    Raises:
        OutputError: From here and `add`: the system's temporary folder cannot be written to.
    """

    def __init__(self) -> None:
        with write_faults_named("The temporary folder for counts"):
            self._folder = tempfile.mkdtemp(prefix="consentgate-counts-")
        self._reset()
        weakref.finalize(self, _remove, self._folder, os.getpid())

    def _reset(self) -> None:
        self._process, self._names = 0, list[str]()
        self._counts: Int64s = np.zeros(0, np.int64)

    def __getstate__(self) -> dict[str, Any]:
        return {"_folder": self._folder}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__ |= state
        self._reset()

    def add(self, decision: Decision) -> None:
        """Count the rows of a decision."""
        names = [ADMITTED, *decision.reason_names.values()]
        if self._process != os.getpid() or self._names != names:
            self._begin(names)
        counts = {ADMITTED: decision.num_admitted, **decision.counts}
        self._counts += [counts.get(name, 0) for name in names]

    def totals(self) -> Counter[str]:
        """The counts of all processes so far, under the reasons' names and ADMITTED."""
        totals: Counter[str] = Counter()
        for path in Path(self._folder).glob("*.counts"):
            content = path.read_bytes()
            names = json.loads(content[:_HEAD_BYTES].rstrip(b"\0"))
            counts = np.frombuffer(content, np.int64, len(names), _HEAD_BYTES).tolist()
            totals.update({name: n for name, n in zip(names, counts, strict=True) if n})
        return totals

    def _begin(self, names: list[str]) -> None:
        """A file of this process's own, with counts of zero."""
        path = Path(self._folder, f"{uuid.uuid4().hex}.counts")
        head = json.dumps(names).encode().ljust(_HEAD_BYTES, b"\0")
        assert len(head) == _HEAD_BYTES, "names are short"
        with write_faults_named("The temporary folder for counts"):
            draft = path.with_suffix(".draft")
            draft.write_bytes(head + bytes(8 * len(names)))
            draft.rename(path)
            self._counts = np.memmap(path, np.int64, "r+", _HEAD_BYTES, (len(names),))
        self._process, self._names = os.getpid(), names


def _remove(folder: str, process: int) -> None:
    if os.getpid() == process:  # forked children hold copies of the object, too
        shutil.rmtree(folder, ignore_errors=True)
