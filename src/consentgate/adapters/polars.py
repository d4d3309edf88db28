"""Polars: data frames and queries (lazy frames), with admitted rows only.

>>> import polars as pl
>>> from consentgate.adapters import polars as gated
>>> messages = pl.scan_parquet("messages/*.parquet")  # doctest: +SKIP
>>> gated.filter(messages, gate).select("text").sink_parquet("clean.parquet")  # doctest: +SKIP
"""

from __future__ import annotations

import atexit
import time
from collections.abc import Collection, Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from threading import Event, Lock, Semaphore, Thread
from typing import TYPE_CHECKING, TypeVar
from weakref import WeakSet

import pyarrow as pa

from consentgate.adapters.engine import need
from consentgate.adapters.options import require_gate
from consentgate.adapters.polars_rows import in_short, only, own_rows
from consentgate.errors import ColumnTypeError, NotArrowError
from consentgate.gate import Gate
from consentgate.judging import Held, JudgingOptions, Sieve, check_schema
from consentgate.publishing import AnyGate

if TYPE_CHECKING:
    import polars as pl

    Frame = TypeVar("Frame", pl.DataFrame, pl.LazyFrame)

__all__ = ["filter"]

_BATCH_ROWS = 262_144
_BATCHES_AHEAD = 2
_LAST_S = 30.0
"""Seconds to wait at exit for the last batch of an abandoned query."""
_LETTING_GO_S = 0.1
"""Seconds to wait after that for Polars' threads to release Python objects."""


def filter(
    data: Frame,
    gate: AnyGate,
    *,
    ledger: str | Path | None = None,
    judged_at: datetime | None = None,
    threads: int | None = None,
) -> Frame:
    """Make a data frame or a query that has the admitted rows of another, in their order.

    A query (`LazyFrame`) is judged batch by batch whenever it runs. Judging comes first, so all
    steps that are added to the query see admitted rows only. The query reads the columns that are
    wanted and those that judging needs. Put a condition that has nothing to do with admission
    before the gate, so that it reaches the files:
    `filter(scan.filter(pl.col("lang") == "en"), gate)`. For a condition after the gate that calls
    Python (`map_elements`), Polars needs the package cloudpickle.

    Batches of a query are judged ahead, in a thread. If a live gate has changed when a batch is
    handed to Polars, the new gate judges the batch again first. Batches that Polars has already
    taken for the steps that follow stay as they are. A data frame is judged at once, by the gate
    that is current when `filter` is called.

    The buffers of the result hold nothing of an excluded row. The words of `Categorical` and `Enum`
    columns belong to their types, and Polars keeps them for the whole process. Written or exported
    data has only the words of its own rows, except for `Enum`.

    Args:
        data: a data frame or query with the gate's columns.
        gate: a gate or a live gate. A query asks a live gate for the newest one at each batch. Each
            run of a query reads the columns that the gate that is current at its beginning needs.
        ledger: a folder that gets the excluded rows. Every run of a query adds its excluded rows,
            all of them, even if only the first admitted rows are wanted (`head`). If Polars itself
            stops a run early (`head` after a condition), the ledger gets the excluded rows of the
            batches that were handed out, and is complete some time later. None keeps no record of
            excluded rows.
        judged_at: the instant of judgement, with a time zone. None takes the gate's. If that is
            None, too, the clock is read; for a query, at each batch.
        threads: as in `Gate.decide`.

    Returns:
        An object of the same type, with the same schema.

    Raises:
        NotArrowError: `data` is neither a `DataFrame` nor a `LazyFrame`.
        TypeError: Another argument is of the wrong type.
        ExtraMissingError, ExtraOutdatedError: Polars is not installed, or too old.
        ColumnTypeError: A column's rows cannot be copied, because Polars cannot write its type.
        OutputError: The ledger cannot be written; for a query, when it runs.
        Every error of `Gate.decide`: raised at once if it is about the schema or about a stale
            snapshot or registry, else when the query runs.
    """
    need("polars")
    import polars as pl

    require_gate(gate)
    options = JudgingOptions(ledger=ledger, judged_at=judged_at, threads=threads)
    if isinstance(data, pl.DataFrame):
        return _filter_frame(data, gate.current(), options)
    if isinstance(data, pl.LazyFrame):
        return _filter_query(data, gate, options)
    raise NotArrowError(
        f"An object of type '{type(data).__qualname__}' is not a Polars frame; give a DataFrame or "
        "a LazyFrame."
    )


def _filter_frame(frame: pl.DataFrame, gate: Gate, options: JudgingOptions) -> pl.DataFrame:
    with Sieve(gate, options) as sieve:
        needed = sieve.columns()
        sieve.check(_arrow_schema(frame.schema, needed))
        decision = sieve.judge(_needed_table(frame, needed))
    return own_rows(frame, decision)


def _filter_query(frame: pl.LazyFrame, gate: AnyGate, options: JudgingOptions) -> pl.LazyFrame:
    from polars.io.plugins import register_io_source

    schema, current = frame.collect_schema(), gate.current()
    check_schema(_arrow_schema(schema, options.columns(current)), current, options)
    # pure, so that Polars may run it once if it occurs twice in a query
    return register_io_source(
        _GatedQuery(frame, gate, options),
        schema=schema,
        validate_schema=True,
        is_pure=True,
        explain_name="consentgate",
    )


def _needed_table(frame: pl.DataFrame, needed: Collection[str]) -> pa.Table:
    """The columns of a frame that judging and recording need."""
    import polars as pl

    names = [name for name in needed if name in frame.columns]
    return only(frame, names).to_arrow(compat_level=pl.CompatLevel.newest())


def _arrow_schema(schema: pl.Schema, needed: Collection[str]) -> pa.Schema:
    """A schema of all columns. Only needed columns have their types, because Arrow lacks some."""
    fields = [
        _arrow_field(name, kind) if name in needed else pa.field(name, pa.null())
        for name, kind in schema.items()
    ]
    return pa.schema(fields)


def _arrow_field(name: str, kind: pl.DataType) -> pa.Field:
    import polars as pl

    none = pl.DataFrame(schema={name: kind})
    try:
        return none.to_arrow(compat_level=pl.CompatLevel.newest()).schema.field(0)
    except (pa.ArrowException, pl.exceptions.PolarsError, pl.exceptions.PanicException):
        raise ColumnTypeError(
            f"Column '{name}' is {in_short(kind)}, for which Arrow has no type; cast it."
        ) from None


@dataclass(frozen=True, repr=False)
class _GatedQuery:
    """Gives Polars the admitted rows of a query, at every run."""

    frame: pl.LazyFrame
    gate: AnyGate
    options: JudgingOptions

    def __call__(
        self,
        with_columns: list[str] | None,
        predicate: pl.Expr | None,
        n_rows: int | None,
        batch_size: int | None,  # noqa: ARG002  # a wish that need not be granted
    ) -> Iterator[pl.DataFrame]:
        """The first `n_rows` admitted rows, without those that the predicate does not select."""
        from polars import selectors

        frame, left = self.frame, n_rows
        if with_columns is not None:
            needed = dict.fromkeys([*with_columns, *self.options.columns(self.gate.current())])
            frame = frame.select(selectors.by_name(*needed, require_all=False))
        for batch in _Run(frame, self.gate, self.options).batches():
            if left is not None:
                batch = batch.head(left)
                left -= batch.height
            if predicate is not None:
                batch = batch.filter(predicate)
            yield batch if with_columns is None else only(batch, with_columns)
            if left == 0 and self.options.ledger is None:
                break


class _Run:
    """A run of a query that judges some batches before they are asked for.

    A separate thread runs the query. Polars' own iterator over batches (`collect_batches`, 2.1)
    ends early and without an error after a panic, and it leaves the processor idle while a batch is
    judged. If the rows are not wanted any more, nothing waits for the thread, because Polars may
    release the batches in a thread that the query needs. The interpreter waits for it at exit.
    """

    def __init__(self, frame: pl.LazyFrame, gate: AnyGate, options: JudgingOptions) -> None:
        self._frame, self._gate, self._options = frame, gate, options
        self._ahead: SimpleQueue[_JudgedBatch | None] = SimpleQueue()
        self._room, self._unwanted = Semaphore(_BATCHES_AHEAD), Event()
        self._sieve_lock = Lock()
        self._given_out, self._end = Event(), Future[None]()
        self._thread = Thread(target=self._run, name="consentgate", daemon=True)

    def batches(self) -> Iterator[pl.DataFrame]:
        """The admitted rows of each batch, as the current gate decides when it is given out."""
        _runs.add(self)
        self._thread.start()
        try:
            while (ahead := self._ahead.get()) is not None:
                with self._sieve_lock:
                    if self._unwanted.is_set():
                        break  # the ledger may be complete already
                    admitted = ahead.give_out()
                yield admitted
                self._room.release()
            self._given_out.set()
            self._end.result()
        finally:
            self.break_off()

    def break_off(self) -> None:
        """Let the thread end soon."""
        self._unwanted.set()
        self._given_out.set()
        self._room.release()

    def wait(self) -> None:
        """Wait some time until the thread has ended and the ledger is complete."""
        self._thread.join(_LAST_S)

    def _run(self) -> None:
        try:
            sieve = Sieve(self._gate, self._options)
            try:
                self._read(sieve)
            finally:
                self._ahead.put(None)
                self._given_out.wait()
                with self._sieve_lock:
                    sieve.close()
            if self._unwanted.is_set():  # a reader that goes on must not take this for the end
                self._end.cancel()
            else:
                self._end.set_result(None)
        except BaseException as error:
            self._end.set_exception(error)
        finally:
            self._ahead.put(None)

    def _read(self, sieve: Sieve) -> None:
        frame = self._frame
        sieve.check(_arrow_schema(frame.collect_schema(), sieve.columns()))
        hand_over = partial(self._hand_over, sieve)
        frame.sink_batches(hand_over, chunk_size=_BATCH_ROWS, engine="streaming")

    def _hand_over(self, sieve: Sieve, batch: pl.DataFrame) -> bool:
        """Judge a batch. Returns whether no more batches are wanted."""
        self._room.acquire()
        if not self._unwanted.is_set():
            with self._sieve_lock:
                held = sieve.hold(partial(self._needed_table, batch))
            self._ahead.put(_JudgedBatch(batch, held))
        return self._unwanted.is_set()

    def _needed_table(self, batch: pl.DataFrame, gate: Gate) -> pa.Table:
        return _needed_table(batch, self._options.columns(gate))


class _JudgedBatch:
    """A batch that was judged before it is asked for, and its admitted rows."""

    def __init__(self, batch: pl.DataFrame, held: Held) -> None:
        self._batch, self._held = batch, held
        self._admitted = own_rows(batch, held.peek())

    def give_out(self) -> pl.DataFrame:
        """The admitted rows. If another gate is current now, it judges them again first."""
        while self._held.refresh():
            self._admitted = own_rows(self._batch, self._held.peek())
        self._held.advance(self._batch.height)
        return self._admitted


_runs: WeakSet[_Run] = WeakSet()


@atexit.register
def _end_runs() -> None:
    """Wait for all threads, because a thread that outlives the interpreter aborts the process."""
    runs = list(_runs)
    for run in runs:
        run.break_off()
    for run in runs:
        run.wait()
    if runs:
        time.sleep(_LETTING_GO_S)
