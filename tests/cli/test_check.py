"""`consentgate check`, and the warnings of other commands."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.build import AS_OF, consent_table, message_table
from tests.command import Runner, assert_paragraph, judge, run_process

MISSPELLED = 'max_snapshot_age = "none"\npublic_visibilities = ["Public"]\n'
WARNING = (
    "consentgate: warning: Column 'visibility' of the channel registry has no 'Public', which the "
    "policy's field 'public_visibilities' names, but 'public'. Spell them alike if they mean the "
    "same.\n"
)


@pytest.fixture
def messages(request: pytest.FixtureRequest) -> str:
    """A file of messages, of which two of three are admitted."""
    request.getfixturevalue("folder")
    pq.write_table(message_table(sender_id=[1, 1, 2] * 500), "messages.parquet", row_group_size=100)
    return "messages.parquet"


def test_nothing_stands_out(run: Runner, messages: str) -> None:
    outcome = run("check", messages, *judge())
    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.out.startswith("1,500 messages: 1,000 admitted, 500 excluded\n")
    assert "Warnings" not in outcome.out
    assert "  consent_withdrawn" in outcome.out


def test_a_visibility_in_another_case_ends_with_1(run: Runner, messages: str) -> None:
    Path("policy.toml").write_text(MISSPELLED)
    outcome = run("check", messages, *judge())
    assert (outcome.code, outcome.err) == (1, "")
    assert "\nWarnings\n" in outcome.out
    assert "has 'public' in 1 of 2 channels" in outcome.out
    assert sorted(path.name for path in Path.cwd().iterdir()) == [
        "channels.parquet", "consent.parquet", "messages.parquet", "policy.toml",
    ]  # fmt: skip


def test_a_purpose_without_a_record_ends_with_1(run: Runner, messages: str) -> None:
    Path("policy.toml").write_text('max_snapshot_age = "none"\npurposes = ["evaluate"]\n')
    outcome = run("check", messages, *judge())
    assert outcome.code == 1
    assert "no record for the policy's purpose 'evaluate'" in outcome.out


def test_ids_that_differ_in_case_end_with_1(run: Runner) -> None:
    consent = consent_table(subject_id=["ann", "bob"])
    as_of = {"consentgate.as_of": AS_OF.isoformat()}
    pq.write_table(consent.replace_schema_metadata(as_of), "consent.parquet")
    pq.write_table(message_table(sender_id=["ann"] * 30 + ["Bob"]), "in.parquet")
    outcome = run("check", "in.parquet", *judge())
    assert outcome.code == 1
    assert "1, in 1 rows, differ from an id in the consent snapshot only in case" in outcome.out
    assert "bob" not in outcome.out.lower()


def test_several_files_are_checked_as_one(run: Runner, messages: str) -> None:
    pq.write_table(message_table(sender_id=[1, 7]).replace_schema_metadata({"a": "b"}), "b.parquet")
    outcome = run("check", messages, "b.parquet", "--json", *judge())
    assert (outcome.code, outcome.err) == (0, "")
    found = json.loads(outcome.out)
    assert (found["rows"], found["admitted"], found["subjects"]["distinct"]) == (1_502, 1_001, 3)
    assert found["mismatches"] == []
    assert found["vocabularies"][0]["words"] == [["train_ai_system", 2]]


def test_json_has_the_mismatches(run: Runner, messages: str) -> None:
    Path("policy.toml").write_text(MISSPELLED)
    outcome = run("check", messages, "--json", *judge())
    assert outcome.code == 1
    codes = [each["code"] for each in json.loads(outcome.out)["mismatches"]]
    assert codes == ["no_word_occurs", "word_alike", "rows_excluded"]


def test_a_saved_gate_is_checked_as_far_as_it_goes(run: Runner, messages: str) -> None:
    assert run("compile", "--out", "the.gate", *judge()).code == 0
    outcome = run("check", messages, "--gate", "the.gate")
    assert outcome.code == 0
    assert "\nNot checked\n" in outcome.out


def test_a_file_that_cannot_be_judged_is_an_error(run: Runner) -> None:
    pq.write_table(message_table().drop_columns("channel_id"), "in.parquet")
    outcome = run("check", "in.parquet", *judge())
    assert outcome.code == 1
    assert_paragraph(outcome.err, "column_missing")


def test_a_damaged_file_is_an_error(run: Runner, messages: str) -> None:
    content = bytearray(Path(messages).read_bytes())
    content[200:600] = bytes(400)
    Path(messages).write_bytes(content)
    outcome = run("check", messages, *judge())
    assert outcome.code == 1
    assert_paragraph(outcome.err, "unreadable_file")


def test_filter_prints_warnings_to_stderr(run: Runner, messages: str) -> None:
    Path("policy.toml").write_text(MISSPELLED)
    outcome = run("filter", messages, "--out", "out", *judge())
    assert outcome.code == 0
    words, rows = outcome.err.splitlines(keepends=True)
    assert words == WARNING
    assert rows.startswith("consentgate: warning: All 1,500 rows are excluded by private_channel: ")


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_run_prints_warnings_to_stderr(run: Runner, messages: str, options: list[str]) -> None:
    Path("policy.toml").write_text(MISSPELLED)
    outcome = run("run", messages, "out", *options, *judge())
    assert outcome.code == 0
    assert outcome.err.startswith(WARNING)
    assert "warning:" not in outcome.out


def test_warnings_are_printed_whatever_the_interpreter_was_told(messages: str) -> None:
    Path("policy.toml").write_text(MISSPELLED)
    outcome = run_process(
        *("filter", messages, "--out", "out", *judge()),
        env={**os.environ, "PYTHONWARNINGS": "error"},
    )
    assert outcome.code == 0
    assert outcome.err.startswith(WARNING)
