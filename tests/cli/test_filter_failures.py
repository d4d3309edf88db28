"""`consentgate filter`: outputs that exist, and failures halfway."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from tests.cli.filtering import assert_outputs, messages, names_in, write
from tests.command import Runner, assert_paragraph, judge
from tests.processes import HANGING_S


@pytest.mark.parametrize("name", ["admitted.parquet", "excluded.parquet"])
def test_an_output_that_exists_is_replaced_only_with_overwrite(run: Runner, name: str) -> None:
    path, table = write(messages(100), "in.parquet"), messages(100)
    Path("out").mkdir()
    Path("out", name).write_bytes(b"old")
    refused = run("filter", path, "--out", "out", *judge())
    assert refused.code == 1
    assert_paragraph(refused.err, "output")
    assert {file.name: file.read_bytes() for file in Path("out").iterdir()} == {name: b"old"}
    assert run("filter", path, "--out", "out", "--overwrite", *judge()).code == 0
    assert_outputs("out", table)


def test_an_input_is_never_replaced(run: Runner) -> None:
    Path("out").mkdir()
    path = write(messages(), "out/admitted.parquet")
    Path("link").symlink_to("out")
    before = Path(path).read_bytes()
    outcome = run("filter", path, "--out", "link", "--overwrite", *judge())
    assert outcome.code == 1
    assert "a file that this command reads" in outcome.err
    assert Path(path).read_bytes() == before


def test_the_snapshot_is_never_replaced(run: Runner) -> None:
    Path("out").mkdir()
    Path("consent.parquet").rename("out/excluded.parquet")
    options = judge(consent="out/excluded.parquet")
    outcome = run("filter", write(messages(), "in"), "--out", "out", "--overwrite", *options)
    assert outcome.code == 1
    assert "a file that this command reads" in outcome.err


@pytest.mark.parametrize("out", ["policy.toml", "policy.toml/deeper"])
def test_an_output_below_a_file_is_refused(run: Runner, out: str) -> None:
    outcome = run("filter", write(messages(), "in.parquet"), "--out", out, *judge())
    assert outcome.code == 1
    assert_paragraph(outcome.err, "output")


def truncate(path: str) -> str:
    """Break the rows of a Parquet file, not its footer: only reading on finds out."""
    data = bytearray(Path(path).read_bytes())
    data[4 : len(data) // 3] = bytes(len(data) // 3 - 4)
    Path(path).write_bytes(data)
    return path


def test_a_failure_halfway_leaves_nothing_behind(run: Runner) -> None:
    paths = write(messages(500), "a.parquet"), truncate(write(messages(500), "b.parquet"))
    before = names_in(".")
    outcome = run("filter", *paths, "--out", "new/deep/out", *judge())
    assert outcome.code == 1
    assert_paragraph(outcome.err, "unreadable_file")
    assert "'b.parquet'" in outcome.err
    assert names_in(".") == before


def test_a_failure_halfway_keeps_what_was_there_before(run: Runner) -> None:
    paths = write(messages(500), "a.parquet"), truncate(write(messages(500), "b.parquet"))
    Path("out").mkdir()
    Path("out/admitted.parquet").write_bytes(b"old")
    outcome = run("filter", *paths, "--out", "out", "--overwrite", *judge())
    assert outcome.code == 1
    assert {file.name: file.read_bytes() for file in Path("out").iterdir()} == {
        "admitted.parquet": b"old"
    }


def test_a_second_file_that_is_cut_short_is_refused_before_any_output(run: Runner) -> None:
    first, second = write(messages(), "a.parquet"), write(messages(), "b.parquet")
    Path(second).write_bytes(Path(second).read_bytes()[:-100])
    outcome = run("filter", first, second, "--out", "out", *judge())
    assert outcome.code == 1
    assert_paragraph(outcome.err, "unreadable_file")
    assert not Path("out").exists()


@pytest.mark.parametrize("fault", [KeyboardInterrupt, SystemExit(143)])
def test_an_interruption_leaves_nothing_behind(
    run: Runner, monkeypatch: pytest.MonkeyPatch, fault: Any
) -> None:
    def interrupt(*_: object) -> None:
        raise fault

    monkeypatch.setattr("consentgate.cli.output.TableWriter.write", interrupt)
    outcome = run("filter", write(messages(), "in.parquet"), "--out", "out", *judge())
    assert outcome.code == (143 if isinstance(fault, SystemExit) else 130)
    assert "Traceback" not in outcome.err
    assert not Path("out").exists()


@pytest.mark.usefixtures("folder")
def test_a_full_disk_is_one_paragraph_and_leaves_nothing_behind() -> None:
    script = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (4000, 4000));"
        "sys.argv[0] = 'consentgate'; from consentgate.cli import main; main()"
    )
    path = write(messages(20_000), "in.arrow", "ipc file")
    command = [sys.executable, "-c", script, "filter", path, "--out", "out", *judge()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=HANGING_S)
    assert done.returncode == 1
    assert_paragraph(done.stderr, "output")
    assert "File too large" in done.stderr
    assert not Path("out").exists()


def test_a_type_that_parquet_lacks_is_named_before_any_output(run: Runner) -> None:
    runs = pa.array([1] * 10, pa.run_end_encoded(pa.int32(), pa.int64()))
    path = write(messages().append_column("runs", runs), "in.arrow", "ipc stream")
    outcome = run("filter", path, "--out", "out", *judge())
    assert outcome.code == 1
    assert_paragraph(outcome.err, "output")
    assert not Path("out").exists()


def test_files_of_differing_schemas_are_refused_by_name(run: Runner) -> None:
    other = messages().rename_columns({"word": "term"})
    paths = write(messages(), "a.parquet"), write(other, "b.parquet")
    outcome = run("filter", *paths, "--out", "out", *judge())
    assert outcome.code == 1
    assert_paragraph(outcome.err, "schema_mismatch")
    for name in (
        "'a.parquet'",
        "'b.parquet'",
        "column 'word' is missing, column 'term' is additional",
    ):
        assert name in outcome.err
    assert not Path("out").exists()


def test_files_with_columns_in_another_order_are_refused(run: Runner) -> None:
    other = messages().select(["word", "message_id", "sender_id", "channel_id", "created_at"])
    paths = write(messages(), "a.parquet"), write(other, "b.parquet")
    outcome = run("filter", *paths, "--out", "out", *judge())
    assert outcome.code == 1
    assert "the columns' order differs" in outcome.err
