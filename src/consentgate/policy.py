"""The policy: the conditions under which a training run accepts messages."""

import json
import re
import tomllib
from collections.abc import Callable, Iterable, Mapping
from datetime import timedelta
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import (
    AfterValidator,
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

from consentgate.arguments import is_utf8, require_path
from consentgate.arrow import quoted
from consentgate.errors import PolicyError
from consentgate.reasons import MAX_RULES, reason_names
from consentgate.storage import digest_json, read_regular, why


def _check_text(word: str) -> str:
    if not is_utf8(word):
        raise ValueError("half of a surrogate pair is not text")
    return word


def _check_not_blank(word: str) -> str:
    if not word.strip():
        raise ValueError("an empty or blank word says nothing, so it cannot be accepted")
    return word


def _one_or_several(values: Any) -> Any:
    """A single word, number or boolean as a sequence of one; anything else is left to pydantic."""
    return (values,) if isinstance(values, str | int) else values


def _check_rule_value(value: Any) -> Any:
    if isinstance(value, str):
        return _check_text(value)
    if not isinstance(value, int):
        raise ValueError("values of a rule are strings, integers or booleans")
    if not -(2**63) <= value < 2**64:
        raise ValueError("an integer of a rule must fit into 64 bits, as those of columns do")
    return value


Word = Annotated[StrictStr, AfterValidator(_check_text)]
RuleValue = StrictBool | StrictInt | StrictStr
RuleValues = Annotated[
    tuple[Annotated[RuleValue, BeforeValidator(_check_rule_value)], ...],
    Field(min_length=1),
    BeforeValidator(_one_or_several),
]

_FATES = ("admitted", "excluded")
"""The keys under which rows are counted by their fate, so no rule may have one of these names."""
_MOST_BYTES = 1 << 20
"""How large a policy file may be."""
_MOST_PARTS = 256
"""The most dots in a line of TOML outside of quotes, because tomllib takes hours for a key of very
many parts.
"""
_QUOTED = re.compile(r"\"[^\"\n]*\"|'[^'\n]*'")
_MOST_FAULTS = 5
"""How many faults a message lists."""
_MOST_CHARS = 200
"""How many characters of a key or a name a message shows."""
_AGES = '"7 days" or "P7D", or in Python a timedelta; or "none" for no limit'
_FAULTS = {
    "extra_forbidden": "is not a known key; check its spelling",
    "frozen_set_type": "must be a word or a list of words",
    "greater_than_equal": "must not be negative",
    "missing": "is missing",
    "model_type": "must be a table of name, column and test",
    "string_pattern_mismatch": "must begin with a letter or '_', and have at most 64 letters, "
    "digits, '_', '-' and '.'",
    "string_too_short": "must not be empty",
    "string_type": "must be text",
    "string_unicode": "half of a surrogate pair is not text",
    "time_delta_parsing": f"is not an age, or is too large; write {_AGES}",
    "too_short": "must name at least one value",
    "tuple_type": "must be a list",
}
"""Plain words for the faults that pydantic finds, by type."""
_AGE = re.compile("([0-9]{1,6}) (week|day|hour|minute|second)s?")
_SOUNDS_PRIVATE = (
    "private", "direct", "dm", "secret", "confidential", "internal", "restricted", "member",
    "invite", "hidden", "unlisted", "protected", "closed", "follower", "friend",
)  # fmt: skip


class _Strict(BaseModel):
    """A frozen model that refuses unknown keys and reports every fault as a PolicyError.

    `model_copy` and `model_construct` check their fields, too.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", ignored_types=(cached_property,))

    if not TYPE_CHECKING:  # the type checker sees pydantic's typed signatures instead

        def __init__(self, /, **fields: Any) -> None:
            _checked(type(self).__name__, super().__init__, **fields)

        @classmethod
        def model_validate(cls, obj: Any, **options: Any) -> Any:
            return _checked(cls.__name__, super().model_validate, obj, **options)

        @classmethod
        def model_validate_json(cls, json_data: Any, **options: Any) -> Any:
            return _checked(cls.__name__, super().model_validate_json, json_data, **options)

        @classmethod
        def model_construct(cls, _fields_set: Any = None, **fields: Any) -> Any:
            return cls(**fields)

        def model_copy(self, *, update: Any = None, deep: bool = False) -> Any:
            del deep  # fields are immutable
            fields = {name: getattr(self, name) for name in type(self).model_fields}
            return type(self)(**{**fields, **(update or {})})


def _true_or_none(value: Any) -> Any:
    if value is not None and value is not True:
        raise ValueError("is_null must be true or left out")
    return value


class Rule(_Strict):
    """A named exclusion: a row that the rule matches is excluded under the rule's name.

    Exactly one of `any_of`, `none_of` and `is_null` says when the rule matches. A null in the
    column always matches. Values are strings, integers or booleans, all of one type, and are
    compared exactly.

    Attributes:
        name: the code of the reason in ledgers: at most 64 letters, digits, `_`, `-` and `.`,
            beginning with a letter or `_`.
        column: the column of the messages, or the attribute of the snapshot, that the rule looks
            at.
        any_of: the rule matches if the value is one of these. A single one may be given as it is.
        none_of: the rule matches if the value is not one of these. A single one may be given as it
            is.
        is_null: True: the rule matches only nulls.

    Raises:
        PolicyError: A value is out of range, a key is unknown, or not exactly one test is given.
    """

    name: StrictStr = Field(pattern=r"^[A-Za-z_][A-Za-z0-9_.-]{0,63}$")
    column: Word = Field(min_length=1)
    any_of: RuleValues | None = None
    none_of: RuleValues | None = None
    is_null: Annotated[Literal[True] | None, BeforeValidator(_true_or_none)] = None

    @model_validator(mode="after")
    def _check_test(self) -> "Rule":
        given = [self.any_of is not None, self.none_of is not None, self.is_null is not None]
        if sum(given) != 1:
            raise ValueError("give exactly one of any_of, none_of and is_null")
        if len({type(value) for value in self.values}) > 1:
            raise ValueError("all values of a rule must be of one type")
        return self

    def __repr_args__(self) -> Iterable[tuple[str | None, Any]]:
        """Show name, column, test and the number of values. Values may be ids of people."""
        test = "is_null" if self.is_null else "any_of" if self.any_of is not None else "none_of"
        yield from (("name", self.name), ("column", self.column), ("test", test))
        if self.values:
            yield "values", len(self.values)

    @property
    def values(self) -> tuple[RuleValue, ...]:
        """The values of `any_of` or `none_of`; empty for `is_null`."""
        return self.any_of or self.none_of or ()


def _named_rules(rules: Any) -> Any:
    """Rules given as {name: {column: …}} become a sequence; anything else is left to pydantic."""
    if not isinstance(rules, Mapping):
        return rules
    for name, rule in rules.items():
        if not isinstance(rule, Mapping):
            raise ValueError(f"rule '{_cut(name)}' must be a table of column and test")
        if "name" in rule:
            raise ValueError(f"rule '{_cut(name)}' is named by its key; leave out its 'name'")
    return [{"name": name, **rule} for name, rule in rules.items()]


def _age(age: Any) -> Any:
    """The age as pydantic takes it: a timedelta, an ISO 8601 duration, or None for no limit."""
    if age is None or isinstance(age, timedelta):
        return age
    if not isinstance(age, str):
        raise ValueError(f"an age needs a unit; write {_AGES}")
    if age == "none":
        return None
    if found := _AGE.fullmatch(age):
        return timedelta(**{f"{found[2]}s": int(found[1])})
    if not age.lstrip("+-").startswith("P"):
        raise ValueError(f"an age needs a unit; write {_AGES}")
    return age


Rules = Annotated[tuple[Rule, ...], BeforeValidator(_named_rules)]
Duration = Annotated[timedelta, Field(ge=timedelta(0))]
Age = Annotated[Duration | None, BeforeValidator(_age)]
Words = Annotated[
    frozenset[Annotated[Word, AfterValidator(_check_not_blank)]],
    Field(min_length=1),
    BeforeValidator(_one_or_several),
]


class Policy(_Strict):
    """The conditions under which a training run accepts messages. A policy is frozen.

    A single word may be given as a plain string where several are taken. An age is a `timedelta`, a
    text such as "7 days" or "P7D" (ISO 8601), or "none". A number without a unit is an error. There
    may be at most 16 rules. A rule must not be called `admitted`, `excluded` or like a built-in
    reason, in upper or lower case.

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

    Raises:
        PolicyError: A value is out of range, a key is unknown, or two rules have the same name.
    """

    name: Word = Field(default="default", min_length=1)
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
            raise ValueError("two rules have the same name; give each rule a name of its own")
        reserved = {*reason_names().values(), *_FATES}
        if taken := [name for name in names if name.lower() in reserved]:
            raise ValueError(f"rules may not be named {quoted(taken)}: those names are built in")
        return self

    def __repr_args__(self) -> Iterable[tuple[str | None, Any]]:
        """Show the name and the fields that differ from their defaults. Rules show their names."""
        for name, field in type(self).model_fields.items():
            value = getattr(self, name)
            if name == "name" or value != field.default:
                yield name, _short(value)

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
        """Read a policy from a `.toml` or `.json` file of at most 1 MiB.

        Raises:
            TypeError: `path` is not a path.
            PolicyError: The file cannot be read, is of another kind, or holds no valid policy.
        """
        require_path(path, "path")
        path = Path(path)
        fields, fault = _read(path)
        if fault:
            raise PolicyError(f"Policy file '{path}' cannot be read: {fault}.")
        if not isinstance(fields, dict):
            raise PolicyError(f"Policy file '{path}' must hold a table of fields at the top.")
        return cls(**fields)

    def lint(self) -> tuple[str, ...]:
        """Name the weaknesses of this policy, one sentence each. Empty if there are none."""
        findings = [
            f"Method '{method}' is accepted, but it is not an affirmative act "
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
            if any(hint in word.lower() for hint in _SOUNDS_PRIVATE)
        ]
        return tuple(findings)


def _short(value: Any) -> Any:
    """A field's value as `repr` shows it."""
    if isinstance(value, frozenset):
        return sorted(value)
    if isinstance(value, tuple):
        return [rule.name for rule in value]
    return value


def _read(path: Path) -> tuple[Any, str]:
    """The content of a policy file, and why it cannot be read; the latter is empty if it can."""
    try:
        return _parse(path.suffix.lower(), _text(path)), ""
    except OSError as error:
        return None, why(error)
    except UnicodeError:
        return None, "it is not UTF-8"
    except RecursionError:
        return None, "its values are nested too deeply"
    except ValueError as error:
        return None, str(error).partition(";")[0].rstrip(".")


def _text(path: Path) -> str:
    text = read_regular(path, most_bytes=_MOST_BYTES).decode()
    if text.startswith("\ufeff"):
        raise ValueError("it begins with a byte order mark, which must be removed")
    return text


def _parse(suffix: str, text: str) -> Any:
    if suffix == ".toml":
        if any(line.count(".") > _MOST_PARTS for line in _QUOTED.sub("", text).splitlines()):
            raise ValueError(f"a key has more than {_MOST_PARTS} parts")
        return tomllib.loads(text)
    if suffix == ".json":
        return json.loads(text, object_pairs_hook=_unique_keys)
    raise ValueError("its name must end in .toml or .json")


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) < len(pairs):
        raise ValueError("a key occurs twice in one object")
    return fields


def _checked(model: str, build: Callable[..., Any], /, *values: Any, **fields: Any) -> Any:
    """Build a model with pydantic.

    pydantic's error quotes values, so ours is raised in its place and is not chained to it.
    """
    try:
        return build(*values, **fields)
    except ValidationError as error:
        text = _describe(model, error)
    except RecursionError:
        text = f"{model} is not valid. Its values are nested too deeply."
    raise PolicyError(text)


def _describe(model: str, error: ValidationError) -> str:
    faults = [
        (
            ".".join(map(str, fault["loc"])),
            _FAULTS.get(fault["type"], fault["msg"].removeprefix("Value error, ")),
        )
        for fault in error.errors(include_input=False, include_url=False, include_context=False)
    ]
    told = [f"'{_cut(where)}': {words}" if where else words for where, words in faults]
    more = len(told) - _MOST_FAULTS
    listed = "; ".join(text.rstrip(".") for text in told[:_MOST_FAULTS])
    return f"{model} is not valid. {listed}" + (f"; and {more:,} more." if more > 0 else ".")


def _cut(text: object) -> str:
    text = str(text)
    return text if len(text) <= _MOST_CHARS else f"{text[:_MOST_CHARS]}…"
