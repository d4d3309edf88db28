"""Relations of DuckDB, for the contract."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from consentgate.adapters import duckdb as adapter
from tests.adapters.contract import Case, slices


def relation(table: pa.Table, folder: Path, partitions: int) -> duckdb.DuckDBPyRelation:
    """A relation of Parquet files, on a connection of its own."""
    for number, piece in enumerate(slices(table, partitions)):
        pq.write_table(piece, folder / f"{number}.parquet")
    return duckdb.connect().read_parquet(str(folder / "*.parquet"))


CASES = [Case("duckdb", adapter, "duckdb", relation, lambda found: found.to_arrow_table())]
