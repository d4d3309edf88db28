"""Evidence in an object store: older snapshots and forgeries are told there too."""

from __future__ import annotations

from pathlib import Path

import consentgate as cg
from consentgate.storage.layout import seal_name
from tests.build import make_gate
from tests.run_data import as_of
from tests.runs.s3_data import FILES
from tests.s3 import Store, fails
from tests.signing import write_keys


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
