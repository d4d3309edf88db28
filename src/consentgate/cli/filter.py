"""`consentgate filter`: files of messages in, admitted and excluded rows out."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import pyarrow as pa
import pyarrow.parquet as pq
import typer

from consentgate._files import MessageFile
from consentgate.cli import _options as options
from consentgate.cli._output import Tally, print_summary, show_progress
from consentgate.errors import OutputError, SchemaMismatchError
from consentgate.gate import Gate
from consentgate.reasons import reason_names

__all__ = ["filter_files"]

_NAMES = ("admitted.parquet", "excluded.parquet")


def filter_files(
    inputs: Annotated[list[Path], typer.Argument(help="Parquet or Arrow IPC files of one schema.")],
    policy: options.PolicyFile,
    consent: options.ConsentFile,
    out: Annotated[Path, typer.Option(help="A folder for admitted.parquet and excluded.parquet.")],
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
    threads: Annotated[int | None, typer.Option(min=1, help="[one per core]")] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace outputs that exist.")
    ] = False,
) -> None:
    """Part messages into admitted and excluded ones, with a reason for each excluded one.

    Several inputs are judged as one, in the order given. Nothing is left behind on failure.
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
    files = _open_all(inputs)
    gate.decide(files[0].schema.empty_table())
    now = judged_at or datetime.now(UTC)
    with _new_outputs(out, inputs, overwrite) as paths:
        tally = _judge_all(gate, files, paths, now, threads)
    print_summary(tally, list(reason_names(gate.policy.rule_names).values()))


def _open_all(inputs: list[Path]) -> list[MessageFile]:
    """Every input, once all are known to have the first one's schema."""
    files = [MessageFile.open(path) for path in inputs]
    first = files[0]
    for file in files[1:]:
        if not file.schema.equals(first.schema):
            ours, theirs = set(map(str, first.schema)), set(map(str, file.schema))
            raise SchemaMismatchError(
                f"Files '{first.path}' and '{file.path}' differ in their columns: "
                f"{sorted(ours - theirs)} against {sorted(theirs - ours)}; filter them one by one."
            )
    return files


def _judge_all(
    gate: Gate,
    files: list[MessageFile],
    paths: tuple[Path, Path],
    now: datetime,
    threads: int | None,
) -> Tally:
    """Write the admitted and the excluded rows of all files; the counts."""
    tally = Tally()
    sizes = [file.rows for file in files]
    total = None if None in sizes else sum(size for size in sizes if size is not None)
    nothing = files[0].schema.empty_table()
    admitted, excluded = gate.filter(nothing, judged_at=now)
    with (
        pq.ParquetWriter(paths[0], admitted.schema, compression="zstd") as admitted_file,
        pq.ParquetWriter(paths[1], excluded.schema, compression="zstd") as excluded_file,
        show_progress(total) as advance,
    ):
        for file in files:
            for batch in file.batches():
                table = pa.Table.from_batches([batch]).cast(nothing.schema)
                decision = gate.decide(table, judged_at=now, threads=threads)
                admitted, excluded = gate.part(table, decision, first_row=tally.rows)
                admitted_file.write_table(admitted)
                excluded_file.write_table(excluded)
                tally.rows += len(decision)
                tally.counts += decision.counts
                tally.occurrences += decision.occurrences
                advance(tally)
    return tally


@contextmanager
def _new_outputs(out: Path, inputs: list[Path], overwrite: bool) -> Iterator[tuple[Path, Path]]:
    """Two paths to write to, which get their final names only when all went well.

    Raises:
        OutputError: An output exists, is an input, or cannot be written.
    """
    finals = [out / name for name in _NAMES]
    _refuse_outputs(finals, inputs, overwrite)
    partials = [out / f".{name}.partial" for name in _NAMES]
    is_new = not out.exists()
    try:
        out.mkdir(parents=True, exist_ok=True)
        yield partials[0], partials[1]
        for partial, final in zip(partials, finals, strict=True):
            os.replace(partial, final)
    except OSError as error:
        raise OutputError(f"Folder '{out}' cannot be written to: {error.strerror}.") from error
    finally:
        for partial in partials:
            partial.unlink(missing_ok=True)
        if is_new and out.is_dir() and not any(out.iterdir()):
            out.rmdir()


def _refuse_outputs(finals: list[Path], inputs: list[Path], overwrite: bool) -> None:
    for final in finals:
        if any(final.exists() and final.samefile(path) for path in inputs):
            raise OutputError(f"Output '{final}' is one of the inputs; give another --out.")
        if final.exists() and not overwrite:
            raise OutputError(
                f"Output '{final}' exists already; give another --out, or --overwrite."
            )
        if final.parent.exists() and not final.parent.is_dir():
            raise OutputError(f"'{final.parent}' is no folder; give another --out.")
