"""Options about the files of consent and channels, and errors that name options."""

from __future__ import annotations

import json
import re
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import typer.main

import consentgate as cg
from consentgate.cli import app, text
from tests.build import (
    AS_OF,
    WRITTEN,
    consent_table,
    message_table,
)
from tests.command import Outcome, Runner, judge
from tests.faults import FAULTS
from tests.faults.fault import Fault

PYTHON = re.compile(r"`|=…|\w\(|\b(as_of|status_map|method_map|assume_timezone|judged_at)=")
"""What messages for people at a command line do not hold."""
SNAPSHOT = {"consent": "snapshot.csv", "consent_as_of": AS_OF.isoformat()}
REGISTRY = {"channels": "registry.csv", "channels_as_of": AS_OF.isoformat()}


def filtered(run: Runner, *more: str, **options: str) -> Outcome:
    """`consentgate filter` of one message by each of two people."""
    table = message_table(sender_id=[1, 2], created_at=[WRITTEN] * 2)
    pq.write_table(table, "in.parquet")
    return run("filter", "in.parquet", "--out", "out", *judge(**options), *more)


def excluded() -> list[str]:
    """The primary reasons of the rows that were excluded."""
    reasons: list[str] = pq.read_table("out/excluded.parquet")["reason"].to_pylist()
    return reasons


# --- options --------------------------------------------------------------------------------


def test_columns_of_both_files_may_have_other_names(run: Runner) -> None:
    Path("snapshot.csv").write_text(
        "user,purpose,state,method,effective_from\n"
        "1,train_ai_system,given,explicit,2025-01-01T00:00:00Z\n"
        "2,train_ai_system,refused,explicit,\n"
    )
    Path("registry.csv").write_text("room,visibility\n10,public\n")
    options = [
        *("--consent-map", "subject_id=user", "--consent-map", "status=state"),
        *("--channels-map", "channel_id=room"),
    ]
    outcome = filtered(run, *options, **SNAPSHOT, **REGISTRY)
    assert outcome.code == 0, outcome.err
    assert excluded() == ["consent_refused"]


def test_a_name_in_the_file_may_hold_an_equals_sign(run: Runner) -> None:
    table = consent_table(subject_id=[1, 2]).rename_columns({"subject_id": "user=id"})
    pq.write_table(table, "snapshot.csv")
    outcome = filtered(run, "--consent-map", "subject_id=user=id", **SNAPSHOT)
    assert outcome.code == 0, outcome.err


def test_naive_timestamps_are_read_in_the_zone_of_their_file(run: Runner) -> None:
    Path("snapshot.csv").write_text(
        "subject_id,purpose,status,method,effective_from\n"
        "1,train_ai_system,given,explicit,2025-06-01T02:00:00\n"
        "2,train_ai_system,given,explicit,2025-06-01T02:00:01\n"
    )
    Path("registry.csv").write_text(
        "channel_id,visibility,public_since\n10,public,2025-05-31T20:00\n"
    )
    options = ["--consent-timezone", "Europe/Berlin", "--channels-timezone", "America/New_York"]
    outcome = filtered(run, *options, **SNAPSHOT, **REGISTRY)
    assert outcome.code == 0, outcome.err
    assert excluded() == ["predates_consent"]
    berlin = ["--consent-timezone", "Europe/Berlin", "--channels-timezone", "America/Chicago"]
    assert filtered(run, *berlin, "--overwrite", **SNAPSHOT, **REGISTRY).code == 0
    assert excluded() == ["private_channel", "private_channel"]


def test_empty_cells_mean_what_the_options_say(run: Runner) -> None:
    Path("snapshot.csv").write_text(
        "subject_id,purpose,status,method,effective_from\n"
        "1,train_ai_system,,,\n"
        "2,train_ai_system,given,,2025-01-01T00:00:00Z\n"
    )
    options = ["--status-map", "=withdrawn", "--method-map", "=imported"]
    assert filtered(run, *options, **SNAPSHOT).code == 0
    assert excluded() == ["consent_withdrawn", "consent_not_explicit"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--consent-map", "subject_id"], "'subject_id' must be written as COLUMN=NAME"),
        (["--consent-map", "=user"], "'=user' must be written as COLUMN=NAME"),
        (["--consent-map", "subject_id="], "'subject_id=' must be written as COLUMN=NAME"),
        (["--channels-map", "a=b", "--channels-map", "a=c"], "have the same left side"),
        (["--consent-map", "user=subject_id"], "--consent-map maps 'user', but a consent snapshot"),
        (["--channels-map", "id=room"], "--channels-map maps 'id', but a channel registry has"),
        (["--consent-map", "status=x", "--consent-map", "method=x"], "--consent-map would make"),
        (["--consent-timezone", "Mars"], "Time zone 'Mars' is not known"),
        (["--channels-timezone", ""], "Time zone '' is not known"),
        (["--status-map", "=given"], "--status-map lets an empty cell mean 'given'"),
        (["--method-map", "=explicit"], "--method-map lets an empty cell mean 'explicit'"),
        (["--status-map", "="], "'=' must be written as WORD=MEANING"),
        (["--subject-column", "message_id"], "named as --record-id-column and in --subject-column"),
        (["--subject-column", ""], "--subject-column has a name that is empty"),
        (["--assume-timezone", ""], "--assume-timezone has a name that is empty"),
    ],
)
def test_a_faulty_option_is_named(run: Runner, options: list[str], words: str) -> None:
    outcome = filtered(run, *options)
    assert outcome.code == 2
    assert words in re.sub(r"[\s│]+", " ", outcome.err)
    assert not Path("out").exists()


@pytest.mark.parametrize(
    "option",
    [
        ["--channels-map", "a=b"],
        ["--channels-timezone", "UTC"],
        ["--channels-as-of", "2026-03-01T00:00:00Z"],
    ],
)
def test_options_about_no_registry_are_refused(run: Runner, option: list[str]) -> None:
    options = judge(visibility_column="seen")
    at = options.index("--channels")
    table = message_table().drop("channel_id").append_column("seen", pa.array(["public"]))
    pq.write_table(table, "in.parquet")
    rest = [*options[:at], *options[at + 2 :]]
    outcome = run("filter", "in.parquet", "--out", "out", *rest, *option)
    assert outcome.code == 2
    assert "name its file with --channels" in re.sub(r"[\s│]+", " ", outcome.err)
    assert run("filter", "in.parquet", "--out", "out", *rest).code == 0


# --- errors name options --------------------------------------------------------------------


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_no_error_at_the_command_line_speaks_python(fault: Fault, run: Runner) -> None:
    Path("faults").mkdir()
    outcome = run(*fault.write(Path("faults")))
    assert outcome.code == 1
    assert PYTHON.search(outcome.err) is None


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"consent_metadata": {}}, "give --consent-as-of, or put"),
        ({"channels_metadata": {}}, "give --channels-as-of, or put"),
        (
            {"consent": {"effective_from": datetime(2025, 1, 1)}},
            "time zone with --consent-timezone",
        ),
        ({"channels": {"public_since": datetime(2025, 1, 1)}}, "zone with --channels-timezone"),
        ({"messages": {"created_at": [datetime(2025, 1, 1)]}}, "time zone with --assume-timezone"),
        ({"messages": {"sender_id": ...}}, "name the column in --subject-column"),
        ({"messages": {"channel_id": ...}}, "name the column in --channel-column"),
        ({"messages": {"created_at": ...}}, "name the column in --created-at-column"),
        ({"consent": {"status": "yes"}}, "translate them with --status-map"),
        ({"consent": {"status": pa.nulls(2)}}, "or say with --status-map what '' stands for"),
        ({"consent": {"method": ...}}, "say with --consent-map which column to use"),
        (
            {"channels": {"channel_id": ..., "x": [1]}},
            "say with --channels-map which column to use",
        ),
        (
            {"consent_metadata": {"as_of": "2900-01-01T00:00:00Z"}, "judged_at": None},
            "or give the instant of judgement (--judged-at)",
        ),
    ],
)
def test_an_error_names_the_option_that_helps(
    run: Runner, options: dict[str, Any], words: str
) -> None:
    fault = Fault("x", cg.ConsentGateError, (), policy='max_snapshot_age = "none"', **options)
    outcome = run(*fault.write(Path.cwd()))
    assert outcome.code == 1
    assert words in outcome.err


def test_a_missing_registry_is_an_option_that_is_missing(run: Runner) -> None:
    options = judge()
    at = options.index("--channels")
    pq.write_table(message_table(), "in.parquet")
    outcome = run("filter", "in.parquet", "--out", "out", *options[:at], *options[at + 2 :])
    assert outcome.code == 2
    assert "(--visibility-column) and no channel column" in outcome.err
    assert PYTHON.search(outcome.err) is None


def test_faults_are_a_paragraph_each(run: Runner) -> None:
    table = consent_table(
        subject_id=[1, None], status=["yes", "given"], expires_at=datetime(2025, 1, 1)
    )
    pq.write_table(table, "consent.parquet")
    outcome = filtered(run)
    assert outcome.code == 1
    assert [line.partition(" ")[0] for line in outcome.err.splitlines()] == [
        "consentgate:",
        *"----",
    ]
    head, *lines = outcome.err.splitlines()
    assert head == "consentgate: The consent snapshot has 4 faults:"
    assert lines[-1].endswith("put 'consentgate.as_of' into the file's metadata. [snapshot]")
    assert "with --consent-timezone" in outcome.err
    assert PYTHON.search(outcome.err) is None


def test_a_run_says_as_json_what_it_says_to_people(run: Runner) -> None:
    pq.write_table(message_table(created_at=[datetime(2025, 1, 1)]), "in.parquet")
    outcome = run("run", "in.parquet", "out", "--json", *judge())
    assert outcome.code == 1
    failed = json.loads(outcome.out.splitlines()[-1])
    assert "with --assume-timezone" in failed["message"]
    assert PYTHON.search(outcome.err) is None


def test_an_older_run_names_the_option_that_allows_it(run: Runner) -> None:
    pq.write_table(message_table(), "in.parquet")
    assert run("run", "in.parquet", "out", *judge()).code == 0
    earlier = run("run", "in.parquet", "out", *judge(judged_at=AS_OF.isoformat()))
    assert earlier.code == 1
    assert "or allow it (--allow-older-snapshot)" in earlier.err
    assert PYTHON.search(earlier.err) is None


def test_every_parameter_has_an_option_that_exists() -> None:
    commands = typer.main.get_command(app).commands.values()  # type: ignore[attr-defined]
    known = {name for command in commands for option in command.params for name in option.opts}
    for options in (text._OPTIONS, text.CONSENT_OPTIONS, text.CHANNELS_OPTIONS):
        named = {name for words in options.values() for name in words.split(" and ")}
        assert named <= known


def test_only_names_in_backticks_are_parameters() -> None:
    words = "Column 'status_map' is said by `status_map` and `nobody`; as_of stays"
    assert text.with_options(words) == words.replace("`status_map`", "--status-map")
    assert text.with_options("`as_of`", {"as_of": "--x"}) == "--x"
