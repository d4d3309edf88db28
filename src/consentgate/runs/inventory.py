"""Looks at the files of a run's source, and finds those that were judged already."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import PurePosixPath

import pyarrow as pa

from consentgate.arrow import schema_difference
from consentgate.errors import (
    ConfigurationError,
    FileError,
    NewerEvidenceError,
    SchemaMismatchError,
    SourceChangedError,
    UnreadableFileError,
)
from consentgate.inputs import read_faults_named
from consentgate.ledger import LEDGER_COLUMNS, read_ledger_head
from consentgate.runs.manifest import (
    FileRecord,
    Judgement,
    Newest,
    PartRecord,
    Totals,
    WrittenFile,
    loss,
)
from consentgate.runs.records import parse_record
from consentgate.runs.source import Source, SourceFile
from consentgate.storage import (
    RECORD_KEY,
    Folder,
    Stamp,
    digest_file,
    group_rows,
    is_plain,
    ledger_name,
    open_parquet,
)

_LOOKERS = 8


@dataclass(frozen=True)
class InputFile:
    """A Parquet file of the source, as it was before anything was judged.

    Attributes:
        file: its name and partition values.
        stamp: its size and version.
        group_rows: the number of rows of each row group.
        schema: its Arrow schema.
    """

    file: SourceFile
    stamp: Stamp
    group_rows: tuple[int, ...]
    schema: pa.Schema

    @property
    def name(self) -> str:
        """The path below the source's folder."""
        return self.file.name

    @property
    def rows(self) -> int:
        """How many rows the file has."""
        return sum(self.group_rows)


@dataclass(frozen=True)
class Failure:
    """A file that could not be judged, and why."""

    name: str
    error: FileError


@dataclass(frozen=True)
class LedgerPart:
    """A part of the ledger in a run's destination.

    Attributes:
        record: the record in its metadata, about its input and output.
        written: its own path, size, rows and digest.
        newest: the snapshot, registry and instant that its rows were judged by.
    """

    record: PartRecord
    written: WrittenFile
    newest: Newest


def look_at(source: Source) -> tuple[list[InputFile], list[Failure]]:
    """Look at every file of a source. Returns the files, and the failures of unreadable ones.

    Raises:
        SchemaMismatchError: A file has another schema than the first.
        ConfigurationError: Two files would have the same name for their part of the ledger.
    """
    _refuse_shared_parts([ledger_name(file.name) for file in source.files])
    with ThreadPoolExecutor(min(_LOOKERS, len(source.files))) as pool:
        looked = list(pool.map(partial(_look_at_file, source.folder), source.files))
    found = [each for each in looked if isinstance(each, InputFile)]
    _refuse_other_schemas(source.folder, found)
    return found, [each for each in looked if isinstance(each, Failure)]


def _refuse_shared_parts(names: Sequence[str]) -> None:
    taken: set[str] = set()
    for name in sorted(names):
        if name in taken or any(str(folder) in taken for folder in PurePosixPath(name).parents):
            raise ConfigurationError(
                f"Two files of the source would share '{name}', or a folder of that name, as their "
                "part of the ledger; rename one of them, or judge them in runs of their own."
            )
        taken.add(name)


def _look_at_file(folder: Folder, file: SourceFile) -> InputFile | Failure:
    try:
        stamp = folder.stamp(file.name)
        with (
            faults_as_changes(folder, file.name, stamp),
            folder.opened(file.name) as opened,
            read_faults_named(folder.shown(file.name)),
            _magic_checked(folder.shown(file.name), opened),
            open_parquet(opened) as parquet,
        ):
            found = InputFile(file, stamp, group_rows(parquet.metadata), parquet.schema_arrow)
        _refuse_odd_path(folder, file.name)
        return found
    except (UnreadableFileError, SourceChangedError) as error:
        return Failure(file.name, error)


def _refuse_odd_path(folder: Folder, name: str) -> None:
    if not is_plain(name):
        raise UnreadableFileError(
            f"The path of file {folder.shown(name)!a} has a part that is empty, '.' or '..'. "
            "Backslashes separate parts, too, as on Windows. Rename the file."
        )


@contextmanager
def _magic_checked(shown: str, opened: pa.NativeFile) -> Iterator[None]:
    if opened.read(4) not in (b"PAR1", b"PARE"):
        raise UnreadableFileError(
            f"File '{shown}' is not Parquet; remove it from the source, or name the files by a "
            "pattern such as '**/*.parquet'."
        )
    opened.seek(0)
    yield


@contextmanager
def faults_as_changes(folder: Folder, name: str, stamp: Stamp) -> Iterator[None]:
    """Check that a file does not change while the block reads it.

    Raises:
        SourceChangedError: The file changed. This error replaces any error of the block, because
            faults of a changing file say nothing.
    """
    try:
        yield
    finally:
        _refuse_change(folder, name, stamp)


def _refuse_change(folder: Folder, name: str, stamp: Stamp) -> None:
    if folder.stamp(name) != stamp:
        raise SourceChangedError(
            f"File '{folder.shown(name)}' changed while it was read; nothing of it is published. "
            "Run again once it is complete."
        )


def _refuse_other_schemas(folder: Folder, found: Sequence[InputFile]) -> None:
    for other in found[1:]:
        if difference := schema_difference(found[0].schema, other.schema):
            raise SchemaMismatchError(
                f"File '{folder.shown(other.name)}' has another schema than "
                f"'{folder.shown(found[0].name)}': {difference}; cast the files to one "
                "schema, or judge them in runs of their own."
            )


def read_parts(destination: Folder, names: Iterable[str]) -> dict[str, LedgerPart]:
    """Read parts of a ledger. Returns them by their names. Malformed ones are left out.

    Raises:
        NewerEvidenceError: A newer version wrote a part.
        UnreadableFileError: The right to read a part is missing.
        SourceChangedError: A part is not there any more.
    """
    parts = {name: _read_part(destination, name) for name in names}
    return {name: part for name, part in parts.items() if part is not None}


def _read_part(destination: Folder, name: str) -> LedgerPart | None:
    with destination.fetched(name) as path:
        try:
            with read_faults_named(name), open_parquet(path) as file:
                schema, metadata = file.schema_arrow, file.metadata.metadata or {}
                if schema.names != LEDGER_COLUMNS:
                    return None
                rows = file.metadata.num_rows
            record = parse_record(PartRecord, metadata.get(RECORD_KEY.encode(), b""), name)
            written = WrittenFile(
                path=name, size_bytes=path.stat().st_size, rows=rows, sha256=digest_file(path)
            )
            gate = read_ledger_head(metadata, f"'{name}'").gate
            return LedgerPart(record, written, Newest.of(gate, record.judgement.judged_at))
        except NewerEvidenceError:
            raise  # an older version must not remove a newer version's evidence
        except (OSError, FileError):
            return None


def finished(
    source: Folder,
    destination: Folder,
    found: Sequence[InputFile],
    judgement: Judgement,
    parts: Mapping[str, LedgerPart],
    *,
    is_believed: Callable[[FileRecord], bool],
    threads: int,
) -> dict[str, FileRecord]:
    """Find the files that the same judgement has judged already and that have not changed since.

    Every input and output is read, and its digest compared. Size and time of modification are not
    enough, because programs put times back, and some filesystems have none.

    Args:
        source, destination: their folders.
        found: the files of the source.
        judgement: the judgement of the run.
        parts: the parts of the ledger in the destination, by name.
        is_believed: a function that says whether a record that fits all files is true.
        threads: how many files are read at the same time.

    Returns:
        The records of these files by their inputs' paths.
    """

    def record_of(file: InputFile) -> FileRecord | None:
        part = parts.get(ledger_name(file.name))
        if part is None or part.record.judgement != judgement:
            return None
        record = _recorded(file, part)
        if record is None or not is_believed(record):
            return None
        is_same = _holds(source, record.input) and _holds(destination, record.output)
        return record if is_same else None

    with ThreadPoolExecutor(threads) as pool:
        records = list(pool.map(record_of, found))
    return {record.input.path: record for record in records if record is not None}


def _recorded(file: InputFile, part: LedgerPart) -> FileRecord | None:
    """The record in a part of the ledger, if the file has the path, size and so on that it names.

    The record may still be false.
    """
    outcome = part.record.outcome
    then, stamp, found = outcome.input, file.stamp, file.file
    seen = (then.path, then.size_bytes, then.version, then.rows, then.partition)
    if seen != (file.name, stamp.size_bytes, stamp.version, file.rows, found.partition):
        return None
    record = FileRecord(**dict(outcome), ledger=part.written)
    return None if loss(Totals.of([record])) else record


def _holds(folder: Folder, file: WrittenFile) -> bool:
    """Whether a file has the digest that its record names. False if it cannot be read."""
    try:
        with folder.fetched(file.path) as path:
            return digest_file(path) == file.sha256
    except (OSError, FileError):
        return False
