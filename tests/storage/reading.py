"""The two ways in which a file's table is read."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa

from consentgate.inputs.files import MessageFile, read_table


def whole_table(path: Path) -> pa.Table:
    """What a file holds, read as a snapshot is."""
    return read_table(path, {}, "x")


def all_batches(path: Path) -> pa.Table:
    """What a file of messages holds."""
    file = MessageFile.open(path)
    return pa.Table.from_batches(file.batches(), file.schema)
