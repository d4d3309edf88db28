"""What a run refuses: corrupt files, other schemas, and destinations that hold something else."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import consentgate as cg
from consentgate.storage import parquet_batches
from consentgate.storage.folders import Folder
from consentgate.storage.locks import lock
from consentgate.storage.parquet_writing import RowGroupWriter
from tests.build import make_consent, make_gate
from tests.run_data import (
    EVIDENCE,
    all_files,
    data_files,
    ledger_files,
    mixed_gate,
    mixed_messages,
    write_files,
)
from tests.runs.running import NAMES, Spy, incomplete, stop_after


def broken(kind: str, path: Path) -> None:
    """Make a file corrupt."""
    content = path.read_bytes()
    middle = len(content) // 3
    contents = {
        "empty": b"",
        "text": b"no Parquet at all",
        "cut": content[: len(content) // 2],
        "footer": content[:-400] + bytes(392) + content[-8:],
        "pages": content[:8] + bytes(middle) + content[8 + middle :],
    }
    path.write_bytes(contents[kind])


@pytest.mark.parametrize("kind", ["empty", "text", "cut", "footer", "pages"])
def test_a_corrupt_file_is_named_and_the_others_are_done(kind: str, src: Path, dst: Path) -> None:
    whole = (src / "b.parquet").read_bytes()
    broken(kind, src / "b.parquet")
    fault = incomplete(mixed_gate(), src, dst, "1 of 3 files could not be judged, and 2 are done")
    assert isinstance(fault, cg.UnreadableFileError)
    assert str(src / "b.parquet") in str(fault)
    assert data_files(dst).keys() == ledger_files(dst).keys() == {NAMES[0], NAMES[2]}
    (src / "b.parquet").write_bytes(whole)
    cg.run(mixed_gate(), src, dst)
    cg.run(mixed_gate(), src, dst.with_name("whole"))
    assert data_files(dst) == data_files(dst.with_name("whole"))


@pytest.mark.parametrize("kind", ["text", "pages"])
def test_fail_fast_stops_at_once(kind: str, src: Path, dst: Path, spy: Spy) -> None:
    pq.write_table(mixed_messages(5_000), src / "b.parquet", row_group_size=128)
    broken(kind, src / "b.parquet")
    incomplete(mixed_gate(), src, dst, "1 of 3 files", threads=1, fail_fast=True)
    assert spy.since() == (set() if kind == "text" else {"b.parquet"})
    assert not data_files(dst)


def test_all_files_may_be_corrupt(src: Path, dst: Path) -> None:
    for name in NAMES:
        broken("text", src / name)
    incomplete(mixed_gate(), src, dst, "3 of 3 files could not be judged, and 0 are done")


@pytest.mark.parametrize("what", ["nothing", "empty folder", "hidden files", "pattern"])
def test_a_source_without_files(what: str, tmp_path: Path, dst: Path) -> None:
    src = tmp_path / "src"
    if what != "nothing":
        src.mkdir()
    if what == "hidden files":
        (src / "_SUCCESS").touch()
    with pytest.raises(cg.SourceError, match=r"is not there|holds no files"):
        cg.run(mixed_gate(), src / "*.parquet" if what == "pattern" else src, dst)
    assert not dst.exists()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda t: t.drop("text"), "column 'text' is missing"),
        (lambda t: t.append_column("x", t["text"]), "column 'x' is additional"),
        (lambda t: t.select(t.column_names[::-1]), "the columns' order differs"),
        (
            lambda t: t.set_column(1, "sender_id", t["sender_id"].cast(pa.int32())),
            "column 'sender_id' is int32 instead of int64",
        ),
    ],
)
def test_files_of_differing_schemas(
    change: Callable[[pa.Table], pa.Table], words: str, src: Path, dst: Path
) -> None:
    table = mixed_messages(9)
    table = table.select(["message_id", "sender_id", "channel_id", "created_at", "text", "word"])
    for name in NAMES:
        pq.write_table(table, src / name)
    pq.write_table(change(table), src / "b.parquet")
    with pytest.raises(cg.SchemaMismatchError, match=words) as caught:
        cg.run(mixed_gate(), src, dst)
    for name in ("a.parquet", "b.parquet"):
        assert f"'{src / name}'" in str(caught.value)
    assert not data_files(dst)


def test_metadata_may_differ(src: Path, dst: Path) -> None:
    table = pq.read_table(src / "b.parquet").replace_schema_metadata({"other": "b"})
    pq.write_table(table, src / "b.parquet")
    cg.run(mixed_gate(), src, dst)
    assert pq.read_schema(dst / "b.parquet").metadata[b"other"] == b"b"


def test_a_destination_with_something_else(src: Path, dst: Path) -> None:
    dst.mkdir()
    (dst / "thesis.docx").touch()
    with pytest.raises(cg.OutputError, match=r"holds files, but no run, such as 'thesis.docx'"):
        cg.run(mixed_gate(), src, dst)
    assert all_files(dst) == {"thesis.docx"}


def test_a_destination_that_is_a_file(src: Path, dst: Path) -> None:
    dst.touch()
    with pytest.raises(cg.OutputError, match="is a file"):
        cg.run(mixed_gate(), src, dst)


@pytest.mark.parametrize("complete", [True, False])
def test_a_destination_with_a_run_of_another_source(complete: bool, src: Path, dst: Path) -> None:
    if complete:
        cg.run(mixed_gate(), src / "a.parquet", dst)
    else:
        with pytest.raises(KeyboardInterrupt):
            cg.run(mixed_gate(), src / "a.parquet", dst, on_progress=stop_after(0))
    before = all_files(dst)
    with pytest.raises(cg.OutputError, match=r"holds a run of '.*a.parquet', but the source"):
        cg.run(mixed_gate(), src, dst)
    assert all_files(dst) == before


def test_a_file_that_no_run_wrote_is_neither_kept_nor_removed(src: Path, dst: Path) -> None:
    cg.run(mixed_gate(), src, dst)
    pq.write_table(mixed_messages(3), dst / "ungated.parquet")
    with pytest.raises(
        cg.OutputError, match=r"a file that no run wrote, such as 'ungated.parquet'"
    ):
        cg.run(mixed_gate(), src, dst)
    assert (dst / "ungated.parquet").exists()


def test_a_file_of_somebody_elses_is_not_replaced(src: Path, dst: Path) -> None:
    """Not even once the source has one of that name."""
    cg.run(mixed_gate(), src, dst)
    (dst / "new.parquet").write_text("precious notes")
    write_files(src, ["new.parquet"])
    with pytest.raises(cg.OutputError, match=r"that no run wrote, such as 'new.parquet'"):
        cg.run(mixed_gate(), src, dst)
    assert (dst / "new.parquet").read_text() == "precious notes"


def test_an_output_of_another_run_is_not_removed(src: Path, dst: Path) -> None:
    cg.run(mixed_gate(), src, dst)
    shutil.copy(dst / "a.parquet", dst / "copy.parquet")
    with pytest.raises(cg.OutputError, match=r"that no run wrote, such as 'copy.parquet'"):
        cg.run(mixed_gate(), src, dst)
    assert (dst / "copy.parquet").exists()


@pytest.mark.parametrize("what", ["folder", "file", "dangling", "pipe"])
def test_links_and_pipes_in_a_destination(what: str, src: Path, dst: Path) -> None:
    """Else a run would remove or write the files that they lead to."""
    cg.run(mixed_gate(), src, dst)
    before = all_files(src)
    if what == "folder":
        shutil.rmtree(dst / "deep")
        (dst / "deep").symlink_to(src / "deep")
    elif what == "pipe":
        os.mkfifo(dst / EVIDENCE / "drafts")
    else:
        (dst / "a.parquet").unlink()
        (dst / "a.parquet").symlink_to(src / ("a.parquet" if what == "file" else "z"))
    with pytest.raises(cg.OutputError, match="is a link, or neither file nor folder"):
        cg.run(make_gate(), src, dst)
    assert all_files(src) == before
    assert cg.audit(dst) != ()


@pytest.mark.parametrize("place", ["src", "src/clean", "src/deep", "link"])
@pytest.mark.parametrize("pattern", ["", "/**/*.parquet"])
def test_a_destination_within_the_source(
    place: str, pattern: str, src: Path, tmp_path: Path
) -> None:
    (tmp_path / "link").symlink_to(src / "deep")
    before = all_files(src)
    with pytest.raises(cg.OutputError, match="lies within the source"):
        cg.run(mixed_gate(), f"{src}{pattern}", tmp_path / place)
    assert all_files(src) == before


def test_a_source_within_the_destination(src: Path, tmp_path: Path) -> None:
    with pytest.raises(cg.OutputError, match="or holds files of the source"):
        cg.run(mixed_gate(), src, tmp_path)


def test_a_destination_beside_a_single_file(src: Path) -> None:
    cg.run(mixed_gate(), src / "a.parquet", src / "clean")
    assert data_files(src / "clean").keys() == {"a.parquet"}


def test_two_files_with_one_part_of_the_ledger(tmp_path: Path, dst: Path) -> None:
    write_files(tmp_path / "src", ["a", "a.parquet"])
    with pytest.raises(cg.ConfigurationError, match="would share"):
        cg.run(mixed_gate(), tmp_path / "src", dst)


def test_a_file_and_a_folder_that_share_a_part_of_the_ledger(tmp_path: Path, dst: Path) -> None:
    write_files(tmp_path / "src", ["x", "x.parquet/a.parquet"])
    with pytest.raises(cg.ConfigurationError, match="or a folder of that name"):
        cg.run(mixed_gate(), tmp_path / "src", dst)


@pytest.mark.parametrize("make", [Path.mkdir, lambda p: p.symlink_to(p)])
def test_a_lock_that_is_none(make: Callable[[Path], None], src: Path, dst: Path) -> None:
    (dst / EVIDENCE).mkdir(parents=True)
    make(dst / EVIDENCE / "lock")
    with pytest.raises(cg.OutputError, match=r"Lock '.*' cannot be written|is a link"):
        cg.run(mixed_gate(), src, dst)


def test_two_runs_at_once(src: Path, dst: Path) -> None:
    (dst / EVIDENCE).mkdir(parents=True)
    with lock(Folder.at(dst)), pytest.raises(cg.DestinationBusyError, match="Another run"):
        cg.run(mixed_gate(), src, dst)
    assert not data_files(dst)
    cg.run(mixed_gate(), src, dst)


@pytest.mark.parametrize(
    ("gate", "error"),
    [
        (lambda: mixed_gate(max_snapshot_age="PT1H"), cg.StaleSnapshotError),
        (lambda: make_gate(columns=cg.Columns(subjects=("author",))), cg.ColumnMissingError),
        (lambda: make_gate(make_consent(subject_id=["a"])), cg.IdFamilyError),
        (
            lambda: make_gate(record_rules=[{"name": "r", "column": "x", "is_null": True}]),
            cg.RuleColumnMissingError,
        ),
    ],
)
def test_what_makes_judging_impossible_is_an_error_before_any_row(
    gate: Callable[[], cg.Gate], error: type[Exception], src: Path, dst: Path
) -> None:
    with pytest.raises(error):
        cg.run(gate(), src, dst)
    assert not data_files(dst)


@pytest.mark.parametrize("change", ["lost", "doubled"])
def test_a_row_that_is_lost_or_doubled_fails_the_run(
    change: str, src: Path, dst: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = RowGroupWriter.write

    def wrong(self: RowGroupWriter, table: pa.Table) -> None:
        write(self, table.slice(1) if change == "lost" else table)
        if change == "doubled":
            write(self, table.slice(0, 1))

    monkeypatch.setattr(RowGroupWriter, "write", wrong)
    with pytest.raises(cg.ConservationError, match="does not add up"):
        cg.run(mixed_gate(), src, dst)
    assert not data_files(dst)
    assert not ledger_files(dst)


def test_a_batch_with_a_row_too_many_fails_the_run(
    src: Path, dst: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The columns that are read later have no such row."""

    def doubling(*arguments: Any) -> Iterator[pa.RecordBatch]:
        for batch in batches(*arguments):
            yield pa.concat_batches([batch, batch.slice(0, 1)])

    batches = parquet_batches.BatchReader.batches
    monkeypatch.setattr(parquet_batches.BatchReader, "batches", doubling)
    incomplete(mixed_gate(), src, dst, "could not be judged")
    assert not data_files(dst)
    assert not ledger_files(dst)
