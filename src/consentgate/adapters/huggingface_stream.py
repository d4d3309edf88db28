"""The judge of `huggingface.filter`'s streams, apart because its base class is datasets'.

That class is not public. What `IterableDataset.map` makes is no use here: it hands a batch on row
by row, whatever becomes of the gate meanwhile.
"""

from collections.abc import Callable, Iterator
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from datasets.formatting import PythonFormatter
from datasets.iterable_dataset import _BaseExamplesIterable

from consentgate.adapters.carried import CarriedGate
from consentgate.adapters.growing_ledger import Entry, GrowingLedger
from consentgate.adapters.values import ValueColumns
from consentgate.arrow import keep_rows
from consentgate.gate import Gate
from consentgate.judging import Held, Sieve, TableOf, record_id_column
from consentgate.publishing import AnyGate


class StreamJudge:
    """Judges the batches of a stream, in any process and from any thread.

    Args:
        gate: the gate, or a live one.
        ledger: a directory that gets the excluded rows, or None.
        judged_at, threads: of `Sieve`.
    """

    def __init__(
        self, gate: AnyGate, *, ledger: Path | None, judged_at: datetime | None, threads: int | None
    ) -> None:
        self.may_change = not isinstance(gate, Gate)
        self.columns = ValueColumns(reads_text=False)
        self._ledger = None if ledger is None else GrowingLedger(ledger)
        self._sieve = Sieve(CarriedGate(gate), judged_at=judged_at, threads=threads)

    def __deepcopy__(self, memo: dict[int, Any]) -> "StreamJudge":
        return self  # what joins streams copies them: the rows' positions go on being counted here

    def hold(self, rows: TableOf) -> "HeldBatch":
        """Judge a batch, whose rows are given out one by one."""
        return HeldBatch(self._sieve.hold(rows), self._ledger)


class HeldBatch:
    """The rows of a batch. The ledger has all that are excluded, as of the last judgement."""

    def __init__(self, held: Held, ledger: GrowingLedger | None) -> None:
        self._held, self._ledger = held, ledger
        self._entry: Entry | None = None
        self._write()

    def mask(self) -> pa.BooleanArray:
        """Which of the rows that are left are admitted, by the gate that judged them last."""
        return self._held.peek().admitted

    def finish(self) -> None:
        """Note that all rows are given out now."""
        self._held.advance(self._held.left)

    def positions(self, judged: Callable[[pa.BooleanArray], None]) -> Iterator[int]:
        """The positions of the admitted rows, each decided by the gate that is current then.

        Args:
            judged: called with the rows' `mask`, at first, and when what is left was judged again.
        """
        held = self._held
        positions = self._admitted_positions(judged)
        while True:
            if held.refresh():
                self._write()
                positions = self._admitted_positions(judged)
            position = next(positions, None)
            if position is None:
                return self.finish()
            held.advance(position + 1 - held.done)
            yield position

    def _admitted_positions(self, judged: Callable[[pa.BooleanArray], None]) -> Iterator[int]:
        mask = self.mask()
        judged(mask)
        return iter((np.flatnonzero(mask) + self._held.done).tolist())

    def _write(self) -> None:
        if self._ledger is None:
            return
        gate = self._held.gate
        assert isinstance(gate, Gate)
        table, decision = self._held.table, self._held.peek()
        ids = table.column(record_id_column(table.schema, gate.columns))
        if self._entry is None:
            self._entry = self._ledger.write(gate, ids, decision)
        else:
            self._entry = self._ledger.amend(self._entry, self._held.done, gate, ids, decision)


class GatedExamples(_BaseExamplesIterable):  # type: ignore[misc]  # datasets has no types
    """The admitted rows of what a stream reads.

    With a gate that may change, tables have one row each, so that every row is given out as the
    gate decides that is current then.

    Args:
        mapped: what `IterableDataset.map` made of the stream: it says which rows there are, in
            which batches, and how. Its function is not called.
        judge: what judges them.
    """

    def __init__(self, mapped: Any, judge: StreamJudge) -> None:
        super().__init__()
        self.ex_iterable = mapped.ex_iterable
        self._mapped, self._judge = mapped, judge

    @property
    def iter_arrow(self) -> Any:
        """The function that gives tables, if the stream is one of tables."""
        return self._iter_arrow if self._mapped.iter_arrow else None

    @property
    def is_typed(self) -> bool:
        """Whether it knows its features."""
        return self.features is not None

    @property
    def features(self) -> Any:
        """The types of its columns, if it knows them."""
        return self._mapped.features

    @property
    def num_shards(self) -> int:
        """In how many shards the stream is."""
        return int(self.ex_iterable.num_shards)

    def shuffle_data_sources(self, generator: Any) -> "GatedExamples":
        """The same with its shards in another order."""
        return GatedExamples(self._mapped.shuffle_data_sources(generator), self._judge)

    def shard_data_sources(
        self, num_shards: int, index: int, contiguous: bool = True
    ) -> "GatedExamples":
        """The same with some of its shards."""
        mapped = self._mapped.shard_data_sources(num_shards, index, contiguous=contiguous)
        return GatedExamples(mapped, self._judge)

    def reshard_data_sources(self) -> "GatedExamples":
        """The same in more shards."""
        return GatedExamples(self._mapped.reshard_data_sources(), self._judge)

    def _init_state_dict(self) -> dict[str, Any]:
        self._state_dict: dict[str, Any] | None = {
            "examples_iterable": self.ex_iterable._init_state_dict(),
            "before_batch": None,
            "rows": 0,
            "type": type(self).__name__,
        }
        return self._state_dict

    def __iter__(self) -> Iterator[tuple[str, dict[str, Any]]]:
        if not self.iter_arrow:
            yield from self._examples()
            return
        formatter = PythonFormatter()
        for key, table in self._tables(by_row=True):
            yield key, formatter.format_row(table)

    def _iter_arrow(self) -> Iterator[tuple[str, pa.Table]]:
        yield from self._tables(by_row=self._judge.may_change)

    def _tables(self, *, by_row: bool) -> Iterator[tuple[str, pa.Table]]:
        done = self._begin()
        for key, table in self.ex_iterable.iter_arrow():
            rest = table.slice(done)
            if rest.num_rows:
                tables = self._rows_of(rest) if by_row else self._whole(rest)
                for position, admitted in tables:
                    self._note(done + position + 1)
                    yield f"{key}_{position}", admitted
            self._next_batch()
            done = 0

    def _whole(self, table: pa.Table) -> Iterator[tuple[int, pa.Table]]:
        held = self._judge.hold(lambda _: table)
        admitted = keep_rows(table, held.mask())
        held.finish()
        yield table.num_rows - 1, admitted

    def _rows_of(self, table: pa.Table) -> Iterator[tuple[int, pa.Table]]:
        held, admitted, given = self._judge.hold(lambda _: table), pa.table({}), 0

        def judged(mask: pa.BooleanArray) -> None:
            nonlocal admitted, given
            admitted, given = keep_rows(table.slice(table.num_rows - len(mask)), mask), 0

        for position in held.positions(judged):
            given += 1
            yield position, admitted.slice(given - 1, 1)

    def _examples(self) -> Iterator[tuple[str, dict[str, Any]]]:
        done, iterator = self._begin(), iter(self.ex_iterable)
        while batch := list(islice(iterator, self._mapped.batch_size)):
            keys, examples = zip(*batch[done:], strict=True) if batch[done:] else ((), ())
            names = dict.fromkeys(name for example in examples for name in example)
            columns = {name: [example.get(name) for example in examples] for name in names}
            for position in self._positions_of(columns) if examples else ():
                self._note(done + position + 1)
                yield keys[position], {name: values[position] for name, values in columns.items()}
            self._next_batch()
            done = 0

    def _positions_of(self, columns: dict[str, list[Any]]) -> Iterator[int]:
        done = 0

        def rows(gate: Gate) -> pa.Table:
            """Those that are left: who has the others may have changed them."""
            left = {name: values[done:] for name, values in columns.items()}
            return self._judge.columns.table(gate, left)

        for position in self._judge.hold(rows).positions(lambda _: None):
            done = position + 1
            yield position

    def _begin(self) -> int:
        """Go to where the state says; returns how many rows of the batch there were given out."""
        state = self._state_dict
        if state is None:
            return 0
        if state["before_batch"]:
            self.ex_iterable.load_state_dict(state["before_batch"])
        done = int(state["rows"])
        self._next_batch()
        self._note(done)
        return done

    def _note(self, rows: int) -> None:
        """Note in the state how many rows of the batch were given out."""
        if self._state_dict is not None:
            self._state_dict["rows"] = rows

    def _next_batch(self) -> None:
        """Note in the state that a batch begins."""
        if self._state_dict is not None:
            self._state_dict["before_batch"] = self.ex_iterable.state_dict()
            self._state_dict["rows"] = 0
