"""Explanations: every reason against a row, and the records behind them."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pyarrow as pa
import pytest

import consentgate as cg
from tests.build import NOW, make_consent, make_gate, message_table
from tests.gate_data import GATE, TABLE, UUIDS


def test_an_explanation_says_why_and_shows_the_records() -> None:
    told = GATE.explain(TABLE, 1)
    (row,) = told.rows
    assert (told.record_id, row.row) == (1, 1)
    (reason,) = row.reasons
    assert (reason.code, reason.words) == ("consent_withdrawn", "a data subject withdrew consent")
    assert [str(origin) for origin in reason.origins] == [
        "subject 2 in 'sender_id', purpose 'train_ai_system'"
    ]
    assert row.created_at == "2025-06-01T00:00:00Z"
    (channel,), (subject,) = row.channels, row.subjects
    assert (channel.column, channel.id, channel.purpose) == ("channel_id", 10, None)
    assert channel.record == {"visibility": "public"}
    assert (subject.column, subject.id, subject.purpose) == ("sender_id", 2, "train_ai_system")
    assert subject.record is not None
    assert subject.record["status"] == "withdrawn"
    assert subject.record["effective_from"] == "2025-01-01T00:00:00Z"
    assert "consent_withdrawn: a data subject withdrew consent" in str(told)


def test_an_explanation_says_that_nothing_is_on_record() -> None:
    unknown = GATE.explain(TABLE, 2).rows[0]
    assert unknown.channels[0].record is None
    assert "channel_id 11: no record" in str(unknown)
    missing = GATE.explain(TABLE, 3).rows[0]
    assert (missing.subjects[0].id, missing.subjects[0].record) == (None, None)
    assert GATE.explain(TABLE, 0).rows[0].reasons == ()
    assert "admitted" in str(GATE.explain(TABLE, 0))


@pytest.mark.parametrize(
    ("ids", "sought", "rows"),
    [
        (pa.array([5, 6, 5]), 5, [0, 2]),
        (pa.array(["5", "6", "5"], pa.string_view()), "5", [0, 2]),
        (pa.array(["5", "6", "5"]).dictionary_encode(), "6", [1]),
        (UUIDS, bytes([1] * 16), [0, 2]),
        (UUIDS, UUID(bytes=bytes([2] * 16)), [1]),
    ],
)
def test_every_row_with_the_id_is_explained(ids: Any, sought: Any, rows: list[int]) -> None:
    told = GATE.explain(message_table(message_id=ids), sought)
    assert [row.row for row in told.rows] == rows


def test_rules_lists_and_several_purposes_are_explained() -> None:
    rule = cg.Rule(name="paid", column="tier", any_of=("paid",))
    consent = make_consent(subject_id=[1, 1, 2], purpose=["a", "b", "a"], tier="paid")
    gate = make_gate(consent, purposes={"a", "b"}, subject_rules=(rule,))
    (row,) = gate.explain(message_table(sender_id=pa.array([[1, 2]])), 0).rows
    assert [reason.code for reason in row.reasons] == ["no_consent_record", "paid"]
    assert "'tier'" in row.reasons[1].words
    found = [(s.id, s.purpose, s.record is None) for s in row.subjects]
    assert found == [(1, "a", False), (1, "b", False), (2, "a", False), (2, "b", True)]


def test_explanation_shows_the_rows_own_visibility() -> None:
    columns = cg.Columns(channels=(), visibility="seen_by")
    gate = cg.Gate(cg.Policy(), make_consent(), columns=columns, judged_at=GATE.judged_at)
    table = TABLE.append_column("seen_by", pa.array(["friends"] * TABLE.num_rows))
    record_id = table["message_id"][0].as_py()
    assert "visibility friends" in str(gate.explain(table, record_id, judged_at=NOW))
