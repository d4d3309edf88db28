"""A progress bar on a terminal, and nothing anywhere else."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeAlias

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

__all__ = ["Advance", "progress_bar"]

Advance: TypeAlias = Callable[[int, int], None]
"""Takes the rows judged so far and how many of them are admitted."""


class RowsPerSecond(ProgressColumn):
    """How fast rows are judged."""

    def render(self, task: Task) -> Text:
        """The speed of the last while; blank before it is known."""
        return Text(f"{task.speed:,.0f} rows/s" if task.speed else "")


@contextmanager
def progress_bar(total: int | None) -> Iterator[Advance]:
    """A bar on stderr while the block runs, where stderr is a terminal.

    Args:
        total: how many rows there will be; None where nobody knows.
    """
    if not sys.stderr.isatty():
        yield lambda _rows, _admitted: None
        return
    columns = [TextColumn("{task.completed:,.0f} rows"), BarColumn(), RowsPerSecond()]
    columns += [TextColumn("{task.fields[share]} admitted"), TimeRemainingColumn()]
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("filter", total=total, share="0%")
        yield lambda rows, admitted: progress.update(
            task, completed=rows, share=f"{admitted / max(rows, 1):.0%}"
        )
