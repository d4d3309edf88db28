"""Rules of the policy: what they match, and in which order they have their bits."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest

import consentgate as cg
from tests.build import BEGUN, WRITTEN, make_consent, make_gate, message_table
from tests.judging.judge import OK, coded, judge

WORDS = ["de", "DE", "", None, "us"]
NUMBERS = [1, 0, -1, None, 127]
TRUTHS = [True, False, None]

RULES: list[Any] = [
    (WORDS, {"any_of": ["de", "us"]}, [1, 0, 0, 1, 1]),
    (WORDS, {"none_of": ["de", "us"]}, [0, 1, 1, 1, 0]),
    (WORDS, {"any_of": [""]}, [0, 0, 1, 1, 0]),
    (WORDS, {"is_null": True}, [0, 0, 0, 1, 0]),
    (NUMBERS, {"any_of": [1, 127]}, [1, 0, 0, 1, 1]),
    (NUMBERS, {"none_of": [0, -1]}, [1, 0, 0, 1, 1]),
    (NUMBERS, {"is_null": True}, [0, 0, 0, 1, 0]),
    (TRUTHS, {"any_of": [True]}, [1, 0, 1]),
    (TRUTHS, {"any_of": [False]}, [0, 1, 1]),
    (TRUTHS, {"none_of": [True]}, [0, 1, 1]),
    (TRUTHS, {"none_of": [True, False]}, [0, 0, 1]),
    (TRUTHS, {"is_null": True}, [0, 0, 1]),
    (pa.array([127, -128, None], pa.int8()), {"any_of": [127]}, [1, 0, 1]),
    (pa.array([127, -128, None], pa.int8()), {"any_of": [-128]}, [0, 1, 1]),
    (pa.array([127, -128, None], pa.int8()), {"any_of": [128, -129, 383]}, [0, 0, 1]),
    (pa.array([127, -128, None], pa.int8()), {"none_of": [128, -129]}, [1, 1, 1]),
    (pa.array([2**64 - 1, 0], pa.uint64()), {"any_of": [2**64 - 1, -1]}, [1, 0]),
    (pa.array([-1, 1], pa.int64()), {"any_of": [2**64 - 1]}, [0, 0]),
    (pa.array(WORDS, pa.string_view()), {"any_of": ["de"]}, [1, 0, 0, 1, 0]),
    (pa.array([1.5, float("nan"), None]), {"is_null": True}, [0, 1, 1]),
    (pa.array([WRITTEN, None]), {"is_null": True}, [0, 1]),
    (pa.nulls(2), {"any_of": ["de"]}, [1, 1]),
    (pa.nulls(2), {"is_null": True}, [1, 1]),
    (coded([0, 1, 2, None, 3], ["de", "us", None, "de"]), {"any_of": ["de"]}, [1, 0, 1, 1, 1]),
    (coded([0, 1, 2, None, 3], ["de", "us", None, "de"]), {"none_of": ["de"]}, [0, 1, 1, 1, 0]),
    (coded([0, 1, 2, None, 3], ["de", "us", None, "de"]), {"is_null": True}, [0, 0, 1, 1, 0]),
    (coded([0, 1, None], [5, 6]), {"any_of": [6]}, [0, 1, 1]),
]  # fmt: skip


@pytest.mark.parametrize(
    ("column", "test", "matches"), [*RULES, (pa.nulls(2), {"none_of": [3]}, [1, 1])]
)
def test_a_record_rule_excludes_what_it_matches(
    column: Any, test: dict[str, Any], matches: list[int]
) -> None:
    rule = cg.Rule(name="rule", column="field", **test)
    found = judge({"field": column}, record_rules=(rule,))
    assert found == [["rule"] if match else OK for match in matches]


@pytest.mark.parametrize(("column", "test", "matches"), RULES)
def test_a_subject_rule_excludes_the_messages_of_those_it_matches(
    column: Any, test: dict[str, Any], matches: list[int]
) -> None:
    people = list(range(len(matches)))
    rule = cg.Rule(name="rule", column="field", **test)
    consent = {"subject_id": people, "field": column}
    found = judge({"sender_id": people}, consent, subject_rules=(rule,))
    assert found == [["rule"] if match else OK for match in matches]


def test_a_subject_rule_looks_at_each_purpose_asked_for_whatever_its_status() -> None:
    consent = {
        "subject_id": [1, 1, 2, 2, 3, 3, 4],
        "purpose": ["a", "b", "a", "b", "a", "c", "a"],
        "status": ["given", "given", "refused", "given", "given", "given", "given"],
        "effective_from": BEGUN,
        "tier": ["paid", "free", "paid", "free", "free", "paid", "free"],
    }
    rule = cg.Rule(name="pays", column="tier", any_of=("paid",))
    found = judge(
        {"sender_id": [1, 2, 3, 4, 5]}, consent, purposes={"a", "b"}, subject_rules=(rule,)
    )
    assert found == [
        ["pays"],
        ["consent_refused", "pays"],
        ["no_consent_record"],
        ["no_consent_record"],
        ["no_consent_record"],
    ]


def test_rules_have_their_bits_in_order_record_rules_first() -> None:
    record_rules = tuple(cg.Rule(name=f"r{n}", column="field", any_of=(n, 99)) for n in range(14))
    subject_rules = tuple(cg.Rule(name=f"s{n}", column="tier", any_of=(n, 99)) for n in (1, 2))
    consent = {"subject_id": [0, 1, 2, 3], "tier": [0, 1, 2, 99]}
    gate = make_gate(
        make_consent(**consent), record_rules=record_rules, subject_rules=subject_rules
    )
    messages = message_table(field=[-1, 0, 13, -1, -1, 99], sender_id=[0, 0, 0, 1, 2, 3])
    decision = gate.decide(messages)
    bits = [0, 1 << 16, 1 << 29, 1 << 30, 1 << 31, 0xFFFF_0000]
    assert decision.reason_bits.to_pylist() == bits
    assert decision.reason.to_pylist() == [None, "r0", "r13", "s1", "s2", "r0"]
    assert decision.counts == {"r0": 2, "r13": 1, "s1": 1, "s2": 1}
    assert decision.occurrences["s2"] == 2
