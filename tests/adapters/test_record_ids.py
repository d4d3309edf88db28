"""Adapters need record ids for a ledger, and for nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

import consentgate as cg
from tests.adapters import document_cases, frame_cases, torch_cases
from tests.adapters.contract import Case, messages
from tests.run_data import mixed_gate

BY_COLUMNS = [
    case
    for case in (*document_cases.CASES, *frame_cases.CASES, *torch_cases.CASES)
    if case.name != "datatrove-documents"  # which have ids of their own
]
OF_LEDGERS = [case for case in BY_COLUMNS if case.keeps_ledger]


def saved_gate(folder: Path) -> cg.Gate:
    mixed_gate(max_snapshot_age="P30D").save(folder / "gate")
    return cg.Gate.open(folder / "gate")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    (tmp_path / "data").mkdir()
    return tmp_path / "data"


@pytest.mark.parametrize("case", BY_COLUMNS, ids=lambda case: case.name)
def test_without_a_ledger_record_ids_are_not_needed(case: Case, data: Path, tmp_path: Path) -> None:
    gate, table = saved_gate(tmp_path), messages(200).drop("message_id")
    found = case.take(case.filter(case.give(table, data, 2), gate))
    wanted = table.filter(gate.decide(table).admitted)
    assert 0 < wanted.num_rows < table.num_rows
    assert sorted(found["text"].to_pylist()) == sorted(wanted["text"].to_pylist())
    assert found.column_names == table.column_names


@pytest.mark.parametrize("case", OF_LEDGERS, ids=lambda case: case.name)
def test_with_a_ledger_missing_record_ids_are_an_error(
    case: Case, data: Path, tmp_path: Path
) -> None:
    gate, table = saved_gate(tmp_path), messages(200).drop("message_id")
    given = case.give(table, data, 2)
    with pytest.raises(cg.ColumnMissingError, match=r"'message_id' \(record_id\)"):
        case.take(case.filter(given, gate, ledger=tmp_path / "ledger"))
    assert not list((tmp_path / "ledger").glob("*.parquet"))
