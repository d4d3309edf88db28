"""Writes gates to files, as arrays and a description of the gate, and reads them back.

A file holds no consent records and no string id that can be read. It holds fingerprints of the
strings and the secret that they are computed under. So whoever has the file can test whether an id
is in it, but cannot list the ids. Integer ids and UUIDs can be read from it.
"""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from consentgate.errors import (
    GateRulesError,
    OutputError,
    ReplacedGateError,
    UnreadableFileError,
)
from consentgate.identity import VERSION, GateIdentity
from consentgate.index import IdFamily, Index, PackedInstants
from consentgate.judging.channel_facts import CHANNEL_MEANING
from consentgate.judging.consent_facts import consent_meaning
from consentgate.judging.facts import Facts, Meaning
from consentgate.judging.gate_description import (
    DescribedFacts,
    DescribedInstants,
    DescribedJudge,
    Description,
    GateHead,
)
from consentgate.judging.judgement import Judge
from consentgate.storage import absolute, damaged, open_sections, write_sections

Arrays = dict[str, npt.NDArray[Any]]

_PAGE = 4096


@dataclass(frozen=True)
class GateFile:
    """The path and the digest of a gate's file.

    Attributes:
        path: the absolute path.
        digest: the SHA-256 of the file's head, which holds the SHA-256 of each array.
    """

    path: Path
    digest: str


@dataclass(frozen=True)
class SavedGate:
    """The parts of a gate that its file keeps.

    Attributes:
        judge: all that judging needs.
        judged_at: the gate's own instant of judgement; None if it has none.
        identity: the identity of the gate.
    """

    judge: Judge
    judged_at: datetime | None
    identity: GateIdentity


def save_gate(path: Path, gate: SavedGate) -> GateFile:
    """Write a gate's file, which appears complete or not at all.

    Raises:
        OutputError: The file cannot be written.
    """
    path = absolute(path, OutputError)
    arrays: Arrays = {}
    description = Description(
        policy=gate.judge.policy,
        columns=gate.judge.columns,
        judged_at=gate.judged_at,
        version=VERSION,
        identity=gate.identity,
        judge=_take_apart(gate.judge, arrays),
    )
    content = description.model_dump(mode="json")
    return GateFile(path, write_sections(path, content, arrays))


def open_gate(
    path: Path, *, verify: bool = False, digest: str | None = None
) -> tuple[SavedGate, GateFile]:
    """Map a gate's file into memory.

    Args:
        path: the path of the file.
        verify: check every byte, and not only what can be checked in constant time.
        digest: the digest that the file must have; None accepts any.

    Raises:
        UnreadableFileError: The file is not there or cannot be read.
        ForeignGateError: The file is not a saved gate.
        NewerGateError: The file was written by a newer version.
        DamagedGateError: The file is truncated, altered or blank, or contradicts itself.
        ReplacedGateError: The file has another digest.
        GateRulesError: The gate was made under other rules of judgement than this version's.
    """
    path = absolute(path, UnreadableFileError)
    content, arrays, actual = open_sections(path, verify=verify)
    if digest is not None and actual != digest:
        raise ReplacedGateError(
            f"Gate file '{path}' holds another gate than when this one was saved or opened there; "
            "open the new one with Gate.open, or bring the old file back."
        )
    _refuse_other_rules(path, gate_head(content, path))
    try:
        description = Description.read(content, arrays, verify=verify)
    except ValueError as error:
        raise damaged(path, f"does not describe a gate ({error})") from None
    judge = _put_together(description, arrays)
    gate = SavedGate(judge, description.judged_at, description.identity)
    return gate, GateFile(path, actual)


def gate_head(content: Any, path: Path) -> GateHead:
    """Read a gate's head from its file, even if this version cannot judge by the gate.

    Args:
        content: the description in the file's head.
        path: the path of the file, for errors.

    Raises:
        DamagedGateError: The description does not describe a gate.
    """
    try:
        return GateHead.read(content)
    except ValueError as error:
        raise damaged(path, f"does not describe a gate ({error})") from None


def _refuse_other_rules(path: Path, head: GateHead) -> None:
    if how := head.identity.other_rules:
        raise GateRulesError(
            f"Gate file '{path}' was made by consentgate {head.version} {how}; compile the gate "
            "anew from its policy, snapshot and registry."
        )


def preload(judge: Judge) -> None:
    """Read every page of a judge's arrays, so that they are in memory and mapped here."""
    arrays: Arrays = {}
    _take_apart(judge, arrays)
    for array in arrays.values():
        array.reshape(-1).view(np.uint8)[::_PAGE].sum()


def _take_apart(judge: Judge, arrays: Arrays) -> DescribedJudge:
    """A judge's parts without their arrays, which are added to `arrays`."""
    channels = judge.channels
    return DescribedJudge(
        consent=_describe_facts("consent", judge.consent, arrays),
        channels=None if channels is None else _describe_facts("channels", channels, arrays),
        snapshot_as_of=judge.snapshot_as_of,
        registry_as_of=judge.registry_as_of,
        subject_family=judge.subject_family,
        channel_family=judge.channel_family,
    )


def _put_together(description: Description, arrays: Arrays) -> Judge:
    described, policy = description.judge, description.policy
    consent = _facts(
        "consent", described.consent, described.subject_family, consent_meaning(policy), arrays
    )
    channels = None
    if described.channels is not None and described.channel_family is not None:
        channels = _facts(
            *("channels", described.channels, described.channel_family, CHANNEL_MEANING, arrays)
        )
    return Judge(
        policy,
        description.columns,
        consent,
        channels,
        described.snapshot_as_of,
        described.registry_as_of,
        described.subject_family,
        described.channel_family,
    )


def _describe_facts(name: str, facts: Facts, arrays: Arrays) -> DescribedFacts:
    index = facts.index
    arrays[f"{name}.lines"] = index.lines
    arrays[f"{name}.ranks"] = index.ranks
    return DescribedFacts(
        seed=index.seed.hex(),
        is_signed=index.is_signed,
        longest=index.longest,
        entries=index.entries,
        reason_bits=facts.meaning.reason_bits,
        since=_describe_instants(f"{name}.since", facts.since, arrays),
        until=_describe_instants(f"{name}.until", facts.until, arrays),
    )


def _facts(
    name: str,
    described: DescribedFacts,
    family: IdFamily,
    meaning: Meaning,
    arrays: Arrays,
) -> Facts:
    lines, ranks = arrays[f"{name}.lines"], arrays[f"{name}.ranks"]
    index = Index(
        *(bytes.fromhex(described.seed), family.layout, described.is_signed, lines),
        *(described.longest, ranks, described.entries),
    )
    since = _instants(f"{name}.since", described.since, arrays)
    return Facts(index, meaning, since, _instants(f"{name}.until", described.until, arrays))


def _describe_instants(
    name: str, instants: PackedInstants | None, arrays: Arrays
) -> DescribedInstants | None:
    if instants is None:
        return None
    arrays[f"{name}.rests"] = instants.rests
    return DescribedInstants(
        first_bit=instants.first_bit, bits=instants.bits, shift=instants.shift, base=instants.base
    )


def _instants(
    name: str, described: DescribedInstants | None, arrays: Arrays
) -> PackedInstants | None:
    return (
        None
        if described is None
        else PackedInstants(**dict(described), rests=arrays[f"{name}.rests"])
    )
