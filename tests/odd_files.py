"""Files that are not regular files, and all functions that read or write a file."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pyarrow as pa

import consentgate as cg
from consentgate.inputs.files import MessageFile
from consentgate.storage.folders import Folder
from tests.build import AS_OF, consent_table, make_gate


def make_odd(kind: str, path: Path) -> None:
    """A file that is not a regular file."""
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "link to a pipe":
        os.mkfifo(path.with_suffix(".pipe"))
        path.symlink_to(path.with_suffix(".pipe"))
    elif kind == "device":
        path.symlink_to("/dev/zero")
    elif kind == "folder":
        path.mkdir()
    else:
        (path.parent / "s").mkdir()
        with closing(socket.socket(socket.AF_UNIX)) as bound:
            bound.bind(str(path.parent / "s" / "s"))
        path.symlink_to(path.parent / "s" / "s")


ODD = ["pipe", "link to a pipe", "device", "folder", "socket"]
WORDS = "it is a (named pipe|device|folder|socket), not a regular file"


def read_twice(folder: Folder, name: str) -> None:
    with folder.fetched(name):
        pass


READERS: dict[str, Callable[[Path], object]] = {
    "snapshot": lambda path: cg.ConsentSnapshot.read(path, as_of=AS_OF),
    "registry": lambda path: cg.ChannelRegistry.read(path, as_of=AS_OF),
    "messages": MessageFile.open,
    "batches": lambda path: list(MessageFile(path, pa.schema([]), None).batches()),
    "gate": cg.Gate.open,
    "folder read": lambda path: Folder.at(path.parent).read(path.name),
    "folder stamp": lambda path: Folder.at(path.parent).stamp(path.name),
    "folder opened": lambda path: Folder.at(path.parent).opened(path.name).__enter__(),
    "folder fetched": lambda path: read_twice(Folder.at(path.parent), path.name),
    "folder pieces": lambda path: list(Folder.at(path.parent).pieces(path.name)),
}

WRITERS: dict[str, Callable[[Path], object]] = {
    "gate": lambda path: make_gate().save(path),
    "folder write": lambda path: Folder.at(path.parent).write(path.name, b"x"),
    "folder publish": lambda path: Folder.at(path.parent).publish(
        path.with_name("draft"), path.name
    ),
}


def make_gate_of_today() -> cg.Gate:
    """A gate without an instant of its own, whose snapshot has no age limit."""
    consent = cg.ConsentSnapshot.from_arrow(consent_table(), as_of=AS_OF)
    columns = cg.Columns(channels=(), visibility="visibility")
    return cg.Gate(cg.Policy(max_snapshot_age=None), consent, columns=columns)
