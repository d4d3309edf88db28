"""SHA-256 digests of content, which are the same on every machine and in every version."""

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from consentgate.storage.durable import open_regular


def digest_bytes(parts: Iterable[Any]) -> str:
    """The SHA-256 of buffers one after the other, in hexadecimal.

    The caller must make clear where each buffer ends, for instance by putting its length first.
    """
    total = hashlib.sha256()
    for part in parts:
        total.update(part)
    return total.hexdigest()


def digest_file(path: Path) -> str:
    """The SHA-256 of a file's bytes."""
    with open_regular(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digest_json(value: Any) -> str:
    """The SHA-256 of a value's canonical JSON: sorted keys, no spaces, UTF-8."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return digest_bytes([text.encode()])
