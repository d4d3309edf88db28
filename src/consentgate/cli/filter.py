"""`consentgate filter`: files of messages in, the admitted and the excluded ones out."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Annotated

import pyarrow as pa
import pyarrow.compute as pc
import typer

from consentgate._arrow import quoted
from consentgate._files import MessageFile
from consentgate.cli._options import JudgeOptions, takes_judge
from consentgate.cli._output import TableWriter, refuse_outputs, written_together
from consentgate.cli._progress import Advance, progress_bar
from consentgate.cli._summary import Summary, print_summary
from consentgate.decision import Decision
from consentgate.errors import SchemaMismatchError
from consentgate.gate import Gate
from consentgate.reasons import reason_names

__all__ = ["filter_messages"]

OUTPUTS = ("admitted.parquet", "excluded.parquet")


@takes_judge
def filter_messages(
    inputs: Annotated[
        list[Path],
        typer.Argument(metavar="INPUT...", help="Parquet or Arrow IPC files.", show_default=False),
    ],
    out: Annotated[
        Path,
        typer.Option(metavar="DIR", help="Where the outputs go; made if missing.", show_default=False),
    ],
    *,
    judge: JudgeOptions,
    threads: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="How many threads judge; all cores by default."),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace outputs that exist.")
    ] = False,
) -> None:
    """Part messages into admitted and excluded ones.

    Writes DIR/admitted.parquet, whose rows and schema are the input's, and DIR/excluded.parquet
    with the record id, row and reasons of every other row. Several inputs of one schema are
    judged as one, in the order given. On any failure neither file is written.
    """
    refuse_outputs(out, OUTPUTS, (*inputs, *judge.files), overwrite=overwrite)
    files = open_alike(inputs)
    gate = judge.gate()
    empty = files[0].schema.empty_table()
    schemas = [part.schema for part in gate.filter(empty, judged_at=judge.judged_at)]
    now = judge.judged_at or datetime.now(timezone.utc)
    with written_together(out, dict(zip(OUTPUTS, schemas, strict=True))) as writers:
        run = FilterRun(gate, now, threads, *writers)
        with progress_bar(known_rows(files)) as advance:
            run.judge_all(files, advance)
        refuse_outputs(out, OUTPUTS, (*inputs, *judge.files), overwrite=overwrite)
    print_summary(run.summary())
    typer.echo(f"\nwrote {' and '.join(str(out / name) for name in OUTPUTS)}")
