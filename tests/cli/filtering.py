"""Files for `consentgate filter`, and what its outputs must be."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

import consentgate as cg
from tests.build import BEGUN, MICRO, NOW, WRITTEN, make_channels, make_consent, message_table

METADATA = {"owner": "tests", "licence": "none"}


def messages(rows: int = 10, first: int = 0) -> pa.Table:
    """Messages of every fate, whose words and senders repeat in a pattern."""
    numbers = range(first, first + rows)
    table = message_table(
        message_id=list(numbers),
        sender_id=[(1, 2, 3)[n % 3] for n in numbers],
        channel_id=[(10, 10, 11, 12)[n % 4] for n in numbers],
        created_at=[WRITTEN if n % 7 else BEGUN - MICRO for n in numbers],
    )
    words = pa.array([f"word {n % 5}" for n in numbers]).dictionary_encode()
    return table.append_column("word", words).replace_schema_metadata(METADATA)


def write(table: pa.Table, path: str, form: str = "parquet", batch_rows: int = 3) -> str:
    """Write the table in small batches."""
    if form == "parquet":
        pq.write_table(table, path, row_group_size=batch_rows)
        return path
    new = pa.ipc.new_file if form == "ipc file" else pa.ipc.new_stream
    with pa.OSFile(path, "wb") as file, new(file, table.schema) as writer:
        writer.write_table(table, max_chunksize=batch_rows)
    return path


def read(path: str | Path) -> pa.Table:
    return pq.ParquetFile(path).read()


def expected(table: pa.Table) -> tuple[pa.Table, pa.Table]:
    """What `Gate.filter` makes of the whole table."""
    gate = cg.Gate(
        cg.Policy(name="tests", max_snapshot_age=None),
        make_consent(subject_id=[1, 2], status=["given", "withdrawn"]),
        make_channels(channel_id=[10, 11], visibility=["public", "private"]),
        judged_at=NOW,
    )
    return gate.filter(table)


def names_in(folder: str) -> list[str]:
    return sorted(path.name for path in Path(folder).iterdir())


def assert_same(actual: pa.Table, wanted: pa.Table) -> None:
    assert actual.schema.equals(wanted.schema, check_metadata=True)
    assert actual.to_pylist() == wanted.to_pylist()


def assert_outputs(folder: str, table: pa.Table) -> None:
    admitted, excluded = expected(table)
    assert 0 < admitted.num_rows < table.num_rows
    assert_same(read(f"{folder}/admitted.parquet"), admitted)
    assert_same(read(f"{folder}/excluded.parquet"), excluded)
    assert names_in(folder) == ["admitted.parquet", "excluded.parquet"]
