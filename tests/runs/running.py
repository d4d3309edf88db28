"""Runs that are watched, stopped, or expected to fail."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

import consentgate as cg
from consentgate.runs import file_judge, inventory
from tests.run_data import EVIDENCE

NAMES = ["a.parquet", "b.parquet", "deep/er/c.parquet"]


class Spy:
    """Counts which files are judged."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.judged: list[str] = []
        judge = file_judge.FileJudge.judge

        def spy(this: file_judge.FileJudge, found: inventory.InputFile) -> Any:
            self.judged.append(found.name)
            return judge(this, found)

        monkeypatch.setattr(file_judge.FileJudge, "judge", spy)

    def since(self) -> set[str]:
        """Those judged since the last call."""
        judged, self.judged = set(self.judged), []
        return judged


def stop_after(count: int) -> Callable[[cg.Progress], None]:
    """Interrupts a run once so many files are done."""

    def report(progress: cg.Progress) -> None:
        if progress.files_done >= count:
            raise KeyboardInterrupt

    return report


def live(gate: cg.Gate) -> cg.Gate:
    """The gate, with a snapshot as of now, which reads the clock."""
    assert gate.consent is not None and gate.channels is not None
    now = datetime.now(UTC) - timedelta(minutes=1)
    consent = cg.ConsentSnapshot.from_arrow(gate.consent.table, as_of=now)
    channels = cg.ChannelRegistry.from_arrow(gate.channels.table, as_of=now)
    return cg.Gate(gate.policy, consent, channels)


def incomplete(gate: cg.Gate, src: Path, dst: Path, words: str, **options: Any) -> Exception:
    """Runs, expecting that some files cannot be judged; returns the first fault."""
    with pytest.raises(cg.RunIncompleteError, match=words) as caught:
        cg.run(gate, src, dst, **options)
    assert not (dst / EVIDENCE / "manifest.json").exists()
    assert isinstance(caught.value.__cause__, Exception)
    return caught.value.__cause__
