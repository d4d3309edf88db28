"""A scenario: all that a judgement needs, for the reference and for the package."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone

import pyarrow as pa

import consentgate as cg
from tests.layouts import PLAIN, Column, Layout, lay_out_table
from tests.reference import Channel, Consent, Message, ReferencePolicy, ReferenceRule, judge

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
RECORD_ATTRIBUTES = {"language": "string", "score": "integer", "is_draft": "boolean"}
SUBJECT_ATTRIBUTES = {"jurisdiction": "string", "reputation": "integer", "is_minor": "boolean"}
RULED_ATTRIBUTES = SUBJECT_ATTRIBUTES | {"covers_prior": "boolean"}


@dataclass(frozen=True)
class Scenario:
    """Everything that one judgement needs, as the reference's objects and as Arrow tables."""

    policy: ReferencePolicy
    consents: tuple[Consent, ...]
    channels: tuple[Channel, ...]
    columns: tuple[Column, ...]
    subject_names: tuple[str, ...]
    channel_names: tuple[str, ...]
    visibility_name: str | None
    subject_family: str
    channel_family: str
    as_of: datetime
    registry_as_of: datetime
    judged_at: datetime

    def messages(self) -> list[Message]:
        """The rows as the reference takes them."""
        by_name = {column.name: column.values for column in self.columns}
        rows = range(len(by_name["created_at"]))
        return [
            Message(
                subjects=tuple(by_name[name][row] for name in self.subject_names),
                channels=tuple(by_name[name][row] for name in self.channel_names),
                visibility=by_name[self.visibility_name][row] if self.visibility_name else None,
                created_at_ns=by_name["created_at"][row],
                attributes={name: by_name[name][row] for name in RECORD_ATTRIBUTES},
            )
            for row in rows
        ]

    def reference_bits(self) -> list[int]:
        """The reference's reason bits, one entry for each row."""
        return [
            judge(
                message,
                self.policy,
                self.consents,
                self.channels,
                as_of_ns=to_ns(self.as_of),
                registry_as_of_ns=to_ns(self.registry_as_of) if self.channel_names else None,
                now_ns=to_ns(self.judged_at),
                has_visibility=self.visibility_name is not None,
            )
            for message in self.messages()
        ]

    def table(self, layout: Layout = PLAIN) -> pa.Table:
        """The messages."""
        return lay_out_table(self.columns, layout)

    def gate(self, layout: Layout = PLAIN) -> cg.Gate:
        """The gate, from a snapshot and a registry in the given layout."""
        return self.gate_from(self.snapshot_table(layout), self.registry_table(layout))

    def gate_from(self, snapshot: object, registry: object) -> cg.Gate:
        """The gate, from Arrow data. Without channel columns, the registry is not used."""
        consent = cg.ConsentSnapshot.from_arrow(snapshot, as_of=self.as_of, source="tests")
        channels = None
        if self.channel_names:
            channels = cg.ChannelRegistry.from_arrow(registry, as_of=self.registry_as_of)
        columns = cg.Columns(
            subjects=self.subject_names,
            channels=self.channel_names,
            visibility=self.visibility_name,
        )
        return cg.Gate(make_policy(self.policy), consent, channels, columns=columns)

    def decide(self, layout: Layout = PLAIN) -> list[int]:
        """The package's reason bits, one entry for each row."""
        decision = self.gate(layout).decide(self.table(layout), judged_at=self.judged_at, threads=1)
        return list(decision.reason_bits.to_pylist())

    def snapshot_table(self, layout: Layout = PLAIN) -> pa.Table:
        """The consent snapshot. In some layouts it is reversed, or has no empty columns."""
        records = self.consents[::-1] if layout[:1] > b"\x7f" else self.consents
        prior = tuple(r.covers_prior for r in records)
        columns = [
            Column("subject_id", self.subject_family, tuple(r.subject for r in records)),
            Column("purpose", "string", tuple(r.purpose for r in records)),
            Column("status", "string", tuple(r.status for r in records)),
            Column("method", "string", tuple(r.method for r in records)),
            make_instants("effective_from", [r.effective_from_ns for r in records]),
            make_instants("expires_at", [r.expires_at_ns for r in records]),
            Column("covers_prior", "boolean", prior, may_be_dictionary=False),
            Column("notice_version", "string", tuple(r.notice_version for r in records)),
        ]
        for name, family in SUBJECT_ATTRIBUTES.items():
            columns.append(Column(name, family, tuple(r.attributes[name] for r in records)))
        optional = {"expires_at", "covers_prior"}
        optional -= {rule.column for rule in self.policy.subject_rules}
        if self.policy.notice_versions is None:
            optional.add("notice_version")
        return lay_out_table(drop_empty(columns, optional, layout), layout)

    def registry_table(self, layout: Layout = PLAIN) -> pa.Table:
        """The channel registry. In some layouts it is reversed, or has no empty `public_since`."""
        channels = self.channels[::-1] if layout[:1] > b"\x7f" else self.channels
        columns = [
            Column("channel_id", self.channel_family, tuple(c.channel for c in channels)),
            Column("visibility", "string", tuple(c.visibility for c in channels)),
            make_instants("public_since", [c.public_since_ns for c in channels]),
        ]
        return lay_out_table(drop_empty(columns, {"public_since"}, layout), layout)


def drop_empty(columns: list[Column], optional: set[str], layout: Layout) -> list[Column]:
    """Return the columns. In some layouts, optional columns that are all null are left out."""
    if layout[1:2] <= b"\x7f":
        return columns
    return [c for c in columns if c.name not in optional or c.scalars()]


def make_instants(name: str, values: Sequence[int | None]) -> Column:
    """Return a column of instants, which is never a dictionary."""
    return Column(name, "instant", tuple(values), may_be_dictionary=False)


def make_policy(policy: ReferencePolicy) -> cg.Policy:
    """Return the package's policy that means the same. It accepts snapshots of any age."""
    age = policy.max_consent_age_us
    return cg.Policy(
        name="scenario",
        purposes=set(policy.purposes),
        methods=set(policy.methods),
        notice_versions=None if policy.notice_versions is None else set(policy.notice_versions),
        max_consent_age=None if age is None else timedelta(microseconds=age),
        max_snapshot_age=None,
        public_visibilities=set(policy.public_visibilities),
        record_rules=tuple(make_rule(rule) for rule in policy.record_rules),
        subject_rules=tuple(make_rule(rule) for rule in policy.subject_rules),
    )


def make_rule(rule: ReferenceRule) -> cg.Rule:
    """Return the package's rule that means the same."""
    if rule.is_null:
        return cg.Rule(name=rule.name, column=rule.column, is_null=True)
    if rule.any_of is not None:
        return cg.Rule(name=rule.name, column=rule.column, any_of=rule.any_of)
    return cg.Rule(name=rule.name, column=rule.column, none_of=rule.none_of)


def to_ns(instant: datetime) -> int:
    """Nanoseconds since 1970 in UTC."""
    return (instant - EPOCH) // timedelta(microseconds=1) * 1_000


def to_datetime(instant_ns: int, zone: timezone) -> datetime:
    """An instant of whole microseconds as a datetime in some time zone."""
    return (EPOCH + timedelta(microseconds=instant_ns // 1_000)).astimezone(zone)
