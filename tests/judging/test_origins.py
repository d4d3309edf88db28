"""Where reasons come from: each (reason, column, purpose) is what the plain judge says."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

import consentgate as cg
from consentgate.judging import RowExplanation
from tests.build import (
    AS_OF,
    BEGUN,
    MICRO,
    NOW,
    consent_table,
    make_channels,
    make_consent,
    make_gate,
    message_table,
)
from tests.layouts import Layout
from tests.reference import (
    Message,
    find_record,
    find_subjects,
    judge_channels,
    judge_created_at,
    judge_record,
    judge_visibility,
    name_bits,
)
from tests.scenarios import Scenario, to_ns
from tests.strategies import layouts, scenarios

Triple = tuple[str, str, str | None]
MOST_IDS = 2
"""How many records of a scenario are explained."""


def expected(scenario: Scenario, message: Message) -> Iterator[tuple[set[int], str, str | None]]:
    """The bits that each column gives a row, for each purpose, by the reference's own parts."""
    for name, channel in zip(scenario.channel_names, message.channels, strict=True):
        alone = replace(message, channels=(channel,))
        yield judge_channels(alone, scenario.policy, scenario.channels), name, None
    if scenario.visibility_name is not None:
        bits = judge_visibility(message.visibility, scenario.policy)
        yield bits, scenario.visibility_name, None
    yield from expected_of_subjects(scenario, message)
    yield judge_created_at(message.created_at_ns, to_ns(scenario.as_of)), "created_at", None
    if scenario.channel_names:
        bits = judge_created_at(message.created_at_ns, to_ns(scenario.registry_as_of))
        yield bits, "created_at", None
    for at, rule in enumerate(scenario.policy.record_rules):
        if rule.does_match(message.attributes[rule.column]):
            yield {16 + at}, rule.column, None


def expected_of_subjects(
    scenario: Scenario, message: Message
) -> Iterator[tuple[set[int], str, str | None]]:
    as_of_ns, now_ns = to_ns(scenario.as_of), to_ns(scenario.judged_at)
    for name, cell in zip(scenario.subject_names, message.subjects, strict=True):
        ids = cell if isinstance(cell, tuple) else (cell,)
        if None in ids or not find_subjects(message):
            yield {2}, name, None
        for subject in (subject for subject in ids if subject is not None):
            for purpose in scenario.policy.purposes:
                record = find_record(subject, purpose, list(scenario.consents))
                if record is None:
                    yield {3}, name, purpose
                else:
                    created_at_ns = message.created_at_ns
                    bits = judge_record(record, created_at_ns, scenario.policy, as_of_ns, now_ns)
                    yield bits, name, purpose


def expected_triples(scenario: Scenario, message: Message) -> set[Triple]:
    names = name_bits(scenario.policy)
    return {
        (names[bit], column, purpose)
        for bits, column, purpose in expected(scenario, message)
        for bit in bits
    }


def triples(row: RowExplanation) -> set[Triple]:
    return {(r.code, o.column, o.purpose) for r in row.reasons for o in r.origins}


@given(scenario=scenarios(), of_gate=layouts(), of_messages=layouts(), first=st.integers(0, 39))
def test_reasons_come_from_where_the_reference_says(
    scenario: Scenario, of_gate: Layout, of_messages: Layout, first: int
) -> None:
    gate, table, messages = scenario.gate(of_gate), scenario.table(of_messages), scenario.messages()
    expected_bits, names = scenario.reference_bits(), name_bits(scenario.policy)
    ids = [record_id for record_id in table["message_id"].to_pylist()[first:] if record_id]
    for record_id in list(dict.fromkeys(ids))[:MOST_IDS]:
        for row in gate.explain(table, record_id, judged_at=scenario.judged_at).rows:
            assert triples(row) == expected_triples(scenario, messages[row.row])
            codes = [reason.code for reason in row.reasons]
            bits = expected_bits[row.row]
            assert codes == [name for bit, name in names.items() if bits >> bit & 1]
            assert all(reason.origins for reason in row.reasons)


CONSENT = make_consent(
    subject_id=[1, 1, 2, 2, 3],
    purpose=["rank", "train", "rank", "train", "train"],
    status=["given", "withdrawn", "given", "given", "withdrawn"],
    tier=["free", "free", "free", "paid", "paid"],
)
TWO_COLUMNS = cg.Columns(
    subjects=("sender_id", "participant_ids"), channels=("channel_id", "thread_id")
)
GATE = make_gate(
    CONSENT,
    make_channels(channel_id=[10, 11], visibility=["public", "private"]),
    columns=TWO_COLUMNS,
    purposes={"rank", "train"},
    subject_rules={"paid": {"column": "tier", "any_of": "paid"}},
    record_rules={"german": {"column": "language", "any_of": "de"}},
)


def explained(**columns: object) -> RowExplanation:
    given_columns = {"participant_ids": [[2]], "thread_id": 10, "language": "en", **columns}
    (row,) = GATE.explain(message_table(sender_id=2, **given_columns), 0).rows
    return row


def test_every_subject_that_a_reason_comes_from_is_listed() -> None:
    row = explained(participant_ids=[[1, 2, 3, 1]])
    by_code = {reason.code: [str(origin) for origin in reason.origins] for reason in row.reasons}
    assert by_code == {
        "no_consent_record": ["subject 3 in 'participant_ids', purpose 'rank'"],
        "consent_withdrawn": [
            "subject 1 in 'participant_ids', purpose 'train'",
            "subject 3 in 'participant_ids', purpose 'train'",
        ],
        "paid": [
            "subject 2 in 'sender_id', purpose 'train'",
            "subject 2 in 'participant_ids', purpose 'train'",
            "subject 3 in 'participant_ids', purpose 'train'",
        ],
    }


def test_channels_instants_and_rules_name_their_columns() -> None:
    row = explained(channel_id=11, thread_id=12, language="de", created_at=BEGUN - MICRO)
    by_code = {reason.code: [str(origin) for origin in reason.origins] for reason in row.reasons}
    assert by_code["private_channel"] == ["channel 11 in 'channel_id'"]
    assert by_code["channel_unknown"] == ["channel 12 in 'thread_id'"]
    assert by_code["german"] == ["value in 'language'"]
    assert by_code["predates_consent"] == [
        f"subject 2 in '{column}', purpose '{purpose}'"
        for column in ("sender_id", "participant_ids")
        for purpose in ("rank", "train")
    ]


def test_the_age_of_an_uncertain_start_is_explained_as_it_was_judged() -> None:
    local = consent_table(effective_from=datetime(2025, 10, 26, 2, 30))  # twice in Berlin
    snapshot = cg.ConsentSnapshot.from_arrow(local, as_of=AS_OF, assume_timezone="Europe/Berlin")
    earlier = datetime(2025, 10, 26, 0, 30, tzinfo=UTC)
    gate = make_gate(snapshot, max_consent_age=NOW - earlier)
    table = message_table(created_at=[AS_OF - MICRO])
    assert gate.decide(table).reason.to_pylist() == ["consent_expired"]
    (row,) = gate.explain(table, 0).rows
    assert [reason.code for reason in row.reasons] == ["consent_expired"]


def test_missing_subjects_name_the_column_that_names_nobody() -> None:
    lists = pa.array([[2, None]])
    assert triples(explained(participant_ids=lists)) >= {
        ("subject_missing", "participant_ids", None)
    }
    row = explained(participant_ids=pa.array([None], pa.list_(pa.int64())))
    assert [str(origin) for origin in row.reasons[0].origins] == [
        "subject null in 'participant_ids'"
    ]


def test_the_text_shows_origins_below_their_reason() -> None:
    row = explained(participant_ids=[[3]])
    assert (
        "  - consent_withdrawn: a data subject withdrew consent\n"
        "    subject 3 in 'participant_ids', purpose 'train'\n"
    ) in str(row)
    assert "3 in" not in repr(row.reasons) + repr([reason.origins for reason in row.reasons])
