"""Data frames and relations, for the contract."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import duckdb
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from consentgate.adapters import duckdb as duckdb_adapter
from consentgate.adapters import pandas, polars
from tests.adapters.contract import Case


def pieces(table: pa.Table, partitions: int) -> list[pa.Table]:
    """The table in so many pieces."""
    bounds = [table.num_rows * part // partitions for part in range(partitions + 1)]
    return [table.slice(start, stop - start) for start, stop in pairwise(bounds)]


def polars_frame(table: pa.Table, _: Path, partitions: int) -> pl.DataFrame:
    """A data frame in so many chunks."""
    return pl.concat([pl.DataFrame(piece) for piece in pieces(table, partitions)])


def pandas_frame(table: pa.Table, _: Path, partitions: int) -> pd.DataFrame:
    """A data frame of Arrow's types, with a name for each row."""
    parts = pa.concat_tables(pieces(table, partitions)) if table.num_rows else table
    return parts.to_pandas(types_mapper=pd.ArrowDtype)


def relation(table: pa.Table, folder: Path, partitions: int) -> duckdb.DuckDBPyRelation:
    """A relation of Parquet files, on a connection of its own."""
    for number, piece in enumerate(pieces(table, partitions)):
        pq.write_table(piece, folder / f"{number}.parquet")
    return duckdb.connect().read_parquet(str(folder / "*.parquet"))


CASES = [
    Case("polars-DataFrame", polars, "polars", polars_frame, pl.DataFrame.to_arrow),
    Case(
        "polars-LazyFrame",
        polars,
        "polars",
        lambda *a: polars_frame(*a).lazy(),
        lambda f: pa.table(f.collect()),
    ),
    Case(
        "pandas",
        pandas,
        "pandas",
        pandas_frame,
        lambda frame: pa.Table.from_pandas(frame, preserve_index=False),
    ),
    Case("duckdb", duckdb_adapter, "duckdb", relation, lambda found: found.to_arrow_table()),
]
