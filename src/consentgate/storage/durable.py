"""Writing files that appear complete or not at all, and reading only regular files.

A path can lead to a named pipe, a device or a socket. Reading from these may wait forever or never
end. So paths are opened for reading through `open_regular`, or checked by `check_regular` before
another library opens them.
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
        FileError: The path is relative, and the working directory no longer exists.
    """
    try:
        return path.absolute()
    except OSError as fault:
        raise error(
            f"The path '{path}' is relative, but the working directory cannot be found: "
            f"{why(fault)}; give an absolute path, or start from another directory."
        ) from fault


def check_regular(path: Path, *, most_bytes: int | None = None) -> os.stat_result:
    """The status of a regular file, which a library such as pyarrow can then open safely.

    Args:
        most_bytes: how large the file may be; None: any size.

    Raises:
        OSError: The file is not there, cannot be read, is not a regular file (links are followed),
            or is larger than `most_bytes`; or its path is not UTF-8, and pyarrow cannot open it.
            `why` describes the error for messages.
    """
    _refuse_odd_name(path, "utf-8", "strict")
    with open_regular(path, most_bytes=most_bytes) as file:
        return os.fstat(file.fileno())


def read_regular(path: Path, *, most_bytes: int = SMALL_FILE_BYTES) -> bytes:
    """The content of a small regular file.

    Raises:
        OSError: As `open_regular` raises it; or the file grew while it was read.
    """
    with open_regular(path, most_bytes=most_bytes) as file:
        content = file.read(most_bytes + 1)
    if len(content) > most_bytes:
        raise OSError(_too_large(len(content), most_bytes))
    return content


def open_regular(path: Path, *, most_bytes: int | None = None) -> BufferedReader:
    """A regular file, open for reading.

    Pipes, devices and sockets are refused before they are opened, so this never waits.

    Args:
        most_bytes: how large the file may be; None: any size.

    Raises:
        OSError: As `check_regular` raises it, except that the path need not be UTF-8.
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
        raise OSError(f"it is {_KINDS.get(kind, 'of an unknown kind')}, not a regular file")


def _too_large(size: int, most_bytes: int) -> str:
    return f"it has {size:,} bytes, but at most {most_bytes:,} are read"


def refuse_odd_target(path: Path, what: str) -> None:
    """Raise `OutputError` if there is anything but a regular file at a path to be written to.

    The new file would replace it, even if it is a device such as `/dev/null`.

    Args:
        what: how the error names the output.
    """
    with write_faults_named(what):
        _refuse_odd_name(path, "utf-8", "strict")
        with suppress(FileNotFoundError, NotADirectoryError):
            _refuse_odd(path.stat())


def make_folder(path: Path, what: str) -> None:
    """Make a folder and the folders above it, if they do not exist.

    Args:
        what: how the error names the folder.

    Raises:
        OutputError: The folder cannot be made, or its path is not UTF-8.
    """
    with write_faults_named(what):
        _refuse_odd_name(path, "utf-8", "strict")
        path.mkdir(parents=True, exist_ok=True)


@contextmanager
def write_faults_named(what: str) -> Iterator[None]:
    """Turn the errors that writing raises into an error that names the output.

    Args:
        what: how the error names the output.

    Raises:
        OutputError: The output cannot be written.
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
    except pa.ArrowException as error:  # pyarrow's message can quote values
        raise OutputError(f"{what} cannot be written ({type(error).__name__}).") from None


def why(error: OSError) -> str:
    """The system's description of an error. It can name files, but quotes none of their content."""
    if error.errno:
        return os.strerror(error.errno)
    return str(error).partition("\n")[0].rstrip(".") or type(error).__name__


@contextmanager
def replacing(path: Path, what: str) -> Iterator[BinaryIO]:
    """A new file, which replaces the one at a path when the block ends.

    If the block fails, the new file is removed.

    Args:
        what: how the error names the output.

    Raises:
        OutputError: The output cannot be written. The file that was at the path is still there,
            unless only syncing its folder failed.
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
        with suppress(OSError):  # if it could not be written, it may not exist
            draft.unlink()


def _draft_of(path: Path) -> Path:
    """A hidden path in the same folder, with a name that is not longer than names may be."""
    suffix = f".{secrets.token_hex(8)}"
    stem = os.fsencode(f".{path.name}")[: _MOST_NAME_BYTES - len(suffix)]
    return path.with_name(stem.decode("utf-8", "ignore") + suffix)


def publish_draft(draft: Path, path: Path) -> None:
    """Give a complete file its final name, so that the name survives a power cut."""
    draft.replace(path)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder survive a power cut, where the system supports this."""
    if hasattr(os, "O_DIRECTORY"):
        descriptor = os.open(folder, os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
