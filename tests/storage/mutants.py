"""Files with bytes flipped, read in a process of their own, because reading some has ended it.

`python -m tests.storage.mutants KIND SEED COUNT` reads so many mutants of a file and prints what
came of each; it dies where a mutant makes it die. Printed first is which mutant is read.
"""

from __future__ import annotations

import csv
import io
import json
import random
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

import consentgate as cg
from consentgate.inputs.files import MessageFile, read_faults_named
from consentgate.inputs.given import GivenTable, Layout
from consentgate.storage import parquet_batches
from consentgate.storage.parquet_batches import read_batches
from consentgate.storage.parquet_reading import open_parquet
from consentgate.storage.parquet_writing import FileForm
from tests.build import WRITTEN

ROWS = 48
LAYOUT = Layout("table", "c0", ("c0", "text", "since", "flag"), frozenset())
NEW_IPC: dict[str, Any] = {"arrow": pa.ipc.new_file, "arrows": pa.ipc.new_stream}
"""What begins an Arrow IPC file and stream, by their suffix."""


def columns(count: int) -> pa.Table:
    """A table of so many columns, of every kind that files hold."""
    kinds = [
        pa.array(range(ROWS)),
        pa.array([f"text {n % 7}" for n in range(ROWS)]),
        pa.array([f"words {n % 5}" for n in range(ROWS)]).dictionary_encode(),
        pa.array([[n, 1], None, []][n % 3] for n in range(ROWS)),
        pa.array([{"a": n, "b": [str(n)]} for n in range(ROWS)]),
        pa.array([WRITTEN] * ROWS, pa.timestamp("us", "UTC")),
        pa.array([True, None] * (ROWS // 2)),
        pa.array([n / 7 for n in range(ROWS)]),
    ]
    return pa.table({f"c{n}": kinds[n % len(kinds)] for n in range(count)})


def parquet(count: int) -> bytes:
    """A Parquet file of so many columns, in two row groups."""
    sink = pa.BufferOutputStream()
    pq.write_table(columns(count), sink, row_group_size=ROWS // 2)
    content: bytes = sink.getvalue().to_pybytes()
    return content


def ipc(make: Any) -> bytes:
    """An Arrow IPC file or stream of three batches, with views as well."""
    table = columns(8)
    views = pa.array([f"a text that lies out of line {n}" for n in range(ROWS)], pa.string_view())
    table = table.append_column("views", views)
    lists = pa.array([[n, 1] for n in range(ROWS)], pa.list_view(pa.int64()))
    table = table.append_column("lists", lists)
    sink = pa.BufferOutputStream()
    with make(sink, table.schema) as writer:
        writer.write_table(table, max_chunksize=ROWS // 3)
    content: bytes = sink.getvalue().to_pybytes()
    return content


def text(form: str) -> bytes:
    """A snapshot in CSV or JSON lines, with quotes and escapes."""
    rows = [
        {"c0": n, "text": f'a "word", or\\ {n}', "since": WRITTEN.isoformat(), "flag": n % 2 == 0}
        for n in range(ROWS)
    ]
    if form == "jsonl":
        return "".join(json.dumps({**row, "deep": [{"x": [1]}]}) + "\n" for row in rows).encode()
    file = io.StringIO()
    writer = csv.DictWriter(file, list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    return file.getvalue().encode()


MAKERS: dict[str, Callable[[], bytes]] = {
    "narrow": lambda: parquet(8),
    "wide": lambda: parquet(104),
    "file": lambda: ipc(NEW_IPC["arrow"]),
    "stream": lambda: ipc(NEW_IPC["arrows"]),
    "csv": lambda: text("csv"),
    "jsonl": lambda: text("jsonl"),
}


def mutant(content: bytes, first: int, draws: random.Random) -> bytes:
    """The content with a byte or a word changed, behind so many bytes that stay."""
    octets = bytearray(content)
    if draws.random() < 0.8:
        octets[draws.randrange(first, len(octets))] ^= draws.randrange(1, 256)
    else:
        place = draws.randrange(first, len(octets) - 4)
        word = draws.choice([b"\xff\xff\xff\x7f", bytes(4), b"\xff" * 4, b"\0\0\0\x80"])
        octets[place : place + 4] = word
    return bytes(octets)


def read_parquet(path: Path) -> None:
    """Read a Parquet file in the ways in which runs do."""
    with read_faults_named(path):
        with open_parquet(path, columns=8) as file:
            FileForm.of(file)
        for size in (192 << 20, 1_000):
            parquet_batches._DECODERS_BYTES = size
            with open_parquet(path, columns=8) as file:
                rows = sum(batch.num_rows for batch in read_batches(file))
                assert rows == file.metadata.num_rows


def read_messages(path: Path) -> None:
    """Read a file of messages, and look at all of it."""
    file = MessageFile.open(path)
    batches = list(file.batches())
    for batch in batches:
        batch.validate(full=True)
        str(batch.schema)
    assert file.rows in (None, sum(batch.num_rows for batch in batches))


def read_columns(path: Path) -> None:
    """Read a whole file as snapshots are read, and each column that has a meaning."""
    given = GivenTable.read(LAYOUT, path, None, None)
    if given.has("since"):
        given.instants("since")
    if given.has("flag"):
        given.flags("flag")
    given.faults.raise_all()


def main(kind: str, seed: int, count: int) -> None:
    """Read mutants, and say what comes of them."""
    content = MAKERS[kind]()
    is_parquet = kind in ("narrow", "wide")
    footer = len(content) - 8 - int.from_bytes(content[-8:-4], "little") if is_parquet else 0
    draws, ends = random.Random(seed), Counter[str]()
    acts: list[Callable[[Path], object]] = [read_messages, read_columns]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, f"x.{kind}")
        for number in range(count):
            print("reading", number, file=sys.stderr, flush=True)
            path.write_bytes(mutant(content, footer, draws))
            for act in [read_parquet, *acts] if is_parquet else acts:
                try:
                    act(path)
                    ends["read"] += 1
                except cg.ConsentGateError as error:
                    ends[error.code] += 1
    print(dict(ends))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
