"""Runs on S3 that are run again, over objects that change or are gone."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import pytest

import consentgate as cg
from consentgate.storage import folders
from tests.build import make_gate
from tests.runs.s3_data import FILES, LEDGER, MANIFEST, STATE, assert_as_expected, messages
from tests.s3 import Request, Store, fails

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
