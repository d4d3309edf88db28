"""Status, method, notice and purposes: what a consent record must say."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from tests.build import (
    ABSENT,
    AS_OF,
    BEGUN,
    MICRO,
    NOW,
    WRITTEN,
    make_consent,
    make_gate,
    message_table,
    reasons,
)
from tests.judging.judge import AGE, LONG_AGO, OK, judge


@pytest.mark.parametrize(
    ("status", "code"),
    [
        ("given", None),
        ("renewed", None),
        ("refused", "consent_refused"),
        ("withdrawn", "consent_withdrawn"),
        ("revoked", "consent_withdrawn"),
        ("expired", "consent_expired"),
        ("requested", "consent_not_given"),
        ("request_deferred", "consent_not_given"),
        ("invalidated", "consent_not_given"),
        ("unknown", "consent_not_given"),
    ],
)
def test_each_status_has_its_reason(status: str, code: str | None) -> None:
    assert judge(consent={"status": status}) == [[code] if code else OK]


@pytest.mark.parametrize("status", ["refused", "withdrawn", "expired", "requested"])
def test_only_a_valid_record_is_looked_at_further(status: str) -> None:
    invalid = {
        "status": status,
        "method": "implied",
        "effective_from": NOW,
        "expires_at": LONG_AGO,
        "notice_version": None,
    }
    found = judge(consent=invalid, notice_versions={"v1"}, max_consent_age=timedelta(0))
    assert [len(codes) for codes in found] == [1]


@pytest.mark.parametrize(
    ("method", "accepted", "expected"),
    [
        ("explicit", {"explicit"}, OK),
        ("default_on", {"explicit"}, ["consent_not_explicit"]),
        ("Explicit", {"explicit"}, ["consent_not_explicit"]),
        ("explicit ", {"explicit"}, ["consent_not_explicit"]),
        (None, {"explicit"}, ["consent_not_explicit"]),
        ("imported", {"explicit", "imported"}, OK),
        ("explicit", {"imported"}, ["consent_not_explicit"]),
    ],
)
def test_method_must_be_accepted(
    method: str | None, accepted: set[str], expected: list[str]
) -> None:
    assert judge(consent={"method": method}, methods=accepted) == [expected]


@pytest.mark.parametrize(
    ("version", "accepted", "expected"),
    [
        ("v1", None, OK),
        (None, None, OK),
        (ABSENT, None, OK),
        ("v1", {"v1", "v2"}, OK),
        ("v3", {"v1", "v2"}, ["notice_not_accepted"]),
        ("", {"v1"}, ["notice_not_accepted"]),
        (None, {"v1"}, ["notice_not_accepted"]),
        (ABSENT, {"v1"}, ["notice_not_accepted"]),
    ],
)
def test_notice_must_be_accepted_where_the_policy_names_some(
    version: Any, accepted: set[str] | None, expected: list[str]
) -> None:
    assert judge(consent={"notice_version": version}, notice_versions=accepted) == [expected]


@pytest.mark.parametrize(
    ("purposes", "statuses", "expected"),
    [
        (["a", "b"], ["given", "given"], OK),
        (["b", "a"], ["given", "renewed"], OK),
        (["a"], ["given"], ["no_consent_record"]),
        (["b"], ["given"], ["no_consent_record"]),
        (["c"], ["given"], ["no_consent_record"]),
        (["a", "c"], ["given", "given"], ["no_consent_record"]),
        (["a", "b", "c"], ["given", "given", "refused"], OK),
        (["a", "b"], ["refused", "revoked"], ["consent_refused", "consent_withdrawn"]),
        (["a", "b"], ["given", "revoked"], ["consent_withdrawn"]),
        (["a"], ["refused"], ["no_consent_record", "consent_refused"]),
    ],
)
def test_every_purpose_must_be_consented_to(
    purposes: list[str], statuses: list[str], expected: list[str]
) -> None:
    records = {"subject_id": [1] * len(purposes), "purpose": purposes, "status": statuses}
    assert judge(consent=records, purposes={"a", "b"}) == [expected]


def test_purposes_of_different_subjects_do_not_add_up() -> None:
    records = {"subject_id": [1, 2, 3, 3], "purpose": ["a", "b", "b", "a"]}
    found = judge({"sender_id": [1, 2, 3]}, records, purposes={"a", "b"})
    assert found == [["no_consent_record"], ["no_consent_record"], OK]


def test_consent_for_another_purpose_is_no_record() -> None:
    assert judge(consent={"purpose": "personalize"}) == [["no_consent_record"]]


@pytest.mark.parametrize("turned", [False, True])
def test_the_narrowest_of_several_purposes_holds(turned: bool) -> None:
    step = -1 if turned else 1
    records = {
        "subject_id": [1, 1],
        "purpose": ["a", "b"],
        "effective_from": [BEGUN, WRITTEN][::step],
        "expires_at": [NOW + MICRO, NOW + 2 * MICRO][::step],
    }
    gate = make_gate(make_consent(**records), purposes={"a", "b"})
    messages = message_table(created_at=[WRITTEN - MICRO, WRITTEN])
    assert reasons(gate, messages) == [["predates_consent"], OK]
    later = reasons(gate, messages, judged_at=NOW + MICRO)
    assert later == [["consent_expired", "predates_consent"], ["consent_expired"]]


def test_a_start_that_covers_the_past_does_not_hide_another_purposes_start() -> None:
    records = {
        "subject_id": [1, 1],
        "purpose": ["a", "b"],
        "effective_from": [AS_OF, WRITTEN],
        "covers_prior": [True, False],
    }
    found = judge({"created_at": [WRITTEN - MICRO, WRITTEN]}, records, purposes={"a", "b"})
    assert found == [["predates_consent"], OK]


@pytest.mark.parametrize("status", ["refused", "withdrawn", "expired", "unknown"])
def test_a_snapshot_of_invalid_records_needs_no_start(status: str) -> None:
    found = judge(consent={"status": status, "effective_from": ABSENT}, max_consent_age=AGE)
    assert [len(codes) for codes in found] == [1]
