"""Output files that appear together and complete, or not at all."""

import os
import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import pyarrow as pa

from consentgate.errors import OutputError
from consentgate.storage import FileForm, RowGroupWriter, refuse_odd_target, write_faults_named


def refuse_outputs(
    directory: Path, names: Iterable[str], inputs: Iterable[Path], *, overwrite: bool
) -> None:
    """Raise an error unless these files may be written into the directory.

    Raises:
        OutputError: It is not a directory, or an output exists already and may not be replaced.
    """
    if os.path.lexists(directory) and not os.path.isdir(directory):  # noqa: PTH112
        raise OutputError(f"Output '{directory}' is not a directory; name another one.")
    for path in (directory / name for name in names):
        if os.path.isdir(path):  # noqa: PTH112
            raise OutputError(
                f"Output '{path}' is a directory; name another directory, or remove it."
            )
        refuse_odd_target(path, f"Output '{path}'")
        if any(_is_same(path, file) for file in inputs):
            raise OutputError(
                f"Output '{path}' would replace a file that this command reads; name another "
                "directory."
            )
        if os.path.lexists(path) and not overwrite:
            raise OutputError(
                f"Output '{path}' exists already; name another directory, or say --overwrite."
            )


def _is_same(path: Path, other: Path) -> bool:
    with suppress(OSError, ValueError):  # ValueError: a name that no file can have
        return os.path.realpath(path) == os.path.realpath(other) or path.samefile(other)
    return False


class TableWriter:
    """A Parquet file that is written a table at a time, under a hidden name at first.

    Attributes:
        path: the name that `publish` gives it.
    """

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self.path = path
        self._partial = path.with_name(f".{path.name}.{uuid.uuid4().hex}.partial")
        self._form = FileForm(schema, {"compression": "zstd"})
        self._file: RowGroupWriter | None = None
        self._is_published = False

    def open(self) -> None:
        """Begin the file."""
        self._file = RowGroupWriter(self._partial, self._form, f"Output '{self.path}'")

    def write(self, table: pa.Table) -> None:
        """Append rows, which are gathered into row groups of a good size."""
        assert self._file is not None
        self._file.write(table)

    def close(self) -> None:
        """Complete the file, still under its hidden name."""
        assert self._file is not None
        self._file.close()

    def publish(self) -> None:
        """Give the file its name."""
        with write_faults_named(f"Output '{self.path}'"):
            self._is_published = True
            self._partial.replace(self.path)

    def discard(self) -> None:
        """Remove the file, under whichever name it has."""
        if self._file is not None:
            self._file.abandon()
        was_published = self._is_published and not self._partial.exists()
        with suppress(OSError):
            (self.path if was_published else self._partial).unlink(missing_ok=True)


@contextmanager
def written_together(
    directory: Path, schemas: Mapping[str, pa.Schema]
) -> Iterator[tuple[TableWriter, ...]]:
    """Give writers for Parquet files that appear together when the block ends, or not at all.

    Args:
        directory: the folder, which is made if it is not there, and removed again if the block
            fails.
        schemas: the schema of each file by its name. A file of that name is replaced.

    Raises:
        OutputError: A file cannot be written.
    """
    folders = (directory, *directory.parents)
    made = [folder for folder in folders if not os.path.lexists(folder)]
    writers = tuple(TableWriter(directory / name, schema) for name, schema in schemas.items())
    try:
        with write_faults_named(f"Output '{directory}'"):
            directory.mkdir(parents=True, exist_ok=True)
        for writer in writers:
            writer.open()
        yield writers
        for writer in writers:
            writer.close()
        for writer in writers:
            writer.publish()
    except BaseException:
        for writer in writers:
            writer.discard()
        for folder in made:
            with suppress(OSError):
                folder.rmdir()
        raise
