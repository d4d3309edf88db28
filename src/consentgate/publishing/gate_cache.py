"""Reads a store from one of many processes, over its own connections and from shared files."""

import os
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock

from consentgate.errors import GateFileError, UnreadableFileError
from consentgate.gate import Gate
from consentgate.judging import open_gate
from consentgate.publishing.publication import POINTER, Publication, refuse_misfit, states_of
from consentgate.storage import (
    Folder,
    digest_bytes,
    refuse_odd_target,
    replacing,
    write_faults_named,
)

_CACHED = 3
"""How many gates of a store stay in a cache."""
_FORKED_S = 30.0
"""How many seconds a forked process waits until it has its own connections."""

_process = object()
_inherited: list[Folder] = []
"""Folders of the process that this one was forked from. They are kept, because the connections of
that process would be closed if they were freed.
"""


def _note_fork() -> None:
    global _process
    _process = object()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_note_fork)


def this_process() -> object:
    """An object that stands for this process. Unlike a process id, it is never used again."""
    return _process


class Connection:
    """The connection of each process to a store's folder.

    Args:
        path: the folder's path or URI.

    Attributes:
        path: the absolute path, or the URI.

    Raises:
        SourceError: The URI is malformed, or the object store does not answer.
    """

    def __init__(self, path: str | Path) -> None:
        folder = Folder.at(path)
        self.path = folder.root if folder.is_local else os.fspath(path)
        self._opened = _process, folder

    def __str__(self) -> str:
        return str(self._opened[1])

    @property
    def folder(self) -> Folder:
        """The store's folder. For an object store, no other process uses its connections."""
        process, folder = self._opened
        if process is not _process:
            if not folder.is_local:
                _inherited.append(folder)
                folder = _connect_anew(self.path, str(folder))
            self._opened = _process, folder
        return folder


def _connect_anew(path: str, shown: str) -> Folder:
    """Connect to a folder of an object store in a process that was forked.

    The folder that it inherited uses its parent's connections, on which the two processes could
    take each other's answers.
    """
    made: Future[Folder] = Future()

    def connect() -> None:
        try:
            made.set_result(Folder.at(path))
        except Exception as error:
            made.set_exception(error)

    # In a thread, because pyarrow waits forever if another thread was using S3 at the fork.
    threading.Thread(target=connect, name="consentgate-connect", daemon=True).start()
    try:
        return made.result(timeout=_FORKED_S)
    except TimeoutError as error:
        raise UnreadableFileError(
            f"'{shown}' cannot be reached from this process, because it was forked while another "
            "thread was using object storage; start worker processes by spawn or forkserver."
        ) from error


def open_published(folder: Folder, published: Publication, cache: Path | None) -> Gate:
    """Open a gate that was published.

    Args:
        folder: the store's folder.
        published: the publication.
        cache: the folder for gates from object stores; see `GateStore`.

    Raises:
        UnreadableFileError, SourceChangedError: The gate's file cannot be read, or is not there.
        DamagedGateError, ForeignGateError, NewerGateError, ReplacedGateError: The gate's file is
            damaged, of a newer version, or not what was published.
        OutputError: The cache cannot be written to.
    """
    gate = _open_file(folder, published, cache)
    refuse_misfit(published, states_of(gate.identity), folder.shown(POINTER))
    return gate


def _open_file(folder: Folder, published: Publication, cache: Path | None) -> Gate:
    digest = published.file_digest
    if folder.is_local:
        return Gate._opened(*open_gate(folder.path(published.name), digest=digest))
    if cache is not None:
        return _open_cached(folder, published, cache)
    with folder.fetched(published.name) as path, _fetch_faults_named(folder, published):
        saved, _ = open_gate(path, verify=True, digest=digest)
    return Gate._opened(saved, None)  # it pickles by value, because its file is gone


def _open_cached(folder: Folder, published: Publication, cache: Path) -> Gate:
    """Open a gate from the cache. One process at a time fetches a gate that is not there."""
    own = cache / digest_bytes([str(folder).encode()])[:16]
    path = own / f"{published.file_digest}.gate"
    if gate := _open_intact(path, published.file_digest):
        return gate
    with write_faults_named(f"Cache '{own}'"):
        own.mkdir(parents=True, exist_ok=True)
        refuse_odd_target(own / "lock", f"Cache '{own}'")
        with FileLock(own / "lock"):
            if gate := _open_intact(path, published.file_digest):
                return gate
            _fetch(folder, published, path)
            _keep_newest(path)
            return Gate._opened(*open_gate(path, digest=published.file_digest))


def _fetch(folder: Folder, published: Publication, path: Path) -> None:
    """Fetch a gate's file to a path. It appears there after every byte was checked."""
    with replacing(path, f"Cache '{path.parent}'") as file:
        file.writelines(folder.pieces(published.name))
        file.flush()
        with _fetch_faults_named(folder, published):
            open_gate(Path(file.name), verify=True, digest=published.file_digest)


@contextmanager
def _fetch_faults_named(folder: Folder, published: Publication) -> Iterator[None]:
    try:
        yield
    except GateFileError as error:
        where = folder.shown(published.name)
        raise type(error)(f"As fetched from '{where}': {error}") from error


def _open_intact(path: Path, digest: str) -> Gate | None:
    """Open a gate's file. None if it is not there or is not the right one."""
    with suppress(UnreadableFileError, GateFileError):
        return Gate._opened(*open_gate(path, digest=digest))
    return None


def _keep_newest(new: Path) -> None:
    """Remove old gates from a cache, and files that killed processes were fetching."""
    gates = sorted(new.parent.glob("[!.]*.gate"), key=lambda path: path.stat().st_mtime_ns)
    gates.remove(new)  # whatever the clock says
    for path in (*gates[: -_CACHED + 1], *new.parent.glob(".*.gate.*")):
        path.unlink(missing_ok=True)
