"""The policy: the same content has the same digest, whatever its form."""

from __future__ import annotations

import json
import os
import pickle
import re
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import consentgate as cg

RULE = {"name": "minors", "column": "age_band", "any_of": ["0-12", "13-17"]}
OTHER = {"name": "unread", "column": "read", "none_of": [True]}
FIELDS: dict[str, Any] = {
    "name": "spring",
    "purposes": ["train_ai_system", "personalize"],
    "methods": ["explicit"],
    "notice_versions": ["v2", "v1"],
    "max_consent_age": "P365D",
    "max_snapshot_age": "P7D",
    "public_visibilities": ["public", "world"],
    "record_rules": [OTHER],
    "subject_rules": [RULE],
}
TOML = """
name = "spring"
purposes = ["personalize", "train_ai_system"]
methods = ["explicit", "explicit"]
notice_versions = ["v1", "v2"]
max_consent_age = "P365D"
max_snapshot_age = "P1W"
public_visibilities = ["world", "public"]

[record_rules.unread]
column = "read"
none_of = [true]

[[subject_rules]]
name = "minors"
column = "age_band"
any_of = ["0-12", "13-17"]
"""


def in_python() -> cg.Policy:
    return cg.Policy(
        name="spring",
        purposes=frozenset({"train_ai_system", "personalize"}),
        notice_versions=frozenset({"v1", "v2"}),
        max_consent_age=timedelta(days=365),
        public_visibilities=frozenset({"public", "world"}),
        record_rules=(cg.Rule(name="unread", column="read", none_of=(True,)),),
        subject_rules=(cg.Rule(name="minors", column="age_band", any_of=("0-12", "13-17")),),
    )


def load(folder: Path, name: str, text: str) -> cg.Policy:
    (folder / name).write_text(text, encoding="utf-8")
    return cg.Policy.load(folder / name)


def test_a_policy_is_the_same_in_toml_json_and_python(tmp_path: Path) -> None:
    policies = [
        in_python(),
        load(tmp_path, "a.toml", TOML),
        load(tmp_path, "a.json", json.dumps(FIELDS)),
        load(tmp_path, "b.JSON", json.dumps(dict(reversed(FIELDS.items())))),
        cg.Policy.load(str(tmp_path / "a.toml")),
        cg.Policy(**FIELDS),
    ]
    assert all(policy == policies[0] for policy in policies)
    assert {policy.digest for policy in policies} == {policies[0].digest}
    assert len(policies[0].digest) == 64


def test_the_defaults_are_those_of_the_semantics(tmp_path: Path) -> None:
    policy = load(tmp_path, "empty.toml", "")
    assert policy == cg.Policy()
    assert policy.model_dump() == {
        "name": "default",
        "purposes": ["train_ai_system"],
        "methods": ["explicit"],
        "notice_versions": None,
        "max_consent_age": None,
        "max_snapshot_age": timedelta(days=7),
        "public_visibilities": ["public"],
        "record_rules": (),
        "subject_rules": (),
    }


CHANGES: dict[str, Any] = {
    "name": "summer",
    "purposes": ["train_ai_system"],
    "methods": ["explicit", "imported"],
    "notice_versions": None,
    "max_consent_age": "none",
    "max_snapshot_age": "P8D",
    "public_visibilities": ["public"],
    "record_rules": [],
    "subject_rules": [{**RULE, "any_of": ["0-12"]}],
}


@pytest.mark.parametrize("field", FIELDS)
def test_any_field_changes_the_digest(field: str) -> None:
    changed = cg.Policy(**{**FIELDS, field: CHANGES[field]})
    assert changed.digest != in_python().digest
    assert changed != in_python()


@pytest.mark.parametrize(
    "rule",
    [
        {"name": "x", "column": "age_band", "any_of": ["a"]},
        {"name": "minors", "column": "x", "any_of": ["a"]},
        {"name": "minors", "column": "age_band", "none_of": ["a"]},
        {"name": "minors", "column": "age_band", "is_null": True},
        {"name": "minors", "column": "age_band", "any_of": ["b"]},
        {"name": "minors", "column": "age_band", "any_of": [1]},
        {"name": "minors", "column": "age_band", "any_of": [True]},
        {"name": "minors", "column": "age_band", "any_of": ["1"]},
    ],
)
def test_any_part_of_a_rule_changes_the_digest(rule: dict[str, Any]) -> None:
    base = cg.Policy(subject_rules=[{**RULE, "any_of": ["a"]}])
    other = cg.Policy(subject_rules=[rule])
    moved = cg.Policy(record_rules=[rule])
    assert len({base.digest, other.digest, moved.digest}) == 3


@pytest.mark.parametrize("field", ["record_rules", "subject_rules"])
def test_named_rules_may_be_a_mapping(field: str) -> None:
    named = {"a": {"column": "x", "is_null": True}, "b": {"column": "y", "any_of": [1]}}
    policy = cg.Policy(**{field: named})
    rules = (
        cg.Rule(name="a", column="x", is_null=True),
        cg.Rule(name="b", column="y", any_of=(1,)),
    )
    assert getattr(policy, field) == rules
    assert policy.rule_names == ("a", "b")


def test_rules_are_named_record_rules_first() -> None:
    assert in_python().rule_names == ("unread", "minors")


@pytest.mark.parametrize(
    ("text", "age"),
    [
        ("P7D", timedelta(days=7)),
        ("P1W", timedelta(days=7)),
        ("PT1H30M", timedelta(minutes=90)),
        ("PT0S", timedelta(0)),
        ("none", None),
        (None, None),
        (timedelta(days=1), timedelta(days=1)),
        ("7 days", timedelta(days=7)),
        ("1 day", timedelta(days=1)),
        ("2 weeks", timedelta(days=14)),
        ("36 hours", timedelta(hours=36)),
        ("90 minutes", timedelta(minutes=90)),
        ("30 seconds", timedelta(seconds=30)),
    ],
)
def test_ages_are_durations_or_none(text: Any, age: timedelta | None) -> None:
    policy = cg.Policy(max_snapshot_age=text, max_consent_age=text)
    assert (policy.max_snapshot_age, policy.max_consent_age) == (age, age)


@pytest.mark.parametrize(
    "age", [7, 0, 7.0, True, "7", "7.5", "", "days", "7 months", "-7 days", "01:00:00", "7 days "]
)
@pytest.mark.parametrize("field", ["max_snapshot_age", "max_consent_age"])
def test_an_age_without_a_unit_is_refused_and_the_message_says_what_to_write(
    field: str, age: Any, tmp_path: Path
) -> None:
    path = tmp_path / "a.json"
    path.write_text(json.dumps({field: age}))
    toml = tmp_path / "a.toml"
    toml.write_text(f"{field} = {json.dumps(age)}")
    words = (
        rf"'{field}': an age needs a unit; write \"7 days\" or \"P7D\", or in Python a timedelta"
    )
    builds: list[Callable[[], Any]] = [
        lambda: cg.Policy(**{field: age}),
        lambda: cg.Policy.load(path),
        lambda: cg.Policy.load(toml),
        lambda: cg.Policy.model_validate_json(path.read_bytes()),
    ]
    for build in builds:
        with pytest.raises(cg.PolicyError, match=words):
            build()


@pytest.mark.parametrize("age", ["P", "P7", "Pdays", "P1DX", "P9999999999999D"])
def test_a_text_that_is_no_duration_is_refused(age: str) -> None:
    words = 'is not an age, or is too large; write "7 days" or "P7D"'
    with pytest.raises(cg.PolicyError, match=words):
        cg.Policy(max_snapshot_age=age)


def test_a_week_in_other_words_is_the_same_policy() -> None:
    ages = ["7 days", "1 week", "P7D", "P1W", "168 hours", timedelta(days=7)]
    assert len({cg.Policy(max_consent_age=age).digest for age in ages}) == 1


WORDS = ["purposes", "methods", "notice_versions", "public_visibilities"]


@pytest.mark.parametrize("field", WORDS)
def test_a_single_word_may_stand_for_a_set(field: str, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps({field: "word"}))
    (tmp_path / "a.toml").write_text(f'{field} = "word"')
    policies = [
        cg.Policy(**{field: "word"}),
        cg.Policy(**{field: ["word"]}),
        cg.Policy(**{field: ("word", "word")}),
        cg.Policy(**{field: {"word"}}),
        cg.Policy.load(tmp_path / "a.json"),
        cg.Policy.load(tmp_path / "a.toml"),
        cg.Policy.model_validate({field: "word"}),
        cg.Policy.model_validate_json(json.dumps({field: "word"})),
    ]
    assert {getattr(policy, field) for policy in policies} == {frozenset({"word"})}
    assert len({policy.digest for policy in policies}) == 1


@pytest.mark.parametrize("test", ["any_of", "none_of"])
@pytest.mark.parametrize("value", ["x", 3, True])
def test_a_single_value_may_stand_for_those_of_a_rule(test: str, value: Any) -> None:
    rules = [cg.Rule(name="r", column="c", **{test: values}) for values in (value, [value])]
    assert rules[0] == rules[1]
    assert rules[0].values == (value,)
    assert type(rules[0].values[0]) is type(value)


PLAIN: list[tuple[dict[str, Any], str]] = [
    ({"purposes": []}, "'purposes': must name at least one value."),
    ({"methods": ()}, "'methods': must name at least one value."),
    ({"notice_versions": []}, "'notice_versions': must name at least one value."),
    ({"public_visibilities": set()}, "'public_visibilities': must name at least one value."),
    ({"purposes": 1.5}, "'purposes': must be a word or a list of words."),
    ({"purposes": [3]}, "must be text."),
    ({"name": ""}, "'name': must not be empty."),
    ({"name": 3}, "'name': must be text."),
    ({"purpose": "x"}, "'purpose': is not a known key; check its spelling."),
    ({"max_snapshot_age": timedelta(-1)}, "'max_snapshot_age': must not be negative."),
    ({"record_rules": [3]}, "must be a table of name, column and test."),
    ({"record_rules": 3}, "'record_rules': must be a list."),
    ({"record_rules": {"r": {"any_of": ["x"]}}}, "'column': is missing."),
    ({"record_rules": {"r": {"column": "c", "any_of": []}}}, "'any_of': must name at least one"),
    ({"record_rules": {"1": {"column": "c", "any_of": 1}}}, "'name': must begin with a letter or"),
]


@pytest.mark.parametrize(("fields", "words"), PLAIN, ids=[words for _, words in PLAIN])
def test_a_fault_is_told_in_plain_words(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(cg.PolicyError, match=re.escape(words)) as caught:
        cg.Policy(**fields)
    for word in ("Input should", "should have", "Frozenset", "frozenset", "String", "Tuple"):
        assert word not in str(caught.value)


def rules(count: int, start: int = 0) -> tuple[cg.Rule, ...]:
    return tuple(cg.Rule(name=f"r{start + n}", column="x", is_null=True) for n in range(count))


@pytest.mark.parametrize(("record", "subject"), [(16, 0), (0, 16), (9, 7)])
def test_sixteen_rules_are_possible(record: int, subject: int) -> None:
    policy = cg.Policy(record_rules=rules(record), subject_rules=rules(subject, 20))
    assert len(policy.rule_names) == 16


@pytest.mark.parametrize(("record", "subject"), [(17, 0), (0, 17), (9, 8)])
def test_seventeen_rules_are_refused(record: int, subject: int) -> None:
    with pytest.raises(cg.PolicyError, match="17 rules, but at most 16"):
        cg.Policy(record_rules=rules(record), subject_rules=rules(subject, 20))


@pytest.mark.parametrize(
    ("record", "subject", "words"),
    [
        (["a", "a"], [], "have the same name"),
        (["a"], ["a"], "have the same name"),
        (["after_snapshot"], [], "built in"),
        (["Private_Channel"], [], "built in"),
        (["a"], ["admitted"], "built in"),
        (["ADMITTED"], [], "built in"),
        ([], ["Excluded"], "built in"),
    ],
)
def test_a_name_stands_for_one_reason(record: list[str], subject: list[str], words: str) -> None:
    given = [
        [cg.Rule(name=n, column="x", is_null=True) for n in names] for names in (record, subject)
    ]
    with pytest.raises(cg.PolicyError, match=words):
        cg.Policy(record_rules=tuple(given[0]), subject_rules=tuple(given[1]))


@pytest.mark.parametrize("name", ["a", "_a", "A-1.b_c", "x" * 64])
def test_a_rule_may_be_named_so(name: str) -> None:
    assert cg.Rule(name=name, column="x", is_null=True).name == name


@pytest.mark.parametrize("name", ["", "1a", "-a", "a b", "a\n", "ä", "x" * 65])
def test_a_rule_may_not_be_named_so(name: str) -> None:
    with pytest.raises(cg.PolicyError, match="'name'"):
        cg.Rule(name=name, column="x", is_null=True)


def nested(opening: str, closing: str, depth: int = 100_000) -> str:
    return opening * depth + closing * depth


RULE_OF = '{"record_rules": {"a": {"column": "c", "any_of": [%s]}}}'
UNFIT_FILES: dict[str, tuple[str, str | bytes, str]] = {
    "a rule that is null": ("json", '{"record_rules": {"a": null}}', "rule 'a' must be a table"),
    "a rule that is a number": ("json", '{"subject_rules": {"a": 3}}', "rule 'a' must be a table"),
    "a rule of pairs": ("json", '{"record_rules": {"a": [["column", "c"]]}}', "must be a table"),
    "a rule named twice": ("json", '{"record_rules": {"a": {"name": "b"}}}', "is named by its key"),
    "rules with a null": ("json", '{"record_rules": [null]}', "record_rules.0"),
    "a key called self": ("json", '{"self": 1}', "'self'"),
    "a rule's key called self": ("json", '{"record_rules": {"a": {"self": 1}}}', "'self'"),
    "arrays in arrays": ("json", '{"name": ' + nested("[", "]") + "}", "nested too deeply"),
    "objects in objects": ("json", '{"a":' * 90_000 + "1" + "}" * 90_000, "nested too deeply"),
    "toml arrays in arrays": ("toml", "name = " + nested("[", "]"), "nested too deeply"),
    "toml tables in tables": ("toml", "a = " + "{a=" * 50_000 + "1", "nested too deeply"),
    "toml key of many parts": ("toml", ".".join("a" * 500_000) + " = 1", "more than 256 parts"),
    "toml keys of 200 parts": ("toml", (".".join("a" * 200) + " = 1\n") * 2_000, "cannot be read"),
    "half a surrogate pair": ("json", r'{"name": "\ud800"}', "'name': half of a surrogate pair"),
    "half a pair in words": ("json", r'{"purposes": ["\udc00"]}', "half of a surrogate pair"),
    "half a pair in a value": ("json", RULE_OF % r'"\ud800"', "half of a surrogate pair"),
    "half a pair in a key": ("json", r'{"\ud800": 1}', "half of a surrogate pair"),
    "a NUL": ("json", b'{"name": "\0"}', "Invalid control character"),
    "no UTF-8": ("toml", b'name = "\xff"', "it is not UTF-8"),
    "UTF-16": ("json", '{"name": "x"}'.encode("utf-16"), "it is not UTF-8"),
    "a byte order mark": ("toml", b'\xef\xbb\xbfname = "x"', "a byte order mark"),
    "an integer of 65 bits": ("json", RULE_OF % 2**64, "must fit into 64 bits"),
    "an integer far below zero": ("json", RULE_OF % (-(2**63) - 1), "must fit into 64 bits"),
    "an integer of 5,000 digits": ("json", RULE_OF % ("9" * 5_000), "limit"),
    "an integer of 50,000 hex digits": (
        "toml", f"record_rules.a.any_of = [0x{'f' * 50_000}]", "must fit into 64 bits"
    ),
    "a float": ("json", RULE_OF % 1.0, "strings, integers or booleans"),
    "an infinite age": ("json", '{"max_snapshot_age": Infinity}', "an age needs a unit"),
    "an age that is no number": ("toml", "max_consent_age = nan", "an age needs a unit"),
    "an age without a unit": ("toml", "max_snapshot_age = 7", "an age needs a unit"),
    "an age that is true": ("json", '{"max_snapshot_age": true}', "an age needs a unit"),
    "an age beyond measure": ("json", '{"max_snapshot_age": "P9999999999999D"}', "too large"),
    "a negative age": ("json", '{"max_snapshot_age": "-P1D"}', "max_snapshot_age"),
    "a date": ("toml", "name = 1979-05-27", "'name'"),
    "is_null that is 1": ("json", '{"record_rules": {"a": {"is_null": 1}}}', "true or left out"),
    "a key twice": ("json", '{"name": "a", "name": "b"}', "a key occurs twice"),
    "a toml key twice": ("toml", 'name = "a"\nname = "b"', "cannot be read"),
    "no object": ("json", "[]", "must hold a table"),
    "nothing": ("json", "", "cannot be read"),
    "too much": ("toml", "#" * (1 << 20) + "\n", "at most 1,048,576 are read"),
    "thousands of faults": (
        "json", "{" + ", ".join(f'"k{n}": 1' for n in range(9_000)) + "}", "and 8,995 more"
    ),
    "a long key": ("json", '{"%s": 1}' % ("k" * 100_000), "k…'"),
    "no known suffix": ("yaml", "name: x", "must end in .toml or .json"),
}  # fmt: skip


@pytest.mark.parametrize(("suffix", "content", "words"), UNFIT_FILES.values(), ids=UNFIT_FILES)
def test_a_file_that_is_no_policy_is_a_policy_error(
    suffix: str, content: str | bytes, words: str, tmp_path: Path
) -> None:
    path = tmp_path / f"policy.{suffix}"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(cg.PolicyError, match=re.escape(words)) as caught:
        cg.Policy.load(path)
    assert len(str(caught.value)) < 2_500
    assert caught.value.__cause__ is caught.value.__context__ is None


def test_a_path_that_is_no_file_is_a_policy_error(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.toml")
    (tmp_path / "folder.toml").mkdir()
    (tmp_path / "zeros.toml").symlink_to("/dev/zero")
    for name in ("pipe", "folder", "zeros", "missing", "a\0b", "x" * 300, "\ud800", "pipe.toml/x"):
        with pytest.raises(cg.PolicyError, match=r"Policy file '.*' cannot be read"):
            cg.Policy.load(tmp_path / f"{name}.toml")


CYCLE: list[Any] = []
CYCLE.append(CYCLE)
UNFIT_VALUES: list[Any] = [
    object(), int, b"x", 1.5, float("nan"), 10**5_000, "\ud800", CYCLE, {"a": CYCLE}, [None],
    ["x", 1.5], {1: 2}, range, datetime.now(), timedelta(-1), Path(),
]  # fmt: skip


@pytest.mark.parametrize("field", cg.Policy.model_fields)
@pytest.mark.parametrize("value", UNFIT_VALUES, ids=lambda value: type(value).__name__)
def test_any_unfit_value_is_a_policy_error(field: str, value: Any) -> None:
    builds: list[Callable[[], Any]] = [
        lambda: cg.Policy(**{field: value}),
        lambda: cg.Policy.model_construct(**{field: value}),
        lambda: cg.Policy().model_copy(update={field: value}),
    ]
    for build in builds:
        with pytest.raises(cg.PolicyError, match="is not valid") as caught:
            build()
        assert caught.value.__cause__ is caught.value.__context__ is None


@pytest.mark.parametrize("field", cg.Rule.model_fields)
@pytest.mark.parametrize("value", UNFIT_VALUES, ids=lambda value: type(value).__name__)
def test_any_unfit_part_of_a_rule_is_a_policy_error(field: str, value: Any) -> None:
    rule = {"name": "a", "column": "c", "any_of": ["x"], field: value}
    builds: list[Callable[[], Any]] = [
        lambda: cg.Rule(**rule),
        lambda: cg.Policy(record_rules=[rule]),
    ]
    for build in builds:
        with pytest.raises(cg.PolicyError, match="is not valid"):
            build()


KEYS = st.sampled_from([*cg.Policy.model_fields, *cg.Rule.model_fields, "self", "cls", "update"])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.just("P7D"),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(KEYS | st.text(), inner, max_size=3)
    ),
    max_leaves=8,
)


@settings(max_examples=150)
@given(fields=st.dictionaries(KEYS, JSON, max_size=4))
def test_whatever_json_holds_is_a_policy_or_a_policy_error(fields: dict[str, Any]) -> None:
    builds: list[Callable[[], cg.Policy]] = [
        lambda: cg.Policy(**fields),
        lambda: cg.Policy.model_validate(fields),
        lambda: cg.Policy.model_validate_json(json.dumps(fields)),
    ]
    for build in builds:
        with suppress(cg.PolicyError):
            assert build().digest == build().digest


def test_the_order_of_arguments_is_no_riddle() -> None:
    for path in (3, None, b"x.toml", ["x.toml"]):
        with pytest.raises(TypeError, match="`path` is of type"):
            cg.Policy.load(path)  # type: ignore[arg-type]


LINT: list[Any] = [
    ({}, []),
    (FIELDS, []),
    ({"methods": ["default_on", "explicit"]}, ["'default_on'"]),
    ({"methods": ["implied", "bundled"]}, ["'bundled'", "'implied'"]),
    ({"max_snapshot_age": "none"}, ["no limit"]),
    ({"max_snapshot_age": "P31D"}, []),
    ({"max_snapshot_age": "P32D"}, ["32 days"]),
    ({"public_visibilities": ["public", "Friends only"]}, ["'Friends only'"]),
    ({"public_visibilities": ["members"], "max_snapshot_age": "none"}, ["no limit", "'members'"]),
]


@pytest.mark.parametrize(("fields", "findings"), LINT)
def test_lint_names_what_weakens_a_policy(fields: dict[str, Any], findings: list[str]) -> None:
    found = cg.Policy(**fields).lint()
    assert len(found) == len(findings)
    assert all(words in sentence for words, sentence in zip(findings, found, strict=True))


def test_a_policy_is_frozen() -> None:
    with pytest.raises(ValueError, match="frozen"):
        cg.Policy().name = "other"  # type: ignore[misc]
    with pytest.raises(ValueError, match="frozen"):
        in_python().record_rules[0].column = "other"  # type: ignore[misc]


def test_a_policy_survives_a_process_border() -> None:
    policy = in_python()
    assert policy.digest
    copy = pickle.loads(pickle.dumps(policy))
    assert (copy, copy.digest) == (policy, policy.digest)
    assert pickle.loads(pickle.dumps(cg.Policy())) == cg.Policy()


def test_a_copy_with_changes_has_a_digest_of_its_own() -> None:
    policy = in_python()
    before = policy.model_copy(update={"name": "other"})
    assert policy.digest != before.digest
    assert policy.model_copy(update={"name": "other"}).digest == before.digest
    assert policy.model_copy() == policy
    assert policy.digest != cg.Policy(**{**policy.model_dump(), "name": "other"}).digest
    assert policy.digest == cg.Policy(**policy.model_dump(mode="json")).digest


@pytest.mark.parametrize("word", ["", "  ", "\t"])
@pytest.mark.parametrize("field", ["purposes", "methods", "notice_versions", "public_visibilities"])
def test_a_blank_word_is_never_accepted(field: str, word: str) -> None:
    with pytest.raises(cg.PolicyError, match=f"'{field}.*an empty or blank word says nothing"):
        cg.Policy(**{field: {"public", word}})
