"""`consentgate ledger`: ledgers at fault, and text that may not reach a terminal."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import consentgate as cg
from consentgate.ledger import ledger_schema
from consentgate.runs.records import to_json
from tests.build import make_consent, make_gate, message_table
from tests.cli.ledgers import (
    HOSTILE,
    NAMES,
    Command,
    assert_error,
    assert_harmless,
    part_of,
    rewrite_part,
    rows_of,
    run_ids,
    run_mixed,
    stream_mixed,
)
from tests.run_data import mixed_gate, write_files

pytestmark = pytest.mark.usefixtures("small_batches")

# what is said of people, and to terminals


def metadata_of(gate: cg.GateIdentity) -> dict[bytes, bytes]:
    """The metadata of a ledger that a gate wrote."""
    return dict(ledger_schema(pa.int64(), gate).metadata)


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
    pq.write_table(table.replace_schema_metadata(metadata_of(hostile)), part)
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


@pytest.mark.parametrize("name", [[], {}, None, 1])
def test_a_policys_rule_that_is_none_has_no_words(ledger: Command, name: Any) -> None:
    manifest = run_mixed()
    rule = {"name": name, "column": "word"}
    draft = manifest.model_copy(update={"policy": {**manifest.policy, "record_rules": [rule]}})
    sealed = draft.model_copy(update={"digest": draft.content_digest()})
    Path("out/_consentgate/manifest.json").write_bytes(to_json(sealed))
    outcome = ledger("counts", "out")
    assert (outcome.code, outcome.err) == (0, "")


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
    metadata = metadata_of(mixed_gate().identity) | {b"consentgate.reason_names": names.encode()}
    rewrite_part(lambda t: t.replace_schema_metadata(metadata))
    assert_error(ledger("counts", "out"), "manifest", NAMES[0], "which gate judged")


def test_a_part_of_a_run_must_say_what_became_of_its_file(ledger: Command) -> None:
    run_mixed()
    metadata = metadata_of(mixed_gate().identity)
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
