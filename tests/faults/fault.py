"""One fault in the files that a gate is made from, and the files that hold it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

import consentgate as cg
from tests.build import AS_OF, NOW, channel_table, consent_table, message_table

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
