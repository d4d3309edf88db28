"""Sources of runs: folders, patterns, URIs, data sets and links."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.dataset as ds
import pyarrow.fs as pa_fs
import pyarrow.parquet as pq
import pytest

import consentgate as cg
from tests.run_data import data_files, mixed_gate, mixed_messages, write_files
from tests.runs.running import NAMES, incomplete


def test_a_single_file(src: Path, dst: Path) -> None:
    manifest = cg.run(mixed_gate(), src / "a.parquet", dst)
    assert data_files(dst).keys() == {"a.parquet"}
    assert manifest.source == str(src / "a.parquet")


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("*.parquet", {"a.parquet", "b.parquet"}),
        ("**/*.parquet", set(NAMES)),
        ("[ab].parquet", {"a.parquet", "b.parquet"}),
        ("?.parquet", {"a.parquet", "b.parquet"}),
        ("deep/*/*.parquet", {"deep/er/c.parquet"}),
    ],
)
def test_patterns(pattern: str, names: set[str], src: Path, dst: Path) -> None:
    cg.run(mixed_gate(), f"{src}/{pattern}", dst)
    shared = "" if pattern != "deep/*/*.parquet" else "deep/"
    assert data_files(dst).keys() == {name.removeprefix(shared) for name in names}


def test_relative_paths(src: Path, dst: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(src.parent)
    cg.run(mixed_gate(), "src", "dst")
    assert data_files(dst).keys() == set(NAMES)


def test_file_uris(src: Path, dst: Path) -> None:
    cg.run(mixed_gate(), f"file://{src}", f"file://{dst}")
    assert data_files(dst).keys() == set(NAMES)


@pytest.mark.parametrize("name", ["a b.parquet", "ä€.parquet", "a%20b.parquet", "a[1].parquet"])
def test_names_of_any_letters(name: str, tmp_path: Path, dst: Path) -> None:
    write_files(tmp_path / "src", [name])
    cg.run(mixed_gate(), tmp_path / "src", dst)
    cg.run(mixed_gate(), tmp_path / "src" / name, tmp_path / "single")
    assert data_files(dst) == data_files(tmp_path / "single")
    assert cg.audit(dst) == ()


def test_a_name_that_is_no_unicode(src: Path, dst: Path) -> None:
    (src / "a.parquet").rename(Path(os.fsdecode(os.fsencode(src / "\udcff.parquet"))))
    with pytest.raises(cg.SourceError, match="is not UTF-8"):
        cg.run(mixed_gate(), src, dst)


def test_hidden_files_are_no_messages(src: Path, dst: Path) -> None:
    for name in ("_SUCCESS", ".part.crc", "_temporary/x.parquet", ".git/y.parquet"):
        (src / name).parent.mkdir(exist_ok=True)
        (src / name).write_bytes(b"no Parquet")
    cg.run(mixed_gate(), src, dst)
    cg.run(mixed_gate(), f"{src}/**/*", dst.with_name("other"))
    assert data_files(dst).keys() == data_files(dst.with_name("other")).keys() == set(NAMES)


def test_a_runs_destination_can_be_anothers_source(src: Path, dst: Path) -> None:
    cg.run(mixed_gate(), src, dst)
    stricter = mixed_gate(notice_versions=["n9"])
    manifest = cg.run(stricter, dst, dst.with_name("stricter"))
    assert manifest.totals.admitted == 0
    metadata = pq.read_schema(dst.with_name("stricter") / "a.parquet").metadata
    assert metadata[b"consentgate.gate_digest"] == stricter.digest.encode()


def test_a_data_set(src: Path, dst: Path) -> None:
    manifest = cg.run(mixed_gate(), ds.dataset(src, format="parquet"), dst)
    assert data_files(dst).keys() == set(NAMES)
    assert manifest.source.endswith("src (data set)")


def some_row_groups(dataset: Any) -> Any:
    fragments = [f.subset(row_group_ids=[0]) for f in dataset.get_fragments()]
    return ds.FileSystemDataset(fragments, dataset.schema, dataset.format, dataset.filesystem)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda d: d.filter(ds.field("message_id") > 3), "filtered or projected"),
        (some_row_groups, "only some row groups"),
        (lambda d: ds.dataset([d]), "made of files"),
        (lambda d: d.to_table(), "made of files"),
        (lambda _d: 5, "made of files"),
    ],
)
def test_what_is_not_whole_files_is_refused(
    change: Callable[[Any], Any], words: str, src: Path, dst: Path
) -> None:
    with pytest.raises(cg.ConfigurationError, match=words):
        cg.run(mixed_gate(), change(ds.dataset(src, format="parquet")), dst)
    assert not dst.exists()


def test_a_data_set_of_another_format_is_refused(tmp_path: Path, dst: Path) -> None:
    ds.write_dataset(mixed_messages(5).select(["text"]), tmp_path / "src", format="csv")
    with pytest.raises(cg.ConfigurationError, match="not Parquet"):
        cg.run(mixed_gate(), ds.dataset(tmp_path / "src", format="csv"), dst)


def test_hidden_files_are_refused_where_they_are_named(src: Path, dst: Path) -> None:
    (src / "a.parquet").rename(src / "_a.parquet")
    for source in (src / "_a.parquet", ds.dataset([str(src / "_a.parquet")], format="parquet")):
        with pytest.raises(cg.ConfigurationError, match="begins with"):
            cg.run(mixed_gate(), source, dst)


def test_a_data_set_within_a_folder_of_its_own(src: Path, dst: Path) -> None:
    inner = pa_fs.SubTreeFileSystem(str(src), pa_fs.LocalFileSystem())
    dataset = ds.dataset("/", filesystem=inner, format="parquet")
    with pytest.raises(cg.OutputError, match="lies within the source"):
        cg.run(mixed_gate(), dataset, src / "clean")
    cg.run(mixed_gate(), dataset, dst)
    assert data_files(dst).keys() == set(NAMES)


def test_a_link_that_leads_back(src: Path, dst: Path) -> None:
    (src / "loop").symlink_to(src)
    with pytest.raises(cg.SourceError, match="is reached twice"):
        cg.run(mixed_gate(), src, dst)


def test_a_link_that_leads_nowhere_is_named(src: Path, dst: Path) -> None:
    (src / "lost.parquet").symlink_to(src.parent / "nowhere")
    fault = incomplete(mixed_gate(), src, dst, "1 of 4 files could not be judged, and 3 are done")
    assert "lost.parquet" in str(fault)


def test_links_elsewhere_are_followed(src: Path, tmp_path: Path, dst: Path) -> None:
    write_files(tmp_path / "other", ["d.parquet"])
    (src / "more").symlink_to(tmp_path / "other")
    cg.run(mixed_gate(), src, dst)
    assert data_files(dst).keys() == {*NAMES, "more/d.parquet"}


def test_a_source_that_links_to_the_destination(src: Path, dst: Path) -> None:
    cg.run(mixed_gate(), src, dst)
    (src / "clean").symlink_to(dst)
    with pytest.raises(cg.OutputError, match="or holds files of the source"):
        cg.run(mixed_gate(), src, dst)
