"""Checks the columns of a snapshot or registry, one by one, as they were given."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from consentgate.arguments import require_path
from consentgate.arrow import (
    Bools,
    Int64s,
    Validator,
    as_table,
    booleans,
    check_instants,
    decoded,
    find_column,
    for_each,
    from_numpy,
    is_text,
    one_chunk,
    one_text,
    pandas_index,
    row_blocks,
    type_text,
)
from consentgate.errors import (
    ColumnAmbiguousError,
    ColumnTypeError,
    ConsentGateError,
    DuplicateRecordError,
    NaiveTimestampError,
    NullValueError,
    SnapshotError,
    UnreadableFileError,
)
from consentgate.index import MAX_ID_BYTES, IdFamily, RowTable, first_rows, id_family
from consentgate.inputs.arguments import checked_names, checked_zone
from consentgate.inputs.cells import InstantColumn, as_instants, read_flag_cells, read_instant_cells
from consentgate.inputs.faults import Faults, rows_text
from consentgate.inputs.files import is_text_file, read_table
from consentgate.inputs.tables import refuse_headless
from consentgate.inputs.words import encoded, ranks, translated

T = TypeVar("T")

_HINT = "say with `columns` which column to use"


@dataclass(frozen=True)
class Layout:
    """The columns that a snapshot or registry has (docs/semantics.md, sections 2.6 and 2.7).

    Attributes:
        what: what messages call the table.
        key: the column of ids.
        columns: all columns that have a meaning, with the key.
        words: those of them that hold few different words.
    """

    what: str
    key: str
    columns: tuple[str, ...]
    words: frozenset[str] = frozenset()


@dataclass(frozen=True, eq=False, repr=False)
class GivenTable:
    """A table whose columns are checked under the names of a layout.

    Each method takes its column out of `columns`, so that the memory of a column is free as soon as
    the column is converted. It notes the faults of the column in `faults`. It returns None if the
    column cannot be used, and otherwise a column in which later checks can find more faults.

    Attributes:
        schema: the schema of the table, with the names of the file.
        columns: the columns that were not taken yet, by their position.
        faults: the faults that were found so far.
        names: the file's names by the layout's, if they differ.
        zone: the time zone of timestamps that have none. None: such timestamps are faults.
        text_file: the CSV or JSON lines file that the table comes from; None if the columns have
            types of their own.
    """

    schema: pa.Schema
    columns: dict[int, pa.ChunkedArray]
    faults: Faults
    names: Mapping[str, str]
    zone: str | None
    text_file: Path | None

    @classmethod
    def of(
        cls, layout: Layout, data: Any, columns: Mapping[str, str] | None, zone: str | None
    ) -> "GivenTable":
        """Take the table from an Arrow object, and check that its data is well-formed.

        Raises:
            TypeError, ConfigurationError: `columns` or `zone` cannot be used.
            NotArrowError: `data` holds no Arrow data.
            SchemaMismatchError: A batch of a stream has another schema than the stream.
            MalformedDataError: A column is not what its type says.
        """
        names = checked_names(columns, layout.columns, layout.what)
        return cls._checked(layout, as_table(data), names, checked_zone(zone), None)

    @classmethod
    def read(
        cls, layout: Layout, path: str | Path, columns: Mapping[str, str] | None, zone: str | None
    ) -> "GivenTable":
        """Read the table from a file, and check that its data is well-formed.

        Raises:
            TypeError, ConfigurationError: `path`, `columns` or `zone` cannot be used.
            UnreadableFileError: The file is missing, truncated, corrupt or of another format.
            ColumnMissingError: A file of text does not name its columns, or has no column of ids.
            MalformedDataError: A column is not what its type says.
        """
        require_path(path, "path")
        path = Path(path)
        names = checked_names(columns, layout.columns, layout.what)
        zone = checked_zone(zone)
        key = names.get(layout.key, layout.key)
        as_text = {names.get(name, name) for name in layout.columns} - {key}
        words = {names.get(name, name) for name in layout.words}
        table = read_table(path, as_text, key, words)
        text_file = path if is_text_file(path) else None
        if text_file is not None:
            refuse_headless(table, text_file, key)
        return cls._checked(layout, table, names, zone, text_file)

    @classmethod
    def _checked(
        cls,
        layout: Layout,
        table: pa.Table,
        names: Mapping[str, str],
        zone: str | None,
        text_file: Path | None,
    ) -> "GivenTable":
        validator, columns = Validator(), dict(enumerate(table.columns))
        for_each(lambda at: validator.check_column(table.schema.names[at], columns[at]), columns)
        given = cls(table.schema, columns, Faults(layout.what), names, zone, text_file)
        given._note_hidden()
        return given

    def each(self, readers: Mapping[str, Callable[["GivenTable"], T]]) -> dict[str, T]:
        """Read several columns at the same time. Faults are noted in the order of the readers.

        Args:
            readers: functions that read a column of the table that they are given.
        """
        parts = {name: replace(self, faults=self.faults.apart()) for name in readers}
        found: dict[str, T] = {}

        def read(name: str) -> None:
            found[name] = readers[name](parts[name])

        for_each(read, readers)
        pa.default_memory_pool().release_unused()  # lowers the peak of memory
        for part in parts.values():
            self.faults.take_over(part.faults)
        return {name: found[name] for name in readers}

    def has(self, name: str) -> bool:
        """Whether the table has a column of that name, or `columns` says so."""
        return name in self.names or name in self.schema.names

    def ids(self, name: str) -> pa.Array | None:
        """The ids as int64, uint64, large_string or 16-byte binary."""
        column = self._column(name)
        if column is None:
            return None
        family = id_family(column.type)
        if family is None:
            self._refuse_type(name, column, "must hold ids: integers, strings or UUIDs")
            return None
        ids = one_text(column) if family is IdFamily.STRING else one_chunk(decoded(column))
        self._note_nulls(ids, name)
        if family is IdFamily.INTEGER:
            fits_signed = pa.types.is_signed_integer(ids.type) or (pc.max(ids).as_py() or 0) < 2**63
            return ids.cast(pa.int64() if fits_signed else pa.uint64())
        if family is IdFamily.UUID:
            return ids.storage if isinstance(ids, pa.ExtensionArray) else ids
        self._note_long_ids(ids, name)
        return ids

    def words(
        self, name: str, *, nulls: bool, mapping: Mapping[str, str] | None = None
    ) -> pa.DictionaryArray | None:
        """A column of few different words, translated and dictionary-encoded.

        Args:
            name: the layout's name of the column.
            nulls: whether a word may be null.
            mapping: the words' meanings. The key `""` stands for an empty cell. None: the words of
                this column are not translated.
        """
        column = self._column(name)
        if column is None:
            return None
        if self.text_file is not None and pa.types.is_boolean(column.type):  # true in JSON
            column = column.cast(pa.string())
        kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
        if not (is_text(kind) or pa.types.is_null(kind)):
            self._refuse_type(name, column, "must be text")
            return None
        words = translated(encoded(column), mapping or {})
        if not nulls:
            can_map = "" if mapping is None else f", or say with `{name}_map` what '' stands for"
            self._note_nulls(words, name, can_map)
        return words

    def instants(self, name: str) -> InstantColumn | None:
        """A column of timestamps with a time zone."""
        column = self._column(name)
        if column is None:
            return None
        if pa.types.is_null(column.type):
            nulls = pa.nulls(len(column), pa.timestamp("us", "UTC"))
            return InstantColumn(nulls, nulls)
        if self.text_file is not None and not pa.types.is_timestamp(column.type):
            return self._instants_of_cells(column, name)
        shown, zone = self.shown(name), self.zone
        with self.faults.noted():
            check_instants(column.type, shown, zone, parameter="assume_timezone")
        if not pa.types.is_timestamp(column.type):
            return None
        return as_instants(one_chunk(column), shown, zone or "UTC")

    def flags(self, name: str) -> pa.Array | None:
        """A column of booleans. Nulls stay, because policy rules may look for them."""
        column = self._column(name)
        if column is None:
            return None
        if self.text_file is not None:
            flags, unread = read_flag_cells(column)
            self._note_unread(unread, name, "is neither true nor false", "write true or false")
            return flags
        if not (pa.types.is_boolean(column.type) or pa.types.is_null(column.type)):
            self._refuse_type(name, column, "must be boolean")
            return None
        return one_chunk(column.cast(pa.bool_()))

    def others(self, known: Collection[str]) -> dict[str, pa.ChunkedArray]:
        """The columns that have other names than the known ones, and occur once.

        The index of a pandas data frame is not among them.
        """
        used = {*known, *self.names.values()}
        names = [name for name in self.schema.names if name not in used]
        counts = {name: names.count(name) for name in names}
        for name, count in counts.items():
            if count > 1:
                with self.faults.noted():
                    find_column(self.schema, name, role="attribute")
        index = pandas_index(self.schema)
        found = [name for name, count in counts.items() if count == 1 and name not in index]
        return {name: self.columns.pop(self.schema.get_field_index(name)) for name in found}

    def _note_hidden(self) -> None:
        """Note columns with a layout's name if `columns` names another column for that name."""
        for name, theirs in self.names.items():
            if name in self.schema.names and name not in self.names.values():
                self.faults.add(
                    ColumnAmbiguousError(
                        f"`columns` says that '{theirs}' is '{name}', but there is a column "
                        f"'{name}', too; drop or rename one of them, or do not map '{name}'."
                    )
                )

    def note_repeats(
        self, key: pa.Array, word: pa.DictionaryArray | None, what: str
    ) -> list[RowTable]:
        """Note rows that have the same key as an earlier row. Nulls are never the same.

        Args:
            key: n ids.
            word: n words that belong to the key, too; None if there are none.
            what: what messages call the key.

        Returns:
            The rows by id, if all ids are different. Otherwise nothing.
        """
        columns = [key] if word is None else [key, word]
        rows = None
        if any(column.null_count for column in columns):
            rows = np.flatnonzero(np.logical_and.reduce([_valid(column) for column in columns]))
            columns = [column.take(from_numpy(rows)) for column in columns]
        table = RowTable(columns[0])
        if not table.repeats:
            return [] if rows is not None else [table]
        del table
        repeats = _repeats(first_rows(columns[0]), None if word is None else columns[1])
        if len(repeats):
            repeats = repeats if rows is None else rows[repeats]
            self.faults.add(
                DuplicateRecordError(
                    f"{len(repeats):,} rows of {len(key):,} repeat {what} of an earlier row "
                    f"({rows_text(repeats)}); keep the row that is right."
                )
            )
        return []

    def note(self, mask: Bools, error: type[ConsentGateError], found: str, needed: str) -> None:
        """Note a fault of the rows where the mask is true, if there are any.

        Args:
            mask: n booleans.
            error: the class of the fault.
            found: the beginning of the message, before the rows, such as "Column 'a' is null".
            needed: the end of the message, which says what was needed and what to do.
        """
        if mask.any():
            rows = np.flatnonzero(mask)
            where = f"in {len(rows):,} of {len(mask):,} rows ({rows_text(rows)})"
            self.faults.add(error(f"{found} {where}{needed}"))

    def _column(self, name: str) -> pa.ChunkedArray | None:
        theirs = self.names.get(name, name)
        role = "required" if theirs == name else f"'{name}'"
        with self.faults.noted():
            return self.columns.pop(find_column(self.schema, theirs, role=role, hint=_HINT))
        return None

    def shown(self, name: str) -> str:
        """The column's name in the file, which messages show."""
        return self.names.get(name, name)

    def _refuse_type(self, name: str, column: pa.ChunkedArray, needed: str) -> None:
        self.faults.add(
            ColumnTypeError(
                f"Column '{self.shown(name)}' is {type_text(column.type)} but {needed}; cast it."
            )
        )

    def _note_nulls(self, column: pa.Array, name: str, can_map: str = "") -> None:
        if column.null_count:
            self.note(
                ~_valid(column),
                NullValueError,
                f"Column '{self.shown(name)}' is null",
                f" but must never be; complete or remove those rows{can_map}.",
            )

    def _note_long_ids(self, ids: pa.Array, name: str) -> None:
        longest = _longest(ids)
        if longest > MAX_ID_BYTES:
            self.note(
                pc.greater(pc.binary_length(ids), MAX_ID_BYTES)
                .fill_null(False)
                .to_numpy(zero_copy_only=False),
                SnapshotError,
                f"Column '{self.shown(name)}' holds ids of up to {longest} bytes",
                f", but an id may have at most {MAX_ID_BYTES}. Check that the right column was "
                "named.",
            )

    def _instants_of_cells(self, column: pa.ChunkedArray, name: str) -> InstantColumn:
        instants = read_instant_cells(column, self.shown(name), self.zone)
        needed = "write instants such as 2026-01-31T00:00:00Z"
        self._note_unread(instants.unread, name, "is not an ISO 8601 timestamp", needed)
        if instants.naive is not None:
            self.note(
                instants.naive,
                NaiveTimestampError,
                f"Column '{self.shown(name)}' of file '{self.text_file}' has no offset from UTC",
                "; add the offset, or name the time zone with `assume_timezone`.",
            )
        return instants

    def _note_unread(self, unread: Bools | None, name: str, found: str, needed: str) -> None:
        if unread is not None:
            self.note(
                unread,
                UnreadableFileError,
                f"Column '{self.shown(name)}' of file '{self.text_file}' {found}",
                f"; {needed}.",
            )


def _valid(column: pa.Array) -> Bools:
    mask: Bools = booleans(column.is_valid())
    return mask


def _longest(texts: pa.Array) -> int:
    """The length of the longest text in bytes; 0 if there is none."""
    longest = [0]

    def measure(rows: slice) -> None:
        longest.append(pc.max(pc.binary_length(texts[rows])).as_py() or 0)

    for_each(measure, row_blocks(len(texts)))
    return max(longest)


def _repeats(first: Int64s, word: pa.DictionaryArray | None) -> Int64s:
    """The positions of rows that have the same key and word as an earlier row, in order.

    Args:
        first: of n rows, the first one with the same key.
        word: n words; None if there are none.
    """
    later = np.flatnonzero(first != np.arange(len(first)))
    if word is None or not len(later):
        return later
    rows = np.union1d(later, first[later])  # no other row shares its key
    codes = ranks(word.take(from_numpy(rows))).astype(np.int64)
    pairs = first[rows] * (codes.max() + 1) + codes
    repeats: Int64s = rows[first_rows(from_numpy(pairs)) != np.arange(len(rows))]
    return repeats
