"""`consentgate ledger`: counts, lists and explains the excluded rows of a ledger."""

import json
import shutil
import sys
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from itertools import chain, islice
from typing import Annotated, Any

import typer

from consentgate.cli.explain import TAKES_RECORD_ID, RecordId
from consentgate.cli.ledger_files import Ledger, Row, judge_lines, on_one_line
from consentgate.cli.options import EXIT_CODES
from consentgate.cli.summary import Summary, print_summary
from consentgate.cli.text import is_cut_off
from consentgate.errors import RecordNotFoundError

_ALIGNED_ROWS = 1_000

ledger_app = typer.Typer(
    help="Read the ledger of excluded rows that a run or a stream left.",
    epilog=EXIT_CODES,
    no_args_is_help=True,
    rich_markup_mode=None,
)

LedgerPath = Annotated[
    str,
    typer.Argument(
        metavar="DIR",
        help="The folder of a run, or its URI; or a folder that a stream's ledger was written to.",
        show_default=False,
    ),
]


@ledger_app.command(epilog=EXIT_CODES)
def counts(
    path: LedgerPath,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print everything as one JSON object.")
    ] = False,
) -> None:
    """Count excluded rows by their primary reason, and by every reason that applies.

    For a run, it also says how many rows were judged and admitted, and whether the run has ended.
    """
    ledger = Ledger.open(path)
    found = ledger.count()
    if as_json:
        typer.echo(json.dumps(found))
        return
    if found["rows"] is None:
        typer.echo(f"excluded  {found['excluded']:,}")
    else:
        print_summary(Summary(found["rows"], found["excluded"], ()))
    _print_reasons(found)
    for judge in found["judged_by"]:
        _print_lines(["", *judge_lines(judge)])
    if found["has_ended"] is False:
        typer.echo(f"\nThe run has not ended; files done by now: {found['files']:,}")


@ledger_app.command(epilog=EXIT_CODES)
def show(
    path: LedgerPath,
    reason: Annotated[
        list[str] | None,
        typer.Option(
            metavar="CODE",
            help="Only rows to which this reason applies, primary or not. Give it several times "
            "for rows with any of these reasons.",
        ),
    ] = None,
    file: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Only rows of this input, by its path below the source; or a pattern, in which "
            "'**' stands for any folders.",
        ),
    ] = None,
    limit: Annotated[
        int, typer.Option(min=0, metavar="N", help="How many rows to show; 0 shows all.")
    ] = 20,
    as_json: Annotated[
        bool, typer.Option("--json", help="Show each row as one line of JSON.")
    ] = False,
) -> None:
    """List excluded rows: record id, file, row, primary reason, and every reason that applies.

    Columns are aligned on a terminal and separated by tabs elsewhere. The number of rows that are
    not shown is printed on stderr.
    """
    ledger = Ledger.open(path)
    wanted = ledger.known_reasons(reason or ())
    parts = ledger.parts_of(file)
    rows = (row for part in parts for row in part.rows_with(wanted))
    shown = _print_rows(islice(rows, min(limit, sys.maxsize) or None), as_json=as_json)
    more = sum(part.count_with(wanted) for part in parts) - shown if limit else 0
    if more or not shown:
        typer.echo(
            f"and {more:,} more; --limit 0 shows all" if more else "no row of the ledger matches",
            err=True,
        )


@ledger_app.command(epilog=EXIT_CODES, context_settings=TAKES_RECORD_ID)
def explain(path: LedgerPath, record_id: RecordId) -> None:
    """Say why a record was excluded, and what judged it.

    If the record is not in a run's ledger, it says where among the admitted rows the record is.
    """
    ledger = Ledger.open(path)
    lines = chain.from_iterable(ledger.explained(part, record_id) for part in ledger.parts)
    first = next(lines, None)
    if first is None:
        lines = chain(ledger.admitted(record_id))
        first = next(lines, None)
    if first is None:
        raise RecordNotFoundError(
            f"Neither the ledger nor the admitted files in '{ledger.folder}' hold the record id "
            "asked for; check the id."
            if ledger.manifest
            else f"The ledger in '{ledger.folder}' does not hold the record id asked for: its row "
            "was admitted, or was not judged; check the id."
        )
    _print_lines(chain([f"record {record_id}", first], lines))


def _print_reasons(found: Mapping[str, Any]) -> None:
    """Print a line for every reason. On a terminal, its meaning is wrapped in a column."""
    if not found["words"]:
        return
    cells = [["reason", "primary reason of", "applies to", ""]]
    for code, text in found["words"].items():
        numbers = (found["counts"].get(code, 0), found["occurrences"][code])
        cells.append([on_one_line(code), *(f"{n:,}" for n in numbers), on_one_line(text)])
    typer.echo()
    lines = _aligned(cells, right={1, 2})
    indent = " " * (len(lines[0]) + 2)
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else sys.maxsize
    for line in lines:
        typer.echo(textwrap.fill(line, max(width, len(indent) + 20), subsequent_indent=indent))


def _print_rows(rows: Iterator[Row], *, as_json: bool) -> int:
    """Print rows as they come. Returns how many there were."""
    is_terminal, shown = sys.stdout.isatty(), 0
    header = [["record_id", "file", "row", "reason", "reasons"]]
    while group := list(islice(rows, _ALIGNED_ROWS)):
        cells = (header if not shown else []) + [row.cells() for row in group]
        if as_json:
            lines = [json.dumps(vars(row)) for row in group]
        else:
            lines = _aligned(cells, right={2}) if is_terminal else ["\t".join(c) for c in cells]
        typer.echo("\n".join(lines))
        shown += len(group)
        if is_cut_off():
            break
    return shown


def _aligned(cells: Sequence[Sequence[str]], right: Set[int]) -> list[str]:
    """Rows of cells as lines. The columns with these numbers are aligned to the right."""
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return [
        "  ".join(
            text.rjust(width) if at in right else text.ljust(width)
            for at, (text, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in cells
    ]


def _print_lines(lines: Iterable[str]) -> None:
    for line in lines:
        typer.echo(on_one_line(line))
