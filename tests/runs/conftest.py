"""The fixtures of tests of runs: a source, a destination, keys, and what is judged."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import consentgate as cg
from tests.build import make_gate
from tests.run_data import write_files
from tests.runs.running import NAMES, Spy
from tests.runs.s3_data import FILES, judged, read_tree, write_tree
from tests.signing import write_keys


@pytest.fixture
def keys(tmp_path: Path) -> tuple[Path, Path]:
    """A private and a public key."""
    return write_keys(tmp_path)


@pytest.fixture
def src(tmp_path: Path) -> Path:
    """A folder of three files of messages."""
    write_files(tmp_path / "src", NAMES)
    return tmp_path / "src"


@pytest.fixture
def dst(tmp_path: Path) -> Path:
    """A destination that is not there yet."""
    return tmp_path / "dst"


@pytest.fixture
def spy(monkeypatch: pytest.MonkeyPatch) -> Spy:
    """Counts which files are judged."""
    return Spy(monkeypatch)


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, bytes], Any]:
    """What a run over FILES comes to on a disk."""
    place = tmp_path_factory.mktemp("local")
    manifest = cg.run(make_gate(), write_tree(place / "in", FILES), place / "out")
    return read_tree(place / "out"), judged(manifest)
