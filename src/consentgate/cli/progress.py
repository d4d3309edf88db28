"""Shows the progress of long work: a bar on a terminal, and a line now and then elsewhere."""

import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeAlias

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

Advance: TypeAlias = Callable[[int, int, int | None], None]
"""A function that takes the number of rows judged so far, how many of them are admitted, and how
many there will be (None if that is not known).
"""

LINE_EVERY_S = 60.0
JSON_EVERY_S = 5.0


class RowsPerSecond(ProgressColumn):
    """A column of the progress bar that shows how fast rows are judged."""

    def render(self, task: Task) -> Text:
        """The present speed; blank before it is known."""
        return Text(f"{task.speed:,.0f} rows/s" if task.speed else "")


@contextmanager
def progress_bar() -> Iterator[Advance]:
    """Show a progress bar on stderr if it is a terminal, else a line on stderr every minute."""
    if not sys.stderr.isatty():
        yield _Reporter(LINE_EVERY_S, _print_line)
        return
    columns = [TextColumn("{task.completed:,.0f} rows"), BarColumn(), RowsPerSecond()]
    columns += [TextColumn("{task.fields[share]} admitted"), TimeRemainingColumn()]
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("rows", total=None, share="0%")
        yield lambda rows, admitted, total: progress.update(
            task, completed=rows, total=total, share=f"{admitted / max(rows, 1):.0%}"
        )


@contextmanager
def progress_json() -> Iterator[Advance]:
    """Print a JSON object on stdout every five seconds while the block runs."""
    yield _Reporter(JSON_EVERY_S, _print_json)


class _Reporter:
    """Reports progress now and then. Rows done before the first call do not count as speed."""

    def __init__(self, every_s: float, report: Callable[[dict[str, Any]], None]) -> None:
        self._every_s, self._report = every_s, report
        self._began: tuple[float, int] | None = None
        self._due = 0.0

    def __call__(self, rows: int, admitted: int, total: int | None) -> None:
        now = time.monotonic()
        if self._began is None:
            self._began, self._due = (now, rows), now + self._every_s
        elif now >= self._due:
            self._due = now + self._every_s
            rate = (rows - self._began[1]) / max(now - self._began[0], 1e-9)
            left_s = None if total is None or rate <= 0 else (total - rows) / rate
            self._report(
                {"rows": rows, "of_rows": total, "admitted": admitted}
                | {"rows_per_s": rate, "left_s": left_s}
            )


def _print_line(now: dict[str, Any]) -> None:
    rows, total = now["rows"], now["of_rows"]
    of_total = "" if total is None else f" of {total:,} ({rows / max(total, 1):.0%})"
    left = "" if now["left_s"] is None else f", {_duration(now['left_s'])} left"
    share = f"{now['admitted'] / max(rows, 1):.0%} admitted"
    line = f"{rows:,}{of_total} rows, {now['rows_per_s']:,.0f} rows/s, {share}{left}"
    print(line, file=sys.stderr, flush=True)


def _print_json(now: dict[str, Any]) -> None:
    whole = {name: None if value is None else round(value) for name, value in now.items()}
    print(json.dumps({"event": "progress", **whole}), flush=True)


def _duration(seconds: float) -> str:
    minutes = max(1, round(seconds / 60))
    return f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{minutes} min"
