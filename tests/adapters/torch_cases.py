"""What PyTorch's adapter takes, under the contract."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pyarrow.dataset as pa_ds
import pyarrow.parquet as pq
from torch.utils.data import DataLoader, Dataset, IterableDataset

from consentgate.adapters import torch as adapter
from tests.adapters.contract import Case

STAMP = b"consentgate.gate_digest"


class Batches(IterableDataset[pa.RecordBatch]):
    """An iterable data set of its owner's."""

    def __init__(self, table: pa.Table, partitions: int) -> None:
        self.table, self.partitions = table, partitions

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        rows = -(-self.table.num_rows // self.partitions) or 1
        yield from self.table.to_batches(max_chunksize=rows)


class BatchesByIndex(Dataset[pa.RecordBatch]):
    """A data set of its owner's that is asked by index."""

    def __init__(self, table: pa.Table, partitions: int) -> None:
        rows = -(-table.num_rows // partitions) or 1
        self.batches = table.combine_chunks().to_batches(max_chunksize=rows)
        self.batches = self.batches or [empty_batch(table.schema)]

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, index: int) -> pa.RecordBatch:
        return self.batches[index]


def empty_batch(schema: pa.Schema) -> pa.RecordBatch:
    """A batch without rows."""
    return pa.RecordBatch.from_arrays([pa.nulls(0, kind) for kind in schema.types], schema=schema)


def parquet_files(table: pa.Table, folder: Path, partitions: int) -> Path:
    """A folder of files, each of several row groups."""
    rows = -(-table.num_rows // partitions) or 1
    for number in range(partitions):
        part = table.slice(number * rows, rows)
        pq.write_table(part, folder / f"{number}.parquet", row_group_size=60)
    return folder


def as_is(table: pa.Table, _: Path, partitions: int) -> Any:
    """A list of batches."""
    return BatchesByIndex(table, partitions).batches


def ipc_files(table: pa.Table, folder: Path, partitions: int) -> Any:
    """A pyarrow data set of Arrow files."""
    rows = -(-table.num_rows // partitions) or 1
    for number in range(partitions):
        with pa.ipc.new_file(folder / f"{number}.arrow", table.schema) as writer:
            writer.write_table(table.slice(number * rows, rows))
    return pa_ds.dataset(folder, format="ipc")


def ids(batch: pa.RecordBatch) -> list[int]:
    """The record ids of a batch."""
    return list(batch["message_id"].to_pylist())


def rows(data: Any, workers: int = 0) -> pa.Table:
    """Every row that a loader gives, without the gate's stamp, or the rows of what was given."""
    if isinstance(data, Path):
        return pq.read_table(data)
    if isinstance(data, pa_ds.Dataset):
        return data.to_table()
    if isinstance(data, list):
        return pa.Table.from_batches(data)
    batches = list(DataLoader(data, batch_size=None, num_workers=workers))
    tables = [pa.Table.from_batches([batch]) for batch in batches]
    return without_stamp(pa.concat_tables(tables) if tables else pa.table({}))


def without_stamp(table: pa.Table) -> pa.Table:
    """The table without the gate's digest in its metadata."""
    metadata = {k: v for k, v in (table.schema.metadata or {}).items() if k != STAMP}
    return table.replace_schema_metadata(metadata)


CASES = [
    Case("torch-parquet", adapter, "torch", parquet_files, rows, tells_columns=False),
    Case("torch-iterable", adapter, "torch", as_is, rows, tells_columns=False),
    Case("torch-arrow-files", adapter, "torch", ipc_files, rows, tells_columns=False),
    Case(
        "torch-IterableDataset",
        adapter,
        "torch",
        lambda table, _, partitions: Batches(table, partitions),
        rows,
        tells_columns=False,
    ),
    Case(
        "torch-Dataset",
        SimpleNamespace(filter=adapter.filter_by_index),
        "torch",
        lambda table, _, partitions: BatchesByIndex(table, partitions),
        rows,
        keeps_ledger=False,
    ),
    Case(
        "torch-workers",
        adapter,
        "torch",
        parquet_files,
        lambda data: rows(data, workers=2),
        keeps_order=False,
        tells_columns=False,
    ),
]
