"""Judges Arrow data with flipped octets: `python -m tests.arrow.fuzz_ipc SEED COUNT` in a process.

pyarrow reads IPC without looking at what is in it, so columns of every layout come out of it with
offsets, indices, views, runs and counts that are wrong. Whatever is not an error of the library
ends this process: an exception of another kind, or a crash.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa

import consentgate as cg
from tests.build import WRITTEN, make_channels, make_consent, make_gate

ROWS = 12
IDS = [f"subject number {row}" for row in range(ROWS)]
GATE = make_gate(
    make_consent(subject_id=IDS, status=["given", "refused"] * (ROWS // 2)),
    make_channels(channel_id=[1, 2], visibility=["public", "private"]),
)
OFFSETS = np.arange(ROWS + 1, dtype=np.int32)
CALLS: dict[str, Callable[[Any], Any]] = {
    "filter": GATE.filter,
    "stream": lambda table: GATE.stream(table).read_all(),
    "annotate": GATE.annotate,
    "explain": lambda table: GATE.explain(table, "record 1"),
}


def in_views(values: pa.Array) -> pa.Array:
    """List views of one value each."""
    return pa.ListViewArray.from_arrays(
        pa.array(OFFSETS[:-1]), pa.array(np.ones(ROWS, np.int32)), values
    )


def coded(values: pa.Array) -> pa.Array:
    """A dictionary-encoded column."""
    return pa.DictionaryArray.from_arrays(pa.array(range(ROWS), pa.int8()), values)


TEXT = pa.array(IDS)
VIEWS = TEXT.cast(pa.string_view())
SUBJECTS = [TEXT, TEXT.cast(pa.large_string()), VIEWS, coded(TEXT), coded(VIEWS)]
LISTS: list[Callable[[pa.Array], pa.Array]] = [
    lambda values: values,
    lambda values: values,
    lambda values: pa.ListArray.from_arrays(pa.array(OFFSETS), values),
    lambda values: pa.LargeListArray.from_arrays(pa.array(OFFSETS.astype(np.int64)), values),
    in_views,
]
PAYLOADS = [
    TEXT,
    coded(TEXT),
    pa.array([["a", None, "beyond twelve octets"]] * ROWS, pa.list_(pa.string_view())),
    pa.array([{"number": 1, "word": "word"}, None] * (ROWS // 2)),
    pa.array([[("key", 1)], None] * (ROWS // 2), pa.map_(pa.string(), pa.int8())),
    pa.array([b"more than twelve octets"] * ROWS, pa.binary_view()),
    pa.RunEndEncodedArray.from_arrays(pa.array([3, ROWS], pa.int32()), pa.array(["a", "b"])),
    pa.UnionArray.from_dense(
        pa.array([0, 1] * (ROWS // 2), pa.int8()),
        pa.array([row // 2 for row in range(ROWS)], pa.int32()),
        [pa.array(range(ROWS)), TEXT],
    ),
    in_views(coded(TEXT)),
]


def flipped(table: pa.Table, rng: np.random.Generator) -> pa.Table | None:
    """The table as it is read from a stream of which a few octets changed; None if it is not."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    octets = bytearray(sink.getvalue())
    for _ in range(int(rng.integers(1, 4))):
        octets[int(rng.integers(len(octets) // 3, len(octets)))] ^= 1 << int(rng.integers(8))
    try:
        return pa.ipc.open_stream(pa.BufferReader(bytes(octets))).read_all()
    except (pa.ArrowException, OSError, MemoryError):
        return None


def main(seed: int, count: int) -> None:
    """Judge so many tables in every way."""
    rng = np.random.default_rng(seed)
    ends: Counter[str] = Counter()
    for _ in range(count):
        subjects = LISTS[rng.integers(len(LISTS))](SUBJECTS[rng.integers(len(SUBJECTS))])
        columns: dict[str, Any] = {
            "message_id": [f"record {row}" for row in range(ROWS)],
            "sender_id": subjects,
            "channel_id": [1 + row % 2 if row % 5 else None for row in range(ROWS)],
            "created_at": [WRITTEN] * ROWS,
        }
        for place, payload in enumerate(rng.choice(len(PAYLOADS), 3, replace=False)):
            columns[f"payload_{place}"] = PAYLOADS[payload]
        table = flipped(pa.table(columns), rng)
        for name, call in CALLS.items() if table is not None else ():
            try:
                call(table)
                ends[f"{name}: judged"] += 1
            except cg.ConsentGateError as error:
                ends[f"{name}: {error.code}"] += 1
    print(dict(ends))


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
