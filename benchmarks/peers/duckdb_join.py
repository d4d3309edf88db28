"""The judgement as one SQL query in DuckDB, over Arrow tables and over tables of its own.

These things make it fast: words in consent records are dictionary-encoded (in Arrow tables) or
ENUMs (in its own tables); UUIDs are of DuckDB's own type; the order of rows is not kept; results
are returned as Arrow tables.
"""

from dataclasses import dataclass
from itertools import count
from typing import Any

import duckdb
import pyarrow as pa

from benchmarks.corpus import Corpus
from benchmarks.peers import duckdb_sql as sql
from benchmarks.peers.base import Answer
from benchmarks.process import cores

__all__ = ["batches", "cold", "compact_facts", "connect", "warm"]

_NUMBERS = count()
_SETTINGS = {
    "threads": cores(),
    "preserve_insertion_order": "false",
    "arrow_lossless_conversion": "true",  # UUIDs are returned as UUIDs, not as text
    "enable_progress_bar": "false",
    "timezone": "'UTC'",
}


@dataclass(frozen=True)
class DuckDBJoin:
    """A query in which the name of the table of messages is left open.

    Attributes:
        holds_messages: whether messages are copied into a table of DuckDB's own.
    """

    name: str
    connection: duckdb.DuckDBPyConnection
    query: str
    holds_messages: bool = False

    def load(self, messages: pa.Table) -> str:
        """The name of a table of the messages."""
        return _load(self.connection, messages, native=self.holds_messages)

    def judge(self, messages: str) -> pa.Table:
        """A table of `message_id` and `reason_bits`, in any order."""
        return self.connection.sql(self.query.format(messages=messages)).to_arrow_table()

    def read(self, judged: Any) -> Answer:
        """The table's two columns."""
        return Answer(judged["reason_bits"].to_numpy(), judged["message_id"].to_numpy())


def warm(corpus: Corpus) -> list[DuckDBJoin]:
    """Contestants whose facts were computed beforehand."""
    if corpus.has_lists:  # holding messages with lists is not faster, and takes gigabytes
        return _prepared(corpus, sql.JUDGE_LISTS) + _prepared_own(corpus, sql.JUDGE_LISTS)[:1]
    return _prepared(corpus, sql.JUDGE_SCALARS) + _prepared_own(corpus, sql.JUDGE_SCALARS)


def batches(corpus: Corpus) -> list[DuckDBJoin]:
    """Contestants for small batches; a primary key would not make them faster."""
    return _prepared(corpus, sql.JUDGE_SCALARS) + _prepared_own(corpus, sql.JUDGE_SCALARS)[:1]


def cold(corpus: Corpus, *, native: bool) -> DuckDBJoin:
    """A contestant that computes its facts each time, in the same query.

    Args:
        native: whether records, channels and messages are in DuckDB's own tables.
    """
    connection = connect()
    consent = _load(connection, corpus.consent, native=native)
    channels = _load(connection, corpus.channels, native=native)
    facts = f"({sql.FACTS.format(consent=consent)})"
    seen = f"({sql.CHANNELS.format(channels=channels)})"
    query = _with_sources(sql.JUDGE_SCALARS, facts, seen)
    name = "DuckDB, own tables" if native else "DuckDB, Arrow tables"
    return DuckDBJoin(name, connection, query, holds_messages=native)


def _prepared(corpus: Corpus, query: str) -> list[DuckDBJoin]:
    """A contestant that has everything in Arrow tables."""
    connection = connect()
    tables = [_load(connection, table, native=False) for table in compact_facts(corpus)]
    return [DuckDBJoin("DuckDB, Arrow tables", connection, _with_sources(query, *tables))]


def _prepared_own(corpus: Corpus, query: str) -> list[DuckDBJoin]:
    """Contestants with facts in DuckDB's own tables, and messages in Arrow or in such a table."""
    connection = connect()
    tables = [_load(connection, table, native=True) for table in compact_facts(corpus)]
    query = _with_sources(query, *tables)
    return [
        DuckDBJoin("DuckDB, own tables of facts", connection, query),
        DuckDBJoin("DuckDB, own tables", connection, query, holds_messages=True),
    ]


def compact_facts(corpus: Corpus) -> tuple[pa.Table, pa.Table]:
    """The compact tables of subjects and channels."""
    connection = connect()
    consent = _load(connection, corpus.consent, native=False)
    channels = _load(connection, corpus.channels, native=False)
    queries = sql.FACTS.format(consent=consent), sql.CHANNELS.format(channels=channels)
    facts, seen = (connection.sql(query).to_arrow_table() for query in queries)
    return facts, seen


def _with_sources(query: str, facts: str, channels: str) -> str:
    """The query, in which only the name of the table of messages is left open."""
    return query.format(messages="{messages}", facts=facts, channels=channels)


def connect() -> duckdb.DuckDBPyConnection:
    """A database in memory, with the settings for this suite's queries."""
    connection = duckdb.connect()
    for setting, value in _SETTINGS.items():
        connection.execute(f"set {setting} = {value}")
    return connection


def _load(connection: duckdb.DuckDBPyConnection, table: pa.Table, *, native: bool) -> str:
    """The name under which the connection knows the table, scanned or copied."""
    name = f"table_{next(_NUMBERS)}"
    connection.register(name, table)
    if not native:
        return name
    columns = [_own_column(connection, name, field) for field in table.schema]
    connection.execute(f"create table own_{name} as select {', '.join(columns)} from {name}")
    connection.unregister(name)
    return f"own_{name}"


def _own_column(connection: duckdb.DuckDBPyConnection, table: str, field: pa.Field) -> str:
    """A column as DuckDB's own table holds it, with a dictionary of words as an ENUM."""
    if not pa.types.is_dictionary(field.type):
        return str(field.name)
    kind = f"{table}_{field.name}"
    distinct = f"select distinct {field.name} from {table} where {field.name} is not null"
    connection.execute(f"create type {kind} as enum ({distinct})")
    return f"{field.name}::{kind} as {field.name}"
