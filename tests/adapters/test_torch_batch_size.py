"""PyTorch: batches of one size, gathered over the input's batches, while gates change."""

from __future__ import annotations

import pickle
import tempfile
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import DataLoader, IterableDataset
from torchdata.stateful_dataloader import StatefulDataLoader

import consentgate as cg
from consentgate.adapters import torch as gated
from tests.adapters.contract import ledger_rows
from tests.adapters.torch_cases import Batches, BatchesByIndex, ids
from tests.withdrawals import (
    SUBJECTS,
    Newest,
    assert_each_row_once,
    gate_without,
    ledger_of,
    messages_of_all,
    sender_of,
)

pytestmark = [
    pytest.mark.filterwarnings("ignore:This DataLoader will create:UserWarning"),
    # torchdata 0.11 looks at every name of PyTorch, deprecated ones too
    pytest.mark.filterwarnings("ignore:'set_vital' is deprecated:UserWarning"),
]

ROWS = 800
GATE = gate_without(3)
ADMITTED = [number for number in range(ROWS) if sender_of(number) != 3]


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """Three files, each of several row groups."""
    (tmp_path / "data").mkdir()
    for number, start in enumerate(range(0, ROWS, 300)):
        rows = messages_of_all(min(300, ROWS - start), first=start)
        pq.write_table(rows, tmp_path / "data" / f"{number}.parquet", row_group_size=70)
    return tmp_path / "data"


def loader(data: Any, workers: int, **options: Any) -> Any:
    return DataLoader(data, batch_size=None, num_workers=workers, **options)


class Resumable(IterableDataset[pa.RecordBatch]):
    """An iterable data set of its owner's that knows where it is, by a state that it changes."""

    def __init__(self) -> None:
        self.state = {"done": 0}

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        batches = messages_of_all(ROWS).to_batches(max_chunksize=90)
        while self.state["done"] < len(batches):
            self.state["done"] += 1
            yield batches[self.state["done"] - 1]
        self.state["done"] = 0

    def state_dict(self) -> dict[str, int]:
        return self.state

    def load_state_dict(self, state: dict[str, int]) -> None:
        self.state = dict(state)


def inputs(kind: str, files: Path) -> Any:
    """The same messages as each kind of data that the adapter takes."""
    table = messages_of_all(ROWS)
    if kind == "files":
        return files
    if kind == "table":
        return table
    if kind == "list":
        return table.to_batches(max_chunksize=64)
    return Resumable() if kind == "resumable" else Batches(table, 12)


KINDS = ["files", "table", "list", "torch", "resumable"]


# --- sizes --------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [1, 7, 64, 100, 699, 700, 701])
def test_batches_have_the_size_that_is_asked_for(
    kind: str, size: int, files: Path, tmp_path: Path
) -> None:
    ledger = tmp_path / "ledger"
    dataset = gated.filter(inputs(kind, files), GATE, batch_size=size, batch_rows=50, ledger=ledger)
    batches = list(loader(dataset, 0))
    assert [len(batch) for batch in batches[:-1]] == [size] * (len(batches) - 1)
    assert 0 < len(batches[-1]) <= size
    assert [number for batch in batches for number in ids(batch)] == ADMITTED
    wanted = GATE.filter(messages_of_all(ROWS))[1]
    assert ledger_rows(ledger).equals(wanted.replace_schema_metadata(GATE.identity.to_metadata()))
    assert (dataset.num_admitted, dataset.num_excluded) == (len(ADMITTED), ROWS - len(ADMITTED))


def test_batches_are_rows_of_the_input_as_they_are(files: Path) -> None:
    gated_rows = pa.Table.from_batches(gated.filter(files, GATE, batch_size=33))
    wanted = GATE.filter(pq.read_table(files))[0]
    assert gated_rows.equals(wanted, check_metadata=True)


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_the_last_batch_of_each_worker_may_be_shorter(workers: int, files: Path) -> None:
    dataset = gated.filter(files, GATE, batch_size=32, batch_rows=50)
    batches = list(loader(dataset, workers))
    assert sorted(number for batch in batches for number in ids(batch)) == ADMITTED
    assert sum(len(batch) != 32 for batch in batches) <= workers
    assert max(map(len, batches)) == 32


@pytest.mark.parametrize("ranks", [2, 3])
def test_ranks_share_the_rows_out(ranks: int, files: Path) -> None:
    seen = list[int]()
    for rank in range(ranks):
        dataset = gated.filter(files, GATE, batch_size=16, replica=(rank, ranks))
        batches = list(loader(dataset, 0))
        assert {len(batch) for batch in batches[:-1]} == {16}
        seen += [number for batch in batches for number in ids(batch)]
    assert sorted(seen) == ADMITTED


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("kind", ["files", "list"])
def test_a_last_batch_that_is_dropped_is_counted_and_recorded(
    kind: str, workers: int, files: Path, tmp_path: Path
) -> None:
    dataset = gated.filter(
        inputs(kind, files), GATE, batch_size=32, drop_last=True, ledger=tmp_path / "ledger"
    )
    batches = list(loader(dataset, workers))
    assert {len(batch) for batch in batches} == {32}
    assert len(batches) >= len(ADMITTED) // 32 - max(workers - 1, 0)
    assert len(ledger_of(tmp_path / "ledger")) == dataset.num_excluded == ROWS - len(ADMITTED)
    assert dataset.num_admitted == len(ADMITTED)


def test_a_last_batch_that_is_full_is_given_all_the_same() -> None:
    dataset = gated.filter(messages_of_all(16), GATE, batch_size=7, drop_last=True)
    assert [ids(batch) for batch in dataset] == [[0, 1, 3, 4, 5, 6, 7], [8, 9, *range(11, 16)]]


@pytest.mark.parametrize("workers", [0, 2])
def test_batches_without_columns_have_their_size(workers: int, files: Path) -> None:
    batches = list(loader(gated.filter(files, GATE, batch_size=50, columns=[]), workers))
    assert sum(len(batch) for batch in batches) == len(ADMITTED)
    assert sum(len(batch) != 50 for batch in batches) <= max(workers, 1)


def test_without_an_admitted_row_there_is_no_batch(files: Path, tmp_path: Path) -> None:
    nobody = gate_without(*SUBJECTS)
    dataset = gated.filter(files, nobody, batch_size=8, ledger=tmp_path / "ledger")
    assert list(dataset) == []
    assert len(ledger_of(tmp_path / "ledger")) == dataset.num_excluded == ROWS
    assert list(gated.filter(messages_of_all(8).slice(0, 0), GATE, batch_size=8)) == []


def test_batches_of_different_schemas_do_not_fill_one_batch() -> None:
    first = messages_of_all(8)
    other = first.set_column(1, "channel_id", first["channel_id"].cast(pa.int8()))
    with pytest.raises(cg.SchemaMismatchError, match="'channel_id' is int8"):
        list(gated.filter([first, other], GATE, batch_size=20))


def test_a_batch_says_which_gate_admitted_it(tmp_path: Path) -> None:
    GATE.save(tmp_path / "gate")
    batches = list(gated.filter(messages_of_all(80), cg.Gate.open(tmp_path / "gate"), batch_size=9))
    assert {b.schema.metadata[b"consentgate.gate_digest"].decode() for b in batches} == {
        GATE.digest
    }


# --- going on after a pause ---------------------------------------------------------------------


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("kind", KINDS)
def test_a_loader_goes_on_after_the_batch_that_was_seen_last(
    kind: str, workers: int, files: Path
) -> None:
    def start(size: int = 48) -> Any:
        dataset = gated.filter(inputs(kind, files), GATE, batch_size=size, batch_rows=50)
        return StatefulDataLoader(dataset, batch_size=None, num_workers=workers)

    whole = [ids(batch) for batch in start()]
    everything = sorted(number for batch in whole for number in batch)
    for pause in (0, 1, 5, len(whole) - 1):
        started = start()
        iterator = iter(started)
        before = [ids(next(iterator)) for _ in range(pause)]
        state = pickle.loads(pickle.dumps(started.state_dict()))
        del iterator
        resumed = start()
        resumed.load_state_dict(state)
        assert before + [ids(batch) for batch in resumed] == whole
        assert [ids(batch) for batch in resumed] == whole, "the next epoch is whole again"
        smaller = start(5)
        smaller.load_state_dict(state)
        seen = [number for batch in (*before, *map(ids, smaller)) for number in batch]
        assert sorted(seen) == everything


@pytest.mark.parametrize("kind", ["files", "list", "resumable"])
def test_workers_that_are_spawned_go_on_after_the_batch_that_was_seen_last(
    kind: str, files: Path, tmp_path: Path
) -> None:
    GATE.save(tmp_path / "gate")

    def start() -> Any:
        data, gate = inputs(kind, files), cg.Gate.open(tmp_path / "gate")
        dataset = gated.filter(data, gate, batch_size=48, batch_rows=50)
        return StatefulDataLoader(
            dataset, batch_size=None, num_workers=1, multiprocessing_context="spawn"
        )

    started = start()
    iterator = iter(started)
    seen = [*ids(next(iterator)), *ids(next(iterator))]
    resumed = start()
    resumed.load_state_dict(started.state_dict())
    del iterator
    assert seen + [number for batch in resumed for number in ids(batch)] == ADMITTED


@pytest.mark.parametrize("kind", ["files", "resumable"])
def test_a_pause_after_a_pause_loses_no_row(kind: str, files: Path) -> None:
    seen, state = list[int](), None
    while True:
        dataset = gated.filter(inputs(kind, files), GATE, batch_size=48, batch_rows=50)
        if state is not None:
            dataset.load_state_dict(state)
        batch = next(iter(dataset), None)
        if batch is None:
            break
        seen += ids(batch)
        state = pickle.loads(pickle.dumps(dataset.state_dict()))
        if len(seen) == len(ADMITTED):
            break
    assert seen == ADMITTED


def test_a_state_of_batches_of_no_size_is_taken(files: Path) -> None:
    plain = gated.filter(files, GATE, batch_rows=50)
    iterator = iter(plain)
    seen = [*ids(next(iterator)), *ids(next(iterator))]
    sized = gated.filter(files, GATE, batch_rows=50, batch_size=31)
    sized.load_state_dict(plain.state_dict())
    batches = iter(sized)
    seen += ids(next(batches))
    again = gated.filter(files, GATE, batch_rows=50)
    again.load_state_dict(sized.state_dict())
    assert seen + [number for batch in again for number in ids(batch)] == ADMITTED


# --- gates that change meanwhile ----------------------------------------------------------------

PLAN = {0: (3,), 2: (3, 4), 5: (3, 4, 5), 9: (1,)}
"""Who has withdrawn by the gate that is published after which batch."""


@pytest.mark.parametrize("kind", ["files", "table", "list", "torch"])
@pytest.mark.parametrize("size", [1, 10, 33])
def test_no_batch_after_a_publication_holds_what_it_excludes(
    kind: str, size: int, files: Path, tmp_path: Path
) -> None:
    store, ledger = cg.GateStore(tmp_path / "gates"), tmp_path / "ledger"
    store.publish(gate_without())
    live = store.live(check_every=timedelta(0))
    dataset = gated.filter(inputs(kind, files), live, batch_size=size, batch_rows=16, ledger=ledger)
    seen, withdrawn, sizes = list[int](), tuple[int, ...](), list[int]()
    for number, batch in enumerate(dataset):
        assert not {sender_of(message) for message in ids(batch)} & {*withdrawn}
        seen += ids(batch)
        sizes.append(len(batch))
        assert dataset.num_admitted == len(seen)
        if number in PLAN:
            withdrawn = PLAN[number]
            store.publish(gate_without(*withdrawn, hours=number + 1))
    assert sizes[:-1] == [size] * (len(sizes) - 1)
    assert_each_row_once(seen, ledger, ROWS)
    assert dataset.counts == Counter(consent_withdrawn=len(ledger_of(ledger)))


def test_a_row_that_waits_for_its_batch_is_not_given_after_its_withdrawal(tmp_path: Path) -> None:
    live: Any = Newest(gate_without())

    def batches() -> Iterator[pa.Table]:
        yield messages_of_all(8)  # of which 5 fill a batch, and 3 wait
        live.gate = gate_without(7)
        yield messages_of_all(8, first=8)

    dataset = gated.filter(batches(), live, batch_size=5, ledger=tmp_path)
    given_out = [ids(batch) for batch in dataset]
    assert given_out == [[0, 1, 2, 3, 4], [5, 7, 8, 9, 10], [11, 12, 13, 15]]
    assert sorted(ledger_of(tmp_path)) == [6, 14]


def test_a_gate_that_changes_while_a_batch_is_made_makes_it_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    live: Any = Newest(gate_without())
    dataset = gated.filter([messages_of_all(8)] * 1, live, batch_size=8, ledger=tmp_path)
    taken = dataset._maker.taken

    def publish_late(*arguments: Any) -> Any:
        made = taken(*arguments)
        live.gate = gate_later
        return made

    gate_later = gate_without(2)
    monkeypatch.setattr(dataset._maker, "taken", publish_late)
    assert [ids(batch) for batch in dataset] == [[0, *range(2, 8)]]
    assert sorted(ledger_of(tmp_path)) == [1]


def test_what_a_newer_gate_admits_at_the_end_is_given_in_batches_of_the_size() -> None:
    live: Any = Newest(gate_without(1, 2, 3, 4, 5))

    def batches() -> Iterator[pa.Table]:
        yield messages_of_all(8)
        live.gate = gate_without()

    given_out = [ids(batch) for batch in gated.filter(batches(), live, batch_size=4)]
    assert given_out == [[0, 1, 2, 3], [4, 5, 6, 7]]


def test_an_iteration_that_is_broken_off_records_what_was_given(tmp_path: Path) -> None:
    data, live = [messages_of_all(8, first=n) for n in range(0, 80, 8)], Newest(gate_without(2))
    dataset = gated.filter(data, live, batch_size=10, ledger=tmp_path)  # type: ignore[arg-type]
    batches = dataset._batches_from(dataset._start)
    seen = ids(next(batches))
    live.gate = gate_without(2, 3)
    seen += ids(next(batches))
    state = dataset.state_dict()
    batches.close()  # type: ignore[attr-defined]
    assert_each_row_once(seen, tmp_path, max(seen) + 1)
    resumed = gated.filter(data, live, batch_size=10, ledger=tmp_path)  # type: ignore[arg-type]
    resumed.load_state_dict(state)
    for batch in resumed:
        seen += ids(batch)
    assert_each_row_once(seen, tmp_path, 80)


GATES = [gate_without(), gate_without(1), gate_without(2, 3), gate_without(*SUBJECTS)]


@given(
    sizes=st.lists(st.integers(0, 20), min_size=1, max_size=8),
    changes=st.lists(st.integers(0, len(GATES) - 1), max_size=20),
    size=st.integers(1, 25),
    drop_last=st.booleans(),
)
@settings(max_examples=60, deadline=None)
def test_every_row_has_the_fate_that_the_gate_gives_it_that_is_current_then(
    sizes: list[int], changes: list[int], size: int, drop_last: bool
) -> None:
    live: Any = Newest(GATES[0])
    starts = [sum(sizes[:number]) for number in range(len(sizes))]
    tables = [messages_of_all(n, first=s) for n, s in zip(sizes, starts, strict=True) if n]
    everything, steps = messages_of_all(sum(sizes)), iter(changes)

    def batches() -> Iterator[pa.Table]:
        for table in tables:
            live.gate = GATES[next(steps, 0)]
            yield table

    with tempfile.TemporaryDirectory() as folder:
        dataset = gated.filter(batches(), live, batch_size=size, drop_last=drop_last, ledger=folder)
        seen, lengths = list[int](), list[int]()
        for batch in dataset:
            assert live.gate.decide(everything.take(ids(batch))).num_excluded == 0
            seen += ids(batch)
            lengths.append(len(batch))
            live.gate = GATES[next(steps, 0)]
        assert lengths[:-1] == [size] * (len(lengths) - 1)
        assert seen == sorted(set(seen))
        assert dataset.num_admitted + dataset.num_excluded == sum(sizes)
        if drop_last:
            assert set(lengths) <= {size}
            assert not set(seen) & set(ledger_of(Path(folder)))
            assert len(ledger_of(Path(folder))) == dataset.num_excluded
        else:
            assert_each_row_once(seen, Path(folder), sum(sizes))


# --- loaders that would collate batches ---------------------------------------------------------


def first_of(batches: list[pa.RecordBatch]) -> pa.RecordBatch:
    """What somebody might collate with."""
    return batches[0]


@pytest.mark.parametrize("loader_class", [DataLoader, StatefulDataLoader])
@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize(
    "options",
    [{}, {"batch_size": 8}, {"collate_fn": first_of}],
    ids=["default", "batch_size", "collate_fn"],
)
def test_a_loader_that_collates_batches_is_refused(
    loader_class: Any, workers: int, options: dict[str, Any], files: Path
) -> None:
    dataset = gated.filter(files, GATE)
    with pytest.raises(cg.ConfigurationError, match=r"(?s)`batch_size=None`.*to `filter`"):
        list(loader_class(dataset, num_workers=workers, **options))
    by_index = gated.filter_by_index(BatchesByIndex(messages_of_all(16), 4), GATE)
    with pytest.raises(cg.ConfigurationError, match="give it `batch_size=None`"):
        list(loader_class(by_index, num_workers=workers, **options))


class Rows(IterableDataset[int]):
    """A data set of rows, made of one of batches; its rows may be collated."""

    def __init__(self, batches: Any) -> None:
        self.batches = batches

    def __iter__(self) -> Iterator[int]:
        for batch in self.batches:
            yield from ids(batch)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_data_set_that_gives_single_rows_may_be_collated(workers: int, files: Path) -> None:
    rows = Rows(gated.filter(files, GATE, batch_size=32))
    batches = [batch.tolist() for batch in DataLoader(rows, batch_size=10, num_workers=workers)]
    assert sorted(number for batch in batches for number in batch) == ADMITTED


# --- counts -------------------------------------------------------------------------------------


@pytest.mark.parametrize("workers", [0, 2])
def test_counts_can_be_reset_before_an_epoch(workers: int, files: Path) -> None:
    dataset = gated.filter(files, GATE, batch_size=32)
    epochs = loader(dataset, workers, persistent_workers=workers > 0)
    for _ in range(3):
        dataset.reset_counts()
        assert (dataset.num_admitted, dataset.num_excluded) == (0, 0)
        assert dataset.counts == {}
        list(epochs)
        assert dataset.num_admitted == len(ADMITTED)
        assert dataset.counts == Counter(consent_withdrawn=ROWS - len(ADMITTED))
