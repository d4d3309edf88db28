"""The policy: one content, one digest, in whatever form it is written."""

from __future__ import annotations

import json
import pickle
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

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


def test_the_defaults_are_those_of_the_design(tmp_path: Path) -> None:
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
    ],
)
def test_ages_are_durations_or_none(text: Any, age: timedelta | None) -> None:
    policy = cg.Policy(max_snapshot_age=text, max_consent_age=text)
    assert (policy.max_snapshot_age, policy.max_consent_age) == (age, age)


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
        (["a", "a"], [], "share a name"),
        (["a"], ["a"], "share a name"),
        (["after_snapshot"], [], "built-in"),
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


LINT: list[Any] = [
    ({}, []),
    (FIELDS, []),
    ({"methods": ["default_on", "explicit"]}, ["'default_on'"]),
    ({"methods": ["implied", "bundled"]}, ["'bundled'", "'implied'"]),
    ({"max_snapshot_age": "none"}, ["no limit"]),
    ({"max_snapshot_age": "P31D"}, []),
    ({"max_snapshot_age": "P32D"}, ["32 days"]),
    ({"public_visibilities": ["public", "Friends only"]}, ["'Friends only'"]),
    ({"public_visibilities": ["", "open"]}, ["''"]),
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
    assert policy.digest != cg.Policy(**{**policy.model_dump(), "name": "other"}).digest
    assert policy.digest == cg.Policy(**policy.model_dump(mode="json")).digest
