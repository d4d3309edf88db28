"""PyTorch: data sets that give admitted rows only.

>>> from torch.utils.data import DataLoader
>>> from consentgate.adapters import torch as gated
>>> dataset = gated.filter("messages/", gate)  # doctest: +SKIP
>>> for batch in DataLoader(dataset, batch_size=None, num_workers=4):  # doctest: +SKIP
...     texts = batch.column("text").to_pylist()
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from consentgate.adapters.engine import need
from consentgate.adapters.options import require_count, require_options
from consentgate.adapters.shards import Batches, GivenBatches, ParquetBatches
from consentgate.arrow import as_table, read_stream
from consentgate.errors import ConfigurationError, NotArrowError
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
    batch_rows: int = 4096,
    columns: Sequence[str] | None = None,
    replica: tuple[int, int] | None = None,
) -> "GatedIterableDataset":
    """A data set of record batches that hold the admitted rows of the input's batches.

    Give it to a `DataLoader` with `batch_size=None`, since it gives whole batches; what turns rows
    into tensors is the loader's `collate_fn`. Batches without an admitted row are left out. Each
    says in its schema's metadata, under `consentgate.gate_digest`, which saved gate judged it.

    The workers of all ranks share the input out, so that every row is judged once: Parquet by row
    group (parts of one where there are fewer than workers), anything else batch by batch, where
    every worker passes by those of the others. Ranks may get unequal numbers of batches.

    Rows are read and judged ahead of the batches that are given (of files, up to 32,768 rows or
    8 MiB). When a live gate has changed meanwhile, they are judged again: no batch is given that
    the newer gate would not admit, beyond those that a worker had already sent to the loader
    (`prefetch_factor` for each worker). Whether a consent has expired is checked when rows are
    judged, and not again when they are given out.

    `state_dict` and `load_state_dict` do what torchdata's `StatefulDataLoader` expects: training
    goes on after the batch that it saw last. The gate may be a newer one then.

    Args:
        data: a path, pattern or URI of Parquet files, or a pyarrow data set; Arrow data in memory;
            an iterable of Arrow batches; or an `IterableDataset` of Arrow batches, which is judged
            as it comes, since it shares itself out to workers.
        gate: a gate, or a live one (`GateStore.live`). Saved, its file is read at once and shared
            by all workers; one that is not forked refuses another file in its place. What a
            live one takes later is read as it is needed.
        ledger: a directory that gets the excluded rows, in a file for each iteration of a worker,
            complete when that ends; `row` is the position in the whole input. None: no record.
        judged_at: the instant of judgement; None: the gate's, or else the clock at each batch.
        threads: how many threads judge; None: one in workers, elsewhere one per core.
        batch_rows: of how many rows of a file or table the admitted ones make a batch.
        columns: the columns to give, each once, and to read beside those that the gate needs that
            is current now; a live gate that comes to need others ends the iteration by
            ColumnMissingError. None: all of them. With none, batches have rows but no columns.
        replica: this process's rank and how many there are; None: as `torch.distributed` says when
            iteration begins, or else the environment that `torchrun` sets.

    Returns:
        An `IterableDataset` with `counts`, `num_admitted` and `num_excluded` of all workers.

    Raises:
        ExtraMissingError, ExtraOutdatedError: PyTorch is not installed, or too old.
        TypeError: An argument is of a wrong type, or no gate.
        ConfigurationError: The arguments do not fit together; while iterating: RANK and WORLD_SIZE
            in the environment are no rank.
        SourceError, UnreadableFileError, SchemaMismatchError: The files cannot be read as one.
        NotArrowError: `data` is none of the above.
        OutputError: While iterating: the ledger cannot be written.
        Whatever `Gate.decide` raises: at once for files and Arrow data in memory, else while
            iterating; from workers, too, with its class.
    """
    need("torch")
    from torch.utils.data import Dataset, IterableDataset

    from consentgate.adapters.torch_dataset import GatedIterableDataset, Judge, Replica

    require_options(gate, ledger=ledger, judged_at=judged_at, threads=threads)
    require_count(batch_rows, "batch_rows")
    known = None if replica is None else Replica.given(replica)
    judge = Judge(gate, columns, ledger=ledger, judged_at=judged_at, threads=threads)
    gate.current().preload()  # for the workers
    if isinstance(data, IterableDataset):
        inner = data if hasattr(data, "state_dict") else None
        given = GivenBatches(data, are_shared_out=False)
        return GatedIterableDataset(given, judge, known, inner)
    if isinstance(data, Dataset):
        raise ConfigurationError("The data set is asked by index; use filter_by_index.")
    batches = _batches(data, batch_rows)
    if batches.schema is not None:
        empty = pa.Table.from_batches([], batches.schema)
        judge.check(gate.current(), empty)
    if isinstance(batches, ParquetBatches) and judge.columns is not None:
        batches = replace(batches, columns=(*judge.columns, *gate.current().judged_columns))
    return GatedIterableDataset(batches, judge, known)


def filter_by_index(
    data: "Dataset[Any]",
    gate: AnyGate,
    *,
    judged_at: datetime | None = None,
    threads: int | None = None,
    columns: Sequence[str] | None = None,
) -> "GatedDataset":
    """A data set that gives the admitted rows of each Arrow batch of another, by the same index.

    A batch of which nothing is admitted comes without rows. There is no ledger, since there is no
    end at which one would be complete. For everything else, see `filter`.

    Raises:
        ExtraMissingError, ExtraOutdatedError: PyTorch is not installed, or too old.
        TypeError: An argument is of a wrong type, or no gate.
        ConfigurationError: `threads` is less than 1, `judged_at` has no time zone, or `columns` is
            a text or names a column twice.
        NotArrowError: `data` cannot be asked by index; or, on getting, what it gives holds no Arrow
            data.
        Whatever `Gate.decide` raises: on getting; from workers, too, with its class.
    """
    need("torch")
    from consentgate.adapters.torch_dataset import GatedDataset, Judge

    require_options(gate, judged_at=judged_at, threads=threads)
    if not hasattr(data, "__getitem__"):
        raise NotArrowError(
            f"An object of type '{type(data).__qualname__}' cannot be asked by index; give a data "
            "set with __getitem__, or use filter."
        )
    return GatedDataset(data, Judge(gate, columns, judged_at=judged_at, threads=threads))


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
