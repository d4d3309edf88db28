"""What snapshot and registry cannot know yet: consents to come, and messages newer than them."""

from __future__ import annotations

from datetime import datetime, timedelta

import pyarrow as pa
import pytest

import consentgate as cg
from tests.build import (
    AS_OF,
    BEGUN,
    MICRO,
    channel_table,
    consent_table,
    make_consent,
    make_gate,
    message_table,
    reasons,
)

NANO_AFTER = pa.array(
    [(AS_OF - datetime.fromisoformat("1970-01-01T00:00Z")) // MICRO * 1000 + 1]
).cast(pa.timestamp("ns", "UTC"))
EARLIER = AS_OF - timedelta(days=1)
LATER = AS_OF + timedelta(days=1)


@pytest.mark.parametrize("status", ["given", "renewed"])
@pytest.mark.parametrize("covers_prior", [True, False, None])
def test_a_consent_that_begins_after_the_snapshot_is_not_given(
    status: str, covers_prior: bool | None
) -> None:
    consent = {"status": status, "covers_prior": pa.array([covers_prior], pa.bool_())}
    before = [] if covers_prior else ["predates_consent"]
    for start, begun in ((AS_OF, True), (AS_OF + MICRO, False), (NANO_AFTER, False)):
        gate = make_gate(make_consent(**consent, effective_from=start))
        expected = before if begun else ["consent_not_given", *before]
        assert reasons(gate, message_table()) == [expected]


def test_the_instant_of_judgement_does_not_begin_a_consent() -> None:
    """The snapshot is what is known; that the clock has reached the beginning proves nothing."""
    gate = make_gate(make_consent(effective_from=AS_OF + MICRO, covers_prior=True))
    found = reasons(gate, message_table(), judged_at=AS_OF + timedelta(days=2))
    assert found == [["consent_not_given"]]


@pytest.mark.parametrize("status", ["refused", "withdrawn", "expired", "requested"])
def test_a_beginning_is_looked_at_only_where_the_status_is_valid(status: str) -> None:
    gate = make_gate(make_consent(status=status, effective_from=LATER))
    assert len(reasons(gate, message_table())[0]) == 1


def test_one_purpose_that_has_not_begun_excludes() -> None:
    consent = make_consent(
        subject_id=[1, 1],
        purpose=["train_ai_system", "analyse"],
        effective_from=[BEGUN, LATER],
        covers_prior=True,
    )
    gate = make_gate(consent, purposes={"train_ai_system", "analyse"})
    assert reasons(gate, message_table()) == [["consent_not_given"]]


@pytest.mark.parametrize(
    ("snapshot", "registry", "last"),
    [(AS_OF, EARLIER, EARLIER), (EARLIER, AS_OF, EARLIER), (AS_OF, AS_OF, AS_OF)],
)
def test_a_message_must_not_be_newer_than_snapshot_or_registry(
    snapshot: datetime, registry: datetime, last: datetime
) -> None:
    gate = cg.Gate(
        cg.Policy(),
        cg.ConsentSnapshot.from_arrow(consent_table(), as_of=snapshot),
        cg.ChannelRegistry.from_arrow(channel_table(), as_of=registry),
        judged_at=AS_OF,
    )
    messages = message_table(created_at=[last - MICRO, last, last + MICRO])
    assert reasons(gate, messages) == [[], [], ["after_snapshot"]]


def test_without_a_registry_only_the_snapshot_is_looked_at() -> None:
    columns = cg.Columns(channels=(), visibility="seen")
    gate = make_gate(columns=columns)
    messages = message_table(seen="public", created_at=[AS_OF, AS_OF + MICRO])
    assert reasons(gate, messages) == [[], ["after_snapshot"]]
