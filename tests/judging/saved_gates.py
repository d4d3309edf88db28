"""Gates that are saved to files."""

from __future__ import annotations

from datetime import timedelta

import pyarrow as pa
import pytest

import consentgate as cg
from tests.build import AS_OF, NOW, make_channels, make_consent, make_gate, message_table

STRING_IDS = [f"person {n} of Aleppo Road" for n in range(300)]
UUIDS = [n.to_bytes(16, "big") for n in range(300)]
POLICY_RULE = {"name": "minor", "column": "age_band", "any_of": ["minor"]}


def integer_gate() -> tuple[cg.Gate, pa.Table]:
    """A gate with everything that a file can hold: rules, both bounds, public_since."""
    rows = 400
    consent = make_consent(
        subject_id=list(range(rows)),
        effective_from=[AS_OF - timedelta(days=900, microseconds=7919 * n) for n in range(rows)],
        expires_at=[None if n % 3 else NOW + timedelta(microseconds=n - 200) for n in range(rows)],
        status=["withdrawn" if n % 7 == 0 else "given" for n in range(rows)],
        age_band=["minor" if n % 11 == 0 else "adult" for n in range(rows)],
    )
    channels = make_channels(
        channel_id=[10, 11, 12],
        visibility=["public", "private", "public"],
        public_since=[None, None, AS_OF - timedelta(days=901)],
    )
    gate = make_gate(consent, channels, subject_rules=[POLICY_RULE], max_consent_age="P1000D")
    table = message_table(
        sender_id=[n % 450 if n % 13 else None for n in range(2000)],
        channel_id=[10 + n % 4 for n in range(2000)],
        created_at=[AS_OF - timedelta(days=900, microseconds=5000 * n) for n in range(2000)],
    )
    return gate, table


def string_gate() -> tuple[cg.Gate, pa.Table]:
    gate = make_gate(make_consent(subject_id=STRING_IDS))
    return gate, message_table(sender_id=[*STRING_IDS, "nobody", None])


def uuid_gate() -> tuple[cg.Gate, pa.Table]:
    gate = make_gate(make_consent(subject_id=pa.array(UUIDS, pa.binary(16))))
    return gate, message_table(sender_id=pa.array([*UUIDS, bytes(14) + b"\xff\xff"], pa.binary(16)))


def gate_without_channels() -> tuple[cg.Gate, pa.Table]:
    columns = cg.Columns(channels=(), visibility="visibility")
    snapshot = make_consent(subject_id=[1, 2])
    gate = cg.Gate(cg.Policy(), snapshot, columns=columns, judged_at=NOW)
    table = message_table(sender_id=[1, 2, 3])
    words = pa.array(["public", "private", "public"])
    return gate, table.drop("channel_id").append_column("visibility", words)


GATES = pytest.mark.parametrize(
    "make", [integer_gate, string_gate, uuid_gate, gate_without_channels]
)


def head_size(content: bytes | bytearray) -> int:
    return int.from_bytes(content[12:16], "little")
