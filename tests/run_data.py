"""Data sets to run on, and functions that read a run's destination."""

from __future__ import annotations

import hashlib
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

import consentgate as cg
from tests.build import AS_OF, make_channels, make_consent, make_gate, message_table

EVIDENCE = "_consentgate"


def mixed_gate(**policy: Any) -> cg.Gate:
    """A gate that admits some: subjects 1 to 40 have consented, but every fourth withdrew."""
    consent = make_consent(
        subject_id=list(range(1, 41)),
        status=["withdrawn" if n % 4 == 0 else "given" for n in range(1, 41)],
    )
    channels = make_channels(channel_id=[10, 11], visibility=["public", "private"])
    return make_gate(consent, channels, **policy)


def as_of(gate: cg.Gate, instant: datetime = AS_OF + timedelta(hours=1)) -> cg.Gate:
    """The gate with the same records and channels, as of another instant; by default a later one.

    It judges as at the same instant as before.
    """
    assert gate.consent is not None and gate.channels is not None
    consent = cg.ConsentSnapshot.from_arrow(gate.consent.table, as_of=instant)
    channels = cg.ChannelRegistry.from_arrow(gate.channels.table, as_of=instant)
    return cg.Gate(gate.policy, consent, channels, columns=gate.columns, judged_at=gate.judged_at)


def mixed_messages(rows: int, first: int = 0, **columns: Any) -> pa.Table:
    """Messages of every fate, with text and words that repeat."""
    numbers = range(first, first + rows)
    return message_table(
        message_id=list(numbers),
        sender_id=[n * 7 % 45 or None for n in numbers],
        channel_id=[(10, 10, 10, 11, 12)[n % 5] for n in numbers],
        text=[f"message {n} {'of some length ' * (n % 9)}" for n in numbers],
        word=pa.array([f"word {n % 5}" for n in numbers]).dictionary_encode(),
        **columns,
    ).replace_schema_metadata({"owner": "tests"})


def write_files(folder: Path, names: list[str], rows: int = 500, **options: Any) -> list[pa.Table]:
    """A Parquet file of that many messages under each name."""
    tables = []
    for place, name in enumerate(names):
        table = mixed_messages(rows, first=place * rows)
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(table, path, **{"compression": "zstd", "row_group_size": 128, **options})
        tables.append(table)
    return tables


def data_files(folder: Path) -> dict[str, str]:
    """The SHA-256 of every file that engines would read, by its path below the folder."""
    paths = [p for p in folder.rglob("*") if p.is_file() and EVIDENCE not in p.parts]
    return {str(p.relative_to(folder)): digest(p) for p in paths}


def digest(path: Path) -> str:
    """The SHA-256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def ledger_files(folder: Path) -> dict[str, str]:
    """The SHA-256 of every part of the ledger, by its path below the ledger."""
    ledger = folder / EVIDENCE / "ledger"
    return {str(p.relative_to(ledger)): digest(p) for p in ledger.rglob("*") if p.is_file()}


def all_files(folder: Path) -> set[str]:
    """Every file below a folder."""
    return {str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()}
