"""A reference implementation of the judgement, which judges row by row in plain Python.

It is written from docs/semantics.md, section 4, and from nothing else. It shares no code with the
package, so that a mistake in one is not repeated in the other. It is simple and therefore slow.

Instants are ints of nanoseconds since 1970 in UTC, of any size. Null is None. Ids are ints, strings
or (for UUIDs) 16 bytes, and are equal only if their Python values are equal.

If an instant is not a whole microsecond, rounding goes against admission: each of two compared
instants is rounded in the direction that excludes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

Id = int | str | bytes
Scalar = int | str | bool
Cell = Id | None | tuple[Id | None, ...]

CODES = (
    "private_channel",
    "channel_unknown",
    "subject_missing",
    "no_consent_record",
    "consent_refused",
    "consent_withdrawn",
    "consent_not_given",
    "consent_expired",
    "consent_not_explicit",
    "notice_not_accepted",
    "predates_consent",
    "timestamp_missing",
    "after_snapshot",
)
FIRST_RULE_BIT = 16

BIT_BY_STATUS = {
    "refused": 4,
    "withdrawn": 5,
    "revoked": 5,
    "requested": 6,
    "request_deferred": 6,
    "invalidated": 6,
    "unknown": 6,
    "expired": 7,
}


@dataclass(frozen=True)
class ReferenceRule:
    """A named exclusion; exactly one of `any_of`, `none_of` and `is_null` is used."""

    name: str
    column: str
    any_of: tuple[Scalar, ...] | None = None
    none_of: tuple[Scalar, ...] | None = None
    is_null: bool = False

    def does_match(self, value: Scalar | None) -> bool:
        """Whether the rule matches a value. A null always matches."""
        if value is None:
            return True
        if self.any_of is not None:
            return is_listed(value, self.any_of)
        if self.none_of is not None:
            return not is_listed(value, self.none_of)
        return False


@dataclass(frozen=True)
class ReferencePolicy:
    """The conditions of a run. None as `notice_versions` or `max_consent_age_us` means any."""

    purposes: frozenset[str]
    methods: frozenset[str]
    notice_versions: frozenset[str] | None
    max_consent_age_us: int | None
    public_visibilities: frozenset[str]
    record_rules: tuple[ReferenceRule, ...] = ()
    subject_rules: tuple[ReferenceRule, ...] = ()


@dataclass(frozen=True)
class Consent:
    """One subject's standing decision for one purpose."""

    subject: Id
    purpose: str
    status: str
    method: str | None
    effective_from_ns: int | None
    expires_at_ns: int | None = None
    covers_prior: bool | None = None
    notice_version: str | None = None
    attributes: Mapping[str, Scalar | None] = field(default_factory=dict)


@dataclass(frozen=True)
class Channel:
    """One channel of the registry."""

    channel: Id
    visibility: str | None
    public_since_ns: int | None = None


@dataclass(frozen=True)
class Message:
    """One row. `subjects` has a cell for each subject column, which is a tuple if it is a list."""

    subjects: tuple[Cell, ...]
    channels: tuple[Id | None, ...]
    visibility: str | None
    created_at_ns: int | None
    attributes: Mapping[str, Scalar | None] = field(default_factory=dict)


def judge(
    message: Message,
    policy: ReferencePolicy,
    consents: Iterable[Consent],
    channels: Iterable[Channel],
    *,
    as_of_ns: int,
    registry_as_of_ns: int | None,
    now_ns: int,
    has_visibility: bool,
) -> int:
    """Return the reason bits of one message; 0 means admitted."""
    bits = judge_channels(message, policy, channels)
    if has_visibility:
        bits |= judge_visibility(message.visibility, policy)
    if is_subject_missing(message):
        bits |= {2}
    records = list(consents)
    for subject in find_subjects(message):
        for purpose in policy.purposes:
            record = find_record(subject, purpose, records)
            if record is None:
                bits |= {3}
            else:
                bits |= judge_record(record, message.created_at_ns, policy, as_of_ns, now_ns)
    bits |= judge_created_at(message.created_at_ns, as_of_ns)
    if registry_as_of_ns is not None:
        bits |= judge_created_at(message.created_at_ns, registry_as_of_ns)
    bits |= match_record_rules(message, policy)
    return sum(1 << bit for bit in bits)


def judge_channels(
    message: Message, policy: ReferencePolicy, channels: Iterable[Channel]
) -> set[int]:
    """Bits 0 and 1 for the row's channels."""
    by_id = {channel.channel: channel for channel in channels}
    bits: set[int] = set()
    for channel_id in message.channels:
        if channel_id is None or channel_id not in by_id:
            bits |= {1}
            continue
        channel = by_id[channel_id]
        bits |= judge_visibility(channel.visibility, policy)
        if is_before(message.created_at_ns, channel.public_since_ns):
            bits |= {0}
    return bits


def judge_visibility(visibility: str | None, policy: ReferencePolicy) -> set[int]:
    """Bit 1 if the visibility is null, bit 0 if it is not a public one."""
    if visibility is None:
        return {1}
    if visibility not in policy.public_visibilities:
        return {0}
    return set()


def is_subject_missing(message: Message) -> bool:
    """Whether an id is null, a list is null or holds a null, or the row names nobody."""
    for cell in message.subjects:
        if cell is None:
            return True
        if isinstance(cell, tuple) and None in cell:
            return True
    return not find_subjects(message)


def find_subjects(message: Message) -> list[Id]:
    """Every subject that the row names, without nulls."""
    subjects: list[Id] = []
    for cell in message.subjects:
        for subject in cell if isinstance(cell, tuple) else (cell,):
            if subject is not None:
                subjects.append(subject)
    return subjects


def find_record(subject: Id, purpose: str, records: list[Consent]) -> Consent | None:
    """The one record for this subject and purpose, if there is one."""
    for record in records:
        if record.subject == subject and record.purpose == purpose:
            return record
    return None


def judge_record(
    record: Consent,
    created_at_ns: int | None,
    policy: ReferencePolicy,
    as_of_ns: int,
    now_ns: int,
) -> set[int]:
    """Bits 4 to 10, and the subject rules, for one record."""
    bits = match_subject_rules(record, policy)
    if record.status not in ("given", "renewed"):
        return bits | {BIT_BY_STATUS[record.status]}
    if has_ended(record, policy, now_ns):
        bits |= {7}
    if record.method is None or record.method not in policy.methods:
        bits |= {8}
    if policy.notice_versions is not None and record.notice_version not in policy.notice_versions:
        bits |= {9}
    if is_after(record.effective_from_ns, as_of_ns):
        bits |= {6}
    if record.covers_prior is not True and is_before(created_at_ns, record.effective_from_ns):
        bits |= {10}
    return bits


def has_ended(record: Consent, policy: ReferencePolicy, now_ns: int) -> bool:
    """Whether the record has reached its own end or the greatest age of a consent."""
    now = ceil_us(now_ns)
    if record.expires_at_ns is not None and floor_us(record.expires_at_ns) <= now:
        return True
    if policy.max_consent_age_us is None or record.effective_from_ns is None:
        return False
    return floor_us(record.effective_from_ns) + policy.max_consent_age_us <= now


def judge_created_at(created_at_ns: int | None, as_of_ns: int) -> set[int]:
    """Bits 11 and 12."""
    if created_at_ns is None:
        return {11}
    if ceil_us(created_at_ns) > floor_us(as_of_ns):
        return {12}
    return set()


def match_record_rules(message: Message, policy: ReferencePolicy) -> set[int]:
    """The bits of the record rules that match the row."""
    bits: set[int] = set()
    for position, rule in enumerate(policy.record_rules):
        if rule.does_match(message.attributes[rule.column]):
            bits |= {FIRST_RULE_BIT + position}
    return bits


def match_subject_rules(record: Consent, policy: ReferencePolicy) -> set[int]:
    """The bits of the subject rules that match one record, whatever its status."""
    bits: set[int] = set()
    for position, rule in enumerate(policy.subject_rules):
        if rule.does_match(record.attributes[rule.column]):
            bits |= {FIRST_RULE_BIT + len(policy.record_rules) + position}
    return bits


def is_before(created_at_ns: int | None, start_ns: int | None) -> bool:
    """Whether a message was written before a start; false if one of the two is null."""
    if created_at_ns is None or start_ns is None:
        return False
    return floor_us(created_at_ns) < ceil_us(start_ns)


def is_after(start_ns: int | None, as_of_ns: int) -> bool:
    """Whether a consent begins after its snapshot's `as_of`."""
    return start_ns is not None and ceil_us(start_ns) > floor_us(as_of_ns)


def is_listed(value: Scalar, values: tuple[Scalar, ...]) -> bool:
    """Whether a value is among other values. True is not equal to 1."""
    return any(type(value) is type(other) and value == other for other in values)


def floor_us(instant_ns: int) -> int:
    """The whole microsecond at or before an instant."""
    return instant_ns // 1000


def ceil_us(instant_ns: int) -> int:
    """The whole microsecond at or after an instant."""
    return -(-instant_ns // 1000)


def name_bits(policy: ReferencePolicy) -> dict[int, str]:
    """The code of every bit that this policy can set, in order of precedence."""
    names = dict(enumerate(CODES))
    for position, rule in enumerate((*policy.record_rules, *policy.subject_rules)):
        names[FIRST_RULE_BIT + position] = rule.name
    return names
