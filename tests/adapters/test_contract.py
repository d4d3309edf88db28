"""What holds for every adapter, whatever its engine."""

from __future__ import annotations

import importlib
import pkgutil
import sys
import time
from datetime import UTC, datetime, timedelta
from operator import itemgetter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import consentgate as cg
from consentgate import adapters
from consentgate.adapters import engine
from tests import adapters as tests_of_adapters
from tests.adapters.contract import LAYOUTS, Case, ledger_rows, messages
from tests.build import NOW, channel_table, consent_table
from tests.run_data import mixed_gate

MODULES = sorted(
    module.name
    for module in pkgutil.iter_modules(tests_of_adapters.__path__)
    if module.name.endswith("_cases")
)
"""The modules beside this one that hold cases; each adapter brings its own."""
CASES: list[Case] = [
    case
    for name in MODULES
    for case in importlib.import_module(f"{tests_of_adapters.__name__}.{name}").CASES
]
EVERY_CASE = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
WITH_LEDGER = pytest.mark.parametrize(
    "case", [case for case in CASES if case.keeps_ledger], ids=lambda case: case.name
)
WITHOUT_IDS = pytest.mark.parametrize(
    "case",
    [case for case in CASES if case.keeps_ledger and not case.brings_ids],
    ids=lambda case: case.name,
)
WITH_ENGINE = pytest.mark.parametrize(
    "case", [case for case in CASES if case.engine], ids=lambda case: case.name
)
ROWS = 700


@pytest.fixture
def gate(tmp_path: Path) -> cg.Gate:
    """A saved gate."""
    gate = mixed_gate(max_snapshot_age="P30D")
    gate.save(tmp_path / "gate")
    return cg.Gate.open(tmp_path / "gate")


def fresh_gate(withdrawn: int, **policy: Any) -> cg.Gate:
    """A gate as of a second ago, which judges by the clock."""
    as_of = datetime.now(UTC) - timedelta(seconds=1)
    status = ["withdrawn" if subject == withdrawn else "given" for subject in range(1, 41)]
    consent = consent_table(subject_id=list(range(1, 41)), status=status)
    channels = channel_table(channel_id=[10, 11], visibility=["public", "private"])
    return cg.Gate(
        cg.Policy(**policy),
        cg.ConsentSnapshot.from_arrow(consent, as_of=as_of),
        cg.ChannelRegistry.from_arrow(channels, as_of=as_of),
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An empty folder for the engine's files."""
    path = tmp_path / "data"
    path.mkdir()
    return path


def same_rows(case: Case, found: pa.Table, wanted: pa.Table) -> bool:
    """Whether two tables hold the same rows, in the same order where the engine keeps it."""
    cells = [table.to_pylist() for table in (found, wanted)]
    if not case.keeps_order:
        cells = [sorted(rows, key=itemgetter("message_id")) for rows in cells]
    is_same = found.schema.equals(wanted.schema, check_metadata=True)
    return bool(is_same) and cells[0] == cells[1]


def test_every_adapter_is_held_to_the_contract() -> None:
    assert {f"{name}_cases" for name in adapters.__all__} <= set(MODULES)
    assert len({case.name for case in CASES}) == len(CASES)


@EVERY_CASE
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("partitions", [1, 7])
def test_admits_what_the_gate_admits_as_it_was_given(
    case: Case, layout: str, partitions: int, gate: cg.Gate, folder: Path
) -> None:
    table = messages(ROWS, layout)
    data = case.give(table, folder, partitions)
    found = case.take(case.filter(data, gate))
    (folder / "again").mkdir()
    wanted = case.take(case.give(gate.filter(table)[0], folder / "again", 1))
    assert 0 < found.num_rows < ROWS
    assert same_rows(case, found, wanted)
    assert found.schema.equals(case.take(data).schema, check_metadata=True)


@WITH_LEDGER
@pytest.mark.parametrize("partitions", [1, 7])
def test_the_ledger_has_every_other_row_and_its_reason(
    case: Case, partitions: int, gate: cg.Gate, folder: Path, tmp_path: Path
) -> None:
    table = messages(ROWS)
    data = case.give(table, folder, partitions)
    admitted = case.take(case.filter(data, gate, ledger=tmp_path / "ledger"))
    found, wanted = ledger_rows(tmp_path / "ledger"), gate.filter(table)[1]
    assert admitted.num_rows + found.num_rows == ROWS
    by = "row" if case.keeps_order else "record_id"
    names = found.column_names if case.keeps_order else ["record_id", "reason", "reason_bits"]
    found, wanted = (t.sort_by(by).select(names) for t in (found, wanted))
    assert found.to_pylist() == wanted.to_pylist()
    assert found.schema.metadata == wanted.schema.metadata


@EVERY_CASE
def test_no_rows_are_no_rows(case: Case, gate: cg.Gate, folder: Path) -> None:
    data = case.give(messages(0), folder, 1)
    found = case.take(case.filter(data, gate))
    assert found.num_rows == 0
    if case.tells_columns:
        assert found.schema.equals(case.take(data).schema, check_metadata=True)


@WITH_LEDGER
def test_no_rows_leave_no_ledger_rows(
    case: Case, gate: cg.Gate, folder: Path, tmp_path: Path
) -> None:
    data = case.give(messages(0), folder, 1)
    case.take(case.filter(data, gate, ledger=tmp_path / "ledger"))
    assert sum(pq.read_metadata(p).num_rows for p in (tmp_path / "ledger").glob("*.parquet")) == 0


@EVERY_CASE
def test_a_live_gate_judges_as_the_one_that_is_current(
    case: Case, folder: Path, tmp_path: Path
) -> None:
    store, table = cg.GateStore(tmp_path / "gates"), messages(ROWS)
    for withdrawn in (5, 7):
        gate = fresh_gate(withdrawn)
        store.publish(gate)
    found = case.take(case.filter(case.give(table, folder, 1), store.live()))
    wanted = gate.filter(table)[0]["message_id"].to_pylist()
    assert sorted(map(int, found["message_id"].to_pylist())) == wanted


@EVERY_CASE
def test_a_snapshot_that_is_too_old_is_refused(case: Case, folder: Path, tmp_path: Path) -> None:
    store = cg.GateStore(tmp_path / "gates")
    store.publish(fresh_gate(5, max_snapshot_age=timedelta(seconds=1.5)))
    live = store.live()
    time.sleep(1)
    data = case.give(messages(ROWS), folder, 1)
    with pytest.raises(cg.StaleSnapshotError, match="old at the instant of judgement"):
        case.take(case.filter(data, live))


@EVERY_CASE
def test_what_is_no_data_is_refused_at_once(case: Case, gate: cg.Gate) -> None:
    with pytest.raises(cg.NotArrowError, match="of type 'object'"):
        case.filter(object(), gate)


@EVERY_CASE
def test_the_instant_can_be_given(case: Case, gate: cg.Gate, folder: Path) -> None:
    data = case.give(messages(ROWS), folder, 1)
    with pytest.raises(cg.StaleSnapshotError, match="old at the instant of judgement"):
        case.take(case.filter(data, gate, judged_at=NOW + timedelta(days=99)))


@EVERY_CASE
def test_a_missing_column_is_named(case: Case, gate: cg.Gate, folder: Path) -> None:
    data = case.give(messages(ROWS).drop("sender_id"), folder, 1)
    with pytest.raises(cg.ColumnMissingError, match="Column 'sender_id'"):
        case.take(case.filter(data, gate))


@WITH_ENGINE
def test_record_ids_are_not_needed_without_a_ledger(
    case: Case, gate: cg.Gate, folder: Path
) -> None:
    data = case.give(messages(ROWS).drop("message_id"), folder, 1)
    found = case.take(case.filter(data, gate))
    wanted = gate.filter(messages(ROWS))[0]
    assert sorted(found["text"].to_pylist()) == sorted(wanted["text"].to_pylist())


@WITHOUT_IDS
def test_record_ids_are_needed_with_a_ledger(
    case: Case, gate: cg.Gate, folder: Path, tmp_path: Path
) -> None:
    data = case.give(messages(ROWS).drop("message_id"), folder, 3)
    with pytest.raises(cg.ColumnMissingError, match="Column 'message_id'"):
        case.take(case.filter(data, gate, ledger=tmp_path / "ledger"))
    parts = (tmp_path / "ledger").rglob("*.parquet")
    assert sum(pq.read_metadata(part).num_rows for part in parts) == 0


@EVERY_CASE
def test_what_the_gate_excludes_is_not_in_the_result(
    case: Case, gate: cg.Gate, folder: Path
) -> None:
    table = messages(ROWS, "dictionary")
    admitted, excluded = gate.filter(table)
    found = case.take(case.filter(case.give(table, folder, 3), gate))
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, found.schema) as writer:
        writer.write_table(found)
    written = sink.getvalue().to_pybytes()
    secrets = [f"message {number} of some" for number in excluded["record_id"].to_pylist()]
    assert not any(secret.encode() in written for secret in secrets)
    assert admitted.num_rows == found.num_rows


@WITH_ENGINE
def test_a_missing_engine_names_what_to_install(
    case: Case, gate: cg.Gate, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = case.give(messages(10), folder, 1)
    monkeypatch.setitem(sys.modules, str(case.engine), None)
    with pytest.raises(cg.ExtraMissingError, match=r"pip install --upgrade '\w+"):
        case.filter(data, gate)


@WITH_ENGINE
def test_an_engine_too_old_names_the_version_needed(
    case: Case, gate: cg.Gate, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = case.give(messages(10), folder, 1)
    monkeypatch.setattr(engine, "version", {case.engine: "0.0.9"}.get)
    with pytest.raises(cg.ExtraOutdatedError, match=r"0\.0\.9, but \d+\.\d+ or newer is needed"):
        case.filter(data, gate)
