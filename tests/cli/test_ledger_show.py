"""`consentgate ledger show`: the excluded rows, filtered and limited."""

from __future__ import annotations

from pathlib import Path

import pytest

import consentgate as cg
from tests.cli.ledgers import HOSTILE, NAMES, Command, rows_of, run_mixed, shown, stream_mixed
from tests.run_data import mixed_gate, write_files

pytestmark = pytest.mark.usefixtures("small_batches")


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
    assert (outcome.code, outcome.out, outcome.err) == (0, "", "no row of the ledger matches\n")


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
