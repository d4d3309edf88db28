"""The summary that `filter` prints at its end, with rows by fate and by reason."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

PIPE_WIDTH = 200


@dataclass(frozen=True)
class Summary:
    """The counts of one call of `filter`.

    Attributes:
        rows: how many rows were judged.
        excluded: how many of them are excluded.
        reasons: for each reason its code, the number of rows that have it as primary reason, and
            the number of rows that it applies to, in order of precedence.
    """

    rows: int
    excluded: int
    reasons: Sequence[tuple[str, int, int]]


def print_summary(summary: Summary) -> None:
    """Print two tables on stdout, with style on a terminal, else as plain ASCII columns."""
    is_terminal = sys.stdout.isatty()
    console = Console(highlight=False) if is_terminal else _plain_console()
    console.print(_fates(summary))
    if summary.reasons:
        console.print()
        console.print(_reasons(summary, is_terminal))


def _plain_console() -> Console:
    return Console(
        highlight=False, width=PIPE_WIDTH, force_terminal=False, color_system=None, no_color=True
    )


def _fates(summary: Summary) -> Table:
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(no_wrap=True)
    for _ in ("rows", "share"):
        table.add_column(justify="right", no_wrap=True)
    counts = {"judged": summary.rows, "admitted": summary.rows - summary.excluded}
    for fate, rows in (counts | {"excluded": summary.excluded}).items():
        table.add_row(fate, f"{rows:,}", f"{rows / max(summary.rows, 1):.2%}")
    return table


def _reasons(summary: Summary, is_terminal: bool) -> Table:
    table = Table(box=SIMPLE_HEAD if is_terminal else None, pad_edge=False)
    table.add_column("reason", no_wrap=True)
    table.add_column("primary reason of", justify="right", no_wrap=not is_terminal)
    table.add_column("applies to", justify="right", no_wrap=not is_terminal)
    for reason, primary, applying in summary.reasons:
        table.add_row(reason, f"{primary:,}", f"{applying:,}")
    return table
