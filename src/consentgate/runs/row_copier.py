"""Copies admitted rows of one file. Columns that were not judged are read only for these rows."""

from collections.abc import Iterator, Sequence

import pyarrow as pa

from consentgate.arrow import can_linger, keep_valid_rows, refuse_odd_type
from consentgate.gate import Gate
from consentgate.inputs import read_faults_named
from consentgate.storage import LateReader, RowGroupWriter, Span, has_plain_names


def early_columns(gate: Gate, schema: pa.Schema) -> list[str] | None:
    """The columns of a file that are read before it is known which rows are admitted.

    These are the columns that are judged, and the record ids. None if all columns have to be read
    together, because these are all, or because columns cannot be told apart by their names.
    """
    wanted = {*gate.judged_columns, gate.columns.record_id}
    early = [name for name in schema.names if name in wanted]
    return early if has_plain_names(schema) and len(early) < len(schema) else None


class RowCopier:
    """Writes the admitted rows of one file, as they are in the file.

    Args:
        schema: the schema of the file.
        late: reads the columns that were not judged; None: there are none.
        writer: gets the admitted rows.
        shown: how errors name the file.

    Raises:
        ColumnTypeError: A column is of a type whose rows cannot be taken out safely.
    """

    def __init__(
        self, schema: pa.Schema, late: LateReader | None, writer: RowGroupWriter, shown: str
    ) -> None:
        self._schema, self._late, self._writer, self._shown = schema, late, writer, shown
        self._span: Span | None = None
        self._can_linger = can_linger(schema)
        for field in schema:
            refuse_odd_type(field.name, field.type)

    def copy(self, span: Span, early: pa.RecordBatch, mask: pa.BooleanArray) -> None:
        """Write the admitted ones of the next n rows.

        Args:
            span: the span of the rows.
            early: the n rows, with the columns that were read before.
            mask: n booleans, none null: whether each row is admitted.

        Raises:
            UnreadableFileError: The file is corrupt.
            OutputError: The rows cannot be written.
        """
        admitted = mask.true_count
        if span is not self._span:
            self._begin(span)
        if not admitted:
            self._skip(len(mask))
            return
        is_whole = admitted == len(mask) and not self._can_linger
        start = 0
        for piece in self._pieces(early):
            rows = piece.num_rows
            kept = piece if is_whole else keep_valid_rows(piece, mask.slice(start, rows))
            self._writer.write(kept)
            start += rows

    def finish(self) -> None:
        """Check that the columns that were read have no more rows."""
        if self._late is not None:
            with read_faults_named(self._shown):
                self._late.finish()

    def _begin(self, span: Span) -> None:
        self._span = span
        if self._late is not None:
            with read_faults_named(self._shown):
                self._late.begin(span)

    def _skip(self, rows: int) -> None:
        if self._late is not None:
            self._late.skip(rows)

    def _pieces(self, early: pa.RecordBatch) -> Iterator[pa.Table]:
        """The rows with all columns, in tables of few rows."""
        if self._late is None:
            yield _joined(self._schema, [early])
            return
        start = 0
        with read_faults_named(self._shown):
            for late in self._late.take(early.num_rows):
                yield _joined(self._schema, [early.slice(start, late.num_rows), late])
                start += late.num_rows


def _joined(schema: pa.Schema, parts: Sequence[pa.RecordBatch]) -> pa.Table:
    """The columns of several batches of the same rows, in the order of a schema."""
    if len(parts) == 1:
        return pa.Table.from_batches(parts)
    columns: dict[str, pa.Array] = {}
    for part in parts:
        columns |= zip(part.schema.names, part.columns, strict=True)
    return pa.Table.from_arrays([columns[name] for name in schema.names], schema=schema)
