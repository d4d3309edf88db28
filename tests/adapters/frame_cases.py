"""Data frames and relations, for the contract."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pyarrow as pa

from consentgate.adapters import polars
from tests.adapters.contract import Case


def polars_frame(table: pa.Table, folder: Path, partitions: int) -> pl.DataFrame:
    """A data frame in so many chunks."""
    bounds = [table.num_rows * part // partitions for part in range(partitions + 1)]
    pieces = [pl.DataFrame(table.slice(a, b - a)) for a, b in zip(bounds, bounds[1:], strict=False)]
    return pl.concat(pieces)


CASES = [
    Case("polars-DataFrame", polars, "polars", polars_frame, pl.DataFrame.to_arrow),
    Case(
        "polars-LazyFrame",
        polars,
        "polars",
        lambda *a: polars_frame(*a).lazy(),
        lambda f: pa.table(f.collect()),
    ),
]
