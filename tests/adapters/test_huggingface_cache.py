"""Hugging Face's cache: no judgement is taken from it that might be another now."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import datasets
import pytest
from datasets import Dataset

import consentgate as cg
from consentgate.adapters.huggingface import filter as gated
from tests.adapters.contract import ledger_rows
from tests.adapters.huggingface_cases import on_disk
from tests.adapters.huggingface_data import (
    MINUTE,
    ROWS,
    admitted_ids,
    cache_files,
    ids_in,
    saved,
    withdrawing,
)
from tests.build import NOW, channel_table, consent_table, make_consent, make_gate, message_table
from tests.run_data import mixed_gate, mixed_messages


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
