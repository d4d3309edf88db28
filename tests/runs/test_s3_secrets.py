"""Secrets of object stores: no run stores or shows one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

import pytest

import consentgate as cg
from tests.build import make_gate
from tests.runs.s3_data import FILES, MANIFEST, STATE, write_tree
from tests.s3 import KEY, SECRET, SECRETS, Store, fails, refuse


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
