"""What adapters make of odd values, gates and folders: no foreign error, and no value in one."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import Dataset, IterableDataset
from datatrove.data import Document
from hypothesis import given, settings
from hypothesis import strategies as st

import consentgate as cg
from consentgate.adapters import datatrove, huggingface
from consentgate.adapters import torch as gated_torch
from tests.build import WRITTEN, make_consent, make_gate
from tests.withdrawals import gate_without, messages_of_all

MARK = "marked9176405"
NUMBER = 9_176_405


class Text(str):
    """A text of a class of its own."""

    __slots__ = ()


@dataclass(frozen=True)
class Shown:
    """What shows what it holds."""

    mark: str = MARK


VALUES: list[Any] = [
    *[None, MARK, Text(MARK), MARK.encode(), MARK.encode()[:16].ljust(16), f"{MARK}\ud800", NUMBER],
    *[NUMBER * 10**20, -(10**40) - NUMBER, float(NUMBER), float("nan"), float("inf"), True],
    *[Decimal(NUMBER), Fraction(NUMBER), complex(NUMBER), UUID(int=NUMBER), Shown(), Shown],
    *[{MARK: MARK}, {MARK}, (MARK,), [MARK, NUMBER], [[MARK]], [None], [], bytearray(b"x")],
    *[WRITTEN, WRITTEN.replace(tzinfo=None), WRITTEN.isoformat(), f"2025-06-01T{MARK}"],
    *[datetime.max.replace(tzinfo=timezone(-timedelta(hours=1, microseconds=1)))],
    *[datetime.min.replace(tzinfo=timezone(timedelta(hours=1, microseconds=1)))],
    *[date(2025, 6, 1), time(1, tzinfo=UTC), timedelta(NUMBER), range(3), SimpleNamespace(a=MARK)],
    *[np.int64(NUMBER), np.uint64(2**64 - 1), np.array([NUMBER]), np.datetime64("NaT")],
    *[np.str_(MARK), np.bytes_(MARK.encode()), np.bool_(True), np.float64("nan")],
    *[pd.NA, pd.NaT, pd.Timestamp(WRITTEN), pd.Timestamp.max, pa.scalar(MARK), "", "\0", 10, 1],
]  # fmt: skip
KEYS = ["message_id", "sender_id", "channel_id", "created_at", "lang"]
KNOWN = {"message_id": 0, "sender_id": 1, "channel_id": 10, "created_at": WRITTEN, "lang": "en"}
RULE = cg.Rule(name="foreign", column="lang", any_of=("de",))
GATES = [
    make_gate(record_rules=(RULE,)),
    make_gate(make_consent(subject_id=["a"])),
    make_gate(record_rules=(RULE.model_copy(update={"any_of": None, "is_null": True}),)),
]


def in_datatrove(rows: list[dict[str, Any]], gate: cg.Gate, batch_size: int) -> None:
    documents = [Document(MARK, f"id {MARK}", metadata=dict(row)) for row in rows]
    list(datatrove.filter(documents, gate, batch_size=batch_size))


def in_huggingface(rows: list[dict[str, Any]], gate: cg.Gate, batch_size: int) -> None:
    stream = IterableDataset.from_generator(lambda: iter(rows), gen_kwargs=None)
    list(huggingface.filter(stream, gate, batch_size=batch_size))


def assert_unmarked(error: BaseException | None) -> None:
    """No error, nor one behind it, holds what a row holds."""
    while error is not None:
        held = [str(error), repr(error), *map(repr, error.args), *map(repr, vars(error).values())]
        held += [repr(getattr(error, "object", None))]  # as errors of decoding have it
        assert not any(mark in text for text in held for mark in (MARK, str(NUMBER)))
        error = error.__cause__ or error.__context__


@pytest.mark.parametrize("judge", [in_datatrove, in_huggingface])
@given(
    odd=st.lists(st.tuples(st.sampled_from(KEYS), st.sampled_from(VALUES)), max_size=4),
    gate=st.sampled_from(GATES),
    batch_size=st.sampled_from([1, 2, 10]),
)
@settings(max_examples=15)
def test_odd_values_raise_errors_of_the_library_that_hold_no_value(
    judge: Callable[..., None], odd: list[tuple[str, Any]], gate: cg.Gate, batch_size: int
) -> None:
    hold_to_own_errors(
        judge, [KNOWN, *({**KNOWN, key: value} for key, value in odd)], gate, batch_size
    )


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("gate", GATES)
def test_no_odd_value_alone_raises_another_error_either(key: str, gate: cg.Gate) -> None:
    for value in VALUES:
        hold_to_own_errors(in_datatrove, [{**KNOWN, key: value}], gate, 1)


def hold_to_own_errors(
    judge: Callable[..., None], rows: list[dict[str, Any]], gate: cg.Gate, batch_size: int
) -> None:
    try:
        judge(rows, gate, batch_size)
    except cg.ConsentGateError as error:
        assert_unmarked(error)


# --- gates and folders --------------------------------------------------------------------------


def test_a_pickled_gate_whose_file_is_a_pipe_is_an_error(tmp_path: Path) -> None:
    gate = gate_without()
    gate.save(tmp_path / "gate")
    dataset = gated_torch.filter([messages_of_all(8)], gate)
    step, carried = datatrove.consent_filter(gate), pickle.dumps(gate)
    sent = pickle.dumps(dataset._maker._gate), pickle.dumps(step._gate)
    (tmp_path / "gate").unlink()
    os.mkfifo(tmp_path / "gate")
    with pytest.raises(cg.UnreadableFileError, match="gate"):
        pickle.loads(carried)
    for gate_sent in sent:
        with pytest.raises(cg.UnreadableFileError, match="gate"):
            pickle.loads(gate_sent).current()


PLACES = ["a\0b", "\ud800", "x" * 300, "/dev/null", "/dev/null/ledger"]
WAYS: list[Callable[[str], object]] = [
    lambda place: gate_without().stream(messages_of_all(8), ledger=place),
    lambda place: list(gated_torch.filter([messages_of_all(8)], gate_without(), ledger=place)),
    lambda place: list(datatrove.filter([], gate_without(), ledger=place)),
    lambda place: huggingface.filter(Dataset(messages_of_all(8)), gate_without(), ledger=place),
    lambda place: huggingface.filter(
        Dataset(messages_of_all(8)).to_iterable_dataset(), gate_without(), ledger=place
    ),
]


@pytest.mark.parametrize("place", PLACES)
def test_a_ledger_that_cannot_be_is_an_error(
    place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for way in WAYS:
        with pytest.raises(cg.OutputError, match="Ledger directory"):
            way(place)
    assert [*tmp_path.iterdir()] == []


@pytest.mark.parametrize("store", [None, 3, "gates", gate_without()])
def test_a_live_gate_follows_a_store_only(store: Any) -> None:
    with pytest.raises(TypeError, match="must be a GateStore"):
        cg.LiveGate(store)


@pytest.mark.parametrize("interval", [None, 3, "1s", 0.5])
def test_an_interval_is_a_timedelta(interval: Any, tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="`check_every` is of type"):
        cg.LiveGate(cg.GateStore(tmp_path), check_every=interval)


def test_a_row_group_of_fewer_rows_than_promised_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pq.write_table(messages_of_all(100), tmp_path / "a.parquet")
    dataset = gated_torch.filter(tmp_path, gate_without(), batch_rows=10)
    read = pq.ParquetFile.iter_batches

    def fewer(file: pq.ParquetFile, *arguments: Any, **options: Any) -> Any:
        return list(read(file, *arguments, **options))[:-1]

    monkeypatch.setattr(pq.ParquetFile, "iter_batches", fewer)
    with pytest.raises(cg.UnreadableFileError, match=r"a\.parquet"):
        list(dataset)
    assert dataset.num_admitted == 0
