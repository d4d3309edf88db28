"""Runs on S3 where a server, a disk or a user fails them: what is left can be gone on with."""

from __future__ import annotations

import errno
import itertools
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pyarrow.dataset as pa_ds
import pyarrow.fs as pa_fs
import pytest
from moto.s3.models import s3_backends

import consentgate as cg
from consentgate.storage import locks
from consentgate.storage.folders import Folder
from tests.build import make_gate
from tests.processes import HANGING_S
from tests.runs.s3_data import FILES, LEDGER, MANIFEST, assert_as_expected, data, judged, write_tree
from tests.s3 import ACCOUNT, LEASES, Request, Step, Store, fails, refuse

# A server that fails


@pytest.mark.parametrize(
    ("path", "fault"),
    [("in", "ACCESS_DENIED .* No response body"), ("in/*", "SIGNATURE.* The signature does not")],
)
def test_a_source_that_may_not_be_read_is_named(
    store: Store, tmp_path: Path, path: str, fault: str
) -> None:
    store.put(FILES, "in")
    store.server.before = refuse(403)
    with fails(cg.SourceError, f"'s3://{store.bucket}/in' cannot be listed: .*{fault}"):
        cg.run(make_gate(), store.uri(path), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_destination_that_may_not_be_looked_at_is_named(store: Store) -> None:
    store.put(FILES, "in")
    store.server.before = refuse(403, path="/out")
    with fails(cg.OutputError, f"'s3://{store.bucket}/out' cannot be listed"):
        cg.run(make_gate(), store.uri("in"), store.uri("out"))
    with fails(cg.UnreadableFileError, f"'s3://{store.bucket}/out/{MANIFEST}' cannot be read"):
        cg.audit(store.uri("out"))


def test_a_destination_that_may_not_be_written_to_is_named(
    store: Store, expected: tuple[dict[str, bytes], Any]
) -> None:
    store.put(FILES, "in")
    store.server.before = refuse(403, "PUT", "POST")
    place = f"Output 's3://{store.bucket}/out/{LEASES}.*' cannot be written: .*"
    with fails(cg.OutputError, place):
        cg.run(make_gate(), store.uri("in"), store.uri("out"))
    assert store.objects("out") == {}
    store.server.before = None
    cg.run(make_gate(), store.uri("in"), store.uri("out"))
    assert_as_expected(store, expected)


@pytest.mark.parametrize("method", ["HEAD", "GET"])
def test_objects_that_may_not_be_read_are_named_and_the_others_done(
    store: Store, expected: tuple[dict[str, bytes], Any], method: str
) -> None:
    store.put(FILES, "in")
    store.server.before = refuse(403, method, path="/in/b.parquet")
    with fails(cg.RunIncompleteError, "1 of 3 files could not be judged, and 2 are done") as raised:
        cg.run(make_gate(), store.uri("in"), store.uri("out"))
    assert isinstance(raised.value.__cause__, cg.UnreadableFileError)
    assert f"s3://{store.bucket}/in/b.parquet" in str(raised.value)
    assert data(store.objects("out")).keys() == {"a.parquet", "c.parquet"}
    store.server.before = None
    cg.run(make_gate(), store.uri("in"), store.uri("out"))
    assert_as_expected(store, expected)


def test_whichever_write_is_refused_the_run_can_go_on(store: Store) -> None:
    store.put({"c.parquet": FILES["c.parquet"]}, "in")
    cg.run(make_gate(), store.uri("in"), store.uri("whole"))
    whole = store.objects("whole")
    for chosen in itertools.count():
        place, writes = f"out-{chosen}", itertools.count()
        store.server.before = refuse_one(chosen, writes)
        with suppress(cg.OutputError):
            cg.run(make_gate(), store.uri("in"), store.uri(place))
        store.server.before = None
        left = store.objects(place)
        assert {name: whole[name] for name in data(left)} == data(left)
        for name in left:
            if name.startswith(LEASES):
                store.age(f"{place}/{name}", 2 * locks.LEASE_S)
        cg.run(make_gate(), store.uri("in"), store.uri(place))
        assert {**store.objects(place), MANIFEST: b""} == {**whole, MANIFEST: b""}
        if next(writes) <= chosen:
            break
    assert chosen > 8


def refuse_one(chosen: int, writes: Iterator[int]) -> Step:
    """A server that refuses one of the requests by which objects appear or disappear."""

    def answer(request: Request) -> int | None:
        is_end = request.is_write and not request.query.startswith(("uploads", "partNumber"))
        return 403 if is_end and next(writes) == chosen else None

    return answer


@pytest.mark.parametrize("name", ["a.parquet", f"{LEDGER}a.parquet", MANIFEST])
@pytest.mark.parametrize(
    ("query", "what"),
    [("partNumber=1", "When uploading part"), ("uploadId=", "When completing multiple part")],
)
def test_an_upload_that_fails_is_told_of(store: Store, name: str, query: str, what: str) -> None:
    store.put({"a.parquet": FILES["a.parquet"]}, "in")

    def refuse_part(request: Request) -> int | None:
        is_meant = request.path.endswith(f"/out/{name}") and request.query.startswith(query)
        return 403 if is_meant else None

    store.server.before = refuse_part
    with fails(
        cg.OutputError, f"Output 's3://{store.bucket}/out/{name}' cannot be written: {what}"
    ):
        cg.run(make_gate(), store.uri("in"), store.uri("out"))
    assert name not in store.objects("out")


def test_what_cannot_be_read_to_its_end_is_not_left_cut_off(
    store: Store, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def copy_half(source: Any, target: Any, _length: int) -> None:
        target.write(source.read(1_000))
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    draft = write_tree(tmp_path, FILES) / "a.parquet"
    monkeypatch.setattr("consentgate.storage.folders.shutil.copyfileobj", copy_half)
    with fails(cg.OutputError, "Output 's3://.*/out/a.parquet' cannot be written: Input/output"):
        Folder.at(store.uri("out")).publish(draft, "a.parquet")
    assert store.objects("out") == {}
    assert draft.exists()


@pytest.fixture
def heeds_ctrl_c() -> Iterator[None]:
    """A shell that starts the tests in the background has Ctrl-C ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("heeds_ctrl_c")
@pytest.mark.parametrize(
    ("name", "query"), [("run.json", "uploadId="), ("manifest.json", "uploads")]
)
def test_what_ctrl_c_comes_upon_is_stored_whole(
    store: Store, expected: tuple[dict[str, bytes], Any], name: str, query: str
) -> None:
    store.put(FILES, "in")
    presses = itertools.count()

    def press(request: Request) -> None:
        is_meant = request.path.endswith(f"/out/_consentgate/{name}") and request.method == "POST"
        if is_meant and request.query.startswith(query) and next(presses) == 0:
            time.sleep(0.1)  # as long as a network takes: the run waits for the answer by now
            os.kill(os.getpid(), signal.SIGINT)

    store.server.before = press
    with suppress(KeyboardInterrupt):
        cg.run(make_gate(), store.uri("in"), store.uri("out"))
        raise AssertionError("Ctrl-C was not noticed")
    store.server.before = None
    left = store.objects("out")
    assert left[f"_consentgate/{name}"].endswith(b"}\n")
    assert not [each for each in left if each.startswith(LEASES)]
    cg.run(make_gate(), store.uri("in"), store.uri("out"))
    assert_as_expected(store, expected)


def test_a_temporary_folder_is_needed(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    store.put(FILES, "in")
    monkeypatch.setattr("tempfile.tempdir", "/nowhere")
    with fails(cg.OutputError, "The temporary folder cannot be written"):
        cg.run(make_gate(), store.uri("in"), store.uri("out"))
    words = "cannot be fetched, because no temporary folder"
    with fails(cg.UnreadableFileError, words), Folder.at(store.uri("in")).fetched("x"):
        pass
    assert not any(name.endswith(".parquet") for name in store.objects("out"))


def test_a_bucket_that_is_not_there_is_named(store: Store, tmp_path: Path) -> None:
    missing = Store(store.server, "no-such-bucket")
    with fails(cg.SourceError, "Source 's3://no-such-bucket/in' is not there"):
        cg.run(make_gate(), missing.uri("in"), tmp_path / "out")
    store.put(FILES, "in")
    with fails(cg.OutputError, "Output 's3://no-such-bucket/out/.*NO_SUCH_BUCKET"):
        cg.run(make_gate(), store.uri("in"), missing.uri("out"))
    assert "no-such-bucket" not in s3_backends[ACCOUNT]["aws"].buckets


def test_objects_of_a_server_that_fails_for_good_are_named(
    store: Store, expected: tuple[dict[str, bytes], Any]
) -> None:
    store.put(FILES, "in")
    once = pa_fs.AwsStandardS3RetryStrategy(max_attempts=1)
    filesystem = store.filesystem(retry_strategy=once)
    dataset = pa_ds.dataset(f"{store.bucket}/in", filesystem=filesystem, format="parquet")
    store.server.before = refuse(500, path="/in/")
    match = (
        r"3 of 3 files could not be judged, .*/in/a.parquet' cannot be read: .*\(HTTP status 500"
    )
    with fails(cg.RunIncompleteError, match):
        cg.run(make_gate(), dataset, store.uri("out"))
    assert store.objects("out") == {}
    store.server.before = None
    manifest = cg.run(make_gate(), dataset, store.uri("out"))
    assert judged(manifest) == expected[1]


def test_a_destination_that_fails_for_good_or_is_not_there_is_named(
    store: Store, tmp_path: Path, expected: tuple[dict[str, bytes], Any]
) -> None:
    inputs = write_tree(tmp_path / "in", FILES)
    with socket.create_server(("localhost", 0)) as taken:
        closed = taken.getsockname()[1]
    nowhere = store.uri("out").replace(f":{store.server.port}&", f":{closed}&")

    def attempt(destination: str, kind: type[Exception], match: str) -> None:
        with fails(kind, f"'s3://{store.bucket}/out{match}"):
            cg.run(make_gate(), inputs, destination)

    store.server.before = refuse(500, "PUT", "POST")
    with ThreadPoolExecutor() as pool:  # side by side, for pyarrow tries again for six seconds
        attempts = [
            pool.submit(
                attempt, store.uri("out"), cg.OutputError, "/.*' cannot be written: .* 500"
            ),
            pool.submit(attempt, nowhere, cg.OutputError, "' cannot be listed: .*connect"),
        ]
        for attempted in attempts:
            attempted.result()
    store.server.before = None
    assert store.objects("out") == {}
    cg.run(make_gate(), inputs, store.uri("out"))
    assert_as_expected(store, expected)


def test_a_server_that_fails_for_a_moment_is_asked_again(
    store: Store, expected: tuple[dict[str, bytes], Any]
) -> None:
    store.put(FILES, "in")
    asked = itertools.count()
    store.server.before = lambda _request: 503 if next(asked) % 20 == 19 else None
    cg.run(make_gate(), store.uri("in"), store.uri("out"))
    store.server.before = None
    assert_as_expected(store, expected)
    assert next(asked) > 50


# Runs that are killed


RUN = """
import sys
import consentgate as cg
from tests.build import make_gate
print("ready", flush=True)
sys.stdin.readline()
cg.run(make_gate(), sys.argv[1], sys.argv[2], threads=1)
"""


@pytest.mark.parametrize(
    ("name", "query"),
    [("b.parquet", "partNumber"), (f"{LEDGER}a.parquet", "uploads"), (MANIFEST, "uploadId")],
)
def test_a_run_that_was_killed_is_resumed(
    store: Store, expected: tuple[dict[str, bytes], Any], name: str, query: str
) -> None:
    store.put(FILES, "in")
    with subprocess.Popen(
        [sys.executable, "-c", RUN, store.uri("in"), store.uri("out")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    ) as process:
        assert process.stdin is not None and process.stdout is not None
        assert process.stdout.readline() == "ready\n"

        def kill(request: Request) -> int | None:
            if unquote(request.path).endswith(f"/out/{name}") and query in request.query:
                os.kill(process.pid, signal.SIGKILL)
                return 500
            return None

        store.server.before = kill
        process.stdin.write("go\n")
        process.stdin.flush()
        assert process.wait(timeout=HANGING_S) == -signal.SIGKILL
    store.server.before = None
    left = store.objects("out")
    assert MANIFEST not in left
    (lease,) = [each for each in left if each.startswith(LEASES)]
    with fails(cg.DestinationBusyError, "where it was killed"):
        cg.run(make_gate(), store.uri("in"), store.uri("out"))
    store.age(f"out/{lease}", locks.LEASE_S + 5)
    store.server.seen.clear()
    cg.run(make_gate(), store.uri("in"), store.uri("out"))
    done = {file for file in FILES if {file, LEDGER + file} <= left.keys()}
    assert store.written() & FILES.keys() == FILES.keys() - done
    assert_as_expected(store, expected)
