"""`consentgate ledger`: what it says of a ledger, and that others can read one without it."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import consentgate as cg
from consentgate.cli import main
from tests.build import make_consent, make_gate, message_table
from tests.command import shown_on_terminal
from tests.run_data import mixed_gate, mixed_messages, write_files

NAMES = ["a.parquet", "day=1/b.parquet", "day=2/b.parquet"]
HOSTILE = "\x1b[2J\x9b31m\r\n\tid\u202e"
Command = Callable[..., "Outcome"]


@dataclass(frozen=True)
class Outcome:
    """How a command ended and what it said."""

    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[list[str]]:
        """The words of every line."""
        return [line.split() for line in self.out.splitlines()]

    @property
    def json(self) -> Any:
        """What a single object says."""
        return json.loads(self.out)

    @property
    def rows(self) -> list[dict[str, Any]]:
        """What JSON lines say."""
        return [json.loads(line) for line in self.out.splitlines()]


@pytest.fixture(autouse=True)
def small_batches(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Parts are read in many batches, and the tests run in a folder of their own."""
    monkeypatch.setattr("consentgate.cli.ledger_files._BATCH_ROWS", 7)
    monkeypatch.setattr("consentgate.cli.ledger._ALIGNED_ROWS", 5)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def ledger(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """`consentgate ledger`, run within this process."""
    before = signal.getsignal(signal.SIGTERM)

    def run_main(*arguments: str | Path) -> Outcome:
        monkeypatch.setattr(sys, "argv", ["consentgate", "ledger", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            main()
        signal.signal(signal.SIGTERM, before)
        return Outcome(int(end.value.code or 0), *capsys.readouterr())

    return run_main


def run_mixed(**policy: Any) -> cg.Manifest:
    """A run of three files, from `in` to `out`."""
    write_files(Path("in"), NAMES, rows=100)
    return cg.run(mixed_gate(**policy), "in", "out")


def run_ids(ids: pa.Array) -> cg.Manifest:
    """A run of one file of two messages: the first admitted, the second excluded."""
    Path("in").mkdir()
    pq.write_table(message_table(message_id=ids, channel_id=[10, 11]), "in/a.parquet")
    return cg.run(make_gate(), "in", "out")


def stream_mixed(*firsts: int) -> None:
    """The ledger of a stream, a part for each table of 100 messages."""
    for first in firsts:
        batches = mixed_messages(100, first).to_batches()
        mixed_gate().stream(batches, ledger="streamed").read_all()


def part_of(name: str = NAMES[0]) -> Path:
    """The part of the ledger about an input."""
    return Path("out/_consentgate/ledger", name)


def rows_of(name: str = NAMES[0]) -> list[dict[str, Any]]:
    """A part's rows, read with pyarrow, as `show --json` should say them."""
    file = pq.ParquetFile(part_of(name))
    names = json.loads(file.schema_arrow.metadata[b"consentgate.reason_names"])
    return [
        {
            "record_id": row["record_id"],
            "file": name,
            "row": row["row"],
            "reason": row["reason"],
            "reasons": [code for bit, code in names.items() if row["reason_bits"] >> int(bit) & 1],
        }
        for row in file.read().to_pylist()
    ]


def rewrite_part(change: Callable[[pa.Table], pa.Table]) -> None:
    """Write a part anew, its metadata kept as they were unless they are changed."""
    file = pq.ParquetFile(part_of())
    table = file.read()
    metadata = {k: v for k, v in file.metadata.metadata.items() if k != b"ARROW:schema"}
    pq.write_table(change(table.replace_schema_metadata(metadata)), part_of())


def assert_error(outcome: Outcome, code: str, *words: str) -> None:
    assert outcome.code == 1
    assert outcome.out == ""
    assert outcome.err.startswith("consentgate: ")
    assert outcome.err.endswith(f"[{code}]\n")
    assert "Traceback" not in outcome.err
    for word in words:
        assert word in outcome.err


def assert_harmless(text: str) -> None:
    """Only tabs and line breaks of our own beside what prints, and what does not is spelt out."""
    assert text.replace("\n", "").replace("\t", "").isprintable()
    assert "\\x1b" in text or "\\u001b" in text


# counts


def test_counts_are_those_of_the_manifest(ledger: Command) -> None:
    totals = run_mixed().totals
    found = ledger("counts", "out", "--json").json
    for key, value in totals.model_dump(mode="json").items():
        assert found[key] == value
    assert len(found["occurrences"]) > 3
    assert (found["files"], found["has_ended"]) == (3, True)


def test_counts_tell_rows_by_fate_and_reason_in_words(ledger: Command) -> None:
    Path("in").mkdir()
    table = message_table(sender_id=[1, 1, 2, None], channel_id=[10, 11, 11, 10])
    pq.write_table(table, "in/a.parquet")
    cg.run(make_gate(make_consent(subject_id=[1, 2], status=["given", "refused"])), "in", "out")
    outcome = ledger("counts", "out")
    assert outcome.lines[:3] == [
        ["judged", "4", "100.00%"],
        ["admitted", "1", "25.00%"],
        ["excluded", "3", "75.00%"],
    ]
    unknown = "nothing says whether the channel it was posted in is public"
    assert outcome.out.splitlines()[4:8] == [
        "reason           primary reason of  applies to",
        f"channel_unknown                  2           2  {unknown}",
        "subject_missing                  1           1  a data subject is not named",
        "consent_refused                  0           1  a data subject refused",
    ]
    assert "has not ended" not in outcome.out


def test_counts_tell_by_what_rows_were_judged(ledger: Command) -> None:
    manifest = run_mixed()
    identity = manifest.identity
    (judge,) = ledger("counts", "out", "--json").json["judged_by"]
    assert judge == {
        **manifest.judgement.model_dump(mode="json"),
        "policy_digest": identity.policy_digest,
        "snapshot_digest": identity.consent.digest,
        "snapshot_as_of": identity.consent.as_of.isoformat(),
        "snapshot_source": "Arrow data",
        "registry_digest": identity.channels.digest if identity.channels else None,
        "registry_as_of": identity.consent.as_of.isoformat(),
        "registry_source": "Arrow data",
    }
    out = ledger("counts", "out").out
    assert "judged at:         2026-03-02T00:00:00+00:00, by consentgate 0." in out
    assert f"policy:            {manifest.identity.policy_digest}" in out
    assert "consent snapshot:  as of 2026-03-01T00:00:00+00:00, from 'Arrow data'" in out
    assert "channel registry:  as of 2026-03-01T00:00:00+00:00, from 'Arrow data'" in out


def test_a_policys_rules_count_under_their_names_and_in_words(ledger: Command) -> None:
    rules = {"quiet": {"column": "word", "any_of": ["word 1"]}}
    totals = run_mixed(record_rules=rules).totals
    found = ledger("counts", "out", "--json").json
    assert found["occurrences"]["quiet"] == totals.occurrences["quiet"] > 0
    assert found["words"]["quiet"] == "the policy excludes it by a rule on 'word'"
    assert list(found["words"])[-1] == "quiet"


def test_counts_of_a_ledger_without_rows_are_none(ledger: Command) -> None:
    Path("in").mkdir()
    pq.write_table(message_table(), "in/a.parquet")
    cg.run(make_gate(), "in", "out")
    outcome = ledger("counts", "out")
    assert outcome.lines[2] == ["excluded", "0", "0.00%"]
    assert "reason" not in outcome.out
    shown = ledger("show", "out")
    assert (shown.code, shown.out, shown.err) == (0, "", "no row of the ledger is such\n")


def test_a_run_that_has_not_ended_counts_what_is_done_and_says_so(ledger: Command) -> None:
    rules = {"quiet": {"column": "word", "any_of": ["word 1"]}}
    write_files(Path("in"), NAMES, rows=100)
    Path("in/broken.parquet").write_bytes(b"PAR1 nothing PAR1")
    with pytest.raises(cg.RunIncompleteError):
        cg.run(mixed_gate(record_rules=rules), "in", "out")
    outcome = ledger("counts", "out")
    assert outcome.lines[0] == ["judged", "300", "100.00%"]
    assert "a rule of the policy excludes it" in outcome.out
    assert outcome.out.endswith("\nThe run has not ended; files done by now: 3\n")
    found = ledger("counts", "out", "--json").json
    assert (found["rows"], found["has_ended"]) == (300, False)
    assert "snapshot_source" not in found["judged_by"][0]


def test_a_streams_ledger_counts_over_its_parts(ledger: Command) -> None:
    stream_mixed(0, 100)
    decision = mixed_gate().decide(mixed_messages(200))
    found = ledger("counts", "streamed", "--json").json
    assert found["counts"] == dict(decision.counts)
    assert found["occurrences"] == dict(decision.occurrences)
    assert (found["files"], found["excluded"]) == (2, decision.num_excluded)
    assert found["rows"] is found["admitted"] is found["has_ended"] is None
    outcome = ledger("counts", "streamed")
    assert outcome.lines[0] == ["excluded", str(decision.num_excluded)]
    assert "ended" not in outcome.out


def test_judges_of_a_shared_ledger_are_told_apart(ledger: Command) -> None:
    stream_mixed(0, 100)
    batches = mixed_messages(100).to_batches()
    mixed_gate(name="other").stream(batches, ledger="streamed").read_all()
    judges = ledger("counts", "streamed", "--json").json["judged_by"]
    assert len({judge["policy_digest"] for judge in judges}) == len(judges) == 2


def test_the_ledger_of_a_run_can_be_named_by_itself_and_by_uri(ledger: Command) -> None:
    run_mixed()
    whole = ledger("counts", "out", "--json").json
    assert ledger("counts", Path("out").absolute().as_uri(), "--json").json == whole
    alone = ledger("counts", "out/_consentgate/ledger", "--json").json
    assert (alone["rows"], alone["counts"]) == (whole["rows"], whole["counts"])
    assert alone["has_ended"] is None


# show


def test_show_says_what_the_ledger_holds(ledger: Command) -> None:
    run_mixed()
    outcome = ledger("show", "out", "--limit", "0", "--json")
    assert outcome.rows == [row for name in NAMES for row in rows_of(name)]
    assert outcome.err == ""


def test_show_writes_columns_parted_by_tabs_into_a_pipe(ledger: Command) -> None:
    run_mixed()
    lines = ledger("show", "out", "--limit", "0").out.splitlines()
    assert lines[0] == "record_id\tfile\trow\treason\treasons"
    assert [line.split("\t") for line in lines[1:]] == [
        [str(row["record_id"]), name, str(row["row"]), row["reason"], ",".join(row["reasons"])]
        for name in NAMES
        for row in rows_of(name)
    ]


@pytest.mark.parametrize(("limit", "shown"), [([], 20), (["--limit", "3"], 3)])
def test_show_stops_at_the_limit_and_says_how_many_more(
    ledger: Command, limit: list[str], shown: int
) -> None:
    more = run_mixed().totals.excluded - shown
    outcome = ledger("show", "out", *limit)
    assert len(outcome.lines) == 1 + shown
    assert outcome.err == f"and {more} more; --limit 0 shows all\n"
    assert "\x1b" not in outcome.out


def test_show_filters_by_any_reason_that_applies(ledger: Command) -> None:
    run_mixed()
    rows = [row for name in NAMES for row in rows_of(name)]
    code = "no_consent_record"
    wanted = [row for row in rows if code in row["reasons"]]
    assert any(row["reason"] != code for row in wanted)
    assert ledger("show", "out", "--limit", "0", "--json", "--reason", code).rows == wanted
    assert ledger("show", "out", "--limit", "1", "--reason", code).err.startswith(
        f"and {len(wanted) - 1} more"
    )
    codes = ("--reason", code, "--reason", "subject_missing")
    either = [row for row in rows if {code, "subject_missing"} & set(row["reasons"])]
    assert len(either) > len(wanted)
    assert ledger("show", "out", "--limit", "0", "--json", *codes).rows == either


@pytest.mark.parametrize(
    ("name", "files"),
    [
        ("day=1/b.parquet", NAMES[1:2]),
        ("*.parquet", NAMES[:1]),
        ("*/b.parquet", NAMES[1:]),
        ("**", NAMES),
    ],
)
def test_show_filters_by_file(ledger: Command, name: str, files: list[str]) -> None:
    run_mixed()
    outcome = ledger("show", "out", "--limit", "0", "--json", "--file", name)
    assert outcome.rows == [row for file in files for row in rows_of(file)]


def test_a_file_whose_name_looks_like_a_pattern_is_found_by_it(ledger: Command) -> None:
    write_files(Path("in"), ["[a].parquet", "a.parquet"], rows=20)
    cg.run(mixed_gate(), "in", "out")
    rows = ledger("show", "out", "--json", "--file", "[a].parquet").rows
    assert {row["file"] for row in rows} == {"[a].parquet", "a.parquet"}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--reason", "private"], ["'private'", "private_channel, channel_unknown"]),
        (["--file", "c.parquet"], ["'c.parquet'", "a.parquet, day=1/b.parquet"]),
        (["--limit", "-1"], ["--limit"]),
        (["--file", HOSTILE], ["\\x1b[2J"]),
    ],
)
def test_what_the_ledger_does_not_know_exits_with_2(
    ledger: Command, options: list[str], words: list[str]
) -> None:
    run_mixed()
    outcome = ledger("show", "out", *options)
    assert (outcome.code, outcome.out) == (2, "")
    assert "\x1b" not in outcome.err
    for word in words:
        assert word in outcome.err


def test_show_of_a_reason_that_no_row_has_says_so(ledger: Command) -> None:
    run_mixed()
    outcome = ledger("show", "out", "--reason", "after_snapshot")
    assert (outcome.code, outcome.out, outcome.err) == (0, "", "no row of the ledger is such\n")


def test_show_names_the_parts_of_a_stream(ledger: Command) -> None:
    stream_mixed(0)
    (part,) = Path("streamed").iterdir()
    rows = ledger("show", "streamed", "--json").rows
    assert {row["file"] for row in rows} == {part.name}


def test_a_terminal_gets_aligned_lines() -> None:
    run_mixed()
    out = shown("show", "out", "--limit", "4")
    header, *rows = out.splitlines()
    assert [len(row.split()) for row in rows] == [5] * 4
    for word in ("file", "reason"):
        assert all(row[header.index(word) - 1] == " " for row in rows)
        assert all(row[header.index(word)] != " " for row in rows)
    assert "\x1b" not in out


def test_a_terminal_gets_the_words_of_reasons_in_a_column() -> None:
    run_mixed()
    lines = shown("counts", "out", columns=80).splitlines()
    table = lines[4 : lines.index("", 4)]
    indent = " " * (len(table[0]) + 2)
    assert all(len(line) <= 80 for line in table)
    assert any(line.startswith(indent) for line in table)
    assert all(line.startswith(indent) or line[len(indent) - 2 :][:2] == "  " for line in table[1:])


def shown(*arguments: str, columns: int = 120) -> str:
    """What the command writes to a terminal."""
    size = {"TERM": "dumb", "COLUMNS": str(columns)}
    return shown_on_terminal("ledger", *arguments, stream="stdout", **size)


# explain


def test_explain_names_file_row_reasons_and_judge(ledger: Command) -> None:
    manifest = run_mixed()
    row = next(row for row in rows_of(NAMES[1]) if len(row["reasons"]) > 1)
    lines = ledger("explain", "out", row["record_id"]).out.splitlines()
    assert lines[:2] == [
        f"record {row['record_id']}",
        f"file {NAMES[1]}, row {row['row']}: excluded, because",
    ]
    assert [line.split(":")[0] for line in lines[2:4]] == [f"  - {code}" for code in row["reasons"]]
    assert lines[4].startswith("  judged at:         2026-03-02T00:00:00+00:00, by consentgate")
    assert lines[5] == f"  policy:            {manifest.identity.policy_digest}"
    assert [line.rpartition(", from ")[2] for line in lines[6:]] == ["'Arrow data'"] * 2


def test_explain_names_every_row_that_has_the_id(ledger: Command) -> None:
    Path("in").mkdir()
    for name in ("a", "b"):
        table = message_table(message_id=[7, 8, 7], channel_id=[11, 11, 12])
        pq.write_table(table, f"in/{name}.parquet")
    cg.run(make_gate(), "in", "out")
    lines = ledger("explain", "out", "7").out.splitlines()
    assert [line for line in lines if line.startswith("file")] == [
        f"file {name}.parquet, row {row}: excluded, because"
        for name in ("a", "b")
        for row in (0, 2)
    ]


@pytest.mark.parametrize(
    ("ids", "admitted", "excluded"),
    [
        (pa.array([5, 6], pa.int16()), "5", "6"),
        (pa.array([5, 2**64 - 1], pa.uint64()), "5", str(2**64 - 1)),
        (pa.array([5, -6]), "5", "-6"),
        (pa.array(["5", "007"]), "5", "007"),
        (pa.array(["5", "007"], pa.string_view()), "5", "007"),
        (pa.array(["5", "007"]).dictionary_encode(), "5", "007"),
        (pa.array([bytes(16), b"x" * 16], pa.binary(16)), str(UUID(int=0)), "78" * 16),
        (pa.array([bytes(16), b"x" * 16], pa.uuid()), str(UUID(int=0)), "78" * 16),
    ],
    ids=lambda value: str(value.type) if isinstance(value, pa.Array) else None,
)
def test_explain_finds_ids_of_every_family(
    ledger: Command, ids: pa.Array, admitted: str, excluded: str
) -> None:
    run_ids(ids)
    assert "file a.parquet, row 1: excluded, because" in ledger("explain", "out", excluded).out
    assert ledger("explain", "out", admitted).out == (
        f"record {admitted}\nadmitted, in file a.parquet, row 0 of its admitted rows\n"
    )
    shown = ledger("show", "out").lines[1][0]
    assert shown == (str(UUID(excluded)) if len(excluded) == 32 else excluded)
    assert str(ledger("show", "out", "--json").rows[0]["record_id"]) == shown


def test_a_null_id_is_shown_as_null(ledger: Command) -> None:
    run_ids(pa.array([1, None]))
    assert ledger("show", "out").lines[1][0] == "null"
    assert ledger("show", "out", "--json").rows[0]["record_id"] is None


def test_explain_counts_admitted_rows_over_batches(ledger: Command) -> None:
    run_mixed()
    admitted = pq.ParquetFile(f"out/{NAMES[2]}").read()
    place = admitted.num_rows - 1
    record_id = admitted["message_id"][place].as_py()
    line = f"admitted, in file {NAMES[2]}, row {place} of its admitted rows"
    assert ledger("explain", "out", record_id).out.splitlines()[1:] == [line]


@pytest.mark.parametrize("record_id", ["123456789", "-5", str(2**70)])
def test_explain_of_an_id_that_is_nowhere_exits_with_1(ledger: Command, record_id: str) -> None:
    run_mixed()
    outcome = ledger("explain", "out", record_id)
    assert_error(outcome, "record_not_found", "Neither the ledger nor the admitted files")
    assert record_id not in outcome.err.replace(str(Path.cwd()), "")


def test_explain_cannot_tell_who_was_admitted_without_a_manifest(ledger: Command) -> None:
    run_ids(pa.array([5, 6]))
    Path("out/_consentgate/manifest.json").unlink()
    assert "row 1: excluded, because" in ledger("explain", "out", "6").out
    outcome = ledger("explain", "out", "5")
    assert_error(outcome, "record_not_found", "was admitted, or was not judged")


def test_explain_reads_a_streams_ledger(ledger: Command) -> None:
    stream_mixed(0, 100)
    table = mixed_gate().filter(mixed_messages(200))[1]
    outcome = ledger("explain", "streamed", table["record_id"][-1].as_py())
    assert f"row {table['row'][-1].as_py() - 100}: excluded, because" in outcome.out
    assert "consent snapshot:  as of 2026-03-01T00:00:00+00:00\n" in outcome.out
    assert "judged at" not in outcome.out


def test_explain_of_an_id_of_another_family_exits_with_2(ledger: Command) -> None:
    run_mixed()
    outcome = ledger("explain", "out", "x")
    assert outcome.code == 2
    assert "'RECORD_ID'" in outcome.err
    assert "give an integer" in outcome.err


# what is said of people, and to terminals


@pytest.mark.parametrize("command", [["counts"], ["show", "--limit", "0"], ["explain", "1"]])
@pytest.mark.parametrize("form", [[], ["--json"]])
def test_no_subject_is_ever_named(ledger: Command, command: list[str], form: list[str]) -> None:
    Path("in").mkdir()
    senders = ["person-1", "person-2"]
    pq.write_table(message_table(sender_id=senders), "in/a.parquet")
    gate = make_gate(make_consent(subject_id=senders, status=["given", "withdrawn"]))
    cg.run(gate, "in", "out")
    outcome = ledger(command[0], "out", *command[1:], *(form if command[0] != "explain" else []))
    assert outcome.code == 0
    assert "person-" not in outcome.out + outcome.err


@pytest.mark.parametrize("command", [["show"], ["show", "--json"], ["explain"]])
def test_a_record_id_cannot_steer_the_terminal(ledger: Command, command: list[str]) -> None:
    run_ids(pa.array(["good", HOSTILE]))
    outcome = ledger(*command, "out", *([HOSTILE] if command == ["explain"] else []))
    assert outcome.code == 0
    assert_harmless(outcome.out)
    if command == ["show"]:
        assert [line.count("\t") for line in outcome.out.splitlines()] == [4, 4]


def test_a_files_name_cannot_steer_the_terminal(ledger: Command) -> None:
    name = "\x1b[2J\r.parquet"
    write_files(Path("in"), [name], rows=20)
    cg.run(mixed_gate(), "in", "out")
    assert_harmless(ledger("show", "out").out)
    assert_harmless(ledger("explain", "out", rows_of(name)[0]["record_id"]).out)
    assert_harmless(ledger("show", "out", "--file", "nothing").err)
    part_of(name).write_bytes(b"PAR1")
    assert_harmless(ledger("counts", "out").err)


@pytest.mark.parametrize("command", [["counts"], ["show"], ["show", "--reason", "none"]])
def test_a_reasons_name_cannot_steer_the_terminal(ledger: Command, command: list[str]) -> None:
    stream_mixed(0)
    (part,) = Path("streamed").iterdir()
    table = pq.ParquetFile(part).read()
    names = {bit: HOSTILE + str(bit) for bit in range(32)}
    hostile = mixed_gate().identity.model_copy(update={"reason_names": names})
    pq.write_table(table.replace_schema_metadata(hostile.to_metadata()), part)
    outcome = ledger(*command, "streamed")
    assert_harmless(outcome.out + outcome.err)


# ledgers at fault


@pytest.mark.parametrize("command", [["counts"], ["show"], ["explain", "1"]])
@pytest.mark.parametrize("end", [None, -30, 0])
def test_a_part_that_is_cut_short_is_named(
    ledger: Command, command: list[str], end: int | None
) -> None:
    run_mixed()
    content = bytearray(part_of(NAMES[1]).read_bytes())
    if end is None:  # the rows, not the footer: only reading on finds out
        content[4 : len(content) // 4] = bytes(len(content) // 4 - 4)
    part_of(NAMES[1]).write_bytes(content[:end])
    outcome = ledger(command[0], "out", *command[1:])
    if command == ["show"] and end is None:  # 20 rows come before the fault
        outcome = ledger("show", "out", "--file", NAMES[1])
    assert_error(outcome, "unreadable_file", NAMES[1])


def test_a_part_that_the_manifest_names_must_be_there(ledger: Command) -> None:
    run_mixed()
    part_of(NAMES[1]).unlink()
    for command in (["counts", "out"], ["show", "out"], ["explain", "out", "1"]):
        assert_error(ledger(*command), "manifest", f"'_consentgate/ledger/{NAMES[1]}'", "verify")


def test_a_part_that_the_manifest_does_not_name_is_refused(ledger: Command) -> None:
    run_mixed()
    part_of("c.parquet").write_bytes(part_of().read_bytes())
    assert_error(ledger("counts", "out"), "manifest", "'_consentgate/ledger/c.parquet'")


def test_a_manifest_that_was_altered_is_refused(ledger: Command) -> None:
    run_mixed()
    path = Path("out/_consentgate/manifest.json")
    path.write_text(path.read_text().replace('"admitted": ', '"admitted": 1'))
    assert_error(ledger("counts", "out"), "manifest", "was altered")


@pytest.mark.parametrize("bits", [0, 1 << 14])
def test_a_row_without_a_reason_that_has_a_name_is_refused(ledger: Command, bits: int) -> None:
    run_mixed()

    def change(table: pa.Table) -> pa.Table:
        values = pa.array([bits] * table.num_rows, pa.uint32())
        return table.set_column(3, table.schema.field(3), values)

    rewrite_part(change)
    for command in (["counts", "out"], ["show", "out"], ["explain", "out", "1"]):
        assert_error(ledger(*command), "manifest", f"ledger/{NAMES[0]}'", "without a reason")


@pytest.mark.parametrize("names", ["", "[]", '{"32": "x"}', '{"1": 2}', "{"])
def test_a_part_whose_reasons_have_no_names_is_refused(ledger: Command, names: str) -> None:
    run_mixed()
    metadata = mixed_gate().identity.to_metadata() | {"consentgate.reason_names": names}
    rewrite_part(lambda t: t.replace_schema_metadata(metadata))
    assert_error(ledger("counts", "out"), "manifest", NAMES[0], "which gate judged")


def test_a_part_of_a_run_must_say_what_became_of_its_file(ledger: Command) -> None:
    run_mixed()
    metadata = mixed_gate().identity.to_metadata()
    rewrite_part(lambda t: t.replace_schema_metadata(metadata))
    assert_error(ledger("counts", "out"), "manifest", NAMES[0], "PartRecord")


def test_admitted_files_must_have_the_column_of_record_ids(ledger: Command) -> None:
    run_mixed()
    pq.write_table(pa.table({"x": [1]}), f"out/{NAMES[0]}")
    assert_error(ledger("explain", "out", "123456789"), "manifest", "'message_id'", NAMES[0])


def test_text_that_is_no_utf_8_is_a_corrupt_part(ledger: Command) -> None:
    run_ids(pa.array(["a", "b"]))
    bad = pa.StringArray.from_buffers(1, pa.py_buffer(b"\0\0\0\0\1\0\0\0"), pa.py_buffer(b"\xff"))
    rewrite_part(lambda t: t.set_column(0, t.schema.field(0), bad))
    assert_error(ledger("show", "out"), "unreadable_file", NAMES[0])


@pytest.mark.parametrize("place", ["in", "missing", "empty"])
def test_a_folder_without_a_ledger_is_refused(ledger: Command, place: str) -> None:
    run_mixed()
    Path("empty").mkdir()
    Path("empty/notes.txt").write_text("nothing")
    for command in (["counts", place], ["show", place], ["explain", place, "1"]):
        assert_error(ledger(*command), "manifest", place)


def test_hidden_files_are_no_parts_of_a_streams_ledger(ledger: Command) -> None:
    stream_mixed(0)
    Path("streamed/._part.parquet").write_bytes(b"made by a file manager")
    Path("streamed/part-1.partial").write_bytes(b"being written")
    assert ledger("counts", "streamed", "--json").json["files"] == 1


@pytest.mark.parametrize("command", [[], ["counts"], ["show"], ["explain"]])
def test_help_documents_the_exit_codes(ledger: Command, command: list[str]) -> None:
    outcome = ledger(*command, "--help")
    assert outcome.code == 0
    assert "Exit codes: 0 done" in outcome.out


# without this library

DUCKDB = """
import duckdb
rows = duckdb.sql(
    "select reason, count(*) from 'out/_consentgate/ledger/**/*.parquet' group by reason"
).fetchall()
"""
PANDAS = """
import pandas, pathlib
parts = pathlib.Path("out/_consentgate/ledger").rglob("*.parquet")
table = pandas.concat([pandas.read_parquet(part, partitioning=None) for part in parts])
rows = table["reason"].value_counts().items()
"""
OCCURRENCES = """
import duckdb
place = "out/_consentgate/ledger/**/*.parquet"
(names,), *_ = duckdb.sql(
    "select distinct decode(value) from parquet_kv_metadata(?) "
    "where decode(key) = 'consentgate.reason_names'", params=[place]
).fetchall()
query = "select count(*) from read_parquet(?) where reason_bits & (1::uinteger << ?) <> 0"
rows = [
    (name, duckdb.sql(query, params=[place, int(bit)]).fetchall()[0][0])
    for bit, name in json.loads(names).items()
]
"""


@pytest.mark.parametrize(
    ("script", "key"),
    [(DUCKDB, "counts"), (PANDAS, "counts"), (OCCURRENCES, "occurrences")],
    ids=["duckdb", "pandas", "duckdb: every reason that applies"],
)
def test_others_read_the_ledger_without_this_library(script: str, key: str) -> None:
    wanted = getattr(run_mixed().totals, key)
    tell = "print(json.dumps({reason: int(n) for reason, n in rows if n}))"
    alone = "assert 'consentgate' not in sys.modules"
    code = f"import json, sys\n{script}\n{alone}\n{tell}"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == wanted
