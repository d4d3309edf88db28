"""Judging one batch after another: a stream of admitted rows, and a ledger of the others."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from datetime import datetime
from functools import partial
from itertools import chain
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, TypeAlias, TypeVar

import pyarrow as pa

from consentgate.arrow import as_table, keep_rows, one_chunk, read_stream, refuse_other_schema
from consentgate.columns import Columns
from consentgate.decision import Decision
from consentgate.errors import NotArrowError
from consentgate.identity import GateIdentity
from consentgate.ledger import Ledger, excluded_rows

Made = TypeVar("Made")
TableOf: TypeAlias = Callable[[Any], pa.Table]
"""Gives rows with the columns that a gate judges by: all of them, or those not given out yet."""


class Judging(Protocol):
    """One gate, as far as a stream needs it."""

    @property
    def columns(self) -> Columns:
        """Where in the messages things are."""

    @property
    def identity(self) -> GateIdentity:
        """What judges, as ledgers carry it in their metadata."""

    def decide(
        self, data: Any, *, judged_at: datetime | None = None, threads: int | None = None
    ) -> Decision:
        """Judge every row of a batch."""


class Current(Protocol):
    """Knows the gate that judges the next batch: a gate, or a live one."""

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
        self._held: list[Held] = []

    def current(self) -> Judging:
        """The gate that is current now.

        Raises:
            Whatever a live gate raises.
        """
        return self._gate.current()

    def check(self, schema: pa.Schema) -> None:
        """Raise an error unless rows of that schema can be judged; begin the ledger's file.

        Raises:
            Whatever `Gate.decide` raises.
        """
        self.judge(pa.Table.from_batches([], schema))

    def judge(
        self, table: pa.Table, *, gate: Judging | None = None, first_row: int | None = None
    ) -> Decision:
        """Judge the next batch; its excluded rows go into the ledger.

        Use it for rows that are given out at once, and `hold` for rows that are given out later.

        Args:
            gate: the gate that is current, where that has been asked for already.
            first_row: the position of its first row in the whole input; None: it comes right after
                the batch before.

        Raises:
            Whatever `Gate.decide` raises.
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
            rows: n rows; or a function that returns them for the gate that is to judge them. Called
                again, it may return only those that were not given out yet.
            first_row: as in `judge`.

        Raises:
            Whatever `Gate.decide` raises.
        """
        first_row = self._next_row if first_row is None else first_row
        table_of = _same_for_every_gate(rows) if isinstance(rows, pa.Table) else rows
        held = Held(self, table_of, first_row)
        held.refresh()
        if not held.left:
            held.record()
        elif self._ledger is not None:  # else there is nothing to be done about it later
            self._held.append(held)
        self._next_row = first_row + held.left
        return held

    def filter(self, table: pa.Table) -> pa.Table:
        """The admitted rows of the next batch; see `judge`."""
        return keep_rows(table, self.judge(table).admitted)

    def decide(self, gate: Judging, table: pa.Table) -> Decision:
        """Judge rows by a gate, and record nothing."""
        return gate.decide(table, judged_at=self._judged_at, threads=self._threads)

    def record(self, gate: Judging, table: pa.Table, decision: Decision, first_row: int) -> None:
        """Write the excluded ones of judged rows into the ledger, if there is one."""
        if self._ledger is not None:
            record_ids = table.column(gate.columns.record_id)
            excluded = excluded_rows(record_ids, decision, gate.identity, first_row=first_row)
            self._ledger.write(excluded)

    def forget(self, held: "Held") -> None:
        """Forget rows that were all given out and recorded."""
        if held in self._held:
            self._held.remove(held)

    def close(self) -> None:
        """Complete the ledger. Of rows that are held, those that were given out are in it."""
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

    Each piece is given out as the gate decides that is current then. When that is another gate
    than the one that judged the rows, it judges again all that were not given out yet. The ledger
    gets every row that was given out once, with the reason of the gate that was current then.

    Whether a consent has expired is checked when rows are judged, and not again when they are given
    out.

    ::

        held = sieve.hold(table)
        for piece in pieces:                                    # of the table
            admitted = held.take(len(piece), partial(admitted_rows, piece))

    Where the work is done ahead (in another thread, say), use the parts of `take`: `refresh` and
    `peek` to make something ahead; right before it is handed on, `refresh` again, make it again
    if that returns True, and `advance`.

    Args:
        sieve: which judges and keeps the ledger.
        table_of: gives the n rows.
        first_row: the position of their first in the whole input.
    """

    def __init__(self, sieve: Sieve, table_of: TableOf, first_row: int) -> None:
        self._sieve, self._table_of, self._first_row = sieve, table_of, first_row
        self._gate: Judging | None = None
        self._table, self._decision = pa.table({}), Decision(pa.array([], pa.uint32()), {})
        self._start = 0
        """The first of the n rows that table and decision are about."""
        self._is_recorded = False
        self.done = 0
        """How many rows were given out."""

    @property
    def gate(self) -> Judging:
        """The gate that judged the rows that are left."""
        assert self._gate is not None, "`Sieve.hold` has judged the rows"
        return self._gate

    @property
    def left(self) -> int:
        """How many rows were not given out yet."""
        return self._start + len(self._decision) - self.done

    @property
    def table(self) -> pa.Table:
        """The rows that are left, with the columns that the gate judges by."""
        return self._table.slice(self.done - self._start)

    def refresh(self) -> bool:
        """Judge the rows that are left again, if another gate is current now.

        Returns:
            Whether they were judged again. The caller then has to make again what it made of them.

        Raises:
            Whatever `Gate.decide` and a live gate raise. The rows are as before then.
        """
        gate = self._sieve.current()
        if gate is self._gate or (self._gate is not None and not self.left):
            return False
        table = self._table_of(gate)
        left = table if self._gate is None else table.slice(table.num_rows - self.left)
        decision = self._sieve.decide(gate, left)
        if self.done > self._start:
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
            rows: how many.
            make: a function that takes the decision on these rows, and returns what the caller is
                going to hand on.

        Returns:
            What `make` returned last. It is called again if the gate changed meanwhile.
        """
        self.refresh()
        made = make(self.peek(rows))
        while self.refresh():
            made = make(self.peek(rows))
        self.advance(rows)
        return made

    def advance(self, rows: int) -> None:
        """Note that the next rows are given out now."""
        self.done += rows
        if not self.left and not self._is_recorded:
            self.record()
            self._sieve.forget(self)

    def record(self) -> None:
        """Write into the ledger what was given out and is not in there yet."""
        rows = self.done - self._start
        if self._is_recorded or (not rows and self.left):
            return
        decision = replace(self._decision, reason_bits=self._decision.reason_bits.slice(0, rows))
        first_row = self._first_row + self._start
        self._sieve.record(self.gate, self._table.slice(0, rows), decision, first_row)
        self._is_recorded = not self.left


def _same_for_every_gate(table: pa.Table) -> TableOf:
    return lambda _: table


def admitted_stream(batches: Any, sieve: Sieve) -> pa.RecordBatchReader:
    """The admitted rows of a stream, judged batch by batch as they are asked for.

    A table of several chunks is judged at once and comes chunk by chunk, each of them as the gate
    decides that is current then.

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


def one_batch(table: pa.Table) -> pa.RecordBatch:
    """The rows of a table, which has columns, in one batch."""
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
    """The admitted rows of a piece; None where there are none."""
    if not decision.num_admitted:
        return None
    return one_batch(keep_rows(pa.Table.from_batches([piece]), decision.admitted))


def _open_stream(batches: Any) -> tuple[pa.Schema, Iterator[pa.Table]]:
    """The schema of a stream and its batches, of which the first may have been read."""
    if hasattr(batches, "__arrow_c_stream__"):
        schema, read = read_stream(batches)
        return schema, map(as_table, read)
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
