"""Producers of Arrow data that need no adapter: `Gate.filter` and `Gate.stream` take them as is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import arro3.core
import nanoarrow as na
import pyarrow as pa

from tests.adapters.contract import Case


@dataclass(frozen=True)
class Anew:
    """A producer whose stream can be read only once, made anew for every reader."""

    make: Callable[[pa.Table], Any]
    table: pa.Table

    def __arrow_c_stream__(self, requested_schema: Any = None) -> Any:
        return self.make(self.table).__arrow_c_stream__(requested_schema)


def judge(data: Any, gate: Any, *, ledger: Any = None, judged_at: Any = None) -> pa.Table:
    """The admitted rows."""
    if ledger is None:
        admitted, _ = gate.filter(data, judged_at=judged_at)
    else:
        admitted = gate.stream(data, ledger=ledger, judged_at=judged_at).read_all()
    return admitted


def cut(table: pa.Table, partitions: int) -> pa.Table:
    """The table in so many chunks; as pyarrow's own, which other producers take."""
    rows = -(-table.num_rows // partitions) or 1
    return pa.Table.from_batches(table.to_batches(max_chunksize=rows), schema=table.schema)


def case(name: str, give: Any) -> Case:
    """A producer under the contract."""
    return Case(
        name,
        SimpleNamespace(filter=judge),
        None,
        lambda table, _, partitions: give(cut(table, partitions)),
        lambda data: data if isinstance(data, pa.Table) else pa.table(data),
    )


CASES = [
    case("arro3-Table", arro3.core.Table.from_arrow),
    case(
        "arro3-RecordBatchReader",
        lambda table: Anew(arro3.core.RecordBatchReader.from_arrow, table),
    ),
    case("nanoarrow-stream", lambda table: Anew(na.c_array_stream, table)),
    case("nanoarrow-ArrayStream", lambda table: Anew(na.ArrayStream, table)),
]
