"""`consentgate filter`: what it writes and what it says."""

from __future__ import annotations

import os
import re
from datetime import datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.build import AS_OF, WRITTEN, consent_table, message_table
from tests.cli.filtering import assert_outputs, assert_same, expected, messages, read, write
from tests.command import Runner, judge, run_process, shown_on_terminal

# filter: what comes out


@pytest.mark.parametrize("form", ["parquet", "ipc file", "ipc stream"])
def test_output_is_what_the_gate_makes_of_the_whole_table(run: Runner, form: str) -> None:
    table = messages(100)
    outcome = run("filter", write(table, "in.data", form), "--out", "out", *judge())
    assert outcome.code == 0
    assert_outputs("out", table)


def test_several_inputs_are_judged_as_one(run: Runner) -> None:
    parts = [messages(40), messages(30, 40).replace_schema_metadata(None), messages(30, 70)]
    forms = ["parquet", "ipc stream", "ipc file"]
    paths = [
        write(t, f"{n}.in", form) for n, (t, form) in enumerate(zip(parts, forms, strict=True))
    ]
    assert run("filter", *paths, "--out", "out", *judge()).code == 0
    assert_outputs("out", messages(100))


def test_many_batches_with_dictionaries_of_their_own_keep_their_values(run: Runner) -> None:
    table = pa.concat_tables([messages(200_000), messages(100_000, 200_001)])
    path = write(table, "in.arrow", "ipc stream", 1_000)
    assert run("filter", path, "--out", "out", "--threads", "2", *judge()).code == 0
    wanted = expected(table)[0]
    assert read("out/admitted.parquet")["word"].to_pylist() == wanted["word"].to_pylist()


def test_an_input_without_rows_gives_outputs_without_rows(run: Runner) -> None:
    table = messages().slice(0, 0)
    outcome = run("filter", write(table, "in.parquet"), "--out", "out", *judge())
    assert outcome.code == 0
    for actual, wanted in zip(("admitted", "excluded"), expected(table), strict=True):
        assert_same(read(f"out/{actual}.parquet"), wanted)


def test_lists_of_a_fixed_size_of_0_are_refused_before_anything_is_written(run: Runner) -> None:
    column = pa.array([[{"a": []}]] * 10, pa.list_(pa.struct([("a", pa.list_(pa.string(), 0))])))
    table = messages().append_column("lists", column)
    outcome = run("filter", write(table, "in.arrow", "ipc file"), "--out", "out", *judge())
    assert outcome.code != 0
    assert "'lists' is list<…> and holds lists of the fixed size 0" in outcome.err
    assert not Path("out").exists()


def test_views_come_back_as_views(run: Runner) -> None:
    table = messages().append_column("text", pa.array(["a"] * 10, pa.string_view()))
    assert run("filter", write(table, "in.arrow", "ipc file"), "--out", "out", *judge()).code == 0
    assert_outputs("out", table)


def test_visibility_alone_needs_no_registry(run: Runner) -> None:
    table = message_table(sender_id=[1, 1, 2]).drop("channel_id")
    table = table.append_column("seen", pa.array(["public", "private", "public"]))
    options = judge(visibility_column="seen")
    del options[options.index("--channels") :][:2]
    at = options.index("--channels")
    outcome = run(
        "filter", write(table, "in.parquet"), "--out", "out", *options[:at], *options[at + 2 :]
    )
    assert outcome.code == 0, outcome.err
    assert read("out/admitted.parquet")["message_id"].to_pylist() == [0]


def test_columns_and_vocabulary_go_by_the_options(run: Runner) -> None:
    table = message_table(sender_id=[1, 2]).rename_columns(
        {"sender_id": "who", "channel_id": "room"}
    )
    table = table.rename_columns({"message_id": "id", "created_at": "at"})
    consent = consent_table(subject_id=[1, 2], status=["yes", "no"], method="click")
    pq.write_table(consent, "words.parquet")
    options = judge(
        consent="words.parquet",
        consent_as_of=AS_OF.isoformat(),
        record_id_column="id",
        subject_column="who",
        channel_column="room",
        created_at_column="at",
        method_map="click=explicit",
    )
    maps = ["--status-map", "yes=given", "--status-map", "no=refused"]
    outcome = run("filter", write(table, "in.parquet"), "--out", "out", *options, *maps)
    assert outcome.code == 0, outcome.err
    assert read("out/excluded.parquet")["reason"].to_pylist() == ["consent_refused"]


# filter: what is said


def test_the_summary_tells_rows_by_fate_and_reason_in_plain_columns(run: Runner) -> None:
    table = message_table(
        sender_id=[1, 1, 2, 2], channel_id=[10, 10, 10, 11], created_at=[WRITTEN] * 4
    )
    outcome = run("filter", write(table, "in.parquet"), "--out", "out", *judge())
    lines = [line.split() for line in outcome.out.splitlines()]
    assert lines[:3] == [
        ["judged", "4", "100.00%"],
        ["admitted", "2", "50.00%"],
        ["excluded", "2", "50.00%"],
    ]
    assert lines[5:7] == [["private_channel", "1", "1"], ["consent_withdrawn", "1", "2"]]
    assert lines[-1] == ["wrote", "out/admitted.parquet", "and", "out/excluded.parquet"]
    assert outcome.out.isascii()
    assert "\x1b" not in outcome.out


@pytest.mark.usefixtures("folder")
def test_a_pipe_gets_neither_progress_nor_colour_nor_cut_names() -> None:
    rule = "a_rule_whose_name_is_" + "long" * 10
    text = Path("policy.toml").read_text()
    Path("policy.toml").write_text(f"{text}[record_rules.{rule}]\ncolumn='word'\nis_null=true\n")
    table = messages().set_column(4, "word", pa.nulls(10, pa.string()))
    path = write(table, "in.parquet")
    environment = {**os.environ, "FORCE_COLOR": "1", "COLUMNS": "40"}
    outcome = run_process("filter", path, "--out", "out", *judge(), env=environment)
    assert (outcome.code, outcome.err) == (0, "")
    assert rule in outcome.out
    assert "\x1b" not in outcome.out


@pytest.mark.usefixtures("folder")
def test_a_terminal_gets_a_progress_bar() -> None:
    path = write(messages(), "in.parquet")
    shown = shown_on_terminal("filter", path, "--out", "out", *judge())
    assert "10 rows" in shown
    assert re.search(r"\d+% admitted", shown)


def test_timestamps_of_the_type_that_spark_writes_do_not_wrap_round(run: Runner) -> None:
    """Read as nanoseconds, a message of the year 9999 would be of 1816."""
    late = pa.array([datetime(9999, 12, 31)], pa.timestamp("us"))
    table = message_table(created_at=late)
    pq.write_table(table, "in.parquet", use_deprecated_int96_timestamps=True)
    run("filter", "in.parquet", "--out", "out", "--assume-timezone", "UTC", *judge())
    assert pq.read_table("out/excluded.parquet")["reason"].to_pylist() == ["after_snapshot"]
