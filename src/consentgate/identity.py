"""The evidence of what judges, which ledgers and outputs carry in their metadata."""

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Protocol

from consentgate.columns import Columns
from consentgate.policy import Policy
from consentgate.reasons import reason_names
from consentgate.storage import digest_json


class Dated(Protocol):
    """A consent snapshot or channel registry, or what is left of one in a manifest."""

    @property
    def digest(self) -> str:
        """The SHA-256 of its content."""

    @property
    def as_of(self) -> datetime:
        """The instant as of which it speaks."""


def evidence_of(policy: Policy, consent: Dated, channels: Dated | None) -> dict[str, str]:
    """The evidence of a gate that is made of these; keys begin with `consentgate.`."""
    evidence = {
        "reason_names": json.dumps(reason_names(policy.rule_names)),
        "policy_digest": policy.digest,
    }
    for what, dated in (("snapshot", consent), ("registry", channels)):
        if dated is not None:
            evidence[f"{what}_digest"] = dated.digest
            evidence[f"{what}_as_of"] = dated.as_of.isoformat()
    return {f"consentgate.{key}": value for key, value in evidence.items()}


def gate_digest(evidence: Mapping[str, str], columns: Columns) -> str:
    """The SHA-256 of all that decides a row's fate, but for the instant of judgement."""
    return digest_json([dict(evidence), vars(columns)])
