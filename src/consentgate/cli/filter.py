"""`consentgate filter`: splits files of messages into admitted and excluded rows."""

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import pyarrow as pa
import pyarrow.compute as pc
import typer

from consentgate.cli.message_files import known_rows, open_alike, read_tables
from consentgate.cli.options import JudgeOptions, takes_judge
from consentgate.cli.output import TableWriter, refuse_outputs, written_together
from consentgate.cli.progress import Advance, progress_bar
from consentgate.cli.summary import Summary, print_summary
from consentgate.cli.text import printable
from consentgate.decision import Decision
from consentgate.gate import Gate
from consentgate.inputs import MessageFile
from consentgate.reasons import reason_names

OUTPUTS = ("admitted.parquet", "excluded.parquet")


@takes_judge
def filter_messages(
    inputs: Annotated[
        list[Path],
        typer.Argument(metavar="INPUT", help="Parquet or Arrow IPC files.", show_default=False),
    ],
    out: Annotated[
        Path,
        typer.Option(
            metavar="DIR", help="Where the outputs go; made if missing.", show_default=False
        ),
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
    """Split messages into admitted and excluded ones.

    Writes DIR/admitted.parquet with the admitted rows in the input's schema, and
    DIR/excluded.parquet with the record id, position and reasons of every other row. Several inputs
    must have the same schema, and are judged as one, in the order given. If anything fails, neither
    file is written.
    """
    refuse_outputs(out, OUTPUTS, (*inputs, *judge.files), overwrite=overwrite)
    files = open_alike(inputs)
    gate = judge.gate()
    empty = pa.Table.from_batches([], files[0].schema)
    schemas = [part.schema for part in gate.filter(empty, judged_at=judge.judged_at)]
    now = judge.judged_at or gate.judged_at or datetime.now(UTC)
    with written_together(out, dict(zip(OUTPUTS, schemas, strict=True))) as writers:
        run = FilterRun(gate, now, threads, *writers)
        with progress_bar() as advance:
            run.judge_all(files, advance)
        refuse_outputs(out, OUTPUTS, (*inputs, *judge.files), overwrite=overwrite)
    print_summary(run.summary())
    written = " and ".join(str(out / name) for name in OUTPUTS)
    typer.echo(printable(f"\nwrote {written}"))


class FilterRun:
    """Judges files batch by batch, writes admitted and excluded rows, and counts them.

    Args:
        gate: the gate that judges.
        now: the instant of judgement for all rows.
        threads: as in `Gate.decide`.
        admitted: the writer of the admitted rows.
        excluded: the writer of the excluded rows. Their `row` is counted over all files.
    """

    def __init__(
        self,
        gate: Gate,
        now: datetime,
        threads: int | None,
        admitted: TableWriter,
        excluded: TableWriter,
    ) -> None:
        self._gate, self._now, self._threads = gate, now, threads
        self._admitted, self._excluded = admitted, excluded
        self._names = reason_names(gate.policy.rule_names)
        self._rows = 0
        self._by_primary: Counter[str] = Counter()
        self._by_any: Counter[str] = Counter()

    def judge_all(self, files: Sequence[MessageFile], advance: Advance) -> None:
        """Judge every row of the files, in order."""
        total = known_rows(files)
        for file in files:
            for table in read_tables(file):
                self._judge(table)
                advance(self._rows, self._rows - self._by_primary.total(), total)

    def summary(self) -> Summary:
        """The counts of all rows that were judged so far."""
        reasons = [
            (name, self._by_primary[name], self._by_any[name])
            for name in self._names.values()
            if self._by_any[name]
        ]
        return Summary(self._rows, self._by_primary.total(), reasons)

    def _judge(self, table: pa.Table) -> None:
        admitted, excluded = self._gate.filter(table, judged_at=self._now, threads=self._threads)
        decision = Decision(excluded["reason_bits"].combine_chunks(), self._names)
        self._admitted.write(admitted)
        self._excluded.write(_moved(excluded, self._rows))
        self._rows += table.num_rows
        self._by_primary.update(decision.counts)
        self._by_any.update(decision.occurrences)


def _moved(excluded: pa.Table, rows: int) -> pa.Table:
    """The excluded rows, with a number added to each `row`."""
    at = excluded.schema.get_field_index("row")
    moved = pc.add(excluded.column(at), pa.scalar(rows, pa.int64()))
    return excluded.set_column(at, excluded.schema.field(at), moved)
