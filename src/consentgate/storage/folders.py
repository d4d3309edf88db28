"""Folders of files on this machine's disks or in an object store, through pyarrow's filesystems.

On a disk, files are read where they are and written beside where they go. From an object store, a
file is fetched to this machine's temporary folder and read there, and it is written there before it
is uploaded; so what is read is one object from beginning to end, and an object appears whole.
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
"""The words of errors and findings about names that `Folder.oddities` gives."""
_RETRY_S = 30
"""Seconds for which Google's storage is asked again; pyarrow would go on for 15 minutes."""


@dataclass(frozen=True)
class Stamp:
    """Tells one state of a file from another.

    Attributes:
        size_bytes: its size.
        version: the time of its modification in nanoseconds since 1970, or an object's etag.
        inode: on a disk, which file it is and when anything about it changed.
        stored: in an object store, when the object was stored, to tell an object from one that was
            replaced and brought back meanwhile.
    """

    size_bytes: int
    version: str
    inode: tuple[int, int] | None = None
    stored: bytes | None = None


@dataclass(frozen=True)
class Folder:
    """A folder, which need not be there yet.

    Attributes:
        filesystem: where it is.
        root: its path in there; absolute, without a slash at the end.
    """

    filesystem: pa_fs.FileSystem
    root: str

    @classmethod
    def at(cls, path: str | Path) -> "Folder":
        """A folder by its path, or by its URI (`file://`, `s3://`, `gs://`).

        Messages show a URI without its user info and its query, and so do the errors they come
        from: keys of the store are in there.

        Raises:
            SourceError: The URI or path is malformed, or nothing answers there.
        """
        text = os.fspath(path)
        if "://" not in text and not re.match("(file|s3|gs):", text):
            if "\0" in text or not is_utf8(text):
                raise SourceError(
                    f"The path {text!a} holds a NUL character or is not UTF-8; rename it."
                )
            return cls(pa_fs.LocalFileSystem(), str(absolute(Path(text), SourceError)))
        with suppress(pa.ArrowException, ValueError):  # what pyarrow says quotes the whole URI
            folder = cls._at_uri(text)
            if folder is not None:
                return folder
        raise SourceError(
            f"'{_bare(text)}' is no URI of a file or folder; give a path, or a file://, s3:// or "
            "gs:// URI without a port, '.' or '..', with special characters percent-encoded."
        )

    @classmethod
    def _at_uri(cls, uri: str) -> "Folder | None":
        """The folder that a URI names, where it names one and nothing else.

        pyarrow takes no notice of ports and fragments: of `s3://KEY:12/REST@bucket`, where a secret
        is not percent-encoded, it makes a bucket and its port. And stores take `a/../b` for `b`.
        """
        if uri.startswith("file:") and "?" in uri:  # pyarrow would take no notice of the rest
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
        """A folder of any of pyarrow's filesystems, by its path in there.

        pyarrow's `SubTreeFileSystem` and fsspec's local filesystem are recognized as this machine's
        disks. Other filesystems that are written in Python are not: there, a file that has two
        names is taken for two files, and a destination within the source is not noticed.
        """
        while isinstance(filesystem, pa_fs.SubTreeFileSystem):
            root = f"{filesystem.base_path.rstrip('/')}/{root.lstrip('/')}"
            filesystem = filesystem.base_fs
        if _is_local_fsspec(filesystem):
            filesystem = pa_fs.LocalFileSystem()
        return cls(filesystem, root.rstrip("/"))

    @property
    def is_local(self) -> bool:
        """Whether it lies on this machine's disks."""
        return isinstance(self.filesystem, pa_fs.LocalFileSystem)

    def __str__(self) -> str:
        if self.is_local:
            return self.root
        return f"{self.filesystem.type_name.replace('gcs', 'gs')}://{self.root}"

    def shown(self, name: str) -> str:
        """A file of the folder, as messages call it."""
        return f"{self}/{name}"

    def path(self, name: str) -> Path:
        """A file of a local folder."""
        return Path(self.root, name.lstrip("/"))  # a leading slash would lead out of the folder

    def key(self, name: str) -> str:
        """A file of the folder, as the filesystem calls it."""
        return f"{self.root}/{name}" if name else self.root

    def kind(self) -> pa_fs.FileType:
        """The kind of thing that is at the folder's path.

        Raises:
            SourceError: It cannot be looked at.
        """
        with self._listing_faults_named():
            return self.filesystem.get_file_info(self.root).type

    def listing(self, below: str = "", *, follow_links: bool = True) -> dict[str, float]:
        """Every file in the folder, or below one of its folders; none where there is no folder.

        On a disk, whatever is no folder counts as a file. A pipe, a device or a link that leads
        nowhere is an error where it is read, not left out.

        Args:
            follow_links: list what is in folders that links lead to, as a source needs it. Without
                that, as in a folder that is written to, a link is listed as a file, and so is a
                file whose name is not UTF-8.

        Returns:
            The time of each one's modification, in seconds since 1970 by the clock of whoever
            stores it, by its path relative to this folder, in order.

        Raises:
            SourceError: It cannot be listed. Or links are followed, and one leads to a folder for
                the second time, or a name is not UTF-8.
        """
        if self.is_local:
            with self._listing_faults_named():
                return self._local_listing(below) if follow_links else self._own_listing(below)
        selector = pa_fs.FileSelector(self.key(below), recursive=True, allow_not_found=True)
        with self._listing_faults_named():
            found = self.filesystem.get_file_info(selector)
        files = [info for info in found if info.type is pa_fs.FileType.File]
        skipped = len(self.root) + 1
        return dict(sorted((info.path[skipped:], (info.mtime_ns or 0) / 1e9) for info in files))

    def _local_listing(self, below: str) -> dict[str, float]:
        found, seen = {}, set()
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
                    raise SourceError(f"The name of file {name!a} is no UTF-8; rename it.")
                with suppress(FileNotFoundError):  # it is gone by now
                    found[name] = path.lstat().st_mtime
        return dict(sorted(found.items()))

    def _own_listing(self, below: str) -> dict[str, float]:
        found = {}
        for folder, folders, names in os.walk(self.path(below), onerror=_raise):
            links = [name for name in folders if Path(folder, name).is_symlink()]
            for path in (Path(folder, name) for name in (*names, *links)):
                with suppress(FileNotFoundError):  # it is gone by now
                    found[str(path.relative_to(self.root))] = path.lstat().st_mtime
        return dict(sorted(found.items()))

    def oddities(self) -> list[str]:
        """The names in a local folder that no run and no store makes.

        That is whatever is neither a folder nor a file, links, and names that are not UTF-8.
        """
        if not self.is_local:
            return []
        found = []
        for folder, folders, names in os.walk(self.root):
            for path in (Path(folder, name) for name in (*folders, *names)):
                with suppress(FileNotFoundError):  # what vanishes meanwhile is not odd
                    mode, name = path.lstat().st_mode, str(path.relative_to(self.root))
                    if not (stat.S_ISDIR(mode) or stat.S_ISREG(mode)) or not is_utf8(name):
                        found.append(name)
        return sorted(found)

    def stamp(self, name: str) -> Stamp:
        """The stamp of a file's present state.

        Raises:
            SourceChangedError: It is not there.
            UnreadableFileError: It cannot be looked at, or is no regular file.
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
        """A file, open for reading here and there.

        Raises:
            SourceChangedError: It is not there.
            UnreadableFileError: It cannot be read.
        """
        with self._read_faults_named(name):
            self._check(name)
            file = self.filesystem.open_input_file(self.key(name))
        with file:
            yield file

    @contextmanager
    def fetched(self, name: str) -> Iterator[Path]:
        """A file as one of this machine's disks: itself, or a copy until the block ends.

        Raises:
            SourceChangedError: It is not there.
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
            SourceChangedError: It is not there.
            UnreadableFileError: It cannot be read.
        """
        with self._read_faults_named(name):
            self._check(name)
            with self.filesystem.open_input_stream(self.key(name)) as source:
                while piece := source.read(_CHUNK_BYTES):
                    yield piece

    def _check(self, name: str) -> None:
        """Raise OSError if a path of a disk leads to something else than a regular file."""
        if self.is_local:
            check_regular(self.path(name))

    def _scratch(self, name: str) -> "tempfile.TemporaryDirectory[str]":
        try:
            return tempfile.TemporaryDirectory(prefix="consentgate-")
        except OSError as error:
            raise UnreadableFileError(
                f"File '{self.shown(name)}' cannot be fetched, for there is no temporary folder to "
                f"fetch it to: {why(error)}; set TMPDIR to one that has space."
            ) from error

    def read(self, name: str, *, most_bytes: int = MOST_READ_BYTES) -> bytes | None:
        """A small file's content, or None where there is none.

        Args:
            most_bytes: how large it may be.

        Raises:
            UnreadableFileError: It cannot be read, is no regular file, or is larger.
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
                f"{what} would take {len(content):,} bytes, but at most {MOST_READ_BYTES:,} are "
                "read again; judge the files in several runs."
            )
        with write_faults_named(what):
            if self.is_local:
                path = self.path(name)
                path.parent.mkdir(parents=True, exist_ok=True)
                with replacing(path, what) as file:
                    file.write(content)
            else:
                # Not in the main thread, where Ctrl-C can come between a stream's beginning and
                # what is written to it: pyarrow stores what a stream holds when it is given up.
                with ThreadPoolExecutor(1) as helper:
                    helper.submit(self._store, io.BytesIO(content), name).result()

    def publish(self, draft: Path, name: str) -> None:
        """Give a complete file its name in the folder, replacing what is there, and take it away.

        After a power cut the name may be there or not, but never without the content; see `settle`.

        Raises:
            OutputError: It cannot be written.
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
                    with suppress(OutputError):  # what was stored when reading failed is cut off
                        self.delete(name)
                    raise
                draft.unlink()

    def settle(self, names: Iterable[str]) -> None:
        """Make the names of published files last through a power cut.

        Raises:
            OutputError: The system refuses.
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
        """Store an object; of an upload that fails, `pyarrow.fs.copy_files` would say nothing."""
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
    """A file's name as text that can be printed, though the name need not be UTF-8."""
    return name.encode(errors="backslashreplace").decode()


def _raise(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError):
        raise error


def _first_line(error: Exception) -> str:
    return why(error) if isinstance(error, OSError) else str(error).partition("\n")[0]


def _bare(uri: str) -> str:
    """A URI without user info and query, wherever they begin and end in a malformed one."""
    scheme, _, rest = uri.partition(":")
    bare = rest.lstrip("/").rpartition("@")[2].partition("?")[0]
    return f"{scheme}://" + ("…" if ":" in bare.partition("/")[0] else bare)
