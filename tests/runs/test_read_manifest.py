"""Reading a run's manifest by its path."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

import consentgate as cg
from tests.build import make_gate, message_table

FILE = Path("_consentgate/manifest.json")


@pytest.fixture
def clean(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> cg.Manifest:
    """The manifest of a run into `clean`, in the working directory."""
    monkeypatch.chdir(tmp_path)
    pq.write_table(message_table(), "in.parquet")
    return cg.run(make_gate(), "in.parquet", "clean")


def test_a_manifest_is_read_by_the_runs_folder_or_by_its_own_file(
    clean: cg.Manifest, tmp_path: Path
) -> None:
    folders: list[Any] = ["clean", "clean/", Path("clean"), tmp_path / "clean"]
    files = ["clean" / FILE, f"clean/{FILE}", tmp_path / "clean" / FILE]
    uris = [(tmp_path / "clean").as_uri(), (tmp_path / "clean" / FILE).as_uri()]
    for place in [*folders, *files, *uris]:
        assert cg.Manifest.read(place) == clean


def test_an_earlier_manifest_is_read_by_its_file(clean: cg.Manifest) -> None:
    later = cg.run(make_gate(name="later"), "in.parquet", "clean")
    (earlier,) = Path("clean/_consentgate/manifests").iterdir()
    assert cg.Manifest.read(earlier) == clean
    assert cg.Manifest.read("clean") == later


@pytest.mark.parametrize("place", [".", "missing", "clean/_consentgate", "clean/missing.json"])
def test_where_there_is_no_manifest_it_is_an_error(clean: cg.Manifest, place: str) -> None:
    del clean
    with pytest.raises(cg.ManifestError, match=r"no manifest in '.*'; check the path"):
        cg.Manifest.read(place)


def test_a_file_that_is_no_manifest_or_was_altered_is_an_error(clean: cg.Manifest) -> None:
    with pytest.raises(cg.ManifestError, match="is not a valid Manifest"):
        cg.Manifest.read("in.parquet")
    path = "clean" / FILE
    text = path.read_text()
    path.write_text(text.replace(clean.started_at.isoformat()[:4], "1999"))
    with pytest.raises(cg.ManifestError, match="was altered"):
        cg.Manifest.read(path)


def test_a_pipe_is_not_waited_for(clean: cg.Manifest) -> None:
    del clean
    ("clean" / FILE).unlink()
    os.mkfifo("clean" / FILE)
    for place in ("clean", "clean" / FILE):
        with pytest.raises(cg.ConsentGateError, match="manifest"):
            cg.Manifest.read(place)


@pytest.mark.parametrize("place", [None, 3, b"clean", ["clean"], object()])
def test_what_is_no_path_is_a_type_error(place: Any) -> None:
    with pytest.raises(TypeError, match="`path` is of type"):
        cg.Manifest.read(place)
