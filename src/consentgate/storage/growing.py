"""Files that are read and synced while they are written, so that the end comes sooner."""

import hashlib
import os
from concurrent.futures import Executor
from io import BufferedReader
from pathlib import Path
from typing import Self

from consentgate.storage.background import Background
from consentgate.storage.durable import open_regular, write_faults_named

_PIECE_BYTES = 1 << 20


class GrowingFile:
    """A file to whose end something else writes, and whose digest is taken meanwhile.

    As a context manager, it closes its handle of the file when the block ends.

    Args:
        path: the path of the file, which exists when `grew` is called first.
        what: how errors name the file.
        helper: an executor with a thread that is free for this.
        is_synced: whether what was written is also written to the disk meanwhile.
    """

    def __init__(self, path: Path, what: str, helper: Executor, *, is_synced: bool) -> None:
        self._path, self._what, self._is_synced = path, what, is_synced
        self._background = Background(helper)
        self._file: BufferedReader | None = None
        self._digest = hashlib.sha256()

    def grew(self) -> None:
        """Read in another thread what was written since the last call, unless it still reads.

        Raises:
            OutputError: The file could not be read or synced.
        """
        if not self._background.is_busy:
            self._background.call(self._follow)

    def digest(self) -> str:
        """The SHA-256 of the file, which is complete, in hexadecimal.

        Raises:
            OutputError: The file could not be read or synced.
        """
        self._background.wait()
        self._read()
        return self._digest.hexdigest()

    def _follow(self) -> None:
        file = self._read()
        if self._is_synced and hasattr(os, "fdatasync"):
            with write_faults_named(self._what):
                os.fdatasync(file.fileno())

    def _read(self) -> BufferedReader:
        with write_faults_named(self._what):
            if self._file is None:
                self._file = open_regular(self._path)
            while piece := self._file.read(_PIECE_BYTES):
                self._digest.update(piece)
        return self._file

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *error: object) -> None:
        try:
            self._background.__exit__(kind, *error)
        finally:
            if self._file is not None:
                self._file.close()
