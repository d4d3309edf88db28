"""Gates that change while data is read, and checks of the rows that come out then."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

import consentgate as cg
from tests.build import channel_table, consent_table, message_table

SUBJECTS = range(1, 9)


class Newest:
    """A stand-in for a live gate, which gives the gate that was published last."""

    def __init__(self, gate: cg.Gate) -> None:
        self.gate = gate

    def current(self) -> cg.Gate:
        """That gate."""
        return self.gate


class Successive:
    """A stand-in for a live gate: another gate at every call, until it stays at the last one."""

    def __init__(self, *gates: cg.Gate) -> None:
        self.gates = list(gates)

    def current(self) -> cg.Gate:
        """The next one."""
        return self.gates.pop(0) if len(self.gates) > 1 else self.gates[0]


def gate_without(*withdrawn: int, hours: int = 0) -> cg.Gate:
    """A gate by the clock, whose snapshot says that some subjects withdrew.

    Args:
        hours: how much newer the snapshot is than the oldest of a test.
    """
    as_of = datetime.now(UTC) - timedelta(hours=48 - hours)
    statuses = ["withdrawn" if subject in withdrawn else "given" for subject in SUBJECTS]
    records = consent_table(subject_id=list(SUBJECTS), status=statuses)
    consent = cg.ConsentSnapshot.from_arrow(records, as_of=as_of)
    channels = cg.ChannelRegistry.from_arrow(channel_table(), as_of=as_of)
    return cg.Gate(cg.Policy(), consent, channels)


def messages_of_all(rows: int, first: int = 0) -> pa.Table:
    """Messages of every subject in turn."""
    numbers = list(range(first, first + rows))
    senders = [SUBJECTS[number % len(SUBJECTS)] for number in numbers]
    texts = [f"text {number}" for number in numbers]
    return message_table(message_id=numbers, sender_id=senders, text=texts)


def sender_of(message: int) -> int:
    """Who wrote a message."""
    return SUBJECTS[message % len(SUBJECTS)]


def ledger_of(folder: Path) -> dict[int, tuple[int, str, str]]:
    """Position, reason and snapshot by record id; no record may be there twice."""
    found: dict[int, tuple[int, str, str]] = {}
    for path in sorted(folder.rglob("*.parquet")):
        part = pq.read_table(path)
        snapshot = part.schema.metadata[b"consentgate.snapshot_digest"].decode()
        for row in part.to_pylist():
            assert row["record_id"] not in found, "a row is in the ledger once"
            found[row["record_id"]] = row["row"], row["reason"], snapshot
    return found


def assert_each_row_once(given: Iterable[int], folder: Path, rows: int) -> None:
    """Every message was either given or is in the ledger, at its own position."""
    ledger, admitted = ledger_of(folder), list(given)
    assert sorted([*admitted, *ledger]) == list(range(rows))
    assert all(position == record for record, (position, _, _) in ledger.items())
