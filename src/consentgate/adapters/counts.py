"""Counts of rows over worker processes, which their parent reads.

Each process counts in its own file, which is mapped into memory, in a folder that the parent made.
So counting needs no lock and no message, however the processes were started.
"""

import json
import os
import shutil
import tempfile
import uuid
import weakref
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from consentgate.arrow import Int64s
from consentgate.decision import Decision
from consentgate.storage import write_faults_named

_HEAD_BYTES = 8192
"""The position in a file at which the counts begin: the number of admitted rows, and then that of
each reason. The names of the reasons are before them, as JSON.
"""
_NO_BIT = 32
"""The position at which `Decision.rows_by_bit` counts the admitted rows."""


class Totals(NamedTuple):
    """The counts of all processes.

    Attributes:
        admitted: how many rows were admitted.
        excluded: how many rows were excluded, by primary reason.
    """

    admitted: int
    excluded: Counter[str]


class Counts:
    """Counts admitted rows, and excluded rows by primary reason, in all processes.

    The folder is removed with the object in the process that made it.

    Raises:
        OutputError: The system's temporary folder cannot be written to. `add` raises it, too.
    """

    def __init__(self) -> None:
        with write_faults_named("The temporary folder for counts"):
            self._folder = tempfile.mkdtemp(prefix="consentgate-counts-")
        self._before = Totals(0, Counter())
        self._forget_file()
        weakref.finalize(self, _remove, self._folder, os.getpid())

    def _forget_file(self) -> None:
        self._process, self._names = 0, list[str]()
        self._counts: Int64s = np.zeros(0, np.int64)

    def __getstate__(self) -> dict[str, Any]:
        return {"_folder": self._folder, "_before": self._before}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__ |= state
        self._forget_file()

    def add(self, decision: Decision) -> None:
        """Count the rows of a decision."""
        names = list(decision.reason_names.values())
        if self._process != os.getpid() or self._names != names:
            self._begin(names)
        self._counts += decision.rows_by_bit[[_NO_BIT, *decision.reason_names]]

    def totals(self) -> Totals:
        """The counts of all processes since the last `reset`."""
        admitted, excluded = self._since_the_beginning()
        return Totals(admitted - self._before.admitted, excluded - self._before.excluded)

    def reset(self) -> None:
        """Begin to count at zero, as far as this process shows the counts."""
        self._before = self._since_the_beginning()

    def _since_the_beginning(self) -> Totals:
        admitted, excluded = 0, Counter[str]()
        for path in Path(self._folder).glob("*.counts"):
            content = path.read_bytes()
            names = json.loads(content[:_HEAD_BYTES].rstrip(b"\0"))
            counts = np.frombuffer(content, np.int64, 1 + len(names), _HEAD_BYTES).tolist()
            admitted += counts[0]
            excluded.update({name: n for name, n in zip(names, counts[1:], strict=True) if n})
        return Totals(admitted, excluded)

    def _begin(self, names: list[str]) -> None:
        """Make a file for this process, with counts of zero."""
        path = Path(self._folder, f"{uuid.uuid4().hex}.counts")
        head = json.dumps(names).encode().ljust(_HEAD_BYTES, b"\0")
        assert len(head) == _HEAD_BYTES, "names are short"
        with write_faults_named("The temporary folder for counts"):
            draft = path.with_suffix(".draft")
            draft.write_bytes(head + bytes(8 * (1 + len(names))))
            draft.rename(path)
            self._counts = np.memmap(path, np.int64, "r+", _HEAD_BYTES, (1 + len(names),))
        self._process, self._names = os.getpid(), names


def _remove(folder: str, process: int) -> None:
    if os.getpid() == process:  # forked children hold copies of the object, too
        shutil.rmtree(folder, ignore_errors=True)
