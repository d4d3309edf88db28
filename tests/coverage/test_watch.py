"""The warnings of `Gate.filter` and `run`: when they come, how often, and what they hold."""

from __future__ import annotations

import copy
import pickle
import re
import warnings
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import consentgate as cg
from tests.build import AS_OF, make_channels, make_consent, make_gate, message_table
from tests.leaks import MARK

MANY = 1_200
BOTH = {"subject_id": [1, 2], "method": ["explicit", "Explicit"]}


def filtered(gate: cg.Gate, *tables: pa.Table) -> list[str]:
    """The warnings as a gate filters tables."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for table in tables:
            gate.filter(table)
    assert {warning.category for warning in caught} <= {cg.CoverageWarning}
    assert {warning.filename for warning in caught} <= {__file__}
    return [str(warning.message) for warning in caught]


def mismatched_gate() -> cg.Gate:
    return make_gate(None, make_channels(), public_visibilities={"Public"})


# the policy's words


def test_a_visibility_in_another_case_is_told_once() -> None:
    (text,) = filtered(mismatched_gate(), message_table(), message_table())
    assert text == (
        "Column 'visibility' of the channel registry has no 'Public', which the policy's field "
        "'public_visibilities' names, but 'public'. Spell them alike if they mean the same."
    )


def test_purposes_without_a_record_are_told_together() -> None:
    gate = make_gate(purposes={"train_ai_system", "train", "evaluate"})
    (text,) = filtered(gate, message_table())
    assert text == (
        "The consent snapshot has no record for the policy's purpose 'evaluate', 'train', so every "
        "subject lacks one. The snapshot's purposes are: 'train_ai_system'. Correct the policy or "
        "the snapshot."
    )


@pytest.mark.parametrize(
    ("policy", "records"),
    [
        ({"methods": {"Explicit"}}, {}),
        ({"methods": {"explicit", "importd"}}, {"subject_id": [1, 2], "method": "imported"}),
        ({"notice_versions": {"v1"}}, {"notice_version": ["V1"]}),
    ],
)
def test_words_spelled_almost_alike_are_told(
    policy: dict[str, Any], records: dict[str, Any]
) -> None:
    (first, *_) = filtered(make_gate(make_consent(**records), **policy), message_table())
    assert "Spell them alike" in first


@pytest.mark.parametrize(
    ("policy", "records"),
    [
        ({"methods": {"explicit", "Explicit"}}, BOTH),
        ({"methods": {"explicit"}}, BOTH),
        ({"methods": {"explicit", "Explicit"}}, {}),
        ({"methods": {"explicit", "imported"}}, {}),
        ({"notice_versions": {"v2"}}, {"notice_version": ["v1"]}),
        ({}, {"subject_id": [1, 1], "purpose": ["train_ai_system", "train_ai_systems"]}),
    ],
)  # fmt: skip
def test_words_that_fit_or_are_other_words_are_not_told(
    policy: dict[str, Any], records: dict[str, Any]
) -> None:
    assert filtered(make_gate(make_consent(**records), **policy), message_table()) == []


def test_words_of_a_column_that_may_hold_ids_are_not_shown() -> None:
    people = [f"{MARK}-{n}" for n in range(60)]
    methods = [*people[:-1], "Explicit"]
    gate = make_gate(make_consent(subject_id=people, method=methods, purpose=people))
    told = filtered(gate, message_table(sender_id=people * 20))
    assert len(told) == 3
    assert not any(MARK in text for text in told)
    assert "purposes are: too many to list." in told[0]
    assert "but a word that is spelled almost like it." in told[1]


def test_an_opened_gate_does_not_know_the_words(tmp_path: Path) -> None:
    mismatched_gate().save(tmp_path / "a.gate")
    assert filtered(cg.Gate.open(tmp_path / "a.gate"), message_table()) == []


@pytest.mark.parametrize(
    "copied", [copy.copy, copy.deepcopy, lambda gate: pickle.loads(pickle.dumps(gate))]
)
def test_a_copy_of_a_gate_does_not_tell_again(copied: Any) -> None:
    gate = mismatched_gate()
    assert len(filtered(gate, message_table())) == 1
    assert filtered(copied(gate), message_table()) == []


def test_judging_alone_does_not_warn() -> None:
    gate = mismatched_gate()
    gate.decide(message_table())
    gate.annotate(message_table())
    gate.stream(message_table()).read_all()


def test_a_warning_can_be_an_error() -> None:
    gate = mismatched_gate()
    with pytest.raises(cg.CoverageWarning, match="has no 'Public'"):
        gate.filter(message_table())
    assert gate.filter(message_table())[1].num_rows == 1


# the rows


@pytest.mark.parametrize(
    ("columns", "code"),
    [
        ({"channel_id": [99] * MANY}, "channel_unknown"),
        ({"sender_id": [99] * MANY}, "no_consent_record"),
        ({"sender_id": pa.nulls(MANY, pa.int64())}, "subject_missing"),
        ({"created_at": pa.nulls(MANY, pa.timestamp("us", "UTC"))}, "timestamp_missing"),
        ({"created_at": [AS_OF + timedelta(days=1)] * MANY}, "after_snapshot"),
    ],
)
def test_a_reason_that_excludes_in_mass_is_told_once(columns: dict[str, Any], code: str) -> None:
    (text,) = filtered(make_gate(), message_table(**columns), message_table(**columns))
    assert text.startswith(f"All 1,200 rows are excluded by {code}: ")


@pytest.mark.parametrize(("unknown", "told"), [(899, 0), (900, 1)])
def test_nine_rows_of_ten_are_in_mass(unknown: int, told: int) -> None:
    table = message_table(sender_id=[99] * unknown + [1] * (1_000 - unknown))
    assert len(filtered(make_gate(), table)) == told


@pytest.mark.parametrize(("rows", "told"), [(999, 0), (1_000, 1)])
def test_a_thousand_rows_are_needed(rows: int, told: int) -> None:
    assert len(filtered(make_gate(), message_table(sender_id=[99] * rows))) == told


def test_rows_of_small_batches_are_added_up() -> None:
    table = message_table(sender_id=[99] * 100)
    gate = make_gate()
    assert filtered(gate, *[table] * 9) == []
    (text,) = filtered(gate, table)
    assert text.startswith("All 1,000 rows")


def test_a_batch_with_admitted_rows_begins_the_sum_anew() -> None:
    bad, good = message_table(sender_id=[99] * 600), message_table(sender_id=[1] * 600)
    assert filtered(make_gate(), bad, good, bad) == []


def test_threads_that_share_a_gate_tell_once() -> None:
    gate, table = make_gate(), message_table(sender_id=[99] * 400, channel_id=[99] * 400)
    with warnings.catch_warnings(record=True) as caught, ThreadPoolExecutor(8) as pool:
        warnings.simplefilter("always")
        list(pool.map(lambda _: gate.filter(table, threads=1), range(200)))
    told = [str(warning.message).partition(":")[0].rpartition(" ")[2] for warning in caught]
    assert sorted(told) == ["channel_unknown", "no_consent_record"]
    assert all(str(warning.message).startswith("All ") for warning in caught)


@pytest.mark.parametrize(
    ("subject", "reason"),
    [
        ({"status": ["refused"]}, "consent_refused"),
        ({"method": ["bundled"]}, "consent_not_explicit"),
    ],
)
def test_what_people_decided_is_no_mismatch(subject: dict[str, Any], reason: str) -> None:
    gate = make_gate(make_consent(**subject))
    table = message_table(sender_id=[1] * MANY)
    assert gate.decide(table).counts == {reason: MANY}
    assert filtered(gate, table) == []


def test_private_messages_in_mass_are_no_mismatch() -> None:
    registry = make_channels(channel_id=[10, 11], visibility=["private", "public"])
    assert filtered(make_gate(None, registry), message_table(channel_id=[10] * MANY)) == []


def test_private_messages_in_mass_are_told_where_a_word_is_almost_public() -> None:
    registry = make_channels(channel_id=[10, 11], visibility=["Public", "public"])
    (text,) = filtered(make_gate(None, registry), message_table(channel_id=[10] * MANY))
    assert text.startswith("All 1,200 rows are excluded by private_channel: ")
    assert text.endswith("Some visibilities are spelled almost like a public one: 'Public'.")


def test_the_messages_own_visibilities_are_looked_at() -> None:
    gate = make_gate(columns=cg.Columns(channels=(), visibility="seen_by"))
    (text,) = filtered(gate, message_table(seen_by=["Public"] * MANY))
    assert text.endswith("Some visibilities are spelled almost like a public one: 'Public'.")


def test_an_opened_gate_tells_of_rows(tmp_path: Path) -> None:
    make_gate().save(tmp_path / "a.gate")
    opened = cg.Gate.open(tmp_path / "a.gate")
    assert len(filtered(opened, message_table(sender_id=[99] * MANY))) == 1


def test_no_warning_holds_an_id() -> None:
    gate = make_gate(make_consent(subject_id=[MARK]), make_channels(channel_id=[MARK]))
    strangers = [MARK.upper()] * MANY
    told = filtered(gate, message_table(sender_id=strangers, channel_id=strangers))
    assert len(told) == 2
    assert not any(re.search(MARK, text, re.IGNORECASE) for text in told)


def test_visibilities_in_a_column_of_ids_are_not_shown() -> None:
    columns = cg.Columns(channels=(), visibility="sender_id")
    consent, public = make_consent(subject_id=[MARK.lower()]), {MARK.upper()}
    gate = make_gate(consent, columns=columns, public_visibilities=public)
    (text,) = filtered(gate, message_table(sender_id=[MARK.lower()] * MANY))
    assert text.endswith("Some visibilities are spelled almost like a public one.")


def test_a_word_with_line_breaks_is_told_on_one_line() -> None:
    registry = make_channels(visibility=["pub\nlic\x1b"])
    (text,) = filtered(
        make_gate(None, registry, public_visibilities={"pub lic\x1b"}), message_table()
    )
    assert text.isprintable()
    assert "'pub\\nlic\\x1b'" in text


def test_code_that_has_no_module_is_warned() -> None:
    gate, table = mismatched_gate(), message_table()
    with pytest.warns(cg.CoverageWarning, match="has no 'Public'"):
        exec("gate.filter(table)", {"gate": gate, "table": table})


# runs


def test_a_run_tells_of_words_before_and_of_rows_after(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for name in ("a", "b"):
        pq.write_table(message_table(sender_id=[1] * 600), tmp_path / f"in/{name}.parquet")
    with pytest.warns(cg.CoverageWarning) as caught:
        manifest = cg.run(mismatched_gate(), tmp_path / "in", tmp_path / "out")
    assert manifest.totals.admitted == 0
    words, rows = caught
    assert "has no 'Public'" in str(words.message)
    assert str(rows.message).startswith("All 1,200 rows are excluded by private_channel: ")
    assert {words.filename, rows.filename} == {__file__}


def test_a_small_run_does_not_tell_of_rows(tmp_path: Path) -> None:
    pq.write_table(message_table(sender_id=[99] * 999), tmp_path / "a.parquet")
    cg.run(make_gate(), tmp_path / "a.parquet", tmp_path / "out")
