"""Sources that change while a run reads them."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import consentgate as cg
from consentgate.runs import file_judge, inventory
from consentgate.storage import parquet_batches
from tests.run_data import EVIDENCE, data_files, ledger_files, mixed_gate, mixed_messages
from tests.runs.running import NAMES, incomplete


def meddle(monkeypatch: pytest.MonkeyPatch, change: Callable[[], None]) -> None:
    """Let something happen to the source once the first batch has been read."""
    batches = parquet_batches.BatchReader.batches

    def read(*arguments: Any) -> Iterator[pa.RecordBatch]:
        for place, batch in enumerate(batches(*arguments)):
            yield batch
            if place == 0:
                change()

    monkeypatch.setattr(parquet_batches.BatchReader, "batches", read)


@pytest.mark.parametrize(
    "how", ["vanishes", "rewritten", "replaced", "appended", "cut", "same", "fewer", "others"]
)
def test_a_file_that_changes_while_it_is_read(
    how: str, src: Path, dst: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, other = src / "b.parquet", src.parent / "other.parquet"
    pq.write_table(mixed_messages(500), other)
    changes: dict[str, Callable[[], object]] = {
        "vanishes": lambda: path.unlink(missing_ok=True),
        "rewritten": lambda: path.write_bytes(other.read_bytes()),
        "replaced": lambda: other.exists() and other.rename(path),
        "appended": lambda: path.write_bytes(path.read_bytes() + b"more"),
        "cut": lambda: os.truncate(path, 400),
        "same": lambda: rewrite_quietly(path),
        "fewer": lambda: pq.write_table(mixed_messages(3), path),
        "others": lambda: pq.write_table(mixed_messages(500).select(["text"]), path),
    }
    meddle(monkeypatch, lambda: (changes[how](), None)[1])
    monkeypatch.setattr("consentgate.storage.parquet_batches.BATCH_BYTES", 2000)
    fault = incomplete(mixed_gate(), src, dst, "'.*b.parquet'", threads=1)
    assert isinstance(fault, cg.SourceChangedError)
    assert data_files(dst).keys() == {NAMES[0], NAMES[2]}
    assert ledger_files(dst).keys() == {NAMES[0], NAMES[2]}


def rewrite_quietly(path: Path) -> None:
    """Change a byte and put the time of modification back."""
    status = path.stat()
    with path.open("r+b") as file:
        file.seek(200)
        file.write(b"\x00")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


@pytest.mark.parametrize("rows", [3, 900])
def test_a_file_that_changes_between_looking_and_judging(
    rows: int, src: Path, dst: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    judge = file_judge.FileJudge.judge

    def replaced(self: file_judge.FileJudge, found: inventory.InputFile) -> Any:
        if found.name == "b.parquet":
            pq.write_table(mixed_messages(rows), src / "b.parquet")
        return judge(self, found)

    monkeypatch.setattr(file_judge.FileJudge, "judge", replaced)
    fault = incomplete(mixed_gate(), src, dst, "1 of 3 files could not be judged, and 2 are done")
    assert isinstance(fault, cg.SourceChangedError)


def test_drafts_that_somebody_removes(
    src: Path, dst: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    meddle(monkeypatch, lambda: shutil.rmtree(dst / EVIDENCE / "drafts", ignore_errors=True))
    with pytest.raises(cg.OutputError, match="cannot be written"):
        cg.run(mixed_gate(), src, dst)
    assert not data_files(dst)
