"""Hugging Face's data sets: what is in them and their files, caches, formats, streams, workers."""

from __future__ import annotations

import os
import pickle
import signal
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import torch
from datasets import Dataset, DatasetDict, IterableDataset, IterableDatasetDict
from datasets.distributed import split_dataset_by_node
from torch.utils.data import DataLoader
from torchdata.stateful_dataloader import StatefulDataLoader

import consentgate as cg
from consentgate.adapters.huggingface import filter as gated
from tests.adapters.contract import ledger_rows
from tests.adapters.huggingface_cases import (
    from_files,
    from_memory,
    generated,
    in_memory,
    on_disk,
)
from tests.build import (
    NOW,
    channel_table,
    consent_table,
    make_consent,
    make_gate,
    message_table,
)
from tests.run_data import mixed_gate, mixed_messages
from tests.withdrawals import Successive

ROWS = 300
MINUTE = timedelta(minutes=1)


@pytest.fixture
def gate(tmp_path: Path) -> cg.Gate:
    """A saved gate."""
    gate = mixed_gate()
    gate.save(tmp_path / "gate")
    return gate


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An empty folder."""
    (tmp_path / "data").mkdir()
    return tmp_path / "data"


@pytest.fixture
def stored(folder: Path) -> Dataset:
    """A data set on disk."""
    return on_disk(mixed_messages(ROWS), folder, 2)


def admitted_ids(gate: cg.Gate, rows: int = ROWS) -> list[int]:
    """The record ids of the messages that the gate admits."""
    ids: list[int] = gate.filter(mixed_messages(rows))[0]["message_id"].to_pylist()
    return ids


def ids_in(dataset: Any) -> list[int]:
    """The record ids of a data set, in its order."""
    return [row["message_id"] for row in dataset.with_format(None)]


def cache_files(folder: Path) -> set[tuple[str, int, int]]:
    """The name, inode and time of writing of each file in the cache."""
    stats = {path: path.stat() for path in folder.rglob("cache-*.arrow")}
    return {(path.name, stat.st_ino, stat.st_mtime_ns) for path, stat in stats.items()}


def secrets(gate: cg.Gate, rows: int = ROWS) -> list[bytes]:
    """The text of the messages that the gate excludes."""
    ids = gate.filter(mixed_messages(rows))[1]["record_id"].to_pylist()
    return [f"message {number} of some".encode() for number in ids if number % 9]


# What is in the result


MAKERS: dict[str, Callable[[pa.Table, Path], Dataset]] = {
    "memory": lambda table, folder: in_memory(table, folder, 3),
    "disk": lambda table, folder: on_disk(table, folder, 3),
    "shuffled": lambda table, folder: on_disk(table, folder, 3).shuffle(seed=7),
    "sliced": lambda table, folder: in_memory(table, folder, 1).select(range(10, 290)),
}


@pytest.mark.parametrize("maker", MAKERS)
@pytest.mark.parametrize("batch_size", [7, 100_000])
def test_excluded_text_is_nowhere_in_the_result(
    maker: str, batch_size: int, gate: cg.Gate, folder: Path, tmp_path: Path
) -> None:
    result = gated(MAKERS[maker](mixed_messages(ROWS), folder), gate, batch_size=batch_size)
    assert result._indices is None
    result.save_to_disk(tmp_path / "saved")
    written = [path.read_bytes() for path in (tmp_path / "saved").rglob("*.arrow")]
    written += [
        path.read_bytes() for path in folder.rglob("cache-*.arrow") if "indices" not in path.name
    ]
    written += [pickle.dumps(result), pickle.dumps(result.data.table)]
    wanted = f"message {ids_in(result)[-1]} ".encode()
    assert any(wanted in octets for octets in written)
    assert not any(secret in octets for secret in secrets(gate) for octets in written)


@pytest.mark.parametrize("maker", [in_memory, on_disk])
def test_behind_no_rows_there_are_none(maker: Any, gate: cg.Gate, folder: Path) -> None:
    dataset = maker(mixed_messages(ROWS), folder, 1)
    for empty in (dataset.select([]), dataset.select(range(0))):
        result = gated(empty.with_format("numpy"), gate)
        assert (len(result), result.format["type"]) == (0, "numpy")
        assert result.features == dataset.features
        assert result.data.num_rows == 0
        assert b"of some" not in pickle.dumps(result)


def test_where_all_are_excluded_nothing_is_left(stored: Dataset) -> None:
    result = gated(stored, make_gate(make_consent(subject_id=[999])))
    assert (len(result), result.features) == (0, stored.features)
    assert b"of some" not in pickle.dumps(result.data.table)


def test_rows_are_judged_in_the_order_of_the_indices(
    gate: cg.Gate, stored: Dataset, tmp_path: Path
) -> None:
    shuffled = stored.shuffle(seed=3).select(range(20, 280))
    admitted = set(admitted_ids(gate))
    order = ids_in(shuffled)
    result = gated(shuffled, gate, batch_size=64, ledger=tmp_path / "ledger")
    assert ids_in(result) == [number for number in order if number in admitted]
    ledger = ledger_rows(tmp_path / "ledger")
    assert [order[row] for row in ledger["row"].to_pylist()] == ledger["record_id"].to_pylist()
    assert len(result) + ledger.num_rows == len(order)


def test_what_is_in_memory_stays_there(gate: cg.Gate, folder: Path) -> None:
    assert not gated(in_memory(mixed_messages(ROWS), folder, 1), gate).cache_files


def test_what_is_on_disk_stays_there(gate: cg.Gate, stored: Dataset, folder: Path) -> None:
    assert {Path(file["filename"]).parent for file in gated(stored, gate).cache_files} == {folder}


FEATURES = {
    "message_id": datasets.Value("string"),
    "sender_id": datasets.List(datasets.Value("int32")),
    "channel_id": datasets.Value("uint16"),
    "created_at": datasets.Value("timestamp[ns, tz=Europe/Berlin]"),
    "label": datasets.ClassLabel(names=["no", "yes"]),
    "image": datasets.Image(decode=False),
    "matrix": datasets.Array2D((2, 2), "float32"),
    "words": datasets.LargeList(datasets.Value("large_string")),
    "nested": {"text": datasets.Value("string_view"), "raw": datasets.Value("binary")},
    "span": datasets.List(datasets.Value("float16"), length=2),
}


def test_features_split_and_info_are_kept(gate: cg.Gate, tmp_path: Path) -> None:
    row = {
        "channel_id": 10,
        "created_at": datetime(2025, 6, 1, tzinfo=UTC),
        "label": 1,
        "image": {"bytes": b"not really", "path": None},
        "matrix": [[1.0, 2.0], [3.0, 4.0]],
        "words": ["a", None],
        "nested": {"text": "t", "raw": b"r"},
        "span": [np.float16(0.5), np.float16(1.5)],
    }
    rows = [{**row, "message_id": str(n), "sender_id": [1, 4][: 1 + n % 2]} for n in range(9)]
    features = datasets.Features(FEATURES)
    info = datasets.DatasetInfo(description="what it is", features=features)
    table = pa.Table.from_pylist(rows, schema=features.arrow_schema)
    dataset = Dataset(table, info, split=datasets.Split.TEST)
    for given in (dataset, saved(dataset, tmp_path)):
        for data in (given, given.to_iterable_dataset(num_shards=2)):
            result = gated(data, gate)
            assert list(result) == [row for n, row in enumerate(given) if n % 2 == 0]
            assert (result.features, result.split, result.info) == (features, data.split, data.info)


def saved(dataset: Dataset, folder: Path) -> Dataset:
    """The same data set from a disk."""
    dataset.save_to_disk(folder / "saved")
    return Dataset.load_from_disk(folder / "saved")


def upper(rows: dict[str, list[Any]]) -> dict[str, list[Any]]:
    return {"loud": [text.upper() for text in rows["text"]]}


FORMATS: dict[str, dict[str, Any]] = {
    "none": {},
    "numpy": {"type": "numpy", "columns": ["message_id", "sender_id"]},
    "torch": {"type": "torch", "columns": ["message_id"], "output_all_columns": True},
    "typed": {"type": "torch", "columns": ["message_id"], "dtype": torch.int32},
    "arrow": {"type": "arrow"},
    "pandas": {"type": "pandas"},
    "polars": {"type": "polars"},
    "custom": {"type": "custom", "transform": upper},
}


@pytest.mark.parametrize("name", FORMATS)
def test_the_format_is_kept_and_no_column_is_hidden_from_the_gate(
    name: str, gate: cg.Gate, stored: Dataset
) -> None:
    given = stored.with_format(**FORMATS[name])
    result = gated(given, gate)
    assert result.format == given.format
    assert (type(result[0]), type(result[:3])) == (type(given[0]), type(given[:3]))
    assert ids_in(result) == admitted_ids(gate)
    assert given.format == stored.with_format(**FORMATS[name]).format


@pytest.mark.parametrize("form", [None, "numpy", "torch", "arrow", "pandas", "polars"])
@pytest.mark.parametrize("maker", [from_memory, generated])
def test_a_stream_keeps_its_format(
    form: str | None, maker: Any, gate: cg.Gate, folder: Path
) -> None:
    table = mixed_messages(ROWS).drop("word")
    given = maker(table.filter(pc.is_valid(table["sender_id"])), folder, 2).with_format(form)
    result = gated(given, gate)
    if form == "torch":  # which has no instants
        given, result = (data.select_columns(["message_id", "text"]) for data in (given, result))
    first, other = next(iter(result)), next(iter(given))
    assert type(first) is type(other)
    if isinstance(first, dict):
        assert {n: type(v) for n, v in first.items()} == {n: type(v) for n, v in other.items()}
    assert ids_in(result) == admitted_ids(gate)


def test_a_dictionary_of_splits_is_judged_split_by_split(gate: cg.Gate, tmp_path: Path) -> None:
    parts = {"train": mixed_messages(200), "test": mixed_messages(100, first=200)}
    splits = DatasetDict({name: Dataset(table) for name, table in parts.items()})
    streams = IterableDatasetDict({n: d.to_iterable_dataset() for n, d in splits.items()})
    for number, given in enumerate((splits, streams)):
        ledger = tmp_path / f"ledger {number}"
        result = gated(given, gate, ledger=ledger)
        assert type(result) is type(given)
        for name, table in parts.items():
            admitted, excluded = gate.filter(table)
            assert ids_in(result[name]) == admitted["message_id"].to_pylist()
            assert ledger_rows(ledger / name)["row"].equals(excluded["row"])


def test_no_split_is_judged_where_one_cannot_be(
    gate: cg.Gate, stored: Dataset, folder: Path
) -> None:
    splits = DatasetDict(train=stored, test=stored.remove_columns("sender_id"))
    with pytest.raises(cg.ColumnMissingError, match="Column 'sender_id'"):
        gated(splits, gate)
    assert not cache_files(folder)


def test_anything_else_is_refused(gate: cg.Gate, stored: Dataset) -> None:
    with pytest.raises(cg.NotArrowError, match="type 'dict' is no data set of Hugging Face's"):
        gated({"train": stored}, gate)
    with pytest.raises(cg.ConfigurationError, match="`batch_size` is 0"):
        gated(stored, gate, batch_size=0)
    with pytest.raises(cg.ConfigurationError, match="`judged_at` must be a datetime with a time"):
        gated(stored, gate, judged_at=datetime(2026, 3, 2))


# The cache


def withdrawing(*subjects: int) -> cg.Gate:
    """A gate that knows of withdrawals."""
    known = range(1, 46)
    status = ["withdrawn" if n in subjects else "given" for n in known]
    return make_gate(make_consent(subject_id=list(known), status=status))


def test_a_withdrawal_is_not_hidden_by_the_cache(stored: Dataset, folder: Path) -> None:
    first = gated(stored, withdrawing())
    assert 7 in first["sender_id"]
    before = cache_files(folder)
    second = gated(stored, withdrawing(7))
    assert 7 not in second["sender_id"]
    assert len(second) < len(first)
    assert len(cache_files(folder)) == len(before) + 1
    assert second._fingerprint != first._fingerprint


def test_the_same_judgement_is_taken_from_the_cache(stored: Dataset, folder: Path) -> None:
    first = gated(stored, withdrawing(7))
    before = cache_files(folder)
    again = gated(stored, withdrawing(7))
    assert cache_files(folder) == before
    assert len(before) == 1
    assert again.cache_files == first.cache_files
    assert again._fingerprint == first._fingerprint
    assert again.to_dict() == first.to_dict()


def test_another_instant_is_another_judgement(folder: Path) -> None:
    stored = on_disk(message_table(sender_id=[1, 2]), folder, 1)
    consent = make_consent(subject_id=[1, 2], expires_at=[NOW + MINUTE, NOW + 9 * MINUTE])
    gate = make_gate(consent)
    found = [gated(stored, gate, judged_at=NOW + n * MINUTE)["sender_id"][:] for n in (0, 5, 0)]
    assert found == [[1, 2], [2], [1, 2]]
    assert len(cache_files(folder)) == 2


def test_a_file_that_was_exchanged_is_judged_anew(gate: cg.Gate, folder: Path) -> None:
    first = saved(Dataset(mixed_messages(ROWS)), folder)
    assert ids_in(gated(first, gate)) == admitted_ids(gate)
    later = mixed_messages(ROWS, first=ROWS)
    Dataset(later).save_to_disk(folder / "later")
    name = "data-00000-of-00001.arrow"
    (folder / "later" / name).replace(folder / "saved" / name)
    again = Dataset.load_from_disk(folder / "saved")
    assert again._fingerprint == first._fingerprint
    assert ids_in(gated(again, gate)) == gate.filter(later)[0]["message_id"].to_pylist()


def test_a_file_that_is_gone_is_named(gate: cg.Gate, folder: Path) -> None:
    given = saved(Dataset(mixed_messages(ROWS)), folder)
    (folder / "saved" / "data-00000-of-00001.arrow").unlink()
    with pytest.raises(cg.UnreadableFileError, match=r"00001\.arrow cannot be looked at"):
        gated(given, gate)


def test_by_the_clock_nothing_is_taken_from_the_cache(folder: Path) -> None:
    message = message_table(sender_id=[1])
    stored, now = on_disk(message, folder, 1), datetime.now(UTC)
    records = consent_table(expires_at=now + timedelta(seconds=3))
    consent = cg.ConsentSnapshot.from_arrow(records, as_of=now)
    gate = cg.Gate(cg.Policy(), consent, cg.ChannelRegistry.from_arrow(channel_table(), as_of=now))
    assert len(gated(stored, gate)) == 1
    while gate.decide(message).num_admitted:
        time.sleep(0.1)
    assert len(gated(stored, gate)) == 0
    assert len(cache_files(folder)) == 2


def test_a_stale_snapshot_is_noticed_before_the_cache(stored: Dataset, folder: Path) -> None:
    later = NOW + timedelta(days=30)
    for data in (stored, stored.to_iterable_dataset()):
        gated(data, make_gate(max_snapshot_age=None), judged_at=later)
        with pytest.raises(cg.StaleSnapshotError, match="but the policy allows 7 days"):
            gated(data, withdrawing(), judged_at=later)
    assert len(cache_files(folder)) == 1


def test_a_snapshot_of_the_future_is_noticed_though_the_instant_is_fixed(stored: Dataset) -> None:
    soon = datetime.now(UTC) + timedelta(hours=1)
    registry = cg.ChannelRegistry.from_arrow(channel_table(), as_of=soon)
    gate = cg.Gate(cg.Policy(max_snapshot_age=None), make_consent(), registry)
    for data in (stored, stored.to_iterable_dataset()):
        with pytest.raises(cg.FutureSnapshotError, match="channel registry is said to be as of"):
            gated(data, gate)


def test_a_ledger_is_complete_though_the_result_is_in_the_cache(
    gate: cg.Gate, stored: Dataset, tmp_path: Path
) -> None:
    first = gated(stored, gate)
    again = gated(stored, gate, ledger=tmp_path / "ledger")
    assert ledger_rows(tmp_path / "ledger").num_rows == ROWS - len(again)
    assert ids_in(first) == ids_in(again) == admitted_ids(gate)


def test_where_caching_is_off_all_is_judged_anew(
    gate: cg.Gate, stored: Dataset, folder: Path
) -> None:
    datasets.disable_caching()
    try:
        assert ids_in(gated(stored, gate)) == ids_in(gated(stored, gate)) == admitted_ids(gate)
    finally:
        datasets.enable_caching()
    assert not cache_files(folder)


def test_an_error_leaves_no_file(
    gate: cg.Gate, stored: Dataset, folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "occupied").touch()
    before = sorted(folder.rglob("*"))
    with pytest.raises(cg.OutputError, match="Ledger directory"):
        gated(stored, gate, ledger=tmp_path / "occupied")
    assert sorted(folder.rglob("*")) == before


def test_a_gate_is_not_pickled_to_make_a_fingerprint(
    stored: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = mixed_gate()

    def refuse(*_: Any) -> Any:
        raise AssertionError("pickled")

    monkeypatch.setattr(cg.Gate, "__reduce_ex__", refuse)
    assert ids_in(gated(stored, gate)) == admitted_ids(gate)
    assert ids_in(gated(stored.to_iterable_dataset(), gate)) == admitted_ids(gate)


# Streams


def test_a_data_set_is_judged_by_one_gate() -> None:
    dataset = Dataset(message_table(sender_id=[7] * 6))
    once: Any = Successive(withdrawing(), withdrawing(7))
    assert ids_in(gated(dataset, once, batch_size=2)) == [*range(6)]


SHAPES = [
    (from_files, 1, 1, None),
    (from_files, 3, 7, None),
    (from_files, 2, 1000, "numpy"),
    (from_memory, 3, 10, "mapped"),
    (generated, 1, 7, None),
    (generated, 3, 10, "numpy"),
    (generated, 2, 1000, "mapped"),
]


@pytest.mark.parametrize(("maker", "shards", "batch_size", "then"), SHAPES)
def test_a_stream_is_resumed_where_it_was_left(
    maker: Any, shards: int, batch_size: int, then: str | None, gate: cg.Gate, folder: Path
) -> None:
    given = maker(mixed_messages(50), folder, shards)

    def stream() -> IterableDataset:
        found = gated(given, gate, batch_size=batch_size)
        if then == "mapped":
            return found.map(lambda row: {"longer": len(row["text"])})
        return found.with_format(then)

    assert stream().num_shards == given.num_shards
    everything = admitted_ids(gate, 50)
    for count in range(1, len(everything) + 1):
        first, second = stream(), stream()
        rows = iter(first)
        seen = [next(rows)["message_id"] for _ in range(count)]
        second.load_state_dict(first.state_dict())
        assert seen + [row["message_id"] for row in second] == everything


def test_after_resuming_the_ledger_lacks_nothing(
    gate: cg.Gate, folder: Path, tmp_path: Path
) -> None:
    given = from_files(mixed_messages(ROWS), folder, 3)
    ledger = tmp_path / "ledger"
    begun, resumed = (gated(given, gate, batch_size=20, ledger=ledger) for _ in range(2))
    for _ in zip(range(40), begun, strict=False):
        state = begun.state_dict()
    resumed.load_state_dict(state)
    assert [row["message_id"] for row in resumed] == admitted_ids(gate)[40:]
    wanted = gate.filter(mixed_messages(ROWS))[1]["record_id"].to_pylist()
    found = ledger_rows(ledger)["record_id"].to_pylist()
    assert set(found) == set(wanted)
    assert len(found) - len(wanted) <= 2 * 20


def test_a_stream_can_be_rearranged(gate: cg.Gate, folder: Path) -> None:
    given = from_memory(mixed_messages(ROWS), folder, 4)
    result, wanted = gated(given, gate, batch_size=16), admitted_ids(gate)
    assert ids_in(result.take(10)) == wanted[:10]
    assert ids_in(result.skip(10)) == wanted[10:]
    assert sorted(ids_in(result.shuffle(seed=1, buffer_size=30))) == wanted
    for parts in (
        [result.shard(num_shards=2, index=index) for index in range(2)],
        [split_dataset_by_node(result, rank, 3) for rank in range(3)],
        [gated(split_dataset_by_node(given, rank, 2), gate) for rank in range(2)],
        [gated(split_dataset_by_node(given, rank, 3), gate) for rank in range(3)],
    ):
        assert sorted(number for part in parts for number in ids_in(part)) == wanted
    both, strategy = [result, result.map(dict)], "all_exhausted_without_replacement"
    doubled = datasets.interleave_datasets(both, stopping_strategy=strategy)
    assert sorted(ids_in(doubled)) == sorted(wanted * 2)
    result.set_epoch(2)
    assert sorted(ids_in(result)) == wanted


def test_positions_are_counted_whatever_becomes_of_the_stream(
    gate: cg.Gate, folder: Path, tmp_path: Path
) -> None:
    given = from_memory(mixed_messages(ROWS), folder, 4)
    stream = gated(given, gate, batch_size=16, ledger=tmp_path / "ledger")
    shuffled = stream.shuffle(seed=1, buffer_size=30, max_buffer_input_shards=4)  # in four threads
    assert sorted(ids_in(shuffled)) == admitted_ids(gate)
    ledger, wanted = ledger_rows(tmp_path / "ledger"), gate.filter(mixed_messages(ROWS))[1]
    rows = ledger["row"].to_pylist()
    assert len(set(rows)) == len(rows)
    assert max(rows) < ROWS
    assert ledger["record_id"].sort() == wanted["record_id"].sort()


def test_the_ledger_of_a_stream_is_complete_at_every_batch(
    gate: cg.Gate, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("consentgate.adapters.growing_ledger._PART_ROWS", 50)
    ledger = tmp_path / "ledger"
    given = from_memory(mixed_messages(ROWS), folder, 1)
    for row in gated(given, gate, batch_size=20, ledger=ledger):
        judged = (row["message_id"] // 20 + 1) * 20
        excluded = gate.filter(mixed_messages(judged))[1]
        assert ledger_rows(ledger).to_pylist() == excluded.to_pylist()
    assert ledger_rows(ledger).schema.equals(excluded.schema, check_metadata=True)
    sizes = [pq.read_metadata(path).num_rows for path in ledger.iterdir()]
    assert 40 < max(sizes) <= 50


def objects(rows: list[dict[str, Any]]) -> IterableDataset:
    """A stream of objects of which nobody knows the features."""
    return IterableDataset.from_generator(lambda: iter(rows), gen_kwargs=None)


def message(**columns: Any) -> dict[str, Any]:
    """One message, admitted if it stays as it is."""
    row: dict[str, Any] = message_table().to_pylist()[0]
    return {**row, **columns}


@pytest.mark.parametrize("batch_size", [1, 2, 100])
def test_objects_are_judged_alike_in_all_batches(batch_size: int, tmp_path: Path) -> None:
    rows = [
        message(message_id=0, sender_id=None, created_at=None, channel_id=None),
        message(message_id=1),
        message(message_id=2, sender_id=None),
        message(message_id=3, created_at=float("nan")),
        message(message_id=4, sender_id=[1, 1]),
        message(message_id=5, sender_id=[]),
        message(message_id=None),
        message(message_id=2**63, channel_id=11),
        message(message_id=8, sender_id=np.int64(1)),
    ]
    stream = gated(objects(rows), make_gate(), batch_size=batch_size, ledger=tmp_path)
    assert ids_in(stream) == [1, 4, None, 8]
    found = pa.concat_tables(
        [pq.read_table(path).cast(LEDGER_SCHEMA) for path in tmp_path.iterdir()]
    )
    reasons = dict(zip(found["row"].to_pylist(), found["reason"].to_pylist(), strict=True))
    assert reasons == {
        0: "channel_unknown",
        2: "subject_missing",
        3: "timestamp_missing",
        5: "subject_missing",
        7: "channel_unknown",
    }


LEDGER_SCHEMA = pa.schema(
    {
        "record_id": pa.uint64(),
        "row": pa.int64(),
        "reason": pa.string(),
        "reason_bits": pa.uint32(),
    }
)

UNFIT: dict[str, tuple[dict[str, Any], type[Exception], str]] = {
    "text for integers": ({"sender_id": "1"}, cg.IdFamilyError, "strings"),
    "fractions": ({"sender_id": 1.0}, cg.ColumnTypeError, "type 'float'"),
    "truth": ({"sender_id": True}, cg.ColumnTypeError, "booleans"),
    "lists of lists": ({"sender_id": [[1]]}, cg.ColumnTypeError, "type 'list'"),
    "text for instants": ({"created_at": "2025-06-01T00:00:00Z"}, cg.ColumnTypeError, "strings"),
    "no zone": ({"created_at": datetime(2025, 6, 1)}, cg.NaiveTimestampError, "time zone"),
    "numbers for instants": ({"created_at": 5}, cg.ColumnTypeError, "integers"),
    "lists of channels": ({"channel_id": [10]}, cg.ColumnTypeError, "type 'list'"),
}


@pytest.mark.parametrize("case", UNFIT)
@pytest.mark.parametrize("batch_size", [1, 100])
def test_objects_that_do_not_fit_are_an_error(case: str, batch_size: int) -> None:
    columns, error, match = UNFIT[case]
    rows = [message(), message(**columns)]
    stream = gated(objects(rows), make_gate(), batch_size=batch_size)
    seen: list[Any] = []
    with pytest.raises(error, match=match):
        seen.extend(stream)
    assert len(seen) == (batch_size == 1)


def test_features_that_do_not_fit_are_an_error_at_once(gate: cg.Gate, folder: Path) -> None:
    table = mixed_messages(10)
    table = table.set_column(2, "created_at", table["created_at"].cast(pa.string()))
    for maker in (from_files, generated):
        with pytest.raises(cg.ColumnTypeError, match="Column 'created_at' is string"):
            gated(maker(table, folder, 1), gate)


# Workers


def rows_from_workers(dataset: Any, context: str, workers: int = 2) -> list[Any]:
    """What the workers of a loader hand over."""
    loader = DataLoader(
        dataset,
        batch_size=None,
        num_workers=workers,
        multiprocessing_context=context,
        in_order=False,
    )
    return list(loader)


WORKERS = [("fork", on_disk), ("fork", from_memory), ("fork", generated), ("spawn", from_files)]


@pytest.mark.parametrize(("context", "maker"), WORKERS)
def test_workers_share_the_rows(
    context: str, maker: Any, gate: cg.Gate, folder: Path, tmp_path: Path
) -> None:
    ledger = None if maker is on_disk else tmp_path / "ledger"
    result = gated(maker(mixed_messages(ROWS), folder, 4), gate, batch_size=32, ledger=ledger)
    found = rows_from_workers(result, context)
    assert sorted(row["message_id"] for row in found) == admitted_ids(gate)
    if ledger is not None:
        excluded = gate.filter(mixed_messages(ROWS))[1]
        assert ledger_rows(ledger)["record_id"].sort() == excluded["record_id"].sort()
        assert len(list(ledger.iterdir())) == 2


def test_a_forked_worker_leaves_its_parents_ledger_alone(
    gate: cg.Gate, folder: Path, tmp_path: Path
) -> None:
    ledger = tmp_path / "ledger"
    result = gated(from_memory(mixed_messages(ROWS), folder, 2), gate, ledger=ledger)
    ids_in(result)
    mine = {path: path.read_bytes() for path in ledger.iterdir()}
    assert len(rows_from_workers(result, "fork")) == len(admitted_ids(gate))
    assert len(list(ledger.iterdir())) == len(mine) + 2
    assert all(path.read_bytes() == octets for path, octets in mine.items())


def shards_of_objects(shards: list[int]) -> Iterator[dict[str, Any]]:
    for shard in shards:
        yield message(message_id=shard, sender_id=1.5)


def test_an_error_in_a_worker_has_its_class_in_the_parent() -> None:
    stream = IterableDataset.from_generator(shards_of_objects, gen_kwargs={"shards": [0, 1]})
    with pytest.raises(cg.ColumnTypeError, match=r"(?s)worker process.*type 'float'"):
        rows_from_workers(gated(stream, make_gate()), "fork", workers=1)


def test_a_worker_refuses_another_gate_in_the_file(
    gate: cg.Gate, folder: Path, tmp_path: Path
) -> None:
    result = gated(from_memory(mixed_messages(ROWS), folder, 2), gate)
    make_gate().save(tmp_path / "gate")
    with pytest.raises(cg.ReplacedGateError, match="worker process"):
        rows_from_workers(result, "spawn", workers=1)


@pytest.mark.filterwarnings("ignore:'set_vital' is deprecated:UserWarning")  # torchdata 0.11
def test_a_loader_with_a_state_goes_on_where_it_was(gate: cg.Gate, folder: Path) -> None:
    def loader() -> Any:
        stream = gated(from_memory(mixed_messages(ROWS), folder, 4), gate, batch_size=16)
        return StatefulDataLoader(stream, batch_size=None, num_workers=2)

    first, second, seen = loader(), loader(), []
    for place, row in enumerate(first):
        seen.append(row["message_id"])
        if place == 40:
            state = first.state_dict()
    second.load_state_dict(state)
    assert [*seen[:41], *(row["message_id"] for row in second)] == seen
    assert sorted(seen) == admitted_ids(gate)


def test_what_a_killed_process_had_judged_is_in_the_ledger(
    gate: cg.Gate, folder: Path, tmp_path: Path
) -> None:
    ledger = tmp_path / "ledger"
    result = gated(from_memory(mixed_messages(ROWS), folder, 1), gate, batch_size=20, ledger=ledger)
    child = os.fork()
    if child == 0:
        for row in result:
            if row["message_id"] > 100:
                os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)
    assert ledger_rows(ledger).equals(gate.filter(mixed_messages(120))[1])
