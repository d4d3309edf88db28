"""Polars: whatever is added to a query sees admitted rows only, and nothing of the others."""

from __future__ import annotations

import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from itertools import chain, islice
from pathlib import Path
from time import sleep
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from polars import selectors

import consentgate as cg
from consentgate.adapters import polars as gated
from consentgate.judging import JudgingOptions
from tests.adapters.contract import ledger_rows, messages
from tests.build import make_gate, message_table
from tests.processes import HANGING_S
from tests.run_data import mixed_gate, mixed_messages
from tests.withdrawals import (
    Newest,
    assert_each_row_once,
    gate_without,
    ledger_of,
    messages_of_all,
    sender_of,
)

ROWS = 20_000


@pytest.fixture(scope="module")
def gate() -> cg.Gate:
    return mixed_gate()


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of messages in many row groups."""
    path = tmp_path_factory.mktemp("polars") / "messages.parquet"
    pq.write_table(messages(ROWS), path, row_group_size=700)
    return path


@pytest.fixture(scope="module")
def admitted(gate: cg.Gate) -> pl.DataFrame:
    """The rows that are admitted."""
    return pl.DataFrame(gate.filter(messages(ROWS))[0])


OTHER = pl.LazyFrame({"n": [1, 2, 3]})
THEN: dict[str, Any] = {
    "head": lambda f: f.head(5),
    "tail": lambda f: f.tail(5),
    "slice": lambda f: f.slice(7, 11),
    "negative slice": lambda f: f.slice(-9, 4),
    "condition": lambda f: f.filter(pl.col("message_id") % 3 == 0),
    "condition, then head": lambda f: f.filter(pl.col("message_id") % 3 == 0).head(4),
    "head, then condition": lambda f: f.head(9).filter(pl.col("message_id") % 3 == 0),
    "one column": lambda f: f.select("text"),
    "no column of the gate's": lambda f: f.select(pl.col("text").str.len_bytes().sum()),
    "count": lambda f: f.select(pl.len()),
    "no column": lambda f: f.select(pl.lit(1)),
    "overwritten": lambda f: f.with_columns(sender_id=pl.lit(1), channel_id=pl.lit(10)),
    "overwritten, then condition": lambda f: f.with_columns(sender_id=pl.lit(1)).filter(
        pl.col("sender_id") == 1
    ),
    "renamed": lambda f: f.rename({"sender_id": "channel_id", "channel_id": "sender_id"}),
    "numbered": lambda f: f.with_row_index(),
    "grouped": lambda f: f.group_by("sender_id").len().sort("sender_id"),
    "joined": lambda f: f.join(f.select("message_id"), on="message_id", maintain_order="left"),
    "twice": lambda f: pl.concat([f, f]),
    "cached": lambda f: f.cache() if isinstance(f, pl.LazyFrame) else f,
    "row numbers alone": lambda f: f.with_row_index().select("index"),
    "row numbers of a head": lambda f: f.head(9).with_row_index().select("index"),
    "row numbers of a slice": lambda f: f.slice(7, 900).with_row_index().select("index"),
    "row numbers of a tail": lambda f: f.tail(7).with_row_index().select("index"),
    "head of row numbers": lambda f: f.with_row_index().select("index").head(5),
    "condition on row numbers": lambda f: (
        f.with_row_index().select("index").filter(pl.col("index") % 3 == 1)
    ),
    "row numbers of a condition": lambda f: (
        f.filter(pl.col("message_id") % 3 == 0).with_row_index().select("index")
    ),
    "sum of row numbers": lambda f: f.with_row_index().select(pl.col("index").sum()),
    "groups of row numbers": lambda f: (
        f.with_row_index().group_by(pl.col("index") % 5).len().sort("index")
    ),
    "a range": lambda f: f.select(pl.int_range(pl.len())),
    "a word for each": lambda f: f.select(pl.repeat("word", pl.len())),
    "a constant for each": lambda f: f.with_columns(n=pl.lit(1)).select("n"),
    "sum of a constant": lambda f: f.with_columns(n=pl.lit(1)).select(pl.col("n").sum()),
    "one group": lambda f: f.group_by(n=pl.lit(1)).agg(pl.len()),
    "count of a head": lambda f: f.head(9).select(pl.len()),
    "count of a slice": lambda f: f.slice(7, 900).select(pl.len()),
    "count of a condition": lambda f: f.filter(pl.col("message_id") % 3 == 0).select(pl.len()),
    "count of no condition": lambda f: f.filter(pl.lit(True)).select(pl.len()),
    "count of nothing": lambda f: f.filter(pl.lit(False)).select(pl.len()),
    "counts": lambda f: f.count(),
    "crossed": lambda f: f.lazy().join(OTHER, how="cross", maintain_order="left").select("n"),
    "crossed from the right": lambda f: OTHER.join(f.lazy(), how="cross").select("n").sort("n"),
    "crossed with itself": lambda f: (
        f.head(300).lazy().join(f.head(300).lazy(), how="cross").select(pl.len())
    ),
    "beside itself": lambda f: pl.concat(
        [f.with_row_index().select("index"), f.with_columns(n=pl.lit(1)).select("n")],
        how="horizontal",
    ),
}


@pytest.mark.parametrize("engine", ["streaming", "in-memory"])
@pytest.mark.parametrize("then", THEN)
def test_what_comes_after_sees_admitted_rows_only(
    then: str,
    engine: Any,
    gate: cg.Gate,
    path: Path,
    admitted: pl.DataFrame,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(gated, "_BATCH_ROWS", 3000)
    query = THEN[then](gated.filter(pl.scan_parquet(path), gate))
    assert query.collect(engine=engine).equals(THEN[then](admitted).lazy().collect())


NAMES = ["*", "^.*$", "^sender.*$", "^(text|sender_id)$", "", " ", "a.b", 'a"b', "len", "SENDER_ID"]


@pytest.mark.parametrize("lazy", [False, True])
@pytest.mark.parametrize("name", NAMES)
def test_names_are_no_patterns(name: str, lazy: bool, gate: cg.Gate) -> None:
    table, rows = messages(30), range(30)
    admitted = gate.filter(table)[0]["message_id"].to_pylist()
    for values in (list(rows), [f"{row}" for row in rows], [[row] for row in rows]):
        frame: Any = pl.DataFrame(table).hstack([pl.Series(name, values)])
        found = gated.filter(frame.lazy() if lazy else frame, gate)
        assert found.lazy().collect().equals(frame[admitted])
        alone = found.select(selectors.by_name(name)).lazy().collect()
        assert alone.equals(frame.select(selectors.by_name(name))[admitted])


@pytest.mark.parametrize("lazy", [False, True])
@pytest.mark.parametrize("name", ["*", "^.*$", "^sender_id$"])
def test_the_gate_s_names_are_no_patterns(name: str, lazy: bool) -> None:
    gate = make_gate(columns=cg.Columns(subjects=(name,)))
    frame: Any = pl.DataFrame(message_table(sender_id=[1, 1]))
    with pytest.raises(cg.ColumnMissingError, match="is missing"):
        gated.filter(frame.lazy() if lazy else frame, gate)
    frame = frame.hstack([pl.Series(name, [1, 2])])
    found = gated.filter(frame.lazy() if lazy else frame, gate).lazy().collect()
    assert found["message_id"].to_list() == [0]


def test_columns_overwritten_before_are_judged_as_they_are_then(gate: cg.Gate, path: Path) -> None:
    query = pl.scan_parquet(path).with_columns(sender_id=pl.lit(4))  # who withdrew
    assert gated.filter(query, gate).filter(pl.col("sender_id") == 4).collect().height == 0


def test_a_query_is_written_and_handed_out_in_batches(
    gate: cg.Gate, path: Path, admitted: pl.DataFrame, tmp_path: Path
) -> None:
    query = gated.filter(pl.scan_parquet(path), gate)
    query.sink_parquet(tmp_path / "out.parquet")
    assert pl.read_parquet(tmp_path / "out.parquet").equals(admitted)
    assert pl.concat([*query.collect_batches()]).equals(admitted)


def test_the_schema_is_known_before_anything_is_read(gate: cg.Gate, path: Path) -> None:
    query = gated.filter(pl.scan_parquet(path), gate)
    assert query.collect_schema() == pl.scan_parquet(path).collect_schema()


def test_many_queries_at_once(gate: cg.Gate, path: Path, admitted: pl.DataFrame) -> None:
    queries = [gated.filter(pl.scan_parquet(path), gate) for _ in range(3)]
    assert all(found.equals(admitted) for found in pl.collect_all(queries))
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: queries[0].collect(), range(16)))
    assert all(each.equals(admitted) for each in found)


def test_each_run_of_a_query_leaves_the_whole_ledger(
    gate: cg.Gate, path: Path, tmp_path: Path
) -> None:
    query = gated.filter(pl.scan_parquet(path), gate, ledger=tmp_path)
    expected = gate.filter(messages(ROWS))[1].to_pylist()
    query.select("text").collect()
    assert ledger_rows(tmp_path).to_pylist() == expected
    query.head(3).collect()
    assert ledger_rows(tmp_path).num_rows == 2 * len(expected)


WITHDRAWN = 3


@pytest.mark.parametrize("given_before", [0, 1, 2, 5, 9])
@pytest.mark.parametrize("wanted", [None, ["message_id", "sender_id"]])
def test_what_was_judged_ahead_is_judged_by_the_newest_gate(
    given_before: int,
    wanted: list[str] | None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(gated, "_BATCH_ROWS", 80)
    live: Any = Newest(gate_without())
    table = messages_of_all(800)
    frame = pl.concat([pl.DataFrame(table[at : at + 80]) for at in range(0, 800, 80)])
    options = JudgingOptions(ledger=tmp_path)
    batches = gated._GatedQuery(frame.lazy(), live, options)(wanted, None, None, None)
    given = [batch["message_id"].to_list() for batch in islice(batches, given_before)]
    sleep(0.1)  # so that as much is judged ahead as ever will be
    live.gate = gate_without(WITHDRAWN, hours=1)
    for batch in batches:
        assert WITHDRAWN not in batch["sender_id"]
        given.append(batch["message_id"].to_list())
    assert_each_row_once(chain.from_iterable(given), tmp_path, 800)
    assert all(WITHDRAWN in map(sender_of, batch) for batch in given[:given_before])


def test_a_gate_that_gets_stale_ends_a_query(tmp_path: Path) -> None:
    class Failing(Newest):
        def current(self) -> cg.Gate:
            if self.is_gone:
                raise cg.StaleSnapshotError("gone")
            return self.gate

        is_gone = False

    live: Any = Failing(gate_without())
    frame = pl.DataFrame(messages_of_all(80)).lazy()
    batches = gated._GatedQuery(frame, live, JudgingOptions(ledger=tmp_path))(*[None] * 4)
    sleep(0.1)
    live.is_gone = True
    with pytest.raises(cg.StaleSnapshotError, match="gone"):
        next(batches)
    assert ledger_of(tmp_path) == {}


@pytest.mark.parametrize("lazy", [False, True])
def test_nothing_of_excluded_rows_is_in_nested_columns(lazy: bool) -> None:
    rows = range(500)
    words = [f"{'admitted' if row % 2 else 'SECRET'} text of row {row}" for row in rows]
    table = message_table(
        message_id=list(rows),
        sender_id=[1 if row % 2 else None for row in rows],
        lists=[[word] for word in words],
        numbers=[[7_777_777_777_777 if not row % 2 else row] for row in rows],
        structs=pa.array([{"a": word, "b": [word]} for word in words]),
        arrays=pa.array([[word] for word in words], pa.list_(pa.string(), 1)),
        binary=[word.encode() for word in words],
        plain=words,
    )
    frame: Any = pl.DataFrame(table).lazy() if lazy else pl.DataFrame(table)
    found = gated.filter(frame, make_gate())
    found = found.collect() if lazy else found
    assert found.height == 250
    assert found.equals(pl.DataFrame(table).filter(pl.col("sender_id") == 1))
    file = BytesIO()
    found.write_ipc(file)
    newest = found.to_arrow(compat_level=pl.CompatLevel.newest())
    held = file.getvalue() + pickle.dumps(found) + pickle.dumps(newest)
    assert b"SECRET" not in held
    assert (7_777_777_777_777).to_bytes(8, "little") not in held


BROKEN_OFF = """
import sys
import polars as pl
from consentgate.adapters import polars as gated
from consentgate.judging import JudgingOptions
from tests.run_data import mixed_gate, mixed_messages

frame = pl.concat([pl.DataFrame(mixed_messages(1000))] * 300).lazy()
query = gated.filter(frame, mixed_gate(), ledger=sys.argv[1])
print(query.filter(pl.col("message_id") >= 0).head(3).collect().height, flush=True)
"""


def test_a_query_that_is_broken_off_ends_with_the_process(tmp_path: Path) -> None:
    for turn in range(6):
        done = subprocess.run(
            [sys.executable, "-c", BROKEN_OFF, tmp_path / str(turn)],
            cwd=Path(__file__).parents[2],
            capture_output=True,
            text=True,
            timeout=HANGING_S,
            check=False,
        )
        assert (done.returncode, done.stdout, done.stderr) == (0, "3\n", "")
        assert [part.suffix for part in (tmp_path / str(turn)).iterdir()] == [".parquet"]


LEFT_BEHIND = """
import os, time
from threading import Event, Thread
import polars as pl
from consentgate.adapters import polars as gated
from consentgate.judging import JudgingOptions
from tests.run_data import mixed_gate, mixed_messages

gated._BATCH_ROWS = 1000
has_begun = Event()

def read(frame):
    has_begun.set()
    time.sleep(0.02)
    return frame

def collect():
    query.collect()
    os.write(1, b"complete")

slices = [pl.DataFrame(mixed_messages(1000)).lazy() for _ in range(200)]
query = gated.filter(pl.concat(slices).map_batches(read, streamable=True), mixed_gate())
Thread(target=collect, daemon=True).start()
has_begun.wait()
time.sleep(0.2)
"""


def test_a_query_that_the_process_leaves_behind_does_not_seem_complete() -> None:
    done = subprocess.run(
        [sys.executable, "-c", LEFT_BEHIND],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=HANGING_S,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "")


def test_an_error_amid_a_query_has_its_class(gate: cg.Gate, tmp_path: Path) -> None:
    def fail(frame: pl.DataFrame) -> pl.DataFrame:
        raise ZeroDivisionError(frame.height)

    source = pl.DataFrame(mixed_messages(10)).lazy().map_batches(fail)
    query = gated.filter(source, gate, ledger=tmp_path)
    with pytest.raises(ZeroDivisionError):
        query.collect()


@pytest.mark.parametrize(
    ("column", "error"),
    [
        (pl.lit(1.5), cg.ColumnTypeError),
        (pl.lit("1"), cg.IdFamilyError),
        (pl.lit(1, pl.Int128), cg.ColumnTypeError),
        (pl.concat_list(pl.lit(1, pl.Int128)), cg.ColumnTypeError),
    ],
)
@pytest.mark.parametrize("lazy", [False, True])
def test_ids_that_do_not_fit_are_refused_at_once(
    column: pl.Expr, error: type[Exception], lazy: bool, gate: cg.Gate
) -> None:
    frame: Any = pl.DataFrame(messages(10)).with_columns(sender_id=column)
    with pytest.raises(error, match="Column 'sender_id'"):
        gated.filter(frame.lazy() if lazy else frame, gate)


@pytest.mark.parametrize("lazy", [False, True])
def test_no_error_shows_the_words_of_a_type(lazy: bool, gate: cg.Gate) -> None:
    words = pl.Enum(["SECRET"])
    kind = pl.Extension("tests.words", words, "SECRET")
    column = pl.Series("sender_id", ["SECRET"] * 10, dtype=words).ext.to(kind)
    frame: Any = pl.DataFrame(messages(10)).with_columns(column)
    with pytest.raises(cg.ColumnTypeError, match="Column 'sender_id' is Extension") as error:
        gated.filter(frame.lazy() if lazy else frame, gate)
    assert "SECRET" not in str(error.value)


def test_other_columns_may_be_of_types_that_arrow_has_not(gate: cg.Gate) -> None:
    frame = pl.DataFrame(messages(10)).with_columns(big=pl.lit(1, pl.Int128), none=pl.lit(None))
    frame = frame.with_columns(pl.Series("thing", [object()] * 10, pl.Object))
    found = gated.filter(frame, gate)
    assert found.schema == frame.schema
    assert found["message_id"].to_list() == gate.filter(messages(10))[0]["message_id"].to_pylist()


@pytest.mark.parametrize("data", [pl.Series([1]), messages(3), 3])
def test_only_frames_are_taken(gate: cg.Gate, data: Any) -> None:
    with pytest.raises(cg.NotArrowError, match="is not a Polars frame"):
        gated.filter(data, gate)
