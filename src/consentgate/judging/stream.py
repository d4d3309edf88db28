"""Judging one batch after another: a stream of admitted rows, and a ledger of the others."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from datetime import datetime
from functools import partial
from itertools import chain
from types import TracebackType
from typing import Any, Protocol, TypeAlias, TypeVar

import pyarrow as pa

from consentgate.arrow import (
    as_table,
    keep_rows,
    one_chunk,
    read_stream,
    refuse_other_schema,
)
from consentgate.decision import Decision
from consentgate.errors import NotArrowError
from consentgate.judging.judgement import record_id_column
from consentgate.judging.options import ColumnUser, JudgingOptions
from consentgate.ledger import AmendableLedger, Ledger, LedgerWriter, RecordedGate

Made = TypeVar("Made")
TableOf: TypeAlias = Callable[[Any], pa.Table]
"""A function that returns rows with the columns that a gate needs: all rows, or only those that
were not given out yet.
"""


class StreamGate(ColumnUser, RecordedGate, Protocol):
    """The part of a gate's interface that streams use."""

    def decide(
        self, data: Any, *, judged_at: datetime | None = None, threads: int | None = None
    ) -> Decision:
        """Judge every row of a batch."""


class GateSource(Protocol):
    """A gate or a live gate, which says which gate judges the next batch."""

    def current(self) -> StreamGate:
        """The gate that judges the next batch."""


def check_schema(schema: pa.Schema, gate: StreamGate, options: JudgingOptions) -> None:
    """Raise an error unless rows of a schema can be judged and recorded.

    Raises:
        ColumnMissingError, ColumnAmbiguousError: There is a ledger, and the column of record ids is
            absent or occurs twice.
        ColumnTypeError: There is a ledger, and the column of record ids does not hold ids.
        Every error of `Gate.decide`.
    """
    _decide(pa.Table.from_batches([], schema), gate, options)


def _decide(table: pa.Table, gate: StreamGate, options: JudgingOptions) -> Decision:
    if options.ledger is not None:
        record_id_column(table.schema, gate.columns)
    return gate.decide(table, judged_at=options.judged_at, threads=options.threads)


class Sieve:
    """Judges batch after batch, each by the gate that is current when the batch comes.

    Args:
        gate: a gate, or a live gate, which may give another gate at every batch.
        options: how to judge, and where to record.
        ledger: the writer for the folder that the options name. None takes a `Ledger`.

    Raises:
        OutputError: The ledger cannot be written. Every method raises it, too.
    """

    def __init__(
        self,
        gate: GateSource,
        options: JudgingOptions | None = None,
        *,
        ledger: LedgerWriter | None = None,
    ) -> None:
        self._gate, self._options = gate, options or JudgingOptions()
        directory = self._options.ledger
        self._ledger = Ledger(directory) if ledger is None and directory is not None else ledger
        self._next_row = 0
        self._held: list[Held] = []

    def current(self) -> StreamGate:
        """The gate that is current now.

        Raises:
            Every error of a live gate.
        """
        return self._gate.current()

    def columns(self) -> list[str]:
        """The names of the columns that the current gate and the ledger need."""
        return self._options.columns(self.current())

    def check(self, schema: pa.Schema) -> None:
        """Begin the ledger. Raise an error unless rows of a schema can be judged and recorded.

        Raises:
            Every error of `check_schema`.
        """
        self.judge(pa.Table.from_batches([], schema))

    def judge(
        self, table: pa.Table, *, gate: StreamGate | None = None, first_row: int | None = None
    ) -> Decision:
        """Judge the next batch, and write its excluded rows into the ledger.

        Use it for rows that are given out at once, and `hold` for rows that are given out later.

        Args:
            gate: the current gate, if the caller has asked for it already.
            first_row: the position of the batch's first row in the whole input. None: the batch
                follows the one before.

        Raises:
            Every error of `Gate.decide`.
        """
        first_row = self._next_row if first_row is None else first_row
        gate = gate or self.current()
        decision = self.decide(gate, table)
        self.record(gate, table, decision, first_row)
        self._next_row = first_row + table.num_rows
        return decision

    def hold(self, rows: pa.Table | TableOf, *, first_row: int | None = None) -> "Held":
        """Judge rows that are given out later, piece by piece; see `Held`.

        Args:
            rows: n rows; or a function that returns them for the gate that is to judge them. If it
                is called again, it may return only the rows that were not given out yet.
            first_row: as in `judge`.

        Raises:
            Every error of `Gate.decide`.
        """
        first_row = self._next_row if first_row is None else first_row
        table_of = _same_for_every_gate(rows) if isinstance(rows, pa.Table) else rows
        held = Held(self, table_of, first_row)
        held.refresh()
        if not held.left:
            held.record()
        elif self._ledger is not None and not self.writes_ahead:
            self._held.append(held)  # so that `close` records the rows of it that were given out
        self._next_row = first_row + held.left
        return held

    def filter(self, table: pa.Table) -> pa.Table:
        """Judge the next batch as `judge` does, and return its admitted rows."""
        return keep_rows(table, self.judge(table).admitted)

    def decide(self, gate: StreamGate, table: pa.Table) -> Decision:
        """Judge rows by a gate, and record nothing."""
        return _decide(table, gate, self._options)

    @property
    def writes_ahead(self) -> bool:
        """Whether the ledger gets rows as soon as they are judged; see `AmendableLedger`."""
        return isinstance(self._ledger, AmendableLedger)

    def record(self, gate: StreamGate, table: pa.Table, decision: Decision, first_row: int) -> Any:
        """Write those of judged rows that are excluded into the ledger, if there is one.

        Returns:
            The ledger's entry, which `amend` takes.
        """
        if self._ledger is None:
            return None
        return self._ledger.write(gate, _record_ids(table, gate), decision, first_row)

    def amend(
        self, entry: Any, done: int, gate: StreamGate, table: pa.Table, decision: Decision
    ) -> Any:
        """Replace what the ledger holds about rows; see `AmendableLedger`."""
        assert isinstance(self._ledger, AmendableLedger), "other ledgers are not written ahead"
        return self._ledger.amend(entry, done, gate, _record_ids(table, gate), decision)

    def forget(self, held: "Held") -> None:
        """Forget rows that were all given out and recorded."""
        if held in self._held:
            self._held.remove(held)

    def close(self) -> None:
        """Complete the ledger. It gets those of the held rows that were given out."""
        for held in self._held:
            held.record()
        self._held = []
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


class Held:
    """Rows that were judged together and are given out later, piece by piece, in their order.

    Each piece is given out as the current gate decides at that moment. If another gate has become
    current since the rows were judged, it judges all rows again that were not given out yet. The
    ledger gets every row once, with the reason of the gate that was current when the row was given
    out. An `AmendableLedger` gets a row when it is judged, and again if it is judged again.

    Whether a consent has expired is checked when rows are judged, and not again when they are given
    out.

    ::

        held = sieve.hold(table)
        for piece in pieces:                                    # of the table
            admitted = held.take(len(piece), partial(admitted_rows, piece))

    If results are made ahead (for example in another thread), call the steps of `take` yourself.
    Call `refresh` and `peek`, and make the result. Right before it is handed on, call `refresh`
    again, make the result again if that returned True, and call `advance`.

    Args:
        sieve: the sieve, which judges and keeps the ledger.
        table_of: a function that returns the n rows.
        first_row: the position of the first of them in the whole input.
    """

    def __init__(self, sieve: Sieve, table_of: TableOf, first_row: int) -> None:
        self._sieve, self._table_of, self._first_row = sieve, table_of, first_row
        self._gate: StreamGate | None = None
        self._table, self._decision = pa.table({}), Decision(pa.nulls(0, pa.uint32()), {})
        self._start = 0
        """How many of the n rows come before those that table and decision are about."""
        self._entry: Any = None
        """The entry of an amendable ledger."""
        self._is_recorded = False
        self.done = 0
        """How many rows were given out."""

    @property
    def gate(self) -> StreamGate:
        """The gate that judged the rows that are left."""
        assert self._gate is not None, "`Sieve.hold` has judged the rows"
        return self._gate

    @property
    def left(self) -> int:
        """How many rows were not given out yet."""
        return self._start + len(self._decision) - self.done

    def refresh(self) -> bool:
        """Judge the rows that are left again, if another gate is current now.

        Returns:
            Whether they were judged again. If so, the caller has to make again what it made of
            them.

        Raises:
            Every error of `Gate.decide` and of a live gate. The rows are unchanged then.
        """
        gate = self._sieve.current()
        if gate is self._gate or (self._gate is not None and not self.left):
            return False
        table = self._table_of(gate)
        left = table if self._gate is None else table.slice(table.num_rows - self.left)
        decision = self._sieve.decide(gate, left)
        if self._sieve.writes_ahead:
            self._write_ahead(gate, left, decision)
        elif self.done > self._start:
            self.record()
        self._gate, self._table, self._decision, self._start = gate, left, decision, self.done
        return True

    def peek(self, rows: int | None = None) -> Decision:
        """The decision on the next rows, or on all that are left."""
        bits = self._decision.reason_bits.slice(self.done - self._start, rows)
        return replace(self._decision, reason_bits=bits)

    def take(self, rows: int, make: Callable[[Decision], Made]) -> Made:
        """Give out the next rows.

        Args:
            rows: how many rows.
            make: a function that takes the decision on these rows, and returns what the caller is
                going to hand on. It is called again if the gate changes meanwhile.

        Returns:
            The result of the last call of `make`.
        """
        self.refresh()
        made = make(self.peek(rows))
        while self.refresh():
            made = make(self.peek(rows))
        self.advance(rows)
        return made

    def advance(self, rows: int) -> None:
        """Count the next rows as given out."""
        self.done += rows
        if not self.left and not self._is_recorded:
            self.record()
            self._sieve.forget(self)

    def record(self) -> None:
        """Write the rows that were given out into the ledger, if they are not in it yet."""
        rows = self.done - self._start
        if self._sieve.writes_ahead or self._is_recorded or (not rows and self.left):
            return
        decision = replace(self._decision, reason_bits=self._decision.reason_bits.slice(0, rows))
        first_row = self._first_row + self._start
        self._sieve.record(self.gate, self._table.slice(0, rows), decision, first_row)
        self._is_recorded = not self.left

    def _write_ahead(self, gate: StreamGate, left: pa.Table, decision: Decision) -> None:
        if self._gate is None:
            self._entry = self._sieve.record(gate, left, decision, self._first_row)
        else:
            self._entry = self._sieve.amend(self._entry, self.done, gate, left, decision)


def _record_ids(table: pa.Table, gate: StreamGate) -> pa.ChunkedArray:
    return table.column(record_id_column(table.schema, gate.columns))


def _same_for_every_gate(table: pa.Table) -> TableOf:
    return lambda _: table


def admitted_stream(batches: Any, sieve: Sieve) -> pa.RecordBatchReader:
    """Give a reader of a stream's admitted rows, which are judged batch by batch as it is read.

    A table of several chunks is judged at once. Its chunks are given out one by one, each as the
    current gate decides at that moment.

    Args:
        batches: any object that speaks the Arrow PyCapsule stream interface, or an iterable of such
            objects or of record batches, all of one schema.
        sieve: the sieve, which judges the rows. It is closed when the reader is exhausted or
            closed.

    Raises:
        NotArrowError: `batches` is not a stream, or has no schema.
        SchemaMismatchError: A batch has another schema than the first. Raised while reading.
        Every error of `Sieve.judge`: raised at once if it is about the schema, else while reading.
    """
    schema, tables = _open_stream(batches)
    admitted = _admitted(schema, tables, sieve)
    next(admitted)  # starts the generator, so that closing the reader completes the ledger
    return pa.RecordBatchReader.from_batches(schema, admitted)


def one_batch(table: pa.Table) -> pa.RecordBatch:
    """The rows of a table in one batch. The table has at least one column."""
    columns = [one_chunk(column) for column in table.columns]
    return pa.RecordBatch.from_arrays(columns, schema=table.schema)


def _admitted(
    schema: pa.Schema, tables: Iterable[pa.Table], sieve: Sieve
) -> Iterator[pa.RecordBatch | None]:
    with sieve:
        sieve.check(schema)
        yield None
        for table in tables:
            refuse_other_schema(schema, table.schema)
            held = sieve.hold(table)
            for piece in table.to_batches():
                admitted = held.take(len(piece), partial(_kept, piece))
                if admitted is not None:
                    yield admitted


def _kept(piece: pa.RecordBatch, decision: Decision) -> pa.RecordBatch | None:
    """The admitted rows of a piece; None if no row is admitted."""
    if not decision.num_admitted:
        return None
    return one_batch(keep_rows(pa.Table.from_batches([piece]), decision.admitted))


def _open_stream(batches: Any) -> tuple[pa.Schema, Iterator[pa.Table]]:
    """The schema of a stream and an iterator over its batches."""
    if hasattr(batches, "__arrow_c_stream__"):
        schema, read = read_stream(batches)
        return schema, map(as_table, read)
    if not isinstance(batches, Iterable):
        raise NotArrowError(
            f"An object of type '{type(batches).__qualname__}' is not a stream of Arrow data; give "
            "a RecordBatchReader or an iterable of record batches."
        )
    tables = map(as_table, batches)
    first = next(tables, None)
    if first is None:
        raise NotArrowError(
            "An iterable without a batch has no schema; give a RecordBatchReader, which has one."
        )
    return first.schema, chain([first], tables)
