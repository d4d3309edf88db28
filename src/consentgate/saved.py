"""Gates as files: what judging takes, taken apart into arrays and a description, and back.

A file holds no consent records and no readable string id: strings are there as fingerprints under
a secret that the file holds too, so whoever has the file can test whether an id is in it, but not
list the ids. Integer ids and UUIDs are there as they are.
"""

from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from consentgate._bounds import Bounds
from consentgate._ids import IdFamily
from consentgate._perfect_hash import PerfectHash
from consentgate._sections import open_sections, write_sections
from consentgate.columns import Columns
from consentgate.errors import ReplacedGateError
from consentgate.facts import ChannelFacts, ConsentFacts
from consentgate.index import Index
from consentgate.judgement import Judge
from consentgate.policy import Policy

__all__ = ["GateFile", "SavedGate", "open_gate", "preload", "save_gate"]

Arrays = dict[str, npt.NDArray[Any]]

_PAGE = 4096


@dataclass(frozen=True)
class GateFile:
    """Which file a gate is in.

    Attributes:
        path: absolute.
        digest: the SHA-256 that stands for the file's content.
    """

    path: Path
    digest: str


@dataclass(frozen=True)
class SavedGate:
    """What is kept of a gate.

    Attributes:
        judge: all that judging takes.
        judged_at: the instant of judgement, if the gate has one of its own.
        evidence: what ledgers carry in their metadata.
        sources: where snapshot and registry came from.
    """

    judge: Judge
    judged_at: datetime | None
    evidence: dict[str, str]
    sources: dict[str, str]


def save_gate(path: Path, gate: SavedGate) -> GateFile:
    """Write a gate's file, which appears complete or not at all.

    Raises:
        OutputError: It cannot be written.
    """
    path = path.absolute()
    arrays: Arrays = {}
    description = {
        "policy": gate.judge.policy.model_dump(mode="json"),
        "columns": asdict(gate.judge.columns),
        "judged_at": None if gate.judged_at is None else gate.judged_at.isoformat(),
        "evidence": gate.evidence,
        "sources": gate.sources,
        "judge": _take_apart(gate.judge, arrays),
    }
    return GateFile(path, write_sections(path, description, arrays))


def open_gate(
    path: Path, *, verify: bool = False, digest: str | None = None
) -> tuple[SavedGate, GateFile]:
    """Map a gate's file into memory.

    Args:
        verify: check every byte, and not only what can be checked in constant time.
        digest: of the file that has to be there; None takes any.

    Raises:
        UnreadableFileError: The file is not there or cannot be read.
        ForeignGateError, NewerGateError, DamagedGateError: It is no saved gate, or of a newer
            version, or truncated, altered or blank.
        ReplacedGateError: It has another digest.
    """
    path = path.absolute()
    description, arrays, found = open_sections(path, verify=verify)
    if digest is not None and found != digest:
        raise ReplacedGateError(
            f"Gate file '{path}' holds another gate than when this one was saved or opened there; "
            "open the new one with Gate.open, or bring the old file back."
        )
    judge = _put_together(description, arrays)
    at = description["judged_at"]
    judged_at = None if at is None else datetime.fromisoformat(at)
    return SavedGate(judge, judged_at, description["evidence"], description["sources"]), GateFile(
        path, found
    )


def preload(judge: Judge) -> None:
    """Look at every page of what judges, so that it is in memory and in this process's map."""
    arrays: Arrays = {}
    _take_apart(judge, arrays)
    for array in arrays.values():
        array.reshape(-1).view(np.uint8)[::_PAGE].sum()


def _take_apart(judge: Judge, arrays: Arrays) -> dict[str, Any]:
    consent, channels = judge.consent, judge.channels
    return {
        "consent": {
            "index": _index_parts("consent", consent.index, arrays),
            "reason_bits": consent.reason_bits,
            "valid_from": _bounds_parts("consent.valid_from", consent.valid_from, arrays),
            "valid_until": _bounds_parts("consent.valid_until", consent.valid_until, arrays),
        },
        "channels": channels
        and {
            "index": _index_parts("channels", channels.index, arrays),
            "public_since": _bounds_parts("channels.public_since", channels.public_since, arrays),
        },
        "snapshot_as_of": judge.snapshot_as_of,
        "registry_as_of": judge.registry_as_of,
        "subject_family": judge.subject_family,
        "channel_family": judge.channel_family,
    }


def _put_together(description: Any, arrays: Arrays) -> Judge:
    parts = description["judge"]
    consent, channels, family = parts["consent"], parts["channels"], parts["channel_family"]
    return Judge(
        Policy.model_validate(description["policy"]),
        Columns(**description["columns"]),
        ConsentFacts(
            _index("consent", consent["index"], arrays),
            consent["reason_bits"],
            _bounds("consent.valid_from", consent["valid_from"], arrays),
            _bounds("consent.valid_until", consent["valid_until"], arrays),
        ),
        channels
        and ChannelFacts(
            _index("channels", channels["index"], arrays),
            _bounds("channels.public_since", channels["public_since"], arrays),
        ),
        parts["snapshot_as_of"],
        parts["registry_as_of"],
        IdFamily(parts["subject_family"]),
        None if family is None else IdFamily(family),
    )


def _index_parts(name: str, index: Index, arrays: Arrays) -> dict[str, Any]:
    arrays[f"{name}.pilots"] = index.places.pilots
    arrays[f"{name}.entries"] = index.entries
    return {
        "seed": index.seed.hex(),
        "is_signed": index.is_signed,
        "bucket_bits": index.places.bucket_bits,
        "part_slots": index.places.part_slots,
    }


def _index(name: str, parts: dict[str, Any], arrays: Arrays) -> Index:
    return Index(
        bytes.fromhex(parts["seed"]),
        parts["is_signed"],
        PerfectHash(parts["bucket_bits"], parts["part_slots"], arrays[f"{name}.pilots"]),
        arrays[f"{name}.entries"],
    )


def _bounds_parts(name: str, bounds: Bounds | None, arrays: Arrays) -> dict[str, Any] | None:
    if bounds is None:
        return None
    arrays[f"{name}.rests"] = bounds.rests
    return {
        "first_bit": bounds.first_bit,
        "bits": bounds.bits,
        "shift": bounds.shift,
        "base": bounds.base,
    }


def _bounds(name: str, parts: dict[str, Any] | None, arrays: Arrays) -> Bounds | None:
    return None if parts is None else Bounds(**parts, rests=arrays[f"{name}.rests"])
