"""A file of named arrays that is mapped into memory, not read.

::

    magic, version, length of the head     16 bytes
    SHA-256 of the head but for itself     32 bytes
    description, as JSON                   up to the head's length, zeros behind it
    the arrays' bytes, one after the other, each beginning at a multiple of 4,096

The description holds each array's name, type, shape, position and SHA-256, so the head's SHA-256
stands for the whole file. Whoever opens a file sees in constant time that its head is intact
and that nothing is missing at its end, and looks at a few pages; seeing that every byte is intact
takes reading them all.
"""

import json
import math
import mmap
import os
import struct
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated, Any, BinaryIO, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from consentgate.errors import (
    DamagedGateError,
    ForeignGateError,
    GateFileError,
    NewerGateError,
    OutputError,
    UnreadableFileError,
)
from consentgate.storage.digests import digest_bytes
from consentgate.storage.durable import open_regular, replacing, why

MAGIC = b"consgate"
VERSION = 5
"""Raised with any change to what is in gate files, the hashes under which ids are found included:
an older file would open and find nobody.
"""
_PREFIX = struct.Struct("<8sII")
_HASH_BYTES = 32
_PAGE = 4096
_SAMPLES = 32
_BLANK = ("0" * 64, "0" * 64)
"""Stands for checksums that are not known yet."""
_MOST_HEAD = 1 << 24
"""No head is longer, so that a damaged length does not let a whole file be read as one."""

Array = npt.NDArray[Any]
Count = Annotated[int, Field(ge=0, le=1 << 60)]


class _ArrayRange(BaseModel):
    """Where an array lies behind the head."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    type: Literal["|u1", "<u2", "<u4", "<u8"]
    shape: Annotated[tuple[Count, ...], Field(min_length=1, max_length=2)]
    start: Annotated[Count, Field(multiple_of=_PAGE)]
    sha256: str
    samples_sha256: str

    @property
    def size(self) -> int:
        """How many bytes it has."""
        return math.prod(self.shape) * np.dtype(self.type).itemsize


class _Content(BaseModel):
    """The content of a head."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    arrays: dict[str, _ArrayRange]
    size: Count
    description: Any

    @model_validator(mode="after")
    def _check_places(self) -> "_Content":
        if any(array.start + array.size > self.size for array in self.arrays.values()):
            raise ValueError("an array lies beyond the end")
        return self


class Sections(NamedTuple):
    """The content of a file: the writer's own description, the arrays, and the head's SHA-256."""

    description: Any
    arrays: dict[str, Array]
    digest: str

    def __repr__(self) -> str:
        return f"<Sections: {len(self.arrays)} arrays>"


def write_sections(path: Path, description: Any, arrays: Mapping[str, Array]) -> str:
    """Write a file that appears complete or not at all; returns its digest.

    Raises:
        OutputError: It cannot be written; what was at the path is still there.
    """
    with ThreadPoolExecutor() as pool, replacing(path, f"Gate file '{path}'") as file:
        checksums = {name: pool.submit(_checksums, array) for name, array in arrays.items()}
        file.seek(len(_make_head(_content(description, arrays, dict.fromkeys(arrays, _BLANK)))[0]))
        for array in arrays.values():  # while other threads compute the checksums
            file.write(_bytes(array))
            file.write(_padding(array.nbytes))
        known = {name: checksum.result() for name, checksum in checksums.items()}
        head, digest = _make_head(_content(description, arrays, known))
        if len(head) > _MOST_HEAD:
            raise OutputError(
                f"Gate file '{path}' cannot be written: its policy would take {len(head):,} bytes, "
                f"of at most {_MOST_HEAD:,}; shorten the policy's lists."
            )
        file.seek(0)
        file.write(head)
    return digest


def _content(
    description: Any, arrays: Mapping[str, Array], checksums: Mapping[str, tuple[str, str]]
) -> dict[str, Any]:
    """The content of a head. Its length does not depend on the checksums."""
    ranges, end = {}, 0
    for name, array in arrays.items():
        ranges[name] = {
            "type": array.dtype.str,
            "shape": array.shape,
            "start": end,
            "sha256": checksums[name][0],
            "samples_sha256": checksums[name][1],
        }
        end += array.nbytes + len(_padding(array.nbytes))
    return {"arrays": ranges, "size": end, "description": description}


def _checksums(array: Array) -> tuple[str, str]:
    """The SHA-256 of an array with its padding, and that of a few of its pages."""
    octets = _bytes(array)
    samples = [octets[page : page + _PAGE] for page in _sampled(array.nbytes)]
    return digest_bytes([octets, _padding(array.nbytes)]), digest_bytes(samples)


def open_sections(path: Path, *, verify: bool) -> Sections:
    """Map a file.

    Args:
        verify: read every byte, and not only what can be checked in constant time.

    Raises:
        UnreadableFileError: It is not there or cannot be read.
        ForeignGateError: It is no such file.
        NewerGateError: It is of a newer version.
        GateFileError: It is of an older version.
        DamagedGateError: It is truncated, altered or blank.
    """
    try:
        with open_regular(path) as file:
            size = os.fstat(file.fileno()).st_size
            head_size, content, digest = _read_head(path, file)
            if size != head_size + content.size:
                needed = f"{head_size + content.size:,}"
                raise damaged(path, f"is {size:,} bytes long, but {needed} were written")
            for array in content.arrays.values():
                _check_samples(path, file, head_size, array)
            memory = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except OSError as error:
        raise UnreadableFileError(f"Gate file '{path}' cannot be read: {why(error)}.") from error
    arrays = {}
    for name, array in content.arrays.items():
        start = head_size + array.start
        count = math.prod(array.shape)
        arrays[name] = np.frombuffer(memory, array.type, count, start).reshape(array.shape)
        end = start + array.size + len(_padding(array.size))
        if verify and digest_bytes([memoryview(memory)[start:end]]) != array.sha256:
            raise damaged(path, f"does not match the checksum of its section '{name}'")
    return Sections(content.description, arrays, digest)


def read_description(file: BinaryIO, path: Path) -> tuple[Any, str]:
    """The writer's own description from the beginning of a file, and the head's SHA-256.

    Args:
        file: the file, open at its beginning.
        path: what errors call it.

    Raises:
        GateFileError: As `open_sections` raises it about the head.
    """
    _, content, digest = _read_head(path, file)
    return content.description, digest


def _make_head(content: Any) -> tuple[bytes, str]:
    text = json.dumps(content).encode()
    text += _padding(_PREFIX.size + _HASH_BYTES + len(text))
    prefix = _PREFIX.pack(MAGIC, VERSION, _PREFIX.size + _HASH_BYTES + len(text))
    digest = digest_bytes([prefix, text])
    return prefix + bytes.fromhex(digest) + text, digest


def _read_head(path: Path, file: BinaryIO) -> tuple[int, _Content, str]:
    """The head's size, the content of its JSON, and its SHA-256."""
    prefix = file.read(_PREFIX.size)
    magic, version, size = _PREFIX.unpack(prefix.ljust(_PREFIX.size, b"\0"))
    if magic != MAGIC and not (MAGIC.startswith(prefix) or not any(prefix)):
        raise ForeignGateError(f"File '{path}' is no saved gate; give one that Gate.save wrote.")
    if magic != MAGIC:
        raise damaged(path, "is empty, or blank at its beginning")
    if version > VERSION:
        raise NewerGateError(
            f"Gate file '{path}' has version {version}, but this release reads version {VERSION}; "
            "install a newer consentgate, or save the gate with this release."
        )
    rest = min(size, _MOST_HEAD) - _PREFIX.size - _HASH_BYTES
    expected, text = file.read(_HASH_BYTES), file.read(max(0, rest))
    digest = digest_bytes([prefix, text])
    if digest != expected.hex():
        raise damaged(path, "does not match the checksum of its head")
    if version < VERSION:
        raise GateFileError(
            f"Gate file '{path}' has version {version}, but this release reads version {VERSION}; "
            "compile the gate anew from its policy, snapshot and registry."
        )
    if size % _PAGE:
        raise damaged(path, "has a head of an odd length")
    try:
        return size, _Content.model_validate_json(text.rstrip(b"\0")), digest
    except ValidationError:
        raise damaged(path, "has a head that does not describe its arrays") from None


def _sampled(size: int) -> list[int]:
    """Where in so many bytes the few pages lie that are always looked at."""
    last = max(0, size - 1) // _PAGE
    return sorted({last * sample // (_SAMPLES - 1) * _PAGE for sample in range(_SAMPLES)})


def _check_samples(path: Path, file: BinaryIO, head_size: int, array: _ArrayRange) -> None:
    """Look at a few pages of an array, without mapping them."""
    start = head_size + array.start
    samples = []
    for page in _sampled(array.size):
        file.seek(start + page)
        samples.append(file.read(min(_PAGE, array.size - page)))
    if digest_bytes(samples) != array.samples_sha256:
        raise damaged(path, "is blank or altered in places")


def damaged(path: Path, what: str) -> DamagedGateError:
    """The error for a gate's file, and what is wrong with it."""
    return DamagedGateError(f"Gate file '{path}' {what}; save the gate again, or copy it anew.")


def _bytes(array: Array) -> memoryview:
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8).data


def _padding(size: int) -> bytes:
    return bytes(-size % _PAGE)
