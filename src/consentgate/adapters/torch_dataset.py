"""The data sets that `torch.filter` gives; here, because their base classes are PyTorch's."""

import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sized
from functools import partial
from multiprocessing.reduction import ForkingPickler
from typing import Any, NamedTuple, cast

import pyarrow as pa
from torch import distributed
from torch.utils.data import Dataset, IterableDataset, get_worker_info

from consentgate.adapters.carried import CarriedGate
from consentgate.adapters.counts import Counts
from consentgate.adapters.shards import Batches, Position, Shard
from consentgate.arguments import require
from consentgate.arrow import as_table, find_column, keep_rows, quoted
from consentgate.decision import Decision
from consentgate.errors import ConfigurationError
from consentgate.gate import Gate
from consentgate.judging import Sieve, one_batch, record_id_column
from consentgate.publishing import AnyGate
from consentgate.storage import GATE_KEY


class Replica(NamedTuple):
    """One process of a distributed training.

    Attributes:
        rank: which.
        ranks: of how many.
    """

    rank: int = 0
    ranks: int = 1

    @classmethod
    def of(cls, rank: int, ranks: int) -> "Replica":
        """A rank that is one of so many.

        Raises:
            ConfigurationError: It is not.
        """
        if not 0 <= rank < ranks:
            raise ConfigurationError(
                f"`replica` is ({rank}, {ranks}), but ranks count from 0 to one less than there "
                "are; give (rank, how many)."
            )
        return cls(rank, ranks)

    @classmethod
    def given(cls, replica: Any) -> "Replica":
        """The replica that a caller gave as (rank, how many).

        Raises:
            TypeError: It is no pair of integers.
            ConfigurationError: There is no such rank.
        """
        require(replica, "replica", tuple, list, hint="give (rank, how many)")
        if len(replica) != 2:
            raise TypeError(f"`replica` has {len(replica)} items; give (rank, how many).")
        for number in replica:
            require(number, "replica", int, hint="give (rank, how many) as integers")
        return cls.of(*replica)

    @classmethod
    def of_environment(cls) -> "Replica | None":
        """The replica that `torchrun` names in the environment; None where it names none.

        Raises:
            ConfigurationError: It is no rank.
        """
        values = os.environ.get("RANK"), os.environ.get("WORLD_SIZE")
        if None in values:
            return None
        if not all(re.fullmatch(r"[0-9]{1,9}", value or "") for value in values):
            raise ConfigurationError(
                "The environment variables RANK and WORLD_SIZE must both be whole numbers, but are "
                f"'{values[0]}' and '{values[1]}'; correct or unset them, or give `replica`."
            )
        return cls.of(*(int(value or "") for value in values))


class Judge:
    """Judges in every process, and counts for all of them together.

    Args:
        gate: the gate, or a live one.
        columns: which columns admitted rows are given with, in which order; None: all of them.
        options: of `Sieve`.

    Attributes:
        columns: the same.

    Raises:
        TypeError: `columns` holds no names.
        ConfigurationError: `columns` is a text, or holds a name twice.
    """

    def __init__(self, gate: AnyGate, columns: Iterable[str] | None, **options: Any) -> None:
        self._gate = CarriedGate(gate)
        self.columns = None if columns is None else _names(columns)
        self._options = options
        self.counts = Counts()

    def sieve(self) -> Sieve:
        """A sieve that judges batches in this process."""
        return Sieve(self._gate, **self._options)

    def check(self, gate: Gate, table: pa.Table) -> None:
        """Raise an error unless a gate can judge rows such as a table's, and give their columns."""
        if self._options.get("ledger") is not None:
            record_id_column(table.schema, gate.columns)
        gate.decide(table, judged_at=self._options["judged_at"], threads=self._options["threads"])
        self._given(table)

    def admitted(
        self, sieve: Sieve, tables: list[pa.Table], first_row: int
    ) -> Iterator[pa.RecordBatch]:
        """The admitted rows of each table, as the gate decides that is current when it is given.

        All are judged at once, and what is left is judged again when the gate has changed. A table
        is counted when it is given.
        """
        held = sieve.hold(pa.concat_tables(tables), first_row=first_row)
        for table in tables:
            batch, decision = held.take(table.num_rows, partial(self._taken, table))
            self.counts.add(decision)
            yield batch

    def _taken(self, table: pa.Table, decision: Decision) -> tuple[pa.RecordBatch, Decision]:
        """The admitted rows of a table, in a batch that says which gate admitted them, if known."""
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


class _Counted:
    """The counts that both kinds of data set have."""

    _judge: Judge

    @property
    def counts(self) -> Counter[str]:
        """Excluded rows by primary reason so far, in this process and in all workers.

        Rows count when their batch is given. Workers are ahead of the loop that they work for, by
        what the loader prefetches.
        """
        return self._judge.counts.totals().excluded

    @property
    def num_admitted(self) -> int:
        """How many rows were admitted so far, in this process and in all workers."""
        return self._judge.counts.totals().admitted

    @property
    def num_excluded(self) -> int:
        """How many rows were excluded so far, in this process and in all workers."""
        return self.counts.total()


class GatedIterableDataset(_Counted, IterableDataset[pa.RecordBatch]):
    """The admitted rows of a stream of batches; see `filter` in `consentgate.adapters.torch`."""

    def __init__(
        self, batches: Batches, judge: Judge, replica: Replica | None = None, inner: Any = None
    ) -> None:
        self._batches, self._judge, self._inner = batches, judge, inner
        self._given_replica = self._known_replica = replica
        self._start = self._position = Position()

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_known_replica": self._replica()}

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        start, self._start = self._start, Position()
        self._position = start  # at once, and not when the first batch is asked for
        return self._batches_from(start)

    def _batches_from(self, start: Position) -> Iterator[pa.RecordBatch]:
        with self._judge.sieve() as sieve:
            for first_row, batches in self._batches.read(self._shard(), start):
                tables = [table for table, _ in batches]
                verdicts = self._judge.admitted(sieve, tables, first_row)
                for (_, end), admitted in zip(batches, verdicts, strict=True):
                    self._position = end
                    if len(admitted):
                        yield admitted
        if get_worker_info() is None:  # a worker that is through may have to say so, next to others
            self._position = Position()

    def state_dict(self) -> dict[str, Any]:
        """Where this process is: after the batch that it gave last, or before the next epoch."""
        inner = self._inner.state_dict() if hasattr(self._inner, "state_dict") else None
        return {"position": tuple(self._position), "inner": inner, "of": self._identity()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Let the next iteration begin where the state says.

        The gate may be another than before: what is still to come, it judges.

        Raises:
            ConfigurationError: The state belongs to another input, or was shared out otherwise; or
                it is none that `state_dict` gave.
        """
        if not _is_state(state):
            raise ConfigurationError(
                "The state was not made by `state_dict` of such a data set; give one that was."
            )
        if state["of"] != self._identity():
            raise ConfigurationError(
                f"The state belongs to {state['of']}, but this is {self._identity()}; go on with "
                "the same files, batch_rows, and numbers of ranks and workers."
            )
        if state["inner"] is not None:
            self._inner.load_state_dict(state["inner"])
            return
        self._start = self._position = Position(*state["position"])

    def _identity(self) -> dict[str, Any]:
        return {"input": self._batches.identity, **vars(self._shard())}

    def _shard(self) -> Shard:
        worker = get_worker_info()
        workers = (0, 1) if worker is None else (worker.id, worker.num_workers)
        return Shard(*self._replica(), *workers)

    def _replica(self) -> Replica:
        return self._given_replica or _replica(self._known_replica)


class GatedDataset(_Counted, Dataset[pa.RecordBatch]):
    """The admitted rows of each batch of a data set that is asked for them by index."""

    def __init__(self, dataset: Any, judge: Judge) -> None:
        self._dataset, self._judge = dataset, judge
        self._sieve: Sieve | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_sieve": None}

    def __len__(self) -> int:
        return len(cast(Sized, self._dataset))

    def __getitem__(self, index: Any) -> pa.RecordBatch:
        self._sieve = self._sieve or self._judge.sieve()
        return next(self._judge.admitted(self._sieve, [as_table(self._dataset[index])], 0))


def _is_state(state: Any) -> bool:
    """Whether something looks like what `state_dict` gives."""
    if not isinstance(state, dict) or not {"position", "inner", "of"} <= state.keys():
        return False
    position = state["position"]
    is_pair = isinstance(position, tuple | list) and len(position) == 2
    return is_pair and all(type(number) is int and number >= 0 for number in position)


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
    """A batch of so many rows and no columns."""
    schema = pa.schema([("rows", pa.null())], metadata)
    return pa.RecordBatch.from_arrays([pa.nulls(rows)], schema=schema).select([])


def _reduced(batch: pa.RecordBatch) -> Any:
    """The function and arguments by which a batch is made again in a worker's parent process.

    A batch without columns needs a way of its own, because pyarrow 26 loses its number of rows.
    """
    if batch.num_columns:
        return batch.__reduce__()
    return _without_columns, (batch.num_rows, batch.schema.metadata)


ForkingPickler.register(pa.RecordBatch, _reduced)


def _replica(known: Replica | None) -> Replica:
    """The rank of this process, and among how many.

    Args:
        known: what was found where PyTorch's process group was known, which it is not in workers.
    """
    if distributed.is_available() and distributed.is_initialized():
        return Replica(distributed.get_rank(), distributed.get_world_size())
    return known or Replica.of_environment() or Replica()
