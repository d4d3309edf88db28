"""What a run reads: the files behind a path, a pattern, a URI or a pyarrow data set."""

import re
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.fs as pa_fs
from wcmatch import glob

from consentgate._layout import is_hidden
from consentgate._storage import Folder
from consentgate.errors import ConfigurationError, SourceError

__all__ = ["Source", "SourceFile", "find_source", "source_files"]

_NULL_PARTITION = "__HIVE_DEFAULT_PARTITION__"
_INTEGER = re.compile(r"0|-?[1-9][0-9]{0,17}")


@dataclass(frozen=True)
class SourceFile:
    """One file of a source.

    Attributes:
        name: its path below the source's folder, with forward slashes.
        partition: the columns that its folders' names stand for.
    """

    name: str
    partition: dict[str, pa.Scalar] = field(default_factory=dict)


@dataclass(frozen=True)
class Source:
    """The files of a run.

    Attributes:
        folder: the folder that holds them all.
        label: what tells this source from another: the folder, and the pattern if there is one.
        files: the files, by name; at least one.
        is_tree: whether whatever is put into the folder may belong to the source.
    """

    folder: Folder
    label: str
    files: tuple[SourceFile, ...]
    is_tree: bool


def find_source(source: Any) -> Source:
    """The files behind a source.

    In folders and patterns, names that begin with `.` or `_` are left out, as engines do, unless
    they are partitions (`_day=1`).

    Args:
        source: a path or URI of a file or folder, or a pattern (`*`, `**`, `[…]`, and for paths
            `?`), or a `pyarrow.dataset.Dataset` of Parquet files.

    Raises:
        SourceError: There is no file, or the place cannot be listed.
        ConfigurationError: A data set is not made of whole Parquet files.
    """
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
    place, question, query = text.partition("?") if is_uri else (text, "", "")
    wildcards = "*[" if is_uri else "*[?"
    parts = place.split("/")
    first = next((i for i, part in enumerate(parts) if any(c in part for c in wildcards)), None)
    if first is None or (not is_uri and Path(text).exists()):
        return None
    before = "/".join(parts[:first]) or ("/" if text.startswith("/") else ".")
    return Folder.at(before + question + query), "/".join(parts[first:])


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
    return Source(folder, label, source_files(names), is_tree=True)


def source_files(names: Iterable[str]) -> tuple[SourceFile, ...]:
    """The files of a source by their names, with the columns that their folders stand for."""
    names = list(names)
    return tuple(map(SourceFile, names, _partitions(names)))


def _partitions(names: list[str]) -> list[dict[str, pa.Scalar]]:
    """Each file's partition columns: integers where every value of a column is one, else text."""
    texts = [_partition_texts(name) for name in names]
    columns = {key for text in texts for key in text}
    integers = {
        column
        for column in columns
        if all(_INTEGER.fullmatch(text[column] or "0") for text in texts if column in text)
    }
    return [
        {
            column: pa.scalar(value and int(value), pa.int64())
            if column in integers
            else pa.scalar(value, pa.string())
            for column, value in text.items()
        }
        for text in texts
    ]


def _partition_texts(name: str) -> dict[str, str | None]:
    pairs = [part.partition("=") for part in PurePosixPath(name).parts[:-1] if "=" in part]
    values = {unquote(key): unquote(value) for key, _, value in pairs}
    return {key: None if value == _NULL_PARTITION else value for key, value in values.items()}


def _from_dataset(dataset: Any) -> Source:
    import pyarrow.dataset as pa_ds  # it would load pandas, where that is installed

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
    shared = _common(parents)
    folder = Folder(dataset.filesystem, "/".join(shared))
    files = {
        fragment.path.removeprefix(folder.root + "/"): _typed(
            pa_ds.get_partition_keys(fragment.partition_expression), dataset.schema
        )
        for fragment in fragments
    }
    if len(files) < len(fragments):
        raise ConfigurationError("The data set names a file twice; name it once.")
    sources = tuple(SourceFile(name, files[name]) for name in sorted(files))
    return Source(folder, f"{folder} (data set)", sources, is_tree=True)


def _refuse_partial(fragments: list[Any]) -> None:
    """Nothing, when every fragment is a whole file; files that cannot be read are found later."""
    for fragment in fragments:
        with suppress(OSError, pa.ArrowException):
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


def _typed(values: dict[str, Any], schema: pa.Schema) -> dict[str, pa.Scalar]:
    """Partition values, of the types that the data set's schema gives them."""
    kinds = {name: schema.field(name).type for name in values}
    return {
        name: pa.scalar(
            value, kinds[name].value_type if pa.types.is_dictionary(kinds[name]) else kinds[name]
        )
        for name, value in values.items()
    }
