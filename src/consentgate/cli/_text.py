"""Text for people: what is printed, and that it says what it is meant to say."""

import io
import shutil
import sys
import textwrap

from consentgate.errors import ConsentGateError

__all__ = ["print_error", "printable", "tolerate_any_text"]


def printable(text: str) -> str:
    """The text with its line breaks, but whatever else does not print escaped.

    Names of columns and files come from elsewhere and must not steer the terminal.
    """
    return "".join(
        char if char == "\n" or char.isprintable() else ascii(char)[1:-1] for char in text
    )


def print_error(error: ConsentGateError) -> None:
    """One paragraph to stderr, as wide as the terminal, or one line where it is none."""
    width = shutil.get_terminal_size().columns if sys.stderr.isatty() else sys.maxsize
    text = printable(f"consentgate: {error} [{error.code}]")
    wrapped = textwrap.fill(text, max(width, 20), break_long_words=False, break_on_hyphens=False)
    print(wrapped, file=sys.stderr)


def tolerate_any_text() -> None:
    """Escape what the output's encoding cannot hold, instead of failing."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
