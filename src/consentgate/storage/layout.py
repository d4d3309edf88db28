"""Where things are in a run's destination."""

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
"""In the metadata of an output: the gate that judged it."""
RECORD_KEY = "consentgate.record"
"""In the metadata of a ledger's part: what became of its file, as JSON."""


def ledger_name(name: str) -> str:
    """The part of the ledger about an input."""
    return f"{LEDGER}/{name if name.endswith('.parquet') else name + '.parquet'}"


def seal_name(name: str) -> str:
    """The seal of what a signed run made of an input.

    Its name is a digest, so that it is short and takes no other file's place.
    """
    return f"{SEALS}/{hashlib.sha256(name.encode()).hexdigest()}"


def past(name: str, digest: str) -> str:
    """Where a manifest or its signature goes when a later run begins.

    Args:
        digest: the manifest's.
    """
    return f"{PAST}/{digest}{name[name.index('manifest') + len('manifest') :]}"


def is_hidden(name: str) -> bool:
    """Whether engines leave a file out when they read the folder: `_day=1` is a partition."""
    return any(
        part.startswith(".") or (part.startswith("_") and "=" not in part)
        for part in name.split("/")
    )


def is_plain(name: str) -> bool:
    """Whether a path leads down from a folder, on every system, and to nowhere else."""
    parts = re.split(r"[/\\]", name)
    leads_down = all(part not in ("", ".", "..") for part in parts)
    is_text = "\0" not in name and is_utf8(name)
    return leads_down and is_text and not PureWindowsPath(name).is_absolute()
