"""A ledger for work that nobody tells of its end: it is complete after every batch."""

import os
import uuid
from pathlib import Path
from threading import Lock
from typing import Any

import pyarrow as pa

from consentgate._durable import write_faults_named
from consentgate._parquet import FileForm, RowGroupWriter
from consentgate.decision import Decision
from consentgate.gate import Gate
from consentgate.ledger import LEDGER_OPTIONS, excluded_rows

__all__ = ["GrowingLedger"]

_PART_ROWS = 16_384


class GrowingLedger:
    """A ledger directory's new parts, of which each process writes its last one anew at each batch.

    Args:
        directory: made if it is not there. Parts have names of their own, so several processes
            may write into one directory.

    Raises:
        OutputError: From here and every method: the directory cannot be written to.
    """

    def __init__(self, directory: str | Path) -> None:
        self._directory = Path(directory)
        self._writers: dict[int, _Writer] = {}
        with write_faults_named(f"Ledger directory '{directory}'"):
            self._directory.mkdir(parents=True, exist_ok=True)

    def __reduce__(self) -> tuple[Any, ...]:
        return GrowingLedger, (self._directory,)

    def write(self, gate: Gate, record_ids: pa.ChunkedArray, decision: Decision) -> None:
        """Append the excluded ones of n rows; from many threads, too.

        Args:
            gate: which has judged them.
            record_ids: n record ids.
            decision: what was decided. A row's position is how many the process judged before it.
        """
        # a forked child has its parent's writer, whose part it must not touch
        writer = self._writers.setdefault(os.getpid(), _Writer(self._directory))
        writer.write(gate, record_ids, decision)


class _Writer:
    """What one process writes."""

    def __init__(self, directory: Path) -> None:
        self._directory, self._lock = directory, Lock()
        self._judged = 0
        self._part, self._rows = directory, pa.table({})

    def write(self, gate: Gate, record_ids: pa.ChunkedArray, decision: Decision) -> None:
        with self._lock:
            evidence = gate.evidence
            excluded = excluded_rows(record_ids, decision, evidence, first_row=self._judged)
            if not self._rows.schema.equals(excluded.schema, check_metadata=True):
                self._begin(excluded)
            elif excluded.num_rows:
                self._append(excluded)
            self._judged += len(decision)

    def _begin(self, excluded: pa.Table) -> None:
        part = self._directory / f"part-{uuid.uuid4().hex}.parquet"
        self._put(part, excluded)
        self._part = part

    def _append(self, excluded: pa.Table) -> None:
        if self._rows.num_rows + excluded.num_rows > _PART_ROWS:
            self._begin(excluded)
        else:
            self._put(self._part, pa.concat_tables([self._rows, excluded]).combine_chunks())

    def _put(self, part: Path, rows: pa.Table) -> None:
        """Write a part, or let it be as it was."""
        what, draft = f"Ledger directory '{self._directory}'", part.with_suffix(".partial")
        writer = RowGroupWriter(draft, FileForm(rows.schema, LEDGER_OPTIONS), what)
        writer.write(rows)
        writer.close()
        with write_faults_named(what):
            draft.replace(part)
        self._rows = rows
