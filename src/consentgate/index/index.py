"""The index: a hash table of the facts about each id.

The kernel fills it and looks ids up (`kernel/table.h` says how entries lie in memory). Facts of
zero mean that nothing is known, and so does memory that was never written. Ids whose facts are zero
are not in the table.

Facts that do not fit into 64 bits are in separate columns. An entry's place in them is its rank:
the number of entries before it.
"""

import ctypes
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from consentgate.arrow import (
    BLOCK_ROWS,
    Int64s,
    Uint64s,
    fixed_width_values,
    for_each,
    from_numpy,
    refuse_faults,
    row_blocks,
    thread_count,
)
from consentgate.index.ids import IdArray, id_family
from consentgate.index.memory import zeroed_words
from consentgate.index.secret import Secret
from consentgate.kernel import (
    LINE_WORDS,
    RANK_LINES,
    LineLayout,
    Moved,
    Table,
    kernel,
)

_LOAD = 0.65
"""The share of places that are used. With more, less memory is needed, but searches are longer."""
_COUNTS = 3
"""How many counts `cg_fill` returns."""
_ROWS_AT_ONCE = 1 << 20
"""How many rows are put into a table before the next ones are hashed. Their keys fit into the cache
that cores share.
"""

Column = npt.NDArray[Any]


@dataclass(frozen=True, repr=False)
class Index:
    """Finds the facts about ids. It is immutable, and safe to use from many threads.

    Attributes:
        seed: the secret under which ids are hashed, 16 bytes.
        layout: how keys lie in a line.
        is_signed: whether integer ids are to be read as signed.
        lines: uint64 of shape (lines, 8).
        longest: the most lines that any entry lies beyond the line of its hash.
        ranks: uint64, the rank of the first entry of every sixteenth line.
        entries: how many entries there are.
    """

    seed: bytes
    layout: LineLayout
    is_signed: bool
    lines: Uint64s
    longest: int
    ranks: Uint64s
    entries: int

    @classmethod
    def build(
        cls,
        ids: pa.Array,
        facts: Uint64s,
        beside: Sequence[Column] = (),
        *,
        rows: "RowTable | None" = None,
    ) -> tuple["Index", list[Column]]:
        """An index of n ids, and columns by rank.

        Args:
            ids: tidied: int64, uint64, large_string or 16-byte binary. None is null, and all whose
                facts are not zero are different.
            facts: what is known about each, n uint64.
            beside: more columns of n unsigned integers about the ids.
            rows: the n rows by id, which become the index. None: they are put into a table first.

        Raises:
            ValueError: Some ids are equal.
        """
        if rows is None or not facts.all():
            rows = RowTable(ids, facts)
        if rows.repeats:
            raise ValueError("some ids are equal")
        columns = rows.settle(facts, beside)
        return rows.index(), columns

    @cached_property
    def table(self) -> Table:
        """The table, for the kernel."""
        return _table(self.layout, self.lines, self.longest, self.ranks, self.entries, self.secret)

    @property
    def secret(self) -> Secret:
        """The secret, for the kernel.

        Tables hold addresses in it. So several threads that ask at once must get the same one,
        which `cached_property` does not promise from Python 3.12 on.
        """
        held = self.__dict__
        made: Secret | None = held.get("_secret")
        return made or held.setdefault("_secret", Secret(self.seed, self.layout))

    def __getstate__(self) -> dict[str, Any]:
        """The fields alone, because addresses mean nothing in another process."""
        return {name: self.__dict__[name] for name in self.__dataclass_fields__}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)


def first_rows(ids: pa.Array) -> Int64s:
    """For each of n ids, the first row that has the same id.

    Args:
        ids: tidied, as in `Index.build`.
    """
    first = np.empty(len(ids), np.int64)
    RowTable(ids, first=first)
    return first


class RowTable:
    """A table of n rows by id, which becomes an index when the rows are replaced by their facts.

    Args:
        ids: tidied, as in `Index.build`.
        facts: n uint64. Rows whose facts are zero are left out. None: all rows are put in.
        first: n int64, which get the first row with the same id as each row.

    Attributes:
        repeats: how many rows have the same id as an earlier one.
    """

    def __init__(
        self, ids: pa.Array, facts: Uint64s | None = None, *, first: Int64s | None = None
    ) -> None:
        family = id_family(ids.type)
        assert family is not None
        self.layout = family.layout
        self.is_signed = bool(pa.types.is_signed_integer(ids.type))
        self._seed = secrets.token_bytes(16)
        self._secret = Secret(self._seed, self.layout)
        self._rows = len(ids)
        count = max(1, int(self._rows / (self.layout.places * _LOAD)) + 1)
        self._lines = zeroed_words(count * LINE_WORDS).reshape(count, LINE_WORDS)
        self._ranks = np.zeros(-(-count // RANK_LINES), np.uint64)
        self._table = _table(self.layout, self._lines, 0, self._ranks, 0, self._secret)
        self.longest = self.repeats = self._entries = 0
        self._fill(ids, facts, first)

    def _fill(self, ids: pa.Array, facts: Uint64s | None, first: Int64s | None) -> None:
        keys, filled = _Keys(ids, self._secret, self.layout), []
        for rows in row_blocks(self._rows, _ROWS_AT_ONCE):
            filled += self._put(keys.of(rows), rows, facts, first)
        spilled = np.sort(np.concatenate([np.zeros(0, np.int64), *(left for left, _ in filled)]))
        counts = np.array([*(own for _, own in filled), self._put_spilled(ids, spilled, first)])
        self.repeats, self.longest = int(counts[:, 1].sum()), int(counts[:, 2].max())

    def _put(
        self, keys: Uint64s, rows: slice, facts: Uint64s | None, first: Int64s | None
    ) -> list[tuple[Int64s, Int64s]]:
        """Put rows into the table. Returns the rows that each thread spilled, and its counts."""
        filled: list[tuple[Int64s, Int64s]] = []

        def put(lines: slice) -> None:
            spilled = np.empty(rows.stop - rows.start, np.int64)
            counts = np.zeros(_COUNTS, np.int64)
            kernel.cg_fill(
                *(self._table, _address(keys), _address(facts), rows.start, rows.stop),
                *(lines.start, lines.stop, _address(first), _address(spilled), _address(counts)),
            )
            filled.append((spilled[: counts[0]].copy(), counts))

        for_each(put, self._spans)
        return filled

    def _put_spilled(self, ids: pa.Array, rows: Int64s, first: Int64s | None) -> Int64s:
        """Put rows wherever a place is left. Returns the counts."""
        keys = _Keys(ids.take(from_numpy(rows)), self._secret, self.layout).of(slice(0, len(rows)))
        counts = np.zeros(_COUNTS, np.int64)
        refuse_faults(
            kernel.cg_fill_spilled(
                *(self._table, _address(keys), _address(rows), len(rows)),
                *(_address(first), _address(counts)),
            )
        )
        return counts

    def settle(self, facts: Uint64s, beside: Sequence[Column]) -> list[Column]:
        """Replace rows by their facts, once. Returns the columns by rank."""
        spans = self._spans
        found = np.zeros(len(spans), np.int64)

        def count(at: int) -> None:
            found[at] = kernel.cg_count(self._table, spans[at].start, spans[at].stop)

        for_each(count, range(len(spans)))
        self._entries = int(found.sum())
        before = (np.cumsum(found) - found).tolist()
        by_rank = [np.empty(self._entries, column.dtype) for column in beside]
        moved = (Moved * len(beside))(
            *(
                Moved(_address(old), _address(new), old.itemsize)
                for old, new in zip(beside, by_rank, strict=True)
            )
        )

        def settle(at: int) -> None:
            refuse_faults(
                kernel.cg_settle(
                    *(self._table, _address(facts), self._rows, spans[at].start, spans[at].stop),
                    *(before[at], _address(self._ranks), moved, len(beside)),
                )
            )

        for_each(settle, range(len(spans)))
        return by_rank

    def index(self) -> Index:
        """The index, once rows are settled."""
        return Index(
            *(self._seed, self.layout, self.is_signed, self._lines),
            *(self.longest, self._ranks, self._entries),
        )

    @cached_property
    def _spans(self) -> list[slice]:
        """The lines, cut into as many spans as there are threads, the same ones every time."""
        count = thread_count() if self._rows > BLOCK_ROWS else 1
        size = -(-len(self._lines) // count)
        size += -size % RANK_LINES
        return row_blocks(len(self._lines), size)


def _table(
    layout: LineLayout, lines: Uint64s, longest: int, ranks: Uint64s, entries: int, secret: Secret
) -> Table:
    return Table(
        *(layout, _address(lines), len(lines), longest, _address(ranks), entries, 0),
        secret=ctypes.pointer(secret.struct),
    )


class _Keys:
    """The keys of ids that are not null: a word for each integer, otherwise two words."""

    def __init__(self, ids: pa.Array, secret: Secret, layout: LineLayout) -> None:
        self._secret, self._ids, self._values = secret, IdArray(ids), None
        if layout is not LineLayout.TEXTS:
            word = np.dtype((np.uint64, layout.key_words)) if layout.key_words > 1 else np.uint64
            values = fixed_width_values(ids, np.dtype(word))
            self._values = np.require(values, requirements="A")

    def of(self, rows: slice) -> Uint64s:
        """The keys of some rows. Those of texts are computed."""
        if self._values is not None:
            return self._values[rows]
        keys = np.empty((rows.stop - rows.start, LineLayout.TEXTS.key_words), np.uint64)

        def fill(own: slice) -> None:
            start, stop = rows.start + own.start, rows.start + own.stop
            at = _address(keys[own])
            refuse_faults(kernel.cg_keys(self._ids.struct, self._secret.struct, start, stop, at))

        for_each(fill, row_blocks(len(keys)))
        return keys


def _address(array: Column | None) -> int | None:
    return None if array is None else array.ctypes.data
