"""DuckDB: relations with admitted rows only.

>>> import duckdb
>>> from consentgate.adapters import duckdb as gated
>>> messages = duckdb.read_parquet("messages/*.parquet")  # doctest: +SKIP
>>> gated.filter(messages, gate).project("text").write_parquet("clean.parquet")  # doctest: +SKIP
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pyarrow as pa

from consentgate.adapters.engine import need
from consentgate.adapters.options import require_gate
from consentgate.arrow import quoted
from consentgate.errors import ColumnAmbiguousError, ColumnTypeError, InputError, NotArrowError
from consentgate.judging import JudgingOptions, Sieve, admitted_stream
from consentgate.publishing import AnyGate

if TYPE_CHECKING:
    from duckdb import DuckDBPyRelation

__all__ = ["filter"]

_BATCH_ROWS = 122_880
"""How many rows a batch has: as many as a row group of DuckDB."""
_PLAIN = {
    *("boolean", "tinyint", "smallint", "integer", "bigint"),
    *("utinyint", "usmallint", "uinteger", "ubigint", "float", "double", "decimal"),
    *("varchar", "blob", "date", "geometry", "null"),
    *("timestamp", "timestamp_s", "timestamp_ms", "timestamp_ns"),
    *("timestamp with time zone", "timestamptz_ns"),
}
"""Types whose values all come back from Arrow as they were."""
_AS_TEXT = {
    *("hugeint", "uhugeint", "bignum", "bit", "uuid", "enum", "interval"),
    *("time", "time_ns", "time with time zone"),  # a day may end at 24:00:00 in DuckDB
}
"""Types that are sent as text, because Arrow lacks them or some of their values. DuckDB's text of
each value is exact.
"""


def filter(
    data: DuckDBPyRelation,
    gate: AnyGate,
    *,
    ledger: str | Path | None = None,
    judged_at: datetime | None = None,
    threads: int | None = None,
) -> DuckDBPyRelation:
    """Make a relation of the admitted rows of a relation, in its order.

    The relation is run and judged at once, batch by batch. The gate that is current when `filter`
    is called judges all of it. The admitted rows are held in memory, and the new relation reads
    them from there as often as it is used. If they do not fit into memory, write
    `gate.stream(relation)` to a file.

    Values of types that Arrow does not have are sent as text. DuckDB casts them back whenever the
    new relation is read. DuckDB hands UUIDs over as text, so the ids in the gate's snapshot must be
    text, too.

    Columns whose names differ only in case come back as they are. DuckDB itself cannot tell them
    apart by name, and takes the first.

    Args:
        data: a relation with the gate's columns.
        gate: a gate or a live gate.
        ledger: a folder that gets the excluded rows, with their position in `row`. None keeps no
            record of excluded rows.
        judged_at: the instant of judgement, with a time zone. None takes the gate's. If that is
            None, too, the clock is read at each batch.
        threads: as in `Gate.decide`.

    Returns:
        A relation of the same connection, with the same columns and types.

    Raises:
        NotArrowError: `data` is not a relation.
        TypeError: Another argument is of the wrong type.
        ColumnTypeError: A column is of a type whose values change on the way to Arrow and back,
            such as UNION, VARIANT and TUPLE.
        ColumnAmbiguousError: Two columns have the same name.
        InputError: DuckDB cannot run the relation.
        ExtraMissingError, ExtraOutdatedError: DuckDB is not installed, or too old.
        OutputError: The ledger cannot be written.
        Every error of `Gate.decide`.
    """
    need("duckdb")
    from duckdb import DuckDBPyRelation

    require_gate(gate)
    options = JudgingOptions(ledger=ledger, judged_at=judged_at, threads=threads)
    if not isinstance(data, DuckDBPyRelation):
        raise NotArrowError(
            f"An object of type '{type(data).__qualname__}' is not a DuckDB relation; give one."
        )
    current = gate.current()
    sieve = Sieve(current, options)
    with _faults_named():
        round_trip = _RoundTrip(data, sieve.columns())
        round_trip.check(data)
        admitted = admitted_stream(round_trip.reader(data), sieve).read_all()
        relation = round_trip.returned(data, admitted)
        round_trip.try_casts(relation)
        return relation


class _ColumnCasts(NamedTuple):
    """The expressions by which one column goes into Arrow and comes back.

    Attributes:
        name: the column's name in Arrow.
        into, back: the expression to select, by position, from the relation and from the table in
            Arrow.
        is_cast: whether the column is sent as text.
    """

    name: str
    into: str
    back: str
    is_cast: bool = False


class _RoundTrip:
    """Sends the columns of a relation to Arrow and takes them back as they were.

    Columns are named by position, because DuckDB takes two names that differ only in case for one.

    Args:
        relation: the relation.
        needed: the names of the columns that the gate and the ledger need. If one of them is sent
            as text, it is also sent as it is, for the gate.

    Raises:
        ColumnAmbiguousError, ColumnTypeError: See `filter`.
    """

    def __init__(self, relation: DuckDBPyRelation, needed: Collection[str]) -> None:
        if doubled := [name for name, times in Counter(relation.columns).items() if times > 1]:
            raise ColumnAmbiguousError(
                f"More than one column is named {quoted(doubled)}; rename all but one."
            )
        self._casts: list[_ColumnCasts] = []
        self._for_gate: list[_ColumnCasts] = []
        columns = zip(relation.columns, relation.types, strict=True)
        for at, (name, kind) in enumerate(columns, 1):
            itself, as_named = f"#{at}", f"as {_identifier(name)}"
            plain = _ColumnCasts(name, itself, f"{itself} {as_named}")
            if (as_type := _cast_for_arrow(name, kind)) is None:
                self._casts.append(plain)
                continue
            other = name
            if name in needed:
                self._for_gate.append(plain)
                other = _unused(name, {*relation.columns, *needed})
            back = f"cast({itself} as {kind}) {as_named}"
            into = f"cast({itself} as {as_type})"
            self._casts.append(_ColumnCasts(other, into, back, is_cast=True))

    def check(self, relation: DuckDBPyRelation) -> None:
        """Raise ColumnTypeError unless all columns come back with their names and types."""
        none = self._sent(relation).limit(0).to_arrow_table()
        back = self.returned(relation, none)
        columns = zip(relation.columns, relation.types, back.columns, back.types, strict=True)
        for name, kind, back_name, back_kind in columns:
            if (name, kind) != (back_name, back_kind):
                raise _not_as_it_was(name, kind)

    def reader(self, relation: DuckDBPyRelation) -> pa.RecordBatchReader:
        """A reader of the relation's batches in Arrow, with the names that the gate knows."""
        given = self._sent(relation).to_arrow_reader(_BATCH_ROWS)
        schema = _renamed(given.schema, [column.name for column in self._sent_columns()])
        batches = (pa.RecordBatch.from_arrays(batch.columns, schema=schema) for batch in given)
        return pa.RecordBatchReader.from_batches(schema, batches)

    def returned(self, relation: DuckDBPyRelation, table: pa.Table) -> DuckDBPyRelation:
        """Make a relation of rows in Arrow, with the columns of the first relation."""
        table = table.select(range(len(self._casts)))
        schema = _renamed(table.schema, _numbered(len(self._casts)))
        rows = _beside(relation, pa.Table.from_arrays(table.columns, schema=schema))
        # Set the alias first: set later, it would rename columns that differ only in case.
        columns = ", ".join(column.back for column in self._casts)
        returned: DuckDBPyRelation = rows.set_alias(relation.alias).project(columns)
        return returned

    def try_casts(self, returned: DuckDBPyRelation) -> None:
        """Cast all text back once, so that a failing cast is an error before a row comes out.

        For example, text in a JSON column that came from Arrow need not be JSON.
        """
        positions = [at for at, column in enumerate(self._casts, 1) if column.is_cast]
        if positions:
            columns = ", ".join(f"#{at} as c{at}" for at in positions)
            counts = ", ".join(f"count(c{at})" for at in positions)
            returned.project(columns).aggregate(counts).fetchall()

    def _sent(self, relation: DuckDBPyRelation) -> DuckDBPyRelation:
        sent = self._sent_columns()
        names = _numbered(len(sent))
        columns = [f"{column.into} as {name}" for column, name in zip(sent, names, strict=True)]
        return relation.project(", ".join(columns))

    def _sent_columns(self) -> list[_ColumnCasts]:
        return [*self._casts, *self._for_gate]


def _beside(relation: DuckDBPyRelation, table: pa.Table) -> Any:
    """Make a relation of a table on the connection of another relation.

    The table has no name in a query, because the connection may have another table of that name.
    """
    import duckdb

    connection: Any = relation._con  # there is no public way to ask for it
    return duckdb.from_arrow(table, connection=connection)


def _cast_for_arrow(name: str, kind: Any) -> str | None:
    """The type to which a column is cast for Arrow; None if it can stay as it is.

    Raises:
        ColumnTypeError: Values of the type cannot be cast back.
    """
    leaves = [*_leaves(kind)]
    if not all(_is_plain(leaf) or _is_text(leaf) for leaf in leaves):
        raise _not_as_it_was(name, kind)
    if all(map(_is_plain, leaves)):
        return None
    if any(len({*map(str.casefold, names)}) < len(names) for names in _field_names(kind)):
        raise _not_as_it_was(name, kind)  # DuckDB casts fields by name and ignores the case
    return _with_text(kind)


def _is_plain(kind: Any) -> bool:
    return kind.id in _PLAIN and not _is_text(kind)


def _is_text(kind: Any) -> bool:
    return kind.id in _AS_TEXT or (kind.id == "varchar" and str(kind) != "VARCHAR")  # as JSON is


def _leaves(kind: Any) -> Iterator[Any]:
    """The types that a type is made of."""
    if kind.id in ("list", "array", "struct", "map"):
        for _, child in kind.children:
            if not isinstance(child, int):  # an array's length
                yield from _leaves(child)
    else:
        yield kind


def _field_names(kind: Any) -> Iterator[list[str]]:
    """The names of the fields of every struct in a type."""
    if kind.id in ("list", "array", "struct", "map"):
        if kind.id == "struct":
            yield [name for name, _ in kind.children]
        for _, child in kind.children:
            if not isinstance(child, int):
                yield from _field_names(child)


def _with_text(kind: Any) -> str:
    """The type in SQL, with VARCHAR instead of every type that is sent as text."""
    if kind.id == "list":
        return f"{_with_text(kind.children[0][1])}[]"
    if kind.id == "array":
        (_, child), (_, length) = kind.children
        return f"{_with_text(child)}[{length}]"
    if kind.id == "map":
        return f"MAP({', '.join(_with_text(child) for _, child in kind.children)})"
    if kind.id == "struct":
        fields = [f"{_identifier(name)} {_with_text(child)}" for name, child in kind.children]
        return f"STRUCT({', '.join(fields)})"
    return "VARCHAR" if _is_text(kind) else str(kind)


def _identifier(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _numbered(columns: int) -> list[str]:
    return [f"c{number}" for number in range(columns)]


def _renamed(schema: pa.Schema, names: list[str]) -> pa.Schema:
    """The schema with other names. The metadata that DuckDB gives each field stays."""
    fields = [field.with_name(name) for field, name in zip(schema, names, strict=True)]
    return pa.schema(fields, schema.metadata)


def _unused(name: str, taken: Collection[str]) -> str:
    while name in taken:
        name += "'"
    return name


def _not_as_it_was(name: str, kind: Any) -> ColumnTypeError:
    # `str(kind)` would show the words of an ENUM, which can be text of messages
    return ColumnTypeError(
        f"Column '{name}' is of type {kind.id.upper()}, whose values change when DuckDB hands them "
        "to Arrow and takes them back; cast it, for example to VARCHAR, or leave it out."
    )


@contextmanager
def _faults_named() -> Iterator[None]:
    """Turn errors of DuckDB and Arrow, whose messages can quote values, into an `InputError`.

    Raises:
        InputError: DuckDB could not run the relation.
    """
    import duckdb

    try:
        yield
    except (duckdb.Error, pa.ArrowException, OSError) as error:
        raise InputError(
            f"DuckDB cannot run the relation, or Arrow cannot take its rows "
            f"({type(error).__name__}); run the relation without the gate to see why."
        ) from None
