"""Judging one batch after another: a stream of admitted rows, and a ledger of the others."""

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from itertools import chain
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

import pyarrow as pa

from consentgate._arrow import as_table, schema_difference
from consentgate._rows import keep_rows
from consentgate.columns import Columns
from consentgate.decision import Decision
from consentgate.errors import NotArrowError, SchemaMismatchError
from consentgate.ledger import Ledger, excluded_rows

__all__ = ["Current", "Judging", "Sieve", "admitted_stream"]


class Judging(Protocol):
    """One gate, as far as a stream needs it."""

    @property
    def columns(self) -> Columns:
        """Where in the messages things are."""

    @property
    def evidence(self) -> Mapping[str, str]:
        """What judges, as ledgers carry it in their metadata."""

    def decide(
        self, data: Any, *, judged_at: datetime | None = None, threads: int | None = None
    ) -> Decision:
        """Judge every row of a batch."""


class Current(Protocol):
    """What knows the gate that judges the next batch: a gate, or a live one."""

    def current(self) -> Judging:
        """That gate."""


class Sieve:
    """Judges batch after batch, each by the gate that is current when it comes.

    Args:
        gate: the judge, or a live one, which may be another at every batch.
        ledger: a directory that gets the excluded rows; see `Ledger`. None keeps no record of them.
        judged_at: the instant of judgement; None takes the gate's, or else the clock at each batch.
        threads: as in `Gate.decide`.

    Raises:
        OutputError: The ledger cannot be written, here and in every method.
    """

    def __init__(
        self,
        gate: Current,
        *,
        ledger: str | Path | None = None,
        judged_at: datetime | None = None,
        threads: int | None = None,
    ) -> None:
        self._gate = gate
        self._ledger = None if ledger is None else Ledger(ledger)
        self._judged_at, self._threads = judged_at, threads
        self._next_row = 0

    def check(self, schema: pa.Schema) -> None:
        """Nothing, when batches of that schema can be judged; the ledger's file is begun.

        Raises:
            Whatever `Gate.decide` raises.
        """
        self.judge(pa.Table.from_batches([], schema))

    def judge(
        self, table: pa.Table, *, gate: Judging | None = None, first_row: int | None = None
    ) -> Decision:
        """Judge the next batch; its excluded rows go into the ledger.

        Args:
            gate: the gate that is current, where that has been asked for already.
            first_row: the position of its first row in the whole input; None: it comes right after
                the batch before.

        Raises:
            Whatever `Gate.decide` raises.
        """
        first_row = self._next_row if first_row is None else first_row
        gate = gate or self._gate.current()
        decision = gate.decide(table, judged_at=self._judged_at, threads=self._threads)
        if self._ledger is not None:
            record_ids = table.column(gate.columns.record_id)
            evidence = dict(gate.evidence)
            self._ledger.write(excluded_rows(record_ids, decision, evidence, first_row=first_row))
        self._next_row = first_row + table.num_rows
        return decision

    def filter(self, table: pa.Table) -> pa.Table:
        """The admitted rows of the next batch; see `judge`."""
        return keep_rows(table, self.judge(table).admitted)

    def close(self) -> None:
        """Complete the ledger."""
        if self._ledger is not None:
            self._ledger.close()

    def __enter__(self) -> "Sieve":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def admitted_stream(batches: Any, sieve: Sieve) -> pa.RecordBatchReader:
    """The admitted rows of a stream, judged batch by batch as they are asked for.

    Args:
        batches: anything that speaks the Arrow PyCapsule stream interface, or an iterable of such
            objects or of record batches, all of one schema.
        sieve: which is closed when the reader is exhausted or closed.

    Raises:
        NotArrowError: `batches` is no stream, or has no schema.
        SchemaMismatchError: While reading: a batch has another schema than the first.
        Whatever the sieve raises: at once for the schema, else while reading.
    """
    schema, tables = _open_stream(batches)
    admitted = _admitted(schema, tables, sieve)
    next(admitted)  # it has begun: from here on, closing the reader completes the ledger
    return pa.RecordBatchReader.from_batches(schema, admitted)


def _admitted(
    schema: pa.Schema, tables: Iterable[pa.Table], sieve: Sieve
) -> Iterator[pa.RecordBatch | None]:
    with sieve:
        sieve.check(schema)
        yield None
        for table in tables:
            _check_same_schema(schema, table.schema)
            yield from sieve.filter(table).to_batches()


def _open_stream(batches: Any) -> tuple[pa.Schema, Iterator[pa.Table]]:
    """The schema of a stream and its batches, of which the first may have been read."""
    if hasattr(batches, "__arrow_c_stream__"):
        reader = pa.RecordBatchReader.from_stream(batches)
        return reader.schema, (pa.Table.from_batches([batch]) for batch in reader)
    if not isinstance(batches, Iterable):
        raise NotArrowError(
            f"An object of type '{type(batches).__qualname__}' is no stream of Arrow data; give a "
            "RecordBatchReader or an iterable of record batches."
        )
    tables = map(as_table, batches)
    first = next(tables, None)
    if first is None:
        raise NotArrowError(
            "An iterable without a batch has no schema; give a RecordBatchReader, which has one."
        )
    return first.schema, chain([first], tables)


def _check_same_schema(first: pa.Schema, other: pa.Schema) -> None:
    if difference := schema_difference(first, other):
        raise SchemaMismatchError(
            f"A batch has another schema than the first: {difference}; cast the batches to one "
            "schema."
        )
