"""The pointer of a store, the names of its files, and the order of its gates."""

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
"""The most bytes that are read of a pointer. A pointer has fewer than a thousand."""
_GATE = re.compile(r"(\d{8,15})-[0-9a-f]{12}-[0-9a-f]{8}\.gate")
_HEAD_BYTES = 1 << 20
"""How many bytes of a gate's file are asked for at once. Few heads are longer."""
_MOST_NUMBER = 10**15 - 1
_DRAFT = re.compile(rf"\.({_GATE.pattern}|{re.escape(POINTER)})\.[0-9a-f]{{16}}")


class State(NamedTuple):
    """The consent snapshot or the channel registry that a gate was made of.

    Attributes:
        as_of: the instant whose facts it holds.
        digest: the SHA-256 of its content.
    """

    as_of: datetime
    digest: str


States = dict[str, State]


class Publication(BaseModel):
    """The current gate of a store, as its pointer describes it.

    Attributes:
        version: the version of the pointer's format.
        number: the number of the publication: 1 for a store's first gate, and higher each time.
        name: the name of the gate's file, below the store.
        file_digest: the SHA-256 of the head of the gate's file, which holds the SHA-256 of each
            array.
        digest: the digest of the gate, by which decisions name it (`Decision.gate_digest`).
        as_of: the `as_of` of the consent snapshot, in UTC.
        snapshot_digest: the digest of the consent snapshot.
        registry_as_of: the `as_of` of the channel registry, in UTC. If the gate has none, that of
            the last registry that was published; None if there was none.
        registry_digest: the digest of that registry.
        published_at: when the gate was published, by the publisher's clock.
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
        """The snapshot and the registry, which must not become older."""
        states = {"consent snapshot": State(self.as_of, self.snapshot_digest)}
        if self.registry_as_of is not None and self.registry_digest is not None:
            states["channel registry"] = State(self.registry_as_of, self.registry_digest)
        return states


def read_pointer(folder: Folder) -> Publication | None:
    """Read the pointer of a store. None if there is no pointer.

    Raises:
        GateFileError: The pointer is of an older version.
        NewerGateError: The pointer is of a newer version.
        DamagedGateError: The pointer is damaged.
        UnreadableFileError: The pointer cannot be read.
    """
    for _ in range(TRIES):
        # an object can be replaced after its size was asked for, and before its content is read
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
            f"{pointer} is damaged; restore it, or remove it and publish a gate of the newest "
            "snapshot."
        ) from error


def states_of(gate: GateIdentity) -> States:
    """The snapshot and the registry that a gate was made of."""
    inputs = {"consent snapshot": gate.consent, "channel registry": gate.channels}
    return {
        what: State(data.as_of, data.digest) for what, data in inputs.items() if data is not None
    }


def older(new: States, old: States) -> str:
    """A phrase that says how the new is older than the old, or may be. Empty if it is not."""
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
    """Raise `DamagedGateError` if a pointer says something else about a gate than the gate itself.

    Args:
        published: what the pointer says.
        states: the snapshot and the registry that the gate names itself.
        pointer: what the error calls the pointer.
    """
    for what, state in states.items():
        if published.states.get(what) != state:
            raise DamagedGateError(
                f"Pointer '{pointer}' says something else of the {what} than the gate that it "
                "names; restore the pointer, or remove it and publish a gate of the newest "
                "snapshot."
            )


def refuse_altered_pointer(folder: Folder, published: Publication) -> None:
    """Raise an error if the pointer contradicts the gate's file that it names.

    A file that is gone or damaged cannot contradict it, so a new gate can be published.

    Raises:
        DamagedGateError: They contradict each other.
        UnreadableFileError: The gate's file cannot be read.
    """
    states, digest = States(), ""
    with suppress(SourceChangedError, GateFileError):
        states, digest = _read_states(folder, published.name)
    if digest == published.file_digest:
        refuse_misfit(published, states, folder.shown(POINTER))


def _read_states(folder: Folder, name: str) -> tuple[States, str]:
    """Read from a gate's file the snapshot and registry that it was made of, and its digest."""
    path = Path(folder.shown(name))
    with folder.opened(name) as file:
        content, digest = read_description(pa.BufferedInputStream(file, _HEAD_BYTES), path)
    return states_of(gate_head(content, path).identity), digest


def gate_name(number: int, digest: str) -> str:
    """Make a name for a gate's file. No other file ever has the same name.

    Args:
        number: the number of the publication.
        digest: the digest of the gate.
    """
    return f"{number:08}-{digest[:12]}-{secrets.token_hex(4)}.gate"


def is_own(name: str) -> bool:
    """Whether a file of that name can be in a store before its first gate was published."""
    is_lock = name == LOCK or name.startswith(f"{LEASES}/")
    return bool(is_lock or _GATE.fullmatch(name) or _DRAFT.fullmatch(name))


def superseded(names: Iterable[str], current: Publication, *, keep: int) -> list[str]:
    """Find gates that were current once and can be removed, the newest first.

    Args:
        names: the names of the files in the store.
        current: the publication that the pointer names.
        keep: how many gates stay: the current one and those right before it.
    """
    before = {name: number for name, number in _numbers(names).items() if number <= current.number}
    before.pop(current.name, None)
    oldest_last = sorted(before, key=lambda name: -before[name])
    return oldest_last[keep - 1 :]


def drafts(names: Iterable[str]) -> list[str]:
    """Find files that publishers were writing when they were killed."""
    return list(filter(_DRAFT.fullmatch, names))


def gates_beside(
    folder: Folder, names: Iterable[str], current: Publication | None
) -> dict[str, States]:
    """Find gates that are newer than the one that the pointer names, by their numbers.

    A publisher that was killed leaves such a gate. If the pointer was lost or restored from a
    backup, a gate that was current may be one, too.

    Args:
        folder: the folder of the store.
        names: the names of the files in the folder.
        current: the publication that the pointer names. Without a pointer, all gates count.

    Returns:
        The snapshot and the registry of each gate, by the name of its file. Empty for a damaged
        file.

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
        OutputError: No higher number can be given.
    """
    newest = 0 if current is None else current.number
    number = max(newest, *_numbers(names).values(), 0) + 1
    if number > _MOST_NUMBER:
        raise OutputError(
            f"A gate has the number {number - 1}, and no higher one can be given; remove its file "
            "if no publisher wrote it, or publish into an empty folder."
        )
    return number


def _numbers(names: Iterable[str]) -> dict[str, int]:
    """The numbers of the gates' files among some names, by their names."""
    matches = map(_GATE.fullmatch, names)
    return {match[0]: int(match[1]) for match in matches if match is not None}
