"""Ledgers for `consentgate ledger`, and what is expected of its answers."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

import consentgate as cg
from tests.build import make_gate, message_table
from tests.command import shown_on_terminal
from tests.run_data import mixed_gate, mixed_messages, write_files

NAMES = ["a.parquet", "day=1/b.parquet", "day=2/b.parquet"]
HOSTILE = "\x1b[2J\x9b31m\r\n\tid\u202e"
Command = Callable[..., "Outcome"]


@dataclass(frozen=True)
class Outcome:
    """How a command ended and what it said."""

    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[list[str]]:
        """The words of every line."""
        return [line.split() for line in self.out.splitlines()]

    @property
    def json(self) -> Any:
        """What a single object says."""
        return json.loads(self.out)

    @property
    def rows(self) -> list[dict[str, Any]]:
        """What JSON lines say."""
        return [json.loads(line) for line in self.out.splitlines()]


def run_mixed(**policy: Any) -> cg.Manifest:
    """A run of three files, from `in` to `out`."""
    write_files(Path("in"), NAMES, rows=100)
    return cg.run(mixed_gate(**policy), "in", "out")


def run_ids(ids: pa.Array) -> cg.Manifest:
    """A run of one file of two messages: the first admitted, the second excluded."""
    Path("in").mkdir()
    pq.write_table(message_table(message_id=ids, channel_id=[10, 11]), "in/a.parquet")
    return cg.run(make_gate(), "in", "out")


def stream_mixed(*firsts: int) -> None:
    """The ledger of a stream, a part for each table of 100 messages."""
    for first in firsts:
        batches = mixed_messages(100, first).to_batches()
        mixed_gate().stream(batches, ledger="streamed").read_all()


def part_of(name: str = NAMES[0]) -> Path:
    """The part of the ledger about an input."""
    return Path("out/_consentgate/ledger", name)


def rows_of(name: str = NAMES[0]) -> list[dict[str, Any]]:
    """A part's rows, read with pyarrow, as `show --json` should say them."""
    file = pq.ParquetFile(part_of(name))
    names = json.loads(file.schema_arrow.metadata[b"consentgate.reason_names"])
    return [
        {
            "record_id": row["record_id"],
            "file": name,
            "row": row["row"],
            "reason": row["reason"],
            "reasons": [code for bit, code in names.items() if row["reason_bits"] >> int(bit) & 1],
        }
        for row in file.read().to_pylist()
    ]


def rewrite_part(change: Callable[[pa.Table], pa.Table]) -> None:
    """Write a part anew, its metadata kept as they were unless they are changed."""
    file = pq.ParquetFile(part_of())
    table = file.read()
    metadata = {k: v for k, v in file.metadata.metadata.items() if k != b"ARROW:schema"}
    pq.write_table(change(table.replace_schema_metadata(metadata)), part_of())


def assert_error(outcome: Outcome, code: str, *words: str) -> None:
    assert outcome.code == 1
    assert outcome.out == ""
    assert outcome.err.startswith("consentgate: ")
    assert outcome.err.endswith(f"[{code}]\n")
    assert "Traceback" not in outcome.err
    for word in words:
        assert word in outcome.err


def assert_harmless(text: str) -> None:
    """Only tabs and line breaks of our own beside what prints, and what does not is spelt out."""
    assert text.replace("\n", "").replace("\t", "").isprintable()
    assert "\\x1b" in text or "\\u001b" in text


def shown(*arguments: str, columns: int = 120) -> str:
    """What the command writes to a terminal."""
    size = {"TERM": "dumb", "COLUMNS": str(columns)}
    return shown_on_terminal("ledger", *arguments, stream="stdout", **size)
