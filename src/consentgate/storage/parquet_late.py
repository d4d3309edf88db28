"""Reading columns of a Parquet file after it is known which rows are wanted."""

from collections.abc import Generator, Iterator

import pyarrow as pa

from consentgate.storage.parquet_batches import BatchReader, Span


class LateReader:
    """Reads rows of one span after the other, and decodes no more than it takes to reach them.

    Of a span without a wanted row, nothing is decoded, and neither are the rows after the last
    wanted one.

    Args:
        reader: reads the columns.
    """

    def __init__(self, reader: BatchReader) -> None:
        self._reader = reader
        self._span: Span | None = None
        self._rows: _Rows | None = None
        self._skipped = 0

    def begin(self, span: Span) -> None:
        """Go on to another span.

        Raises:
            pyarrow.ArrowInvalid: The span before has more rows than its footer promises.
        """
        self.finish()
        self._span = span

    def finish(self) -> None:
        """End the span.

        Raises:
            pyarrow.ArrowInvalid: It was read to its end, and has more rows than were promised.
        """
        if self._rows is not None and not self._skipped:
            self._rows.finish()
        self.close()

    def skip(self, rows: int) -> None:
        """Pass over the next rows of the span."""
        self._skipped += rows

    def take(self, rows: int) -> Iterator[pa.RecordBatch]:
        """The next rows of the span, in small batches.

        Raises:
            pyarrow.ArrowException, OSError: The file is damaged, or has fewer rows.
        """
        if self._rows is None:
            assert self._span is not None
            self._rows = _Rows(self._reader.steps(self._span))
        for _ in self._rows.take(self._skipped):
            pass
        self._skipped = 0
        yield from self._rows.take(rows)

    def close(self) -> None:
        """Read no more of the span."""
        if self._rows is not None:
            self._rows.close()
        self._rows, self._skipped = None, 0


class _Rows:
    """Batches, given out again in the numbers of rows that are asked for."""

    def __init__(self, batches: Generator[pa.RecordBatch]) -> None:
        self._batches = batches
        self._left: pa.RecordBatch | None = None

    def take(self, rows: int) -> Iterator[pa.RecordBatch]:
        """The next rows."""
        while rows:
            batch = next(self._batches, None) if self._left is None else self._left
            if batch is None:
                raise pa.ArrowInvalid("columns of differing lengths")
            piece = batch.slice(0, rows)
            rest = batch.slice(piece.num_rows)
            self._left = rest if rest.num_rows else None
            rows -= piece.num_rows
            if piece.num_rows:
                yield piece

    def finish(self) -> None:
        """Raise an error if there are more rows."""
        if self._left is not None or any(batch.num_rows for batch in self._batches):
            raise pa.ArrowInvalid("columns of differing lengths")

    def close(self) -> None:
        """Read no more of the batches."""
        self._batches.close()
