"""`consentgate explain`: the reasons against one record."""

from __future__ import annotations

from uuid import UUID

import pyarrow as pa
import pytest

from tests.build import message_table
from tests.cli.filtering import messages, write
from tests.command import Outcome, Runner, assert_paragraph, judge


def explained(run: Runner, record_id: str, **options: str) -> Outcome:
    return run("explain", "in.parquet", "--record-id", record_id, *judge(**options))


def test_explain_says_what_the_gate_says(run: Runner) -> None:
    write(message_table(message_id=[7, 8, 7], sender_id=[1, 1, 2]), "in.parquet")
    outcome = explained(run, "7")
    assert outcome.code == 0
    assert "row 0, written 2025-06-01T00:00:00Z: admitted" in outcome.out
    assert "row 2, written 2025-06-01T00:00:00Z: excluded, because" in outcome.out
    assert "consent_withdrawn" in outcome.out
    assert "row 1" not in outcome.out


def test_explain_counts_rows_over_batches(run: Runner) -> None:
    write(messages(10), "in.parquet", "ipc file")
    assert "row 8," in explained(run, "8").out


@pytest.mark.parametrize("kind", [pa.uuid(), pa.binary(16)])
def test_explain_reads_uuids(run: Runner, kind: pa.DataType) -> None:
    wanted = UUID(int=5)
    ids = pa.array([UUID(int=4).bytes, wanted.bytes], pa.binary(16)).cast(kind)
    write(message_table(message_id=ids), "in.parquet")
    assert "row 1," in explained(run, str(wanted)).out


@pytest.mark.parametrize("kind", [pa.string(), pa.string_view()])
def test_explain_reads_text(run: Runner, kind: pa.DataType) -> None:
    write(message_table(message_id=pa.array(["a", "007"], kind)), "in.parquet")
    assert "row 1," in explained(run, "007").out


def test_explain_of_an_absent_record_exits_with_1(run: Runner) -> None:
    write(messages(), "in.parquet")
    outcome = explained(run, "123456789")
    assert outcome.code == 1
    assert_paragraph(outcome.err, "record_not_found")
    assert "123456789" not in outcome.err


def test_explain_of_an_id_of_another_family_exits_with_2(run: Runner) -> None:
    write(messages(), "in.parquet")
    outcome = explained(run, "x")
    assert outcome.code == 2
    assert "give an integer" in outcome.err
