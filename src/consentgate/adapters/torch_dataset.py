"""The data sets that `torch.filter` and `filter_by_index` return. This module imports PyTorch."""

import os
import re
import sys
from collections import Counter
from collections.abc import Iterator, Sized
from typing import Any, NamedTuple, cast

import pyarrow as pa
from torch import distributed
from torch.utils.data import Dataset, IterableDataset, get_worker_info

from consentgate.adapters.shards import Batches, Block, Position, ResumePoint, Shard
from consentgate.adapters.torch_batches import BatchMaker, SizedBatches
from consentgate.arguments import require
from consentgate.arrow import as_table
from consentgate.errors import ConfigurationError
from consentgate.judging import Sieve


class Size(NamedTuple):
    """The size of batches.

    Attributes:
        rows: how many rows a batch has.
        drop_last: whether a last batch that is shorter is left out.
    """

    rows: int
    drop_last: bool


class Replica(NamedTuple):
    """One process of a distributed training.

    Attributes:
        rank: its rank, from 0.
        ranks: how many ranks there are.
    """

    rank: int = 0
    ranks: int = 1

    @classmethod
    def of(cls, rank: int, ranks: int) -> "Replica":
        """Make the replica of a rank.

        Raises:
            ConfigurationError: The rank is negative, or not less than the number of ranks.
        """
        if not 0 <= rank < ranks:
            raise ConfigurationError(
                f"`replica` is ({rank}, {ranks}), but ranks count from 0 and are below "
                "the number of ranks; give (rank, number of ranks)."
            )
        return cls(rank, ranks)

    @classmethod
    def given(cls, replica: Any) -> "Replica":
        """Make the replica that a caller gave as (rank, number of ranks).

        Raises:
            TypeError: It is not a pair of integers.
            ConfigurationError: The rank is negative, or not less than the number of ranks.
        """
        require(replica, "replica", tuple, list, hint="give (rank, number of ranks)")
        if len(replica) != 2:
            raise TypeError(f"`replica` has {len(replica)} items; give (rank, number of ranks).")
        for number in replica:
            require(number, "replica", int, hint="give (rank, number of ranks) as integers")
        return cls.of(*replica)

    @classmethod
    def of_environment(cls) -> "Replica | None":
        """The replica that `torchrun` names in the environment; None if it names none.

        Raises:
            ConfigurationError: The environment names something else than a rank.
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


class _Counted:
    """The counts that both kinds of data set have."""

    _maker: BatchMaker

    @property
    def counts(self) -> Counter[str]:
        """The number of excluded rows by primary reason, in this process and in all workers.

        They are counted from the beginning, or from the last `reset_counts`. Rows are counted when
        their batch is given out, or turns out to have no admitted row.
        """
        return self._maker.counts.totals().excluded

    @property
    def num_admitted(self) -> int:
        """How many rows were admitted, in this process and in all workers; see `counts`."""
        return self._maker.counts.totals().admitted

    @property
    def num_excluded(self) -> int:
        """How many rows were excluded, in this process and in all workers; see `counts`."""
        return self.counts.total()

    def reset_counts(self) -> None:
        """Set all counts to zero, for example before an epoch.

        Call it between two epochs, in the process that made the data set. Rows that workers read
        ahead may be counted before they reach the loader.
        """
        self._maker.counts.reset()


class GatedIterableDataset(_Counted, IterableDataset[pa.RecordBatch]):
    """The admitted rows of a stream of batches; see `filter` in `consentgate.adapters.torch`."""

    def __init__(
        self,
        batches: Batches,
        maker: BatchMaker,
        replica: Replica | None = None,
        inner: Any = None,
        size: Size | None = None,
    ) -> None:
        self._batches, self._maker, self._inner, self._size = batches, maker, inner, size
        self._given_replica = self._known_replica = replica
        self._start = Position()
        self._point = ResumePoint(self._start)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_known_replica": self._replica()}

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        if _is_collating(sys._getframe(1).f_locals.get("self")):
            raise _collated(" To choose their number of rows, give `batch_size` to `filter`.")
        start, self._start = self._start, Position()
        self._point = ResumePoint(start)  # at once, and not when the first batch is asked for
        return self._batches_from(start)

    def _batches_from(self, start: Position) -> Iterator[pa.RecordBatch]:
        with self._maker.sieve() as sieve:
            blocks = self._batches.read(self._shard(), start)
            for batch, point in self._made(sieve, blocks):
                self._point = point
                if len(batch):
                    yield batch
        if get_worker_info() is None:  # a worker's state has to say that this one has finished
            self._point = ResumePoint(Position())

    def _made(
        self, sieve: Sieve, blocks: Iterator[Block]
    ) -> Iterator[tuple[pa.RecordBatch, ResumePoint]]:
        if self._size is None:
            return self._maker.as_read(sieve, blocks)
        rows, drop_last = self._size
        return SizedBatches(self._maker, sieve, rows, drop_last=drop_last).of(blocks)

    def state_dict(self) -> dict[str, Any]:
        """The state of this process: after the last row that it gave out, or before an epoch."""
        position, inner = self._point
        if inner is None and self._inner is not None:
            inner = self._inner.state_dict()
        return {"position": tuple(position), "inner": inner, "of": self._identity()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Let the next iteration begin where the state says.

        The gate and `batch_size` may be others than before. They apply to the rows that follow.

        Raises:
            ConfigurationError: The state belongs to another input, or to one that was shared out in
                another way; or `state_dict` did not make it.
        """
        if not _is_state(state) or (state["inner"] is None) != (self._inner is None):
            raise ConfigurationError(
                "The state was not made by `state_dict` of such a data set; give one that was."
            )
        if state["of"] != self._identity():
            raise ConfigurationError(
                f"The state belongs to {state['of']}, but this is {self._identity()}; go on with "
                "the same files, batch_rows, and numbers of ranks and workers."
            )
        position = Position(*state["position"])
        if self._inner is not None:
            self._inner.load_state_dict(state["inner"])
            position = Position(0, position.rows)  # its next batch is the first one from now on
        self._start = position
        self._point = ResumePoint(position)

    def _identity(self) -> dict[str, Any]:
        return {"input": self._batches.identity, **vars(self._shard())}

    def _shard(self) -> Shard:
        worker = get_worker_info()
        workers = (0, 1) if worker is None else (worker.id, worker.num_workers)
        return Shard(*self._replica(), *workers)

    def _replica(self) -> Replica:
        return self._given_replica or _replica(self._known_replica)


class GatedDataset(_Counted, Dataset[pa.RecordBatch]):
    """The admitted rows of each batch of a data set that gives batches by index."""

    def __init__(self, dataset: Any, maker: BatchMaker) -> None:
        self._dataset, self._maker = dataset, maker
        self._sieve: Sieve | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_sieve": None}

    def __len__(self) -> int:
        return len(cast(Sized, self._dataset))

    def __getitem__(self, index: Any) -> pa.RecordBatch:
        self._sieve = self._sieve or self._maker.sieve()
        return next(self._maker.admitted(self._sieve, [as_table(self._dataset[index])], 0))

    def __getitems__(self, indices: Any) -> Any:
        """Raise an error, because a `DataLoader` that collates batches asks for several at once."""
        raise _collated("")


def _is_collating(caller: Any) -> bool:
    """Whether an object that iterates over a data set belongs to a DataLoader that collates.

    A loader tells a data set nothing about itself, so only the object that calls `iter` shows it.
    If another data set wraps this one, it is the caller, and its items may be collated.
    """
    is_fetcher = type(caller).__module__ == "torch.utils.data._utils.fetch"
    return is_fetcher and bool(caller.auto_collation)


def _collated(advice: str) -> ConfigurationError:
    return ConfigurationError(
        "The data set gives whole batches, but the DataLoader was made to collate several of them "
        f"into one; give it `batch_size=None`.{advice}"
    )


def _is_state(state: Any) -> bool:
    """Whether an object has the form of a result of `state_dict`."""
    if not isinstance(state, dict) or not {"position", "inner", "of"} <= state.keys():
        return False
    position = state["position"]
    is_pair = isinstance(position, tuple | list) and len(position) == 2
    return is_pair and all(type(number) is int and number >= 0 for number in position)


def _replica(known: Replica | None) -> Replica:
    """The rank of this process, and the number of ranks.

    Args:
        known: the replica as another process found it; workers do not know the process group.
    """
    if distributed.is_available() and distributed.is_initialized():
        return Replica(distributed.get_rank(), distributed.get_world_size())
    return known or Replica.of_environment() or Replica()
