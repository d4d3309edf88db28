"""Where `datasets` keeps what it writes, which it wants to know before it is imported; and a gate,
a folder and a data set.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import consentgate as cg
from tests.run_data import mixed_gate, mixed_messages

if TYPE_CHECKING:
    from datasets import Dataset

_CACHE = tempfile.TemporaryDirectory(prefix="consentgate-tests-")
os.environ["HF_HOME"] = _CACHE.name
os.environ["HF_HUB_OFFLINE"] = "1"


@pytest.fixture
def gate(tmp_path: Path) -> cg.Gate:
    """A saved gate."""
    gate = mixed_gate()
    gate.save(tmp_path / "gate")
    return gate


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An empty folder."""
    (tmp_path / "data").mkdir()
    return tmp_path / "data"


@pytest.fixture
def stored(folder: Path) -> Dataset:
    """A data set on disk."""
    from tests.adapters.huggingface_cases import on_disk
    from tests.adapters.huggingface_data import ROWS

    return on_disk(mixed_messages(ROWS), folder, 2)
