"""Messages in an object store, and what a run over them comes to."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

import consentgate as cg
from tests.build import message_table
from tests.s3 import Store

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


def assert_as_expected(store: Store, expected: tuple[dict[str, bytes], Any]) -> None:
    """Nothing, when the run into `out` has ended as an undisturbed one would have."""
    objects, (tree, said) = store.objects("out"), expected
    assert objects.keys() == tree.keys()
    assert data(objects) == data(tree)
    assert ledger(objects) == ledger(tree)
    assert judged(cg.Manifest.model_validate_json(objects[MANIFEST])) == said
    assert cg.audit(store.uri("out")) == ()
