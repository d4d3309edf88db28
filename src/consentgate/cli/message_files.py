"""Reads files of messages, one table at a time."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow as pa

from consentgate.arrow import schema_difference
from consentgate.errors import SchemaMismatchError, SourceError
from consentgate.inputs import MessageFile

TABLE_ROWS = 65_536


def read_tables(file: MessageFile) -> Iterator[pa.Table]:
    """Read a file's rows in order. Small batches are joined, because each call of a gate costs."""
    joined: list[pa.RecordBatch] = []
    rows = 0
    for batch in file.batches():
        joined.append(batch)
        rows += batch.num_rows
        if rows >= TABLE_ROWS:
            yield pa.Table.from_batches(joined)
            joined, rows = [], 0
    if rows:
        yield pa.Table.from_batches(joined)


def open_alike(paths: Sequence[Path]) -> list[MessageFile]:
    """Open files that have the same schema. Their metadata may differ.

    Raises:
        UnreadableFileError: A file is missing, truncated, corrupt or of another format.
        SourceError: A file is named twice, so that its rows would be judged twice.
        SchemaMismatchError: A file has another schema than the first.
    """
    files = [MessageFile.open(path) for path in paths]
    _refuse_repeats(paths)
    for file in files[1:]:
        if difference := schema_difference(files[0].schema, file.schema):
            raise SchemaMismatchError(
                f"File '{file.path}' has another schema than '{files[0].path}': {difference}; cast "
                "the files to one schema, or judge them one by one."
            )
    return files


def _refuse_repeats(paths: Sequence[Path]) -> None:
    seen: dict[tuple[int, int], Path] = {}
    for path in paths:
        status = path.stat()
        first = seen.setdefault((status.st_dev, status.st_ino), path)
        if first is not path:
            raise SourceError(
                f"Inputs '{first}' and '{path}' are one file, whose rows would be judged twice; "
                "name it once."
            )


def known_rows(files: Sequence[MessageFile]) -> int | None:
    """How many rows the files have together; None if a file does not say."""
    counts = [file.rows for file in files if file.rows is not None]
    return sum(counts) if len(counts) == len(files) else None
