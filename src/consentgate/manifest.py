"""The manifest: what judged a run's files, and what became of them.

Its JSON schema is `manifest.schema.json`, beside this module.
"""

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from consentgate._arguments import require
from consentgate._layout import MANIFEST, STATE
from consentgate._source import Partition
from consentgate._storage import Folder
from consentgate.columns import Columns
from consentgate.errors import ConservationError, ManifestError
from consentgate.hashing import digest_json
from consentgate.policy import Policy

__all__ = [
    "Evidence",
    "FileRecord",
    "Judgement",
    "Manifest",
    "Outcome",
    "PartRecord",
    "ReadFile",
    "RunState",
    "Totals",
    "WrittenFile",
    "loss",
    "parse_record",
    "refuse_loss",
    "to_json",
]

Digest = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
Count = Annotated[int, Field(ge=0)]
Counts = dict[str, Count]
Record = TypeVar("Record", bound=BaseModel)


class _Record(BaseModel):
    """A frozen model that refuses unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Evidence(_Record):
    """A consent snapshot or a channel registry.

    Attributes:
        digest: the SHA-256 of its content, whatever the order of its rows.
        as_of: the instant as of which it speaks.
        source: where it came from, in words.
    """

    digest: Digest
    as_of: AwareDatetime
    source: str

    @classmethod
    def of(
        cls, evidence: Mapping[str, str], sources: Mapping[str, str], what: str
    ) -> "Evidence | None":
        """What a gate says about its `snapshot` or `registry`, if it has one."""
        digest = evidence.get(f"consentgate.{what}_digest")
        if digest is None:
            return None
        as_of = datetime.fromisoformat(evidence[f"consentgate.{what}_as_of"])
        return cls(digest=digest, as_of=as_of, source=sources[what])


class WrittenFile(_Record):
    """A file below the run's destination.

    Attributes:
        path: its path below the destination, with forward slashes.
        size_bytes, rows: its size.
        sha256: of its bytes.
    """

    path: str
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
    partition: Partition


class Outcome(_Record):
    """What became of one file's rows.

    Attributes:
        input: the messages.
        output: its admitted rows.
        counts: excluded rows by primary reason.
        occurrences: excluded rows by every reason that applies.
    """

    input: ReadFile
    output: WrittenFile
    counts: Counts
    occurrences: Counts


class FileRecord(Outcome):
    """What became of one file's rows, and where the ledger says so.

    Attributes:
        ledger: the part of the ledger that holds its excluded rows.
    """

    ledger: WrittenFile


class Totals(_Record):
    """Rows of all files together."""

    rows: Count
    admitted: Count
    excluded: Count
    counts: Counts
    occurrences: Counts

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


class Judgement(_Record):
    """All that decides a row's fate: files judged by equal ones need not be judged again.

    Attributes:
        gate_digest: of policy, snapshot, registry and columns.
        version: of consentgate.
        judged_at: the instant of judgement, one for all rows.
    """

    gate_digest: Digest
    version: str
    judged_at: AwareDatetime


class PartRecord(_Record):
    """What a part of the ledger says in its own metadata, so that it can be used again."""

    judgement: Judgement
    outcome: Outcome


class Manifest(_Record):
    """The evidence of one run.

    Attributes:
        format: which version of this format it has.
        judgement: what decided every row's fate, in short.
        libraries: the versions of Python and of what judges and writes.
        policy: the policy in full.
        policy_digest: its SHA-256.
        columns: where in the messages things were looked for.
        consent: the consent snapshot.
        channels: the channel registry, if there was one.
        gate_file: the path of the saved gate, if it was opened from one.
        source: the folder, or the folder and pattern, of the messages.
        started_at, finished_at: by this machine's clock; a resumed run started when it first did.
        files: every input, its output and its part of the ledger, by the input's path.
        totals: their sums.
        previous: the digest of the manifest that this one follows in its destination.
        digest: the SHA-256 of all of the above, as canonical JSON.
    """

    format: Literal["consentgate-manifest-1"] = "consentgate-manifest-1"
    judgement: Judgement
    libraries: dict[str, str]
    policy: Policy
    policy_digest: Digest
    columns: Columns
    consent: Evidence
    channels: Evidence | None
    gate_file: str | None
    source: str
    started_at: AwareDatetime
    finished_at: AwareDatetime
    files: tuple[FileRecord, ...]
    totals: Totals
    previous: Digest | None
    digest: Digest

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
    def read(cls, folder: Folder, name: str = MANIFEST) -> "Manifest | None":
        """The manifest in a run's destination, if there is one.

        Raises:
            ManifestError: It is malformed, or was altered.
            UnreadableFileError: It cannot be read.
        """
        require(folder, "folder", Folder)
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

    def content_digest(self) -> str:
        """The SHA-256 of everything but the digest itself."""
        return digest_json(self.model_dump(mode="json", exclude={"digest"}))


class RunState(_Record):
    """A run that has begun and not ended.

    Attributes:
        judgement: what decides every row's fate.
        source: as in the manifest.
        started_at: when it first began.
        previous: the digest of the manifest that it follows.
    """

    judgement: Judgement
    source: str
    started_at: AwareDatetime
    previous: Digest | None

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

    @property
    def took_the_clock(self) -> bool:
        """Whether the instant of judgement can be the one at which the run began."""
        return timedelta() <= self.started_at - self.judgement.judged_at < timedelta(days=1)


def to_json(record: BaseModel) -> bytes:
    """A record as indented JSON."""
    text = json.dumps(record.model_dump(mode="json"), indent=2, ensure_ascii=False)
    return text.encode() + b"\n"


def parse_record(kind: type[Record], content: bytes, name: str) -> Record:
    """A record from its JSON.

    Raises:
        ManifestError: It is not valid.
    """
    try:
        return kind.model_validate_json(content)
    except ValidationError as error:
        fault = error.errors()[0]
        where = ".".join(map(str, fault["loc"])) or "as a whole"
        raise ManifestError(
            f"'{name}' is no valid {kind.__name__} ({where}: {fault['msg']}); it was cut off, "
            "altered, or written by another version."
        ) from None


def refuse_loss(name: str, totals: Totals) -> None:
    """Nothing, when every row has exactly one fate.

    Raises:
        ConservationError: One was lost or doubled.
    """
    if fault := loss(totals):
        raise ConservationError(
            f"'{name}' {fault}, so it counts as not judged. Please report this, with the versions "
            "in use."
        )


def loss(totals: Totals) -> str:
    """What does not add up, in words; empty where every row has exactly one fate."""
    reasons = sum(totals.counts.values())
    if totals.admitted + totals.excluded == totals.rows and reasons == totals.excluded:
        return ""
    return (
        f"has {totals.rows} rows, of which {totals.admitted} were admitted, {totals.excluded} "
        f"excluded and {reasons} given a reason, which does not add up"
    )
