"""Pipes, devices, sockets, folders and files that are too large: none is read or replaced."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import consentgate as cg
from consentgate.storage import durable
from consentgate.storage.durable import check_regular, open_regular, read_regular
from consentgate.storage.folders import Folder
from consentgate.storage.layout import LOCK
from tests.build import make_gate
from tests.odd_files import ODD, READERS, WORDS, WRITERS, make_gate_of_today, make_odd
from tests.run_data import write_files


@pytest.mark.parametrize("kind", ODD)
@pytest.mark.parametrize("reader", READERS)
def test_what_is_no_regular_file_is_not_read(reader: str, kind: str, tmp_path: Path) -> None:
    make_odd(kind, tmp_path / "x.csv")
    with pytest.raises(cg.UnreadableFileError, match=WORDS):
        READERS[reader](tmp_path / "x.csv")


@pytest.mark.parametrize("kind", ["pipe", "device", "socket"])
def test_what_is_no_regular_file_is_not_left_out_of_a_run(kind: str, tmp_path: Path) -> None:
    write_files(tmp_path / "src", ["a.parquet"])
    make_odd(kind, tmp_path / "x")
    (tmp_path / "x").rename(tmp_path / "src" / "b.parquet")
    with pytest.raises(cg.RunIncompleteError, match=WORDS):
        cg.run(make_gate(), tmp_path / "src", tmp_path / "dst")


@pytest.mark.parametrize("kind", ODD)
@pytest.mark.parametrize("writer", WRITERS)
def test_what_is_no_regular_file_is_not_replaced(writer: str, kind: str, tmp_path: Path) -> None:
    make_odd(kind, tmp_path / "x")
    (tmp_path / "draft").write_bytes(b"x")
    before = sorted(tmp_path.iterdir())
    with pytest.raises(cg.OutputError, match=WORDS):
        WRITERS[writer](tmp_path / "x")
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize("kind", ODD)
@pytest.mark.parametrize("name", ["current.json", LOCK, "gate"])
def test_a_store_with_a_pipe_in_it_is_an_error(name: str, kind: str, tmp_path: Path) -> None:
    store = cg.GateStore(tmp_path / "gates")
    published = store.publish(make_gate_of_today())
    path = tmp_path / "gates" / (published.name if name == "gate" else name)
    path.unlink()
    make_odd(kind, path)
    error = cg.OutputError if name == LOCK else cg.UnreadableFileError
    with pytest.raises(error, match=WORDS):
        store.publish(make_gate_of_today())
    if name != LOCK:
        for act in (store.current, store.live):
            with pytest.raises(cg.UnreadableFileError, match=WORDS):
                act()


def test_small_files_have_a_largest_size(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.touch()
    os.truncate(path, 10**12)
    with pytest.raises(OSError, match="has 1,000,000,000,000 bytes, but at most 16,777,216 are"):
        read_regular(path)
    with pytest.raises(cg.UnreadableFileError, match="at most 1,073,741,824 are read"):
        Folder.at(tmp_path).read("x")
    (tmp_path / "gates").mkdir()
    path.rename(tmp_path / "gates" / "current.json")
    with pytest.raises(cg.UnreadableFileError, match="at most 65,536 are read"):
        cg.GateStore(tmp_path / "gates").current()
    path.write_bytes(b"x" * 10)
    assert read_regular(path, most_bytes=10) == b"x" * 10
    assert check_regular(path, most_bytes=10).st_size == 10
    with pytest.raises(OSError, match="at most 9"):
        open_regular(path, most_bytes=9)


def test_a_file_that_grows_while_it_is_read_is_not_read_beyond_its_most(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "x").write_bytes(b"x" * 10)
    monkeypatch.setattr(durable, "open_regular", lambda path, **_: path.open("rb"))
    with pytest.raises(OSError, match="it has 6 bytes, but at most 5 are read"):
        read_regular(tmp_path / "x", most_bytes=5)
