"""Hugging Face's streams: resumed, rearranged, and of objects without known features."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import Dataset, IterableDataset
from datasets.distributed import split_dataset_by_node

import consentgate as cg
from consentgate.adapters.huggingface import filter as gated
from tests.adapters.contract import ledger_rows
from tests.adapters.huggingface_cases import from_files, from_memory, generated
from tests.adapters.huggingface_data import (
    ROWS,
    admitted_ids,
    ids_in,
    message,
    objects,
    withdrawing,
)
from tests.build import make_gate, message_table
from tests.run_data import mixed_messages
from tests.withdrawals import Successive


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
