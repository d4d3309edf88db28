"""Runs that go on where others were stopped: what is judged again, and what is trusted."""

from __future__ import annotations

import io
import json
import os
import sys
import time
from collections.abc import Callable
from contextlib import nullcontext
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.fs as pa_fs
import pyarrow.parquet as pq
import pytest

import consentgate as cg
from consentgate.storage.folders import Folder
from tests.build import MICRO, NOW, make_channels, make_consent, make_gate, message_table
from tests.run_data import (
    EVIDENCE,
    all_files,
    as_of,
    data_files,
    ledger_files,
    mixed_gate,
    mixed_messages,
    write_files,
)
from tests.runs.running import NAMES, Spy, incomplete, live, stop_after
from tests.signing import write_keys


def test_a_run_that_is_done_is_not_done_again(src: Path, dst: Path, spy: Spy) -> None:
    first = cg.run(mixed_gate(), src, dst)
    before = {p: p.stat().st_mtime_ns for p in dst.rglob("*") if p.name != "lock"}
    assert spy.since() == set(NAMES)
    assert cg.run(mixed_gate(), src, dst) == first
    assert not spy.since()
    assert before == {p: p.stat().st_mtime_ns for p in dst.rglob("*") if p.name != "lock"}


@pytest.mark.parametrize("count", [0, 1, 2, 3])
def test_an_interrupted_run_goes_on(count: int, src: Path, dst: Path, spy: Spy) -> None:
    with pytest.raises(KeyboardInterrupt):
        cg.run(mixed_gate(), src, dst, threads=1, on_progress=stop_after(count))
    assert not (dst / EVIDENCE / "manifest.json").exists()
    assert not (dst / EVIDENCE / "drafts").exists()
    done = data_files(dst).keys()
    assert len(done) == count
    spy.since()
    resumed = cg.run(mixed_gate(), src, dst)
    assert spy.since() == set(NAMES) - done
    whole = cg.run(mixed_gate(), src, dst.with_name("whole"))
    assert data_files(dst) == data_files(dst.with_name("whole"))
    assert (resumed.files, resumed.totals) == (whole.files, whole.totals)
    assert cg.audit(dst) == ()


def test_an_interrupted_run_keeps_its_instant(src: Path, dst: Path) -> None:
    consent = make_consent(subject_id=list(range(45)))
    gate = cg.Gate(cg.Policy(max_snapshot_age=None), consent, make_channels())
    gate = live(gate)
    begun = datetime.now(UTC)
    with pytest.raises(KeyboardInterrupt):
        cg.run(gate, src, dst, threads=1, on_progress=stop_after(1))
    stopped = datetime.now(UTC)
    manifest = cg.run(gate, src, dst)
    assert begun <= manifest.judgement.judged_at <= stopped
    assert begun <= manifest.started_at <= stopped


def test_an_interrupted_run_does_not_go_on_with_a_stale_snapshot(
    src: Path, dst: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = live(mixed_gate())
    with pytest.raises(KeyboardInterrupt):
        cg.run(gate, src, dst, threads=1, on_progress=stop_after(1))
    before = all_files(dst)
    later = time.time_ns() + 8 * 86_400 * 10**9
    monkeypatch.setattr(time, "time_ns", lambda: later)
    with pytest.raises(cg.StaleSnapshotError, match="8 days"):
        cg.run(gate, src, dst)
    assert all_files(dst) == before


def test_a_run_that_ended_is_followed_by_one_at_a_new_instant(
    src: Path, dst: Path, spy: Spy
) -> None:
    gate = live(mixed_gate(max_snapshot_age=None))
    first = cg.run(gate, src, dst)
    spy.since()
    second = cg.run(gate, src, dst)
    assert spy.since() == set(NAMES)
    assert second.previous == first.digest
    assert second.judgement.judged_at > first.judgement.judged_at


@pytest.mark.filterwarnings("ignore::consentgate.CoverageWarning")  # all channels are private
@pytest.mark.parametrize("complete", [True, False])
def test_a_new_gate_judges_everything_anew(complete: bool, src: Path, dst: Path, spy: Spy) -> None:
    if complete:
        first = cg.run(mixed_gate(), src, dst)
    else:
        with pytest.raises(KeyboardInterrupt):
            cg.run(mixed_gate(), src, dst, threads=1, on_progress=stop_after(2))
    spy.since()
    manifest = cg.run(as_of(make_gate(channels=make_channels(visibility="private"))), src, dst)
    assert spy.since() == set(NAMES)
    assert manifest.totals.admitted == 0
    assert manifest.previous == (first.digest if complete else None)
    assert cg.audit(dst) == ()


def test_another_version_judges_everything_anew(
    src: Path, dst: Path, spy: Spy, monkeypatch: pytest.MonkeyPatch
) -> None:
    cg.run(mixed_gate(), src, dst)
    spy.since()
    monkeypatch.setattr(sys.modules["consentgate.runs.runner"], "VERSION", "0.2.0")
    cg.run(mixed_gate(), src, dst)
    assert spy.since() == set(NAMES)


def test_another_instant_judges_everything_anew(src: Path, dst: Path, spy: Spy) -> None:
    cg.run(mixed_gate(), src, dst)
    spy.since()
    cg.run(mixed_gate(), src, dst, judged_at=NOW + MICRO)
    assert spy.since() == set(NAMES)


def test_a_changed_file_is_judged_anew(src: Path, dst: Path, spy: Spy) -> None:
    first = cg.run(mixed_gate(), src, dst)
    spy.since()
    pq.write_table(mixed_messages(7), src / "b.parquet")
    second = cg.run(mixed_gate(), src, dst)
    assert spy.since() == {"b.parquet"}
    assert second.totals.rows == 1007
    assert second.previous == first.digest
    assert cg.audit(dst) == ()


def test_a_file_of_the_same_size_and_another_time_is_judged_anew(
    src: Path, dst: Path, spy: Spy
) -> None:
    cg.run(mixed_gate(), src, dst)
    spy.since()
    status = (src / "a.parquet").stat()
    os.utime(src / "a.parquet", ns=(status.st_atime_ns, status.st_mtime_ns + 1))
    cg.run(mixed_gate(), src, dst)
    assert spy.since() == {"a.parquet"}


def plain(rows: int, sender: int) -> bytes:
    """A file of messages of one sender; such files have the same size, whoever it is."""
    table = message_table(sender_id=[sender] * rows, message_id=list(range(rows)))
    content = io.BytesIO()
    pq.write_table(table, content, compression="none", use_dictionary=False, write_statistics=False)
    return content.getvalue()


@pytest.mark.parametrize("ended", [True, False])
@pytest.mark.parametrize("is_signed", [True, False])
@pytest.mark.parametrize("where", ["disk", "filesystem without times"])
def test_a_file_that_was_exchanged_quietly_is_judged_anew(
    where: str, is_signed: bool, ended: bool, tmp_path: Path, dst: Path, spy: Spy
) -> None:
    """Its size is the same, and its time of modification was put back, or there is none."""
    key = write_keys(tmp_path)[0] if is_signed else None
    place = tmp_path / "in"
    source: Any = place
    if where != "disk":
        memory: Any = import_module("fsspec").filesystem("memory")  # it ships no types
        place = Path("/", *tmp_path.parts[1:])
        wrapped = pa_fs.PyFileSystem(pa_fs.FSSpecHandler(memory))

    def put(name: str, sender: int) -> None:
        if where != "disk":
            memory.pipe(f"{place}/{name}", plain(20, sender))
            return
        place.mkdir(exist_ok=True)
        (place / name).write_bytes(plain(20, sender))
        os.utime(place / name, ns=(0, 10**18))

    def judge(dst: Path, **options: Any) -> cg.Manifest:
        given = source if where == "disk" else ds.dataset(str(place), filesystem=wrapped)
        return cg.run(mixed_gate(), given, dst, sign_with=key, threads=1, **options)

    for name in ("a.parquet", "b.parquet"):
        put(name, 1)
    with nullcontext() if ended else pytest.raises(KeyboardInterrupt):
        judge(dst, on_progress=None if ended else stop_after(1))
    (done, *_) = ledger_files(dst)
    put(done, 4)  # who withdrew
    spy.since()
    manifest = judge(dst)
    assert done in spy.since()
    assert (manifest.totals.rows, manifest.totals.admitted) == (40, 20)
    assert judge(dst) == manifest
    assert not spy.since()


def test_a_done_input_that_cannot_be_read_any_more_fails_alone(
    src: Path, dst: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cg.run(mixed_gate(), src, dst)
    fetched = Folder.fetched

    def fails(self: Folder, name: str) -> Any:
        if self.root == str(src) and name == "a.parquet":
            raise cg.UnreadableFileError("The disk is broken.")
        return fetched(self, name)

    monkeypatch.setattr(Folder, "fetched", fails)
    incomplete(mixed_gate(), src, dst, "1 of 3 files could not be judged, and 2 are done")


def test_an_added_file_is_judged_and_the_others_are_not(src: Path, dst: Path, spy: Spy) -> None:
    cg.run(mixed_gate(), src, dst)
    spy.since()
    write_files(src, ["new.parquet"])
    manifest = cg.run(mixed_gate(), src, dst)
    assert spy.since() == {"new.parquet"}
    assert len(manifest.files) == 4
    assert cg.audit(dst) == ()


def test_what_left_the_source_leaves_the_destination(src: Path, dst: Path) -> None:
    cg.run(mixed_gate(), src, dst)
    (src / "b.parquet").unlink()
    manifest = cg.run(mixed_gate(), src, dst)
    assert data_files(dst).keys() == ledger_files(dst).keys() == {NAMES[0], NAMES[2]}
    assert len(manifest.files) == 2
    assert cg.audit(dst) == ()


def test_an_output_that_is_gone_is_made_again(src: Path, dst: Path, spy: Spy) -> None:
    cg.run(mixed_gate(), src, dst)
    before = data_files(dst)
    spy.since()
    (dst / "a.parquet").unlink()
    (dst / "b.parquet").write_bytes(b"short")
    (dst / EVIDENCE / "ledger" / NAMES[2]).write_bytes(b"PAR1")
    cg.run(mixed_gate(), src, dst)
    assert spy.since() == set(NAMES)
    assert data_files(dst) == before


def forge_part(path: Path, change: Callable[[pa.Table], pa.Table]) -> None:
    """Alter a part of the ledger, and leave what it says of itself."""
    table, metadata = pq.read_table(path), pq.read_metadata(path).metadata
    del metadata[b"ARROW:schema"]
    pq.write_table(change(table).replace_schema_metadata(metadata), path)


@pytest.mark.parametrize("count", [1, 3])
def test_an_output_of_the_same_size_is_not_trusted(
    count: int, src: Path, dst: Path, spy: Spy
) -> None:
    with pytest.raises(KeyboardInterrupt):
        cg.run(mixed_gate(), src, dst, threads=1, on_progress=stop_after(count))
    if count == 3:
        cg.run(mixed_gate(), src, dst)
    name = min(data_files(dst))
    whole = (dst / name).read_bytes()
    (dst / name).write_bytes(whole[:100] + bytes([whole[100] ^ 1]) + whole[101:])
    spy.since()
    cg.run(mixed_gate(), src, dst)
    assert name in spy.since()
    assert (dst / name).read_bytes() == whole
    assert cg.audit(dst) == ()


@pytest.mark.parametrize(
    "change",
    [
        lambda t: t.slice(1),
        lambda t: pa.table({"x": t["row"]}),
        lambda t: t.append_column("x", t["row"]),
    ],
)
def test_a_part_of_the_ledger_that_does_not_add_up_is_not_trusted(
    change: Callable[[pa.Table], pa.Table], src: Path, dst: Path, spy: Spy
) -> None:
    cg.run(mixed_gate(), src, dst)
    spy.since()
    forge_part(dst / EVIDENCE / "ledger" / "a.parquet", change)
    cg.run(mixed_gate(), src, dst)
    assert spy.since() == {"a.parquet"}
    assert cg.audit(dst) == ()


def test_a_part_that_names_another_output_is_not_trusted(src: Path, dst: Path, spy: Spy) -> None:
    cg.run(mixed_gate(), src, dst)
    spy.since()
    path = dst / EVIDENCE / "ledger" / "a.parquet"
    table, metadata = pq.read_table(path), pq.read_metadata(path).metadata
    record = json.loads(metadata[b"consentgate.record"])
    record["outcome"]["output"]["path"] = "../../b.parquet"
    metadata = {b"consentgate.record": json.dumps(record).encode()}
    pq.write_table(table.replace_schema_metadata(metadata), path)
    cg.run(mixed_gate(), src, dst)
    assert spy.since() == {"a.parquet"}


def test_an_instant_of_long_ago_is_not_gone_on_with(src: Path, dst: Path) -> None:
    gate = live(mixed_gate(max_snapshot_age=None))
    with pytest.raises(KeyboardInterrupt):
        cg.run(gate, src, dst, threads=1, on_progress=stop_after(1))
    state = dst / EVIDENCE / "run.json"
    forged = json.loads(state.read_text())
    forged["judgement"]["judged_at"] = "2020-01-01T00:00:00Z"
    state.write_text(json.dumps(forged))
    begun = datetime.now(UTC)
    assert cg.run(gate, src, dst).judgement.judged_at >= begun


def test_outputs_of_another_gate_go_before_anything_is_judged(src: Path, dst: Path) -> None:
    """Whoever trains on an unfinished run must not train on what an older gate admitted."""
    cg.run(mixed_gate(), src, dst)
    with pytest.raises(KeyboardInterrupt):
        cg.run(as_of(make_gate()), src, dst, on_progress=stop_after(0))
    assert not data_files(dst)
    assert not ledger_files(dst)
