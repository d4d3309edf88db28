"""`consentgate check`: checks whether policy, snapshot, registry and messages fit each other."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import pyarrow as pa
import typer

from consentgate.cli.message_files import open_alike, read_tables
from consentgate.cli.options import JudgeOptions, takes_judge
from consentgate.cli.text import printable
from consentgate.coverage import Coverage

CHECK_EXIT_CODES = (
    "Exit codes: 0 no warning; 1 there is a warning, or the input or the policy is at fault; 2 the "
    "command line is at fault; 130 interrupted."
)


@takes_judge
def check(
    messages: Annotated[
        list[Path],
        typer.Argument(metavar="MESSAGES", help="Parquet or Arrow IPC files.", show_default=False),
    ],
    *,
    judge: JudgeOptions,
    threads: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="How many threads judge; all cores by default."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Check whether policy, snapshot, registry and messages fit each other.

    Judges the messages, writes no file, and prints what may be a mistake: ids and words that are
    spelled differently, purposes without a record, reasons that exclude nearly all rows. Prints
    counts and words, and no id. With --gate, words and the spelling of ids are not checked.
    """
    files = open_alike(messages)
    gate = judge.gate()
    gate.decide(pa.Table.from_batches([], files[0].schema), judged_at=judge.judged_at)
    tables = (table.replace_schema_metadata(None) for file in files for table in read_tables(file))
    coverage = gate.coverage(tables, judged_at=judge.judged_at, threads=threads)
    typer.echo(_json(coverage) if as_json else printable(str(coverage)))
    if coverage.warnings:
        raise typer.Exit(1)


def _json(coverage: Coverage) -> str:
    """The coverage as JSON, with its mismatches."""
    mismatches = [asdict(mismatch) for mismatch in coverage.mismatches]
    return json.dumps({**asdict(coverage), "mismatches": mismatches}, indent=2)
