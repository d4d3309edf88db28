"""Files that appear complete or not at all, and errors that name what cannot be written."""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import pyarrow as pa

from consentgate.errors import OutputError

__all__ = ["place", "replacing", "sync_folder", "why", "write_faults_named"]


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
        ) from error
    except pa.ArrowException as error:
        raise OutputError(f"{what} cannot be written ({type(error).__name__}).") from error


def why(error: OSError) -> str:
    """What the system says of a fault; it can hold the names of files, but nothing of theirs."""
    if error.errno:
        return os.strerror(error.errno)
    return str(error).partition("\n")[0].rstrip(".") or type(error).__name__


@contextmanager
def replacing(path: Path, what: str) -> Iterator[BinaryIO]:
    """A file that takes the path's place when the block ends, and is gone if the block fails.

    Raises:
        OutputError: `what` cannot be written; what was at the path is still there.
    """
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        with write_faults_named(what):
            with draft.open("xb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            place(draft, path)
    finally:
        draft.unlink(missing_ok=True)


def place(draft: Path, path: Path) -> None:
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
