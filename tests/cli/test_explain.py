"""`consentgate explain`: what it says of a record, in a file or in a folder of files."""

from __future__ import annotations

import os
import re
from pathlib import Path
from uuid import UUID

import pyarrow as pa
import pytest

from tests.build import message_table
from tests.cli.filtering import messages, write
from tests.command import Outcome, Runner, assert_paragraph, judge


def explained(run: Runner, record_id: str, **options: str) -> Outcome:
    return run("explain", "in.parquet", record_id, *judge(**options))


def test_explain_says_what_the_gate_says(run: Runner) -> None:
    write(message_table(message_id=[7, 8, 7], sender_id=[1, 1, 2]), "in.parquet")
    outcome = explained(run, "7")
    assert outcome.code == 0
    assert "row 0, written 2025-06-01T00:00:00Z: admitted" in outcome.out
    assert "row 2, written 2025-06-01T00:00:00Z: excluded, because" in outcome.out
    assert "consent_withdrawn" in outcome.out
    assert "row 1" not in outcome.out


def test_explain_counts_rows_over_batches(run: Runner) -> None:
    write(messages(10), "in.parquet", "ipc file")
    assert "row 8," in explained(run, "8").out


@pytest.mark.parametrize("kind", [pa.uuid(), pa.binary(16)])
def test_explain_reads_uuids(run: Runner, kind: pa.DataType) -> None:
    wanted = UUID(int=5)
    ids = pa.array([UUID(int=4).bytes, wanted.bytes], pa.binary(16)).cast(kind)
    write(message_table(message_id=ids), "in.parquet")
    assert "row 1," in explained(run, str(wanted)).out


@pytest.mark.parametrize("form", ["parquet", "ipc file"])
def test_explain_takes_the_uri_of_a_file(run: Runner, form: str) -> None:
    write(messages(10), "in.data", form)
    outcome = run("explain", Path("in.data").absolute().as_uri(), "8", *judge())
    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.out.startswith("record 8\nrow 8,")


@pytest.mark.parametrize("kind", [pa.string(), pa.string_view()])
def test_explain_reads_text(run: Runner, kind: pa.DataType) -> None:
    write(message_table(message_id=pa.array(["a", "007"], kind)), "in.parquet")
    assert "row 1," in explained(run, "007").out


def test_explain_of_an_absent_record_exits_with_1(run: Runner) -> None:
    write(messages(), "in.parquet")
    outcome = explained(run, "123456789")
    assert outcome.code == 1
    assert_paragraph(outcome.err, "record_not_found")
    assert "123456789" not in outcome.err


def test_explain_of_an_id_of_another_family_exits_with_2(run: Runner) -> None:
    write(messages(), "in.parquet")
    outcome = explained(run, "x")
    assert outcome.code == 2
    assert "give an integer" in outcome.err


def write_folder() -> None:
    """Three files in two folders, one of which names a column; record 7 is in two of them."""
    for folder, ids, senders in (("day=1", [5, 6], 1), ("day=2", [7, 8], 2), ("day=3", [7, 9], 1)):
        Path("messages", folder).mkdir(parents=True)
        write(message_table(message_id=ids, sender_id=senders), f"messages/{folder}/a.parquet")


@pytest.mark.parametrize("source", ["messages", "messages/", "messages/**/*.parquet"])
def test_explain_searches_files_until_one_has_the_record(run: Runner, source: str) -> None:
    write_folder()
    outcome = run("explain", source, "7", *judge())
    lines = outcome.out.splitlines()
    assert outcome.code == 0
    assert lines[0] == "record 7"
    assert lines[1].startswith("file day=2/a.parquet, row 0, written 2025-06-01T00:00:00Z: exclud")
    assert "day=3" not in outcome.out
    assert "    subject 2 in 'sender_id', purpose 'train_ai_system'" in lines


def test_explain_judges_by_the_columns_that_folders_stand_for(run: Runner) -> None:
    write_folder()
    Path("policy.toml").write_text(
        'max_snapshot_age = "none"\nrecord_rules.day_3 = { column = "day", any_of = 3 }\n'
    )
    outcome = run("explain", "messages", "9", *judge())
    assert "file day=3/a.parquet, row 1, " in outcome.out
    assert "    value in 'day'" in outcome.out.splitlines()


def test_explain_of_a_record_that_no_file_has_exits_with_1(run: Runner) -> None:
    write_folder()
    outcome = run("explain", "messages", "-5", *judge())
    assert outcome.code == 1
    assert_paragraph(outcome.err, "record_not_found")
    assert "No row of 'messages' has the record id asked for in column 'message_id'" in outcome.err


@pytest.mark.parametrize("source", ["missing", "empty", "missing/*.parquet"])
def test_explain_of_no_file_at_all_exits_with_1(run: Runner, source: str) -> None:
    Path("empty").mkdir()
    outcome = run("explain", source, "7", *judge())
    assert outcome.code == 1
    assert_paragraph(outcome.err, "source")


def test_explain_of_a_pipe_exits_with_1(run: Runner) -> None:
    os.mkfifo("pipe")
    outcome = run("explain", "pipe", "7", *judge())
    assert outcome.code == 1
    assert "named pipe" in outcome.err


def test_explain_says_that_record_ids_are_missing(run: Runner) -> None:
    write(messages().drop("message_id"), "in.parquet")
    outcome = explained(run, "7")
    assert outcome.code == 1
    assert_paragraph(outcome.err, "column_missing")
    assert "'message_id' (record_id)" in outcome.err


def test_both_commands_that_explain_take_their_arguments_alike(run: Runner) -> None:
    for command in (["explain"], ["ledger", "explain"]):
        shown = run(*command, "--help").out
        assert re.match(r"Usage: consentgate .*explain \[OPTIONS\] \{\w+\} \{RECORD_ID\}\n", shown)
        assert "an integer, a UUID or text" in " ".join(shown.split())
