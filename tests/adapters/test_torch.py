"""PyTorch: who reads which rows, in workers and ranks, after a pause, and when things go wrong."""

from __future__ import annotations

import io
import os
import pickle
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from torch.utils.data import DataLoader, IterableDataset
from torchdata.stateful_dataloader import StatefulDataLoader

import consentgate as cg
from consentgate.adapters import torch as gated
from tests.adapters.contract import ledger_rows, messages
from tests.adapters.torch_cases import Batches, BatchesByIndex
from tests.build import (
    channel_table,
    consent_table,
    make_channels,
    make_consent,
    make_gate,
    message_table,
)
from tests.processes import HANGING_S
from tests.run_data import mixed_gate
from tests.s3 import Store

pytestmark = [
    # more workers than cores is what some tests want
    pytest.mark.filterwarnings("ignore:This DataLoader will create:UserWarning"),
    # torchdata 0.11 looks at every name of PyTorch, deprecated ones too
    pytest.mark.filterwarnings("ignore:'set_vital' is deprecated:UserWarning"),
]

ROWS = 3_000
START_METHODS = pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])


@pytest.fixture
def gate(tmp_path: Path) -> cg.Gate:
    """A saved gate."""
    mixed_gate().save(tmp_path / "gate")
    return cg.Gate.open(tmp_path / "gate")


def write(folder: Path, files: int, group: int) -> Path:
    """So many files with row groups of so many rows, as one folder."""
    folder.mkdir(parents=True)
    size = -(-ROWS // files)
    for number in range(files):
        table = messages(ROWS).slice(number * size, size)
        pq.write_table(table, folder / f"{number}.parquet", row_group_size=group)
    return folder


def ids(batches: Any) -> list[int]:
    """The record ids of batches, in the order in which they come."""
    return [number for batch in batches for number in batch.column("message_id").to_pylist()]


def admitted_ids(gate: cg.Gate, rows: int = ROWS) -> list[int]:
    return list(gate.filter(messages(rows))[0]["message_id"].to_pylist())


def loader(data: Any, workers: int, method: str | None = None, **options: Any) -> Any:
    context = method if workers else None
    return DataLoader(
        data, batch_size=None, num_workers=workers, multiprocessing_context=context, **options
    )


def drain(data: Any) -> None:
    """Take all that a loader gives, and end its workers at once, which take long otherwise."""
    iterator = iter(data)
    try:
        list(iterator)
    finally:
        if hasattr(iterator, "_shutdown_workers"):
            iterator._shutdown_workers()


# --- who reads what ---------------------------------------------------------------------------


@pytest.mark.parametrize("workers", [0, 1, 2, 5])
@pytest.mark.parametrize(("files", "group"), [(1, ROWS), (1, 500), (7, 100)])
def test_workers_share_the_rows_out(
    gate: cg.Gate, files: int, group: int, workers: int, tmp_path: Path
) -> None:
    data = write(tmp_path / "data", files, group)
    dataset = gated.filter(data, gate, batch_rows=64, ledger=tmp_path / "ledger")
    assert sorted(ids(loader(dataset, workers))) == admitted_ids(gate)
    assert ledger_rows(tmp_path / "ledger").equals(
        gate.filter(messages(ROWS))[1].replace_schema_metadata(gate.identity.to_metadata())
    )


@START_METHODS
def test_workers_of_every_start_method_give_and_count_every_row(
    gate: cg.Gate, method: str, tmp_path: Path
) -> None:
    dataset = gated.filter(write(tmp_path / "data", 3, 200), gate, batch_rows=100)
    assert sorted(ids(loader(dataset, 2, method))) == admitted_ids(gate)
    decision = gate.decide(messages(ROWS))
    assert dataset.counts == decision.counts
    assert (dataset.num_admitted, dataset.num_excluded) == (
        decision.num_admitted,
        decision.num_excluded,
    )


@pytest.mark.parametrize("workers", [[0, 0, 0], [2, 2, 2], [0, 1, 3]])
@pytest.mark.parametrize(("files", "group"), [(1, ROWS), (4, 90)])
def test_ranks_share_the_rows_out_whatever_workers_each_has(
    gate: cg.Gate, files: int, group: int, workers: list[int], tmp_path: Path
) -> None:
    data = write(tmp_path / "data", files, group)
    found = []
    for rank, count in enumerate(workers):
        dataset = gated.filter(data, gate, batch_rows=64, replica=(rank, 3))
        found += ids(loader(dataset, count))
    assert sorted(found) == admitted_ids(gate)


def test_an_iterable_is_shared_out_batch_by_batch(gate: cg.Gate) -> None:
    batches = messages(ROWS).to_batches(max_chunksize=70)
    found = []
    for rank in range(2):
        dataset = gated.filter(batches, gate, replica=(rank, 2))
        found += ids(loader(dataset, 3))
    assert sorted(found) == admitted_ids(gate)


@pytest.mark.parametrize("layout", ["string_view", "dictionary"])
def test_arrow_data_in_memory_is_cut_into_batches(gate: cg.Gate, layout: str) -> None:
    dataset = gated.filter(messages(ROWS, layout), gate, batch_rows=100)
    batches = list(loader(dataset, 2))
    assert sorted(ids(batches)) == admitted_ids(gate)
    assert max(len(batch) for batch in batches) <= 100


def test_partition_columns_are_there(gate: cg.Gate, tmp_path: Path) -> None:
    for day in (1, 2):
        (tmp_path / "data" / f"day={day}").mkdir(parents=True)
        pq.write_table(messages(ROWS), tmp_path / "data" / f"day={day}" / "a.parquet")
    batches = list(gated.filter(tmp_path / "data", gate))
    assert {day for batch in batches for day in batch.column("day").to_pylist()} == {1, 2}
    assert sorted(ids(batches)) == sorted(admitted_ids(gate) * 2)


def test_only_the_columns_asked_for_are_given(gate: cg.Gate, tmp_path: Path) -> None:
    data = write(tmp_path / "data", 2, 500)
    batches = list(gated.filter(data, gate, columns=["text", "message_id"]))
    assert {tuple(batch.schema.names) for batch in batches} == {("text", "message_id")}
    assert ids(batches) == admitted_ids(gate)
    with pytest.raises(cg.ColumnMissingError, match="Column 'txt'"):
        gated.filter(data, gate, columns=["txt"])


def test_each_epoch_gives_every_row_and_counts_go_on(gate: cg.Gate, tmp_path: Path) -> None:
    dataset = gated.filter(write(tmp_path / "data", 3, 200), gate)
    epochs = loader(dataset, 2, persistent_workers=True)
    for epoch in (1, 2, 3):
        assert sorted(ids(epochs)) == admitted_ids(gate)
        assert dataset.num_admitted + dataset.num_excluded == epoch * ROWS


def test_a_batch_says_which_gate_admitted_it(gate: cg.Gate) -> None:
    for batch in gated.filter(messages(ROWS), gate):
        assert batch.schema.metadata[b"consentgate.gate_digest"].decode() == gate.digest
        assert batch.schema.metadata[b"owner"] == b"tests"
    assert all(
        b"consentgate.gate_digest" not in batch.schema.metadata
        for batch in gated.filter(messages(ROWS), mixed_gate())
    )


def test_what_crosses_to_the_parent_holds_no_other_text(gate: cg.Gate) -> None:
    table = messages(200)
    _, excluded = gate.filter(table)
    secrets = [f"message {n} of some".encode() for n in excluded["record_id"].to_pylist()]
    for rows in (1, 7, 200):
        sent = b"".join(map(pickle.dumps, gated.filter(table, gate, batch_rows=rows)))
        assert sent
        assert not any(secret in sent for secret in secrets)


def test_a_data_set_that_is_asked_by_index_keeps_its_length(gate: cg.Gate) -> None:
    dataset = gated.filter_by_index(BatchesByIndex(messages(ROWS), 10), gate)
    assert len(dataset) == 10
    assert ids([dataset[3]]) == [n for n in admitted_ids(gate) if 900 <= n < 1200]
    shuffled = loader(dataset, 2, shuffle=True)
    assert sorted(ids(shuffled)) == admitted_ids(gate)
    assert dataset.num_admitted + dataset.num_excluded == ROWS + 300
    with pytest.raises(cg.ConfigurationError, match="use filter_by_index"):
        gated.filter(BatchesByIndex(messages(ROWS), 10), gate)


RANK = """
import sys
from datetime import timedelta
import torch.distributed as dist
from torch.utils.data import DataLoader
import consentgate as cg
from consentgate.adapters import torch as gated

if __name__ == "__main__":
    folder, method, rank = sys.argv[1], sys.argv[2], int(sys.argv[3])
    dataset = gated.filter(folder + "/data", cg.Gate.open(folder + "/gate"), batch_rows=64)
    dist.init_process_group(
        "gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2,
        timeout=timedelta(seconds=60),
    )
    loader = DataLoader(dataset, batch_size=None, num_workers=2, multiprocessing_context=method)
    print(*(n for batch in loader for n in batch.column("message_id").to_pylist()))
    dist.destroy_process_group()
"""


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_ranks_of_a_process_group_share_the_rows_out(
    gate: cg.Gate, method: str, tmp_path: Path
) -> None:
    write(tmp_path / "data", 1, ROWS)
    (tmp_path / "rank.py").write_text(RANK)
    command = [sys.executable, str(tmp_path / "rank.py"), str(tmp_path), method]
    ranks = [
        subprocess.Popen([*command, str(rank)], stdout=subprocess.PIPE, text=True)
        for rank in range(2)
    ]
    found = [list(map(int, rank.communicate(timeout=HANGING_S)[0].split())) for rank in ranks]
    assert all(found)
    assert sorted([*found[0], *found[1]]) == admitted_ids(gate)


def test_ranks_are_known_from_torchruns_environment(
    gate: cg.Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    found = []
    for rank in ("0", "1"):
        monkeypatch.setenv("RANK", rank)
        found.append(ids(gated.filter(messages(ROWS), gate, batch_rows=50)))
    assert all(found)
    assert sorted([*found[0], *found[1]]) == admitted_ids(gate)


# --- going on after a pause -------------------------------------------------------------------


class Resumable(IterableDataset[pa.RecordBatch]):
    """An iterable data set of its owner's that knows where it is."""

    def __init__(self) -> None:
        self.done = 0

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        batches = messages(ROWS).to_batches(max_chunksize=250)
        while self.done < len(batches):
            self.done += 1
            yield batches[self.done - 1]
        self.done = 0

    def state_dict(self) -> dict[str, int]:
        return {"done": self.done}

    def load_state_dict(self, state: dict[str, int]) -> None:
        self.done = state["done"]


def inputs(folder: Path) -> dict[str, Any]:
    return {
        "row groups": write(folder / "groups", 4, 110),
        "one row group": write(folder / "one", 1, ROWS),
        "batches": messages(ROWS).to_batches(max_chunksize=250),
        "torch": Batches(messages(ROWS), 12),
        "resumable": Resumable(),
    }


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("kind", ["row groups", "one row group", "batches", "torch", "resumable"])
def test_a_loader_goes_on_where_it_was(
    gate: cg.Gate, kind: str, workers: int, tmp_path: Path
) -> None:
    def start() -> Any:
        dataset = gated.filter(inputs(tmp_path / str(time.time_ns()))[kind], gate, batch_rows=200)
        return StatefulDataLoader(dataset, batch_size=None, num_workers=workers)

    whole = ids(start())
    for pause in (0, 1, 5, 11):
        started, before = start(), list[int]()
        iterator = iter(started)
        for _ in range(pause):
            before += ids([next(iterator)])
        state = pickle.loads(pickle.dumps(started.state_dict()))
        del iterator
        resumed = start()
        resumed.load_state_dict(state)
        assert before + ids(resumed) == whole
        assert sorted(ids(resumed)) == sorted(whole), "the epoch after is whole again"


@pytest.mark.filterwarnings("ignore:Length of IterableDataset")
@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("moment", ["at the end", "second epoch", "after one", "broken off"])
def test_every_epoch_is_whole_wherever_the_one_before_ended(
    gate: cg.Gate, moment: str, workers: int, tmp_path: Path
) -> None:
    data = write(tmp_path / "data", 4, 110)

    def start() -> Any:
        dataset = gated.filter(data, gate, batch_rows=200)
        persistent = workers > 0
        return StatefulDataLoader(
            dataset, batch_size=None, num_workers=workers, persistent_workers=persistent
        )

    started, seen = start(), list[int]()
    iterator = iter(started)
    if moment == "broken off":
        next(iterator)
    else:
        ids(iterator)
    if moment != "at the end":
        iterator = iter(started)
    if moment == "after one":
        seen = ids([next(iterator)])
    resumed = start()
    resumed.load_state_dict(pickle.loads(pickle.dumps(started.state_dict())))
    assert sorted(seen + ids(resumed)) == admitted_ids(gate)


def test_a_newer_gate_judges_what_is_still_to_come(gate: cg.Gate) -> None:
    consent = make_consent(subject_id=list(range(1, 41)), status="withdrawn")
    newer = make_gate(consent, make_channels(channel_id=[10, 11]))
    dataset = gated.filter(messages(ROWS), gate, batch_rows=100)
    before = StatefulDataLoader(dataset, batch_size=None)
    seen = ids([next(iter(before))])
    resumed = gated.filter(messages(ROWS), newer, batch_rows=100)
    after = StatefulDataLoader(resumed, batch_size=None)
    after.load_state_dict(before.state_dict())
    assert seen
    assert ids(after) == []
    assert resumed.num_excluded == ROWS - 100


def test_a_place_in_another_input_is_refused(gate: cg.Gate, tmp_path: Path) -> None:
    one = gated.filter(write(tmp_path / "one", 1, 100), gate)
    other = gated.filter(write(tmp_path / "other", 2, 100), gate)
    with pytest.raises(cg.ConfigurationError, match="go on with the same files"):
        other.load_state_dict(one.state_dict())
    ranked = gated.filter(tmp_path / "one", gate, replica=(0, 2))
    with pytest.raises(cg.ConfigurationError, match="numbers of ranks and workers"):
        ranked.load_state_dict(one.state_dict())


def test_a_place_in_batches_of_another_size_is_refused(gate: cg.Gate, tmp_path: Path) -> None:
    for data in (write(tmp_path / "data", 1, ROWS), messages(ROWS)):
        small, large = (gated.filter(data, gate, batch_rows=rows) for rows in (100, 300))
        with pytest.raises(cg.ConfigurationError, match="batch_rows"):
            large.load_state_dict(small.state_dict())


# --- gates that change meanwhile --------------------------------------------------------------


def fresh_gate(*subjects: int) -> cg.Gate:
    """A gate as of just now, which judges by the clock."""
    as_of = datetime.now(UTC) - timedelta(seconds=1)
    consent = cg.ConsentSnapshot.from_arrow(consent_table(subject_id=list(subjects)), as_of=as_of)
    channels = cg.ChannelRegistry.from_arrow(channel_table(), as_of=as_of)
    return cg.Gate(cg.Policy(), consent, channels)


class Slow(Batches):
    """Batches that come one after the other until a file says that it is enough."""

    def __init__(self, table: pa.Table, enough: Path) -> None:
        super().__init__(table, 1)
        self.enough = enough

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        while not self.enough.exists():
            time.sleep(0.02)
            yield from super().__iter__()


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_workers_follow_a_store_and_say_which_gate_it_was(method: str, tmp_path: Path) -> None:
    store = cg.GateStore(tmp_path / "gates")
    first = store.publish(fresh_gate(1, 2))
    live = store.live(check_every=timedelta(0))
    data = Slow(message_table(sender_id=[1, 2, 3]), tmp_path / "enough")
    dataset = gated.filter(data, live, ledger=tmp_path / "ledger")
    seen: dict[str, list[int]] = {}
    iterator = iter(loader(dataset, 1, method))
    second = None
    for batch in iterator:
        stamp = batch.schema.metadata[b"consentgate.gate_digest"].decode()
        seen.setdefault(stamp, batch.column("sender_id").to_pylist())
        assert batch.column("sender_id").to_pylist() == seen[stamp]
        if second is None:
            second = store.publish(fresh_gate(1))  # subject 2 withdrew
        if len(seen) == 2:
            (tmp_path / "enough").touch()
    assert second is not None
    assert seen == {first.digest: [1, 2], second.digest: [1]}
    judged_by = {
        pq.read_metadata(p).metadata[b"consentgate.snapshot_digest"]
        for p in (tmp_path / "ledger").glob("*.parquet")
    }
    assert len(judged_by) == 2


# --- when things go wrong ---------------------------------------------------------------------


def other_gate(path: Path) -> None:
    """Put another gate in a gate file's place."""
    mixed_gate(methods=["explicit", "implied"]).save(path)


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
@pytest.mark.parametrize(
    ("harm", "error"),
    [(Path.unlink, cg.UnreadableFileError), (other_gate, cg.ReplacedGateError)],
    ids=["vanished", "replaced"],
)
def test_a_worker_refuses_what_is_not_the_gate(
    gate: cg.Gate, method: str, harm: Any, error: type[Exception], tmp_path: Path
) -> None:
    dataset = gated.filter(messages(ROWS), gate)
    harm(tmp_path / "gate")
    with pytest.raises(error, match=r"(?s)worker process.*(Gate file|cannot be read)"):
        drain(loader(dataset, 2, method))
    assert dataset.num_admitted == 0


def test_a_forked_worker_goes_on_with_the_gate_that_it_has(gate: cg.Gate, tmp_path: Path) -> None:
    dataset = gated.filter(messages(ROWS), gate, batch_rows=100)
    other_gate(tmp_path / "gate")
    assert sorted(ids(loader(dataset, 2, "fork"))) == admitted_ids(gate)


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_an_error_in_a_worker_has_its_class_in_the_parent(gate: cg.Gate, method: str) -> None:
    batches = [messages(100), messages(100).drop("sender_id")]
    with pytest.raises(cg.ColumnMissingError, match=r"(?s)worker process.*Column 'sender_id'"):
        drain(loader(gated.filter(batches, gate), 2, method))


class Deadly(Batches):
    """Batches whose reader is killed after the third, as by a lack of memory."""

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        for number, batch in enumerate(super().__iter__()):
            if number == 3:
                os.kill(os.getpid(), signal.SIGKILL)
            yield batch


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_a_worker_that_dies_is_an_error_and_no_end_of_the_data(gate: cg.Gate, method: str) -> None:
    dataset = gated.filter(Deadly(messages(ROWS), 30), gate)
    start = time.monotonic()
    with pytest.raises(RuntimeError, match=r"exited unexpectedly|is killed by signal"):
        drain(loader(dataset, 1, method))
    assert time.monotonic() - start < HANGING_S


def test_a_file_that_was_exchanged_is_an_error(gate: cg.Gate, tmp_path: Path) -> None:
    data = write(tmp_path / "data", 2, 100)
    dataset = gated.filter(data, gate)
    pq.write_table(messages(ROWS), data / "1.parquet")
    for workers in (0, 2):
        with pytest.raises(cg.SourceChangedError, match="has changed since the data set was made"):
            drain(loader(dataset, workers))


def test_a_damaged_file_is_an_error(gate: cg.Gate, tmp_path: Path) -> None:
    data = write(tmp_path / "data", 1, 100)
    content = bytearray((data / "0.parquet").read_bytes())
    content[200:4000] = bytes(3800)
    (data / "0.parquet").write_bytes(content)
    with pytest.raises(cg.UnreadableFileError, match="truncated, corrupt or malformed"):
        drain(loader(gated.filter(data, gate), 2))


def test_what_can_be_read_once_is_not_shared_out(gate: cg.Gate) -> None:
    dataset = gated.filter(iter(messages(ROWS).to_batches(max_chunksize=100)), gate)
    with pytest.raises(cg.ConfigurationError, match="can be read only once"):
        drain(loader(dataset, 2))
    assert ids(loader(dataset, 0)) == admitted_ids(gate)
    with pytest.raises(cg.ConfigurationError, match="can be read only once"):
        drain(loader(dataset, 0))


@pytest.mark.parametrize(("data", "error"), [(3, cg.NotArrowError), ("nowhere", cg.SourceError)])
def test_what_holds_no_messages_is_refused(gate: cg.Gate, data: Any, error: Any) -> None:
    with pytest.raises(error, match=r"give a path|check the path"):
        gated.filter(data, gate)


@pytest.mark.parametrize("replica", [(2, 2), (-1, 2), (0, 0), (0, -1)])
def test_a_rank_is_one_of_the_ranks(gate: cg.Gate, replica: tuple[int, int]) -> None:
    with pytest.raises(cg.ConfigurationError, match="ranks count from 0"):
        gated.filter(messages(10), gate, replica=replica)


@pytest.mark.parametrize("make", [messages, lambda rows: messages(rows).to_batches()])
def test_a_column_that_is_not_there_cannot_be_given(gate: cg.Gate, make: Any) -> None:
    with pytest.raises(cg.ColumnMissingError, match=r"Column 'nope' \(to be given\)"):
        list(gated.filter(make(10), gate, columns=["nope"]))
    with pytest.raises(cg.ConfigurationError, match="give a list of names"):
        gated.filter(make(10), gate, columns="text")


@pytest.mark.parametrize("options", [{"threads": 0}, {"judged_at": datetime(2026, 3, 2)}])
def test_what_does_not_fit_is_refused_at_once(gate: cg.Gate, options: Any) -> None:
    with pytest.raises(cg.ConfigurationError, match=r"`threads` is 0|`judged_at` must be"):
        gated.filter(messages(10), gate, **options)


def test_batches_need_a_row(gate: cg.Gate) -> None:
    with pytest.raises(cg.ConfigurationError, match="`batch_rows` is 0"):
        gated.filter(messages(10), gate, batch_rows=0)


@pytest.mark.usefixtures("gate")
def test_counts_leave_nothing_behind(tmp_path: Path) -> None:
    code = """
import sys, tempfile, pathlib
import consentgate as cg
from consentgate.adapters import torch as gated
from torch.utils.data import DataLoader
from tests.adapters.contract import messages

dataset = gated.filter(messages(300), cg.Gate.open(sys.argv[1]))
list(DataLoader(dataset, batch_size=None, num_workers=2))
assert dataset.num_admitted
assert list(pathlib.Path(tempfile.gettempdir()).glob("consentgate-counts-*"))
"""
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    command = [sys.executable, "-c", code, str(tmp_path / "gate")]
    subprocess.run(command, env=environment, check=True, cwd=Path(__file__).parents[2])
    assert not list(tmp_path.glob("consentgate-counts-*"))


def test_forked_workers_read_an_object_store(gate: cg.Gate, store: Store) -> None:
    sink = io.BytesIO()
    pq.write_table(messages(ROWS), sink, row_group_size=300)
    store.put({"a.parquet": sink.getvalue()}, "in")
    dataset = gated.filter(store.uri("in"), gate, batch_rows=100)
    assert sorted(ids(loader(dataset, 2, "fork", timeout=HANGING_S))) == admitted_ids(gate)
