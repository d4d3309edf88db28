"""The manifest: what judged a run's files, and what became of them.

Its JSON schema is `manifest.schema.json`, beside this module.
"""

from collections import Counter
from collections.abc import Iterable
from datetime import datetime
from enum import StrEnum
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import pyarrow as pa
from pyarrow.fs import FileType
from pydantic import (
    AfterValidator,
    Field,
    JsonValue,
    model_validator,
)

from consentgate.arguments import require_path
from consentgate.errors import ConservationError, ManifestError
from consentgate.identity import DatedInput, Digest, GateIdentity, Instant, Record
from consentgate.runs.records import parse_record, to_json
from consentgate.runs.source import Partition, PartitionValue
from consentgate.storage import (
    MANIFEST,
    STATE,
    Folder,
    digest_json,
    is_hidden,
    is_plain,
    ledger_name,
)


def _plain(path: str) -> str:
    if not is_plain(path):
        raise ValueError("a path must lead down from its folder, without '..'")
    return path


def _ascending(digests: tuple[str, ...]) -> tuple[str, ...]:
    if any(before >= digest for before, digest in pairwise(digests)):
        raise ValueError("digests must be in order, each named once")
    return digests


def _typed(partition: tuple[PartitionValue, ...]) -> tuple[PartitionValue, ...]:
    names = [column.name for column in partition]
    try:
        for column in partition:
            column.scalar()
    except (pa.ArrowException, ValueError):
        raise ValueError("a partition's value must be of its type") from None
    if len(set(names)) < len(names):
        raise ValueError("a partition's columns must have different names")
    return partition


PlainPath = Annotated[str, AfterValidator(_plain)]
Count = Annotated[int, Field(ge=0, le=2**63 - 1)]
Sum = Annotated[int, Field(ge=0, le=2**96)]
"""Holds the sum over any number of files."""


class InstantFrom(StrEnum):
    """Who gave an instant of judgement: the caller, the gate, or this machine's clock."""

    ARGUMENT = "argument"
    GATE = "gate"
    CLOCK = "clock"


class WrittenFile(Record):
    """A file below the run's destination.

    Attributes:
        path: its path below the destination, with forward slashes.
        size_bytes, rows: its size.
        sha256: of its bytes.
    """

    path: PlainPath
    size_bytes: Count
    rows: Count
    sha256: Digest


class ReadFile(WrittenFile):
    """A file below the run's source, as it was when it was judged.

    Attributes:
        version: the time of its modification, in nanoseconds since 1970, or the object's etag.
        partition: the columns that its folders' names stand for.
    """

    version: str
    partition: Annotated[Partition, AfterValidator(_typed)]


class Outcome(Record):
    """The fate of one file's rows.

    Attributes:
        input: the messages.
        output: its admitted rows.
        counts: excluded rows by primary reason.
        occurrences: excluded rows by every reason that applies.
    """

    input: ReadFile
    output: WrittenFile
    counts: dict[str, Count]
    occurrences: dict[str, Count]

    @model_validator(mode="after")
    def _has_one_name(self) -> Self:
        """Outputs are called as their inputs are."""
        if self.output.path != self.input.path or is_hidden(self.input.path):
            raise ValueError("an output must have its input's path, which must not be hidden")
        return self


class FileRecord(Outcome):
    """The fate of one file's rows, and where the ledger records it.

    Attributes:
        ledger: the part of the ledger that holds its excluded rows.
    """

    ledger: WrittenFile

    @model_validator(mode="after")
    def _has_its_ledger(self) -> Self:
        """Parts of the ledger are called after their inputs."""
        if self.ledger.path != ledger_name(self.input.path):
            raise ValueError("a part of the ledger must be called after its input")
        return self


class Totals(Record):
    """Rows of all files together."""

    rows: Sum
    admitted: Sum
    excluded: Sum
    counts: dict[str, Sum]
    occurrences: dict[str, Sum]

    @classmethod
    def of(cls, files: Iterable[FileRecord]) -> "Totals":
        """The sums over some files."""
        rows: Counter[str] = Counter()
        counts: Counter[str] = Counter()
        occurrences: Counter[str] = Counter()
        for file in files:
            rows += Counter(
                rows=file.input.rows, admitted=file.output.rows, excluded=file.ledger.rows
            )
            counts += Counter(file.counts)
            occurrences += Counter(file.occurrences)
        return cls(
            rows=rows["rows"],
            admitted=rows["admitted"],
            excluded=rows["excluded"],
            counts=dict(counts),
            occurrences=dict(occurrences),
        )


class Judgement(Record):
    """All that decides a row's fate: files judged by equal ones need not be judged again.

    Attributes:
        gate_digest: of policy, snapshot, registry and columns.
        version: of consentgate.
        judged_at: the instant of judgement, one for all rows.
    """

    gate_digest: Digest
    version: str
    judged_at: Instant


class Seen(Record):
    """All snapshots, or all registries, of one instant that judged in a destination.

    Attributes:
        as_of: the instant as of which they speak.
        digests: of their contents, in order; more than one where they differ.
    """

    as_of: Instant
    digests: Annotated[tuple[Digest, ...], Field(min_length=1), AfterValidator(_ascending)]

    @classmethod
    def of(cls, data: DatedInput) -> "Seen":
        """One snapshot or registry."""
        return cls(as_of=data.as_of, digests=(data.digest,))

    def joined(self, other: "Seen") -> "Seen":
        """The newer; both where they are as of the same instant."""
        if self.as_of != other.as_of:
            return max(self, other, key=lambda seen: seen.as_of)
        both = {*self.digests, *other.digests}
        return Seen(as_of=self.as_of, digests=tuple(sorted(both)))


class Newest(Record):
    """The newest of all that has judged in a destination.

    Attributes:
        consent: the newest consent snapshot; all of them where several have its `as_of`.
        channels: likewise the newest channel registry; None where no run had one.
        judged_at: the latest instant of judgement.
    """

    consent: Seen
    channels: Seen | None
    judged_at: Instant

    @classmethod
    def of(cls, gate: GateIdentity, judged_at: datetime) -> "Newest":
        """The states of snapshot, registry and instant that one run judges by."""
        return cls(
            consent=Seen.of(gate.consent),
            channels=None if gate.channels is None else Seen.of(gate.channels),
            judged_at=judged_at,
        )

    def joined(self, later: "Newest") -> "Newest":
        """The newer of each; both where they are as of the same instant."""
        channels = [each.channels for each in (self, later) if each.channels is not None]
        return Newest(
            consent=self.consent.joined(later.consent),
            channels=channels[0].joined(channels[-1]) if channels else None,
            judged_at=max(self.judged_at, later.judged_at),
        )

    def covers(self, other: "Newest") -> bool:
        """Whether nothing of another is newer than this, or is missing here."""
        return self.joined(other) == self

    def what_is_older(self, before: "Newest") -> str:
        """How this is older than what judged before, in words; empty where it is not."""
        for what, own, other in (
            ("consent snapshot", self.consent, before.consent),
            ("channel registry", self.channels, before.channels),
        ):
            if own is None or other is None:
                continue
            if own.as_of < other.as_of:
                return f"its {what} is as of {own.as_of}, an earlier one as of {other.as_of}"
            if own.as_of == other.as_of and not {*other.digests} <= {*own.digests}:
                return (
                    f"its {what} and an earlier one are both as of {own.as_of} but differ, so it "
                    "cannot be told which of them is newer"
                )
        if self.judged_at < before.judged_at:
            return (
                f"it judges as at {self.judged_at}, an earlier run as at {before.judged_at}, and "
                "consents that have expired in between would count again"
            )
        return ""


class PartRecord(Record):
    """The record in the metadata of a part of the ledger, so that the part can be used again."""

    judgement: Judgement
    outcome: Outcome


class SealedFile(Record):
    """The record that a signed run seals as soon as a file is done.

    Attributes:
        source: as in the manifest.
    """

    judgement: Judgement
    source: str
    file: FileRecord


class Manifest(Record):
    """The evidence of one run.

    Attributes:
        format: which version of this format it has.
        judgement: what decided every row's fate, in short.
        libraries: the versions of Python and of what judges and writes.
        identity: what decided every row's fate, part by part.
        policy: the policy in full, as JSON in the form that its digest is made of.
        newest: the newest snapshot, registry and instant that a run judged by in this destination,
            this run among them.
        allowed_older_snapshot: whether this run's own are older than some of these, which
            `allow_older_snapshot` was given for.
        gate_file: the path of the saved gate, if it was opened from one.
        source: the folder, or the folder and pattern, of the messages.
        started_at, finished_at: by this machine's clock; a resumed run started when it first did.
        files: every input, its output and its part of the ledger, by the input's path.
        totals: their sums.
        previous: the digest of the manifest that this one follows in its destination.
        digest: the SHA-256 of all of the above, as canonical JSON.
    """

    format: Literal["consentgate-manifest-3"] = "consentgate-manifest-3"
    judgement: Judgement
    libraries: dict[str, str]
    identity: GateIdentity
    policy: dict[str, JsonValue]
    newest: Newest
    allowed_older_snapshot: bool
    gate_file: str | None
    source: str
    started_at: Instant
    finished_at: Instant
    files: tuple[FileRecord, ...]
    totals: Totals
    previous: Digest | None
    digest: Digest

    @model_validator(mode="after")
    def _names_files_once(self) -> Self:
        """Files stand in order, so that none stands there twice."""
        paths = [record.input.path for record in self.files]
        if any(before >= path for before, path in pairwise(paths)):
            raise ValueError("files must be in the order of their paths, each named once")
        return self

    def __repr_args__(self) -> Iterable[tuple[str | None, Any]]:
        """How many files and rows, by what they were judged, and no file's name."""
        totals = self.totals
        yield "files", len(self.files)
        yield from (("rows", totals.rows), ("admitted", totals.admitted))
        yield from (("excluded", totals.excluded), ("policy", self.policy.get("name")))
        yield "judged_at", self.judgement.judged_at.isoformat()
        yield "digest", self.digest[:12]

    @classmethod
    def sealed(cls, **fields: Any) -> "Manifest":
        """A manifest of these fields, with its digest.

        Raises:
            ConservationError: Admitted and excluded rows do not add up to the input's.
        """
        draft = cls(**fields, digest="0" * 64)
        refuse_loss(draft.source, draft.totals)
        return draft.model_copy(update={"digest": draft.content_digest()})

    @classmethod
    def read(cls, path: str | Path) -> "Manifest":
        """Read the manifest of a run.

        It is checked against its own digest, but not against the run's files; `audit` does that.

        Args:
            path: the run's destination, or the manifest's own file, as a path or as a `file://`,
                `s3://` or `gs://` URI.

        Raises:
            TypeError: `path` is no path.
            SourceError: Nothing can be read there.
            ManifestError: There is no manifest, or it is malformed, or was altered.
            UnreadableFileError: It cannot be read.
        """
        require_path(path, "path")
        folder, name = Folder.at(path), MANIFEST
        if folder.kind() == FileType.File:
            parent, _, name = folder.root.rpartition("/")
            folder = Folder(folder.filesystem, parent)
        manifest = cls.find(folder, name)
        if manifest is None:
            raise ManifestError(
                f"There is no manifest in '{folder}'; check the path, or run again to let the run "
                "end."
            )
        return manifest

    @classmethod
    def find(cls, folder: Folder, name: str = MANIFEST) -> "Manifest | None":
        """The manifest in a folder that is open already, or None where there is none.

        Raises:
            ManifestError: It is malformed, or was altered.
            UnreadableFileError: It cannot be read.
        """
        content = folder.read(name)
        if content is None:
            return None
        manifest = parse_record(cls, content, folder.shown(name))
        if manifest.digest != manifest.content_digest() or content != to_json(manifest):
            raise ManifestError(
                f"Manifest '{folder.shown(name)}' was altered: it is not what was written under "
                "the digest that it names. Take it from a backup, or run into another folder."
            )
        return manifest

    @property
    def own(self) -> Newest:
        """The states that this run judged by."""
        return Newest.of(self.identity, self.judgement.judged_at)

    def content_digest(self) -> str:
        """The SHA-256 of everything but the digest itself."""
        return digest_json(self.model_dump(mode="json", exclude={"digest"}))


class RunState(Record):
    """A run that has begun and not ended.

    Attributes:
        format: which version of this format it has.
        judgement: what decides every row's fate.
        instant_from: where the instant of judgement is from.
        source: as in the manifest.
        started_at: when it first began.
        previous: the digest of the manifest that it follows.
        newest: as in the manifest.
        seal: a signature over the rest, where the run is to be signed.
    """

    format: Literal["consentgate-run-1"] = "consentgate-run-1"
    judgement: Judgement
    instant_from: InstantFrom
    source: str
    started_at: Instant
    previous: Digest | None
    newest: Newest
    seal: str | None = None

    @classmethod
    def read(cls, folder: Folder) -> "RunState | None":
        """The state in a run's destination, if there is one.

        Raises:
            ManifestError: It is malformed.
            UnreadableFileError: It cannot be read.
        """
        content = folder.read(STATE)
        return None if content is None else parse_record(cls, content, folder.shown(STATE))

    def has_ended(self, manifest: Manifest) -> bool:
        """Whether a manifest in the same destination is this run's own, and not an earlier one."""
        return self.previous != manifest.digest


def refuse_loss(name: str, totals: Totals) -> None:
    """Raise an error unless every row has exactly one fate.

    Raises:
        ConservationError: One was lost or doubled.
    """
    if fault := loss(totals):
        raise ConservationError(
            f"'{name}' {fault}, so it counts as not judged. Please report this, with the versions "
            "in use."
        )


def loss(totals: Totals) -> str:
    """The numbers that do not add up, in words; empty where every row has exactly one fate."""
    reasons = sum(totals.counts.values())
    if totals.admitted + totals.excluded == totals.rows and reasons == totals.excluded:
        return ""
    return (
        f"has {totals.rows} rows, of which {totals.admitted} were admitted, {totals.excluded} "
        f"excluded and {reasons} given a reason, which does not add up"
    )
