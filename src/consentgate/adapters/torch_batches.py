"""Makes batches of admitted rows for PyTorch, as the input has them or of one size."""

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import partial
from multiprocessing.reduction import ForkingPickler
from typing import Any

import numpy as np
import pyarrow as pa

from consentgate.adapters.carried import CarriedGate
from consentgate.adapters.counts import Counts
from consentgate.adapters.shards import Block, Position, ResumePoint
from consentgate.arguments import require
from consentgate.arrow import Int64s, find_column, keep_rows, quoted, refuse_other_schema
from consentgate.decision import Decision
from consentgate.errors import ConfigurationError
from consentgate.gate import Gate
from consentgate.judging import JudgingOptions, Sieve, check_schema, one_batch
from consentgate.publishing import AnyGate
from consentgate.storage import GATE_KEY


class BatchMaker:
    """Makes batches of admitted rows in every process, and counts rows for all processes together.

    Args:
        gate: a gate or a live gate.
        columns: the names of the columns that batches have, in this order; None takes all columns.
        options: how to judge, and where to record.

    Attributes:
        columns: as given.
        counts: the counts of all processes.

    Raises:
        TypeError: `columns` is not a list of names.
        ConfigurationError: `columns` is a text, or holds a name twice.
    """

    def __init__(
        self, gate: AnyGate, columns: Iterable[str] | None, options: JudgingOptions
    ) -> None:
        self._gate = CarriedGate(gate)
        self.columns = None if columns is None else _names(columns)
        self._options = options
        self.counts = Counts()

    def sieve(self) -> Sieve:
        """Make a sieve that judges rows in this process."""
        return Sieve(self._gate, self._options)

    def check(self, schema: pa.Schema, gate: Gate) -> None:
        """Raise an error unless rows of a schema can be judged, recorded and given."""
        check_schema(schema, gate, self._options)
        self._given(pa.Table.from_batches([], schema))

    def needed_columns(self, gate: Gate) -> tuple[str, ...] | None:
        """The columns to read for batches, a gate and the ledger; None stands for all columns."""
        if self.columns is None:
            return None
        return (*self.columns, *self._options.columns(gate))

    def admitted(
        self, sieve: Sieve, tables: list[pa.Table], first_row: int
    ) -> Iterator[pa.RecordBatch]:
        """Iterate over the admitted rows of each table, as the current gate decides at that moment.

        All tables are judged at once. If the gate changes, the new one judges the tables that are
        left again. The rows of a table are counted when its batch is given out.
        """
        held = sieve.hold(pa.concat_tables(tables), first_row=first_row)
        for table in tables:
            batch, decision = held.take(table.num_rows, partial(self.taken, table))
            self.counts.add(decision)
            yield batch

    def as_read(
        self, sieve: Sieve, blocks: Iterator[Block]
    ) -> Iterator[tuple[pa.RecordBatch, ResumePoint]]:
        """Iterate over a batch for each batch that was read, and the point to resume at after."""
        for block in blocks:
            tables = [table for table, _ in block.batches]
            batches = self.admitted(sieve, tables, block.first_row)
            for (_, end), batch in zip(block.batches, batches, strict=True):
                yield batch, end

    def taken(self, table: pa.Table, decision: Decision) -> tuple[pa.RecordBatch, Decision]:
        """Make a batch of the admitted rows of a table. Its metadata names the gate, if known.

        Returns:
            The batch, and the decision as it was given.
        """
        given = self._given(table)
        metadata = dict(given.schema.metadata or {})
        if decision.gate_digest is not None:
            metadata[GATE_KEY] = decision.gate_digest
        if not given.num_columns:
            return _without_columns(decision.num_admitted, metadata), decision
        admitted = keep_rows(given, decision.admitted).replace_schema_metadata(metadata)
        return one_batch(admitted), decision

    def _given(self, table: pa.Table) -> pa.Table:
        if self.columns is None:
            return table
        names = [find_column(table.schema, name, role="to be given") for name in self.columns]
        return table.select(names)


class SizedBatches:
    """Makes batches of one size, each filled with admitted rows from as many blocks as it needs.

    A row that waits until its batch is full was not given out. It is neither recorded nor counted,
    a newer gate judges it again, and an iteration that is resumed reads it again. When a batch is
    given out, it has only rows that the current gate admits.

    Args:
        maker: makes and counts the batches.
        sieve: judges the rows.
        size: how many rows a batch has. The last one may have fewer.
        drop_last: whether a last batch that is shorter is left out. Its rows are recorded and
            counted all the same.
    """

    def __init__(self, maker: BatchMaker, sieve: Sieve, size: int, *, drop_last: bool) -> None:
        self._maker, self._sieve = maker, sieve
        self._size, self._drop_last = size, drop_last
        self._waiting: deque[_HeldBlock] = deque()
        self._schema: pa.Schema | None = None
        self._end = ResumePoint(Position())

    def of(self, blocks: Iterator[Block]) -> Iterator[tuple[pa.RecordBatch, ResumePoint]]:
        """Iterate over batches, and the point to resume at after each. Some batches have no rows.

        Raises:
            SchemaMismatchError: A block has another schema than the first.
            Every error of `Gate.decide`.
        """
        for block in blocks:
            self._hold(block)
            while (portions := self._portions()) is not None:
                if (batch := self._batch(portions)) is not None:
                    yield batch, self._resume_point()
        while self._waiting:
            batch = self._batch(self._portions() or self._rest())
            if batch is not None:
                is_dropped = self._drop_last and len(batch) < self._size
                yield batch.slice(0, 0) if is_dropped else batch, self._resume_point()

    def _hold(self, block: Block) -> None:
        held = _HeldBlock(block, self._sieve)
        self._schema = self._schema or held.table.schema
        refuse_other_schema(self._schema, held.table.schema)
        self._end = block.batches[-1][1]
        if held.left:
            self._waiting.append(held)

    def _portions(self) -> list["_Portion"] | None:
        """The rows for the next batch: the first ones of the blocks that wait, up to a full batch.

        If no row is admitted, they are all rows that wait, because no batch needs them. None if
        there are too few admitted rows.
        """
        missing, portions = self._size, list[_Portion]()
        for held in self._waiting:
            if held.admitted_left >= missing:
                return [*portions, _Portion(held, held.rows_with(missing))]
            portions.append(_Portion(held, held.left))
            missing -= held.admitted_left
        return portions if portions and missing == self._size else None

    def _rest(self) -> list["_Portion"]:
        return [_Portion(held, held.left) for held in self._waiting]

    def _batch(self, portions: list["_Portion"]) -> pa.RecordBatch | None:
        """Give out portions, and return a batch of their admitted rows.

        None if the gate has changed, so that other portions are needed.
        """
        table = pa.concat_tables([portion.table for portion in portions])
        decisions = [portion.decision for portion in portions]
        bits = pa.concat_arrays([decision.reason_bits for decision in decisions])
        batch, decision = self._maker.taken(table, replace(decisions[-1], reason_bits=bits))
        if any([held.refresh() for held in self._waiting]):  # noqa: C419  # each of them
            return None
        self._maker.counts.add(decision)
        for portion in portions:
            portion.held.advance(portion.rows)
        while self._waiting and not self._waiting[0].left:
            self._waiting.popleft()
        return batch

    def _resume_point(self) -> ResumePoint:
        return self._waiting[0].resume_point if self._waiting else self._end


class _HeldBlock:
    """A block that was judged. Some of its rows wait for a batch.

    Args:
        block: the block.
        sieve: judges it.
    """

    def __init__(self, block: Block, sieve: Sieve) -> None:
        self._block = block
        self.table = pa.concat_tables([table for table, _ in block.batches])
        self.held = sieve.hold(self.table, first_row=block.first_row)
        self._admitted = self._admitted_positions()

    @property
    def left(self) -> int:
        """How many rows wait, admitted or not."""
        return self.held.left

    @property
    def admitted_left(self) -> int:
        """How many admitted rows wait."""
        return len(self._admitted)

    def rows_with(self, admitted: int) -> int:
        """How many of the waiting rows it takes to get a number of admitted rows."""
        return int(self._admitted[admitted - 1]) + 1 - self.held.done

    def refresh(self) -> bool:
        """Judge the rows that wait again, if another gate is current now. Returns whether it is."""
        is_changed = self.held.refresh()
        if is_changed:
            self._admitted = self._admitted_positions()
        return is_changed

    def advance(self, rows: int) -> None:
        """Count the next rows as given out."""
        self.held.advance(rows)
        self._admitted = self._admitted[np.searchsorted(self._admitted, self.held.done) :]

    @property
    def resume_point(self) -> ResumePoint:
        """The point to resume at, so that the first row that waits is the next one."""
        (piece, rows), inner_state = self._block.start
        return ResumePoint(Position(piece, rows + self.held.done), inner_state)

    def _admitted_positions(self) -> Int64s:
        """The positions of the admitted rows that wait, in the block."""
        positions: Int64s = np.flatnonzero(self.held.peek().admitted) + self.held.done
        return positions


class _Portion:
    """The next rows of a block.

    Args:
        held: the block.
        rows: how many rows.
    """

    def __init__(self, held: _HeldBlock, rows: int) -> None:
        self.held, self.rows = held, rows
        self.table = held.table.slice(held.held.done, rows)
        self.decision = held.held.peek(rows)


def _names(columns: Iterable[str]) -> tuple[str, ...]:
    if isinstance(columns, str):
        raise ConfigurationError(f"`columns` is the text '{columns}'; give a list of names.")
    require(columns, "columns", Iterable, hint="give a list of names")
    names = tuple(columns)
    for name in names:
        require(name, "columns", str, hint="give a list of names")
    if doubled := {name for name in names if names.count(name) > 1}:
        raise ConfigurationError(
            f"`columns` names {quoted(doubled)} more than once; name each column once."
        )
    return names


def _without_columns(rows: int, metadata: dict[Any, Any]) -> pa.RecordBatch:
    """Make a batch with a number of rows and no columns."""
    schema = pa.schema([("rows", pa.null())], metadata)
    return pa.RecordBatch.from_arrays([pa.nulls(rows)], schema=schema).select([])


def _reduced(batch: pa.RecordBatch) -> Any:
    """The function and arguments by which a batch is unpickled in a worker's parent process.

    A batch without columns needs a separate function, because pyarrow 26 loses its number of rows.
    """
    if batch.num_columns:
        return batch.__reduce__()
    return _without_columns, (batch.num_rows, batch.schema.metadata)


ForkingPickler.register(pa.RecordBatch, _reduced)
