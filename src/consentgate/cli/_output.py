"""What people read on a terminal or in a pipe."""

import shutil
import sys
import textwrap
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from consentgate.errors import ConsentGateError

__all__ = ["Tally", "print_error", "print_summary", "show_progress"]


class Tally:
    """What a run has decided so far."""

    def __init__(self) -> None:
        self.rows = 0
        self.counts: Counter[str] = Counter()
        self.occurrences: Counter[str] = Counter()

    @property
    def excluded(self) -> int:
        """How many rows are excluded."""
        return self.counts.total()

    @property
    def admitted(self) -> int:
        """How many rows are admitted."""
        return self.rows - self.excluded


class Advance(Protocol):
    """Called with the tally after every batch."""

    def __call__(self, tally: Tally) -> None: ...


def print_error(error: ConsentGateError) -> None:
    """One paragraph on standard error, as wide as the terminal."""
    width = shutil.get_terminal_size().columns
    typer.echo(textwrap.fill(f"consentgate: {error} [{error.code}]", width), err=True)


def print_summary(tally: Tally, reasons: list[str]) -> None:
    """The counts on standard output, in plain columns that any tool can read.

    Args:
        reasons: the codes in order of precedence.
    """
    for word, count in (
        ("rows", tally.rows),
        ("admitted", tally.admitted),
        ("excluded", tally.excluded),
    ):
        share = f"{count / tally.rows:8.2%}" if tally.rows else ""
        typer.echo(f"{word:<24}{count:>14,}{share}")
    if tally.excluded:
        typer.echo(f"\n{'reason':<24}{'primary':>14}{'applies':>14}")
    for name in reasons:
        if tally.occurrences[name]:
            typer.echo(f"{name:<24}{tally.counts[name]:>14,}{tally.occurrences[name]:>14,}")


@contextmanager
def show_progress(total: int | None) -> Iterator[Advance]:
    """A bar on standard error while it is a terminal; nothing in a pipe.

    Args:
        total: how many rows there are to judge; None when nobody knows.
    """
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    columns = (
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("rows, {task.fields[rate]} a second, {task.fields[share]} admitted"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task("judging", total=total, rate="–", share="–")

        def advance(tally: Tally) -> None:
            seconds = progress.tasks[task].elapsed or 0.0
            progress.update(
                task,
                completed=tally.rows,
                rate=f"{tally.rows / seconds:,.0f}" if seconds else "–",
                share=f"{tally.admitted / tally.rows:.1%}" if tally.rows else "–",
            )

        yield advance
