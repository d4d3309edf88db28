"""Work in another thread: in order, with its errors, and files that are hashed while they grow."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest

import consentgate as cg
from consentgate.storage.background import Background
from consentgate.storage.digests import digest_file
from consentgate.storage.growing import GrowingFile


@pytest.fixture
def helper() -> Iterator[Executor]:
    """Two threads."""
    with ThreadPoolExecutor(2) as executor:
        yield executor


def fail() -> None:
    """Raise an error."""
    raise KeyError("first")


def test_calls_are_made_in_order_and_the_block_waits_for_the_last(helper: Executor) -> None:
    done: list[int] = []
    with Background(helper) as background:
        for number in range(50):
            background.call(partial(done.append, number))
    assert done == list(range(50))


def test_an_error_is_raised_by_the_next_call(helper: Executor) -> None:
    background, called = Background(helper), threading.Event()
    background.call(fail)
    with pytest.raises(KeyError, match="first"):
        background.call(called.set)
    background.wait()
    assert not called.is_set()


def test_without_a_helper_the_caller_works() -> None:
    threads: list[int] = []
    Background(None).call(lambda: threads.append(threading.get_ident()))
    assert threads == [threading.get_ident()]


def test_an_error_of_the_block_is_not_hidden_and_the_last_call_has_ended(helper: Executor) -> None:
    go_on, ended = threading.Event(), threading.Event()

    def work() -> None:
        go_on.wait(10)
        ended.set()
        fail()

    with pytest.raises(ValueError, match="the block's"), Background(helper) as background:
        background.call(work)
        assert background.is_busy
        go_on.set()
        raise ValueError("the block's")
    assert ended.is_set()


@pytest.mark.parametrize("is_synced", [False, True])
def test_the_digest_of_a_file_that_grows(is_synced: bool, helper: Executor, tmp_path: Path) -> None:
    path = tmp_path / "x"
    with (
        path.open("wb", buffering=0) as writer,
        GrowingFile(path, "X", helper, is_synced=is_synced) as growing,
    ):
        for number in range(30):
            writer.write(bytes([number]) * 100_001)
            growing.grew()
        writer.write(b"the end")
        assert growing.digest() == digest_file(path)


def test_a_file_that_is_gone_cannot_be_hashed(helper: Executor, tmp_path: Path) -> None:
    with (
        pytest.raises(cg.OutputError, match="X cannot be written: No such file"),
        GrowingFile(tmp_path / "x", "X", helper, is_synced=True) as growing,
    ):
        growing.grew()
        growing.digest()
