"""Messages in data sets of Hugging Face, and what is in their results and caches."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

from datasets import Dataset, IterableDataset

import consentgate as cg
from tests.build import make_consent, make_gate, message_table
from tests.run_data import mixed_messages

ROWS = 300
MINUTE = timedelta(minutes=1)


def admitted_ids(gate: cg.Gate, rows: int = ROWS) -> list[int]:
    """The record ids of the messages that the gate admits."""
    ids: list[int] = gate.filter(mixed_messages(rows))[0]["message_id"].to_pylist()
    return ids


def ids_in(dataset: Any) -> list[int]:
    """The record ids of a data set, in its order."""
    return [row["message_id"] for row in dataset.with_format(None)]


def cache_files(folder: Path) -> set[tuple[str, int, int]]:
    """The name, inode and time of writing of each file in the cache."""
    stats = {path: path.stat() for path in folder.rglob("cache-*.arrow")}
    return {(path.name, stat.st_ino, stat.st_mtime_ns) for path, stat in stats.items()}


def secrets(gate: cg.Gate, rows: int = ROWS) -> list[bytes]:
    """The text of the messages that the gate excludes."""
    ids = gate.filter(mixed_messages(rows))[1]["record_id"].to_pylist()
    return [f"message {number} of some".encode() for number in ids if number % 9]


def saved(dataset: Dataset, folder: Path) -> Dataset:
    """The same data set from a disk."""
    dataset.save_to_disk(folder / "saved")
    return Dataset.load_from_disk(folder / "saved")


def withdrawing(*subjects: int) -> cg.Gate:
    """A gate that knows of withdrawals."""
    known = range(1, 46)
    status = ["withdrawn" if n in subjects else "given" for n in known]
    return make_gate(make_consent(subject_id=list(known), status=status))


def objects(rows: list[dict[str, Any]]) -> IterableDataset:
    """A stream of objects of which nobody knows the features."""
    return IterableDataset.from_generator(lambda: iter(rows), gen_kwargs=None)


def message(**columns: Any) -> dict[str, Any]:
    """One message, admitted if it stays as it is."""
    row: dict[str, Any] = message_table().to_pylist()[0]
    return {**row, **columns}
