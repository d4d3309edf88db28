"""The fixtures of tests of stores of gates."""

from __future__ import annotations

from pathlib import Path

import pytest

import consentgate as cg
from tests.publishing.numbered import numbered_gate


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A store with one gate."""
    cg.GateStore(tmp_path / "gates").publish(numbered_gate(0))
    return tmp_path / "gates"
