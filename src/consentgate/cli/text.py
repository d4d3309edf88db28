"""Text for people: what is printed, and that it says what it is meant to say."""

import errno
import io
import os
import select
import shutil
import sys
import textwrap
from pathlib import Path
from typing import Any, TextIO

from consentgate.errors import ConsentGateError, OutputError
from consentgate.storage import why

_STDERR = 2


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


def hold_streams() -> None:
    """Let stdout and stderr take any text, and never fail, whatever they are connected to.

    What their encoding cannot hold is escaped. Where they were closed, text goes nowhere. Where
    writing fails, because a disk is full or nobody reads a pipe, the rest of the text goes nowhere,
    too: a command first finishes its work, and `print_loss` says in the end what was lost.
    """
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= _STDERR:
        pass  # a descriptor that was closed is taken, or a file of data would get it
    os.close(descriptor)
    sys.stdout, sys.stderr = _held(sys.stdout), _held(sys.stderr)


def is_cut_off() -> bool:
    """Whether text for stdout was lost, so that more of it is in vain."""
    return _fault(sys.stdout) is not None


def print_loss(*, is_done: bool) -> bool:
    """Say on stderr that text for stdout was lost, if it was; returns whether it was.

    Nothing is said where a pipe's reader ended, as `head` does: it has what it wanted.

    Args:
        is_done: whether the command has done all else that it had to do.
    """
    sys.stdout.flush()
    fault = _fault(sys.stdout)
    if fault is not None and fault.errno != errno.EPIPE:
        done = "All else that the command had to do is done. " if is_done else ""
        text = f"Text for stdout was lost: {why(fault)}. {done}Give the command another stdout."
        print_error(OutputError(text))
    return fault is not None


class _Sink(io.RawIOBase):
    """A file descriptor that remembers the first error of writing instead of raising it."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self.fault: OSError | None = None

    def fileno(self) -> int:
        return self._descriptor

    def isatty(self) -> bool:
        return os.isatty(self._descriptor)

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        while self.fault is None:
            try:
                return os.write(self._descriptor, data)
            except BlockingIOError:
                select.select([], [self._descriptor], [])
            except OSError as error:
                self.fault = error
        return len(data)


def _held(stream: TextIO | None) -> TextIO:
    """The stream, or one in its place, which never fails."""
    if stream is None:
        return Path(os.devnull).open("w", encoding="utf-8")
    if not isinstance(stream, io.TextIOWrapper):
        return stream
    raw = getattr(stream.buffer, "raw", stream.buffer)
    if not isinstance(raw, io.FileIO):  # a test's
        stream.reconfigure(errors="backslashreplace")
        return stream
    return io.TextIOWrapper(
        io.BufferedWriter(_Sink(raw.fileno())),
        stream.encoding,
        "backslashreplace",
        line_buffering=stream.line_buffering,
        write_through=stream.write_through,
    )


def _fault(stream: Any) -> OSError | None:
    raw = getattr(getattr(stream, "buffer", None), "raw", None)
    return raw.fault if isinstance(raw, _Sink) else None
