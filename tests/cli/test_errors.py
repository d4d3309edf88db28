"""The command line's errors: their exit codes, and names that are odd."""

from __future__ import annotations

import os
import re
from datetime import timedelta
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.build import AS_OF, NOW, consent_table
from tests.cli.filtering import messages, write
from tests.command import Runner, assert_paragraph, judge, run_process

SECRET = "secret-subject"


# errors


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"consent": "missing.parquet"}, "unreadable_file"),
        ({"policy": "missing.toml"}, "policy"),
        ({"record_id_column": "[bold]nothing[/bold]"}, "column_missing"),
        ({"consent_as_of": NOW.isoformat()}, "as_of"),
    ],
)
def test_a_fault_of_the_input_exits_with_1(run: Runner, options: dict[str, str], code: str) -> None:
    outcome = run("filter", write(messages(), "in.parquet"), "--out", "out", *judge(**options))
    assert outcome.code == 1
    assert_paragraph(outcome.err, code)
    assert options.get("record_id_column", "") in outcome.err
    assert not Path("out").exists()


def test_a_stale_snapshot_is_refused_before_any_output(run: Runner) -> None:
    Path("policy.toml").write_text("")
    judged_at = (AS_OF + timedelta(days=8)).isoformat()
    path = write(messages(), "in.parquet")
    outcome = run("filter", path, "--out", "out", *judge(judged_at=judged_at))
    assert outcome.code == 1
    assert_paragraph(outcome.err, "stale_snapshot")
    assert not Path("out").exists()


def test_a_snapshot_from_the_future_is_refused_where_the_clock_judges(run: Runner) -> None:
    metadata = {"consentgate.as_of": "2199-01-01T00:00:00+00:00"}
    pq.write_table(consent_table().replace_schema_metadata(metadata), "consent.parquet")
    options = judge()
    at = options.index("--judged-at")
    path = write(messages(), "in.parquet")
    outcome = run("filter", path, "--out", "out", *options[:at])
    assert outcome.code == 1
    assert_paragraph(outcome.err, "future_snapshot")


def test_an_error_never_shows_a_cell(run: Runner) -> None:
    Path("consent.csv").write_text(
        "subject_id,purpose,status,method,effective_from\n"
        + f"{SECRET},train_ai_system,given,explicit,2025-01-01T00:00:00Z\n" * 2
    )
    options = judge(consent="consent.csv", consent_as_of=AS_OF.isoformat())
    outcome = run("filter", write(messages(), "in.parquet"), "--out", "out", *options)
    assert outcome.code == 1
    assert_paragraph(outcome.err, "duplicate_record")
    assert SECRET not in outcome.err


def test_a_column_name_cannot_steer_the_terminal(run: Runner) -> None:
    table = messages().rename_columns({"message_id": "\x1b[2J"})
    outcome = run("filter", write(table, "in.parquet"), "--out", "out", *judge())
    assert outcome.code == 1
    assert "\x1b" not in outcome.err
    assert r"\x1b[2J" in outcome.err


@pytest.mark.parametrize(
    "options",
    [
        judge(judged_at="yesterday"),
        judge(judged_at="2026-03-02"),
        judge(consent_as_of="2026-03-02T00:00:00"),
        judge(status_map="yes"),
        judge(method_map="=explicit"),
        judge(assume_timezone="Mars/Olympus"),
        judge(threads="0"),
        [*judge(), "--status-map", "a=given", "--status-map", "a=refused"],
        judge()[2:],
        judge()[:4],
        [*judge(), "--force"],
    ],
)
def test_a_fault_of_the_command_line_exits_with_2(run: Runner, options: list[str]) -> None:
    outcome = run("filter", write(messages(), "in.parquet"), "--out", "out", *options)
    assert outcome.code == 2
    assert outcome.err
    assert "Traceback" not in outcome.err
    assert not Path("out").exists()


@pytest.mark.usefixtures("folder")
def test_processes_exit_with_the_documented_codes() -> None:
    path = write(messages(), "in.parquet")
    good = run_process("filter", path, "--out", "out", *judge())
    bad = run_process("filter", "missing", "--out", "out2", *judge())
    wrong = run_process("filter", path)
    assert (good.code, bad.code, wrong.code) == (0, 1, 2)
    assert_paragraph(bad.err, "unreadable_file")
    assert bad.out == ""


# odd names


ODD_NAMES = ["n" * 300, "\udcff", "policy.toml/x", "a\nb\x1b[2J"]


@pytest.mark.parametrize("name", ODD_NAMES)
@pytest.mark.parametrize(
    "command",
    [
        ["policy", "check", "{}.toml"],
        ["policy", "init", "{}/policy.toml"],
        ["demo", "--out", "policy.toml/{}"],
        ["filter", "in.parquet", "--out", "out", *judge(policy="{}.toml")],
        ["ledger", "counts", "{}"],
    ],
    ids=lambda command: " ".join(command[:2]),
)
def test_an_odd_name_is_one_paragraph(run: Runner, name: str, command: list[str]) -> None:
    write(messages(), "in.parquet")
    outcome = run(*(word.format(name) for word in command))
    assert outcome.code == 1
    assert re.fullmatch(r"consentgate: .* \[\w+\]\n", outcome.err)
    assert not Path("out").exists()


@pytest.mark.parametrize("option", ["subject_column", "assume_timezone", "status_map"])
def test_an_option_that_is_no_text_exits_with_2(run: Runner, option: str) -> None:
    options = judge(**{option: "\udcff=given"})
    outcome = run("filter", write(messages(), "in.parquet"), "--out", "out", *options)
    assert outcome.code == 2
    assert_paragraph(outcome.err, "configuration")


def test_a_pipe_in_place_of_a_policy_is_refused(run: Runner) -> None:
    os.mkfifo("pipe.toml")
    for command in (["check"], ["init"], ["init", "--overwrite"]):
        outcome = run("policy", *command, "pipe.toml")
        assert outcome.code == 1
        assert "it is a named pipe" in outcome.err
