"""Data sets of Hugging Face, for the contract."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from datasets import Dataset, IterableDataset, concatenate_datasets

from consentgate.adapters import huggingface
from tests.adapters.contract import Case, slices


def write_slices(table: pa.Table, folder: Path, partitions: int) -> list[str]:
    """The paths of a table's pieces in Parquet files."""
    paths = [folder / f"{part}.parquet" for part in range(partitions)]
    for path, piece in zip(paths, slices(table, partitions), strict=True):
        with pq.ParquetWriter(path, piece.schema) as writer:
            for batch in piece.to_batches(max_chunksize=64):  # a group without rows, it cannot read
                writer.write_batch(batch)
    return [str(path) for path in paths]


def in_memory(table: pa.Table, _: Path, partitions: int) -> Dataset:
    """A data set in memory."""
    return concatenate_datasets([Dataset(piece) for piece in slices(table, partitions)])


def on_disk(table: pa.Table, folder: Path, partitions: int) -> Dataset:
    """A data set in Arrow files, which are mapped into memory."""
    Dataset(table).save_to_disk(folder, num_shards=partitions)
    return Dataset.load_from_disk(folder)


def rearranged(table: pa.Table, *_: Any) -> Dataset:
    """A data set that looks at its rows, which lie backwards and not alone, through indices."""
    rows = range(table.num_rows - 1, -1, -1)
    backwards = [table.slice(row, 1) for row in rows]
    return Dataset(pa.concat_tables([*backwards, table])).select(rows)


def rows_of(dataset: Any) -> pa.Table:
    """All rows of a data set, with its features in the metadata, but without its fingerprint."""
    table = dataset.with_format("arrow")[:]
    return table.replace_schema_metadata({"features": repr(dataset.features)})


def from_memory(table: pa.Table, folder: Path, partitions: int) -> IterableDataset:
    """A stream of what is in memory."""
    if not table.num_rows:  # which datasets does not make a stream of
        return from_files(table, folder, partitions)
    return Dataset(table).to_iterable_dataset(num_shards=partitions)


def from_files(table: pa.Table, folder: Path, partitions: int) -> IterableDataset:
    """A stream of Parquet files."""
    paths = write_slices(table, folder, partitions)
    return IterableDataset.from_parquet(paths, cache_dir=str(folder / "cache"))


def generated(table: pa.Table, _: Path, partitions: int) -> IterableDataset:
    """A stream of Python objects."""
    shards = [piece.to_pylist() for piece in slices(table, partitions)]
    features = Dataset(table).features
    return IterableDataset.from_generator(rows_in, features=features, gen_kwargs={"shards": shards})


def rows_in(shards: list[list[dict[str, Any]]]) -> Any:
    """The rows of some shards."""
    for shard in shards:
        yield from shard


def streamed(dataset: IterableDataset) -> pa.Table:
    """All rows of a stream, with its features in the metadata."""
    schema = dataset.features.arrow_schema
    rows = pa.Table.from_pylist(list(dataset.with_format(None)), schema=schema)
    return rows.replace_schema_metadata({"features": repr(dataset.features)})


CASES = [
    Case("huggingface-Dataset", huggingface, "datasets", in_memory, rows_of),
    Case("huggingface-Dataset-on-disk", huggingface, "datasets", on_disk, rows_of),
    Case("huggingface-Dataset-rearranged", huggingface, "datasets", rearranged, rows_of),
    Case("huggingface-IterableDataset", huggingface, "datasets", from_memory, streamed),
    Case("huggingface-IterableDataset-of-files", huggingface, "datasets", from_files, streamed),
    Case("huggingface-IterableDataset-of-objects", huggingface, "datasets", generated, streamed),
]
