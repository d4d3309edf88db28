"""The identity of a gate: all that decides a row's fate, but for the instant of judgement."""

import json
import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from functools import cached_property
from importlib.metadata import version
from typing import Annotated, Any, Literal, Protocol, Self

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    PlainSerializer,
    ValidationError,
    model_validator,
)

from consentgate.columns import Columns
from consentgate.errors import ManifestError, NewerEvidenceError
from consentgate.policy import Policy
from consentgate.reasons import FIRST_RULE_BIT, REASON_WIDTH, RULES_VERSION, reason_names
from consentgate.storage import GATE_KEY, digest_json

VERSION = version("consentgate")
"""This version of consentgate, as evidence and gate files name it."""
_PREFIX = "consentgate."
_INPUTS = {"consent": "snapshot", "channels": "registry"}
"""The names of a gate's inputs in keys of metadata, by the fields of `GateIdentity`."""
_RECORDED = ("digest", "as_of")
"""The fields of `DatedInput` that are in metadata."""


def instant_text(instant: datetime) -> str:
    """An instant as evidence and gate files spell it: ISO 8601, in UTC."""
    return datetime.isoformat(instant.astimezone(UTC))  # a pandas timestamp's own differs


def _in_utc(instant: datetime) -> datetime:
    try:
        return instant.astimezone(UTC)
    except OverflowError:
        raise ValueError("an instant must lie within the years 1 to 9999 in UTC") from None


def _by_precedence(names: dict[int, str]) -> dict[int, str]:
    if len(set(names.values())) < len(names):
        raise ValueError("reasons must have different names")
    return dict(sorted(names.items()))


Digest = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
Instant = Annotated[
    AwareDatetime,
    AfterValidator(_in_utc),
    PlainSerializer(instant_text, return_type=str, when_used="json"),
]
Version = Annotated[str, Field(pattern=r"^[0-9][0-9A-Za-z.+!_-]{0,63}$")]
Bit = Annotated[int, Field(ge=0, lt=REASON_WIDTH)]


_NOT_SHOWN = {"path", "partition", "source", "gate_file"}
"""Fields that a `repr` leaves out, because they hold ids of people if folders are named by ids."""


class Record(BaseModel):
    """A frozen model that refuses unknown keys. Its `repr` shows no path and no label."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    def __repr_args__(self) -> Iterable[tuple[str | None, Any]]:
        return ((name, v) for name, v in super().__repr_args__() if name not in _NOT_SHOWN)


class Dated(Protocol):
    """A consent snapshot or channel registry, or what evidence says about one."""

    @property
    def digest(self) -> str:
        """The SHA-256 of the content, in hexadecimal."""

    @property
    def as_of(self) -> datetime:
        """The instant whose facts it holds."""

    @property
    def source(self) -> str:
        """A label that says where the data came from."""


class DatedInput(Record):
    """The identity of a consent snapshot or channel registry, without its content.

    Attributes:
        digest: the SHA-256 of the content, in hexadecimal. It does not depend on the order of rows.
        as_of: the instant whose facts the snapshot or registry holds, in UTC.
        source: a label that says where the data came from. It is empty if the identity was read
            from a ledger.
    """

    digest: Digest
    as_of: Instant
    source: str

    @classmethod
    def of(cls, data: Dated) -> Self:
        """Make the identity of a snapshot or registry."""
        return cls(digest=data.digest, as_of=data.as_of, source=data.source)


class GateIdentity(Record):
    """All that decides a row's fate, but for the instant of judgement.

    An identity holds what was recorded when it was made. Later versions read it unchanged, even if
    they have other fields in `Policy` and `Columns` or other reasons.

    Attributes:
        policy_digest: the digest of the policy.
        consent: the identity of the consent snapshot.
        channels: the identity of the channel registry; None if the gate has none.
        columns: the fields of `Columns` by name.
        reason_names: the code of every reason that could apply, by bit, in order of precedence.
        reason_width: the number of bits of `reason_bits`.
        rules_version: the number of the rules of judgement. It rises with every change to which
            rows are admitted.
    """

    model_config = ConfigDict(ignored_types=(cached_property,))

    policy_digest: Digest
    consent: DatedInput
    channels: DatedInput | None
    columns: dict[str, str | tuple[str, ...] | None]
    reason_names: Annotated[dict[Bit, str], AfterValidator(_by_precedence)]
    reason_width: Literal[32]
    rules_version: Annotated[int, Field(ge=1, le=2**31 - 1)]

    @model_validator(mode="after")
    def _names_record_ids(self) -> Self:
        if not isinstance(self.columns.get("record_id"), str):
            raise ValueError("columns must name the record ids")
        return self

    @classmethod
    def of(cls, policy: Policy, columns: Columns, consent: Dated, channels: Dated | None) -> Self:
        """Make the identity of a gate that this version compiles from these."""
        return cls(
            policy_digest=policy.digest,
            consent=DatedInput.of(consent),
            channels=None if channels is None else DatedInput.of(channels),
            columns=vars(columns),
            reason_names=reason_names(policy.rule_names),
            reason_width=REASON_WIDTH,
            rules_version=RULES_VERSION,
        )

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """A copy with changes, which are checked; nothing computed before is taken over."""
        del deep  # fields are never changed
        fields = {name: getattr(self, name) for name in type(self).model_fields}
        return type(self)(**fields | dict(update or {}))

    @cached_property
    def digest(self) -> str:
        """The SHA-256 of the identity without its `source` labels, in hexadecimal."""
        labels = {field: {"source"} for field in _INPUTS}
        return digest_json(self.model_dump(mode="json", exclude=labels))

    @property
    def other_rules(self) -> str:
        """A phrase that says how the rules of judgement differ from this version's.

        Empty if they do not differ.
        """
        if self.rules_version != RULES_VERSION:
            return (
                f"under rules {self.rules_version}, but this version ({VERSION}) judges by rules "
                f"{RULES_VERSION}"
            )
        built_in = {bit: code for bit, code in self.reason_names.items() if bit < FIRST_RULE_BIT}
        if built_in != reason_names():
            return f"with other built-in reasons than this version ({VERSION}) has"
        return ""

    @property
    def record_id(self) -> str:
        """The column of the messages' own ids."""
        return str(self.columns["record_id"])

    def to_metadata(self) -> dict[str, str]:
        """The identity as metadata of ledgers and outputs, without `source` labels.

        Keys begin with `consentgate.`. `columns` and `reason_names` are JSON.
        """
        return dict(self._metadata)

    @cached_property
    def _metadata(self) -> dict[str, str]:
        """Made once, because every batch has a ledger's schema."""
        fields = self.model_dump(mode="json")
        metadata = {GATE_KEY: self.digest, f"{_PREFIX}policy_digest": self.policy_digest}
        for field, what in _INPUTS.items():
            if fields[field] is not None:
                metadata[f"{_PREFIX}{what}_digest"] = fields[field]["digest"]
                metadata[f"{_PREFIX}{what}_as_of"] = fields[field]["as_of"]
        for field in ("columns", "reason_names", "reason_width", "rules_version"):
            metadata[f"{_PREFIX}{field}"] = json.dumps(fields[field])
        return metadata

    def is_named_by(self, metadata: Mapping[bytes, bytes]) -> bool:
        """Whether the metadata of a file or schema says this identity; its labels are not there."""
        own = self.to_metadata()
        keys = {*own, *(f"{_PREFIX}{what}_{key}" for what in _INPUTS.values() for key in _RECORDED)}
        said = {key: metadata[key.encode()] for key in keys if key.encode() in metadata}
        return said == {key: text.encode() for key, text in own.items()}

    @classmethod
    def from_metadata(cls, metadata: Mapping[bytes, bytes]) -> Self:
        """Read the identity from the metadata of a file or schema. Other keys are ignored.

        Raises:
            ManifestError: The metadata holds no identity, or one that its digest does not fit.
        """
        texts = {_text(key): _text(value) for key, value in metadata.items()}
        try:
            identity = cls.model_validate_json(json.dumps(_fields_in(texts)))
        except (KeyError, ValueError, RecursionError) as error:
            raise ManifestError(
                f"The metadata does not say which gate judged ({_fault_in(error)}); it was "
                "altered, or no run or stream wrote it."
            ) from None
        if identity.digest != texts.get(GATE_KEY):
            raise ManifestError(
                f"The gate that the metadata describes is not the one that it names in "
                f"'{GATE_KEY}'; it was altered."
            )
        return identity


def _text(content: bytes) -> str:
    return content.decode("utf-8", "replace")


def _fields_in(metadata: Mapping[str, str]) -> dict[str, object]:
    """The fields of an identity as JSON values.

    Raises:
        KeyError: A field is missing.
        ValueError, RecursionError: A field is not JSON.
    """
    fields: dict[str, object] = {"policy_digest": metadata[f"{_PREFIX}policy_digest"]}
    for field, what in _INPUTS.items():
        recorded = {key: metadata.get(f"{_PREFIX}{what}_{key}") for key in _RECORDED}
        is_absent = field == "channels" and not any(recorded.values())
        fields[field] = None if is_absent else {**recorded, "source": ""}
    for field in ("columns", "reason_names", "reason_width", "rules_version"):
        fields[field] = json.loads(metadata[f"{_PREFIX}{field}"])
    return fields


def _fault_in(error: Exception) -> str:
    """Name the key or field that is at fault. No value is shown."""
    if isinstance(error, KeyError):
        return f"'{error.args[0]}' is missing"
    if isinstance(error, ValidationError):
        return ".".join(map(str, error.errors()[0]["loc"])) or "as a whole"
    return "a value is not JSON"


def refuse_newer_format(said: object, known: str, what: str) -> None:
    """Raise an error if evidence has a later format than the one that this version reads.

    Args:
        said: the format that the evidence names.
        known: the format that this version reads. Formats are a name, `-` and a number.
        what: what the error calls the evidence.

    Raises:
        NewerEvidenceError: The evidence has a later format.
    """
    name, _, number = known.rpartition("-")
    later = re.fullmatch(rf"{re.escape(name)}-(\d{{1,9}})", said) if isinstance(said, str) else None
    if later is not None and int(later[1]) > int(number):
        raise NewerEvidenceError(
            f"{what} has the format '{said}', but this version of consentgate ({VERSION}) reads "
            f"'{known}'; install a newer consentgate."
        )
