"""Folders of files on this machine's disks or in an object store, through pyarrow's filesystems.

On a disk, a file is read in its folder, and is written as a draft, which then gets the file's name.
From an object store, a file is fetched to this machine's temporary folder and read there. A file
for an object store is written on this machine, and then uploaded. So all bytes that are read are of
one version of the object, and an object appears whole.
"""

import io
import os
import re
import shutil
import stat
import tempfile
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import pyarrow as pa
import pyarrow.fs as pa_fs

from consentgate.arguments import is_utf8
from consentgate.errors import OutputError, SourceChangedError, SourceError, UnreadableFileError
from consentgate.storage.durable import (
    absolute,
    check_regular,
    read_regular,
    refuse_odd_target,
    replacing,
    sync_folder,
    why,
    write_faults_named,
)

_CHUNK_BYTES = 8 << 20
MOST_READ_BYTES = 1 << 30
"""Most bytes of a manifest or another file that is read into memory at once."""
ODD = "is a link, or neither file nor folder, or has a name that is not UTF-8"
"""How errors and findings describe the names that `Folder.oddities` returns."""
_RETRY_S = 30
"""Seconds for which a request to Google's storage is retried. pyarrow's default is 15 minutes."""


@dataclass(frozen=True)
class Stamp:
    """Tells one state of a file from another.

    Attributes:
        size_bytes: its size.
        version: the time of its modification in nanoseconds since 1970, or an object's etag.
        inode: on a disk, its inode's number, and when the inode last changed, in nanoseconds since
            1970.
        stored: in an object store, when the object was stored. This differs if the object was
            replaced, and then replaced again by the first one.
    """

    size_bytes: int
    version: str
    inode: tuple[int, int] | None = None
    stored: bytes | None = None


@dataclass(frozen=True)
class Folder:
    """A folder, which need not exist yet.

    Attributes:
        filesystem: the filesystem that holds it.
        root: its absolute path in that filesystem, without a slash at the end.
    """

    filesystem: pa_fs.FileSystem
    root: str

    @classmethod
    def at(cls, path: str | Path) -> "Folder":
        """A folder by its path, or by its URI (`file://`, `s3://`, `gs://`).

        Error messages show a URI without its user info and its query, because these can hold keys
        of the store. So do the messages of the errors that caused them.

        Raises:
            SourceError: The URI or path is malformed, or the store does not answer.
        """
        text = os.fspath(path)
        if "://" not in text and not re.match("(file|s3|gs):", text):
            if "\0" in text or not is_utf8(text):
                raise SourceError(
                    f"The path {text!a} holds a NUL character or is not UTF-8; rename it."
                )
            return cls(pa_fs.LocalFileSystem(), str(absolute(Path(text), SourceError)))
        with suppress(pa.ArrowException, ValueError):  # pyarrow's message quotes the whole URI
            folder = cls._at_uri(text)
            if folder is not None:
                return folder
        raise SourceError(
            f"'{_bare(text)}' is not a URI of a file or folder; give a path, or a file://, s3:// "
            "or gs:// URI without a port, '.' or '..', with special characters percent-encoded."
        )

    @classmethod
    def _at_uri(cls, uri: str) -> "Folder | None":
        """The folder that a URI names; None if pyarrow would ignore or misread a piece of the URI.

        pyarrow ignores ports and fragments. If a secret is not percent-encoded, as in
        `s3://KEY:12/REST@bucket`, pyarrow takes `KEY` for a bucket and `12` for its port. Stores
        take `a/../b` for `b`.
        """
        if uri.startswith("file:") and "?" in uri:  # pyarrow would ignore the rest
            return None
        authority = uri.partition("://")[2].partition("/")[0].partition("?")[0]
        if ":" in authority.rpartition("@")[2] or "#" in uri:
            return None
        if uri.startswith("gs://") and "retry_limit_seconds=" not in uri:
            uri += ("&" if "?" in uri else "?") + f"retry_limit_seconds={_RETRY_S}"
        try:
            filesystem, root = pa_fs.FileSystem.from_uri(uri)
        except OSError as error:
            raise SourceError(f"'{_bare(uri)}' cannot be reached: {why(error)}.") from error
        folder = cls(filesystem, root.rstrip("/"))
        if "\0" in folder.root:
            return None
        leads_down = all(part not in ("", ".", "..") for part in folder.root.split("/"))
        return folder if leads_down or folder.is_local else None

    @classmethod
    def within(cls, filesystem: pa_fs.FileSystem, root: str) -> "Folder":
        """A folder by its path in any of pyarrow's filesystems.

        This machine's disks are recognized through pyarrow's `SubTreeFileSystem` and through
        fsspec's local filesystem. They are not recognized through other filesystems that are
        written in Python. There, a file with two names counts as two files, and a destination
        within the source is not noticed.
        """
        while isinstance(filesystem, pa_fs.SubTreeFileSystem):
            root = f"{filesystem.base_path.rstrip('/')}/{root.lstrip('/')}"
            filesystem = filesystem.base_fs
        if _is_local_fsspec(filesystem):
            filesystem = pa_fs.LocalFileSystem()
        return cls(filesystem, root.rstrip("/"))

    @property
    def is_local(self) -> bool:
        """Whether the folder is on this machine's disks."""
        return isinstance(self.filesystem, pa_fs.LocalFileSystem)

    def __str__(self) -> str:
        if self.is_local:
            return self.root
        return f"{self.filesystem.type_name.replace('gcs', 'gs')}://{self.root}"

    def shown(self, name: str) -> str:
        """The path or URI of a file of the folder, as messages show it."""
        return f"{self}/{name}"

    def path(self, name: str) -> Path:
        """The path of a file of a local folder."""
        return Path(self.root, name.lstrip("/"))  # a leading slash would lead out of the folder

    def key(self, name: str) -> str:
        """The path of a file of the folder in its filesystem."""
        return f"{self.root}/{name}" if name else self.root

    def kind(self) -> pa_fs.FileType:
        """The type of the file or folder at this folder's path; `NotFound` if there is none.

        Raises:
            SourceError: The path cannot be looked at.
        """
        with self._listing_faults_named():
            return self.filesystem.get_file_info(self.root).type

    def listing(self, below: str = "", *, follow_links: bool = True) -> dict[str, float]:
        """All files in the folder, or in one of its subfolders; empty if there is no such folder.

        On a disk, anything but a folder counts as a file. So a pipe, a device and a broken link are
        listed, and are an error when they are read.

        Args:
            below: the subfolder; "" for the whole folder.
            follow_links: whether to list the files of folders that links lead to, as a source needs
                it. If not, as for a destination, a link is listed as a file, and so is a file whose
                name is not UTF-8.

        Returns:
            For each path relative to this folder, in order of paths, the time of the file's
            modification: seconds since 1970 by the clock of the system that stores it.

        Raises:
            SourceError: The folder cannot be listed. If links are followed, also: a link leads to a
                folder that was listed before, or a name is not UTF-8.
        """
        if self.is_local:
            with self._listing_faults_named():
                return self._local_listing(below) if follow_links else self._own_listing(below)
        selector = pa_fs.FileSelector(self.key(below), recursive=True, allow_not_found=True)
        with self._listing_faults_named():
            infos = self.filesystem.get_file_info(selector)
        files = [info for info in infos if info.type is pa_fs.FileType.File]
        skipped = len(self.root) + 1
        return dict(sorted((info.path[skipped:], (info.mtime_ns or 0) / 1e9) for info in files))

    def _local_listing(self, below: str) -> dict[str, float]:
        times, seen = {}, set()
        for folder, _, names in os.walk(self.path(below), onerror=_raise, followlinks=True):
            status = os.stat(folder)  # noqa: PTH116
            if (status.st_dev, status.st_ino) in seen:
                raise SourceError(
                    f"Folder '{folder}' is reached twice from '{self}', through a link; remove the "
                    "link, so that nothing is read twice."
                )
            seen.add((status.st_dev, status.st_ino))
            for path in (Path(folder, name) for name in names):
                name = str(path.relative_to(self.root))
                if not is_utf8(name):
                    raise SourceError(f"The name of file {name!a} is not UTF-8; rename it.")
                with suppress(FileNotFoundError):  # it was removed meanwhile
                    times[name] = path.lstat().st_mtime
        return dict(sorted(times.items()))

    def _own_listing(self, below: str) -> dict[str, float]:
        times = {}
        for folder, folders, names in os.walk(self.path(below), onerror=_raise):
            links = [name for name in folders if Path(folder, name).is_symlink()]
            for path in (Path(folder, name) for name in (*names, *links)):
                with suppress(FileNotFoundError):  # it was removed meanwhile
                    times[str(path.relative_to(self.root))] = path.lstat().st_mtime
        return dict(sorted(times.items()))

    def oddities(self) -> list[str]:
        """The paths in a local folder that no run and no store makes.

        These are links, paths of neither a folder nor a file, and names that are not UTF-8.
        """
        if not self.is_local:
            return []
        odd = []
        for folder, folders, names in os.walk(self.root):
            for path in (Path(folder, name) for name in (*folders, *names)):
                with suppress(FileNotFoundError):  # it was removed meanwhile
                    mode, name = path.lstat().st_mode, str(path.relative_to(self.root))
                    if not (stat.S_ISDIR(mode) or stat.S_ISREG(mode)) or not is_utf8(name):
                        odd.append(name)
        return sorted(odd)

    def stamp(self, name: str) -> Stamp:
        """The stamp of a file's present state.

        Raises:
            SourceChangedError: The file is not there.
            UnreadableFileError: Its state cannot be read, or it is not a regular file.
        """
        with self._read_faults_named(name):
            if self.is_local:
                status = check_regular(self.path(name))
                inode = status.st_ino, status.st_ctime_ns
                return Stamp(status.st_size, str(status.st_mtime_ns), inode)
            with self.filesystem.open_input_file(self.key(name)) as file:
                metadata, size = file.metadata() or {}, file.size()
            if etag := metadata.get("ETag"):
                stored = metadata.get("Last-Modified")
                return Stamp(size, etag.decode().strip('"'), stored=stored)
            return Stamp(size, str(self.filesystem.get_file_info(self.key(name)).mtime_ns))

    @contextmanager
    def opened(self, name: str) -> Iterator[pa.NativeFile]:
        """A file, open for reading at any position.

        Raises:
            SourceChangedError: The file is not there.
            UnreadableFileError: It cannot be read.
        """
        with self._read_faults_named(name):
            self._check(name)
            file = self.filesystem.open_input_file(self.key(name))
        with file:
            yield file

    @contextmanager
    def fetched(self, name: str) -> Iterator[Path]:
        """The path of a file on this machine's disks.

        From an object store, this is a copy, which is removed when the block ends.

        Raises:
            SourceChangedError: The file is not there.
            UnreadableFileError: It cannot be read.
        """
        if self.is_local:
            with self._read_faults_named(name):
                self._check(name)
            yield self.path(name)
            return
        with self._scratch(name) as folder:
            copy = Path(folder, "object")  # a key can be longer than a file's name
            with (
                self._read_faults_named(name),
                self.filesystem.open_input_stream(self.key(name)) as source,
                copy.open("wb") as target,
            ):
                shutil.copyfileobj(source, target, _CHUNK_BYTES)
            yield copy

    def pieces(self, name: str) -> Iterator[bytes]:
        """A file's content, a few megabytes at a time.

        Raises:
            SourceChangedError: The file is not there.
            UnreadableFileError: It cannot be read.
        """
        with self._read_faults_named(name):
            self._check(name)
            with self.filesystem.open_input_stream(self.key(name)) as source:
                while piece := source.read(_CHUNK_BYTES):
                    yield piece

    def _check(self, name: str) -> None:
        """Raise OSError if a file of a local folder is not a regular file."""
        if self.is_local:
            check_regular(self.path(name))

    def _scratch(self, name: str) -> "tempfile.TemporaryDirectory[str]":
        try:
            return tempfile.TemporaryDirectory(prefix="consentgate-")
        except OSError as error:
            raise UnreadableFileError(
                f"File '{self.shown(name)}' cannot be fetched, because no temporary folder can be "
                f"made for it: {why(error)}; set TMPDIR to a folder with free space."
            ) from error

    def read(self, name: str, *, most_bytes: int = MOST_READ_BYTES) -> bytes | None:
        """A small file's content, or None if there is no such file.

        Args:
            most_bytes: how large the file may be.

        Raises:
            UnreadableFileError: It cannot be read, is not a regular file, or is larger.
        """
        with suppress(SourceChangedError), self._read_faults_named(name):
            if self.is_local:
                return read_regular(self.path(name), most_bytes=most_bytes)
            content = bytearray()
            for piece in self.pieces(name):
                content += piece
                if len(content) > most_bytes:
                    raise OSError(f"it has more than the {most_bytes:,} bytes that are read")
            return bytes(content)
        return None

    def write(self, name: str, content: bytes) -> None:
        """Write a small file, which appears whole.

        Raises:
            OutputError: It cannot be written.
        """
        what = f"Output '{self.shown(name)}'"
        if len(content) > MOST_READ_BYTES:
            raise OutputError(
                f"{what} would take {len(content):,} bytes, but at most {MOST_READ_BYTES:,} can "
                "be read again; judge the files in several runs."
            )
        with write_faults_named(what):
            if self.is_local:
                path = self.path(name)
                path.parent.mkdir(parents=True, exist_ok=True)
                with replacing(path, what) as file:
                    file.write(content)
            else:
                # Not in the main thread: there, Ctrl-C can come after a stream was opened and
                # before it was written. pyarrow stores the content of a stream that is dropped.
                with ThreadPoolExecutor(1) as helper:
                    helper.submit(self._store, io.BytesIO(content), name).result()

    def publish(self, draft: Path, name: str) -> None:
        """Move a complete file into the folder, in place of any file of that name.

        After a power cut, the name may be missing (see `settle`). But if it is there, so is all of
        the content.

        Raises:
            OutputError: The file cannot be written.
        """
        what = f"Output '{self.shown(name)}'"
        with write_faults_named(what):
            if self.is_local:
                refuse_odd_target(self.path(name), what)
                with draft.open("rb") as file:
                    os.fsync(file.fileno())
                self.path(name).parent.mkdir(parents=True, exist_ok=True)
                draft.replace(self.path(name))
            else:
                try:
                    with draft.open("rb") as source:
                        self._store(source, name)
                except OSError:
                    with suppress(OutputError):  # if reading failed, the object is incomplete
                        self.delete(name)
                    raise
                draft.unlink()

    def settle(self, names: Iterable[str]) -> None:
        """Make the names of published files survive a power cut.

        Raises:
            OutputError: The system cannot sync a folder.
        """
        if self.is_local:
            with write_faults_named(f"Destination '{self}'"):
                for parent in {self.path(name).parent for name in names}:
                    sync_folder(parent)

    def delete(self, name: str) -> None:
        """Remove a file, if it is there.

        Raises:
            OutputError: It cannot be removed.
        """
        with write_faults_named(f"Output '{self.shown(name)}'"):
            if self.is_local:
                self.path(name).unlink(missing_ok=True)
            elif self.filesystem.get_file_info(self.key(name)).type is pa_fs.FileType.File:
                self.filesystem.delete_file(self.key(name))

    def _store(self, source: BinaryIO, name: str) -> None:
        """Store an object, and check that all of it was stored.

        `pyarrow.fs.copy_files` would not report an upload that fails.
        """
        key = self.key(name)
        with self.filesystem.open_output_stream(key) as target:
            shutil.copyfileobj(source, target, _CHUNK_BYTES)
        if self.filesystem.get_file_info(key).size != source.tell():
            raise OutputError(f"Output '{self.shown(name)}' was not stored whole; run again.")

    @contextmanager
    def _read_faults_named(self, name: str) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError as error:
            raise SourceChangedError(
                f"File '{self.shown(name)}' is not there any more; bring it back, or run again "
                "without it."
            ) from error
        except (OSError, pa.ArrowException) as error:
            raise self._unreadable(name, error) from error

    def _unreadable(self, name: str, error: Exception) -> UnreadableFileError:
        fault = _first_line(error)
        return UnreadableFileError(f"File '{self.shown(name)}' cannot be read: {fault}.")

    @contextmanager
    def _listing_faults_named(self) -> Iterator[None]:
        try:
            yield
        except (OSError, pa.ArrowException, UnicodeDecodeError) as error:
            raise SourceError(
                f"'{self}' cannot be listed: {_first_line(error)}; see that it is there and that "
                "you may read it."
            ) from error


def _is_local_fsspec(filesystem: pa_fs.FileSystem) -> bool:
    handler = getattr(filesystem, "handler", None)
    if not isinstance(handler, pa_fs.FSSpecHandler):
        return False
    protocol = handler.fs.protocol
    return not {"file", "local"}.isdisjoint([protocol] if isinstance(protocol, str) else protocol)


def printable(name: str) -> str:
    """A file's name as text that can be printed, even if the name is not UTF-8."""
    return name.encode(errors="backslashreplace").decode()


def _raise(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError):
        raise error


def _first_line(error: Exception) -> str:
    return why(error) if isinstance(error, OSError) else str(error).partition("\n")[0]


def _bare(uri: str) -> str:
    """A URI without its user info and query, even if the URI is malformed."""
    scheme, _, rest = uri.partition(":")
    bare = rest.lstrip("/").rpartition("@")[2].partition("?")[0]
    return f"{scheme}://" + ("…" if ":" in bare.partition("/")[0] else bare)
