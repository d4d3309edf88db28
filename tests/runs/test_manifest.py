"""A run's manifest: what it says, and that it is written last."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import consentgate as cg
from consentgate import runs
from tests.build import AS_OF, MICRO, NOW
from tests.run_data import EVIDENCE, all_files, mixed_gate
from tests.runs.running import NAMES, stop_after


def test_the_manifest_says_what_happened(src: Path, dst: Path) -> None:
    gate = mixed_gate()
    begun = datetime.now(UTC)
    manifest = cg.run(gate, src, dst)
    table = pa.concat_tables(pq.read_table(src / n, partitioning=None) for n in NAMES)
    decision = gate.decide(table)
    assert manifest.totals.model_dump() == {
        "rows": 1500,
        "admitted": decision.num_admitted,
        "excluded": decision.num_excluded,
        "counts": dict(decision.counts),
        "occurrences": dict(decision.occurrences),
    }
    assert cg.Policy(**manifest.policy) == gate.policy
    assert manifest.identity == gate.identity
    assert manifest.judgement.gate_digest == gate.digest
    assert manifest.judgement.judged_at == NOW
    assert manifest.identity.consent.as_of == AS_OF
    assert manifest.identity.consent.source == "Arrow data"
    assert begun <= manifest.started_at <= manifest.finished_at <= datetime.now(UTC)
    assert [file.input.path for file in manifest.files] == sorted(NAMES)
    for file in manifest.files:
        path = src / file.input.path
        assert file.input.size_bytes == path.stat().st_size
        assert file.input.version == str(path.stat().st_mtime_ns)
    assert cg.Manifest.read(dst) == manifest


def test_the_manifest_is_the_last_thing_written(src: Path, dst: Path) -> None:
    cg.run(mixed_gate(), src, dst)
    times = {p: p.stat().st_mtime_ns for p in dst.rglob("*") if p.is_file() and p.name != "lock"}
    assert max(times, key=times.__getitem__) == dst / EVIDENCE / "manifest.json"


def test_nothing_but_files_that_are_named_is_left(src: Path, dst: Path) -> None:
    cg.run(mixed_gate(), src, dst)
    ledger = {f"{EVIDENCE}/ledger/{name}" for name in NAMES}
    evidence = {f"{EVIDENCE}/manifest.json", f"{EVIDENCE}/lock"}
    assert all_files(dst) == {*NAMES, *ledger, *evidence}


def test_the_json_schema_is_the_models() -> None:
    published = Path(runs.__file__).with_name("manifest.schema.json").read_text()
    assert json.loads(published) == cg.Manifest.model_json_schema()


def test_every_earlier_manifest_is_kept(src: Path, dst: Path) -> None:
    digests = [cg.run(mixed_gate(), src, dst, judged_at=NOW + n * MICRO).digest for n in range(4)]
    kept = {path.stem for path in (dst / EVIDENCE / "manifests").iterdir()}
    assert kept == set(digests[:-1])
    assert cg.audit(dst) == ()


def test_progress_ends_at_everything(src: Path, dst: Path) -> None:
    seen: list[cg.Progress] = []
    manifest = cg.run(mixed_gate(), src, dst, on_progress=seen.append)
    assert seen[0] == cg.Progress(3, 1500, 0, 0, 0)
    assert seen[-1] == cg.Progress(3, 1500, 3, 1500, manifest.totals.admitted)
    assert all(a.rows_done <= b.rows_done for a, b in pairwise(seen))


def test_progress_of_a_resumed_run_counts_what_was_done(src: Path, dst: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        cg.run(mixed_gate(), src, dst, threads=1, on_progress=stop_after(2))
    done = sum((dst / EVIDENCE / "ledger" / name).is_file() for name in NAMES)
    assert done >= 2  # another thread may have ended the third file before it could be stopped
    seen: list[cg.Progress] = []
    manifest = cg.run(mixed_gate(), src, dst, on_progress=seen.append)
    assert (seen[0].files_done, seen[0].rows_done) == (done, 500 * done)
    assert seen[-1] == cg.Progress(3, 1500, 3, 1500, manifest.totals.admitted)
