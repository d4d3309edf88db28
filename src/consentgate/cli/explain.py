"""`consentgate explain`: says in words why the rows with one record id are admitted or excluded."""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from typing import Annotated, Any
from uuid import UUID

import pyarrow as pa
import typer
from pyarrow.fs import FileType

from consentgate.cli.message_files import read_tables
from consentgate.cli.options import JudgeOptions, takes_judge
from consentgate.cli.text import printable
from consentgate.errors import RecordNotFoundError, SourceError
from consentgate.gate import Gate
from consentgate.index import IdFamily, id_family
from consentgate.inputs import MessageFile
from consentgate.judging import RowExplanation, record_id_column
from consentgate.runs import Source, find_source, with_partition
from consentgate.storage import Folder

RecordId = Annotated[
    str,
    typer.Argument(
        metavar="RECORD_ID",
        help="The record's id: an integer, a UUID or text, as the files hold it.",
        show_default=False,
    ),
]
TAKES_RECORD_ID = {"ignore_unknown_options": True}
"""Settings of a command that takes a record id, which may be a negative number."""


@takes_judge
def explain(
    source: Annotated[
        str,
        typer.Argument(
            metavar="INPUT",
            help="A Parquet or Arrow IPC file; or a folder of such files, a quoted pattern (*, **, "
            "?, [ab]), or a URI.",
            show_default=False,
        ),
    ],
    record_id: RecordId,
    *,
    judge: JudgeOptions,
) -> None:
    """Say why the rows with one record id are admitted or excluded.

    Shows every reason, where it came from, and the consent records, with subject ids. It is for
    people who may see what is in the snapshot. Several files are searched one after the other,
    until one has the record id.
    """
    if judge.gate_file is not None:
        raise typer.BadParameter(
            "a saved gate holds no consent records to show; name what it was made of instead of "
            "--gate."
        )
    files = _files(source)
    gate = judge.gate()
    now = judge.judged_at or gate.judged_at or datetime.now(UTC)
    for name, tables in files:
        if rows := list(_explained(gate, tables, record_id, now)):
            where = "" if name is None else f"file {name}, "
            text = "\n".join([f"record {record_id}", *(f"{where}{row}" for row in rows)])
            typer.echo(printable(text))
            return
    raise RecordNotFoundError(
        f"No row of '{source}' has the record id asked for in column '{gate.columns.record_id}'; "
        "check the id."
    )


def parse_id(text: str, kind: pa.DataType) -> Any:
    """Parse an id as a column of that type holds it."""
    parsers = {IdFamily.INTEGER: int, IdFamily.UUID: UUID, IdFamily.STRING: str}
    family = id_family(kind) or IdFamily.STRING
    try:
        return parsers[family](text)
    except ValueError:
        article = "a" if family is IdFamily.UUID else "an"
        raise typer.BadParameter(
            f"it is not {article} {family} id, but the file's record ids are {kind}; "
            f"give {article} {family}.",
            param_hint="'RECORD_ID'",
        ) from None


def _files(source: str) -> Iterator[tuple[str | None, Iterator[pa.Table]]]:
    """Iterate over the files: their names and tables. A single file that was named has no name.

    The first table of each file has no rows, only the schema.
    """
    path = _one_file(source)
    if path is not None:
        return iter([(None, _tables(MessageFile.open(path)))])
    return _files_of(find_source(source))


def _files_of(found: Source) -> Iterator[tuple[str, Iterator[pa.Table]]]:
    for file in found.files:
        with found.folder.fetched(file.name) as path:
            tables = _tables(MessageFile.open(path))
            yield file.name, (with_partition(table, file.partition) for table in tables)


def _one_file(source: str) -> str | None:
    """The path of a source that is on this machine's disks and is not a folder, or None."""
    with suppress(SourceError):  # which `find_source` tells, unless it is a pattern
        folder = Folder.at(source)
        if folder.is_local and folder.kind() in (FileType.File, FileType.Unknown):
            return folder.root if "://" in source or source.startswith("file:") else source
    return None


def _tables(file: MessageFile) -> Iterator[pa.Table]:
    yield pa.Table.from_batches([], file.schema)
    yield from read_tables(file)


def _explained(
    gate: Gate, tables: Iterator[pa.Table], record_id: str, now: datetime
) -> Iterator[RowExplanation]:
    """Explain the rows of one file that have the record id."""
    schema = next(tables).schema
    place = record_id_column(schema, gate.columns)
    gate.decide(schema.empty_table(), judged_at=now)
    wanted = parse_id(record_id, schema.field(place).type)
    first_row = 0
    for table in tables:
        with suppress(RecordNotFoundError):
            for row in gate.explain(table, wanted, judged_at=now).rows:
                yield replace(row, row=row.row + first_row)
        first_row += table.num_rows
