"""`consentgate policy`: the template, and what a check says."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

import consentgate as cg
from consentgate.cli.policy import TEMPLATE
from tests.command import Runner, assert_paragraph


def test_the_template_is_the_default_policy(run: Runner) -> None:
    outcome = run("policy", "init", "mine.toml")
    assert (outcome.code, outcome.out) == (0, "wrote mine.toml\n")
    assert cg.Policy.load("mine.toml") == cg.Policy()


@pytest.mark.usefixtures("folder")
def test_the_templates_examples_are_valid_and_show_every_key() -> None:
    Path("all.toml").write_text(re.sub(r"(?m)^#(?=\S)", "", TEMPLATE))
    assert len(cg.Policy.load("all.toml").rule_names) == 4
    assert tomllib.loads(Path("all.toml").read_text()).keys() == cg.Policy.model_fields.keys()


def test_init_replaces_a_file_only_with_overwrite(run: Runner) -> None:
    before = Path("policy.toml").read_text()
    outcome = run("policy", "init")
    assert outcome.code == 1
    assert_paragraph(outcome.err, "output")
    assert Path("policy.toml").read_text() == before
    assert run("policy", "init", "--overwrite").code == 0
    assert Path("policy.toml").read_text() == TEMPLATE


def test_init_names_what_keeps_it_from_writing(run: Runner) -> None:
    outcome = run("policy", "init", "missing/policy.toml")
    assert outcome.code == 1
    assert_paragraph(outcome.err, "output")


def test_init_writes_only_toml(run: Runner) -> None:
    assert run("policy", "init", "policy.json").code == 2


def test_check_shows_a_policy_and_its_digest(run: Runner) -> None:
    Path("policy.toml").write_text(re.sub(r"(?m)^#(?=\S)", "", TEMPLATE))
    outcome = run("policy", "check", "policy.toml")
    assert outcome.code == 0
    assert cg.Policy.load("policy.toml").digest in outcome.out
    assert "excludes where 'language' is none of 'en', 'de', or null" in outcome.out
    assert "excludes where 'age_band' is null" in outcome.out
    assert "warning" not in outcome.out


@pytest.mark.parametrize(("options", "code"), [([], 0), (["--strict"], 1)])
def test_check_warns_of_what_weakens_a_policy(run: Runner, options: list[str], code: int) -> None:
    Path("weak.toml").write_text('methods = ["explicit", "default_on"]')
    outcome = run("policy", "check", "weak.toml", *options)
    assert outcome.code == code
    assert outcome.out.count("warning: ") == 1
    assert "default_on" in outcome.out.splitlines()[-1]


def test_check_of_a_policy_that_is_none_exits_with_1(run: Runner) -> None:
    Path("bad.toml").write_text('purpose = "x"')
    outcome = run("policy", "check", "bad.toml")
    assert outcome.code == 1
    assert_paragraph(outcome.err, "policy")
    assert "'purpose'" in outcome.err
