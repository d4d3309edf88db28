"""Data frames of pandas, for the contract."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pyarrow as pa

from consentgate.adapters import pandas
from tests.adapters.contract import Case, slices


def frame(table: pa.Table, _: Path, partitions: int) -> pd.DataFrame:
    """A data frame of Arrow's types, with a name for each row."""
    parts = pa.concat_tables(slices(table, partitions)) if table.num_rows else table
    return parts.to_pandas(types_mapper=pd.ArrowDtype)


def rows_of(frame: pd.DataFrame) -> pa.Table:
    """All rows of a data frame, without their names."""
    return pa.Table.from_pandas(frame, preserve_index=False)


CASES = [Case("pandas", pandas, "pandas", frame, rows_of)]
