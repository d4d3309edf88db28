"""A store's pointer, the names of its files, and which of two gates is older."""

import re
import secrets
import time
from collections.abc import Iterable
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

import pyarrow as pa
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)

from consentgate.errors import (
    DamagedGateError,
    GateFileError,
    NewerGateError,
    OutputError,
    SourceChangedError,
)
from consentgate.identity import Digest, GateIdentity, Instant, instant_text
from consentgate.judging import gate_head
from consentgate.storage import LEASES, LOCK, Folder, read_description

POINTER = "current.json"
VERSION: Literal[2] = 2
TRIES = 8
"""How many times a read is retried when a publisher replaces or removes the file meanwhile."""
_PAUSE_S = 0.02
_POINTER_BYTES = 64 << 10
"""Most bytes of a pointer, which has less than a thousand."""
_GATE = re.compile(r"(\d{8,15})-[0-9a-f]{12}-[0-9a-f]{8}\.gate")
_HEAD_BYTES = 1 << 20
"""How much of a gate's file is asked for at once; few heads are longer."""
_MOST_NUMBER = 10**15 - 1
_DRAFT = re.compile(rf"\.({_GATE.pattern}|{re.escape(POINTER)})\.[0-9a-f]{{16}}")


class State(NamedTuple):
    """Which consent snapshot or channel registry a gate was made of.

    Attributes:
        as_of: the instant as of which it speaks.
        digest: the SHA-256 of its content.
    """

    as_of: datetime
    digest: str


States = dict[str, State]


class Publication(BaseModel):
    """A gate that was published, as the pointer says it.

    Attributes:
        number: 1 for a store's first gate, and one more each time.
        name: of the gate's file, below the store.
        file_digest: the SHA-256 that stands for the file's content.
        digest: the gate's own, by which decisions name it (`Decision.gate_digest`).
        as_of: the instant as of which the consent snapshot speaks.
        snapshot_digest: the SHA-256 of the snapshot's content.
        registry_as_of: likewise, of the channel registry; where the gate has none, of the last one
            that was published.
        registry_digest: likewise.
        published_at: by the publisher's clock.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: Literal[2] = VERSION
    number: Annotated[int, Field(ge=1, le=_MOST_NUMBER)]
    name: Annotated[str, Field(pattern=f"^{_GATE.pattern}$")]
    file_digest: Digest
    digest: Digest
    as_of: Instant
    snapshot_digest: Digest
    registry_as_of: Instant | None
    registry_digest: Digest | None
    published_at: Instant

    @model_validator(mode="after")
    def _check_fit(self) -> "Publication":
        if not self.name.startswith(f"{self.number:08}-{self.digest[:12]}-"):
            raise ValueError("the name is of another number or digest")
        if (self.registry_as_of is None) != (self.registry_digest is None):
            raise ValueError("an instant and a digest of the registry belong together")
        return self

    @property
    def states(self) -> States:
        """The states of snapshot and registry, which must not become older."""
        states = {"consent snapshot": State(self.as_of, self.snapshot_digest)}
        if self.registry_as_of is not None and self.registry_digest is not None:
            states["channel registry"] = State(self.registry_as_of, self.registry_digest)
        return states


def read_pointer(folder: Folder) -> Publication | None:
    """The publication that the pointer names; None where there is no pointer.

    Raises:
        GateFileError: It is of an older version.
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
        version = re.search(rb'"version":\s*(\d{1,9})\b', content)
        if version is not None and int(version[1]) > VERSION:
            raise NewerGateError(
                f"{pointer} has version {int(version[1])}, but this release reads version "
                f"{VERSION}; install a newer consentgate."
            ) from error
        if version is not None and int(version[1]) < VERSION:
            raise GateFileError(
                f"{pointer} has version {int(version[1])}, but this release reads version "
                f"{VERSION}; remove it and publish a gate of the newest snapshot."
            ) from error
        raise DamagedGateError(
            f"{pointer} is damaged; bring it back, or remove it and publish a gate of the "
            "newest snapshot."
        ) from error


def states_of(gate: GateIdentity) -> States:
    """Which snapshot and registry a gate was made of."""
    inputs = {"consent snapshot": gate.consent, "channel registry": gate.channels}
    return {
        what: State(data.as_of, data.digest) for what, data in inputs.items() if data is not None
    }


def older(new: States, old: States) -> str:
    """How the new is older than the old, or may be, in words; empty where it is not."""
    for what, before in old.items():
        after = new.get(what, before)
        as_of = instant_text(after.as_of)
        if after.as_of < before.as_of:
            return f"its {what} is as of {as_of}, the other's {instant_text(before.as_of)}"
        if after.as_of == before.as_of and after.digest != before.digest:
            return f"its {what} differs from the other's, but both are as of {as_of}"
    return ""


def newest_of(found: Iterable[States]) -> States:
    """The newest snapshot and the newest registry among those of several gates."""
    newest: States = {}
    for states in found:
        for what, state in states.items():
            newest[what] = max(newest.get(what, state), state)
    return newest


def refuse_misfit(published: Publication, states: States, pointer: str) -> None:
    """Raise `DamagedGateError` if a pointer says something else of a gate than the gate itself.

    Args:
        published: what the pointer says.
        states: what the gate itself says.
        pointer: what the error calls the pointer.
    """
    for what, state in states.items():
        if published.states.get(what) != state:
            raise DamagedGateError(
                f"Pointer '{pointer}' says something else of the {what} than the gate that it "
                "names; bring the pointer back, or remove it and publish a gate of the newest "
                "snapshot."
            )


def refuse_altered_pointer(folder: Folder, published: Publication) -> None:
    """Raise `DamagedGateError` if the pointer and the gate's file that it names contradict.

    A file that is gone or damaged tells nothing, so a new gate can be published in its place.

    Raises:
        UnreadableFileError: The gate's file cannot be read.
    """
    states, digest = States(), ""
    with suppress(SourceChangedError, GateFileError):
        states, digest = _read_states(folder, published.name)
    if digest == published.file_digest:
        refuse_misfit(published, states, folder.shown(POINTER))


def _read_states(folder: Folder, name: str) -> tuple[States, str]:
    """The states that a gate was made of, by its own file, and the file's digest."""
    path = Path(folder.shown(name))
    with folder.opened(name) as file:
        content, digest = read_description(pa.BufferedInputStream(file, _HEAD_BYTES), path)
    return states_of(gate_head(content, path).identity), digest


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


def drafts(names: Iterable[str]) -> list[str]:
    """Among some names, files that publishers were writing when they were killed."""
    return list(filter(_DRAFT.fullmatch, names))


def gates_beside(
    folder: Folder, names: Iterable[str], current: Publication | None
) -> dict[str, States]:
    """The gates that came after the one that the pointer names, and what they were made of.

    A publisher that was killed leaves such a gate. A gate that was current is one, too, where the
    pointer was lost, or was brought back from a backup. A damaged file says nothing of its gate.

    Args:
        names: of the files in the folder.
        current: what the pointer says; without a pointer, all gates count.

    Raises:
        NewerGateError, UnreadableFileError: A gate's file cannot be read.
    """
    newest = 0 if current is None else current.number
    numbers = _numbers(names).items()
    beside = [name for name, number in numbers if number >= newest]
    return {
        name: _states_in(folder, name) for name in beside if current is None or name != current.name
    }


def _states_in(folder: Folder, name: str) -> States:
    try:
        return _read_states(folder, name)[0]
    except NewerGateError:
        raise
    except (SourceChangedError, GateFileError):
        return {}


def next_number(names: Iterable[str], current: Publication | None) -> int:
    """The number of the next publication, which is higher than any that was given before.

    Raises:
        OutputError: There is no higher number.
    """
    newest = 0 if current is None else current.number
    number = max(newest, *_numbers(names).values(), 0) + 1
    if number > _MOST_NUMBER:
        raise OutputError(
            f"A gate has the number {number - 1}, and no higher one can be given; take its file "
            "away if no publisher wrote it, or publish into an empty folder."
        )
    return number


def _numbers(names: Iterable[str]) -> dict[str, int]:
    """The gates' files among some names, with their numbers."""
    matches = map(_GATE.fullmatch, names)
    return {match[0]: int(match[1]) for match in matches if match is not None}
