"""`consentgate explain`: why one record is admitted or excluded, in words."""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any
from uuid import UUID

import pyarrow as pa
import typer

from consentgate.cli.message_files import read_tables
from consentgate.cli.options import JudgeOptions, takes_judge
from consentgate.cli.text import printable
from consentgate.errors import RecordNotFoundError
from consentgate.gate import Gate
from consentgate.index import IdFamily, id_family
from consentgate.inputs import MessageFile
from consentgate.judging import Explanation, RowExplanation


@takes_judge
def explain(
    source: Annotated[
        Path,
        typer.Argument(metavar="INPUT", help="A Parquet or Arrow IPC file.", show_default=False),
    ],
    record_id: Annotated[
        str, typer.Option(metavar="ID", help="The record to explain.", show_default=False)
    ],
    *,
    judge: JudgeOptions,
) -> None:
    """Say why a record is admitted or excluded.

    Shows every reason and the consent records behind it, subject ids included: for people who
    may see what is in the snapshot.
    """
    if judge.gate_file is not None:
        raise typer.BadParameter(
            "a saved gate holds no consent records to show; name what it was made of instead of "
            "--gate."
        )
    file = MessageFile.open(source)
    gate = judge.gate()
    gate.decide(pa.Table.from_batches([], file.schema), judged_at=judge.judged_at)
    wanted = parse_id(record_id, file.schema.field(gate.columns.record_id).type)
    now = judge.judged_at or gate.judged_at or datetime.now(UTC)
    rows = tuple(_explained(gate, file, wanted, now))
    if not rows:
        raise RecordNotFoundError(
            f"No row of '{source}' has the record id asked for in column "
            f"'{gate.columns.record_id}'; check the id."
        )
    typer.echo(printable(str(Explanation(wanted, rows))))


def parse_id(text: str, kind: pa.DataType) -> Any:
    """The id as a column of that type holds it."""
    parsers = {IdFamily.INTEGER: int, IdFamily.UUID: UUID, IdFamily.STRING: str}
    family = id_family(kind) or IdFamily.STRING
    try:
        return parsers[family](text)
    except ValueError:
        article = "a" if family is IdFamily.UUID else "an"
        raise typer.BadParameter(
            f"it is no {family} id, but the file's record ids are {kind}; give {article} {family}.",
            param_hint="'--record-id'",
        ) from None


def _explained(
    gate: Gate, file: MessageFile, wanted: Any, now: datetime
) -> Iterator[RowExplanation]:
    first_row = 0
    for table in read_tables(file):
        with suppress(RecordNotFoundError):
            for row in gate.explain(table, wanted, judged_at=now).rows:
                yield replace(row, row=row.row + first_row)
        first_row += table.num_rows
