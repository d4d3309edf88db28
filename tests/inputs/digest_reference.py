"""The digest of a tidy table as docs/semantics.md, section 2.9, defines it, one row at a time.

It shares no code with the library: the hash of an id is computed in Python's integers.
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections import defaultdict
from typing import Any

import pyarrow as pa

BUCKET_ROWS = 32_768
MICROS = {"s": 1_000_000, "ms": 1_000, "us": 1}
EARLIEST, LATEST = -(2**63), 2**63 - 1
FACTOR = 0x9E37_79B9_7F4A_7C15
TAGS = {
    pa.int64(): "int",
    pa.uint64(): "uint",
    pa.float64(): "float",
    pa.bool_(): "bool",
    pa.binary(16): "uuid",
}


def hash_bytes(octets: bytes) -> int:
    """The hash by which rows are dealt into buckets and sorted."""
    hashed = len(octets)
    for at in range(0, len(octets), 8):
        hashed = (hashed ^ int.from_bytes(octets[at : at + 8], "little")) * FACTOR % 2**64
        hashed ^= hashed >> 32
    return hashed * FACTOR % 2**64


def hash_id(value: Any, kind: pa.DataType) -> int:
    """Texts are hashed without the length that is written before them."""
    return hash_bytes(value.encode() if isinstance(value, str) else value_bytes(value, kind, None))


def instant(ticks: int, unit: str) -> bytes:
    if unit == "ns":
        floor, ceil = ticks // 1000, -(-ticks // 1000)
    else:
        floor = min(max(ticks * MICROS[unit], EARLIEST), LATEST)
        ceil = max(floor, EARLIEST + 1)
    return struct.pack("<qB", floor, ceil - floor)


def value_bytes(value: Any, kind: pa.DataType, words: list[str] | None) -> bytes:
    if words is not None:
        size = 1 if len(words) <= 256 else 2 if len(words) <= 65_536 else 4
        return int.to_bytes(words.index(value), size, "little")
    if pa.types.is_timestamp(kind):
        return instant(value, kind.unit)
    if pa.types.is_boolean(kind):
        return bytes([value])
    if pa.types.is_floating(kind):
        return struct.pack("<d", value)
    if pa.types.is_integer(kind):
        return int.to_bytes(value % 2**64, 8, "little")
    if pa.types.is_fixed_size_binary(kind):
        return bytes(value)
    text = str(value).encode()
    return struct.pack("<q", len(text)) + text


def cells(column: pa.ChunkedArray) -> list[Any]:
    """Values in Python; timestamps as ticks, because Python has no nanoseconds."""
    if pa.types.is_timestamp(column.type):
        column = column.cast(pa.int64())
    found: list[Any] = column.to_pylist()
    return found


def reference_digest(table: pa.Table, key: str, word_columns: set[str]) -> str:
    names = sorted(n for n in table.column_names if any(v is not None for v in cells(table[n])))
    kinds = {name: table.schema.field(name).type for name in names}
    words = {n: sorted({*cells(table[n])} - {None}) for n in names if n in word_columns}
    buckets = 1
    while buckets * BUCKET_ROWS < len(table):
        buckets *= 2
    columns = [[n, tag(kinds[n], n in words), *([words[n]] if n in words else [])] for n in names]
    head = {
        "format": "consentgate-content-2",
        "rows": len(table),
        "buckets": buckets,
        "columns": columns,
    }
    values = {name: cells(table[name]) for name in names}
    dealt = defaultdict(list)
    for row in range(len(table)):
        hashed = hash_id(values[key][row], kinds[key])
        octets = row_bytes({n: values[n][row] for n in names}, kinds, words)
        dealt[hashed * buckets >> 64].append((hashed, octets))
    parts = [b"".join(octets for _, octets in sorted(dealt[n])) for n in range(buckets)]
    text = json.dumps(head, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    digests = [hashlib.sha256(part).digest() for part in [text.encode(), *parts]]
    return hashlib.sha256(b"".join(digests)).hexdigest()


def tag(kind: pa.DataType, is_words: bool) -> str:
    if is_words:
        return "words"
    return "instant" if pa.types.is_timestamp(kind) else TAGS.get(kind, "text")


def row_bytes(
    values: dict[str, Any], kinds: dict[str, pa.DataType], words: dict[str, list[str]]
) -> bytes:
    flags = sum(1 << at for at, value in enumerate(values.values()) if value is not None)
    octets = [flags.to_bytes((len(values) + 7) // 8, "little")]
    octets += [
        value_bytes(value, kinds[name], words.get(name))
        for name, value in values.items()
        if value is not None
    ]
    return b"".join(octets)
