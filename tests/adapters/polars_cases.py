"""Data frames and queries of Polars, for the contract."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pyarrow as pa

from consentgate.adapters import polars
from tests.adapters.contract import Case, slices


def frame(table: pa.Table, _: Path, partitions: int) -> pl.DataFrame:
    """A data frame in so many chunks."""
    return pl.concat([pl.DataFrame(piece) for piece in slices(table, partitions)])


def query(table: pa.Table, folder: Path, partitions: int) -> pl.LazyFrame:
    """A query of such a data frame."""
    return frame(table, folder, partitions).lazy()


CASES = [
    Case("polars-DataFrame", polars, "polars", frame, pl.DataFrame.to_arrow),
    Case("polars-LazyFrame", polars, "polars", query, lambda f: pa.table(f.collect())),
]
