"""PyTorch: data sets that give admitted rows only.

>>> from torch.utils.data import DataLoader
>>> from consentgate.adapters import torch as gated
>>> dataset = gated.filter("messages/", gate, batch_size=512)  # doctest: +SKIP
>>> for batch in DataLoader(dataset, batch_size=None, num_workers=4):  # doctest: +SKIP
...     texts = batch.column("text").to_pylist()
"""

from collections.abc import Iterable, Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from consentgate.adapters.engine import need
from consentgate.adapters.options import require_count, require_gate
from consentgate.adapters.shards import Batches, GivenBatches, ParquetBatches
from consentgate.arguments import require
from consentgate.arrow import as_table, read_stream
from consentgate.errors import ConfigurationError, NotArrowError
from consentgate.judging import JudgingOptions
from consentgate.publishing import AnyGate
from consentgate.storage import digest_json

if TYPE_CHECKING:
    from torch.utils.data import Dataset

    from consentgate.adapters.torch_dataset import GatedDataset, GatedIterableDataset

__all__ = ["filter", "filter_by_index"]


def filter(
    data: Any,
    gate: AnyGate,
    *,
    ledger: str | Path | None = None,
    judged_at: datetime | None = None,
    threads: int | None = None,
    batch_size: int | None = None,
    drop_last: bool = False,
    batch_rows: int = 4096,
    columns: Sequence[str] | None = None,
    replica: tuple[int, int] | None = None,
) -> "GatedIterableDataset":
    """Make a data set of record batches that hold admitted rows.

    Give it to a `DataLoader` with `batch_size=None`, because it gives whole batches. The loader's
    `collate_fn` turns a batch into tensors. The metadata of each batch's schema names the saved
    gate that judged it, under `consentgate.gate_digest`.

    With `batch_size`, every batch has that many admitted rows, gathered over batches and files of
    the input. Only the last one of each worker has fewer. Until a batch is full, all rows that were
    read for it are held in memory. Without `batch_size`, a batch holds the admitted rows of one
    batch of the input, and batches without an admitted row are left out.

    The workers of all ranks share the input, so every row is judged once. Parquet files are shared
    out by row groups, or by pieces of row groups if there are fewer row groups than workers. Other
    data is shared out by batches: every worker iterates over all batches, and skips those of other
    workers. Ranks may get unequal numbers of batches.

    Rows are read and judged before their batch is given out (of files, up to 32,768 rows or 8 MiB
    at a time). If a live gate has changed meanwhile, the newer gate judges them again, and a batch
    only has rows that it admits. It does not reach batches that a worker has already sent to the
    loader (`prefetch_factor` for each worker). Whether a consent has expired is checked when rows
    are judged, and not again when they are given out.

    `state_dict` and `load_state_dict` do what torchdata's `StatefulDataLoader` expects: training
    goes on after the batch that it saw last. The gate may be a newer one, and `batch_size` another.

    Args:
        data: a path, pattern or URI of Parquet files, or a pyarrow data set; Arrow data in memory;
            an iterable of Arrow batches; or an `IterableDataset` of Arrow batches. Such a data set
            is not shared out, because it shares itself out to workers.
        gate: a gate or a live gate (`GateStore.live`). The file of a saved gate is read at once and
            shared by all workers, and workers that were not forked refuse another file in its
            place. Newer gates of a live gate are read when they are needed.
        ledger: a folder that gets the excluded rows, in one file for each iteration of a worker,
            which is complete when the iteration ends. `row` is the position in the whole input.
            None keeps no record of excluded rows.
        judged_at: the instant of judgement, with a time zone. None takes the gate's. If that is
            None, too, the clock is read at each batch.
        threads: how many threads judge. None takes one in workers, and elsewhere one for each
            available core.
        batch_size: how many rows a batch has. None gives the admitted rows of each batch of the
            input.
        drop_last: leave out a last batch that is shorter than `batch_size`. Its rows are counted
            and recorded all the same.
        batch_rows: how many rows of a file or table are one batch of the input.
        columns: the names of the columns that batches have, each once. None takes all columns. An
            empty list gives batches with rows but no columns. Besides these columns, only those are
            read that the current gate needs. If a newer gate of a live gate needs others, the
            iteration ends with a ColumnMissingError.
        replica: this process's rank and the number of ranks. None asks `torch.distributed` when
            iteration begins, or else the environment that `torchrun` sets.

    Returns:
        An `IterableDataset`. Its `counts`, `num_admitted` and `num_excluded` are about all workers,
        and `reset_counts` sets them to zero.

    Raises:
        ExtraMissingError, ExtraOutdatedError: PyTorch is not installed, or too old.
        TypeError: An argument is of a wrong type, or `gate` is not a gate.
        ConfigurationError: The arguments do not fit together. Raised while iterating: the
            DataLoader was not made with `batch_size=None`, or RANK and WORLD_SIZE in the
            environment are not a rank.
        SourceError, UnreadableFileError: The files cannot be read.
        SchemaMismatchError: The files have different schemas. Raised while iterating with
            `batch_size`: batches have different schemas.
        NotArrowError: `data` is not one of these.
        OutputError: The ledger cannot be written. Raised while iterating.
        Every error of `Gate.decide`: raised at once for files and Arrow data in memory, else while
            iterating. A `DataLoader` raises errors of its workers with the same class.
    """
    need("torch")
    from torch.utils.data import Dataset, IterableDataset

    from consentgate.adapters.torch_batches import BatchMaker
    from consentgate.adapters.torch_dataset import GatedIterableDataset, Replica, Size

    require_gate(gate)
    options = JudgingOptions(ledger=ledger, judged_at=judged_at, threads=threads)
    require_count(batch_rows, "batch_rows")
    _check_size(batch_size, drop_last)
    size = None if batch_size is None else Size(batch_size, drop_last)
    known = None if replica is None else Replica.given(replica)
    maker = BatchMaker(gate, columns, options)
    current = gate.current()
    current.preload()  # for the workers
    if isinstance(data, IterableDataset):
        inner = data if hasattr(data, "state_dict") else None
        state = None if inner is None or size is None else partial(_state_of, inner)
        given = GivenBatches(data, are_shared_out=False, inner_state=state)
        return GatedIterableDataset(given, maker, known, inner, size)
    if isinstance(data, Dataset):
        raise ConfigurationError("The data set gives items by index; use filter_by_index.")
    batches = _batches(data, batch_rows)
    if batches.schema is not None:
        maker.check(batches.schema, current)
    if isinstance(batches, ParquetBatches):
        batches = replace(batches, columns=maker.needed_columns(current))
    return GatedIterableDataset(batches, maker, known, size=size)


def filter_by_index(
    data: "Dataset[Any]",
    gate: AnyGate,
    *,
    judged_at: datetime | None = None,
    threads: int | None = None,
    columns: Sequence[str] | None = None,
) -> "GatedDataset":
    """Make a data set with the admitted rows of each Arrow batch of another, by the same index.

    A batch without an admitted row comes without rows. There is no ledger, because there is no end
    at which it would be complete. Give this data set, too, to a `DataLoader` with
    `batch_size=None`.

    Args:
        data: a data set whose `__getitem__` returns Arrow batches.
        gate, judged_at, threads, columns: as in `filter`.

    Returns:
        A data set of the same length. Its `counts`, `num_admitted` and `num_excluded` are about all
        workers, and `reset_counts` sets them to zero.

    Raises:
        ExtraMissingError, ExtraOutdatedError: PyTorch is not installed, or too old.
        TypeError: An argument is of a wrong type, or `gate` is not a gate.
        ConfigurationError: `threads` is less than 1, `judged_at` has no time zone, or `columns` is
            a text or names a column twice. Raised by `__getitem__`: the DataLoader was not made
            with `batch_size=None`.
        NotArrowError: `data` has no `__getitem__`. Raised by `__getitem__`: `data` gives no Arrow
            data.
        Every error of `Gate.decide`: raised by `__getitem__`. A `DataLoader` raises errors of its
            workers with the same class.
    """
    need("torch")
    from consentgate.adapters.torch_batches import BatchMaker
    from consentgate.adapters.torch_dataset import GatedDataset

    require_gate(gate)
    options = JudgingOptions(judged_at=judged_at, threads=threads)
    if not hasattr(data, "__getitem__"):
        raise NotArrowError(
            f"An object of type '{type(data).__qualname__}' cannot be asked by index; give a data "
            "set with __getitem__, or use filter."
        )
    return GatedDataset(data, BatchMaker(gate, columns, options))


def _check_size(batch_size: int | None, drop_last: bool) -> None:
    require(drop_last, "drop_last", bool, hint="give True or False")
    if batch_size is not None:
        require_count(batch_size, "batch_size")
    elif drop_last:
        raise ConfigurationError(
            "`drop_last` leaves out a batch that is shorter than `batch_size`, but there is none; "
            "give `batch_size`, too."
        )


def _state_of(dataset: Any) -> Any:
    """A copy of a data set's current state, which does not change later."""
    return deepcopy(dataset.state_dict())


def _batches(data: Any, batch_rows: int) -> Batches:
    if isinstance(data, str | Path) or _is_of_parquet(data):
        return ParquetBatches.find(data, batch_rows)
    if isinstance(data, pa.RecordBatchReader):
        schema, batches = read_stream(data)
        return GivenBatches(batches, schema=schema)
    if hasattr(data, "__arrow_c_stream__") or hasattr(data, "__arrow_c_array__"):
        table = as_table(data)
        batches = table.to_batches(max_chunksize=batch_rows)
        return GivenBatches(
            batches, schema=table.schema, identity=digest_json([len(b) for b in batches])
        )
    if hasattr(data, "to_batches"):
        return GivenBatches(_Scan(data, batch_rows), identity=f"batches of {batch_rows}")
    if isinstance(data, Iterable):
        return GivenBatches(data)
    raise NotArrowError(
        f"An object of type '{type(data).__qualname__}' gives no Arrow data; give a path of "
        "Parquet files, a pyarrow data set or table, or an iterable of record batches."
    )


def _is_of_parquet(data: Any) -> bool:
    """Whether it is a pyarrow data set of Parquet files."""
    return getattr(getattr(data, "format", None), "default_extname", None) == "parquet"


@dataclass(frozen=True)
class _Scan:
    """A pyarrow data set of another format, as an iterable."""

    dataset: Any
    batch_rows: int

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        return iter(self.dataset.to_batches(batch_size=self.batch_rows, use_threads=False))
