"""Files that appear complete or not at all, files that are safe to read, and errors that name both.

A path can lead to a named pipe, a device or a socket, on which reading waits forever or never
ends. So paths are opened for reading through `open_regular`, or checked by `check_regular`
before another library opens them.
"""

import os
import secrets
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import BufferedReader
from pathlib import Path
from typing import BinaryIO

import pyarrow as pa

from consentgate.errors import FileError, OutputError

SMALL_FILE_BYTES = 16 << 20
"""Most bytes of a policy, a key or another small file that people write."""
_MOST_NAME_BYTES = 255

_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFSOCK: "a socket",
}


def absolute(path: Path, error: type[FileError]) -> Path:
    """A path that leads to the same file from every working directory.

    Args:
        error: the class of error to raise.

    Raises:
        FileError: The path is relative, and the working directory is not there any more.
    """
    try:
        return path.absolute()
    except OSError as fault:
        raise error(
            f"The path '{path}' is relative, but the working directory cannot be found: "
            f"{why(fault)}; give an absolute path, or start from another directory."
        ) from fault


def check_regular(path: Path, *, most_bytes: int | None = None) -> os.stat_result:
    """The status of a regular file, for which a library such as pyarrow can then be asked.

    Args:
        most_bytes: how large it may be.

    Raises:
        OSError: It is not there, cannot be read, is something else than a regular file (after
            following links), is larger, or its path is not UTF-8, which pyarrow does not open.
            `why` puts it into words.
    """
    _refuse_odd_name(path, "utf-8", "strict")
    with open_regular(path, most_bytes=most_bytes) as file:
        return os.fstat(file.fileno())


def read_regular(path: Path, *, most_bytes: int = SMALL_FILE_BYTES) -> bytes:
    """The content of a small regular file.

    Raises:
        OSError: As `check_regular` raises it; or the file grew meanwhile.
    """
    with open_regular(path, most_bytes=most_bytes) as file:
        content = file.read(most_bytes + 1)
    if len(content) > most_bytes:
        raise OSError(_too_large(len(content), most_bytes))
    return content


def open_regular(path: Path, *, most_bytes: int | None = None) -> BufferedReader:
    """A regular file, open for reading. Nothing else is opened, so opening never waits.

    Args:
        most_bytes: how large it may be.

    Raises:
        OSError: As `check_regular` raises it, but any name that the system takes will do.
    """
    _refuse_odd_name(path, sys.getfilesystemencoding(), sys.getfilesystemencodeerrors())
    _refuse_odd(path.stat())  # before it is opened, because opening a device can have effects
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    descriptor = os.open(path, flags)
    try:
        status = os.fstat(descriptor)  # the file can have been replaced since
        _refuse_odd(status)
        if most_bytes is not None and status.st_size > most_bytes:
            raise OSError(_too_large(status.st_size, most_bytes))
    except BaseException:
        os.close(descriptor)
        raise
    return os.fdopen(descriptor, "rb")


def _refuse_odd_name(path: Path, encoding: str, errors: str) -> None:
    try:
        octets = str(path).encode(encoding, errors)
    except UnicodeEncodeError as error:
        raise OSError(f"its path is not {encoding.upper()}; rename it") from error
    if b"\0" in octets:
        raise OSError("its path holds a NUL character, which no path can hold")


def _refuse_odd(status: os.stat_result) -> None:
    kind = stat.S_IFMT(status.st_mode)
    if kind != stat.S_IFREG:
        raise OSError(f"it is {_KINDS.get(kind, 'something odd')}, not a regular file")


def _too_large(size: int, most_bytes: int) -> str:
    return f"it has {size:,} bytes, but at most {most_bytes:,} are read"


def refuse_odd_target(path: Path, what: str) -> None:
    """Raise `OutputError` if a path to be written to leads to something else than a regular file.

    A file that is written would take its place, be it a folder or the system's `/dev/null`.

    Args:
        what: what the error calls it.
    """
    with write_faults_named(what):
        _refuse_odd_name(path, "utf-8", "strict")
        with suppress(FileNotFoundError, NotADirectoryError):
            _refuse_odd(path.stat())


def make_folder(path: Path, what: str) -> None:
    """Make a folder, and those above it, if it is not there.

    Raises:
        OutputError: `what`, which is the folder, cannot be made, or its path is not UTF-8.
    """
    with write_faults_named(what):
        _refuse_odd_name(path, "utf-8", "strict")
        path.mkdir(parents=True, exist_ok=True)


@contextmanager
def write_faults_named(what: str) -> Iterator[None]:
    """Turn what writing raises into an error that names the output.

    Raises:
        OutputError: `what` cannot be written.
    """
    try:
        yield
    except OSError as error:
        raise OutputError(f"{what} cannot be written: {why(error)}.") from error
    except pa.ArrowNotImplementedError as error:
        raise OutputError(
            f"{what} cannot be written ({type(error).__name__}): Parquet does not hold "
            "every type that Arrow has; cast run-end encoded, union and empty struct columns."
        ) from None
    except pa.ArrowException as error:  # its message can quote values
        raise OutputError(f"{what} cannot be written ({type(error).__name__}).") from None


def why(error: OSError) -> str:
    """The system's words for a fault; they can name files, but quote nothing of their content."""
    if error.errno:
        return os.strerror(error.errno)
    return str(error).partition("\n")[0].rstrip(".") or type(error).__name__


@contextmanager
def replacing(path: Path, what: str) -> Iterator[BinaryIO]:
    """A file that takes the path's place when the block ends, and is gone if the block fails.

    Raises:
        OutputError: `what` cannot be written; what was at the path is still there.
    """
    refuse_odd_target(path, what)
    draft = _draft_of(path)
    try:
        with write_faults_named(what):
            with draft.open("xb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            publish_draft(draft, path)
    finally:
        with suppress(OSError):  # where it could not be written, it may not be there
            draft.unlink()


def _draft_of(path: Path) -> Path:
    """A hidden name beside a path, which is not longer than names may be."""
    suffix = f".{secrets.token_hex(8)}"
    stem = os.fsencode(f".{path.name}")[: _MOST_NAME_BYTES - len(suffix)]
    return path.with_name(stem.decode("utf-8", "ignore") + suffix)


def publish_draft(draft: Path, path: Path) -> None:
    """Give a file its name, in a way that lasts through a power cut."""
    draft.replace(path)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder last through a power cut, where the system can."""
    if hasattr(os, "O_DIRECTORY"):
        descriptor = os.open(folder, os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
