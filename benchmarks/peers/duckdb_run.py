"""Plain copies, whole pipelines and scripts by DuckDB, which read Parquet and write Parquet.

These things make them fast: facts are in DuckDB's own tables, or are computed in the query that
uses them; the order of rows is not kept; each thread may write a file of its own. The text is read
after it is known which rows are admitted. Or the judged rows are held in a temporary table, from
which both outputs are written.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import duckdb

from benchmarks.peers.duckdb_join import connect
from benchmarks.peers.duckdb_sql import CHANNELS, FACTS, JUDGE_COLUMNS
from benchmarks.stage import Runner, Stage, ledger_folder, parquet_files

__all__ = ["prepare", "scripts"]

_ONE_FILE = "format parquet, compression zstd, compression_level 1"
_FILE_PER_THREAD = f"{_ONE_FILE}, per_thread_output true"
_LEDGER = "select message_id as record_id, row, reason_bits from judged where reason_bits != 0"


def prepare(stage: Stage) -> Mapping[str, Runner]:
    """Contestants that hold the mask, or facts and channels, in tables of their own."""
    connection = connect()
    for name in ("facts", "channels", "answer"):
        path = getattr(stage, name)
        connection.execute(f"create table {name} as select * from read_parquet('{path}')")
    connection.execute("create table ids as select message_id from answer where admitted")
    one, each = _Writer(connection, _ONE_FILE), _Writer(connection, _FILE_PER_THREAD)
    return {
        "plain copy, DuckDB, positional join": partial(
            _copy_by_mask, _Writer(_connect_in_order(stage), _ONE_FILE)
        ),
        "plain copy, DuckDB, join": partial(_copy_by_join, one),
        "plain copy, DuckDB, join, file per thread": partial(_copy_by_join, each),
        "DuckDB, text read by join": partial(_read_by_join, one),
        "DuckDB, text read by join, file per thread": partial(_read_by_join, each),
        "DuckDB, text held": partial(_hold, one),
        "DuckDB, text held, file per thread": partial(_hold, each),
    }


def scripts(stage: Stage) -> Mapping[str, Runner]:
    """Contestants that read the consent records and the channel registry, too."""
    consent, registry = (f"read_parquet('{path}')" for path in (stage.consent, stage.registry))
    facts, channels = FACTS.format(consent=consent), CHANNELS.format(channels=registry)
    connection = connect()
    one, each = (
        _Writer(connection, options, f"({facts})", f"({channels})")
        for options in (_ONE_FILE, _FILE_PER_THREAD)
    )
    return {
        "DuckDB, text read by join": partial(_read_by_join, one),
        "DuckDB, text read by join, file per thread": partial(_read_by_join, each),
        "DuckDB, text held": partial(_hold, one),
        "DuckDB, text held, file per thread": partial(_hold, each),
    }


def _connect_in_order(stage: Stage) -> duckdb.DuckDBPyConnection:
    """A database with the mask that keeps the order of rows, as a positional join needs it."""
    connection = connect()
    connection.execute("set preserve_insertion_order = true")
    connection.execute(f"create table mask as select admitted from read_parquet('{stage.answer}')")
    return connection


@dataclass(frozen=True)
class _Writer:
    """A connection, how its queries' results are written, and from where facts come.

    Attributes:
        facts, channels: the names of tables, or queries in brackets.
    """

    connection: duckdb.DuckDBPyConnection
    options: str
    facts: str = "facts"
    channels: str = "channels"

    def judge(self, columns: str, source: Path) -> None:
        """Hold these columns and `reason_bits` in the table `judged`."""
        messages = _read(source, ", file_row_number = true")
        query = JUDGE_COLUMNS.format(
            columns=columns, messages=messages, facts=self.facts, channels=self.channels
        )
        self.connection.execute(f"create or replace temp table judged as {query}")

    def write(self, query: str, path: Path) -> None:
        """Write a query's rows to a file, or to the files of a folder of that name."""
        self.connection.execute(f"copy ({query}) to '{path}' ({self.options})")

    def write_both(self, admitted: str, output: Path) -> None:
        """Write admitted rows and, from the table `judged`, the ledger; then drop the table."""
        folder = ledger_folder(output)
        folder.mkdir(parents=True)
        self.write(_LEDGER, folder / "data.parquet")
        self.write(admitted, output / "data.parquet")
        self.connection.execute("drop table judged")


def _copy_by_mask(writer: _Writer, source: Path, output: Path) -> None:
    query = f"select messages.* from {_read(source)} as messages positional join mask"
    writer.write(f"{query} where admitted", output / "data.parquet")


def _copy_by_join(writer: _Writer, source: Path, output: Path) -> None:
    query = f"select * from {_read(source)} semi join ids using (message_id)"
    writer.write(query, output / "data.parquet")


def _read_by_join(writer: _Writer, source: Path, output: Path) -> None:
    writer.judge("message_id, file_row_number as row", source)
    rows = "(select message_id from judged where reason_bits = 0)"
    query = f"select * from {_read(source)} semi join {rows} using (message_id)"
    writer.write_both(query, output)


def _hold(writer: _Writer, source: Path, output: Path) -> None:
    writer.judge("messages.* exclude (subject) rename (file_row_number as row)", source)
    query = "select * exclude (row, reason_bits) from judged where reason_bits = 0"
    writer.write_both(query, output)


def _read(source: Path, options: str = "") -> str:
    files = ", ".join(f"'{path}'" for path in parquet_files(source))
    return f"read_parquet([{files}]{options})"
