"""The manifest of a run, and the other records about its files.

The JSON schema of the manifest is `manifest.schema.json`, in the same folder.
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
"""A sum over any number of files."""


class InstantFrom(StrEnum):
    """Where an instant of judgement comes from: the caller, the gate, or this machine's clock."""

    ARGUMENT = "argument"
    GATE = "gate"
    CLOCK = "clock"


class WrittenFile(Record):
    """A file below the run's destination.

    Attributes:
        path: the path below the destination, with forward slashes.
        size_bytes, rows: its size in bytes and in rows.
        sha256: the SHA-256 of its bytes.
    """

    path: PlainPath
    size_bytes: Count
    rows: Count
    sha256: Digest


class ReadFile(WrittenFile):
    """A file below the run's source, as it was when it was judged.

    Attributes:
        version: the time of its modification, in nanoseconds since 1970, or the object's etag.
        partition: the columns and values in the names of its folders.
    """

    version: str
    partition: Annotated[Partition, AfterValidator(_typed)]


class Outcome(Record):
    """The fate of one file's rows.

    Attributes:
        input: the file of messages.
        output: the file of its admitted rows.
        counts: the number of excluded rows by primary reason.
        occurrences: the number of excluded rows that each reason applies to.
    """

    input: ReadFile
    output: WrittenFile
    counts: dict[str, Count]
    occurrences: dict[str, Count]

    @model_validator(mode="after")
    def _has_one_name(self) -> Self:
        """Raise an error unless the output has the name of its input."""
        if self.output.path != self.input.path or is_hidden(self.input.path):
            raise ValueError("an output must have its input's path, which must not be hidden")
        return self


class FileRecord(Outcome):
    """The fate of one file's rows, and the part of the ledger that records it.

    Attributes:
        ledger: the part of the ledger with its excluded rows.
    """

    ledger: WrittenFile

    @model_validator(mode="after")
    def _has_its_ledger(self) -> Self:
        """Raise an error unless the part of the ledger is named after its input."""
        if self.ledger.path != ledger_name(self.input.path):
            raise ValueError("a part of the ledger must be named after its input")
        return self


class Totals(Record):
    """The sums over the rows of all files."""

    rows: Sum
    admitted: Sum
    excluded: Sum
    counts: dict[str, Sum]
    occurrences: dict[str, Sum]

    @classmethod
    def of(cls, files: Iterable[FileRecord]) -> "Totals":
        """Add up the rows of some files."""
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
    """All that decides a row's fate. A file is not judged again by an equal judgement.

    Attributes:
        gate_digest: the digest of the gate's identity.
        version: the version of consentgate.
        judged_at: the instant of judgement, which is the same for all rows.
    """

    gate_digest: Digest
    version: str
    judged_at: Instant


class Seen(Record):
    """All snapshots, or all registries, with one `as_of` that runs in a destination judged by.

    Attributes:
        as_of: the instant whose facts they hold.
        digests: the digests of their contents, in order. There are several if they differ.
    """

    as_of: Instant
    digests: Annotated[tuple[Digest, ...], Field(min_length=1), AfterValidator(_ascending)]

    @classmethod
    def of(cls, data: DatedInput) -> "Seen":
        """Make one of a snapshot or registry."""
        return cls(as_of=data.as_of, digests=(data.digest,))

    def joined(self, other: "Seen") -> "Seen":
        """The newer one of two; both together if they have the same `as_of`."""
        if self.as_of != other.as_of:
            return max(self, other, key=lambda seen: seen.as_of)
        both = {*self.digests, *other.digests}
        return Seen(as_of=self.as_of, digests=tuple(sorted(both)))


class Newest(Record):
    """The newest snapshot, registry and instant that runs in a destination judged by.

    Attributes:
        consent: the newest consent snapshot, with all others of the same `as_of`.
        channels: the newest channel registry, likewise; None if no run had one.
        judged_at: the latest instant of judgement.
    """

    consent: Seen
    channels: Seen | None
    judged_at: Instant

    @classmethod
    def of(cls, gate: GateIdentity, judged_at: datetime) -> "Newest":
        """Make one of the snapshot, registry and instant that one run judges by."""
        return cls(
            consent=Seen.of(gate.consent),
            channels=None if gate.channels is None else Seen.of(gate.channels),
            judged_at=judged_at,
        )

    def joined(self, later: "Newest") -> "Newest":
        """The newer snapshot, registry and instant of two; both if they have the same `as_of`."""
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
        """A phrase that says how this is older than what judged before. Empty if it is not."""
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
                    f"its {what} and an earlier one are both as of {own.as_of} but differ, so "
                    "nobody can tell which of them is newer"
                )
        if self.judged_at < before.judged_at:
            return (
                f"its instant of judgement is {self.judged_at}, that of an earlier run was "
                f"{before.judged_at}, and consents that have expired in between would count again"
            )
        return ""


class PartRecord(Record):
    """The record in the metadata of a part of the ledger, by which a resumed run can keep it."""

    judgement: Judgement
    outcome: Outcome


class SealedFile(Record):
    """The record that a signed run seals as soon as a file is done.

    Attributes:
        judgement: the judgement of the run.
        source: the source's label, as in the manifest.
        file: what became of the file.
    """

    judgement: Judgement
    source: str
    file: FileRecord


class Manifest(Record):
    """The evidence of one run.

    Attributes:
        format: the name and number of the format.
        judgement: the digest of the gate, the version and the instant of judgement.
        libraries: the versions of Python and of the libraries, by name.
        identity: the identity of the gate.
        policy: the whole policy, in the canonical form that its digest is computed from.
        newest: the newest snapshot, registry and instant that runs in this destination have judged
            by, this run included.
        allowed_older_snapshot: whether this run's own snapshot, registry or instant is older than
            one of these, which `allow_older_snapshot` allowed.
        gate_file: the path of the gate's file; None if it has none.
        source: the folder, or the folder and pattern, of the messages.
        started_at, finished_at: when the run began and ended, by this machine's clock. A resumed
            run began when it was first started.
        files: every input with its output and its part of the ledger, in the order of the inputs'
            paths.
        totals: the sums over all files.
        previous: the digest of the manifest that this one follows in its destination; None if it is
            the first.
        digest: the SHA-256 of all other fields, as canonical JSON.
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
        """Raise an error unless files are in order, which also shows that each is named once."""
        paths = [record.input.path for record in self.files]
        if any(before >= path for before, path in pairwise(paths)):
            raise ValueError("files must be in the order of their paths, each named once")
        return self

    def __repr_args__(self) -> Iterable[tuple[str | None, Any]]:
        """Show the numbers of files and rows, and what judged them. No file is named."""
        totals = self.totals
        yield "files", len(self.files)
        yield from (("rows", totals.rows), ("admitted", totals.admitted))
        yield from (("excluded", totals.excluded), ("policy", self.policy.get("name")))
        yield "judged_at", self.judgement.judged_at.isoformat()
        yield "digest", self.digest[:12]

    @classmethod
    def sealed(cls, **fields: Any) -> "Manifest":
        """Make a manifest of these fields, and add its digest.

        Raises:
            ConservationError: Admitted and excluded rows do not add up to the input's.
        """
        draft = cls(**fields, digest="0" * 64)
        refuse_loss(draft.source, draft.totals)
        return draft.model_copy(update={"digest": draft.content_digest()})

    @classmethod
    def read(cls, path: str | Path) -> "Manifest":
        """Read the manifest of a run.

        It is checked against its own digest, but not against the run's files. `audit` does that.

        Args:
            path: the destination of the run, or the file of the manifest, as a path or as a
                `file://`, `s3://` or `gs://` URI.

        Raises:
            TypeError: `path` is not a path.
            SourceError: The URI is malformed, or the folder cannot be reached.
            NewerEvidenceError: A newer version wrote the manifest.
            ManifestError: There is no manifest, or it is malformed or was altered.
            UnreadableFileError: The manifest cannot be read.
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
        """Read the manifest in a folder. None if there is none.

        Raises:
            NewerEvidenceError: A newer version wrote the manifest.
            ManifestError: The manifest is malformed or was altered.
            UnreadableFileError: The manifest cannot be read.
        """
        content = folder.read(name)
        if content is None:
            return None
        manifest = parse_record(cls, content, folder.shown(name))
        if manifest.digest != manifest.content_digest() or content != to_json(manifest):
            raise ManifestError(
                f"Manifest '{folder.shown(name)}' was altered: its content does not have the "
                "digest that it names. Restore it from a backup, or run into another folder."
            )
        return manifest

    @property
    def own(self) -> Newest:
        """The snapshot, registry and instant that this run judged by."""
        return Newest.of(self.identity, self.judgement.judged_at)

    def content_digest(self) -> str:
        """Compute the SHA-256 of all fields but the digest, in hexadecimal."""
        return digest_json(self.model_dump(mode="json", exclude={"digest"}))


class RunState(Record):
    """A run that has begun and not ended.

    Attributes:
        format: the name and number of the format.
        judgement: the digest of the gate, the version and the instant of judgement.
        instant_from: where the instant of judgement comes from.
        source: the source's label, as in the manifest.
        started_at: when the run was first started.
        previous: the digest of the manifest that this run's will follow; None if there is none.
        newest: as in the manifest.
        seal: a signature over all other fields; None if the run is not signed.
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
        """Read the state in a run's destination. None if there is none.

        Raises:
            NewerEvidenceError: A newer version wrote the state.
            ManifestError: The state is malformed.
            UnreadableFileError: The state cannot be read.
        """
        content = folder.read(STATE)
        return None if content is None else parse_record(cls, content, folder.shown(STATE))

    def has_ended(self, manifest: Manifest) -> bool:
        """Whether a manifest in the same destination is that of this run, not of an earlier one."""
        return self.previous != manifest.digest


def refuse_loss(name: str, totals: Totals) -> None:
    """Raise an error unless every row has exactly one fate.

    Raises:
        ConservationError: A row was lost or doubled.
    """
    if fault := loss(totals):
        raise ConservationError(
            f"'{name}' {fault}, so it counts as not judged. Please report this, with the versions "
            "of consentgate and pyarrow."
        )


def loss(totals: Totals) -> str:
    """A phrase with the numbers that do not add up. Empty if every row has exactly one fate."""
    reasons = sum(totals.counts.values())
    if totals.admitted + totals.excluded == totals.rows and reasons == totals.excluded:
        return ""
    return (
        f"has {totals.rows} rows; {totals.admitted} were admitted, {totals.excluded} were excluded "
        f"and {reasons} have a reason, which does not add up"
    )
