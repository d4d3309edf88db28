"""A gate, a table of messages, and the gate's decision on each of them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from tests.build import make_consent, make_gate, message_table

GATE = make_gate(make_consent(subject_id=[1, 2], status=["given", "withdrawn"]))
METADATA = {"owner": "tests"}

TABLE = message_table(
    sender_id=[1, 2, 1, None, 1],
    channel_id=[10, 10, 11, 10, 10],
    body=["a", "b", "c", "d", None],
).replace_schema_metadata(METADATA)

VERDICTS = [None, "consent_withdrawn", "channel_unknown", "subject_missing", None]
BITS = [0, 1 << 5, 1 << 1, 1 << 2, 0]
ADMITTED = [0, 4]
UUIDS = pa.array([bytes([n] * 16) for n in (1, 2, 1)], pa.uuid())
REASON = pa.dictionary(pa.int32(), pa.string())


def empty(table: pa.Table = TABLE) -> pa.Table:
    """The table without its rows."""
    return table.schema.empty_table()


def as_ipc(table: pa.Table) -> bytes:
    """Every byte of a table."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    content: bytes = sink.getvalue().to_pybytes()
    return content


def read_part(folder: Path) -> pa.Table:
    """The only file of a ledger."""
    (path,) = folder.iterdir()
    assert path.suffix == ".parquet"
    return pq.ParquetFile(path).read()


def make_reader() -> pa.RecordBatchReader:
    return pa.RecordBatchReader.from_batches(TABLE.schema, TABLE.to_batches(max_chunksize=2))


def batches() -> Iterator[pa.RecordBatch]:
    yield from TABLE.to_batches(max_chunksize=2)
