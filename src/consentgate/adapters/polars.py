"""Polars: data frames and queries (lazy frames), with admitted rows only.

>>> import polars as pl
>>> from consentgate.adapters import polars as gated
>>> messages = pl.scan_parquet("messages/*.parquet")  # doctest: +SKIP
>>> gated.filter(messages, gate).select("text").sink_parquet("clean.parquet")  # doctest: +SKIP
"""

from __future__ import annotations

import atexit
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from io import BytesIO
from pathlib import Path
from queue import SimpleQueue
from threading import Event, Lock, Semaphore, Thread
from typing import TYPE_CHECKING, Any, TypeVar
from weakref import WeakSet

import pyarrow as pa

from consentgate.adapters.engine import need
from consentgate.adapters.options import require_options
from consentgate.decision import Decision
from consentgate.errors import ColumnTypeError, NotArrowError
from consentgate.judging import Held, Sieve, record_id_column
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
"""Seconds that Polars' threads then have to let go of Python objects."""


def filter(
    data: Frame,
    gate: AnyGate,
    *,
    ledger: str | Path | None = None,
    judged_at: datetime | None = None,
    threads: int | None = None,
) -> Frame:
    """The admitted rows of a data frame, or of a query, in their order.

    A query (`LazyFrame`) is judged batch by batch whenever it runs, and first of all: what is added
    to it sees admitted rows only. It reads the columns that are wanted and those that judging
    needs. A condition that says nothing about admission is best put below the gate, from where it
    reaches the files: `filter(scan.filter(pl.col("lang") == "en"), gate)`. To a condition on top
    that calls Python (`map_elements`), Polars needs the package cloudpickle.

    Batches of a query are judged ahead, in a thread. If a live gate has changed when a batch is
    handed to Polars, the new gate judges it again first. Batches that Polars has already taken, and
    holds for the steps that follow, stay as they are. A data frame is judged at once, by the
    gate that is current when `filter` is called.

    Nothing of an excluded row stays in the buffers of what comes back. The words of `Categorical`
    and `Enum` columns belong to their types, which Polars keeps for the whole process; what is
    written or exported has only the words of its own rows, except for `Enum`.

    Args:
        data: with the gate's columns.
        gate: the judge, or a live one, which a query asks for the newest gate at each batch. Each
            run reads the columns that the gate needs that is current when it begins.
        ledger: a directory that gets the excluded rows. Every run of a query adds all of its own,
            even if only the first admitted rows are wanted (`head`). Where Polars itself breaks a
            run off (`head` after a condition), they are those of the batches handed out until then,
            and are complete some time later.
        judged_at: the instant of judgement; None takes the gate's, or else the clock, for a query
            at each batch.
        threads: as in `Gate.decide`.

    Returns:
        The same type and schema.

    Raises:
        NotArrowError: `data` is neither a `DataFrame` nor a `LazyFrame`.
        TypeError: Another argument is of the wrong type.
        ExtraMissingError, ExtraOutdatedError: Polars is missing or too old.
        ColumnTypeError: A column's rows cannot be copied, because Polars cannot write its type.
        OutputError: The ledger cannot be written; for a query, when it runs.
        Whatever `Gate.decide` raises: at once for the schema and for what is stale, else when the
            query runs.
    """
    need("polars")
    import polars as pl

    require_options(gate, ledger=ledger, judged_at=judged_at, threads=threads)
    judging = _Judging(gate, ledger, judged_at, threads)
    if isinstance(data, pl.DataFrame):
        return _filter_frame(data, judging)
    if isinstance(data, pl.LazyFrame):
        return _filter_query(data, judging)
    raise NotArrowError(
        f"An object of type '{type(data).__qualname__}' is no Polars frame; give a DataFrame or "
        "a LazyFrame."
    )


@dataclass(frozen=True)
class _Judging:
    """How rows are judged; the arguments of `filter`."""

    gate: AnyGate
    ledger: str | Path | None
    judged_at: datetime | None
    threads: int | None

    def sieve(self) -> Sieve:
        return Sieve(self.gate, ledger=self.ledger, judged_at=self.judged_at, threads=self.threads)

    def columns(self) -> list[str]:
        """The names of what is looked at."""
        return self.gate.current().judged_columns


def _filter_frame(frame: pl.DataFrame, judging: _Judging) -> pl.DataFrame:
    judging = replace(judging, gate=judging.gate.current())
    with judging.sieve() as sieve:
        sieve.check(_arrow_schema(frame.schema, judging))
        decision = sieve.judge(_judged_table(frame, sieve.current()))
    return _own_rows(frame, decision)


def _filter_query(frame: pl.LazyFrame, judging: _Judging) -> pl.LazyFrame:
    from polars.io.plugins import register_io_source

    schema = frame.collect_schema()
    arrow_schema = _arrow_schema(schema, judging)
    if judging.ledger is not None:
        record_id_column(arrow_schema, judging.gate.current().columns)
    replace(judging, ledger=None).sieve().check(arrow_schema)
    # Pure: if Polars sees that it occurs twice in a query, it may be judged once.
    return register_io_source(
        _Source(frame, judging),
        schema=schema,
        validate_schema=True,
        is_pure=True,
        explain_name="consentgate",
    )


def _judged_table(frame: pl.DataFrame, gate: Any) -> pa.Table:
    """The columns of a frame that a gate looks at."""
    import polars as pl

    names = [name for name in gate.judged_columns if name in frame.columns]
    return _only(frame, names).to_arrow(compat_level=pl.CompatLevel.newest())


def _arrow_schema(schema: pl.Schema, judging: _Judging) -> pa.Schema:
    """All columns, with types where judging looks: not every type of Polars has one in Arrow."""
    looked_at = judging.columns()
    fields = [
        _arrow_field(name, kind) if name in looked_at else pa.field(name, pa.null())
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
            f"Column '{name}' is {_in_short(kind)}, for which Arrow has no type; cast it."
        ) from None


def _in_short(kind: pl.DataType) -> str:
    """A type without the words of an `Enum`, which can be text of messages."""
    name, inner = type(kind).__name__, getattr(kind, "inner", None)
    return name if inner is None else f"{name}({_in_short(inner)})"


def _own_rows(frame: pl.DataFrame, decision: Decision) -> pl.DataFrame:
    """The admitted rows, in buffers that hold nothing of other rows.

    Polars' own `filter` shares buffers between what it is given and what it returns: of text
    always, and of numbers where the rows that are wanted lie next to each other. What is pickled
    or exported later has the whole buffers.
    """
    import polars as pl

    mask = pl.Series(decision.admitted)
    flat = [name for name, kind in frame.schema.items() if _is_flat(kind)]
    others = [name for name in frame.columns if name not in flat]
    gathered = _only(frame, flat)[mask.arg_true()]
    filtered = _only(frame, others).filter(mask)
    copies = [*gathered.get_columns(), *map(_copied, filtered.get_columns())]
    return _only(pl.DataFrame({copy.name: copy for copy in copies}), frame.columns)


def _is_flat(kind: pl.DataType) -> bool:
    """Whether each value lies in a place of its own, so that `gather` copies it."""
    import polars as pl

    flat = pl.Boolean | pl.Null | pl.Object | pl.Categorical | pl.Enum
    return kind.is_numeric() or kind.is_temporal() or isinstance(kind, flat)


def _copied(column: pl.Series) -> pl.Series:
    """The same values in buffers that hold no others."""
    import polars as pl

    kind = column.dtype
    if isinstance(kind, pl.BaseExtension):
        return _copied(column.ext.storage()).ext.to(kind)
    if _is_flat(kind):
        return column.gather(pl.int_range(column.len(), eager=True))
    if isinstance(kind, pl.String | pl.Binary):
        plain = column.to_arrow(compat_level=pl.CompatLevel.oldest())  # which is no view
        return pl.Series(column.name, plain)
    try:
        return _written_and_read(column)
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException):
        # without the error itself, whose message can quote values
        raise ColumnTypeError(
            f"Column '{column.name}' is {_in_short(kind)}, which Polars cannot write to Arrow, so "
            "its rows cannot be copied; cast it, or leave it out."
        ) from None


def _written_and_read(column: pl.Series) -> pl.Series:
    """A copy by way of a file in memory, which can hold what Arrow has no type for."""
    import polars as pl

    file, rows = BytesIO(), column.len()
    # Polars 2.1 panics when it writes one single list of an extension type, alone or as a chunk.
    several = pl.concat([column, column]) if rows == 1 else column
    several.rechunk().to_frame().write_ipc_stream(file, compat_level=pl.CompatLevel.oldest())
    copy = pl.read_ipc_stream(file.getvalue()).to_series().head(rows)
    # Types that are registered `as_storage` come back as their storage.
    return copy if copy.dtype == column.dtype else copy.cast(column.dtype)


@dataclass(frozen=True, repr=False)
class _Source:
    """Gives Polars the admitted rows of a query, at every run."""

    frame: pl.LazyFrame
    judging: _Judging

    def __call__(
        self,
        with_columns: list[str] | None,
        predicate: pl.Expr | None,
        n_rows: int | None,
        batch_size: int | None,  # noqa: ARG002  # Polars' wish, which need not be granted
    ) -> Iterator[pl.DataFrame]:
        """The admitted rows: the first so many, of these the ones that the predicate selects."""
        from polars import selectors

        frame, left = self.frame, n_rows
        if with_columns is not None:
            needed = dict.fromkeys([*with_columns, *self.judging.columns()])
            frame = frame.select(selectors.by_name(*needed, require_all=False))
        for batch in _Run(frame, self.judging).batches():
            if left is not None:
                batch = batch.head(left)
                left -= batch.height
            if predicate is not None:
                batch = batch.filter(predicate)
            yield batch if with_columns is None else _only(batch, with_columns)
            if left == 0 and self.judging.ledger is None:
                break


def _only(frame: pl.DataFrame, names: Sequence[str]) -> pl.DataFrame:
    """The frame with only those columns; with none of them it still has its rows.

    The names are taken as they are. Polars' `select` and `drop` read some as patterns, as `^.*$`.
    """
    import polars as pl
    from polars import selectors

    if not names:  # of which `select` would make a frame without rows
        return pl.DataFrame(height=frame.height)
    return frame.select(selectors.by_name(names))


class _Run:
    """A run of a query, of which some batches are judged before they are asked for.

    A thread of its own runs the query. Polars' own iterator over batches (`collect_batches`, 2.1)
    would end early, and say nothing, after a panic; and it leaves the processor idle while a batch
    is judged. Nobody waits for the thread if the rows are not wanted any more, since Polars may let
    go of the batches in a thread that the query needs; but the interpreter does before it ends.
    """

    def __init__(self, frame: pl.LazyFrame, judging: _Judging) -> None:
        self._frame, self._judging = frame, judging
        self._ahead: SimpleQueue[_JudgedBatch | None] = SimpleQueue()
        self._room, self._unwanted = Semaphore(_BATCHES_AHEAD), Event()
        self._sieve_lock = Lock()
        self._given_out, self._end = Event(), Future[None]()
        self._thread = Thread(target=self._run, name="consentgate", daemon=True)

    def batches(self) -> Iterator[pl.DataFrame]:
        """The admitted rows of every batch, as the gate decides that is current when it comes."""
        _runs.add(self)
        self._thread.start()
        try:
            while (ahead := self._ahead.get()) is not None:
                with self._sieve_lock:
                    if self._unwanted.is_set():
                        break  # the ledger may be complete
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
        """Give the thread some time to end, and the ledger to be completed."""
        self._thread.join(_LAST_S)

    def _run(self) -> None:
        try:
            sieve = self._judging.sieve()
            try:
                self._read(sieve)
            finally:
                self._ahead.put(None)
                self._given_out.wait()
                with self._sieve_lock:
                    sieve.close()
            if self._unwanted.is_set():  # who reads on all the same must not think that this is all
                self._end.cancel()
            else:
                self._end.set_result(None)
        except BaseException as error:
            self._end.set_exception(error)
        finally:
            self._ahead.put(None)

    def _read(self, sieve: Sieve) -> None:
        frame = self._frame
        sieve.check(_arrow_schema(frame.collect_schema(), self._judging))
        hand_over = partial(self._hand_over, sieve)
        frame.sink_batches(hand_over, chunk_size=_BATCH_ROWS, engine="streaming")

    def _hand_over(self, sieve: Sieve, batch: pl.DataFrame) -> bool:
        """Judge a batch; returns whether it is enough."""
        self._room.acquire()
        if not self._unwanted.is_set():
            with self._sieve_lock:
                held = sieve.hold(partial(_judged_table, batch))
            self._ahead.put(_JudgedBatch(batch, held))
        return self._unwanted.is_set()


class _JudgedBatch:
    """A batch that was judged, and whose admitted rows were taken out, before it is asked for."""

    def __init__(self, batch: pl.DataFrame, held: Held) -> None:
        self._batch, self._held = batch, held
        self._admitted = _own_rows(batch, held.peek())

    def give_out(self) -> pl.DataFrame:
        """The admitted rows. If another gate is current now, it judges them again first."""
        while self._held.refresh():
            self._admitted = _own_rows(self._batch, self._held.peek())
        self._held.advance(self._batch.height)
        return self._admitted


_runs: WeakSet[_Run] = WeakSet()


@atexit.register
def _end_runs() -> None:
    """Let no thread come back into an interpreter that has ended: it would abort the process."""
    runs = list(_runs)
    for run in runs:
        run.break_off()
    for run in runs:
        run.wait()
    if runs:
        time.sleep(_LETTING_GO_S)
