"""What the contract needs to know of an adapter, and the messages that it is held to with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tests.run_data import mixed_messages

LAYOUTS = {
    "string": pa.string(),
    "large_string": pa.large_string(),
    "string_view": pa.string_view(),
    "dictionary": pa.dictionary(pa.int16(), pa.string()),
}


@dataclass(frozen=True)
class Case:
    """One kind of data that an adapter takes.

    Attributes:
        name: what tests call it.
        adapter: the module, or what else has `filter`.
        engine: the package that it needs, if it needs one.
        give: the engine's data out of a table, in so many partitions; the folder is for files.
        take: all rows of the engine's data as a table, whatever happened to them meanwhile.
        keeps_order: whether rows come out in the order in which they went in.
        keeps_ledger: whether it writes ledgers.
        tells_columns: whether data without a row tells which columns it has.
        brings_ids: whether its rows have record ids without a column of them.
    """

    name: str
    adapter: ModuleType | SimpleNamespace
    engine: str | None
    give: Callable[[pa.Table, Path, int], Any]
    take: Callable[[Any], pa.Table]
    keeps_order: bool = True
    keeps_ledger: bool = True
    tells_columns: bool = True
    brings_ids: bool = False

    def filter(self, data: Any, gate: Any, **options: Any) -> Any:
        """What the adapter makes of the data."""
        return self.adapter.filter(data, gate, **options)


def messages(rows: int, layout: str = "string") -> pa.Table:
    """Messages of every fate, whose text and words are laid out so."""
    table = mixed_messages(max(rows, 1)).slice(0, rows).drop("word")
    text = table["text"].cast(pa.string())
    kind = LAYOUTS[layout]
    text = text.dictionary_encode().cast(kind) if layout == "dictionary" else text.cast(kind)
    return table.set_column(table.column_names.index("text"), "text", text)


def ledger_rows(folder: Path) -> pa.Table:
    """Every part of a ledger, in the order of its rows."""
    parts = [pq.read_table(path) for path in sorted(folder.glob("*.parquet"))]
    assert not list(folder.glob("*.partial")), "every part is whole"
    return pa.concat_tables(parts).sort_by("row")


def slices(table: pa.Table, partitions: int) -> list[pa.Table]:
    """A table in so many pieces of about the same size."""
    bounds = [table.num_rows * part // partitions for part in range(partitions + 1)]
    return [table.slice(a, b - a) for a, b in pairwise(bounds)]
