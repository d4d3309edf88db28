"""The names of the files in a run's destination."""

import hashlib
import re
from pathlib import PureWindowsPath

from consentgate.arguments import is_utf8

EVIDENCE = "_consentgate"
MANIFEST = f"{EVIDENCE}/manifest.json"
SIGNATURE = f"{EVIDENCE}/manifest.dsse.json"
STATE = f"{EVIDENCE}/run.json"
LEDGER = f"{EVIDENCE}/ledger"
SEALS = f"{EVIDENCE}/seals"
PAST = f"{EVIDENCE}/manifests"
DRAFTS = f"{EVIDENCE}/drafts"
LOCK = f"{EVIDENCE}/lock"
LEASES = f"{EVIDENCE}/leases"
GATE_KEY = "consentgate.gate_digest"
"""Key in an output's metadata for the digest of the gate that judged it."""
RECORD_KEY = "consentgate.record"
"""Key in the metadata of a ledger part for the record of what became of its input, as JSON."""


def ledger_name(name: str) -> str:
    """The name of the ledger part about an input."""
    return f"{LEDGER}/{name if name.endswith('.parquet') else name + '.parquet'}"


def seal_name(name: str) -> str:
    """The name of the seal that a signed run makes for an input.

    It is a digest of the input's name, so it is short, and no two seals have the same name.
    """
    return f"{SEALS}/{hashlib.sha256(name.encode()).hexdigest()}"


def past(name: str, digest: str) -> str:
    """The name that a manifest or its signature gets when a later run begins.

    Args:
        name: MANIFEST or SIGNATURE.
        digest: the digest of the manifest.
    """
    return f"{PAST}/{digest}{name[name.index('manifest') + len('manifest') :]}"


def is_hidden(name: str) -> bool:
    """Whether engines leave a file out when they read the folder.

    They read a folder such as `_day=1`, because it is a partition.
    """
    return any(
        part.startswith(".") or (part.startswith("_") and "=" not in part)
        for part in name.split("/")
    )


def is_plain(name: str) -> bool:
    """Whether a relative path leads to a file below its folder, on every operating system."""
    parts = re.split(r"[/\\]", name)
    leads_down = all(part not in ("", ".", "..") for part in parts)
    is_text = "\0" not in name and is_utf8(name)
    return leads_down and is_text and not PureWindowsPath(name).is_absolute()
