"""Signed runs: what a resumed one finds is believed only if its own key has sealed it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

import consentgate as cg
from consentgate.runs.manifest import Manifest, RunState
from consentgate.runs.records import to_json
from consentgate.runs.signing import Signer
from consentgate.storage.digests import digest_file
from consentgate.storage.layout import seal_name
from tests.build import AS_OF, MICRO, NOW, make_consent, make_gate
from tests.run_data import EVIDENCE, all_files, as_of, data_files, mixed_gate, write_files
from tests.runs.running import Spy
from tests.signing import ENVELOPE, MANIFEST, write_keys

NAMES = ["a.parquet", "b.parquet", "deep/c.parquet"]
FIRST = "a.parquet"
"""The largest file, which is judged first."""


@pytest.fixture
def src(tmp_path: Path) -> Path:
    """Three files of messages."""
    write_files(tmp_path / "src", NAMES)
    write_files(tmp_path / "src", [FIRST], rows=900)
    return tmp_path / "src"


def stop(progress: cg.Progress) -> None:
    """Ends a run once it judges the third file, before that is written."""
    if progress.rows_done > 1400:
        raise KeyboardInterrupt


def begin(src: Path, dst: Path, gate: cg.Gate | None = None, **options: Any) -> set[str]:
    """A run that is stopped after two files; returns which."""
    with pytest.raises(KeyboardInterrupt):
        cg.run(gate or mixed_gate(), src, dst, threads=1, on_progress=stop, **options)
    done = set(data_files(dst))
    assert len(done) == 2 and FIRST in done
    return done


def forge(src: Path, dst: Path, name: str = FIRST) -> None:
    """Let every row of a file seem to be admitted, in an output and a part that agree."""
    part = dst / EVIDENCE / "ledger" / name
    metadata = {k: v for k, v in pq.read_metadata(part).metadata.items() if b"ARROW" not in k}
    everything = pq.read_table(src / name, partitioning=None)
    own = pq.read_schema(dst / name).metadata
    pq.write_table(everything.replace_schema_metadata(own), dst / name)
    record = json.loads(metadata[b"consentgate.record"])
    output = {"rows": everything.num_rows, "sha256": digest_file(dst / name)}
    output["size_bytes"] = (dst / name).stat().st_size
    record["outcome"]["output"] |= output
    record["outcome"]["counts"] = record["outcome"]["occurrences"] = {}
    metadata[b"consentgate.record"] = json.dumps(record).encode()
    ledger = pq.read_table(part, partitioning=None).slice(0, 0)
    pq.write_table(ledger.replace_schema_metadata(metadata), part)


def assert_sound(src: Path, dst: Path, public: Path, gate: cg.Gate | None = None) -> None:
    """Nothing, when the signed run is what one that was never disturbed comes to."""
    gate = gate or mixed_gate()
    assert cg.audit(dst, gate=gate, source=src, public_key=public) == ()
    cg.run(gate, src, dst.with_name("whole"))
    assert data_files(dst) == data_files(dst.with_name("whole"))


def test_a_forgery_is_believed_where_nothing_is_signed(src: Path, dst: Path) -> None:
    """Only a seal can tell the forgeries below from what a run wrote."""
    begin(src, dst)
    forge(src, dst)
    manifest = cg.run(mixed_gate(), src, dst)
    assert manifest.files[0].output.rows == manifest.files[0].input.rows
    assert cg.audit(dst, source=src) == ()


@pytest.mark.parametrize("began_signed", [True, False])
def test_a_forged_output_is_judged_anew_before_anything_is_signed(
    began_signed: bool, src: Path, dst: Path, keys: tuple[Path, Path], spy: Spy
) -> None:
    done = begin(src, dst, sign_with=keys[0] if began_signed else None)
    spy.since()
    forge(src, dst)
    cg.run(mixed_gate(), src, dst, sign_with=keys[0])
    believed = done - {FIRST} if began_signed else set()
    assert spy.since() == set(NAMES) - believed
    assert_sound(src, dst, keys[1])


def test_what_the_same_key_has_sealed_is_not_judged_again(
    src: Path, dst: Path, keys: tuple[Path, Path], spy: Spy
) -> None:
    done = begin(src, dst, sign_with=keys[0])
    spy.since()
    manifest = cg.run(mixed_gate(), src, dst, sign_with=keys[0])
    assert spy.since() == set(NAMES) - done
    assert_sound(src, dst, keys[1])
    assert cg.run(mixed_gate(), src, dst, sign_with=keys[0]) == manifest


def test_the_seals_of_another_key_are_not_believed(
    src: Path, dst: Path, keys: tuple[Path, Path], tmp_path: Path, spy: Spy
) -> None:
    begin(src, dst, sign_with=write_keys(tmp_path, "other")[0])
    forge(src, dst)
    spy.since()
    cg.run(mixed_gate(), src, dst, sign_with=keys[0])
    assert spy.since() == set(NAMES)
    assert_sound(src, dst, keys[1])


def rewrite(change: Callable[[Any], None]) -> Callable[[Path, Path], None]:
    def forge_state(_src: Path, dst: Path) -> None:
        state = json.loads((dst / EVIDENCE / "run.json").read_text())
        change(state)
        (dst / EVIDENCE / "run.json").write_text(json.dumps(state))

    return forge_state


def swap_seals(_src: Path, dst: Path) -> None:
    """Give each file's seal to the other."""
    seals = sorted((dst / EVIDENCE / "seals").iterdir())
    contents = [path.read_bytes() for path in seals]
    for path, content in zip(seals, reversed(contents), strict=True):
        path.write_bytes(content)


def change_a_reason(_src: Path, dst: Path) -> None:
    """Another ledger for the same output, with as many rows."""
    part = dst / EVIDENCE / "ledger" / FIRST
    metadata = {k: v for k, v in pq.read_metadata(part).metadata.items() if b"ARROW" not in k}
    table = pq.read_table(part, partitioning=None)
    table = table.take(list(range(len(table)))[::-1])
    pq.write_table(table.replace_schema_metadata(metadata), part)


@pytest.mark.parametrize(
    "change",
    [swap_seals, change_a_reason, rewrite(lambda s: s.update(started_at="2020-01-01T00:00:00Z"))],
)
def test_anything_that_is_altered_is_not_signed(
    change: Callable[[Path, Path], None], src: Path, dst: Path, keys: tuple[Path, Path]
) -> None:
    begin(src, dst, sign_with=keys[0])
    change(src, dst)
    manifest = cg.run(mixed_gate(), src, dst, sign_with=keys[0])
    assert manifest.started_at.year > 2020
    assert_sound(src, dst, keys[1])


@pytest.mark.parametrize("how", ["older gate", "another source", "another instant", "other rows"])
def test_what_was_sealed_for_something_else_is_not_believed(
    how: str, src: Path, dst: Path, keys: tuple[Path, Path], tmp_path: Path
) -> None:
    """An output, its part and its seal, all of a run with the same key."""
    other, lax = tmp_path / "other", mixed_gate()
    source, options = src, {"judged_at": NOW}
    if how == "older gate":
        lax = as_of(make_gate(make_consent(subject_id=list(range(1, 41)))), AS_OF - MICRO)
    elif how == "another source":
        source = tmp_path / "elsewhere" / "src"
        shutil.copytree(src, source)
    elif how == "another instant":
        options = {"judged_at": NOW - MICRO}
    if how == "other rows":
        write_files(src, NAMES, rows=300)
    cg.run(lax, source, other, sign_with=keys[0], **options)  # type: ignore[arg-type]
    if how == "other rows":
        write_files(src, NAMES)
    with pytest.raises(KeyboardInterrupt):
        cg.run(mixed_gate(), src, dst, threads=1, on_progress=stop, sign_with=keys[0])
    for name in (FIRST, f"{EVIDENCE}/ledger/{FIRST}", seal_name(FIRST)):
        shutil.copy(other / name, dst / name)
    cg.run(mixed_gate(), src, dst, sign_with=keys[0])
    assert_sound(src, dst, keys[1])


def forge_all(src: Path, dst: Path, **changes: Any) -> None:
    """Forge a file, and a manifest that says the same."""
    forge(src, dst)
    manifest = Manifest.model_validate_json((dst / MANIFEST).read_bytes())
    content = json.loads((dst / MANIFEST).read_text())
    part = dst / EVIDENCE / "ledger" / FIRST
    record = json.loads(pq.read_metadata(part).metadata[b"consentgate.record"])["outcome"]
    ledger = {"path": f"{EVIDENCE}/ledger/{FIRST}", "rows": 0, "sha256": digest_file(part)}
    content["files"][0] = {**record, "ledger": {**ledger, "size_bytes": part.stat().st_size}}
    draft = Manifest.model_validate(content | changes)
    from consentgate.runs.manifest import Totals

    draft = draft.model_copy(update={"totals": Totals.of(draft.files)})
    sealed = draft.model_copy(update={"digest": draft.content_digest()})
    (dst / MANIFEST).write_bytes(to_json(sealed))
    assert sealed.digest != manifest.digest


@pytest.mark.parametrize("signature", ["kept", "removed", "by another key", "was never there"])
def test_a_finished_run_that_was_forged_is_judged_anew_before_it_is_signed(
    signature: str, src: Path, dst: Path, keys: tuple[Path, Path], tmp_path: Path, spy: Spy
) -> None:
    signed = signature != "was never there"
    cg.run(mixed_gate(), src, dst, sign_with=keys[0] if signed else None)
    forge_all(src, dst)
    forged = Manifest.model_validate_json((dst / MANIFEST).read_bytes())
    if signature == "removed":
        (dst / ENVELOPE).unlink()
    if signature == "by another key":
        other = Signer(write_keys(tmp_path, "other")[0])
        (dst / ENVELOPE).write_bytes(other.sign(forged))
    spy.since()
    manifest = cg.run(mixed_gate(), src, dst, sign_with=keys[0])
    assert spy.since() == ({FIRST} if signed else set(NAMES))
    assert manifest != forged
    findings = cg.audit(dst, gate=mixed_gate(), source=src, public_key=keys[1])
    kept = signature in ("kept", "by another key")  # the forger's, which the run has put aside
    assert [f.path for f in findings] == (
        [f"{EVIDENCE}/manifests/{forged.digest}.dsse.json"] if kept else []
    )
    cg.run(mixed_gate(), src, dst.with_name("whole"))
    assert data_files(dst) == data_files(dst.with_name("whole"))


@pytest.mark.parametrize("what", ["removed", "junk", "by another key", "of another manifest"])
def test_a_finished_run_is_signed_anew_where_its_signature_does_not_hold(
    what: str, src: Path, dst: Path, keys: tuple[Path, Path], tmp_path: Path, spy: Spy
) -> None:
    first = cg.run(mixed_gate(), src, dst, sign_with=keys[0])
    if what == "removed":
        (dst / ENVELOPE).unlink()
    elif what == "junk":
        (dst / ENVELOPE).write_bytes(b"[]")
    elif what == "by another key":
        other = Signer(write_keys(tmp_path, "other")[0])
        (dst / ENVELOPE).write_bytes(other.sign(first))
    else:
        draft = first.model_copy(update={"gate_file": "/elsewhere"})
        altered = draft.model_copy(update={"digest": draft.content_digest()})
        (dst / MANIFEST).write_bytes(to_json(altered))
    spy.since()
    second = cg.run(mixed_gate(), src, dst, sign_with=keys[0])
    assert not spy.since()  # the seals hold
    assert (second.files, second.gate_file) == (first.files, None)
    wrong = [finding.path for finding in cg.audit(dst, public_key=keys[1])]
    aside = f"{EVIDENCE}/manifests/{second.previous}.dsse.json"
    assert wrong == ([] if what == "removed" else [aside])
    assert cg.run(mixed_gate(), src, dst, sign_with=keys[0]) == second


def test_a_run_without_a_key_leaves_seals_only_where_they_hold(
    src: Path, dst: Path, keys: tuple[Path, Path]
) -> None:
    cg.run(mixed_gate(), src, dst, sign_with=keys[0])
    assert {seal_name(name) for name in NAMES} <= all_files(dst)
    write_files(src, ["b.parquet"], rows=9)
    cg.run(mixed_gate(), src, dst)
    seals = {name for name in all_files(dst) if "/seals/" in name}
    assert seals == {seal_name(name) for name in NAMES if name != "b.parquet"}
    cg.run(mixed_gate(), src, dst, sign_with=keys[0])
    assert_sound(src, dst, keys[1])


def test_a_run_without_a_key_writes_no_seals(src: Path, dst: Path) -> None:
    begin(src, dst)
    state = RunState.model_validate_json((dst / EVIDENCE / "run.json").read_bytes())
    assert state.seal is None
    assert not any("/seals/" in name for name in all_files(dst))


def test_names_of_any_length_have_seals(tmp_path: Path, keys: tuple[Path, Path]) -> None:
    names = ["n" * 247 + ".parquet", "ä/" + "€" * 60, "x.parquet", "deep/x.parquet"]
    write_files(tmp_path / "src", names)
    cg.run(mixed_gate(), tmp_path / "src", tmp_path / "dst", sign_with=keys[0])
    assert cg.audit(tmp_path / "dst", public_key=keys[1]) == ()
