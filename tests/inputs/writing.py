"""Snapshots and registries written in every format that is read."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq


def write_ipc(table: pa.Table, path: Path, *, is_file: bool) -> None:
    """Write an Arrow IPC file or stream."""
    make = pa.ipc.new_file if is_file else pa.ipc.new_stream
    with make(path, table.schema) as writer:
        writer.write_table(table, max_chunksize=2)


def write_csv(table: pa.Table, path: Path) -> None:
    """Write a CSV file."""
    options = pa.csv.WriteOptions(quoting_style="needed")
    pa.csv.write_csv(table, path, options)


def write_json_lines(table: pa.Table, path: Path) -> None:
    """Write JSON lines without the keys of nulls."""
    rows = [{n: v for n, v in row.items() if v is not None} for row in table.to_pylist()]
    path.write_text("\n".join(json.dumps(row, default=datetime.isoformat) for row in rows) + "\n")


WRITERS: dict[str, Callable[[pa.Table, Path], Any]] = {
    "parquet": pq.write_table,
    "arrow": lambda table, path: write_ipc(table, path, is_file=True),
    "arrows": lambda table, path: write_ipc(table, path, is_file=False),
    "csv": write_csv,
    "jsonl": write_json_lines,
    "NDJSON": write_json_lines,
}
