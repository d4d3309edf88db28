"""Shares the messages of a loader out in batches, so that every row has one reader.

A shard is one worker process of one rank. Shards get pieces. A piece is a row group of a Parquet
file, or a part of one if there are fewer row groups than shards, or a batch of an iterable. Each
shard knows the position of a row in the whole input, and can begin again at any row.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, NamedTuple, Protocol

import pyarrow as pa
import pyarrow.parquet as pq

from consentgate.arrow import as_table
from consentgate.errors import ConfigurationError, SourceChangedError
from consentgate.inputs import read_faults_named
from consentgate.runs import InputFile, find_source, look_at, with_partition
from consentgate.storage import (
    Folder,
    digest_json,
    has_old_timestamps,
    open_parquet,
    refuse_inexact_timestamps,
)

_JUDGED_ROWS, _JUDGED_BYTES = 32_768, 8 << 20
"""The most rows and bytes that are judged at once. With fewer, the fixed cost of each judgement
would slow workers down. More would fill their memory.
"""


@dataclass(frozen=True)
class Shard:
    """One reader of many: a worker process among those of a rank, and a rank among all ranks."""

    rank: int = 0
    ranks: int = 1
    worker: int = 0
    workers: int = 1


class Position(NamedTuple):
    """The position of a shard in its share of the input.

    Attributes:
        piece: how many of its pieces the shard has finished.
        rows: how many rows of the next piece it has finished.
    """

    piece: int = 0
    rows: int = 0


class ResumePoint(NamedTuple):
    """The point at which a shard resumes.

    Attributes:
        position: the position of the next row.
        inner_state: the state that the wrapped data set returns to before it is read from the
            position. None: its current state.
    """

    position: Position
    inner_state: Any = None

    def __repr__(self) -> str:  # a state may hold cells
        return f"<ResumePoint at {self.position}>"


class Block(NamedTuple):
    """Batches that are judged at once.

    Attributes:
        first_row: the position of their first row in the whole input.
        start: the point to resume at, so that the block is the next one.
        batches: each batch with the point to resume at after it.
    """

    first_row: int
    start: ResumePoint
    batches: list[tuple[pa.Table, ResumePoint]]

    def __repr__(self) -> str:  # a table's own repr shows cells
        return f"<Block of {len(self.batches)} batches from row {self.first_row}>"


class Batches(Protocol):
    """Messages that can be read shard by shard."""

    @property
    def identity(self) -> str:
        """A text that identifies the input that positions belong to; empty if none does."""

    @property
    def schema(self) -> pa.Schema | None:
        """The schema; None if it is not known before messages are read."""

    def read(self, shard: Shard, start: Position) -> Iterator[Block]:
        """Read a shard's rows from a position on, in order."""


@dataclass(frozen=True)
class _Piece:
    """Rows of a row group.

    Attributes:
        file: the number of the file.
        group: the number of the row group in the file.
        first, stop: the numbers of the piece's first row in the row group, and of the row after
            its last one.
        first_row: the position of the first row in the whole input.
    """

    file: int
    group: int
    first: int
    stop: int
    first_row: int


@dataclass(frozen=True)
class ParquetBatches:
    """The rows of Parquet files, in the files' order.

    Attributes:
        folder: the folder of the files.
        files: the files with their state and schema. All have the same schema.
        batch_rows: how many rows a batch has. The last one of a piece may have fewer.
        columns: the columns that are read; None reads all of them.
    """

    folder: Folder
    files: tuple[InputFile, ...]
    batch_rows: int
    columns: tuple[str, ...] | None = None

    @classmethod
    def find(cls, data: Any, batch_rows: int) -> "ParquetBatches":
        """Find the files of a path, pattern, URI or data set; see `find_source`.

        Raises:
            SourceError, SchemaMismatchError, ConfigurationError: See `find_source` and `look_at`.
            UnreadableFileError: A file cannot be read.
        """
        source = find_source(data)
        files, failures = look_at(source)
        if failures:
            raise failures[0].error
        return cls(source.folder, tuple(files), batch_rows)

    @property
    def identity(self) -> str:
        """The digest of the files' names, row groups and numbers of rows in a batch."""
        files = [[file.name, *file.group_rows] for file in self.files]
        return digest_json([files, self.batch_rows])

    @property
    def schema(self) -> pa.Schema:
        """The files' schema, partition columns included."""
        first = self.files[0]
        return with_partition(pa.Table.from_batches([], first.schema), first.file.partition).schema

    def read(self, shard: Shard, start: Position) -> Iterator[Block]:
        """Read a shard's rows from a position on.

        Raises:
            SourceChangedError: A file has changed since the files were found.
            UnreadableFileError: A file cannot be read.
        """
        pieces = _share(self._pieces(), shard.rank, shard.ranks, self.batch_rows)
        pieces = _share(pieces, shard.worker, shard.workers, self.batch_rows)
        for number, piece in enumerate(pieces[start.piece :], start.piece):
            done = start.rows if number == start.piece else 0
            for tables in _gathered(self._tables(piece, done)):
                start, first_row = Position(number, done), piece.first_row + done
                batches = list[tuple[pa.Table, ResumePoint]]()
                for table in tables:
                    done += table.num_rows
                    is_last = done == piece.stop - piece.first
                    end = Position(number + 1) if is_last else Position(number, done)
                    batches.append((table, ResumePoint(end)))
                yield Block(first_row, ResumePoint(start), batches)

    def _pieces(self) -> list[_Piece]:
        groups = [
            (number, group, rows)
            for number, file in enumerate(self.files)
            for group, rows in enumerate(file.group_rows)
        ]
        starts = accumulate((rows for *_, rows in groups), initial=0)
        return [
            _Piece(file, group, 0, rows, start)
            for (file, group, rows), start in zip(groups, starts, strict=False)
            if rows
        ]

    def _tables(self, piece: _Piece, done: int) -> Iterator[pa.Table]:
        """Read the rows of a piece, without those that were read before."""
        file = self.files[piece.file]
        self._refuse_change(file)
        skip, left = piece.first + done, piece.stop
        with self._opened(file) as parquet:
            for batch in parquet.iter_batches(
                self.batch_rows, [piece.group], self.columns, use_threads=False
            ):
                rows = batch.slice(min(skip, len(batch)), max(0, min(left, len(batch)) - skip))
                skip, left = max(0, skip - len(batch)), max(0, left - len(batch))
                if len(rows):
                    yield with_partition(pa.Table.from_batches([rows]), file.file.partition)
                if not left:
                    break
            self._refuse_change(file)
            if left:
                raise pa.ArrowInvalid("fewer rows than the footer promises")

    @contextmanager
    def _opened(self, file: InputFile) -> Iterator[pq.ParquetFile]:
        with (
            self.folder.opened(file.name) as opened,
            read_faults_named(self.folder.shown(file.name)),
            open_parquet(opened, columns=len(file.schema)) as parquet,
        ):
            if has_old_timestamps(parquet):
                with self.folder.fetched(file.name) as path:
                    refuse_inexact_timestamps(parquet, path)
            yield parquet

    def _refuse_change(self, file: InputFile) -> None:
        if self.folder.stamp(file.name) != file.stamp:
            raise _changed(self.folder.shown(file.name))


def _gathered(tables: Iterator[pa.Table]) -> Iterator[list[pa.Table]]:
    """Gather as many tables into a block as are judged at once."""
    gathered: list[pa.Table] = []
    rows = size = 0
    for table in tables:
        gathered.append(table)
        rows, size = rows + table.num_rows, size + table.nbytes
        if rows >= _JUDGED_ROWS or size >= _JUDGED_BYTES:
            yield gathered
            gathered, rows, size = [], 0, 0
    if gathered:
        yield gathered


def _changed(shown: str) -> SourceChangedError:
    return SourceChangedError(
        f"File '{shown}' has changed since the data set was made of it; call `filter` again."
    )


def _share(pieces: list[_Piece], index: int, count: int, batch_rows: int) -> list[_Piece]:
    """One of `count` shares of the pieces. Pieces are cut if there are fewer than shares."""
    if len(pieces) < count:
        cuts = -(-count // max(len(pieces), 1))
        pieces = [smaller for piece in pieces for smaller in _cut(piece, cuts, batch_rows)]
    return pieces[index::count]


def _cut(piece: _Piece, cuts: int, batch_rows: int) -> Iterator[_Piece]:
    """Cut a piece into a number of smaller ones, or into fewer if it has fewer batches."""
    batches = -(-(piece.stop - piece.first) // batch_rows)
    rows = -(-batches // cuts) * batch_rows
    for first in range(piece.first, piece.stop, rows):
        stop = min(first + rows, piece.stop)
        yield _Piece(piece.file, piece.group, first, stop, piece.first_row + first - piece.first)


class GivenBatches:
    """The Arrow batches of an iterable. Every shard iterates over all of them, and skips some.

    Args:
        batches: an iterable of record batches, tables, or other objects that hold Arrow data.
        schema: their schema; None if it is not known.
        identity: a text that identifies the input; empty if none does.
        are_shared_out: whether shards share the batches. If not, each process has its own batches.
        inner_state: a function that returns the iterable's own state. None: blocks hold no states
            of the iterable.
    """

    def __init__(
        self,
        batches: Iterable[Any],
        *,
        schema: pa.Schema | None = None,
        identity: str = "",
        are_shared_out: bool = True,
        inner_state: Callable[[], Any] | None = None,
    ) -> None:
        self.schema, self.identity = schema, identity
        self._inner_state = inner_state or _no_state  # no lambda, because it is pickled
        self._batches, self._are_shared_out = batches, are_shared_out
        self._is_spent = False

    def read(self, shard: Shard, start: Position) -> Iterator[Block]:
        """Read a shard's rows from a position on.

        Raises:
            ConfigurationError: The iterable can be iterated over only once, and either that was
                done before, or there are several shards.
            NotArrowError: An item holds no Arrow data.
        """
        shard = shard if self._are_shared_out else Shard()
        self._refuse_spent(shard)
        first_row, before = 0, self._inner_state()
        for number, batch in enumerate(self._batches):
            table, after = as_table(batch), self._inner_state()
            if number >= start.piece and _is_due(shard, number):
                done = start.rows if number == start.piece else 0
                end = ResumePoint(Position(number + 1), after)
                begun = ResumePoint(Position(number, done), before)
                yield Block(first_row + done, begun, [(table.slice(done), end)])
            first_row, before = first_row + table.num_rows, after

    def _refuse_spent(self, shard: Shard) -> None:
        is_single = iter(self._batches) is self._batches
        if is_single and (self._is_spent or (shard.ranks, shard.workers) != (1, 1)):
            raise ConfigurationError(
                f"A '{type(self._batches).__qualname__}' can be read only once, and not by several "
                "processes; give a list, a path, or an object whose __iter__ begins anew."
            )
        self._is_spent = True


def _no_state() -> None:
    """Give no state."""


def _is_due(shard: Shard, number: int) -> bool:
    """Whether a batch belongs to the shard, by the same rule as pieces."""
    of_rank, at = number % shard.ranks == shard.rank, number // shard.ranks
    return of_rank and at % shard.workers == shard.worker
