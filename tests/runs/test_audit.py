"""The audit: whatever is altered, added, missing or exchanged in a run's destination is named."""

from __future__ import annotations

import base64
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

import consentgate as cg
from consentgate.runs import source
from consentgate.runs.manifest import FileRecord, Manifest, RunState, Totals
from consentgate.runs.records import to_json
from consentgate.storage.digests import digest_file
from tests.build import AS_OF, NOW, make_consent, make_gate, message_table
from tests.run_data import EVIDENCE, all_files, mixed_gate, write_files

NAMES = ["a.parquet", "b.parquet", "day=1/c.parquet"]
MANIFEST = f"{EVIDENCE}/manifest.json"


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a source and a run of it, which follows another run."""
    folder = tmp_path_factory.mktemp("finished")
    write_files(folder / "src", NAMES)
    cg.run(mixed_gate(), folder / "src", folder / "dst", judged_at=NOW)
    cg.run(mixed_gate(notice_versions=None, name="second"), folder / "src", folder / "dst")
    return folder


@pytest.fixture
def src(finished: Path, tmp_path: Path) -> Path:
    """A copy of the source."""
    shutil.copytree(finished / "src", tmp_path / "src")
    return tmp_path / "src"


@pytest.fixture
def dst(finished: Path, tmp_path: Path) -> Path:
    """A copy of the run."""
    shutil.copytree(finished / "dst", tmp_path / "dst")
    return tmp_path / "dst"


def found(dst: Path, **options: Any) -> dict[str, str]:
    """What is wrong, by file."""
    findings = cg.audit(dst, **options)
    return {finding.path: finding.what for finding in findings}


def test_a_run_is_as_it_says(src: Path, dst: Path) -> None:
    gate = mixed_gate(name="second")
    assert found(dst) == found(dst, gate=gate, source=src, threads=1) == {}


def test_any_byte_of_any_file(dst: Path) -> None:
    """A byte changed, added or cut off at the end: the file is named, and no other."""
    for name in sorted(all_files(dst) - {MANIFEST, f"{EVIDENCE}/lock"}):
        path = dst / name
        whole = path.read_bytes()
        changes = [whole[:-1], whole + b"\0"]
        changes += [
            whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :]
            for at in range(0, len(whole), len(whole) // 7)
        ]
        for change in changes:
            path.write_bytes(change)
            assert found(dst).keys() == {name}
        path.write_bytes(whole)
    assert found(dst) == {}


def test_any_file_that_is_missing(dst: Path) -> None:
    for name in sorted(all_files(dst) - {MANIFEST, f"{EVIDENCE}/lock"}):
        (dst / name).rename(dst.parent / "away")
        assert found(dst) == {name: "is missing"}
        (dst.parent / "away").rename(dst / name)


@pytest.mark.parametrize("target", ["/dev", ".", "gone", "not UTF-8"])
def test_a_link_in_the_destination_is_not_followed(target: str, dst: Path) -> None:
    elsewhere = dst.parent / "not UTF-8"
    elsewhere.mkdir()
    (elsewhere / os.fsdecode(b"\xff")).touch()
    target = str(elsewhere) if target == "not UTF-8" else target
    (dst / "x").symlink_to(target)
    (dst / "a.parquet").unlink()
    assert set(found(dst)) == {"x", "a.parquet"}
    assert found(dst)["x"].startswith("is a link")


def test_a_name_that_is_not_utf8_is_a_finding(dst: Path) -> None:
    (dst / os.fsdecode(b"d\xff")).mkdir()
    (dst / os.fsdecode(b"d\xff/e")).touch()
    (dst / os.fsdecode(b"f\xfe")).touch()
    findings = found(dst)
    assert set(findings) == {r"d\udcff", r"d\udcff/e", r"f\udcfe"}
    assert all("a name that is not UTF-8" in what for what in findings.values())


@pytest.mark.parametrize(
    "name",
    [
        "d.parquet",
        "day=1/x",
        "_SUCCESS",
        f"{EVIDENCE}/x",
        f"{EVIDENCE}/ledger/d.parquet",
        f"{EVIDENCE}/manifests/{'0' * 64}.json",
        f"{EVIDENCE}/drafts/x/data",
    ],
)
def test_any_file_that_was_added(name: str, dst: Path) -> None:
    (dst / name).parent.mkdir(parents=True, exist_ok=True)
    (dst / name).touch()
    assert found(dst) == {name: "was added; no manifest names it"}


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("a.parquet", "b.parquet"),
        (f"{EVIDENCE}/ledger/a.parquet", f"{EVIDENCE}/ledger/b.parquet"),
        ("a.parquet", f"{EVIDENCE}/ledger/day=1/c.parquet"),
    ],
)
def test_files_in_each_others_place(one: str, other: str, dst: Path) -> None:
    (dst / one).rename(dst / "x")
    (dst / other).rename(dst / one)
    (dst / "x").rename(dst / other)
    words = "holds what '{}' should hold"
    assert found(dst) == {one: words.format(other), other: words.format(one)}


def test_a_folder_in_a_files_place(dst: Path) -> None:
    (dst / "a.parquet").unlink()
    (dst / "a.parquet").mkdir()
    words = f"File '{dst}/a.parquet' cannot be read: it is a folder, not a regular file."
    assert found(dst) == {"a.parquet": words}


@pytest.mark.parametrize("name", NAMES)
def test_an_input_that_changed(name: str, src: Path, dst: Path) -> None:
    with (src / name).open("ab") as file:
        file.write(b"more")
    assert found(dst) == {}
    assert found(dst, source=src).keys() == {name}


NOT_JUDGED = "is in the source, but not in the manifest"


def test_an_input_that_no_run_judged(src: Path, dst: Path) -> None:
    write_files(src, ["day=1/new.parquet", "_hidden.parquet"])
    assert found(dst) == {}
    (finding,) = cg.audit(dst, source=src)
    assert finding.path == "day=1/new.parquet" and finding.what.startswith(NOT_JUDGED)


@pytest.mark.parametrize("name", NAMES)
def test_a_file_that_was_taken_out_of_all_evidence(name: str, src: Path, dst: Path) -> None:
    manifest = Manifest.model_validate_json((dst / MANIFEST).read_bytes())
    files = tuple(record for record in manifest.files if record.input.path != name)
    rewrite_manifest(dst, manifest, files)
    (dst / name).unlink()
    (dst / EVIDENCE / "ledger" / name).unlink()
    assert found(dst) == {}
    (finding,) = cg.audit(dst, source=src, gate=mixed_gate(name="second"))
    assert finding.path == name and finding.what.startswith(NOT_JUDGED)


def rewrite_manifest(dst: Path, manifest: Manifest, files: tuple[FileRecord, ...]) -> None:
    """A manifest of other files, whose totals and digest fit."""
    forged = manifest.model_copy(update={"files": files, "totals": Totals.of(files)})
    forged = forged.model_copy(update={"digest": forged.content_digest()})
    (dst / MANIFEST).write_bytes(to_json(forged))


@pytest.mark.parametrize("folder", ["sender_id=1", "sender_id=__HIVE_DEFAULT_PARTITION__", "x"])
def test_a_file_that_was_judged_as_another_partition(
    folder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Everything in the destination agrees; only the source's folders tell."""
    names = ["sender_id=1/a.parquet", "sender_id=4/a.parquet"]
    for name in names:
        (tmp_path / "src" / name).parent.mkdir(parents=True)
        rows = message_table(message_id=[1, 2, 3]).drop_columns(["sender_id"])
        if folder == "x":
            rows = message_table(message_id=[1, 2, 3], sender_id=[1, 1, 1])
        pq.write_table(rows, tmp_path / "src" / name)
    with monkeypatch.context() as patched:
        texts = source._partition_texts
        patched.setattr(source, "_partition_texts", lambda _: texts(f"{folder}/a.parquet"))
        cg.run(mixed_gate(), tmp_path / "src", tmp_path / "out")
    assert found(tmp_path / "out", gate=mixed_gate()) == {}
    findings = found(tmp_path / "out", gate=mixed_gate(), source=tmp_path / "src")
    assert findings.keys() == (set(names[1:]) if folder == "sender_id=1" else set(names))
    assert all("other partition columns" in what for what in findings.values())


def test_the_source_of_a_run_of_a_data_set(tmp_path: Path) -> None:
    for sender in (1, 4):
        folder = tmp_path / "src" / f"sender_id={sender}"
        folder.mkdir(parents=True)
        rows = message_table(message_id=[1, 2]).drop_columns(["sender_id"])
        pq.write_table(rows, folder / "a.parquet")
    hive, bare = (ds.dataset(tmp_path / "src", partitioning=kind) for kind in ("hive", None))
    assert hive.schema.field("sender_id").type == pa.int32()  # a path's folders give int64
    cg.run(mixed_gate(), hive, tmp_path / "out")
    for place in (hive, tmp_path / "src", f"{tmp_path}/src/*/*.parquet"):
        assert found(tmp_path / "out", source=place, gate=mixed_gate()) == {}
    assert len(found(tmp_path / "out", source=bare)) == 2


def test_an_older_manifest_that_was_altered(dst: Path) -> None:
    (older,) = (dst / EVIDENCE / "manifests").iterdir()
    content = json.loads(older.read_text())
    content["source"] = "elsewhere"
    older.write_text(json.dumps(content))
    assert "was altered" in found(dst)[f"{EVIDENCE}/manifests/{older.name}"]


def test_another_run_that_has_begun(dst: Path) -> None:
    manifest = read(dst)
    fields = {"judgement": manifest.judgement, "source": manifest.source, "started_at": NOW}
    fields |= {"instant_from": "gate", "newest": manifest.newest}
    path = dst / EVIDENCE / "run.json"
    path.write_bytes(to_json(RunState(**fields, previous=manifest.digest)))
    assert "has begun and not ended" in found(dst)[f"{EVIDENCE}/run.json"]
    path.write_bytes(to_json(RunState(**fields, previous=manifest.previous)))
    assert found(dst) == {}  # it was killed after it had written its manifest
    path.write_bytes(b"")
    assert found(dst).keys() == {f"{EVIDENCE}/run.json"}


def test_leases_on_a_disk_were_added(dst: Path) -> None:
    name = f"{EVIDENCE}/leases/{'a' * 32}"
    (dst / EVIDENCE / "leases").mkdir()
    (dst / name).touch()
    assert found(dst).keys() == {name}


def test_a_lock_holds_nothing(dst: Path) -> None:
    (dst / EVIDENCE / "lock").write_text("something")
    assert found(dst).keys() == {f"{EVIDENCE}/lock"}


# the manifest itself


@pytest.mark.parametrize("change", [b"", b"{}", b"[1", b"\xff\xfe", b"null"])
def test_a_manifest_that_is_none(change: bytes, dst: Path) -> None:
    (dst / MANIFEST).write_bytes(change)
    with pytest.raises(cg.ManifestError, match="is not a valid Manifest"):
        cg.audit(dst)


def test_no_manifest(dst: Path) -> None:
    (dst / MANIFEST).unlink()
    with pytest.raises(cg.ManifestError, match="There is no manifest"):
        cg.audit(dst)


def leaves(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The way to everything in a JSON value that holds nothing else."""
    if isinstance(value, dict | list) and value:
        items = value.items() if isinstance(value, dict) else enumerate(value)
        return [leaf for key, inner in items for leaf in leaves(inner, (*path, key))]
    return [path]


def altered(value: Any) -> Any:
    """Another value of the same kind."""
    if isinstance(value, str):
        return value[:-1] + ("0" if value[-1:] != "0" else "1")
    if isinstance(value, int):
        return value + 1
    return "x" if value is None else [value]


def test_any_value_of_the_manifest(dst: Path) -> None:
    manifest = json.loads((dst / MANIFEST).read_text())
    for path in leaves(manifest):
        changed = json.loads(json.dumps(manifest))
        inner = changed
        for key in path[:-1]:
            inner = inner[key]
        inner[path[-1]] = altered(inner[path[-1]])
        (dst / MANIFEST).write_text(json.dumps(changed))
        with pytest.raises(cg.ManifestError, match=r"was altered|is not a valid Manifest"):
            cg.audit(dst)


def reseal(dst: Path, **changes: Any) -> None:
    """Alter the manifest and give it the digest that it then has."""
    manifest = Manifest.model_validate_json((dst / MANIFEST).read_bytes())
    draft = manifest.model_copy(update=changes)
    sealed = draft.model_copy(update={"digest": draft.content_digest()})
    (dst / MANIFEST).write_bytes(to_json(sealed))


def read(dst: Path) -> Manifest:
    """The manifest."""
    return Manifest.model_validate_json((dst / MANIFEST).read_bytes())


def identity(manifest: Manifest, **changes: Any) -> dict[str, Any]:
    """The change of a manifest that gives it another gate."""
    return {"identity": manifest.identity.model_copy(update=changes)}


def of_another_size(record: FileRecord) -> FileRecord:
    """The record, with a part of the ledger that has a byte more."""
    ledger = record.ledger.model_copy(update={"size_bytes": record.ledger.size_bytes + 1})
    return record.model_copy(update={"ledger": ledger})


LEDGERS = {f"{EVIDENCE}/ledger/{name}" for name in NAMES}
EVERYTHING = {MANIFEST, *LEDGERS, *NAMES}


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda m: {"policy": m.policy | {"methods": ["imported"]}}, {MANIFEST}),
        (lambda m: identity(m, columns=vars(cg.Columns(subjects=("x",)))), EVERYTHING),
        (lambda m: identity(m, consent=m.identity.channels), EVERYTHING),
        (lambda m: identity(m, channels=None), EVERYTHING),
        (lambda m: identity(m, reason_names={0: "x"}), EVERYTHING),
        (lambda m: identity(m, rules_version=m.identity.rules_version + 1), EVERYTHING),
        (lambda m: {"totals": m.totals.model_copy(update={"admitted": 1})}, {MANIFEST}),
        (
            lambda m: {"judgement": m.judgement.model_copy(update={"judged_at": AS_OF})},
            {MANIFEST, *LEDGERS},
        ),
        (lambda _m: {"previous": None}, {f"{EVIDENCE}/manifests/{{}}.json"}),
        (lambda m: {"newest": m.newest.model_copy(update={"channels": None})}, {MANIFEST}),
        (lambda m: {"newest": m.newest.model_copy(update={"judged_at": AS_OF})}, {MANIFEST}),
        (lambda m: {"files": tuple(map(of_another_size, m.files))}, LEDGERS),
    ],
    ids=[
        *("policy", "columns", "consent", "channels", "reasons", "rules", "totals"),
        *("judged_at", "previous", "no newest registry", "an older newest", "size of a part"),
    ],
)
def test_a_manifest_that_was_altered_and_sealed_anew(
    change: Callable[[Manifest], dict[str, Any]], named: set[str], dst: Path
) -> None:
    previous = read(dst).previous
    reseal(dst, **change(read(dst)))
    assert found(dst).keys() == {name.format(previous) for name in named}


def write_over(dst: Path, name: str, table: pa.Table) -> None:
    """Replace a file, and what the manifest says of it."""
    metadata = pq.read_schema(dst / name).metadata
    pq.write_table(table.replace_schema_metadata(metadata), dst / name)
    sign_off(dst, name)


def sign_off(dst: Path, name: str) -> None:
    """Put a file's size, rows and digest into the manifest, as a forger would."""
    manifest, rows = read(dst), pq.read_metadata(dst / name).num_rows
    files = []
    for record in manifest.files:
        for part in ("output", "ledger"):
            old = getattr(record, part)
            if old.path == name:
                new: dict[str, Any] = {"size_bytes": (dst / name).stat().st_size, "rows": rows}
                new |= {"sha256": digest_file(dst / name)}
                record = record.model_copy(update={part: old.model_copy(update=new)})
        files.append(record)
    reseal(dst, files=tuple(files))


def test_admitted_rows_that_were_added_and_sealed(src: Path, dst: Path) -> None:
    everything = pq.read_table(src / "a.parquet")
    write_over(dst, "a.parquet", everything)
    what = found(dst, gate=mixed_gate(name="second"))
    assert what.keys() == {MANIFEST, "a.parquet", f"{EVIDENCE}/ledger/a.parquet"}
    assert "rows that the gate excludes" in what["a.parquet"]
    assert "which does not add up" in what[MANIFEST]


def test_admitted_rows_that_were_exchanged_and_sealed(src: Path, dst: Path) -> None:
    """The same number of rows: only judging them anew can tell."""
    rows = pq.read_table(dst / "a.parquet").num_rows
    write_over(dst, "a.parquet", pq.read_table(src / "a.parquet").slice(0, rows))
    what = found(dst, gate=mixed_gate(name="second"))
    assert "rows that the gate excludes" in what["a.parquet"]


@pytest.mark.parametrize(
    "forge",
    [
        lambda t: pa.concat_tables([t.slice(1), t.slice(1, 1)]),
        lambda t: t.set_column(1, t.schema.field(1), pc.add(t["row"], 10_000)),
        lambda t: t.set_column(3, t.schema.field(3), pa.array([1] * len(t), pa.uint32())),
        lambda t: t.set_column(3, t.schema.field(3), pa.array([0] * len(t), pa.uint32())),
    ],
    ids=["row twice", "rows of nowhere", "other reasons", "no reasons"],
)
def test_a_ledger_that_was_altered_and_sealed(
    forge: Callable[[pa.Table], pa.Table], dst: Path
) -> None:
    name = f"{EVIDENCE}/ledger/a.parquet"
    table = pq.read_table(dst / name)
    write_over(dst, name, forge(table))
    findings = [finding for finding in cg.audit(dst) if finding.path == name]
    assert findings


def forge_metadata(path: Path, to_arrow: dict[str, str], to_all: dict[str, str]) -> None:
    """Change a Parquet file's metadata: those that only Arrow reads, or those that all read."""
    file, keyed = pq.ParquetFile(path), {f"consentgate.{k}": v for k, v in to_all.items()}
    metadata = {**file.metadata.metadata, **{k.encode(): v.encode() for k, v in keyed.items()}}
    shown = file.schema_arrow.with_metadata(
        metadata | {f"consentgate.{k}".encode(): v.encode() for k, v in to_arrow.items()}
    )
    metadata[b"ARROW:schema"] = base64.b64encode(shown.serialize().to_pybytes())
    table = file.read().replace_schema_metadata(None)
    with pq.ParquetWriter(path, table.schema, store_schema=False) as writer:
        writer.write_table(table)
        writer.add_key_value_metadata(metadata)


@pytest.mark.parametrize(
    ("to_arrow", "to_all", "what"),
    [
        ({}, {"version": "9.9"}, "was written by another version of consentgate than"),
        ({}, {"format": "consentgate-ledger-9"}, "has the format 'consentgate-ledger-9'"),
        ({}, {"format": "x"}, "no part of a ledger"),
        ({"reason_names": '{"0": "x"}'}, {}, "was written for another gate"),
        ({}, {}, None),
    ],
    ids=["version", "later format", "no format", "names that Arrow reads", "nothing"],
)
def test_a_ledger_that_says_another_thing_of_itself(
    to_arrow: dict[str, str], to_all: dict[str, str], what: str | None, dst: Path
) -> None:
    name = f"{EVIDENCE}/ledger/a.parquet"
    forge_metadata(dst / name, to_arrow, to_all)
    sign_off(dst, name)
    findings = found(dst)
    assert findings.keys() == ({name} if what else set())
    assert what is None or what in findings[name]


def test_an_output_that_names_a_registry_where_there_is_none(tmp_path: Path) -> None:
    gate = make_gate(columns=cg.Columns(channels=(), visibility="seen"))
    (tmp_path / "src").mkdir()
    pq.write_table(message_table(seen=["public"]), tmp_path / "src" / "a.parquet")
    cg.run(gate, tmp_path / "src", tmp_path / "dst")
    assert cg.audit(tmp_path / "dst") == ()
    forge_metadata(tmp_path / "dst" / "a.parquet", {}, {"registry_digest": "0" * 64})
    sign_off(tmp_path / "dst", "a.parquet")
    assert found(tmp_path / "dst")["a.parquet"] == "names another gate than the manifest"


# judging anew


def test_another_gate_is_refused(dst: Path) -> None:
    with pytest.raises(cg.ConfigurationError, match="judged by"):
        cg.audit(dst, gate=make_gate())


def test_a_gate_that_would_exclude_is_told(dst: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = make_gate(make_consent(subject_id=list(range(1, 20))))
    monkeypatch.setattr(cg.Gate, "digest", read(dst).judgement.gate_digest)
    what = found(dst, gate=other)
    assert what.keys() == set(NAMES)
    assert all("no_consent_record" in words for words in what.values())
