"""The scenario that every contestant judges: the policy, the instants and the reasons' bits.

The peers write the judgement (docs/semantics.md, section 4) in their own language. So the bits and
words that they need are plain values here, and not the library's own tables.
"""

from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa

import consentgate as cg

AS_OF = datetime(2026, 1, 31, tzinfo=UTC)
NOW = datetime(2026, 2, 2, 12, tzinfo=UTC)
MAX_CONSENT_AGE = timedelta(days=1000)
PURPOSE = "train_ai_system"
METHOD = "explicit"
NOTICES = ("n1", "n2")
PUBLIC = "public"

VALID = ("given", "renewed")
STATUS_BITS = {
    "refused": 1 << 4,
    "withdrawn": 1 << 5,
    "revoked": 1 << 5,
    "expired": 1 << 7,
    "requested": 1 << 6,
    "request_deferred": 1 << 6,
    "invalidated": 1 << 6,
    "unknown": 1 << 6,
}
PRIVATE_CHANNEL = 1 << 0
CHANNEL_UNKNOWN = 1 << 1
SUBJECT_MISSING = 1 << 2
NO_CONSENT_RECORD = 1 << 3
CONSENT_EXPIRED = 1 << 7
CONSENT_NOT_EXPLICIT = 1 << 8
NOTICE_NOT_ACCEPTED = 1 << 9
PREDATES_CONSENT = 1 << 10
TIMESTAMP_MISSING = 1 << 11
AFTER_SNAPSHOT = 1 << 12
AUTOMATED = 1 << 16
MINOR = 1 << 17

SCALAR = "sender_id"
LISTS = "participant_ids"

POLICY = cg.Policy(
    name="benchmark",
    purposes=frozenset({PURPOSE}),
    methods=frozenset({METHOD}),
    notice_versions=frozenset(NOTICES),
    max_consent_age=MAX_CONSENT_AGE,
    public_visibilities=frozenset({PUBLIC}),
    record_rules=(cg.Rule(name="automated", column="is_automated", any_of=(True,)),),
    subject_rules=(cg.Rule(name="minor", column="age_band", any_of=("minor",)),),
)


def micros(instant: datetime) -> int:
    """An instant as microseconds since 1970."""
    return (instant - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


def take_snapshot(consent: pa.Table) -> cg.ConsentSnapshot:
    """The consent records as the gate takes them."""
    return cg.ConsentSnapshot.from_arrow(consent, as_of=AS_OF, source="generated")


def take_registry(channels: pa.Table) -> cg.ChannelRegistry:
    """The channels as the gate takes them."""
    return cg.ChannelRegistry.from_arrow(channels, as_of=AS_OF, source="generated")


def build_gate(
    snapshot: cg.ConsentSnapshot, registry: cg.ChannelRegistry | None, **columns: Any
) -> cg.Gate:
    """The gate of this scenario."""
    return cg.Gate(POLICY, snapshot, registry, columns=cg.Columns(**columns), judged_at=NOW)
