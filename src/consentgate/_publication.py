"""What a store's pointer says, what its files are called, and which of two gates is older."""

import re
import secrets
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from datetime import datetime
from typing import Annotated, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, PositiveInt, ValidationError

from consentgate._layout import LEASES, LOCK
from consentgate._storage import Folder
from consentgate.errors import DamagedGateError, NewerGateError
from consentgate.manifest import Digest

__all__ = [
    "POINTER",
    "TRIES",
    "Dates",
    "Publication",
    "dates_of",
    "gate_name",
    "is_own",
    "leftovers",
    "older",
    "read_pointer",
    "superseded",
]

POINTER = "current.json"
VERSION: Literal[1] = 1
TRIES = 8
"""So often is what is replaced or removed meanwhile looked at again."""
_PAUSE_S = 0.02
_POINTER_BYTES = 64 << 10
"""Most bytes of a pointer, which has less than a thousand."""
_GATE = re.compile(r"(\d{8,})-[0-9a-f]{12}-[0-9a-f]{8}\.gate")
_DRAFT = re.compile(rf"\.({_GATE.pattern}|{re.escape(POINTER)})\.[0-9a-f]{{16}}")

Dates = dict[str, datetime]


class Publication(BaseModel):
    """A gate that was published, as the pointer says it.

    Attributes:
        number: 1 for a store's first gate, and one more each time.
        name: of the gate's file, below the store.
        file_digest: the SHA-256 that stands for the file's content.
        digest: the gate's own, by which decisions name it (`Decision.gate_digest`).
        as_of: the instant as of which the consent snapshot speaks.
        registry_as_of: likewise, of the channel registry; where the gate has none, of the last one
            that was published.
        published_at: by the publisher's clock.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: Literal[1] = VERSION
    number: PositiveInt
    name: Annotated[str, Field(pattern=f"^{_GATE.pattern}$")]
    file_digest: Digest
    digest: Digest
    as_of: AwareDatetime
    registry_as_of: AwareDatetime | None
    published_at: AwareDatetime

    @property
    def dates(self) -> Dates:
        """What must not become older."""
        dates = {"consent snapshot": self.as_of, "channel registry": self.registry_as_of}
        return {what: as_of for what, as_of in dates.items() if as_of is not None}


def read_pointer(folder: Folder) -> Publication | None:
    """What the pointer says; None where there is none.

    Raises:
        DamagedGateError, NewerGateError: It is damaged, or of a newer version.
        UnreadableFileError: It cannot be read.
    """
    for _ in range(TRIES):
        # an object can be replaced after it was asked for its size, and before its content
        with suppress(DamagedGateError):
            return _parsed(folder.read(POINTER, most_bytes=_POINTER_BYTES), folder)
        time.sleep(_PAUSE_S)
    return _parsed(folder.read(POINTER, most_bytes=_POINTER_BYTES), folder)


def _parsed(content: bytes | None, folder: Folder) -> Publication | None:
    if content is None:
        return None
    try:
        return Publication.model_validate_json(content)
    except ValidationError as error:
        pointer = f"Pointer '{folder.shown(POINTER)}'"
        version = re.search(rb'"version":\s*(\d+)', content)
        if version is not None and int(version[1]) > VERSION:
            raise NewerGateError(
                f"{pointer} has version {int(version[1])}, but this release reads version "
                f"{VERSION}; upgrade consentgate."
            ) from error
        raise DamagedGateError(
            f"{pointer} is damaged; bring it back, or remove it and publish a gate of the "
            "newest snapshot."
        ) from error


def dates_of(evidence: Mapping[str, str]) -> Dates:
    """As of when a gate's snapshot and registry speak, by the gate's evidence."""
    keys = {"consent snapshot": "snapshot", "channel registry": "registry"}
    given = {what: evidence.get(f"consentgate.{key}_as_of") for what, key in keys.items()}
    return {what: datetime.fromisoformat(text) for what, text in given.items() if text is not None}


def older(new: Dates, old: Dates) -> str:
    """What of the new is older than the old, in words; empty where nothing is."""
    for what, as_of in old.items():
        if what in new and new[what] < as_of:
            return f"its {what} is as of {new[what].isoformat()}, the other's {as_of.isoformat()}"
    return ""


def gate_name(number: int, digest: str) -> str:
    """A name for a gate's file that no other ever had.

    Args:
        number: the publication's.
        digest: the gate's own.
    """
    return f"{number:08}-{digest[:12]}-{secrets.token_hex(4)}.gate"


def is_own(name: str) -> bool:
    """Whether a file can be there before a store's first gate was published."""
    is_lock = name == LOCK or name.startswith(f"{LEASES}/")
    return bool(is_lock or _GATE.fullmatch(name) or _DRAFT.fullmatch(name))


def superseded(names: Iterable[str], current: Publication, *, keep: int) -> list[str]:
    """Among some names, gates that were current once, but for the newest; the newest first.

    Args:
        keep: how many gates stay: the current one and those right before it.
    """
    before = {name: number for name, number in _numbers(names).items() if number <= current.number}
    before.pop(current.name, None)
    oldest_last = sorted(before, key=lambda name: -before[name])
    return oldest_last[keep - 1 :]


def leftovers(names: Iterable[str], current: Publication | None) -> list[str]:
    """What publishers that were killed left: drafts, and gates that never were current."""
    newest = 0 if current is None else current.number
    drafts = list(filter(_DRAFT.fullmatch, names))
    return drafts + [name for name, number in _numbers(names).items() if number > newest]


def _numbers(names: Iterable[str]) -> dict[str, int]:
    """The gates' files among some names, with their numbers."""
    matches = map(_GATE.fullmatch, names)
    return {match[0]: int(match[1]) for match in matches if match is not None}
