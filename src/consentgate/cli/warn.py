"""Prints warnings of the library on stderr."""

import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

from consentgate.cli.text import printable
from consentgate.coverage import CoverageWarning


@contextmanager
def warnings_on_stderr() -> Iterator[None]:
    """Print every `CoverageWarning` to stderr while the block runs, a line each.

    The interpreter's own settings for warnings do not change this. Other warnings are as before.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("always", CoverageWarning)
        show_others = warnings.showwarning

        def show(
            message: Warning | str,
            category: type[Warning],
            filename: str,
            lineno: int,
            file: TextIO | None = None,
            line: str | None = None,
        ) -> None:
            if issubclass(category, CoverageWarning):
                print(printable(f"consentgate: warning: {message}"), file=sys.stderr)
            else:
                show_others(message, category, filename, lineno, file, line)

        warnings.showwarning = show
        yield
