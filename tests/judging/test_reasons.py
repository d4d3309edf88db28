"""Reasons: their order, their counts, and which one is primary."""

from __future__ import annotations

import pyarrow as pa
import pytest

import consentgate as cg
from tests.build import make_consent, make_gate, message_table


def test_a_decision_says_how_many_and_why() -> None:
    consent = make_consent(subject_id=[1, 2, 3], status=["given", "refused", "withdrawn"])
    messages = message_table(sender_id=[1, 2, 2, 3, None, 1], channel_id=[10, 10, 99, 99, 10, 10])
    decision = make_gate(consent).decide(messages)
    assert len(decision) == 6
    assert (decision.num_admitted, decision.num_excluded) == (2, 4)
    assert decision.reason_bits == pa.array([0, 1 << 4, 18, 34, 4, 0], pa.uint32())
    assert decision.admitted == pa.array([True, False, False, False, False, True])
    expected = [
        None,
        "consent_refused",
        "channel_unknown",
        "channel_unknown",
        "subject_missing",
        None,
    ]
    assert decision.reason.to_pylist() == expected
    assert decision.reason.type == pa.dictionary(pa.int32(), pa.string())
    assert list(decision.counts.items()) == [
        ("channel_unknown", 2),
        ("subject_missing", 1),
        ("consent_refused", 1),
    ]
    assert list(decision.occurrences.items()) == [
        ("channel_unknown", 2),
        ("subject_missing", 1),
        ("consent_refused", 2),
        ("consent_withdrawn", 1),
    ]
    assert repr(decision) == (
        "<Decision: 6 rows, 2 admitted, 4 excluded "
        "(channel_unknown 2, subject_missing 1, consent_refused 1)>"
    )


@pytest.mark.parametrize("reason", list(cg.Reason), ids=lambda reason: reason.code)
def test_each_built_in_reason_is_the_primary_one_when_alone(reason: cg.Reason) -> None:
    names = make_gate().decide(message_table()).reason_names
    decision = cg.Decision(pa.array([reason.value, 0], pa.uint32()), names)
    assert decision.reason.to_pylist() == [reason.code, None]
    assert decision.counts == decision.occurrences == {reason.code: 1}
