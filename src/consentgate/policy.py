"""The policy: what a training run accepts."""

import json
import tomllib
from collections.abc import Mapping
from datetime import timedelta
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StrictBool,
    StrictInt,
    StrictStr,
    ValidationError,
    field_serializer,
    model_validator,
)

from consentgate.errors import PolicyError
from consentgate.hashing import digest_json
from consentgate.reasons import MAX_RULES, reason_names

__all__ = ["Policy", "Rule", "RuleValue"]

RuleValue = StrictBool | StrictInt | StrictStr
RuleValues = Annotated[tuple[RuleValue, ...], Field(min_length=1)]

_SOUNDS_PRIVATE = (
    "private", "direct", "dm", "secret", "confidential", "internal", "restricted", "member",
    "invite", "hidden", "unlisted", "protected", "closed", "follower", "friend",
)  # fmt: skip


class _Strict(BaseModel):
    """A frozen model that refuses unknown keys and reports every fault as a PolicyError."""

    model_config = ConfigDict(frozen=True, extra="forbid", ignored_types=(cached_property,))

    if not TYPE_CHECKING:  # the type checker sees pydantic's typed signature instead

        def __init__(self, **fields: Any) -> None:
            try:
                super().__init__(**fields)
            except ValidationError as error:
                raise PolicyError(_describe(type(self).__name__, error)) from error


class Rule(_Strict):
    """A named exclusion: a row is excluded when the rule matches it.

    Exactly one of `any_of`, `none_of` and `is_null` says when it matches. A null in the column
    always matches. Values are strings, integers or booleans, all of one type, compared exactly.

    Attributes:
        name: the reason's code in ledgers; letters, digits, `_`, `-` and `.`.
        column: the column of the messages, or the attribute of the snapshot, that it looks at.
        any_of: it matches when the value is one of these.
        none_of: it matches when the value is none of these.
        is_null: it matches only nulls.
    """

    name: str = Field(pattern=r"^[A-Za-z_][A-Za-z0-9_.-]{0,63}$")
    column: str = Field(min_length=1)
    any_of: RuleValues | None = None
    none_of: RuleValues | None = None
    is_null: Literal[True] | None = None

    @model_validator(mode="after")
    def _check_test(self) -> "Rule":
        given = [self.any_of is not None, self.none_of is not None, self.is_null is not None]
        if sum(given) != 1:
            raise ValueError("give exactly one of any_of, none_of and is_null")
        if len({type(value) for value in self.values}) > 1:
            raise ValueError("all values of a rule must be of one type")
        return self

    @property
    def values(self) -> tuple[RuleValue, ...]:
        """The values of `any_of` or `none_of`; empty for `is_null`."""
        return self.any_of or self.none_of or ()


def _named_rules(rules: Any) -> Any:
    """Rules given as {name: {column: …}} become a sequence; anything else is left to pydantic."""
    if isinstance(rules, Mapping):
        return [{"name": name, **dict(rule)} for name, rule in rules.items()]
    return rules


def _unlimited(age: Any) -> Any:
    return None if age == "none" else age


Rules = Annotated[tuple[Rule, ...], BeforeValidator(_named_rules)]
Duration = Annotated[timedelta, Field(ge=timedelta(0))]
Age = Annotated[Duration | None, BeforeValidator(_unlimited)]
Words = Annotated[frozenset[StrictStr], Field(min_length=1)]


class Policy(_Strict):
    """What a training run accepts. Frozen; unknown keys are errors.

    Attributes:
        name: what people call this policy.
        purposes: every data subject must have consented to all of them.
        methods: the ways of indicating consent that count.
        notice_versions: the notices under which consent counts; None accepts any.
        max_consent_age: a consent older than this has expired; None sets no limit.
        max_snapshot_age: a snapshot or registry older than this is refused; None sets no limit.
        public_visibilities: the words that mean public, compared exactly.
        record_rules: exclusions by a column of the messages.
        subject_rules: exclusions by an attribute of the consent snapshot.

    In TOML and JSON an age is an ISO 8601 duration such as "P7D", or "none". At most 16 rules.

    Raises:
        PolicyError: A value is out of range, a key is unknown, or two rules share a name.
    """

    name: str = Field(default="default", min_length=1)
    purposes: Words = frozenset({"train_ai_system"})
    methods: Words = frozenset({"explicit"})
    notice_versions: Words | None = None
    max_consent_age: Age = None
    max_snapshot_age: Age = timedelta(days=7)
    public_visibilities: Words = frozenset({"public"})
    record_rules: Rules = ()
    subject_rules: Rules = ()

    @model_validator(mode="after")
    def _check_rules(self) -> "Policy":
        names = self.rule_names
        if len(names) > MAX_RULES:
            raise ValueError(f"{len(names)} rules, but at most {MAX_RULES} are possible")
        if len(set(names)) < len(names):
            raise ValueError("two rules share a name; a reason must say which one matched")
        if taken := set(names) & set(reason_names().values()):
            raise ValueError(f"rule names {sorted(taken)} are built-in reasons; choose others")
        return self

    @field_serializer("purposes", "methods", "notice_versions", "public_visibilities")
    def _in_order(self, words: frozenset[str] | None) -> list[str] | None:
        return None if words is None else sorted(words)

    @property
    def rule_names(self) -> tuple[str, ...]:
        """The rules' names in the order of their bits: record rules, then subject rules."""
        return tuple(rule.name for rule in self.record_rules + self.subject_rules)

    @cached_property
    def digest(self) -> str:
        """The SHA-256 of the policy's canonical form, in hexadecimal."""
        return digest_json(self.model_dump(mode="json"))

    @classmethod
    def load(cls, path: str | Path) -> "Policy":
        """Read a policy from a `.toml` or `.json` file.

        Raises:
            PolicyError: The file cannot be read, is neither, or holds no valid policy.
        """
        path = Path(path)
        try:
            text = path.read_text(encoding="utf-8")
            fields = _parse(path.suffix.lower(), text)
        except (OSError, UnicodeDecodeError, ValueError) as error:
            raise PolicyError(f"Policy file '{path}' cannot be read: {error}.") from error
        if not isinstance(fields, dict):
            raise PolicyError(f"Policy file '{path}' must hold a table of fields at the top.")
        return cls(**fields)

    def lint(self) -> tuple[str, ...]:
        """What weakens this policy, one sentence each; empty when nothing does."""
        findings = [
            f"Method '{method}' is accepted, but it is no affirmative act "
            "(GDPR Recital 32: silence and pre-ticked boxes are not consent)."
            for method in sorted(self.methods - {"explicit"})
        ]
        if self.max_snapshot_age is None:
            findings.append(
                "max_snapshot_age sets no limit, so withdrawals may go unnoticed for ever."
            )
        elif self.max_snapshot_age > timedelta(days=31):
            findings.append(
                f"max_snapshot_age is {self.max_snapshot_age.days} days; withdrawals may go "
                "unnoticed that long."
            )
        findings += [
            f"Visibility '{word}' counts as public, but it sounds private."
            for word in sorted(self.public_visibilities)
            if not word.strip() or any(hint in word.lower() for hint in _SOUNDS_PRIVATE)
        ]
        return tuple(findings)


def _parse(suffix: str, text: str) -> Any:
    if suffix == ".toml":
        return tomllib.loads(text)
    if suffix == ".json":
        return json.loads(text, object_pairs_hook=_unique_keys)
    raise ValueError("its name must end in .toml or .json")


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) < len(pairs):
        raise ValueError("a key occurs twice in one object")
    return fields


def _describe(model: str, error: ValidationError) -> str:
    faults = [
        f"'{'.'.join(map(str, fault['loc']))}': {fault['msg']}" if fault["loc"] else fault["msg"]
        for fault in error.errors()
    ]
    return f"{model} is not valid. " + "; ".join(faults) + "."
