"""The source of a run: the files behind a path, a pattern, a URI or a pyarrow data set."""

import re
from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.fs as pa_fs
from wcmatch import glob

from consentgate.errors import ConfigurationError, SourceError
from consentgate.storage import Folder, check_regular, is_hidden

_NULL_PARTITION = "__HIVE_DEFAULT_PARTITION__"
_INTEGER = re.compile(r"0|-?[1-9][0-9]{0,17}")


@dataclass(frozen=True, repr=False)
class PartitionValue:
    """The column and the value in the name of a folder. Every row of a file has this value.

    Attributes:
        name: the column's name.
        type: the column's Arrow type, by pyarrow's name.
        value: the value as text; None for a null.
    """

    name: str
    type: str
    value: str | None

    def __repr__(self) -> str:
        """The column and its type. The value is not shown, because it may be an id of a person."""
        return f"<PartitionValue: column '{self.name}', {self.type}>"

    @classmethod
    def of(cls, name: str, value: Any, kind: pa.DataType) -> "PartitionValue":
        """Make one from a value of an Arrow type.

        Raises:
            ConfigurationError: The value cannot be written as text and read back.
        """
        scalar = pa.scalar(value, kind)
        with suppress(pa.ArrowException, ValueError):
            text = None if value is None else scalar.cast(pa.string()).as_py()
            partition = cls(name, str(kind), text)
            if partition.scalar().equals(scalar):
                return partition
        raise ConfigurationError(
            f"The data set's partition column '{name}' is {kind}, which has no plain text; "
            "partition by integers, text, dates or booleans."
        )

    def scalar(self) -> pa.Scalar:
        """The value as an Arrow scalar."""
        kind = pa.type_for_alias(self.type)
        return pa.scalar(None, kind) if self.value is None else pa.scalar(self.value).cast(kind)


Partition: TypeAlias = tuple[PartitionValue, ...]


def with_partition(table: pa.Table, partition: Partition) -> pa.Table:
    """Append the partition columns of a file to its rows."""
    for column in partition:
        table = table.append_column(column.name, pa.repeat(column.scalar(), table.num_rows))
    return table


@dataclass(frozen=True)
class SourceFile:
    """One file of a source.

    Attributes:
        name: the path below the source's folder, with forward slashes.
        partition: the columns and values in the names of its folders.
    """

    name: str
    partition: Partition = ()


@dataclass(frozen=True)
class Source:
    """The files of a run.

    Attributes:
        folder: the folder that holds all of them.
        label: the folder, with the pattern if there is one. Runs of the same source have the same
            label.
        files: the files in the order of their names; at least one.
        is_tree: whether new files in the folder may belong to the source.
    """

    folder: Folder
    label: str
    files: tuple[SourceFile, ...]
    is_tree: bool


def find_source(source: Any) -> Source:
    """Find the files of a source.

    In folders and patterns, names that begin with `.` or `_` are left out, as engines do, unless
    they are partitions (`_day=1`).

    Args:
        source: a path or URI of a file or folder, or a pattern (`*`, `**`, `[…]`, and for paths
            `?`), or a `pyarrow.dataset.Dataset` of Parquet files.

    Raises:
        SourceError: There is no file, one file has two names, or the folder cannot be listed.
        ConfigurationError: A data set is not made of whole Parquet files, or has files whose names
            begin with `.` or `_`.
    """
    found = _find(source)
    _refuse_twins(found)
    for file in found.files:
        if is_hidden(file.name):
            raise ConfigurationError(
                f"File '{file.name}' of the source begins with '.' or '_' or lies in a folder that "
                "does, which engines would not read again; rename it."
            )
    return found


def _refuse_twins(source: Source) -> None:
    """Raise an error if a file of this machine's disks has two names in a source.

    Symbolic and hard links give a file several names. So do mounts, and disks that ignore the case
    of names.
    """
    names: dict[tuple[int, int], str] = {}
    for file in source.files if source.folder.is_local else ():
        with suppress(OSError):  # a file that cannot be looked at is an error when it is read
            status = source.folder.path(file.name).stat()
            other = names.setdefault((status.st_dev, status.st_ino), file.name)
            if other != file.name and status.st_ino:
                raise _judged_twice(source.label, other, file.name)


def _judged_twice(label: str, one: str, other: str) -> SourceError:
    return SourceError(
        f"'{one}' and '{other}' in source '{label}' are one file under two names, for example "
        "through a link; remove one of them, so that no message is judged twice."
    )


def _find(source: Any) -> Source:
    if not isinstance(source, str | Path):
        return _from_dataset(source)
    text = str(source)
    pattern = _pattern(text)
    if pattern is not None:
        return _from_pattern(*pattern)
    folder = Folder.at(text)
    kind = folder.kind()
    if kind is pa_fs.FileType.File:
        parent, _, name = folder.root.rpartition("/")
        single = Folder(folder.filesystem, parent)
        return Source(single, str(folder), (SourceFile(name),), is_tree=False)
    if kind is pa_fs.FileType.NotFound:
        raise SourceError(f"Source '{folder}' is not there; check the path.")
    return _tree(folder, str(folder), folder.listing())


def _pattern(text: str) -> tuple[Folder, str] | None:
    """The folder before the first wildcard, and the pattern below it."""
    is_uri = "://" in text
    path, question, query = text.partition("?") if is_uri else (text, "", "")
    wildcards = "*[" if is_uri else "*[?"
    parts = path.split("/")
    first = next((i for i, part in enumerate(parts) if any(c in part for c in wildcards)), None)
    if first is None or (not is_uri and Path(text).exists()):
        return None
    before = "/".join(parts[:first]) or ("/" if text.startswith("/") else ".")
    pattern = "/".join(parts[first:])
    return Folder.at(before + question + query), unquote(pattern) if is_uri else pattern


def _from_pattern(folder: Folder, pattern: str) -> Source:
    matches = [
        name for name in folder.listing() if glob.globmatch(name, pattern, flags=glob.GLOBSTAR)
    ]
    return _tree(folder, f"{folder}/{pattern}", matches)


def _tree(folder: Folder, label: str, names: Iterable[str]) -> Source:
    names = [name for name in names if not is_hidden(name)]
    if not names:
        raise SourceError(
            f"Source '{label}' holds no files (names that begin with '.' or '_' do not count); "
            "check the path."
        )
    files = tuple(map(SourceFile, names, _partitions(names)))
    return Source(folder, label, files, is_tree=True)


def _partitions(names: list[str]) -> list[Partition]:
    """The partition columns of each file: integers if all values of a column are, else text."""
    texts = [_partition_texts(name) for name in names]
    columns = {key for text in texts for key in text}
    kinds = {}
    for column in columns:
        values = {text[column] for text in texts if column in text} - {None}
        are_integers = all(_INTEGER.fullmatch(value) for value in values if value is not None)
        kinds[column] = "int64" if are_integers else "string"
    return [
        tuple(PartitionValue(column, kinds[column], value) for column, value in text.items())
        for text in texts
    ]


def _partition_texts(name: str) -> dict[str, str | None]:
    pairs = [part.partition("=") for part in name.split("/")[:-1] if "=" in part]
    values = {unquote(key): unquote(value) for key, _, value in pairs}
    if len(values) < len(pairs):
        raise SourceError(
            f"The folders of file '{name}' name one column twice; rename one of them, since nobody "
            "can tell which value holds."
        )
    return {key: None if value == _NULL_PARTITION else value for key, value in values.items()}


def _from_dataset(dataset: Any) -> Source:
    import pyarrow.dataset as pa_ds  # at the top, it would load pandas if that is installed

    if not isinstance(dataset, pa_ds.FileSystemDataset):
        raise ConfigurationError(
            "A source is a path, a pattern, a URI or a pyarrow data set made of files, but this is "
            f"a '{type(dataset).__qualname__}'; write it to Parquet files first."
        )
    if not isinstance(dataset.format, pa_ds.ParquetFileFormat):
        raise ConfigurationError("The data set's files are not Parquet; convert them first.")
    try:
        fragments = list(dataset.get_fragments())
    except ValueError as error:
        raise ConfigurationError(
            "The data set is filtered or projected, but a run judges whole files; give the data "
            "set itself."
        ) from error
    if not fragments:
        raise SourceError("The data set holds no files; check where it was made.")
    _refuse_partial(fragments)
    parents = [fragment.path.split("/")[:-1] for fragment in fragments]
    shared = len(_common(parents))
    folder = Folder.within(dataset.filesystem, "/".join(parents[0][:shared]))
    files = {
        "/".join(fragment.path.split("/")[shared:]): _typed(
            pa_ds.get_partition_keys(fragment.partition_expression), dataset.schema
        )
        for fragment in fragments
    }
    if len(files) < len(fragments):
        counts = Counter(fragment.path for fragment in fragments)
        raise SourceError(
            f"The data set names the file '{counts.most_common(1)[0][0]}' twice; name it once, so "
            "that no message is judged twice."
        )
    sources = tuple(SourceFile(name, files[name]) for name in sorted(files))
    return Source(folder, f"{folder} (data set)", sources, is_tree=True)


def _refuse_partial(fragments: list[Any]) -> None:
    """Raise an error unless every fragment is a whole file. Unreadable files are noticed later."""
    for fragment in fragments:
        folder = Folder.within(fragment.filesystem, "")
        with suppress(OSError, pa.ArrowException):
            if folder.is_local:
                check_regular(Path(f"{folder.root}/{fragment.path.lstrip('/')}"))
            if fragment.num_row_groups != fragment.metadata.num_row_groups:
                raise ConfigurationError(
                    f"The data set takes only some row groups of '{fragment.path}', but a run "
                    "judges whole files; give the whole data set."
                )


def _common(parents: list[list[str]]) -> list[str]:
    shared = parents[0]
    for parent in parents[1:]:
        same = [a == b for a, b in zip(shared, parent, strict=False)]
        shared = shared[: same.index(False) if False in same else len(same)]
    return shared


def _typed(values: dict[str, Any], schema: pa.Schema) -> Partition:
    """Partition values with the types of the data set's schema."""
    kinds = {name: schema.field(name).type for name in values}
    return tuple(
        PartitionValue.of(
            name,
            value,
            kinds[name].value_type if pa.types.is_dictionary(kinds[name]) else kinds[name],
        )
        for name, value in values.items()
    )
