"""Where things are in a run's destination."""

__all__ = [
    "DRAFTS",
    "EVIDENCE",
    "GATE_KEY",
    "LEASES",
    "LEDGER",
    "LOCK",
    "MANIFEST",
    "RECORD_KEY",
    "SIGNATURE",
    "STATE",
    "is_hidden",
    "ledger_name",
    "past",
]

EVIDENCE = "_consentgate"
MANIFEST = f"{EVIDENCE}/manifest.json"
SIGNATURE = f"{EVIDENCE}/manifest.dsse.json"
STATE = f"{EVIDENCE}/run.json"
LEDGER = f"{EVIDENCE}/ledger"
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


def past(name: str, digest: str) -> str:
    """Where a manifest or its signature goes when a later run begins.

    Args:
        digest: the manifest's.
    """
    return f"{EVIDENCE}/manifests/{digest}{name[name.index('manifest') + len('manifest') :]}"


def is_hidden(name: str) -> bool:
    """Whether engines leave a file out when they read the folder: `_day=1` is a partition."""
    return any(
        part.startswith(".") or (part.startswith("_") and "=" not in part)
        for part in name.split("/")
    )
