"""Gates as files: what judging takes, taken apart into arrays and a description, and back.

A file holds no consent records and no readable string id: strings are there as fingerprints under
a secret that the file holds too, so whoever has the file can test whether an id is in it, but not
list the ids. Integer ids and UUIDs are there as they are.
"""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from consentgate.errors import OutputError, ReplacedGateError, UnreadableFileError
from consentgate.index import Bounds, Index, PerfectHash
from consentgate.judging.channel_facts import ChannelFacts
from consentgate.judging.consent_facts import ConsentFacts
from consentgate.judging.gate_description import (
    BoundsPart,
    ChannelPart,
    ConsentPart,
    Description,
    IndexPart,
    JudgePart,
)
from consentgate.judging.judgement import Judge
from consentgate.storage import absolute, damaged, open_sections, write_sections

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
    """The parts of a gate that its file keeps.

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
    path = absolute(path, OutputError)
    arrays: Arrays = {}
    description = Description(
        policy=gate.judge.policy,
        columns=gate.judge.columns,
        judged_at=gate.judged_at,
        evidence=gate.evidence,
        sources=gate.sources,
        judge=_take_apart(gate.judge, arrays),
    )
    content = description.model_dump(mode="json")
    return GateFile(path, write_sections(path, content, arrays))


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
            version, or truncated, altered or blank, or what it says does not fit together.
        ReplacedGateError: It has another digest.
    """
    path = absolute(path, UnreadableFileError)
    content, arrays, found = open_sections(path, verify=verify)
    if digest is not None and found != digest:
        raise ReplacedGateError(
            f"Gate file '{path}' holds another gate than when this one was saved or opened there; "
            "open the new one with Gate.open, or bring the old file back."
        )
    try:
        description = Description.read(content, arrays, verify=verify)
    except ValueError as error:
        raise damaged(path, f"does not describe a gate ({error})") from None
    judge = _put_together(description, arrays)
    gate = SavedGate(judge, description.judged_at, description.evidence, description.sources)
    return gate, GateFile(path, found)


def preload(judge: Judge) -> None:
    """Look at every page of what judges, so that it is in memory and in this process's map."""
    arrays: Arrays = {}
    _take_apart(judge, arrays)
    for array in arrays.values():
        array.reshape(-1).view(np.uint8)[::_PAGE].sum()


def _take_apart(judge: Judge, arrays: Arrays) -> JudgePart:
    """A judge's parts without their arrays, which are added to `arrays`."""
    consent, channels = judge.consent, judge.channels
    return JudgePart(
        consent=ConsentPart(
            index=_index_part("consent", consent.index, arrays),
            reason_bits=consent.reason_bits,
            valid_from=_bounds_part("consent.valid_from", consent.valid_from, arrays),
            valid_until=_bounds_part("consent.valid_until", consent.valid_until, arrays),
        ),
        channels=None if channels is None else _channel_part(channels, arrays),
        snapshot_as_of=judge.snapshot_as_of,
        registry_as_of=judge.registry_as_of,
        subject_family=judge.subject_family,
        channel_family=judge.channel_family,
    )


def _channel_part(channels: ChannelFacts, arrays: Arrays) -> ChannelPart:
    return ChannelPart(
        index=_index_part("channels", channels.index, arrays),
        public_since=_bounds_part("channels.public_since", channels.public_since, arrays),
    )


def _put_together(description: Description, arrays: Arrays) -> Judge:
    parts = description.judge
    consent, channels = parts.consent, parts.channels
    return Judge(
        description.policy,
        description.columns,
        ConsentFacts(
            _index("consent", consent.index, arrays),
            consent.reason_bits,
            _bounds("consent.valid_from", consent.valid_from, arrays),
            _bounds("consent.valid_until", consent.valid_until, arrays),
        ),
        None if channels is None else _channels(channels, arrays),
        parts.snapshot_as_of,
        parts.registry_as_of,
        parts.subject_family,
        parts.channel_family,
    )


def _channels(part: ChannelPart, arrays: Arrays) -> ChannelFacts:
    index = _index("channels", part.index, arrays)
    return ChannelFacts(index, _bounds("channels.public_since", part.public_since, arrays))


def _index_part(name: str, index: Index, arrays: Arrays) -> IndexPart:
    arrays[f"{name}.pilots"] = index.places.pilots
    arrays[f"{name}.entries"] = index.entries
    return IndexPart(
        seed=index.seed.hex(),
        is_signed=index.is_signed,
        bucket_bits=index.places.bucket_bits,
        part_slots=index.places.part_slots,
    )


def _index(name: str, part: IndexPart, arrays: Arrays) -> Index:
    places = PerfectHash(part.bucket_bits, part.part_slots, arrays[f"{name}.pilots"])
    entries = arrays[f"{name}.entries"]
    return Index(bytes.fromhex(part.seed), part.is_signed, places, entries)


def _bounds_part(name: str, bounds: Bounds | None, arrays: Arrays) -> BoundsPart | None:
    if bounds is None:
        return None
    arrays[f"{name}.rests"] = bounds.rests
    return BoundsPart(
        first_bit=bounds.first_bit, bits=bounds.bits, shift=bounds.shift, base=bounds.base
    )


def _bounds(name: str, part: BoundsPart | None, arrays: Arrays) -> Bounds | None:
    return None if part is None else Bounds(**dict(part), rests=arrays[f"{name}.rests"])
