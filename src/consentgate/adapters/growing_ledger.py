"""A ledger that is complete after every batch, for streams whose end is not announced."""

import os
from pathlib import Path
from threading import Lock
from typing import Any, NamedTuple
from uuid import uuid4

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from consentgate.decision import Decision
from consentgate.ledger import LEDGER_OPTIONS, RecordedGate, excluded_rows
from consentgate.storage import FileForm, RowGroupWriter, make_folder, write_faults_named

_PART_ROWS = 16_384


class Entry(NamedTuple):
    """The rows that were written to a ledger together, and their part.

    Attributes:
        part: the file that they are in; if there are several, the file of the last rows.
        first_row, stop: the position of the first of the rows, and of the first one after them.
    """

    part: Path
    first_row: int
    stop: int


class GrowingLedger:
    """An `AmendableLedger` of which each process rewrites its last part at each batch.

    Several threads may use it, and each process has a copy.

    Args:
        directory: the folder, which is made if it is not there. Each part has a name of its own, so
            several processes may write into one folder.

    Raises:
        OutputError: The folder cannot be written to. Every method raises it, too.
    """

    def __init__(self, directory: str | Path) -> None:
        self._directory = Path(directory)
        self._writers: dict[int, _Writer] = {}
        make_folder(self._directory, f"Ledger directory '{directory}'")

    def __reduce__(self) -> tuple[Any, ...]:
        return GrowingLedger, (self._directory,)

    def reserve(self, rows: int) -> int:
        """Reserve the positions of the next rows of this process. Returns the first position.

        Args:
            rows: how many rows there are.
        """
        return self._writer().reserve(rows)

    def write(
        self, gate: RecordedGate, record_ids: pa.ChunkedArray, decision: Decision, first_row: int
    ) -> Entry:
        """Append those of n rows that are excluded; see `LedgerWriter`.

        Args:
            gate, record_ids, decision: as in `LedgerWriter.write`.
            first_row: the position that `reserve` returned for the n rows.
        """
        return self._writer().write(gate, record_ids, decision, first_row)

    def amend(
        self,
        entry: Entry,
        done: int,
        gate: RecordedGate,
        record_ids: pa.ChunkedArray,
        decision: Decision,
    ) -> Entry:
        """Replace what was written about the last of n rows; see `AmendableLedger`."""
        return self._writer().amend(entry, done, gate, record_ids, decision)

    def close(self) -> None:
        """Do nothing, because the ledger is complete after every batch."""

    def _writer(self) -> "_Writer":
        # A forked child has a copy of its parent's writer, whose part it must not touch.
        return self._writers.setdefault(os.getpid(), _Writer(self._directory))


class _Writer:
    """Writes the parts of one process."""

    def __init__(self, directory: Path) -> None:
        self._directory, self._lock = directory, Lock()
        self._reserved = 0
        self._part, self._rows = directory, pa.table({})

    def reserve(self, rows: int) -> int:
        with self._lock:
            self._reserved += rows
            return self._reserved - rows

    def write(
        self, gate: RecordedGate, record_ids: pa.ChunkedArray, decision: Decision, first_row: int
    ) -> Entry:
        excluded = excluded_rows(record_ids, decision, gate.identity, first_row=first_row)
        with self._lock:
            self._add(excluded)
            return Entry(self._part, first_row, first_row + len(decision))

    def amend(
        self,
        entry: Entry,
        done: int,
        gate: RecordedGate,
        record_ids: pa.ChunkedArray,
        decision: Decision,
    ) -> Entry:
        first_row = entry.first_row + done
        excluded = excluded_rows(record_ids, decision, gate.identity, first_row=first_row)
        with self._lock:
            is_last = entry.part == self._part
            before = self._rows if is_last else pq.read_table(entry.part)
            kept = _without(before, first_row, entry.stop)
            if is_last and _are_alike(kept, excluded):
                self._put(entry.part, pa.concat_tables([kept, excluded]).combine_chunks())
            else:
                self._begin(excluded)  # first, so that no excluded row is ever missing
                self._write(entry.part, kept)
            return entry._replace(part=self._part)

    def _add(self, excluded: pa.Table) -> None:
        if not _are_alike(self._rows, excluded):
            self._begin(excluded)
        elif excluded.num_rows:
            self._append(excluded)

    def _begin(self, excluded: pa.Table) -> None:
        part = self._directory / f"part-{uuid4().hex}.parquet"
        self._put(part, excluded)
        self._part = part

    def _append(self, excluded: pa.Table) -> None:
        if self._rows.num_rows + excluded.num_rows > _PART_ROWS:
            self._begin(excluded)
        else:
            self._put(self._part, pa.concat_tables([self._rows, excluded]).combine_chunks())

    def _put(self, part: Path, rows: pa.Table) -> None:
        """Write a part that becomes the last one."""
        self._write(part, rows)
        self._rows = rows

    def _write(self, part: Path, rows: pa.Table) -> None:
        """Write a part. If writing fails, the part is as before."""
        what, draft = f"Ledger directory '{self._directory}'", part.with_suffix(".partial")
        writer = RowGroupWriter(draft, FileForm(rows.schema, LEDGER_OPTIONS), what)
        writer.write(rows)
        writer.close()
        with write_faults_named(what):
            draft.replace(part)


def _are_alike(rows: pa.Table, others: pa.Table) -> bool:
    """Whether rows may be in one part, because they have one type and one gate judged them."""
    return bool(rows.schema.equals(others.schema, check_metadata=True))


def _without(rows: pa.Table, first_row: int, stop: int) -> pa.Table:
    """The rows whose position is not in a range."""
    is_before, is_after = pc.less(rows["row"], first_row), pc.greater_equal(rows["row"], stop)
    return rows.filter(pc.or_(is_before, is_after))
