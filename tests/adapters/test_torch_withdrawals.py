"""PyTorch: withdrawals that are published while batches are read ahead, and what is counted."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from torch.utils.data import DataLoader

import consentgate as cg
from consentgate.adapters import torch as gated
from consentgate.adapters.counts import Counts
from tests.adapters.torch_cases import Batches, BatchesByIndex, ids
from tests.withdrawals import (
    assert_each_row_once,
    gate_without,
    ledger_of,
    messages_of_all,
    sender_of,
)

pytestmark = pytest.mark.filterwarnings("ignore:This DataLoader will create:UserWarning")

ROWS = 1_600
STAMP = b"consentgate.gate_digest"


@pytest.fixture
def store(tmp_path: Path) -> cg.GateStore:
    """A store whose current gate admits everybody."""
    store = cg.GateStore(tmp_path / "gates")
    store.publish(gate_without())
    return store


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """Two files, each of one row group."""
    (tmp_path / "data").mkdir()
    for number in range(2):
        part = messages_of_all(ROWS // 2, first=number * ROWS // 2)
        pq.write_table(part, tmp_path / "data" / f"{number}.parquet")
    return tmp_path / "data"


def live(store: cg.GateStore) -> cg.LiveGate:
    return store.live(check_every=timedelta(0))


def given(kind: str, files: Path) -> Any:
    """The same messages as each kind of data that the adapter takes."""
    table = messages_of_all(ROWS)
    batches = table.to_batches(max_chunksize=64)
    kinds = {
        "files": files,
        "table": table,
        "list": batches,
        "chunked tables": [pa.Table.from_batches(batches)],
        "reader": pa.RecordBatchReader.from_batches(table.schema, batches),
        "torch": Batches(table, 50),
    }
    return kinds[kind]


KINDS = ["files", "table", "list", "reader", "torch"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("batch_rows", [1, 64, 512])
def test_no_batch_after_a_publication_holds_what_it_excludes(
    kind: str, batch_rows: int, store: cg.GateStore, files: Path, tmp_path: Path
) -> None:
    ledger = tmp_path / "ledger"
    dataset = gated.filter(given(kind, files), live(store), batch_rows=batch_rows, ledger=ledger)
    seen: list[int] = []
    for number, batch in enumerate(dataset):
        published = [publication for at, publication in PLAN.items() if at < number]
        assert not {sender_of(message) for message in ids(batch)} & {*sum(published, ())}
        seen += ids(batch)
        if number in PLAN:
            store.publish(gate_without(*PLAN[number], hours=number + 1))
            assert_counted(dataset, seen)
    assert_each_row_once(seen, ledger, ROWS)
    assert_counted(dataset, seen)
    assert dataset.counts == Counter(consent_withdrawn=len(ledger_of(ledger)))


PLAN = {0: (3,), 2: (3, 4), 5: (3, 4, 5)}
"""Who has withdrawn by the gate that is published after which batch."""


def assert_counted(dataset: Any, seen: list[int]) -> None:
    """Rows up to the last one given are counted, and some excluded ones after it may be."""
    assert dataset.num_admitted == len(seen)
    assert dataset.num_admitted + dataset.num_excluded > max(seen)


def test_what_a_newer_gate_admits_again_is_given(tmp_path: Path, files: Path) -> None:
    store = cg.GateStore(tmp_path / "gates")
    store.publish(gate_without(3))
    batches = iter(gated.filter(files, live(store), batch_rows=8))
    assert sender_of(2) == 3
    assert ids(next(batches)) == [0, 1, *range(3, 8)]
    store.publish(gate_without(hours=1))
    assert [ids(batch) for batch in batches] == [[*range(n, n + 8)] for n in range(8, ROWS, 8)]


def test_an_iteration_that_is_broken_off_records_what_was_given(
    store: cg.GateStore, files: Path, tmp_path: Path
) -> None:
    ledger = tmp_path / "ledger"
    dataset = gated.filter(files, live(store), batch_rows=64, ledger=ledger)
    batches = dataset._batches_from(dataset._start)
    seen = ids(next(batches))
    store.publish(gate_without(3, hours=1))
    seen += ids(next(batches))
    state = dataset.state_dict()
    batches.close()  # type: ignore[attr-defined]
    assert_each_row_once(seen, ledger, 128)
    assert (dataset.num_admitted, dataset.num_excluded) == (len(seen), 128 - len(seen))
    resumed = gated.filter(files, live(store), batch_rows=64, ledger=ledger)
    resumed.load_state_dict(state)
    for batch in resumed:
        seen += ids(batch)
    assert_each_row_once(seen, ledger, ROWS)


@pytest.mark.parametrize(("workers", "method"), [(1, "fork"), (2, "fork"), (1, "spawn")])
def test_workers_send_no_more_than_they_had_sent(
    workers: int, method: str, store: cg.GateStore, files: Path, tmp_path: Path
) -> None:
    ahead = 2
    dataset = gated.filter(files, live(store), batch_rows=16, ledger=tmp_path / "ledger")
    loader = DataLoader(
        dataset,
        batch_size=None,
        num_workers=workers,
        prefetch_factor=ahead,
        multiprocessing_context=method,
    )
    seen, late = list[int](), 0
    for number, batch in enumerate(loader):
        seen += ids(batch)
        late += number > 2 and any(sender_of(message) == 3 for message in ids(batch))
        if number == 2:
            store.publish(gate_without(3, hours=1))
    assert late <= workers * (ahead + 1)
    assert_each_row_once(seen, tmp_path / "ledger", ROWS)
    assert_counted(dataset, seen)


def test_a_gate_that_stays_judges_a_block_at_once(
    files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = gate_without(3)
    judged, decide = list[int](), cg.Gate.decide

    def noting(gate: cg.Gate, data: Any, **options: Any) -> cg.Decision:
        judged.append(len(data))
        return decide(gate, data, **options)

    monkeypatch.setattr(cg.Gate, "decide", noting)
    list(gated.filter(files, gate, batch_rows=10))
    assert [rows for rows in judged if rows] == [ROWS // 2] * 2


# --- batches without columns --------------------------------------------------------------------


@pytest.mark.parametrize("kind", [*KINDS, "chunked tables"])
@pytest.mark.parametrize("workers", [0, 2])
def test_without_columns_batches_have_their_rows(kind: str, workers: int, files: Path) -> None:
    if kind == "reader" and workers:
        pytest.skip("a reader can be read only once, and not by several workers")
    dataset = gated.filter(given(kind, files), gate_without(3), columns=[])
    batches = list(DataLoader(dataset, batch_size=None, num_workers=workers))
    shares = 2 if kind == "torch" and workers else 1
    assert sum(len(batch) for batch in batches) == ROWS * 7 // 8 * shares
    assert {(batch.num_columns, type(batch)) for batch in batches} == {(0, pa.RecordBatch)}


@pytest.mark.parametrize("workers", [0, 2])
def test_without_columns_a_batch_asked_by_index_has_its_rows(workers: int, tmp_path: Path) -> None:
    gate = gate_without(3)
    gate.save(tmp_path / "gate")
    dataset = gated.filter_by_index(BatchesByIndex(messages_of_all(80), 10), gate, columns=())
    batches = list(DataLoader(dataset, batch_size=None, num_workers=workers))
    assert [len(batch) for batch in batches] == [7] * 10
    assert all(batch.schema.metadata[STAMP].decode() == gate.digest for batch in batches)


def test_a_column_is_named_once(files: Path) -> None:
    with pytest.raises(cg.ConfigurationError, match="names 'text' more than once"):
        gated.filter(files, gate_without(), columns=["text", "message_id", "text"])


def test_columns_may_come_from_an_iterator(files: Path) -> None:
    names: Any = iter(["text"])
    dataset = gated.filter(files, gate_without(), columns=names)
    assert {tuple(batch.schema.names) for _ in range(2) for batch in dataset} == {("text",)}


def test_batches_without_rows_are_no_batches(files: Path) -> None:
    some = messages_of_all(8)
    empty = some.slice(0, 0)
    for tables in ([empty], [empty, some, empty]):
        dataset = gated.filter(tables, gate_without())
        assert [len(batch) for batch in dataset] == [8] * (some in tables)
    assert files.exists()


# --- counts -------------------------------------------------------------------------------------


def test_a_reason_may_be_called_as_it_likes() -> None:
    counts = Counts()
    words = {3: "no_consent_record", 16: "admitted", 17: "excluded"}
    for bits in ([0, 0, 1 << 16], [1 << 17, 1 << 3, 0]):
        counts.add(cg.Decision(pa.array(bits, pa.uint32()), words))
    assert counts.totals() == (3, Counter(admitted=1, excluded=1, no_consent_record=1))


# --- arguments ----------------------------------------------------------------------------------

GATE = gate_without()
ODD: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"batch_rows": "x"}, TypeError, "`batch_rows` is of type 'str'"),
    ({"batch_rows": None}, TypeError, "`batch_rows` is of type 'NoneType'"),
    ({"batch_rows": True}, TypeError, "`batch_rows` is of type 'bool'"),
    ({"batch_rows": 1.5}, TypeError, "`batch_rows` is of type 'float'"),
    ({"batch_rows": -1}, cg.ConfigurationError, "`batch_rows` is -1"),
    ({"batch_size": "x"}, TypeError, "`batch_size` is of type 'str'"),
    ({"batch_size": True}, TypeError, "`batch_size` is of type 'bool'"),
    ({"batch_size": 1.5}, TypeError, "`batch_size` is of type 'float'"),
    ({"batch_size": 0}, cg.ConfigurationError, "`batch_size` is 0"),
    ({"batch_size": 8, "drop_last": 1}, TypeError, "`drop_last` is of type 'int'"),
    ({"drop_last": None}, TypeError, "`drop_last` is of type 'NoneType'"),
    ({"drop_last": True}, cg.ConfigurationError, "give `batch_size`, too"),
    ({"threads": "2"}, TypeError, "`threads` is of type 'str'"),
    ({"threads": 0}, cg.ConfigurationError, "`threads` is 0"),
    ({"judged_at": "2026-01-01"}, TypeError, "`judged_at` is of type 'str'"),
    ({"judged_at": ""}, TypeError, "`judged_at` is of type 'str'"),
    ({"judged_at": 0}, TypeError, "`judged_at` is of type 'int'"),
    ({"ledger": 3}, TypeError, "`ledger` is of type 'int'"),
    ({"ledger": b"x"}, TypeError, "`ledger` is of type 'bytes'"),
    ({"columns": 3}, TypeError, "`columns` is of type 'int'"),
    ({"columns": [3]}, TypeError, "`columns` is of type 'int'"),
    ({"columns": [None]}, TypeError, "`columns` is of type 'NoneType'"),
    ({"columns": b"text"}, TypeError, "`columns` is of type 'int'"),
    ({"replica": "x"}, TypeError, "`replica` is of type 'str'"),
    ({"replica": 1}, TypeError, "`replica` is of type 'int'"),
    ({"replica": (0, 1, 2)}, TypeError, "`replica` has 3 items"),
    ({"replica": ("0", "1")}, TypeError, "`replica` is of type 'str'"),
    ({"replica": (0.0, 1)}, TypeError, "`replica` is of type 'float'"),
    ({"replica": (3, 2)}, cg.ConfigurationError, "ranks count from 0"),
]


@pytest.mark.parametrize(("options", "error", "message"), ODD)
def test_an_argument_that_does_not_fit_is_refused_at_once(
    options: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        gated.filter([messages_of_all(8)], GATE, **options)


def no_gates(tmp_path: Path) -> Iterator[Any]:
    yield from (None, 3, "gate", cg.Policy(), messages_of_all(8), cg.Gate, cg.GateStore(tmp_path))


def test_what_is_no_gate_is_refused_at_once(tmp_path: Path) -> None:
    for no_gate in no_gates(tmp_path):
        with pytest.raises(TypeError, match="`gate` is"):
            gated.filter(messages_of_all(8), no_gate)
        with pytest.raises(TypeError, match="`gate` is"):
            gated.filter_by_index(BatchesByIndex(messages_of_all(8), 1), no_gate)
    turned: Any = messages_of_all(8)
    with pytest.raises(TypeError, match="first the data, then the gate"):
        gated.filter(GATE, turned)


RANKS = [
    *[("x", "2"), ("0", "x"), ("", ""), ("0", "-1"), ("1.0", "2"), ("2", "2"), ("0", "0")],
    *[(" 0", "1"), ("1_0", "20"), ("9" * 5000, "2"), ("\u0663", "9")],
]


@pytest.mark.parametrize(("rank", "ranks"), RANKS)
def test_an_environment_without_sense_is_an_error(
    rank: str, ranks: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RANK", rank)
    monkeypatch.setenv("WORLD_SIZE", ranks)
    with pytest.raises(cg.ConfigurationError, match=r"RANK and WORLD_SIZE|ranks count from 0"):
        list(gated.filter([messages_of_all(8)], GATE))
    assert len(list(gated.filter([messages_of_all(8)], GATE, replica=(0, 1)))) == 1


POSITIONS = [None, (), ("x", 1), (-1, 0), (0, 1.0), (True, 0)]
STATES: list[Any] = [
    None,
    3,
    {},
    {"of": 1},
    *({"of": {}, "inner": None, "position": p} for p in POSITIONS),
]


@pytest.mark.parametrize("state", STATES)
def test_a_state_without_sense_is_refused(state: Any) -> None:
    dataset = gated.filter([messages_of_all(8)], GATE)
    with pytest.raises(cg.ConfigurationError, match="not made by `state_dict`"):
        dataset.load_state_dict(state)


@pytest.mark.parametrize("what", ["file", "fifo", "device"])
def test_a_ledger_that_is_no_folder_is_an_error(what: str, tmp_path: Path) -> None:
    place = tmp_path / "ledger"
    if what == "file":
        place.touch()
    elif what == "fifo":
        os.mkfifo(place)
    else:
        place = Path("/dev/null")
    with pytest.raises(cg.OutputError, match="Ledger directory"):
        list(gated.filter([messages_of_all(8)], GATE, ledger=place))


def test_no_repr_shows_what_is_in_messages(tmp_path: Path) -> None:
    secret = "a text of somebody"
    table = messages_of_all(8)
    table = table.set_column(4, "text", pa.array([secret] * 8))
    pq.write_table(table, tmp_path / "a.parquet")
    for data in (tmp_path, [table], table, Batches(table, 2)):
        dataset = gated.filter(data, GATE, ledger=tmp_path / "ledger")
        blocks = list(dataset._batches.read(dataset._shard(), dataset._start))
        shown = [dataset, dataset._batches, dataset._maker, dataset._maker.sieve(), *blocks]
        shown += [dataset._maker.sieve().hold(table), dataset._maker.counts]
        assert not any(secret in f"{thing!r} {thing}" for thing in shown)
