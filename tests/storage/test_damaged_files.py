"""Damaged files of every format: each is read or refused, and none ends the process."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import consentgate as cg
from consentgate.inputs.files import MessageFile
from tests.processes import HANGING_S, ROOT
from tests.storage.mutants import NEW_IPC
from tests.storage.reading import whole_table

# --- flipped bytes --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "count"),
    [("narrow", 300), ("wide", 80), ("file", 300), ("stream", 300), ("csv", 300), ("jsonl", 300)],
)
def test_no_flipped_byte_ends_the_process(kind: str, count: int) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.storage.mutants", kind, "4", str(count)],
        capture_output=True,
        text=True,
        timeout=HANGING_S,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stderr[-2_000:]
    ends = json.loads(done.stdout.replace("'", '"'))
    assert set(ends) <= {"read", "unreadable_file", "column_type"}
    assert min(ends["read"], ends["unreadable_file"]) > count / 20


# --- malformed values -----------------------------------------------------------------------


@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize("form", ["parquet", "arrow", "arrows"])
def test_a_name_that_is_not_utf8_is_an_error(form: str, nested: bool, tmp_path: Path) -> None:
    path = tmp_path / f"x.{form}"
    inner = pa.array([{"inner-name": 1}]) if nested else pa.array([1])
    table = pa.table({"column" if nested else "inner-name": inner})
    if form == "parquet":
        pq.write_table(table, path, store_schema=False)
    else:
        with NEW_IPC[form](path, table.schema) as w:
            w.write_table(table)
    path.write_bytes(path.read_bytes().replace(b"inner-name", b"inner\xff\xfeame"))
    for read in (whole_table, MessageFile.open):
        with pytest.raises(cg.UnreadableFileError, match="truncated, corrupt or malformed"):
            read(path)


@pytest.mark.parametrize("levels", [500, 3_000])
@pytest.mark.parametrize("form", ["parquet", "arrow", "arrows"])
def test_columns_that_are_nested_deeply_are_an_error(
    form: str, levels: int, tmp_path: Path
) -> None:
    kind, path = pa.int64(), tmp_path / f"x.{form}"
    for _ in range(levels):
        kind = pa.list_(kind)
    table = pa.table({"x": pa.nulls(1, kind)})
    if form == "parquet":
        pq.write_table(table, path, store_schema=False)
    else:
        with NEW_IPC[form](path, table.schema) as w:
            assert w  # pyarrow writes the schema, but no batch
    for read in (whole_table, MessageFile.open):
        with pytest.raises(cg.UnreadableFileError, match=r"write it again"):
            read(path)
