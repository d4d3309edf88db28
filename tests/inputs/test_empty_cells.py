"""Cells that say nothing in columns of words: what they may be made to mean."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

import consentgate as cg
from tests.build import (
    ABSENT,
    AS_OF,
    consent_table,
    make_consent,
    make_gate,
    message_table,
    reasons,
)

EMPTY = {"subject_id": [1, 2, 3], "status": ["given", None, ""]}
HEADER = "subject_id,purpose,status,method,effective_from\n"
TEXT = (
    HEADER
    + "1,train_ai_system,given,explicit,2025-01-01T00:00:00Z\n"
    + "2,train_ai_system,,,\n"
    + '3,train_ai_system,"","",\n'
)


def take(table: pa.Table, **maps: Any) -> cg.ConsentSnapshot:
    """The table as a snapshot."""
    return cg.ConsentSnapshot.from_arrow(table, as_of=AS_OF, **maps)


def test_an_empty_status_means_what_the_map_says() -> None:
    snapshot = take(consent_table(**EMPTY), status_map={"": "refused"})
    assert snapshot.table["status"].to_pylist() == ["given", "refused", "refused"]
    found = reasons(make_gate(snapshot), message_table(sender_id=[1, 2, 3]))
    assert found == [[], ["consent_refused"], ["consent_refused"]]
    plain = make_consent(**{**EMPTY, "status": ["given", "refused", "refused"]})
    assert snapshot.digest == plain.digest


def test_an_empty_method_means_what_the_map_says() -> None:
    table = consent_table(subject_id=[1, 2, 3], method=["explicit", None, ""])
    snapshot = take(table, method_map={"": "unknown"})
    assert snapshot.table["method"].to_pylist() == ["explicit", "unknown", "unknown"]
    found = reasons(make_gate(snapshot), message_table(sender_id=[1, 2, 3]))
    assert found == [[], ["consent_not_explicit"], ["consent_not_explicit"]]


@pytest.mark.parametrize("kind", [pa.string(), pa.dictionary(pa.int8(), pa.string()), pa.null()])
def test_a_column_of_nulls_may_be_mapped(kind: pa.DataType) -> None:
    table = consent_table(subject_id=[1, 2], status=pa.nulls(2, kind), effective_from=ABSENT)
    snapshot = take(table, status_map={"": "unknown"})
    assert snapshot.table["status"].to_pylist() == ["unknown", "unknown"]


def test_empty_cells_of_a_csv_file_may_be_mapped(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text(TEXT)
    snapshot = cg.ConsentSnapshot.read(
        tmp_path / "x.csv", as_of=AS_OF, status_map={"": "unknown"}, method_map={"": "imported"}
    )
    assert snapshot.table["status"].to_pylist() == ["given", "unknown", "unknown"]
    assert snapshot.table["method"].to_pylist() == ["explicit", "imported", "imported"]


def test_absent_keys_of_a_json_file_may_be_mapped(tmp_path: Path) -> None:
    (tmp_path / "x.jsonl").write_text(
        '{"subject_id": 1, "purpose": "p", "method": null}\n'
        '{"subject_id": 2, "purpose": "p", "status": null, "method": ""}\n'
        '{"subject_id": 3, "purpose": "p", "status": "", "method": "explicit"}\n'
    )
    snapshot = cg.ConsentSnapshot.read(
        tmp_path / "x.jsonl", as_of=AS_OF, status_map={"": "unknown"}
    )
    assert snapshot.table["status"].to_pylist() == ["unknown"] * 3
    assert snapshot.table["method"].to_pylist() == [None, "", "explicit"]


def test_an_empty_status_that_no_map_names_is_refused() -> None:
    with pytest.raises(cg.SnapshotError) as caught:
        take(consent_table(**EMPTY), status_map={"yes": "given"})
    null, empty = caught.value.faults
    assert type(null) is cg.NullValueError
    assert "or say with `status_map` what '' stands for" in str(null)
    assert type(empty) is cg.UnknownStatusError
    assert str(empty).endswith("translate them with `status_map`. An empty cell is ''.")


def test_an_empty_method_that_no_map_names_is_kept() -> None:
    table = consent_table(subject_id=[1, 2], method=[None, ""])
    assert take(table, method_map={"click": "explicit"}).table["method"].to_pylist() == [None, ""]


@pytest.mark.parametrize("key", ["", " ", "\t\u00a0", "\u200b", "\ufeff", "\0"])
@pytest.mark.parametrize(
    ("name", "meaning"),
    [("status_map", "given"), ("status_map", "renewed"), ("method_map", "explicit")],
)
def test_a_cell_that_says_nothing_never_means_consent(key: str, name: str, meaning: str) -> None:
    words = f"`{name}` lets an empty cell mean '{meaning}', but a person who said nothing has not"
    with pytest.raises(cg.ConfigurationError, match=words):
        take(consent_table(), **{name: {key: meaning}})


def test_a_map_is_applied_once() -> None:
    table = consent_table(**EMPTY)
    with pytest.raises(cg.UnknownStatusError, match="'blank', in 2 of 3 rows"):
        take(table, status_map={"": "blank", "blank": "given"})
