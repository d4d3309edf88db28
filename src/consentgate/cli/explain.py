"""`consentgate explain`: why one record is admitted or excluded."""

from pathlib import Path
from typing import Annotated, Any
from uuid import UUID

import pyarrow as pa
import typer

from consentgate._files import MessageFile
from consentgate._ids import IdFamily, id_family
from consentgate.cli import _options as options
from consentgate.errors import RecordNotFoundError

__all__ = ["explain"]


def explain(
    input: Annotated[Path, typer.Argument(help="A Parquet or Arrow IPC file of messages.")],  # noqa: A002 - its name in --help
    record_id: Annotated[str, typer.Argument(help="The record to explain.")],
    policy: options.PolicyFile,
    consent: options.ConsentFile,
    channels: options.ChannelsFile = None,
    consent_as_of: options.ConsentAsOf = None,
    channels_as_of: options.ChannelsAsOf = None,
    record_id_column: options.RecordIdColumn = "message_id",
    subject_columns: options.SubjectColumns = None,
    channel_columns: options.ChannelColumns = None,
    visibility_column: options.VisibilityColumn = None,
    created_at_column: options.CreatedAtColumn = "created_at",
    assume_timezone: options.AssumeTimezone = None,
    status_map: options.StatusMap = None,
    method_map: options.MethodMap = None,
    judged_at: options.JudgedAt = None,
) -> None:
    """Say every reason against a record, and show the consent records behind them.

    For people who may see the snapshot: it prints subject ids.
    """
    columns = options.make_columns(
        record_id_column,
        subject_columns,
        channel_columns,
        visibility_column,
        created_at_column,
        assume_timezone,
        has_registry=channels is not None,
    )
    gate = options.make_gate(
        policy,
        consent,
        channels,
        columns,
        consent_as_of=consent_as_of,
        channels_as_of=channels_as_of,
        status_map=status_map,
        method_map=method_map,
        judged_at=judged_at,
    )
    file = MessageFile.open(input)
    gate.decide(file.schema.empty_table())
    wanted = _parse_id(record_id, file.schema.field(record_id_column).type)
    table = pa.Table.from_batches(file.batches(), file.schema)
    typer.echo(gate.explain(table, wanted))


def _parse_id(text: str, kind: pa.DataType) -> Any:
    try:
        if id_family(kind) is IdFamily.INTEGER:
            return int(text)
        return UUID(text) if id_family(kind) is IdFamily.UUID else text
    except ValueError as error:
        raise RecordNotFoundError(
            f"Record ids are {kind}, which the one asked for is not; check it."
        ) from error
