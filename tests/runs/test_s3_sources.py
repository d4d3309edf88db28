"""Runs from and to a real S3 server on loopback: where data comes from and goes to."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote

import pyarrow.dataset as pa_ds
import pytest

import consentgate as cg
from tests.build import make_gate, message_table
from tests.runs.s3_data import (
    FILES,
    MANIFEST,
    data,
    judged,
    ledger,
    messages,
    parquet,
    read_tree,
    write_tree,
)
from tests.s3 import KEY, SECRET, Store, fails

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
