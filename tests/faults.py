"""What can be wrong with files of messages, consent, channels and policies.

Every fault lies in files, so that the library and the command line can be asked the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

import consentgate as cg
from tests.build import (
    ABSENT,
    AS_OF,
    BEGUN,
    MICRO,
    NOW,
    channel_table,
    consent_table,
    message_table,
)

PERSON, PERSON_2, ROOM = "person-4711", "person-4712", "person-0815"
NAIVE = datetime(2025, 6, 1)
PEOPLE = [PERSON, PERSON_2]
TWO = pa.array([PERSON, None])
MESSAGES = "messages.parquet"
AS_OF_KEY = {"consentgate.as_of": AS_OF.isoformat()}
RULE = '{ name = "rule", column = "field", %s }'


@dataclass(frozen=True)
class Fault:
    """What is wrong with the files, the error it must be, and what the message must say."""

    name: str
    error: type[cg.ConsentGateError]
    words: tuple[str, ...]
    messages: dict[str, Any] = field(default_factory=dict)
    consent: dict[str, Any] = field(default_factory=dict)
    channels: dict[str, Any] = field(default_factory=dict)
    twice: dict[str, str] = field(default_factory=dict)
    consent_metadata: dict[str, str] = field(default_factory=lambda: AS_OF_KEY)
    channels_metadata: dict[str, str] = field(default_factory=lambda: AS_OF_KEY)
    consent_as_of: datetime | None = None
    channels_as_of: datetime | None = None
    judged_at: datetime | None = NOW
    policy: str | bytes | None = ""
    policy_name: str = "policy.toml"
    columns: dict[str, Any] = field(default_factory=dict)
    options: tuple[str, ...] = ()

    def write(self, folder: Path) -> list[str]:
        """Write the files; return the arguments of a command line that reads them."""
        tables = {
            "messages": (messages_of_people(**self.messages), {}),
            "consent": (consent_of_people(**self.consent), self.consent_metadata),
            "channels": (channels_of_people(**self.channels), self.channels_metadata),
        }
        for name, (table, metadata) in tables.items():
            if name in self.twice:
                table = table.append_column(self.twice[name], table[self.twice[name]])
            pq.write_table(table.replace_schema_metadata(metadata), folder / f"{name}.parquet")
        if self.policy is not None:
            text = self.policy.encode() if isinstance(self.policy, str) else self.policy
            (folder / self.policy_name).write_bytes(text)
        return [*command(folder, self.policy_name), *self.instants(), *self.options]

    def instants(self) -> Iterator[str]:
        """The options that give instants."""
        for name in ("consent_as_of", "channels_as_of", "judged_at"):
            if (instant := getattr(self, name)) is not None:
                yield from (f"--{name.replace('_', '-')}", instant.isoformat())

    def judge(self, folder: Path) -> None:
        """Judge the files that `write` has written."""
        gate = cg.Gate(
            cg.Policy.load(folder / self.policy_name),
            cg.ConsentSnapshot.read(folder / "consent.parquet", as_of=self.consent_as_of),
            cg.ChannelRegistry.read(folder / "channels.parquet", as_of=self.channels_as_of),
            columns=cg.Columns(**self.columns),
        )
        gate.filter(pq.ParquetFile(folder / MESSAGES).read(), judged_at=self.judged_at)


def messages_of_people(**columns: Any) -> pa.Table:
    """Messages by people."""
    return message_table(**{"sender_id": PERSON, "channel_id": ROOM, **columns})


def consent_of_people(**columns: Any) -> pa.Table:
    """Consent of people."""
    return consent_table(**{"subject_id": PEOPLE, **columns})


def channels_of_people(**columns: Any) -> pa.Table:
    """Channels whose ids are secret too."""
    return channel_table(**{"channel_id": [ROOM], **columns})


def command(folder: Path, policy_name: str = "policy.toml") -> list[str]:
    """The arguments that filter a folder's files."""
    files = {"policy": policy_name, "consent": "consent.parquet", "channels": "channels.parquet"}
    options = [word for name, file in files.items() for word in (f"--{name}", str(folder / file))]
    return ["filter", str(folder / MESSAGES), *options, "--out", str(folder / "out")]


def record_rule(test: str) -> str:
    """A policy with one rule about the messages."""
    return f"record_rules = [{RULE % test}]"


def subject_rule(test: str) -> str:
    """A policy with one rule about the subjects."""
    return f"subject_rules = [{RULE % test}]"


def many_rules(count: int) -> str:
    """A policy with so many rules."""
    return "\n".join(f'[record_rules.r{n}]\ncolumn = "x"\nis_null = true' for n in range(count))


MESSAGE_FAULTS = [
    *(
        Fault(
            f"no {name}",
            cg.ColumnMissingError,
            (f"'{name}'", "'other'"),
            {name: ABSENT, "other": PEOPLE},
        )
        for name in ("sender_id", "channel_id", "created_at")
    ),
    Fault(
        "no record id",
        cg.ColumnMissingError,
        ("'message_id'", "(record_id)"),
        {"message_id": ABSENT},
    ),
    Fault(
        "no visibility",
        cg.ColumnMissingError,
        ("'seen_by'", "(visibility)"),
        columns={"visibility": "seen_by"},
        options=("--visibility-column", "seen_by"),
    ),
    *(
        Fault(
            f"{name} twice",
            cg.ColumnAmbiguousError,
            ("2 columns", f"'{name}'"),
            twice={"messages": name},
        )
        for name in ("message_id", "sender_id", "channel_id", "created_at")
    ),
    Fault(
        "integer subjects",
        cg.IdFamilyError,
        ("'sender_id'", "int64", "integer", "string", "consent snapshot"),
        {"sender_id": [4711]},
    ),
    Fault(
        "lists of integers",
        cg.IdFamilyError,
        ("'sender_id'", "integer", "string"),
        {"sender_id": pa.array([[4711]])},
    ),
    Fault(
        "UUID channels",
        cg.IdFamilyError,
        ("'channel_id'", "UUID", "string", "channel registry"),
        {"channel_id": pa.array([bytes(16)], pa.binary(16))},
    ),
    Fault("float subjects", cg.ColumnTypeError, ("'sender_id'", "double"), {"sender_id": [1.5]}),
    Fault(
        "lists of floats",
        cg.ColumnTypeError,
        ("'sender_id'", "double"),
        {"sender_id": pa.array([[1.5]])},
    ),
    Fault(
        "lists of lists",
        cg.ColumnTypeError,
        ("'sender_id'", "list<"),
        {"sender_id": pa.array([[[PERSON]]])},
    ),
    Fault(
        "lists of channels",
        cg.ColumnTypeError,
        ("'channel_id'", "list<"),
        {"channel_id": pa.array([[ROOM]])},
    ),
    Fault(
        "float record ids",
        cg.ColumnTypeError,
        ("'message_id'", "record_id", "double"),
        {"message_id": [1.5]},
    ),
    Fault(
        "numbers as visibility",
        cg.ColumnTypeError,
        ("'seen_by'", "int64", "text"),
        {"seen_by": [1]},
        columns={"visibility": "seen_by"},
        options=("--visibility-column", "seen_by"),
    ),
    Fault(
        "naive created_at",
        cg.NaiveTimestampError,
        ("'created_at'", "timestamp[us]", "assume_timezone"),
        {"created_at": [NAIVE]},
    ),
    Fault(
        "created_at as text",
        cg.ColumnTypeError,
        ("'created_at'", "string", "timestamp"),
        {"created_at": [PERSON]},
    ),
    Fault(
        "created_at as date",
        cg.ColumnTypeError,
        ("'created_at'", "date32"),
        {"created_at": [NAIVE.date()]},
    ),
    Fault(
        "created_at of nulls",
        cg.ColumnTypeError,
        ("'created_at'", "null"),
        {"created_at": pa.nulls(1)},
    ),
    Fault(
        "rule without column",
        cg.RuleColumnMissingError,
        ("'field'", "'rule'", "messages"),
        policy=record_rule('any_of = ["x"]'),
    ),
    Fault(
        "rule on a column there twice",
        cg.ColumnAmbiguousError,
        ("2 columns", "'field'"),
        {"field": ["x"]},
        twice={"messages": "field"},
        policy=record_rule('any_of = ["x"]'),
    ),
    Fault(
        "rule on a list",
        cg.RuleColumnTypeError,
        ("'field'", "'rule'", "list<"),
        {"field": pa.array([["x"]])},
        policy=record_rule('any_of = ["x"]'),
    ),
    Fault(
        "null rule on a list",
        cg.RuleColumnTypeError,
        ("'field'", "nested"),
        {"field": pa.array([["x"]])},
        policy=record_rule("is_null = true"),
    ),
    Fault(
        "null rule on a struct",
        cg.RuleColumnTypeError,
        ("'field'", "nested"),
        {"field": pa.array([{"x": 1}])},
        policy=record_rule("is_null = true"),
    ),
    Fault(
        "text rule on numbers",
        cg.RuleColumnTypeError,
        ("'field'", "int64", "str"),
        {"field": [1]},
        policy=record_rule('any_of = ["1"]'),
    ),
    Fault(
        "number rule on text",
        cg.RuleColumnTypeError,
        ("'field'", "string", "int"),
        {"field": ["1"]},
        policy=record_rule("any_of = [1]"),
    ),
    Fault(
        "truth rule on numbers",
        cg.RuleColumnTypeError,
        ("'field'", "int64", "bool"),
        {"field": [1]},
        policy=record_rule("any_of = [true]"),
    ),
    Fault(
        "number rule on truths",
        cg.RuleColumnTypeError,
        ("'field'", "bool", "int"),
        {"field": [True]},
        policy=record_rule("none_of = [1]"),
    ),
    Fault(
        "number rule on floats",
        cg.RuleColumnTypeError,
        ("'field'", "double", "int"),
        {"field": [1.0]},
        policy=record_rule("none_of = [1]"),
    ),
    Fault(
        "text rule on coded numbers",
        cg.RuleColumnTypeError,
        ("'field'", "int64", "str"),
        {"field": pa.array([1]).dictionary_encode()},
        policy=record_rule('none_of = ["1"]'),
    ),
]

CONSENT_FAULTS = [
    *(
        Fault(
            f"snapshot without {name}",
            cg.ColumnMissingError,
            (f"'{name}'", "required"),
            consent={name: ABSENT, "other": PEOPLE},
        )
        for name in ("subject_id", "purpose", "status", "method")
    ),
    *(
        Fault(
            f"snapshot with {name} twice",
            cg.ColumnAmbiguousError,
            ("2 columns", f"'{name}'"),
            twice={"consent": name},
        )
        for name in ("subject_id", "purpose", "status", "method", "effective_from")
    ),
    Fault(
        "attribute twice",
        cg.ColumnAmbiguousError,
        ("2 columns", "'tier'"),
        consent={"tier": "x"},
        twice={"consent": "tier"},
    ),
    Fault(
        "float subjects in snapshot",
        cg.ColumnTypeError,
        ("'subject_id'", "double"),
        consent={"subject_id": [4711.5]},
    ),
    Fault(
        "numbers as status",
        cg.ColumnTypeError,
        ("'status'", "int64", "text"),
        consent={"status": 1},
    ),
    Fault(
        "numbers as method",
        cg.ColumnTypeError,
        ("'method'", "int64", "text"),
        consent={"method": 1},
    ),
    Fault(
        "text as covers_prior",
        cg.ColumnTypeError,
        ("'covers_prior'", "string", "boolean"),
        consent={"covers_prior": "yes"},
    ),
    Fault(
        "text as effective_from",
        cg.ColumnTypeError,
        ("'effective_from'", "string"),
        consent={"effective_from": PERSON},
    ),
    Fault(
        "naive effective_from",
        cg.NaiveTimestampError,
        ("'effective_from'", "timestamp[us]"),
        consent={"effective_from": NAIVE},
    ),
    Fault(
        "naive expires_at",
        cg.NaiveTimestampError,
        ("'expires_at'", "timestamp[us]"),
        consent={"expires_at": NAIVE},
    ),
    Fault(
        "null subject", cg.NullValueError, ("'subject_id'", "1 of 2"), consent={"subject_id": TWO}
    ),
    Fault(
        "null status",
        cg.NullValueError,
        ("'status'", "1 of 2"),
        consent={"status": ["given", None]},
    ),
    Fault(
        "null purpose",
        cg.NullValueError,
        ("'purpose'", "1 of 2"),
        consent={"purpose": [None, "train_ai_system"]},
    ),
    Fault(
        "given without a start",
        cg.NullValueError,
        ("'effective_from'", "1 rows"),
        consent={"effective_from": [BEGUN, None]},
    ),
    Fault(
        "renewed without a start",
        cg.NullValueError,
        ("'effective_from'", "1 rows"),
        consent={"status": ["refused", "renewed"], "effective_from": ABSENT},
    ),
    Fault(
        "given without any start",
        cg.NullValueError,
        ("'effective_from'", "2 rows"),
        consent={"effective_from": ABSENT},
    ),
    Fault(
        "two decisions of one subject",
        cg.DuplicateRecordError,
        ("2 rows of 4", "subject and purpose"),
        consent={"subject_id": [PERSON, PERSON_2, PERSON, PERSON]},
    ),
    Fault(
        "unknown status",
        cg.UnknownStatusError,
        ("'status'", "'granted'", "'given'", "status_map"),
        consent={"status": ["granted", "given"]},
    ),
    Fault("status in capitals", cg.UnknownStatusError, ("'Given'",), consent={"status": "Given"}),
    Fault(
        "an endless id",
        cg.SnapshotError,
        ("'subject_id'", "65537", "65536"),
        consent={"subject_id": [PERSON.ljust(65_537, "x")]},
    ),
    Fault("no as_of", cg.AsOfError, ("consent snapshot", "as_of"), consent_metadata={}),
    Fault(
        "two as_of", cg.AsOfError, ("consent snapshot", "2026-03-01"), consent_as_of=AS_OF + MICRO
    ),
    Fault(
        "two as_of in one file",
        cg.AsOfError,
        ("consent snapshot",),
        consent_metadata={**AS_OF_KEY, "as_of": NOW.isoformat()},
    ),
    Fault(
        "naive as_of in the file",
        cg.AsOfError,
        ("2026-03-01T00:00:00", "offset"),
        consent_metadata={"as_of": "2026-03-01T00:00:00"},
    ),
    Fault(
        "as_of in words",
        cg.AsOfError,
        ("'yesterday'", "ISO 8601"),
        consent_metadata={"as_of": "yesterday"},
    ),
    Fault(
        "stale snapshot",
        cg.StaleSnapshotError,
        ("consent snapshot", "7 days"),
        channels_metadata={"as_of": NOW.isoformat()},
        judged_at=AS_OF + timedelta(days=7) + MICRO,
    ),
    Fault(
        "snapshot from the future",
        cg.FutureSnapshotError,
        ("consent snapshot", "clock"),
        consent_metadata={"as_of": "2900-01-01T00:00:00Z"},
        judged_at=None,
        policy='max_snapshot_age = "none"',
    ),
    Fault(
        "rule without attribute",
        cg.RuleColumnMissingError,
        ("'field'", "'rule'", "consent snapshot"),
        policy=subject_rule('any_of = ["x"]'),
    ),
    Fault(
        "rule on a nested attribute",
        cg.RuleColumnMissingError,
        ("'field'", "'rule'"),
        consent={"field": pa.array([["x"], ["y"]])},
        policy=subject_rule('any_of = ["x"]'),
    ),
    Fault(
        "text rule on a number attribute",
        cg.RuleColumnTypeError,
        ("'field'", "int64", "str"),
        consent={"field": 1},
        policy=subject_rule('any_of = ["x"]'),
    ),
]

CHANNEL_FAULTS = [
    *(
        Fault(
            f"registry without {name}",
            cg.ColumnMissingError,
            (f"'{name}'",),
            channels={name: ABSENT, "other": [1]},
        )
        for name in ("channel_id", "visibility")
    ),
    *(
        Fault(
            f"registry with {name} twice",
            cg.ColumnAmbiguousError,
            ("2 columns", f"'{name}'"),
            twice={"channels": name},
        )
        for name in ("channel_id", "visibility")
    ),
    Fault(
        "null channel",
        cg.NullValueError,
        ("'channel_id'", "1 of 2"),
        channels={"channel_id": pa.array([ROOM, None])},
    ),
    Fault(
        "one channel twice",
        cg.DuplicateRecordError,
        ("1 rows of 2", "channel"),
        channels={"channel_id": [ROOM, ROOM]},
    ),
    Fault(
        "numbers in the registry",
        cg.ColumnTypeError,
        ("'visibility'", "int64"),
        channels={"visibility": 1},
    ),
    Fault(
        "naive public_since",
        cg.NaiveTimestampError,
        ("'public_since'",),
        channels={"public_since": NAIVE},
    ),
    Fault("registry without as_of", cg.AsOfError, ("channel registry",), channels_metadata={}),
    Fault("two as_of of the registry", cg.AsOfError, ("channel registry",), channels_as_of=NOW),
    Fault(
        "stale registry",
        cg.StaleSnapshotError,
        ("channel registry", "7 days"),
        consent_metadata={"as_of": NOW.isoformat()},
        judged_at=AS_OF + timedelta(days=7) + MICRO,
    ),
    Fault(
        "registry from the future",
        cg.FutureSnapshotError,
        ("channel registry", "clock"),
        channels_metadata={"as_of": "2900-01-01T00:00:00Z"},
        judged_at=None,
        policy='max_snapshot_age = "none"',
    ),
]

POLICY_FAULTS = [
    Fault("no policy", cg.PolicyError, ("policy.toml",), policy=None),
    Fault("unknown key", cg.PolicyError, ("'purpose'",), policy='purpose = "x"'),
    Fault(
        "unknown key of a rule",
        cg.PolicyError,
        ("record_rules.0", "'anyof'"),
        policy=record_rule('anyof = ["x"]'),
    ),
    Fault(
        "rule without a test",
        cg.PolicyError,
        ("any_of, none_of and is_null",),
        policy='record_rules = [{ name = "rule", column = "x" }]',
    ),
    Fault(
        "rule with two tests",
        cg.PolicyError,
        ("any_of, none_of and is_null",),
        policy=record_rule('any_of = ["x"], none_of = ["y"]'),
    ),
    Fault(
        "rule that says is_null = false",
        cg.PolicyError,
        ("is_null",),
        policy=record_rule("is_null = false"),
    ),
    Fault("rule with no values", cg.PolicyError, ("any_of",), policy=record_rule("any_of = []")),
    Fault(
        "rule with mixed values",
        cg.PolicyError,
        ("one type",),
        policy=record_rule('any_of = ["1", 1]'),
    ),
    Fault(
        "rule with truths among numbers",
        cg.PolicyError,
        ("one type",),
        policy=record_rule("any_of = [1, true]"),
    ),
    Fault(
        "rule named badly",
        cg.PolicyError,
        ("record_rules.0", "'name'"),
        policy='record_rules = [{ name = "a b", column = "x", is_null = true }]',
    ),
    Fault(
        "rule named as a reason",
        cg.PolicyError,
        ("private_channel", "built-in"),
        policy='record_rules = [{ name = "private_channel", column = "x", is_null = true }]',
    ),
    Fault(
        "two rules of one name",
        cg.PolicyError,
        ("share a name",),
        policy=record_rule("is_null = true") + "\n" + subject_rule("is_null = true"),
    ),
    Fault("17 rules", cg.PolicyError, ("17 rules", "16"), policy=many_rules(17)),
    Fault("no purpose", cg.PolicyError, ("'purposes'",), policy="purposes = []"),
    Fault("no method", cg.PolicyError, ("'methods'",), policy="methods = []"),
    Fault(
        "no public word",
        cg.PolicyError,
        ("'public_visibilities'",),
        policy="public_visibilities = []",
    ),
    Fault("a number as purpose", cg.PolicyError, ("'purposes.0'",), policy="purposes = [1]"),
    Fault(
        "a negative age",
        cg.PolicyError,
        ("'max_snapshot_age'",),
        policy='max_snapshot_age = "-P1D"',
    ),
    Fault(
        "an age in words",
        cg.PolicyError,
        ("'max_consent_age'",),
        policy='max_consent_age = "a week"',
    ),
    Fault("malformed TOML", cg.PolicyError, ("policy.toml",), policy="name = "),
    Fault(
        "malformed JSON", cg.PolicyError, ("policy.json",), policy="{", policy_name="policy.json"
    ),
    Fault(
        "JSON that says it twice",
        cg.PolicyError,
        ("policy.json", "twice"),
        policy='{"name": "a", "name": "b"}',
        policy_name="policy.json",
    ),
    Fault(
        "JSON without an object",
        cg.PolicyError,
        ("policy.json",),
        policy='["name"]',
        policy_name="policy.json",
    ),
    Fault(
        "policy of another format",
        cg.PolicyError,
        ("policy.yaml", ".toml or .json"),
        policy="name: x",
        policy_name="policy.yaml",
    ),
    Fault("policy of no text", cg.PolicyError, ("policy.toml",), policy=b"\xff\xfe"),
]

FAULTS = [*MESSAGE_FAULTS, *CONSENT_FAULTS, *CHANNEL_FAULTS, *POLICY_FAULTS]
