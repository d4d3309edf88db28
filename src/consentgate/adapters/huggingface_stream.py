"""The streams that `huggingface.filter` returns. This module imports `datasets`.

The base class is not public. `IterableDataset.map` cannot be used instead: it hands a batch on row
by row and does not ask whether the gate has changed meanwhile.
"""

from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from typing import Any

import numpy as np
import pyarrow as pa
from datasets.formatting import PythonFormatter
from datasets.iterable_dataset import _BaseExamplesIterable

from consentgate.adapters.carried import CarriedGate
from consentgate.adapters.growing_ledger import GrowingLedger
from consentgate.adapters.values import ValueColumns
from consentgate.arrow import keep_rows
from consentgate.gate import Gate
from consentgate.judging import Held, JudgingOptions, Sieve, TableOf
from consentgate.publishing import AnyGate


class StreamHolder:
    """Judges the batches of a stream and holds their rows, in any process and from any thread.

    Args:
        gate: a gate or a live gate.
        options: how to judge, and where to record.
    """

    def __init__(self, gate: AnyGate, options: JudgingOptions) -> None:
        self.may_change = not isinstance(gate, Gate)
        self._values, self._options = ValueColumns(reads_text=False), options
        self._ledger = None if options.ledger is None else GrowingLedger(options.ledger)
        self._sieve = Sieve(CarriedGate(gate), options, ledger=self._ledger)

    def __deepcopy__(self, memo: dict[int, Any]) -> "StreamHolder":
        return self  # `datasets` copies streams that it joins; the ledger counts rows over all

    def hold(self, rows: TableOf, count: int) -> "HeldBatch":
        """Judge a batch, whose rows are given out one by one.

        Args:
            rows: a function that returns the rows; see `Sieve.hold`.
            count: how many rows it returns.
        """
        first_row = 0 if self._ledger is None else self._ledger.reserve(count)
        return HeldBatch(self._sieve.hold(rows, first_row=first_row))

    def table(self, gate: Gate, columns: Mapping[str, list[Any]]) -> pa.Table:
        """Make a table of the columns that judging by a gate and recording need."""
        needed = self._options.columns(gate)
        return self._values.table(gate, {n: columns[n] for n in needed if n in columns})


class HeldBatch:
    """The rows of a batch. The ledger has those that the last judgement excluded."""

    def __init__(self, held: Held) -> None:
        self._held = held

    def mask(self) -> pa.BooleanArray:
        """A mask of the admitted ones of the rows that are left, by the gate that judged last."""
        return self._held.peek().admitted

    def finish(self) -> None:
        """Count all rows as given out."""
        self._held.advance(self._held.left)

    def positions(self, judged: Callable[[pa.BooleanArray], None]) -> Iterator[int]:
        """Iterate over the positions of admitted rows, as the current gate decides at that moment.

        Args:
            judged: a function that is called with the `mask` at first, and whenever the rows that
                are left were judged again.
        """
        held = self._held
        positions = self._admitted_positions(judged)
        while True:
            if held.refresh():
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


class GatedExamples(_BaseExamplesIterable):  # type: ignore[misc]  # datasets has no types
    """The admitted rows of a stream.

    With a gate that may change, tables have one row each, so that every row is given out as the
    current gate decides at that moment.

    Args:
        mapped: the result of `IterableDataset.map` on the stream, which reads its batches. The
            mapped function is not called.
        holder: judges the rows.
    """

    def __init__(self, mapped: Any, holder: StreamHolder) -> None:
        super().__init__()
        self.ex_iterable = mapped.ex_iterable
        self._mapped, self._holder = mapped, holder

    @property
    def iter_arrow(self) -> Any:
        """The function that iterates over tables; None if the stream has no tables."""
        return self._iter_arrow if self._mapped.iter_arrow else None

    @property
    def is_typed(self) -> bool:
        """Whether the features are known."""
        return self.features is not None

    @property
    def features(self) -> Any:
        """The types of the columns; None if they are not known."""
        return self._mapped.features

    @property
    def num_shards(self) -> int:
        """The number of the stream's shards."""
        return int(self.ex_iterable.num_shards)

    def shuffle_data_sources(self, generator: Any) -> "GatedExamples":
        """The same stream with its shards in another order."""
        return GatedExamples(self._mapped.shuffle_data_sources(generator), self._holder)

    def shard_data_sources(
        self, num_shards: int, index: int, contiguous: bool = True
    ) -> "GatedExamples":
        """The same stream with some of its shards."""
        mapped = self._mapped.shard_data_sources(num_shards, index, contiguous=contiguous)
        return GatedExamples(mapped, self._holder)

    def reshard_data_sources(self) -> "GatedExamples":
        """The same stream in more shards."""
        return GatedExamples(self._mapped.reshard_data_sources(), self._holder)

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
        yield from self._tables(by_row=self._holder.may_change)

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
        held = self._holder.hold(lambda _: table, table.num_rows)
        admitted = keep_rows(table, held.mask())
        held.finish()
        yield table.num_rows - 1, admitted

    def _rows_of(self, table: pa.Table) -> Iterator[tuple[int, pa.Table]]:
        held = self._holder.hold(lambda _: table, table.num_rows)
        admitted, given = pa.table({}), 0

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
            """The rows that are left. Those that were given out may have been changed since."""
            left = {name: values[done:] for name, values in columns.items()}
            return self._holder.table(gate, left)

        count = len(next(iter(columns.values()), []))
        for position in self._holder.hold(rows, count).positions(lambda _: None):
            done = position + 1
            yield position

    def _begin(self) -> int:
        """Begin where the state says. Returns how many rows of the batch were given out before."""
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
