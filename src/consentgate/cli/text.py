"""Prints text for people safely, with options in place of the library's parameters."""

import errno
import io
import os
import re
import select
import shutil
import sys
import textwrap
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from consentgate.errors import ConsentGateError, OutputError
from consentgate.storage import why

_STDERR = 2

_PARAMETER = re.compile(r"`([A-Za-z_.]+)`")
"""The form in which messages name a parameter of the library."""

_OPTIONS = {
    "Columns.assume_timezone": "--assume-timezone",
    "Columns.channels": "--channel-column",
    "Columns.created_at": "--created-at-column",
    "Columns.record_id": "--record-id-column",
    "Columns.subjects": "--subject-column",
    "Columns.visibility": "--visibility-column",
    "allow_older_snapshot": "--allow-older-snapshot",
    "assume_timezone": "--assume-timezone",
    "channels": "--channel-column",
    "created_at": "--created-at-column",
    "gate": "--gate and --rejudge",
    "judged_at": "--judged-at",
    "method_map": "--method-map",
    "public_key": "--public-key",
    "record_id": "--record-id-column",
    "sign_with": "--sign-with",
    "status_map": "--status-map",
    "subjects": "--subject-column",
    "threads": "--threads",
    "visibility": "--visibility-column",
}
"""The option for each parameter that messages name."""

CONSENT_OPTIONS = {
    "as_of": "--consent-as-of",
    "assume_timezone": "--consent-timezone",
    "columns": "--consent-map",
}
"""The options for parameters of `ConsentSnapshot.read`."""

CHANNELS_OPTIONS = {
    "as_of": "--channels-as-of",
    "assume_timezone": "--channels-timezone",
    "columns": "--channels-map",
}
"""The options for parameters of `ChannelRegistry.read`."""


def printable(text: str) -> str:
    """Escape every character that does not print, except line breaks.

    Names of columns and files come from elsewhere and must not steer the terminal.
    """
    return "".join(
        char if char == "\n" or char.isprintable() else ascii(char)[1:-1] for char in text
    )


def with_options(text: str, own: Mapping[str, str] | None = None) -> str:
    """Replace parameters that a message of the library names by options.

    Args:
        own: the options of the call that failed, which take precedence over those of other calls.
    """
    options = {**_OPTIONS, **(own or {})}
    return _PARAMETER.sub(lambda named: options.get(named[1], named[0]), text)


@contextmanager
def options_named(options: Mapping[str, str]) -> Iterator[None]:
    """Let the errors of a call name its options instead of its parameters."""
    try:
        yield
    except ConsentGateError as error:
        for fault in (error, *error.faults):
            fault.args = (with_options(str(fault), options),)
        raise


def print_error(error: ConsentGateError) -> None:
    """Print an error to stderr: a paragraph for each fault, and options instead of parameters.

    A paragraph is as wide as the terminal. It is one line if stderr is not a terminal.
    """
    width = shutil.get_terminal_size().columns if sys.stderr.isatty() else sys.maxsize
    lines = [str(error)]
    if error.faults:
        lines = [str(error).partition("\n")[0], *(f"- {fault}" for fault in error.faults)]
    lines[0] = f"consentgate: {lines[0]}"
    lines[-1] += f" [{error.code}]"
    for line in lines:
        text = printable(with_options(line))
        wrapped = textwrap.fill(
            text, max(width, 20), break_long_words=False, break_on_hyphens=False
        )
        print(wrapped, file=sys.stderr)


def hold_streams() -> None:
    """Let stdout and stderr take any text and never fail, whatever they are connected to.

    Characters that their encoding does not have are escaped. If a stream was closed, its text is
    dropped. If writing fails, because a disk is full or nobody reads a pipe, the rest of the text
    is dropped. The command first finishes its work, and `print_loss` then says what was lost.
    """
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= _STDERR:
        pass  # a descriptor that was closed is taken, or a file of data would get it
    os.close(descriptor)
    sys.stdout, sys.stderr = _held(sys.stdout), _held(sys.stderr)


def is_cut_off() -> bool:
    """Whether text for stdout was lost, so that more text would be lost, too."""
    return _fault(sys.stdout) is not None


def print_loss(*, is_done: bool) -> bool:
    """Say on stderr that text for stdout was lost, if it was. Returns whether it was.

    If the reader of a pipe ended, as `head` does, nothing is said, because it has what it wanted.

    Args:
        is_done: whether the command has done everything else that it had to do.
    """
    sys.stdout.flush()
    fault = _fault(sys.stdout)
    if fault is not None and fault.errno != errno.EPIPE:
        done = "All else that the command had to do is done. " if is_done else ""
        text = f"Text for stdout was lost: {why(fault)}. {done}Give the command another stdout."
        print_error(OutputError(text))
    return fault is not None


class _Sink(io.RawIOBase):
    """A file descriptor that keeps the first error of writing instead of raising it."""

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
    """The stream itself, or another stream that never fails."""
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
