"""`Gate.coverage`: what it counts, what it says, and what it never shows."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

import consentgate as cg
from tests.build import AS_OF, BEGUN, NOW, make_channels, make_consent, make_gate, message_table
from tests.coverage.expected import asked_words, channel_counts, subject_counts
from tests.layouts import Layout
from tests.leaks import MARK
from tests.scenarios import Scenario
from tests.strategies import layouts, scenarios


def codes(coverage: cg.Coverage) -> list[str]:
    """The code of each warning."""
    return [mismatch.code for mismatch in coverage.warnings]


def shown(coverage: cg.Coverage) -> str:
    """All that a coverage could show."""
    whole = {**asdict(coverage), "mismatches": [asdict(each) for each in coverage.mismatches]}
    return f"{coverage}\n{coverage!r}\n{json.dumps(whole)}\n{coverage.mismatches!r}"


def ids(coverage: cg.Coverage, what: str) -> dict[str, Any]:
    counts = asdict(getattr(coverage, what))
    del counts["columns"]
    return counts


# counts, held against plain Python


@given(scenario=scenarios(), layout=layouts(), batch_rows=st.integers(1, 50))
def test_counts_are_those_of_plain_python(
    scenario: Scenario, layout: Layout, batch_rows: int
) -> None:
    gate, table = scenario.gate(layout), scenario.table(layout)
    batches = [table.slice(start, batch_rows) for start in range(0, max(len(table), 1), batch_rows)]
    coverage = gate.coverage(batches, judged_at=scenario.judged_at)
    assert ids(coverage, "subjects") == subject_counts(scenario)
    if scenario.channel_names:
        assert ids(coverage, "channels") == channel_counts(scenario)
    decision = gate.decide(table, judged_at=scenario.judged_at)
    assert (coverage.rows, coverage.admitted) == (len(decision), decision.num_admitted)
    assert coverage.reasons == decision.occurrences
    asked = scenario.policy.purposes
    assert coverage.unasked_records == sum(r.purpose not in asked for r in scenario.consents)
    assert_words(scenario, coverage)


def assert_words(scenario: Scenario, coverage: cg.Coverage) -> None:
    """The words of snapshot, registry and messages are counted as plain Python counts them."""
    by_setting = {(v.setting, v.table): v for v in coverage.vocabularies if not v.is_rule}
    expected: dict[tuple[str, str], Counter[str]] = {
        ("purposes", "consent snapshot"): Counter(r.purpose for r in scenario.consents),
        ("methods", "consent snapshot"): asked_words(scenario, "method"),
    }
    if scenario.policy.notice_versions is not None:
        notices = asked_words(scenario, "notice_version")
        expected["notice_versions", "consent snapshot"] = notices
    if scenario.channel_names:
        words = Counter(c.visibility for c in scenario.channels if c.visibility is not None)
        expected["public_visibilities", "channel registry"] = words
    if scenario.visibility_name:
        own = (message.visibility for message in scenario.messages())
        words = Counter(word for word in own if word is not None)
        expected["public_visibilities", "messages"] = words
    assert {at: Counter(dict(v.words or ())) for at, v in by_setting.items()} == expected
    for vocabulary in by_setting.values():
        named, counts = set(vocabulary.named or ()), dict(vocabulary.words or ())
        assert set(vocabulary.unmatched_words or ()) == named - counts.keys()
        assert vocabulary.matched_entries == sum(counts.get(word, 0) for word in named)
        assert vocabulary.entries == sum(counts.values())


@given(scenario=scenarios())
def test_subjects_of_the_snapshot_are_counted_by_what_stands_against_them(
    scenario: Scenario,
) -> None:
    coverage = scenario.gate().coverage(scenario.table(), judged_at=scenario.judged_at)
    subjects = sorted({r.subject for r in scenario.consents}, key=repr)
    asked = scenario.policy.purposes
    held = {s: {r.purpose for r in scenario.consents if r.subject == s} for s in subjects}
    known = [s for s in subjects if asked <= held[s]]
    assert coverage.known_subjects == len(known)
    assert 0 <= coverage.consenting_subjects <= len(known)
    assert sum(coverage.subject_reasons.values()) >= len(known) - coverage.consenting_subjects


@given(
    senders=st.lists(st.integers(0, 30), min_size=1, max_size=60),
    spelled=st.sampled_from([str, str.upper, str.title, " {} ".format, "{}\u00a0".format]),
    ruled=st.sampled_from(["sender_id", "channel_id", "message_id", "note"]),
    method=st.sampled_from(["explicit", "Explicit", None]),
)
def test_no_id_is_ever_shown(senders: list[int], spelled: Any, ruled: str, method: Any) -> None:
    people = [f"{MARK}-{n}" for n in range(20)]
    rule = {"name": "named", "column": ruled, "any_of": [spelled(people[0]), people[1]]}
    subject_rule = {"name": "listed", "column": "subject_id", "none_of": [people[2], "x"]}
    gate = make_gate(
        make_consent(subject_id=people, method=[method] * 20),
        make_channels(channel_id=people[:5], visibility=["Public"] * 5),
        record_rules=[rule] if ruled != "note" else [],
        subject_rules=[subject_rule],
    )
    names = [spelled(f"{MARK}-{n}") for n in senders]
    coverage = gate.coverage(message_table(sender_id=names, channel_id=names, message_id=names))
    assert MARK.casefold() not in shown(coverage).casefold()
    assert coverage.subjects.distinct == len(set(senders))


def test_a_visibility_in_a_column_of_ids_is_only_counted() -> None:
    columns = cg.Columns(channels=(), visibility="sender_id")
    gate = make_gate(make_consent(subject_id=[MARK]), columns=columns)
    coverage = gate.coverage(message_table(sender_id=[MARK]))
    assert MARK not in f"{coverage} {coverage!r} {json.dumps(asdict(coverage))}"
    assert [v.entries for v in coverage.vocabularies if v.column == "sender_id"] == [1]


def test_a_word_with_line_breaks_adds_no_line_to_the_text() -> None:
    registry = make_channels(visibility=["Public\n\x1b[31m"])
    coverage = make_gate(None, registry).coverage(message_table())
    assert "'Public\\n\\x1b[31m' 1" in str(coverage)
    assert "\x1b" not in str(coverage)


def test_a_column_of_many_words_is_shown_as_a_count() -> None:
    people = [f"{MARK}-{n}" for n in range(60)]
    coverage = make_gate(make_consent(subject_id=range(60), method=people)).coverage(
        message_table(sender_id=[1])
    )
    methods = next(v for v in coverage.vocabularies if v.setting == "methods")
    assert (methods.entries, methods.matched_entries, methods.words) == (60, 0, None)
    assert MARK not in shown(coverage)


def test_a_column_with_a_long_word_is_shown_as_a_count() -> None:
    long = [MARK * 10, "Explicit"]
    coverage = make_gate(make_consent(subject_id=[1, 2], method=long)).coverage(message_table())
    assert MARK not in shown(coverage)


# stories


def test_a_visibility_in_another_case_is_a_warning() -> None:
    registry = make_channels(channel_id=range(10), visibility=["public"] * 9 + ["private"])
    gate = make_gate(None, registry, public_visibilities={"Public"})
    coverage = gate.coverage(message_table(channel_id=[n % 10 for n in range(2_000)]))
    assert codes(coverage) == ["no_word_occurs", "word_alike", "rows_excluded"]
    text = coverage.warnings[1].message
    assert "Column 'visibility' of the channel registry has 'public' in 9 of 10 channels" in text
    assert "names 'Public'" in text
    assert coverage.warnings[1].counts == {"channels": 10, "alike": 9}
    assert "All 2,000 rows are excluded by private_channel" in coverage.warnings[2].message


def test_the_messages_own_visibility_is_compared_too() -> None:
    columns = cg.Columns(channels=(), visibility="seen_by")
    table = message_table(seen_by=["Public", "public", None])
    coverage = make_gate(columns=columns).coverage(table)
    assert coverage.channels is None
    assert "Column 'seen_by' of the messages has 'Public' in 1 of 2 messages" in str(coverage)


def test_a_purpose_without_a_record_is_a_warning() -> None:
    coverage = make_gate(purposes={"train_ai_system", "evaluate"}).coverage(message_table())
    assert codes(coverage) == ["purpose_without_record", "no_subject_known", "rows_excluded"]
    assert "no record for the policy's purpose 'evaluate'" in coverage.warnings[0].message
    assert "purposes are: 'train_ai_system'" in coverage.warnings[0].message
    assert (coverage.subjects.unknown, coverage.subjects.incomplete) == (1, 1)


def test_ids_that_differ_in_case_are_a_warning() -> None:
    consent = make_consent(subject_id=["ann@x.org", "Bob@x.org", "eve@x.org"])
    senders = ["ann@x.org"] * 90 + ["bob@x.org", " Bob@x.org", "zoe@x.org"]
    coverage = make_gate(consent).coverage(message_table(sender_id=senders))
    assert codes(coverage) == ["subject_ids_alike"]
    assert coverage.warnings[0].counts == {"alike": 2, "rows": 2}
    assert ids(coverage, "subjects") == {
        "distinct": 4, "unknown": 3, "unknown_rows": 3, "incomplete": 0, "alike": 2,
        "alike_rows": 2, "unused": 2,
    }  # fmt: skip


def test_a_few_ids_that_differ_in_case_are_worth_a_look() -> None:
    consent = make_consent(subject_id=["ann", "bob"])
    coverage = make_gate(consent).coverage(message_table(sender_id=["ann"] * 200 + ["Bob"]))
    assert coverage.warnings == ()
    assert [mismatch.code for mismatch in coverage.mismatches] == ["subject_ids_alike"]


def test_words_of_the_snapshot_are_compared() -> None:
    consent = make_consent(
        subject_id=range(4),
        method=["Explicit", "explicit", "explicit", "implied"],
        notice_version=["V1", "v1", "v2", None],
        region=["EU ", "US", "US", None],
    )
    rule = {"name": "exempt", "column": "region", "any_of": ["EU"]}
    gate = make_gate(consent, notice_versions={"v1", "v7"}, subject_rules=[rule])
    text = str(gate.coverage(message_table(sender_id=range(4))))
    assert "Column 'method' of the consent snapshot has 'Explicit' in 1 of 4 records" in text
    assert "has 'V1' in 1 of 3 records, and the policy's field 'notice_versions' names 'v1'" in text
    assert "lacks 1 of the words that the policy's field 'notice_versions' names: 'v7'" in text
    assert "has 'EU ' in 1 of 3 records, and the policy's rule 'exempt' names 'EU'" in text
    assert "the policy's rule 'exempt' names: 'EU'. So the rule excludes only nulls." in text
    assert "'US'" not in text


def test_a_rule_whose_values_nothing_has_excludes_every_row() -> None:
    rule = {"name": "other_language", "column": "language", "none_of": ["German", "English"]}
    gate = make_gate(record_rules=[rule])
    coverage = gate.coverage(message_table(language=["german", "english", "english"]))
    assert codes(coverage) == ["no_word_occurs", "word_alike", "word_alike", "rows_excluded"]
    assert "So the rule excludes every row." in coverage.warnings[0].message
    assert coverage.warnings[3].message.startswith(
        "All 3 rows are excluded by the policy's rule 'other_language'."
    )


@pytest.mark.parametrize(
    ("value", "column", "matched"), [(5, [5, 50], 1), (True, [True, True, False], 2)]
)
def test_rules_on_numbers_and_booleans_are_counted(
    value: Any, column: list[Any], matched: int
) -> None:
    rule = {"name": "odd", "column": "flag", "any_of": [value]}
    coverage = make_gate(record_rules=[rule]).coverage(message_table(flag=column))
    found = next(v for v in coverage.vocabularies if v.setting == "odd")
    assert (found.matched_entries, found.entries, found.alike) == (matched, len(column), ())


@pytest.mark.parametrize(
    ("messages", "consents", "code"),
    [
        ({"created_at": AS_OF + timedelta(days=1)}, {}, "after_snapshot"),
        ({"created_at": pa.nulls(1, pa.timestamp("us", "UTC"))}, {}, "timestamp_missing"),
        ({"sender_id": pa.nulls(1, pa.int64())}, {}, "subject_missing"),
        ({"created_at": BEGUN - timedelta(days=1)}, {}, "predates_consent"),
        ({}, {"expires_at": [NOW]}, "consent_expired"),
    ],
)
def test_a_reason_that_excludes_in_mass_is_a_warning(
    messages: dict[str, Any], consents: dict[str, Any], code: str
) -> None:
    coverage = make_gate(make_consent(**consents)).coverage(message_table(**messages))
    assert f"All 1 rows are excluded by {code}: " in coverage.warnings[-1].message


def test_a_snapshot_in_which_everybody_refused_is_a_warning() -> None:
    consent = make_consent(subject_id=[1, 2, 3], status=["refused", "refused", "withdrawn"])
    coverage = make_gate(consent).coverage(message_table())
    assert codes(coverage)[0] == "nobody_consents"
    assert "most frequent reason is consent_refused (2 subjects)" in coverage.warnings[0].message
    assert coverage.subject_reasons == {"consent_refused": 2, "consent_withdrawn": 1}


def test_reasons_that_exclude_in_mass_only_together_are_a_warning() -> None:
    coverage = make_gate().coverage(message_table(sender_id=[1, 2], channel_id=[11, 10]))
    assert [w.message for w in coverage.warnings if w.code == "rows_excluded"] == [
        "All 2 rows are excluded, by several reasons together."
    ]


def test_nothing_stands_out_where_all_fits() -> None:
    coverage = make_gate().coverage(message_table())
    assert coverage.mismatches == ()
    assert "Warnings" not in str(coverage)


def test_no_message_is_no_mismatch() -> None:
    rule = {"name": "draft", "column": "draft", "any_of": ["yes"]}
    table = message_table(
        sender_id=[],
        channel_id=[],
        created_at=pa.array([], pa.timestamp("us", "UTC")),
        draft=pa.array([], pa.string()),
    )
    coverage = make_gate(record_rules=[rule]).coverage(table)
    assert (coverage.rows, coverage.mismatches) == (0, ())
    assert str(coverage).startswith("0 messages")


# what it is given


def test_a_table_a_stream_and_batches_give_the_same() -> None:
    table = message_table(sender_id=[1, 2, 3] * 50, channel_id=[10, 11, None] * 50)
    gate = make_gate()
    whole = gate.coverage(table)
    batches = table.to_batches(max_chunksize=7)
    assert whole == gate.coverage(batches)
    assert whole == gate.coverage(pa.RecordBatchReader.from_batches(table.schema, batches))
    assert whole == gate.coverage(table.combine_chunks().to_batches()[0])


def test_a_gate_that_was_opened_says_what_it_cannot_check(tmp_path: Path) -> None:
    consent, channels = make_consent(subject_id=["ann"]), make_channels()
    gate = make_gate(consent, channels, methods={"Explicit"})
    table = message_table(sender_id=["Ann", "ann"])
    gate.save(tmp_path / "a.gate")
    opened = cg.Gate.open(tmp_path / "a.gate")
    alone = opened.coverage(table)
    assert (alone.subjects.unknown, alone.subjects.alike) == (1, None)
    assert (alone.vocabularies, alone.unasked_records, len(alone.not_checked)) == ((), None, 2)
    assert opened.coverage(table, consent=consent, channels=channels) == gate.coverage(table)


def test_a_snapshot_of_another_gate_is_refused() -> None:
    with pytest.raises(cg.ConfigurationError, match="not what the gate was built from"):
        make_gate().coverage(message_table(), consent=make_consent(subject_id=[2]))


def test_a_stream_of_a_schema_that_cannot_be_judged_is_refused() -> None:
    empty = pa.RecordBatchReader.from_batches(pa.schema({"x": pa.int8()}), [])
    with pytest.raises(cg.ColumnMissingError, match="'sender_id'"):
        make_gate().coverage(empty)


def test_batches_of_differing_schemas_are_refused() -> None:
    batches = [message_table(), message_table(note=["x"])]
    with pytest.raises(cg.SchemaMismatchError, match="column 'note' is additional"):
        make_gate().coverage(batches)


def test_a_stale_snapshot_is_refused() -> None:
    with pytest.raises(cg.StaleSnapshotError, match="take a new one"):
        make_gate().coverage(message_table(), judged_at=datetime(2027, 1, 1, tzinfo=UTC))
