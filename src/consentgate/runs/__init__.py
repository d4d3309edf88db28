"""Judging a whole data set into another one, with a ledger and a manifest, and auditing runs."""

from consentgate.runs.auditor import Finding, audit, refuse_other_rules
from consentgate.runs.inventory import InputFile, look_at
from consentgate.runs.manifest import Manifest, PartRecord
from consentgate.runs.records import parse_record, to_json
from consentgate.runs.runner import Progress, run
from consentgate.runs.source import Source, find_source, with_partition

__all__ = [
    "Finding",
    "InputFile",
    "Manifest",
    "PartRecord",
    "Progress",
    "Source",
    "audit",
    "find_source",
    "look_at",
    "parse_record",
    "refuse_other_rules",
    "run",
    "to_json",
    "with_partition",
]
