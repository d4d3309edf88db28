"""Gates that are told apart by their numbers, stores of them, and what stores point to."""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

import consentgate as cg
from tests.build import channel_table, consent_table, message_table

SUBJECTS = 2_000
NOW = datetime.now(UTC)
BASE = NOW - timedelta(hours=1)
AT_ONCE = timedelta(0)
POINTER = "current.json"


def withdrawn(number: int) -> Any:
    """Which subjects withdrew, in the numbered gate: others in every one."""
    return np.random.default_rng(number).random(SUBJECTS) < 0.5


def expected_bits(number: int) -> Any:
    """What the numbered gate decides of `messages()`."""
    return np.where(withdrawn(number), cg.Reason.CONSENT_WITHDRAWN, 0)


def numbered_gate(
    number: int,
    *,
    as_of: datetime | None = None,
    registry_as_of: datetime | None = None,
    **policy: Any,
) -> cg.Gate:
    """A gate as of so many milliseconds after BASE."""
    as_of = as_of or BASE + timedelta(milliseconds=number)
    status = np.where(withdrawn(number), "withdrawn", "given")
    table = consent_table(subject_id=range(SUBJECTS), status=pa.array(status))
    consent = cg.ConsentSnapshot.from_arrow(table, as_of=as_of)
    channels = cg.ChannelRegistry.from_arrow(channel_table(), as_of=registry_as_of or as_of)
    return cg.Gate(cg.Policy(**policy), consent, channels)


def messages() -> pa.Table:
    """A message of each subject."""
    return message_table(sender_id=range(SUBJECTS))


def seen(judge: cg.Gate | cg.LiveGate) -> str | None:
    """By which gate messages are judged now."""
    return judge.decide(message_table()).gate_digest


def pointer(place: Path) -> dict[str, Any]:
    """What the pointer says."""
    content: dict[str, Any] = json.loads((place / POINTER).read_bytes())
    return content


def set_pointer(place: Path, content: Any) -> None:
    """Let the pointer say something else."""
    draft = place / "draft"
    draft.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    draft.replace(place / POINTER)


def renumbered(place: Path, said: dict[str, Any], number: int) -> dict[str, Any]:
    """What a pointer says of the same gate under another number, whose file is there."""
    name = f"{number:08}{said['name'][said['name'].index('-') :]}"
    os.link(place / said["name"], place / name)
    return {**said, "number": number, "name": name}


def gate_files(place: Path) -> list[str]:
    """The gates' files, oldest first."""
    return sorted(path.name for path in place.glob("*.gate"))


def flip(path: Path, at: int) -> None:
    """Alter one bit of a gate's file; places from 16 on are counted behind its head."""
    content = bytearray(path.read_bytes())
    head_size = int.from_bytes(content[12:16], "little")
    content[at if at < 16 else head_size + at] ^= 1
    path.write_bytes(content)


def bring_back_pointer(place: Path, gates: list[cg.Gate]) -> None:
    """Publish some gates, then bring the pointer back that there was before them."""
    store, old = cg.GateStore(place), pointer(place)
    for gate in gates:
        store.publish(gate)
    set_pointer(place, old)


def lose_pointer(place: Path, gates: list[cg.Gate]) -> None:
    """Publish some gates, then lose the pointer."""
    bring_back_pointer(place, gates)
    (place / POINTER).unlink()


LOSSES = [lose_pointer, bring_back_pointer]


@contextmanager
def running(processes: list[Any]) -> Iterator[None]:
    """The processes run while the block does, and a little longer."""
    with warnings.catch_warnings():
        # Python 3.12 and later warn that forking with threads may deadlock: what this is about
        warnings.simplefilter("ignore")
        for process in processes:
            process.start()
    try:
        yield
    finally:
        for process in processes:
            process.join(timeout=10)
            process.kill()
