"""DuckDB: relations with admitted rows only.

>>> import duckdb
>>> from consentgate.adapters import duckdb as gated
>>> messages = duckdb.read_parquet("messages/*.parquet")  # doctest: +SKIP
>>> gated.filter(messages, gate).project("text").write_parquet("clean.parquet")  # doctest: +SKIP
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any

from consentgate._arrow import quoted
from consentgate._stream import Sieve, admitted_stream
from consentgate.adapters._engine import need
from consentgate.errors import ColumnAmbiguousError, ColumnTypeError, NotArrowError
from consentgate.live import AnyGate

if TYPE_CHECKING:
    import pyarrow as pa
    from duckdb import DuckDBPyRelation

__all__ = ["filter"]

_BATCH_ROWS = 122_880
"""As many rows as DuckDB stores together."""
_CAST_BACK = {
    "enum": "VARCHAR",
    "hugeint": "DECIMAL(38,0)",
    "uuid": "VARCHAR",
    "varchar": "VARCHAR",  # under another name, as JSON is
}
"""Types that come back from Arrow as others, from which a cast makes them again."""


def filter(
    data: DuckDBPyRelation,
    gate: AnyGate,
    *,
    ledger: str | Path | None = None,
    judged_at: datetime | None = None,
    threads: int | None = None,
) -> DuckDBPyRelation:
    """The admitted rows of a relation, in its order, as a relation of the same connection.

    It is run and judged at once, batch by batch; its admitted rows are held in memory, from where
    the new relation reads them as often as it is asked. For more than fits there, write
    `gate.stream(relation)` to a file.

    DuckDB hands UUIDs over as text, so the gate's snapshot needs ids of text, too.

    Args:
        data: a relation with the gate's columns.
        gate: the judge; of a live one, the gate that is current now judges all rows.
        ledger: a directory that gets the excluded rows; `row` is the position. None: no record.
        judged_at: the instant of judgement; None takes the gate's, or else the clock at each batch.
        threads: as in `Gate.decide`.

    Returns:
        The same columns and types.

    Raises:
        NotArrowError: `data` is no relation.
        ColumnTypeError: A column is of a type that Arrow does not hand back as it was, such as BIT.
        ColumnAmbiguousError: Two columns have one name.
        ExtraMissingError, ExtraOutdatedError: DuckDB is not installed, or too old.
        OutputError: The ledger cannot be written.
        Whatever `Gate.decide` raises.
    """
    need("duckdb")
    from duckdb import DuckDBPyRelation

    if not isinstance(data, DuckDBPyRelation):
        raise NotArrowError(
            f"An object of type '{type(data).__qualname__}' is no DuckDB relation; give one."
        )
    columns = _columns_as_they_were(data)
    sieve = Sieve(gate.current(), ledger=ledger, judged_at=judged_at, threads=threads)
    admitted = admitted_stream(data.to_arrow_reader(_BATCH_ROWS), sieve).read_all()
    renamed: DuckDBPyRelation = _beside(data, admitted).project(columns).set_alias(data.alias)
    return renamed


def _beside(relation: DuckDBPyRelation, table: pa.Table) -> Any:
    """A table as a relation of the same connection.

    No query names it: the connection may have a table of any name, which would be read instead.
    """
    import duckdb

    connection: Any = relation._con  # which nothing public tells
    return duckdb.from_arrow(table, connection=connection)


def _columns_as_they_were(relation: DuckDBPyRelation) -> str:
    """What to select from the relation's rows in Arrow so that they are what they were."""
    if doubled := [name for name, times in Counter(relation.columns).items() if times > 1]:
        raise ColumnAmbiguousError(
            f"More than one column is named {quoted(doubled)}; rename all but one."
        )
    from_arrow = _beside(relation, relation.limit(0).to_arrow_table())
    columns = []
    for name, kind, other in zip(relation.columns, relation.types, from_arrow.types, strict=True):
        word = '"' + name.replace('"', '""') + '"'
        if kind != other:
            _refuse_lossy(name, kind, other)
            word = f"cast({word} as {kind}) as {word}"
        columns.append(word)
    return ", ".join(columns)


def _refuse_lossy(name: str, kind: Any, other: Any) -> None:
    for leaf, again in zip_longest(_leaves(kind), _leaves(other)):
        if leaf != again and (leaf is None or _CAST_BACK.get(leaf.id) != str(again)):
            raise ColumnTypeError(
                f"Column '{name}' is {kind}, which DuckDB does not take back from Arrow as it was; "
                "cast it, for example to VARCHAR, or leave it out."
            )


def _leaves(kind: Any) -> Iterator[Any]:
    """The types that a type is made of."""
    if kind.id in ("list", "array", "struct", "map"):
        for _, child in kind.children:
            if not isinstance(child, int):  # an array's length
                yield from _leaves(child)
    else:
        yield kind
