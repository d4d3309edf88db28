"""Runs from and to a real S3 server on loopback, and what is left when it fails."""

from __future__ import annotations

import errno
import io
import itertools
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import quote, unquote

import pyarrow as pa
import pyarrow.dataset as pa_ds
import pyarrow.fs as pa_fs
import pyarrow.parquet as pq
import pytest
from moto.s3.models import s3_backends

import consentgate as cg
from consentgate.storage import folders, locks
from consentgate.storage.folders import Folder
from consentgate.storage.layout import seal_name
from consentgate.storage.locks import lock
from tests.build import make_gate, message_table
from tests.run_data import as_of
from tests.runs.test_signing import write_keys
from tests.s3 import ACCOUNT, KEY, LEASES, SECRET, SECRETS, Request, Step, Store, fails, refuse

MANIFEST, STATE = "_consentgate/manifest.json", "_consentgate/run.json"
LEDGER = "_consentgate/ledger/"


def parquet(table: pa.Table) -> bytes:
    """A table as a Parquet file; of one size for as many rows."""
    sink = io.BytesIO()
    pq.write_table(table, sink, row_group_size=100, compression="none", use_dictionary=False)
    return sink.getvalue()


def messages(first: int = 0, rows: int = 300, **columns: Any) -> bytes:
    """A file of messages, of which the gate admits two of three."""
    senders = [(1, 1, 2)[row % 3] for row in range(rows)]
    ids = range(first, first + rows)
    return parquet(message_table(sender_id=senders, message_id=ids, **columns))


FILES = {"a.parquet": messages(0), "b.parquet": messages(300), "c.parquet": messages(600, 30)}


def write_tree(folder: Path, files: Mapping[str, bytes]) -> Path:
    """Files on a disk."""
    for name, content in files.items():
        folder.joinpath(name).parent.mkdir(parents=True, exist_ok=True)
        folder.joinpath(name).write_bytes(content)
    return folder


def read_tree(folder: Path) -> dict[str, bytes]:
    """Files on a disk, of which the lock and drafts are left out."""
    paths = (path for path in folder.rglob("*") if path.is_file() and path.name != "lock")
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


def data(tree: Mapping[str, bytes]) -> dict[str, bytes]:
    """The admitted rows' files."""
    return {name: content for name, content in tree.items() if not name.startswith("_")}


def ledger(tree: Mapping[str, bytes]) -> dict[str, pa.Table]:
    """The ledger's parts, without what they say of their files."""
    parts = {n: pq.read_table(io.BytesIO(c)) for n, c in tree.items() if n.startswith(LEDGER)}
    return {name: part.replace_schema_metadata() for name, part in parts.items()}


def judged(manifest: cg.Manifest) -> Any:
    """What a manifest says of a run, but not when and where."""
    content = manifest.model_dump(mode="json")
    for name in ("source", "started_at", "finished_at", "digest", "previous"):
        del content[name]
    for record in content["files"]:
        del record["input"]["version"], record["ledger"]["sha256"], record["ledger"]["size_bytes"]
    return content


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, bytes], Any]:
    """What a run over FILES comes to on a disk."""
    place = tmp_path_factory.mktemp("local")
    manifest = cg.run(make_gate(), write_tree(place / "in", FILES), place / "out")
    return read_tree(place / "out"), judged(manifest)


def assert_as_expected(store: Store, expected: tuple[dict[str, bytes], Any]) -> None:
    """Nothing, when the run into `out` has ended as an undisturbed one would have."""
    objects, (tree, said) = store.objects("out"), expected
    assert objects.keys() == tree.keys()
    assert data(objects) == data(tree)
    assert ledger(objects) == ledger(tree)
    assert judged(cg.Manifest.model_validate_json(objects[MANIFEST])) == said
    assert cg.audit(store.uri("out")) == ()


# Where data comes from and goes to


ODD = {
    "day=1/a b.parquet": messages(0),
    "day=1/a%20b.parquet": messages(300),
    "day=1/a+b.parquet": messages(600),
    "day=2/näïve ☃.parquet": messages(900),
    "day=2/(x) & y='z',!@$;:.parquet": messages(1200, 30),
    "day=2/deep/er=x/" + "n" * 200 + ".parquet": messages(1500, 30),
}


@pytest.mark.parametrize("source", ["s3", "local"])
@pytest.mark.parametrize("destination", ["s3", "local"])
def test_a_run_gives_the_same_wherever_it_reads_and_writes(
    store: Store, tmp_path: Path, source: str, destination: str
) -> None:
    inputs = write_tree(tmp_path / "in", ODD)
    there = cg.run(make_gate(), inputs, tmp_path / "expected")
    store.put(ODD, "in")
    to = store.uri("out") if destination == "s3" else tmp_path / "out"
    manifest = cg.run(make_gate(), store.uri("in") if source == "s3" else inputs, to)
    tree = store.objects("out") if destination == "s3" else read_tree(tmp_path / "out")
    local = read_tree(tmp_path / "expected")
    assert tree.keys() == local.keys()
    assert data(tree) == data(local)
    assert ledger(tree) == ledger(local)
    assert judged(manifest) == judged(there)
    assert manifest.totals.admitted == 840
    assert tree[MANIFEST].decode().startswith("{")
    assert cg.audit(to, gate=make_gate(), source=store.uri("in")) == ()


def test_the_ledger_has_the_same_bytes_wherever_it_goes(store: Store, tmp_path: Path) -> None:
    store.put(FILES, "in")
    cg.run(make_gate(), store.uri("in"), store.uri("out"))
    cg.run(make_gate(), store.uri("in"), tmp_path / "out")
    objects, tree = store.objects("out"), read_tree(tmp_path / "out")
    assert {**objects, MANIFEST: b""} == {**tree, MANIFEST: b""}


def test_odd_names_of_folders_are_percent_encoded_in_uris(store: Store) -> None:
    store.put(FILES, "a b+c%20d/ü=1")
    manifest = cg.run(make_gate(), store.uri("a b+c%20d/ü=1"), store.uri("o ut+%2F/ü"))
    assert manifest.source == f"s3://{store.bucket}/a b+c%20d/ü=1"
    assert data(store.objects("o ut+%2F/ü")).keys() == FILES.keys()


def test_one_object_is_a_source(store: Store) -> None:
    store.put(FILES, "in")
    manifest = cg.run(make_gate(), store.uri("in/b.parquet"), store.uri("out"))
    assert [file.input.path for file in manifest.files] == ["b.parquet"]
    assert data(store.objects("out")).keys() == {"b.parquet"}


def test_a_whole_bucket_is_a_source(store: Store, tmp_path: Path) -> None:
    store.put(FILES, "in")
    uri = f"s3://{KEY}:{quote(SECRET, safe='')}@{store.bucket}?{store.options}"
    manifest = cg.run(make_gate(), uri, tmp_path / "out")
    assert [file.input.path for file in manifest.files] == [f"in/{name}" for name in FILES]


def test_a_bucket_is_no_destination_for_what_is_in_it(store: Store) -> None:
    store.put(FILES, "in")
    uri = f"s3://{KEY}:{quote(SECRET, safe='')}@{store.bucket}/?{store.options}"
    store.server.seen.clear()
    with fails(cg.OutputError, "holds files, but no run"):
        cg.run(make_gate(), store.uri("in"), uri)
    with fails(cg.OutputError, "lies within the source"):
        cg.run(make_gate(), uri, store.uri("out"))
    assert store.written("in") == set()


def test_patterns_choose_objects(store: Store) -> None:
    store.put({f"day={day}/{name}": FILES[name] for day in (1, 2) for name in FILES}, "in")
    store.put({"day=1/_SUCCESS": b"", "_temporary/x.parquet": b"no", "day=1/notes.txt": b"x"}, "in")
    manifest = cg.run(make_gate(), store.uri("in/**/[ab].parquet"), store.uri("out"))
    names = {f"day={day}/{name}.parquet" for day in (1, 2) for name in "ab"}
    assert {file.input.path for file in manifest.files} == names
    assert manifest.source == f"s3://{store.bucket}/in/**/[ab].parquet"
    assert data(store.objects("out")).keys() == names


def test_folders_of_keys_are_columns(store: Store) -> None:
    content = parquet(message_table(sender_id=[1, 2, 1]).drop_columns("channel_id"))
    folders = ("channel_id=10", "channel_id=11", "channel_id=__HIVE_DEFAULT_PARTITION__")
    store.put({f"{folder}/x.parquet": content for folder in folders}, "in")
    manifest = cg.run(make_gate(), store.uri("in"), store.uri("out"))
    assert [file.output.rows for file in manifest.files] == [2, 0, 0]
    assert manifest.totals.counts == {"no_consent_record": 1, "channel_unknown": 6}
    assert cg.audit(store.uri("out"), gate=make_gate()) == ()


def test_a_data_set_on_s3_is_a_source(store: Store) -> None:
    content = parquet(message_table(sender_id=[1, 2, 1]).drop_columns("channel_id"))
    store.put({f"channel_id={n}/x y.parquet": content for n in (10, 11)}, "in")
    place, form = f"{store.bucket}/in", {"format": "parquet", "partitioning": "hive"}
    dataset = pa_ds.dataset(place, filesystem=store.filesystem(), **form)
    manifest = cg.run(make_gate(), dataset, store.uri("out"))
    assert [file.output.rows for file in manifest.files] == [2, 0]
    assert manifest.source == f"s3://{place} (data set)"
    assert cg.audit(store.uri("out"), gate=make_gate()) == ()


def test_credentials_come_from_the_environment(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAENVIRONMENT")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "of-the-environment")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    store.put(FILES, "in")
    store.server.seen.clear()
    cg.run(make_gate(), store.uri("in", user=""), store.uri("out", user=""))
    assert all("Credential=AKIAENVIRONMENT/" in each.signature for each in store.server.seen)
    assert cg.audit(store.uri("out")) == ()


def test_objects_are_told_apart_by_their_etags(store: Store) -> None:
    store.put(FILES, "in")
    manifest = cg.run(make_gate(), store.uri("in"), store.uri("out"))
    etags = {file.input.path: file.input.version for file in manifest.files}
    assert etags == {name: store.etag(f"in/{name}") for name in FILES}


# Runs that are run again


def test_nothing_is_written_where_all_was_done(store: Store) -> None:
    store.put(FILES, "in")
    before = cg.run(make_gate(), store.uri("in"), store.uri("out"))
    store.server.seen.clear()
    assert cg.run(make_gate(), store.uri("in"), store.uri("out")) == before
    assert store.written() == set()


def test_only_an_object_that_was_replaced_is_judged_anew(store: Store) -> None:
    store.put(FILES, "in")
    before = cg.run(make_gate(), store.uri("in"), store.uri("out"))
    other = messages(7_000)
    assert len(other) == len(FILES["b.parquet"])  # so that its etag alone tells
    store.put({"b.parquet": other}, "in")
    store.server.seen.clear()
    after = cg.run(make_gate(), store.uri("in"), store.uri("out"))
    touched = store.written() - {MANIFEST, STATE}
    past = f"_consentgate/manifests/{before.digest}.json"
    assert touched == {"b.parquet", f"{LEDGER}b.parquet", past}
    assert (after.files[0], after.files[2]) == (before.files[0], before.files[2])
    assert after.files[1].input.version == store.etag("in/b.parquet")
    assert after.previous == before.digest
    assert cg.audit(store.uri("out"), gate=make_gate(), source=store.uri("in")) == ()


def test_what_came_of_an_object_that_is_gone_goes_too(store: Store) -> None:
    store.put(FILES, "in")
    cg.run(make_gate(), store.uri("in"), store.uri("out"))
    store.ask("DELETE", "in/b.parquet")
    cg.run(make_gate(), store.uri("in"), store.uri("out"))
    left = store.objects("out").keys()
    assert not left & {"b.parquet", f"{LEDGER}b.parquet"}
    assert cg.audit(store.uri("out")) == ()


# Objects that do not stay as they are


def replace(store: Store, key: str) -> None:
    store.put({key: messages(7_000)}, "in")


def cut(store: Store, key: str) -> None:
    store.put({key: FILES[key][:2_000]}, "in")


def vanish(store: Store, key: str) -> None:
    store.ask("DELETE", f"in/{key}")


def replace_and_bring_back(store: Store, key: str) -> None:
    store.put({key: messages(7_000)}, "in")
    store.put({key: FILES[key]}, "in")
    store.age(f"in/{key}", -5)  # as if it had taken that long: S3 tells the time in seconds


@pytest.mark.parametrize(
    ("change", "part"),
    [
        (replace, 0),
        (replace, None),
        (cut, 2),
        (vanish, 2),
        (vanish, None),
        (replace_and_bring_back, None),
    ],
)
def test_nothing_is_published_of_an_object_that_changes_while_it_is_read(
    store: Store,
    monkeypatch: pytest.MonkeyPatch,
    expected: tuple[dict[str, bytes], Any],
    change: Callable[[Store, str], None],
    part: int | None,
) -> None:
    monkeypatch.setattr(folders, "_CHUNK_BYTES", len(FILES["b.parquet"]) // 4)
    store.put(FILES, "in")
    parts, ends = itertools.count(), itertools.count()

    def change_at_part(request: Request) -> None:
        is_read = (request.method, request.path) == ("GET", f"/{store.bucket}/in/b.parquet")
        if is_read and next(parts) == part:
            change(store, "b.parquet")

    def begin(progress: cg.Progress) -> None:
        if progress.rows_done == 0:
            store.server.before = change_at_part  # the plan is made, and has read what it needs
        elif progress.rows_done == 600 and part is None and next(ends) == 0:
            change(store, "b.parquet")

    with fails(cg.RunIncompleteError, "1 of 3 files could not be judged, and 2 are done") as raised:
        cg.run(make_gate(), store.uri("in"), store.uri("out"), threads=1, on_progress=begin)
    store.server.before = None
    assert isinstance(raised.value.__cause__, cg.SourceChangedError)
    assert f"s3://{store.bucket}/in/b.parquet" in str(raised.value)
    done = {"a.parquet", "c.parquet"}
    assert store.objects("out").keys() == {*done, *(LEDGER + name for name in done), STATE}
    store.put(FILES, "in")
    cg.run(make_gate(), store.uri("in"), store.uri("out"))
    assert_as_expected(store, expected)


# What an audit finds


def test_an_audit_names_what_is_not_as_it_was_written(store: Store) -> None:
    store.put(FILES, "in")
    cg.run(make_gate(), store.uri("in"), store.uri("out"))
    content = store.objects("out")
    store.put({"a.parquet": content["b.parquet"], "added.parquet": b"x"}, "out")
    store.put({f"{LEDGER}c.parquet": content[f"{LEDGER}c.parquet"][:-1]}, "out")
    store.ask("DELETE", "out/b.parquet")
    found = {finding.path: finding.what for finding in cg.audit(store.uri("out"))}
    assert found == {
        "a.parquet": "holds what 'b.parquet' should hold",
        "b.parquet": "is missing",
        f"{LEDGER}c.parquet": found[f"{LEDGER}c.parquet"],
        "added.parquet": "was added; no manifest names it",
    }
    assert found[f"{LEDGER}c.parquet"].startswith("was altered: ")


def test_an_audit_compares_inputs_on_s3(store: Store) -> None:
    store.put(FILES, "in")
    cg.run(make_gate(), store.uri("in"), store.uri("out"))
    store.put({"a.parquet": messages(7_000)}, "in")
    store.ask("DELETE", "in/b.parquet")
    findings = cg.audit(store.uri("out"), source=store.uri("in"))
    assert [(each.path, each.what.partition(":")[0]) for each in findings] == [
        ("a.parquet", "was altered"),
        ("b.parquet", "is missing"),
    ]


def test_an_audit_needs_a_manifest(store: Store) -> None:
    with fails(cg.ManifestError, f"no manifest in 's3://{store.bucket}/out'"):
        cg.audit(store.uri("out"))


# One run at a time


def test_a_destination_that_is_held_is_left_alone(store: Store) -> None:
    store.put(FILES, "in")
    with lock(Folder.at(store.uri("out"))) as check:
        store.server.seen.clear()
        with fails(
            cg.DestinationBusyError, f"Another run is writing into 's3://{store.bucket}/out'"
        ):
            cg.run(make_gate(), store.uri("in"), store.uri("out"))
        assert store.written() == set()
        check()
        assert len(store.objects("out")) == 1
    cg.run(make_gate(), store.uri("in"), store.uri("out"))


def test_never_two_hold_a_destination(store: Store) -> None:
    folder, held, most = Folder.at(store.uri("out")), threading.Semaphore(1), []

    def compete() -> None:
        for _ in range(4):
            with suppress(cg.DestinationBusyError), lock(folder):
                most.append(held.acquire(blocking=False))
                time.sleep(0.01)
                held.release()

    with ThreadPoolExecutor(4) as pool:
        for _ in range(4):
            pool.submit(compete)
    assert all(most)
    with lock(folder) as check:
        check()


@pytest.mark.parametrize("ends", ["well", "badly"])
def test_no_lease_is_left_after_a_run(store: Store, ends: str) -> None:
    store.put(FILES if ends == "well" else {**FILES, "d.parquet": b"PAR1"}, "in")
    with suppress(cg.RunIncompleteError):
        cg.run(make_gate(), store.uri("in"), store.uri("out"))
    objects = store.objects("out")
    assert (MANIFEST in objects) == (ends == "well")
    assert not [name for name in objects if name.startswith(LEASES)]


def test_a_lease_that_ran_out_is_taken_away(store: Store) -> None:
    store.put(FILES, "in")
    store.put({"dead": b""}, f"out/{LEASES[:-1]}")
    store.age(f"out/{LEASES}dead", locks.LEASE_S - 5)
    with fails(cg.DestinationBusyError, "where it was killed, for 60 seconds"):
        cg.run(make_gate(), store.uri("in"), store.uri("out"))
    store.age(f"out/{LEASES}dead", 10)
    cg.run(make_gate(), store.uri("in"), store.uri("out"))
    assert not [name for name in store.objects("out") if name.startswith(LEASES)]


def test_a_lease_is_renewed(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locks, "LEASE_S", 2.0)
    with lock(Folder.at(store.uri("out"))) as check:
        (key,) = store.objects("out")
        store.age(f"out/{key}", 1_000)
        old = store.stored(f"out/{key}").last_modified
        wait_until(lambda: store.stored(f"out/{key}").last_modified > old)
        check()


def wait_until(is_so: Callable[[], bool]) -> None:
    """Nothing, once something is so."""
    deadline = time.monotonic() + 10
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_lease_that_was_taken_away_is_lost(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locks, "LEASE_S", 2.0)
    with lock(Folder.at(store.uri("out"))) as check:
        (key,) = store.objects("out")
        store.ask("DELETE", f"out/{key}")
        with fails(cg.DestinationBusyError, "The lease on .* was lost, so another run may"):
            check()
        time.sleep(0.6)  # it is not written again, either
        assert store.objects("out") == {}
        with fails(cg.DestinationBusyError, "was lost"):
            check()


def test_a_lease_that_is_not_renewed_in_time_is_lost(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    slept = 0.0
    clock = SimpleNamespace(monotonic=lambda: time.monotonic() + slept)
    monkeypatch.setattr(locks, "time", clock)
    with lock(Folder.at(store.uri("out"))) as check:
        slept = locks.LEASE_S / 2
        check()
        slept = locks.LEASE_S * 0.8
        with fails(cg.DestinationBusyError, "was lost"):
            check()
        slept = 0.0
        with fails(cg.DestinationBusyError, "was lost"):
            check()


def test_a_renewal_that_fails_is_tried_again(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locks, "LEASE_S", 3.0)
    refused: list[Request] = []

    def refuse(request: Request) -> int | None:
        if len(refused) < 1 and request.method == "POST":
            refused.append(request)
            return 403
        return None

    with lock(Folder.at(store.uri("out"))) as check:
        (key,) = store.objects("out")
        store.age(f"out/{key}", 1_000)
        old = store.stored(f"out/{key}").last_modified
        store.server.before = refuse
        wait_until(lambda: store.stored(f"out/{key}").last_modified > old)
        check()
    assert len(refused) == 1


def test_a_run_that_loses_its_lease_publishes_nothing_more(store: Store) -> None:
    store.put(FILES, "in")

    def lose(progress: cg.Progress) -> None:
        if progress.rows_done and not lost:
            lost.extend(name for name in store.objects("out") if name.startswith(LEASES))
            store.ask("DELETE", f"out/{lost[0]}")

    lost: list[str] = []
    with fails(cg.DestinationBusyError, "was lost"):
        cg.run(make_gate(), store.uri("in"), store.uri("out"), threads=1, on_progress=lose)
    assert store.objects("out").keys() == {STATE}


def test_a_store_that_does_not_list_what_was_written_is_no_destination(store: Store) -> None:
    store.put(FILES, "in")

    def hide(request: Request) -> None:
        if "list-type" in request.query and "leases" in request.query:
            for name in store.objects("out"):
                store.ask("DELETE", f"out/{name}")

    store.server.before = hide
    with fails(cg.OutputError, "is not listed there at once"):
        cg.run(make_gate(), store.uri("in"), store.uri("out"))


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


# Secrets


def test_no_secret_is_stored(store: Store) -> None:
    store.put(FILES, "in")
    store.server.before = refuse(403, "PUT", "POST", path=MANIFEST)
    with fails(cg.OutputError, MANIFEST):
        cg.run(make_gate(), store.uri("in/*.parquet"), store.uri("out"))
    stopped = store.objects("out")
    assert STATE in stopped
    store.server.before = None
    manifest = cg.run(make_gate(), store.uri("in/*.parquet"), store.uri("out"))
    stored = [*stopped.values(), *store.objects("out").values(), repr(manifest).encode()]
    for content in stored:
        assert not [secret for secret in SECRETS if secret.encode() in content]


MALFORMED = [
    "s3://{key}:{secret}@{bucket}/in?{options}",
    "s3://{key}:12/{secret}@{bucket}/in?{options}",
    "s3://{key}:a?{secret}@{bucket}/in?{options}",
    "s3://{key}:1?{secret}@{bucket}/in?{options}",
    "s3://{key}:a#{secret}@{bucket}/in?{options}",
    "s3://{key}:{quoted}@{bucket}/in#x?{options}",
    "s3://{key}:{quoted}@{bucket}:9000/in?{options}",
    "s3://{key}:{quoted}/{bucket}/in?{options}",
    "s3://{key}:{quoted}@{bucket}/a b?{options}",
    "s3://{key}:{quoted}@{bucket}/ü?{options}",
    "s3://{key}:{quoted}@{bucket}/%zz?{options}",
    "s3://{key}:{quoted}@{bucket}/\udc80?{options}",
    "s3://{key}:{quoted}@{bucket}/in?{options}&secret_key={quoted}",
    "s3://{key}:{quoted}@{bucket}/in?{options}&{quoted}",
    "s3://{key}:{quoted}@{bucket}/in?scheme={quoted}&region=us-east-1",
    "s3://{key}:{quoted}@{bucket}//in?{options}",
    "s3://{key}:{quoted}@{bucket}/a//in?{options}",
    "s3://{key}:{quoted}@{bucket}/out/../in?{options}",
    "s3://{key}:{quoted}@{bucket}/out/%2e%2e/in?{options}",
    "s3://{key}:{quoted}@{bucket}/./in?{options}",
    "s3://{key}:{quoted}@?{options}",
    "s3://{key}:{quoted}@/in?{options}",
    "s3://",
    "s3:/{key}:{quoted}@{bucket}/in?{options}",
    "s3:{key}:{quoted}@{bucket}/in?{options}",
    "s4://{key}:{quoted}@{bucket}/in?{options}",
    "S3://{key}:{quoted}@{bucket}/in?{options}",
    "gs://{key}:{quoted}@{bucket}/in",
    "file://{key}:{quoted}@{bucket}/in",
]


@pytest.mark.parametrize("form", MALFORMED)
def test_a_uri_that_is_refused_is_not_quoted(store: Store, tmp_path: Path, form: str) -> None:
    store.put(FILES, "in")
    quoted = quote(SECRET, safe="")
    fill = {"key": KEY, "secret": SECRET, "quoted": quoted, "bucket": store.bucket}
    uri = form.format(**fill, options=store.options)
    store.server.seen.clear()
    attempts: list[tuple[type[Exception], Callable[[], object]]] = [
        (cg.SourceError, lambda: cg.run(make_gate(), uri, tmp_path / "out")),
        (cg.OutputError, lambda: cg.run(make_gate(), write_tree(tmp_path / "in", FILES), uri)),
        (cg.SourceError, lambda: cg.audit(uri)),
    ]
    for kind, attempt in attempts:
        with fails(kind, "is not a URI of a file or folder; give a path, or a"):
            attempt()
    assert store.server.seen == []


@pytest.mark.parametrize("wildcard", ["*", "["])
def test_wildcards_in_a_key_of_the_store_are_not_quoted(
    store: Store, tmp_path: Path, wildcard: str
) -> None:
    for path in ("in", "in/*.parquet"):
        with fails(cg.SourceError, "'s3://.*' is not a URI of a file or folder"):
            uri = store.uri(path, user=f"{KEY}:s3cr3t{wildcard}@")
            cg.run(make_gate(), uri, tmp_path / "out")


# Keys that pyarrow or the disk cannot hold


def test_keys_longer_than_names_on_a_disk_are_read(store: Store) -> None:
    name = "k" * 400 + ".parquet"
    store.put({name: FILES["a.parquet"]}, "in")
    manifest = cg.run(make_gate(), store.uri("in"), store.uri("out"))
    assert manifest.files[0].input.path == name
    assert cg.audit(store.uri("out"), source=store.uri("in")) == ()


def test_keys_that_cannot_be_asked_for_are_named(store: Store) -> None:
    store.put({**FILES, "x//y.parquet": FILES["a.parquet"]}, "in")
    with fails(cg.RunIncompleteError, "File 's3://.*/in/x//y.parquet' cannot be read: Empty path"):
        cg.run(make_gate(), store.uri("in"), store.uri("out"))
    assert data(store.objects("out")).keys() == FILES.keys()


def test_marks_of_folders_are_no_messages(store: Store) -> None:
    store.put({**FILES, "empty/": b"", "": b""}, "in")
    manifest = cg.run(make_gate(), store.uri("in"), store.uri("out"))
    assert [file.input.path for file in manifest.files] == list(FILES)


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
        assert process.wait(timeout=60) == -signal.SIGKILL
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


def test_older_snapshots_and_forgeries_are_told_in_a_store_too(
    store: Store, tmp_path: Path
) -> None:
    private, public = write_keys(tmp_path)
    store.put(FILES, "in")
    gate = as_of(make_gate())
    cg.run(gate, store.uri("in"), store.uri("out"), sign_with=private)
    before = store.objects("out")
    with fails(cg.StaleSnapshotError, "consent snapshot is as of"):
        cg.run(make_gate(), store.uri("in"), store.uri("out"))
    assert store.objects("out") == before
    seal = seal_name("a.parquet")
    assert seal in before
    store.put({seal: before[seal_name("b.parquet")]}, "out")
    findings = cg.audit(store.uri("out"), public_key=public)
    assert [finding.path for finding in findings] == [seal]
    store.server.seen.clear()
    cg.run(gate, store.uri("in"), store.uri("out"), sign_with=private)
    assert store.written() & FILES.keys() == {"a.parquet"}
    assert cg.audit(store.uri("out"), public_key=public, gate=gate) == ()
