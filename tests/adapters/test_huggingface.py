"""Hugging Face's data sets: what is in the result and its files, and which features it keeps."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
import torch
from datasets import Dataset, DatasetDict, IterableDatasetDict

import consentgate as cg
from consentgate.adapters.huggingface import filter as gated
from tests.adapters.contract import ledger_rows
from tests.adapters.huggingface_cases import from_memory, generated, in_memory, on_disk
from tests.adapters.huggingface_data import ROWS, admitted_ids, cache_files, ids_in, saved, secrets
from tests.build import make_consent, make_gate
from tests.run_data import mixed_messages

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
    with pytest.raises(cg.NotArrowError, match="type 'dict' is not a data set of Hugging Face's"):
        gated({"train": stored}, gate)
    with pytest.raises(cg.ConfigurationError, match="`batch_size` is 0"):
        gated(stored, gate, batch_size=0)
    with pytest.raises(cg.ConfigurationError, match="`judged_at` must be a datetime with a time"):
        gated(stored, gate, judged_at=datetime(2026, 3, 2))
