"""The command line: what it writes, what it says, and how it ends."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import tomllib
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import consentgate as cg
from consentgate.cli.policy import TEMPLATE
from tests.build import (
    AS_OF,
    BEGUN,
    MICRO,
    NOW,
    WRITTEN,
    consent_table,
    make_channels,
    make_consent,
    message_table,
)
from tests.command import (
    Outcome,
    Runner,
    assert_paragraph,
    judge,
    run_process,
    shown_on_terminal,
)

METADATA = {"owner": "tests", "licence": "none"}
SECRET = "secret-subject"


def messages(rows: int = 10, first: int = 0) -> pa.Table:
    """Messages of every fate, whose words and senders repeat in a pattern."""
    numbers = range(first, first + rows)
    table = message_table(
        message_id=list(numbers),
        sender_id=[(1, 2, 3)[n % 3] for n in numbers],
        channel_id=[(10, 10, 11, 12)[n % 4] for n in numbers],
        created_at=[WRITTEN if n % 7 else BEGUN - MICRO for n in numbers],
    )
    words = pa.array([f"word {n % 5}" for n in numbers]).dictionary_encode()
    return table.append_column("word", words).replace_schema_metadata(METADATA)


def write(table: pa.Table, path: str, form: str = "parquet", batch_rows: int = 3) -> str:
    """Write the table in small batches."""
    if form == "parquet":
        pq.write_table(table, path, row_group_size=batch_rows)
        return path
    new = pa.ipc.new_file if form == "ipc file" else pa.ipc.new_stream
    with pa.OSFile(path, "wb") as file, new(file, table.schema) as writer:
        writer.write_table(table, max_chunksize=batch_rows)
    return path


def read(path: str | Path) -> pa.Table:
    return pq.ParquetFile(path).read()


def expected(table: pa.Table) -> tuple[pa.Table, pa.Table]:
    """What `Gate.filter` makes of the whole table."""
    gate = cg.Gate(
        cg.Policy(name="tests", max_snapshot_age=None),
        make_consent(subject_id=[1, 2], status=["given", "withdrawn"]),
        make_channels(channel_id=[10, 11], visibility=["public", "private"]),
        judged_at=NOW,
    )
    return gate.filter(table)


def names_in(folder: str) -> list[str]:
    return sorted(path.name for path in Path(folder).iterdir())


def assert_same(actual: pa.Table, wanted: pa.Table) -> None:
    assert actual.schema.equals(wanted.schema, check_metadata=True)
    assert actual.to_pylist() == wanted.to_pylist()


def assert_outputs(folder: str, table: pa.Table) -> None:
    admitted, excluded = expected(table)
    assert 0 < admitted.num_rows < table.num_rows
    assert_same(read(f"{folder}/admitted.parquet"), admitted)
    assert_same(read(f"{folder}/excluded.parquet"), excluded)
    assert names_in(folder) == ["admitted.parquet", "excluded.parquet"]


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


# filter: outputs that exist, and failures


@pytest.mark.parametrize("name", ["admitted.parquet", "excluded.parquet"])
def test_an_output_that_exists_is_replaced_only_with_overwrite(run: Runner, name: str) -> None:
    path, table = write(messages(100), "in.parquet"), messages(100)
    Path("out").mkdir()
    Path("out", name).write_bytes(b"old")
    refused = run("filter", path, "--out", "out", *judge())
    assert refused.code == 1
    assert_paragraph(refused.err, "output")
    assert {file.name: file.read_bytes() for file in Path("out").iterdir()} == {name: b"old"}
    assert run("filter", path, "--out", "out", "--overwrite", *judge()).code == 0
    assert_outputs("out", table)


def test_an_input_is_never_replaced(run: Runner) -> None:
    Path("out").mkdir()
    path = write(messages(), "out/admitted.parquet")
    Path("link").symlink_to("out")
    before = Path(path).read_bytes()
    outcome = run("filter", path, "--out", "link", "--overwrite", *judge())
    assert outcome.code == 1
    assert "a file that this command reads" in outcome.err
    assert Path(path).read_bytes() == before


def test_the_snapshot_is_never_replaced(run: Runner) -> None:
    Path("out").mkdir()
    Path("consent.parquet").rename("out/excluded.parquet")
    options = judge(consent="out/excluded.parquet")
    outcome = run("filter", write(messages(), "in"), "--out", "out", "--overwrite", *options)
    assert outcome.code == 1
    assert "a file that this command reads" in outcome.err


@pytest.mark.parametrize("out", ["policy.toml", "policy.toml/deeper"])
def test_an_output_below_a_file_is_refused(run: Runner, out: str) -> None:
    outcome = run("filter", write(messages(), "in.parquet"), "--out", out, *judge())
    assert outcome.code == 1
    assert_paragraph(outcome.err, "output")


def truncate(path: str) -> str:
    """Break the rows of a Parquet file, not its footer: only reading on finds out."""
    data = bytearray(Path(path).read_bytes())
    data[4 : len(data) // 3] = bytes(len(data) // 3 - 4)
    Path(path).write_bytes(data)
    return path


def test_a_failure_halfway_leaves_nothing_behind(run: Runner) -> None:
    paths = write(messages(500), "a.parquet"), truncate(write(messages(500), "b.parquet"))
    before = names_in(".")
    outcome = run("filter", *paths, "--out", "new/deep/out", *judge())
    assert outcome.code == 1
    assert_paragraph(outcome.err, "unreadable_file")
    assert "'b.parquet'" in outcome.err
    assert names_in(".") == before


def test_a_failure_halfway_keeps_what_was_there_before(run: Runner) -> None:
    paths = write(messages(500), "a.parquet"), truncate(write(messages(500), "b.parquet"))
    Path("out").mkdir()
    Path("out/admitted.parquet").write_bytes(b"old")
    outcome = run("filter", *paths, "--out", "out", "--overwrite", *judge())
    assert outcome.code == 1
    assert {file.name: file.read_bytes() for file in Path("out").iterdir()} == {
        "admitted.parquet": b"old"
    }


def test_a_second_file_that_is_cut_short_is_refused_before_any_output(run: Runner) -> None:
    first, second = write(messages(), "a.parquet"), write(messages(), "b.parquet")
    Path(second).write_bytes(Path(second).read_bytes()[:-100])
    outcome = run("filter", first, second, "--out", "out", *judge())
    assert outcome.code == 1
    assert_paragraph(outcome.err, "unreadable_file")
    assert not Path("out").exists()


@pytest.mark.parametrize("fault", [KeyboardInterrupt, SystemExit(143)])
def test_an_interruption_leaves_nothing_behind(
    run: Runner, monkeypatch: pytest.MonkeyPatch, fault: Any
) -> None:
    def interrupt(*_: object) -> None:
        raise fault

    monkeypatch.setattr("consentgate.cli.output.TableWriter.write", interrupt)
    outcome = run("filter", write(messages(), "in.parquet"), "--out", "out", *judge())
    assert outcome.code == (143 if isinstance(fault, SystemExit) else 130)
    assert "Traceback" not in outcome.err
    assert not Path("out").exists()


@pytest.mark.usefixtures("folder")
def test_a_full_disk_is_one_paragraph_and_leaves_nothing_behind() -> None:
    script = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (4000, 4000));"
        "sys.argv[0] = 'consentgate'; from consentgate.cli import main; main()"
    )
    path = write(messages(20_000), "in.arrow", "ipc file")
    command = [sys.executable, "-c", script, "filter", path, "--out", "out", *judge()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert_paragraph(done.stderr, "output")
    assert "File too large" in done.stderr
    assert not Path("out").exists()


def test_a_type_that_parquet_lacks_is_named_before_any_output(run: Runner) -> None:
    runs = pa.array([1] * 10, pa.run_end_encoded(pa.int32(), pa.int64()))
    path = write(messages().append_column("runs", runs), "in.arrow", "ipc stream")
    outcome = run("filter", path, "--out", "out", *judge())
    assert outcome.code == 1
    assert_paragraph(outcome.err, "output")
    assert not Path("out").exists()


def test_files_of_differing_schemas_are_refused_by_name(run: Runner) -> None:
    other = messages().rename_columns({"word": "term"})
    paths = write(messages(), "a.parquet"), write(other, "b.parquet")
    outcome = run("filter", *paths, "--out", "out", *judge())
    assert outcome.code == 1
    assert_paragraph(outcome.err, "schema_mismatch")
    for name in (
        "'a.parquet'",
        "'b.parquet'",
        "column 'word' is missing, column 'term' is additional",
    ):
        assert name in outcome.err
    assert not Path("out").exists()


def test_files_with_columns_in_another_order_are_refused(run: Runner) -> None:
    other = messages().select(["word", "message_id", "sender_id", "channel_id", "created_at"])
    paths = write(messages(), "a.parquet"), write(other, "b.parquet")
    outcome = run("filter", *paths, "--out", "out", *judge())
    assert outcome.code == 1
    assert "the columns' order differs" in outcome.err


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


# streams that take no text


def run_in_shell(redirection: str, *arguments: str) -> Outcome:
    """The command line, its streams redirected by a shell."""
    command = shlex.join([sys.executable, "-m", "consentgate", *arguments])
    done = subprocess.run(
        ["bash", "-c", f"{command} {redirection}; exit ${{PIPESTATUS[0]}}"],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr
    return Outcome(done.returncode, done.stdout, done.stderr)


LOST = "consentgate: Text for stdout was lost: No space left on device."
DONE = "All else that the command had to do is done."


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(
    ("redirection", "code", "words"),
    [
        (">&-", 0, ""),
        ("<&- >&- 2>&-", 0, ""),
        ("2>&-", 0, ""),
        (">/dev/full", 1, f"{LOST} {DONE}"),
        (">/dev/full 2>/dev/full", 1, ""),
        ("| true", 1, ""),
    ],
)
def test_outputs_are_whole_whatever_stdout_is(redirection: str, code: int, words: str) -> None:
    path = write(messages(100), "in.parquet")
    outcome = run_in_shell(redirection, "filter", path, "--out", "out", *judge())
    assert (outcome.code, outcome.err.startswith(words), bool(outcome.err)) == (
        code, True, bool(words),
    )  # fmt: skip
    assert_outputs("out", messages(100))


@pytest.mark.usefixtures("folder")
def test_a_run_goes_on_when_nobody_reads_its_progress() -> None:
    path = write(messages(100), "in.parquet")
    assert run_in_shell("| true", "run", path, "out", "--json", *judge()).code == 1
    assert run_process("verify", "out").code == 0
    assert_same(
        read("out/in.parquet").replace_schema_metadata(METADATA), expected(messages(100))[0]
    )


@pytest.mark.usefixtures("folder")
def test_findings_fail_a_check_whose_text_is_lost() -> None:
    path = write(messages(100), "in.parquet")
    assert run_process("run", path, "out", *judge()).code == 0
    Path("out/in.parquet").unlink()
    for redirection in (">&-", ">/dev/full"):
        outcome = run_in_shell(redirection, "verify", "out")
        assert outcome.code == 1
        assert DONE not in outcome.err


@pytest.mark.usefixtures("folder")
def test_a_fault_is_no_traceback_where_stderr_is_closed() -> None:
    for redirection in (">&- 2>&-", "2>/dev/full"):
        assert run_in_shell(redirection, "policy", "check", "missing.toml").code == 1


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


# policy


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


# the rest


def test_the_version_is_the_packages(run: Runner) -> None:
    assert run("--version") == Outcome(0, f"consentgate {cg.__version__}\n", "")


@pytest.mark.parametrize(
    "command", [[], ["demo"], ["filter"], ["explain"], ["policy"], ["policy", "check"]]
)
def test_help_documents_the_exit_codes(run: Runner, command: list[str]) -> None:
    outcome = run(*command, "--help")
    assert outcome.code == 0
    assert "Exit codes: 0 done; 1 the input or the policy is at fault" in outcome.out


def test_the_library_loads_no_command_line() -> None:
    script = "import sys, consentgate; sys.exit(bool({'typer', 'rich'} & sys.modules.keys()))"
    assert subprocess.run([sys.executable, "-c", script], timeout=60).returncode == 0
