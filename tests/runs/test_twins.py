"""Sources in which one file has two names: its messages would be judged twice."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import fsspec
import pyarrow.dataset as ds
import pyarrow.fs as pa_fs
import pytest

import consentgate as cg
from tests.run_data import data_files, mixed_gate, write_files

LINKS = {
    "symbolic link": lambda link, file: link.symlink_to(file),
    "relative link": lambda link, file: link.symlink_to(os.path.relpath(file, link.parent)),
    "hard link": lambda link, file: link.hardlink_to(file),
}


@pytest.fixture
def src(tmp_path: Path) -> Path:
    """A folder of two files."""
    write_files(tmp_path / "src", ["a.parquet", "deep/b.parquet"])
    return tmp_path / "src"


def refused(source: object, dst: Path, *names: str) -> None:
    """A source that is refused with both names, before anything is written."""
    with pytest.raises(cg.SourceError, match="judged twice") as caught:
        cg.run(mixed_gate(), source, dst)
    assert all(f"'{name}'" in str(caught.value) for name in names)
    assert not dst.exists()


@pytest.mark.parametrize("name", ["z.parquet", "deep/z.parquet", "day=1/a.parquet", "A.parquet"])
@pytest.mark.parametrize("how", LINKS)
def test_a_file_under_two_names(how: str, name: str, src: Path, dst: Path) -> None:
    link = src / name
    link.parent.mkdir(exist_ok=True)
    LINKS[how](link, src / "a.parquet")
    refused(src, dst, "a.parquet", name)
    refused(f"{src}/**/*.parquet", dst, "a.parquet", name)
    refused(ds.dataset(src, format="parquet"), dst, "a.parquet", name)
    link.unlink()
    cg.run(mixed_gate(), src, dst)


@pytest.mark.parametrize("how", LINKS)
def test_a_file_elsewhere_under_two_names(how: str, src: Path, tmp_path: Path, dst: Path) -> None:
    write_files(tmp_path / "other", ["c.parquet"])
    for name in ("x.parquet", "y.parquet"):
        LINKS[how](src / name, tmp_path / "other" / "c.parquet")
    refused(src, dst, "x.parquet", "y.parquet")


def test_a_file_and_the_link_that_leads_to_its_folder(src: Path, dst: Path) -> None:
    (src / "link").symlink_to(src / "deep")
    with pytest.raises(cg.SourceError, match="is reached twice"):
        cg.run(mixed_gate(), src, dst)
    paths = [str(src / "deep/b.parquet"), str(src / "link/b.parquet")]
    refused(ds.dataset(paths, format="parquet"), dst)


@pytest.mark.parametrize("how", LINKS)
def test_a_link_to_one_file_elsewhere_is_judged_once(
    how: str, src: Path, tmp_path: Path, dst: Path
) -> None:
    write_files(tmp_path / "other", ["c.parquet"])
    LINKS[how](src / "c.parquet", tmp_path / "other" / "c.parquet")
    manifest = cg.run(mixed_gate(), src, dst)
    assert manifest.totals.rows == 1500
    assert cg.audit(dst, source=src, gate=mixed_gate()) == ()


def test_a_name_that_the_pattern_leaves_out_is_no_twin(src: Path, dst: Path) -> None:
    (src / "z.other").symlink_to(src / "a.parquet")
    (src / "_hidden.parquet").symlink_to(src / "a.parquet")
    cg.run(mixed_gate(), f"{src}/**/*.parquet", dst)
    assert data_files(dst).keys() == {"a.parquet", "deep/b.parquet"}


@pytest.mark.parametrize(
    "second", ["{}/a.parquet", "{}/./a.parquet", "{}//a.parquet", "{}/deep/../a.parquet"]
)
def test_a_data_set_that_names_a_file_twice(second: str, src: Path, dst: Path) -> None:
    whole = next(ds.dataset(src / "a.parquet", format="parquet").get_fragments())
    paths = [f"{src}/a.parquet", second.format(src)]
    fragments = [whole.format.make_fragment(path, whole.filesystem) for path in paths]
    dataset = ds.FileSystemDataset(fragments, whole.physical_schema, whole.format, whole.filesystem)
    refused(dataset, dst)


def test_a_data_set_within_a_folder_of_its_own(src: Path, dst: Path) -> None:
    (src / "z.parquet").hardlink_to(src / "a.parquet")
    inner = pa_fs.SubTreeFileSystem(str(src), pa_fs.LocalFileSystem())
    refused(ds.dataset("/", filesystem=inner, format="parquet"), dst, "a.parquet", "z.parquet")


FSSPEC = pa_fs.PyFileSystem(pa_fs.FSSpecHandler(fsspec.filesystem("file")))


@pytest.mark.parametrize("how", LINKS)
def test_a_data_set_over_the_local_filesystem_of_fsspec(how: str, src: Path, dst: Path) -> None:
    LINKS[how](src / "z.parquet", src / "a.parquet")
    for filesystem, path in (
        (FSSPEC, str(src)),
        (pa_fs.SubTreeFileSystem(str(src), FSSPEC), "/"),
        (pa_fs.PyFileSystem(pa_fs.FSSpecHandler(fsspec.filesystem("local"))), str(src)),
    ):
        paths = [f"{path}/{name}".replace("//", "/") for name in ("a.parquet", "z.parquet")]
        refused(ds.dataset(paths, filesystem=filesystem, format="parquet"), dst, "z.parquet")


def test_a_destination_within_a_data_set_over_fsspec(src: Path) -> None:
    source = ds.dataset(str(src), filesystem=FSSPEC, format="parquet")
    with pytest.raises(cg.OutputError, match="lies within the source"):
        cg.run(mixed_gate(), source, src / "out")
    with pytest.raises(cg.OutputError, match="lies within the source"):
        cg.run(mixed_gate(), source, src)
    assert not (src / "out").exists()


def test_a_data_set_over_fsspec_is_judged(src: Path, dst: Path) -> None:
    source = ds.dataset(str(src), filesystem=FSSPEC, format="parquet")
    cg.run(mixed_gate(), source, dst)
    assert cg.audit(dst, source=source, gate=mixed_gate()) == ()
    assert data_files(dst).keys() == {"a.parquet", "deep/b.parquet"}


@pytest.mark.parametrize("below", ["", "below"])
def test_a_link_that_leads_to_itself_as_destination(below: str, src: Path, dst: Path) -> None:
    dst.symlink_to("dst")
    with pytest.raises(cg.OutputError, match="Too many levels of symbolic links"):
        cg.run(mixed_gate(), src, dst / below)


def test_a_link_that_leads_to_itself_in_the_source(src: Path, dst: Path) -> None:
    (src / "z.parquet").symlink_to("z.parquet")
    (src / "y.parquet").symlink_to("x.parquet")
    (src / "x.parquet").symlink_to("y.parquet")
    with pytest.raises(cg.RunIncompleteError, match="3 of 5 files could not be judged"):
        cg.run(mixed_gate(), src, dst)


def test_a_folder_that_is_mounted_twice(src: Path, dst: Path) -> None:
    (src / "again").mkdir()
    mounted = ["mount", "--bind", str(src / "deep"), str(src / "again")]
    if os.geteuid() or subprocess.run(mounted, capture_output=True).returncode:
        pytest.skip("only root can mount, where the system lets it")
    try:
        with pytest.raises(cg.SourceError, match=r"is reached twice|judged twice"):
            cg.run(mixed_gate(), src, dst)
    finally:
        subprocess.run(["umount", str(src / "again")], check=True)
    assert not dst.exists()


def test_files_of_equal_content_are_two_files(src: Path, dst: Path) -> None:
    (src / "z.parquet").write_bytes((src / "a.parquet").read_bytes())
    assert cg.run(mixed_gate(), src, dst).totals.rows == 1500


def test_an_audit_of_such_a_source_is_refused(src: Path, dst: Path) -> None:
    cg.run(mixed_gate(), src, dst)
    (src / "z.parquet").hardlink_to(src / "a.parquet")
    with pytest.raises(cg.SourceError, match="judged twice"):
        cg.audit(dst, source=src)
