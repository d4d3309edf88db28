"""The command line and files that are pipes, devices, or one file under two names."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.build import message_table
from tests.command import Outcome, Runner, judge
from tests.odd_files import make_odd


@pytest.fixture
def filtered(folder: Path, run: Runner) -> Callable[..., Outcome]:
    """`consentgate filter` of the messages in `folder`, and of other files."""
    pq.write_table(message_table(), folder / "messages.parquet")
    return partial(run, "filter", "messages.parquet", "--out", "out", *judge())


@pytest.mark.parametrize("kind", ["pipe", "device"])
@pytest.mark.parametrize("name", ["admitted.parquet", "excluded.parquet"])
def test_the_command_line_replaces_no_pipe(
    name: str, kind: str, folder: Path, filtered: Callable[..., Outcome]
) -> None:
    (folder / "out").mkdir()
    make_odd(kind, folder / "out" / name)
    done = filtered("--overwrite")
    assert (done.code, "[output]" in done.err) == (1, True)
    assert [path.name for path in (folder / "out").iterdir()] == [name]


@pytest.mark.parametrize("name", ["messages", "consent", "channels"])
def test_the_command_line_reads_no_pipe(
    name: str, folder: Path, filtered: Callable[..., Outcome]
) -> None:
    (folder / f"{name}.parquet").unlink()
    os.mkfifo(folder / f"{name}.parquet")
    done = filtered()
    assert (done.code, "[unreadable_file]" in done.err) == (1, True)
    assert not (folder / "out").exists()


@pytest.mark.parametrize("link", ["symlink", "hard link", "the same"])
def test_a_file_that_is_named_twice_is_judged_by_nobody(
    link: str, folder: Path, filtered: Callable[..., Outcome]
) -> None:
    other = folder / ("messages.parquet" if link == "the same" else "other.parquet")
    if link == "symlink":
        other.symlink_to("messages.parquet")
    elif link == "hard link":
        os.link(folder / "messages.parquet", other)
    done = filtered(other.name)
    assert (done.code, "are one file" in done.err, "[source]" in done.err) == (1, True, True)
