"""Paths that cannot be, that are relative, or that are as long as the system lets them be."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

import consentgate as cg
from consentgate.storage.durable import replacing
from consentgate.storage.folders import Folder
from tests.build import make_gate, message_table
from tests.odd_files import READERS, WRITERS, make_gate_of_today

NAMES = {
    "a NUL": "x\0y",
    "too long": "x" * 300,
    "not UTF-8": "x\udcff",
    "a lone surrogate": "x\ud800",
    "a path that is too long": "x" * 200 + ("/" + "y" * 200) * 30,
}


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
@pytest.mark.parametrize("reader", READERS)
def test_a_path_that_cannot_be_is_not_read(reader: str, name: str, tmp_path: Path) -> None:
    path = tmp_path / f"{name}.csv"
    if (reader, name) == ("folder read", NAMES["not UTF-8"]):
        assert READERS[reader](path) is None  # Linux can have such a file
        return
    with pytest.raises(cg.FileError, match=r"\.$"):
        READERS[reader](path)


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
@pytest.mark.parametrize("writer", WRITERS)
def test_a_path_that_cannot_be_is_not_written(writer: str, name: str, tmp_path: Path) -> None:
    (tmp_path / "draft").write_bytes(b"x")
    with pytest.raises(cg.FileError, match=r"\.$"):
        WRITERS[writer](tmp_path / name)
    assert [path.name for path in tmp_path.iterdir()] == ["draft"]


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
def test_a_store_whose_path_cannot_be_is_an_error(name: str, tmp_path: Path) -> None:
    for act in (
        lambda: cg.GateStore(tmp_path / name).publish(make_gate_of_today()),
        lambda: cg.GateStore(tmp_path / name).current(),
        lambda: cg.GateStore(tmp_path / name).prune(keep=1),
        lambda: Folder.at(tmp_path / name).listing(),
    ):
        with pytest.raises(cg.FileError, match=r"\.$"):
            act()


RELATIVE: dict[str, Callable[[], object]] = {
    "run": lambda: cg.run(make_gate(), "src", "dst"),
    "audit": lambda: cg.audit("dst"),
    "store": lambda: cg.GateStore("gates"),
    "cache": lambda: cg.GateStore("/gates", cache="cache"),
    "save": lambda: make_gate().save("gate"),
    "open": lambda: cg.Gate.open("gate"),
    "policy": lambda: cg.Policy.load("policy.toml"),
    "snapshot": lambda: cg.ConsentSnapshot.read("consent.parquet"),
    "stream": lambda: make_gate().stream([message_table()], ledger="ledger").read_all(),
}


@pytest.mark.parametrize("act", RELATIVE.values(), ids=RELATIVE)
def test_a_working_directory_that_is_gone_is_an_error(
    act: Callable[[], object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    with pytest.raises((cg.FileError, cg.PolicyError), match=r"\.$"):
        act()


def test_a_file_uri_has_no_query(tmp_path: Path) -> None:
    with pytest.raises(cg.SourceError, match="not a URI of a file"):
        Folder.at(f"file://{tmp_path}/x?y=1")
    assert Folder.at(f"file://{tmp_path}/x%3Fy=1").root == f"{tmp_path}/x?y=1"


@pytest.mark.parametrize("name", ["x" * 255, "ü" * 127, "x" * 238])
def test_a_name_may_be_as_long_as_the_system_lets_it(name: str, tmp_path: Path) -> None:
    gate = make_gate()
    gate.save(tmp_path / name)
    assert cg.Gate.open(tmp_path / name).digest == gate.digest
    assert [path.name for path in tmp_path.iterdir()] == [name]
    with replacing(tmp_path / name, "It") as file:
        file.write(b"x")
    assert (tmp_path / name).read_bytes() == b"x"
