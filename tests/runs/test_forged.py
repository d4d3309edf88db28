"""Forged evidence: whatever stands in a destination, it is named, or an error of the library's."""

from __future__ import annotations

import json
import random
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import consentgate as cg
from consentgate.runs.manifest import Manifest
from consentgate.runs.records import to_json
from consentgate.storage.digests import digest_file
from consentgate.storage.layout import is_plain
from tests.command import Runner
from tests.processes import HANGING_S, ROOT
from tests.run_data import EVIDENCE, mixed_gate, write_files
from tests.signing import write_keys

NAMES = ["a.parquet", "b.parquet", "day=1/c.parquet"]
MANIFEST, STATE = f"{EVIDENCE}/manifest.json", f"{EVIDENCE}/run.json"
ENVELOPE = f"{EVIDENCE}/manifest.dsse.json"
PART = f"{EVIDENCE}/ledger/a.parquet"


def stop(progress: cg.Progress) -> None:
    """Ends a run once it judges the second file, before that is written."""
    if progress.rows_done > 900:
        raise KeyboardInterrupt


def stopped_run(src: Path, dst: Path, **options: Any) -> None:
    """A run that is stopped once one file is done."""
    with pytest.raises(KeyboardInterrupt):
        cg.run(mixed_gate(), src, dst, threads=1, on_progress=stop, **options)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A source, a signed run of it that follows another one, an unfinished run, and keys."""
    folder = tmp_path_factory.mktemp("made")
    write_files(folder / "src", NAMES)
    write_files(folder / "src", NAMES[:1], rows=900)  # the largest file is judged first
    private, _ = write_keys(folder)
    cg.run(mixed_gate(name="first"), folder / "src", folder / "dst", sign_with=private)
    mixed_gate().save(folder / "the.gate")
    gate = cg.Gate.open(folder / "the.gate")
    cg.run(gate, folder / "src", folder / "dst", sign_with=private)
    stopped_run(folder / "src", folder / "begun", sign_with=private)
    return folder


@pytest.fixture
def place(made: Path, tmp_path: Path) -> Path:
    """A copy of all that, with the source where it was."""
    for name in ("dst", "begun"):
        shutil.copytree(made / name, tmp_path / name)
    return tmp_path


# paths


@pytest.mark.parametrize(
    "path",
    [
        *(
            "../x",
            "a/../../x",
            "..",
            ".",
            "",
            "/etc/passwd",
            "a//b",
            "a/",
            "./a",
            "a/./b",
            "\0",
            "a\0b",
        ),
        *("..\\x", "a\\..\\x", "\\x", "C:\\x", "C:/x", "//host/x", "\ud800"),
    ],
)
def test_paths_that_lead_elsewhere_are_not_plain(path: str) -> None:
    assert not is_plain(path)


@pytest.mark.parametrize(
    "path", ["a", "a/b", "a..b/..c", "day=1/ä €.parquet", "12:00", "a\\b", "…"]
)
def test_paths_that_lead_down_are_plain(path: str) -> None:
    assert is_plain(path)


def reseal(dst: Path, change: Callable[[Any], None]) -> bool:
    """Alter the manifest and give it the digest that it then has; whether it still is one."""
    content = json.loads((dst / MANIFEST).read_text())
    change(content)
    try:
        manifest = Manifest.model_validate_json(json.dumps(content))
    except ValueError:
        (dst / MANIFEST).write_text(json.dumps(content))
        return False
    sealed = manifest.model_copy(update={"digest": manifest.content_digest()})
    (dst / MANIFEST).write_bytes(to_json(sealed))
    return True


@pytest.mark.parametrize("part", ["output", "ledger", "input"])
@pytest.mark.parametrize("path", ["../secret", "/etc/passwd", "a/../../secret", "..\\secret"])
def test_the_audit_follows_no_path_out_of_the_destination(
    part: str, path: str, place: Path, made: Path
) -> None:
    (place / "secret").write_text("of others")

    def change(content: Any) -> None:
        content["files"][0][part]["path"] = path

    assert not reseal(place / "dst", change)
    for audit in (cg.audit, lambda dst: cg.audit(dst, source=made / "src")):
        with pytest.raises(cg.ManifestError, match=r"is not a valid Manifest.*must lead down"):
            audit(place / "dst")


@pytest.mark.parametrize("name", [MANIFEST, STATE, ENVELOPE, f"{EVIDENCE}/lock"])
def test_an_output_cannot_be_a_file_of_the_evidence(name: str, place: Path) -> None:
    def change(content: Any) -> None:
        content["files"][0]["output"]["path"] = content["files"][0]["input"]["path"] = name

    assert not reseal(place / "dst", change)


@pytest.mark.parametrize("what", ["twice", "backwards"])
def test_a_manifest_names_each_file_once(what: str, place: Path) -> None:
    def change(content: Any) -> None:
        files = content["files"]
        content["files"] = files[::-1] if what == "backwards" else [files[0], *files]

    assert not reseal(place / "dst", change)


# links, pipes and devices

ODD_PLACES = ["a.parquet", "day=1", PART, MANIFEST, ENVELOPE, STATE, f"{EVIDENCE}/lock"]
ODD_PLACES += [f"{EVIDENCE}/drafts", f"{EVIDENCE}/seals", f"{EVIDENCE}/ledger/day=1", EVIDENCE]
LOOK = """
import json, os, pathlib, shutil, sys
import consentgate as cg
from consentgate.cli.ledger_files import Ledger
from tests.run_data import mixed_gate

folder, work = map(pathlib.Path, sys.argv[1:3])
src, key, public = folder / "src", folder / "key.pem", folder / "key.pub"
said = {}
for kind in ("pipe", "device", "link"):
    for name in sys.argv[3:]:
        for which in ("dst", "begun") if kind == "pipe" else ("dst",):
            dst, away = work / "copy", work / f"away {len(said)}"
            shutil.rmtree(dst, ignore_errors=True)
            shutil.copytree(folder / which, dst)
            path = dst / name
            if path.is_dir():
                path.rename(away)
            else:
                away.write_bytes(path.read_bytes() if path.exists() else b"")
                path.unlink(missing_ok=True)
            if kind == "pipe":
                os.mkfifo(path)
            else:
                path.symlink_to("/dev/zero" if kind == "device" else away)
            actions = {
                "audit": lambda: cg.audit(dst, public_key=public, source=src, gate=mixed_gate()),
                "run": lambda: cg.run(mixed_gate(), src, dst),
                "signed run": lambda: cg.run(mixed_gate(), src, dst, sign_with=key),
                "ledger": lambda: Ledger.open(str(dst)),
            }
            for action, look in actions.items():
                print(kind, name, which, action, file=sys.stderr, flush=True)
                try:
                    found = look()
                    result = sorted(f.path for f in found) if action == "audit" else "done"
                except cg.ConsentGateError as error:
                    result = type(error).__name__
                said[f"{kind} {name} {which} {action}"] = result
print(json.dumps(said))
"""


def test_links_pipes_and_devices_are_named_and_not_opened(made: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-c", LOOK, str(made), str(tmp_path), *ODD_PLACES]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=HANGING_S)
    assert done.returncode == 0, done.stderr[-2000:]
    said = json.loads(done.stdout)
    for what, result in said.items():
        _, name, which, *action = what.split()
        if "run" in action:
            assert result == "OutputError", what
        elif action == ["audit"]:
            gone = name in (MANIFEST, EVIDENCE) or which == "begun"
            assert result == "ManifestError" if gone else name in result, what


SOURCES = """
import os, pathlib, sys
import pyarrow.dataset as ds, pyarrow.fs as fs
import consentgate as cg
from tests.run_data import mixed_gate, write_files

folder = pathlib.Path(sys.argv[1])
write_files(folder / "src", ["a.parquet"])
os.mkfifo(folder / "src" / "pipe.parquet")
(folder / "src" / "zero.parquet").symlink_to("/dev/zero")
whole = next(ds.dataset(folder / "src" / "a.parquet", format="parquet").get_fragments())
for number, name in enumerate(["pipe.parquet", "zero.parquet"]):
    path = str(folder / "src" / name)
    fragment = whole.format.make_fragment(path, whole.filesystem)
    dataset = ds.FileSystemDataset([fragment], whole.physical_schema, whole.format)
    for source in (path, dataset):
        try:
            cg.run(mixed_gate(), source, folder / "dst")
        except cg.ConsentGateError as error:
            print(type(error).__name__)
"""


def test_a_source_that_is_a_pipe_or_a_device_is_an_error(tmp_path: Path) -> None:
    command = [sys.executable, "-c", SOURCES, str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=HANGING_S)
    assert done.returncode == 0, done.stderr[-2000:]
    assert len(done.stdout.split()) == 4


# anything else in place of what was written

DEEP = "[" * 50_000 + "]" * 50_000
JUNK: list[Any] = [
    *(
        None,
        True,
        -1,
        0,
        2**63,
        10**4000,
        1.5,
        "",
        "x",
        "../x",
        "\0",
        "0" * 64,
        [],
        {},
        [[]],
        {"": 0},
    ),
    *("0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "2026-03-02T00:00:00", "P9999999D"),
    ["\ud800"],
]


def ways(value: Any, way: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The way to everything in a JSON value."""
    yield way
    if isinstance(value, dict | list):
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield from ways(inner, (*way, key))


def mutated(content: Any, draw: random.Random) -> Any:
    """A JSON value with one thing in it replaced, removed or added."""
    copy = json.loads(json.dumps(content))
    way = draw.choice([way for way in ways(copy) if way])
    holder = copy
    for key in way[:-1]:
        holder = holder[key]
    fate = draw.randrange(10)
    if fate == 0:
        del holder[way[-1]]
    elif fate == 1 and isinstance(holder, dict):
        holder["new"] = draw.choice(JUNK)
    elif fate == 2:
        holder[way[-1]] = [holder[way[-1]]] * 2
    else:
        holder[way[-1]] = draw.choice(JUNK)
    return copy


def raw(content: Any, draw: random.Random) -> bytes:
    """It as JSON; now and then cut off, in disorder, or with something very deep in it."""
    text = json.dumps(content).encode()
    fate = draw.randrange(12)
    if fate == 0:
        return text[: draw.randrange(len(text))]
    if fate == 1:
        at = draw.randrange(len(text))
        return text[:at] + bytes([draw.randrange(256)]) + text[at + 1 :]
    if fate == 2:
        at = text.index(b":", draw.randrange(len(text) // 2)) + 1
        return text[:at] + DEEP.encode() + text[at:]
    return text


def looked_at(made: Path, dst: Path) -> list[Callable[[], object]]:
    """All that reads what is in a destination."""
    gate, public = mixed_gate(), made / "key.pub"
    source = made / "src"
    return [
        lambda: cg.audit(dst),
        lambda: cg.audit(dst, gate=gate, source=source, public_key=public),
        lambda: cg.run(gate, source, dst),
        lambda: cg.run(gate, source, dst, sign_with=made / "key.pem"),
    ]


def look(made: Path, dst: Path) -> None:
    """Look at a destination in every way; only the library's errors may come of it."""
    for action in looked_at(made, dst):
        with suppress(cg.ConsentGateError):
            action()


def told(run: Runner, dst: Path) -> None:
    """Let commands look at a destination; each has to end well, or with an error in words."""
    commands = [["verify", dst, "--rejudge"], ["verify", dst], ["ledger", "counts", dst]]
    commands += [["ledger", "show", dst], ["ledger", "explain", dst, "1"]]
    for command in commands:
        outcome = run(*map(str, command))
        assert outcome.code in (0, 1, 2), outcome
        assert "Traceback" not in outcome.err


@pytest.mark.parametrize("seed", range(16))
def test_any_json_in_place_of_the_manifest(seed: int, place: Path, made: Path, run: Runner) -> None:
    draw, dst = random.Random(seed), place / "dst"
    whole = json.loads((dst / MANIFEST).read_text())
    changed = mutated(whole, draw)
    if seed % 2 or not reseal(dst, lambda content: content.update(changed)):
        (dst / MANIFEST).write_bytes(raw(changed, draw))
    told(run, dst)
    look(made, dst)


@pytest.mark.parametrize("seed", range(8))
def test_any_json_in_place_of_the_state(seed: int, place: Path, made: Path) -> None:
    draw, dst = random.Random(seed), place / "begun"
    content = mutated(json.loads((dst / STATE).read_text()), draw)
    (dst / STATE).write_bytes(raw(content, draw))
    shutil.copy(dst / STATE, place / "dst" / STATE)
    look(made, place / draw.choice(["dst", "begun"]))


@pytest.mark.parametrize("seed", range(8))
def test_any_json_in_place_of_the_signature(seed: int, place: Path, made: Path) -> None:
    draw, dst = random.Random(seed), place / "dst"
    content = mutated(json.loads((dst / ENVELOPE).read_text()), draw)
    (dst / ENVELOPE).write_bytes(raw(content, draw))
    findings = cg.audit(dst, public_key=made / "key.pub")
    assert [finding.path for finding in findings] in ([], [ENVELOPE])
    look(made, dst)


@pytest.mark.parametrize("content", [b"", b"\xff" * 128, b"0" * 128, b"0" * 129, b"x", b"\0" * 9])
def test_anything_in_place_of_a_seal(content: bytes, place: Path, made: Path) -> None:
    seals = sorted((place / "dst" / EVIDENCE / "seals").iterdir())
    seals[0].write_bytes(content)
    (finding,) = cg.audit(place / "dst", public_key=made / "key.pub")
    assert finding.path == f"{EVIDENCE}/seals/{seals[0].name}"
    assert "is not the seal" in finding.what


def part_with(dst: Path, table: pa.Table | None = None, record: bytes | None = None) -> None:
    """Replace a part of the ledger, and what the manifest says of it, as a forger would."""
    metadata = {k: v for k, v in pq.read_metadata(dst / PART).metadata.items() if b"ARROW" not in k}
    if record is not None:
        metadata[b"consentgate.record"] = record
    table = pq.read_table(dst / PART) if table is None else table
    pq.write_table(table.replace_schema_metadata(metadata), dst / PART)

    def change(content: Any) -> None:
        content["files"][0]["ledger"] |= {
            "sha256": digest_file(dst / PART),
            "size_bytes": (dst / PART).stat().st_size,
            "rows": table.num_rows,
        }

    if (dst / MANIFEST).exists():
        assert reseal(dst, change)


@pytest.mark.parametrize("seed", range(8))
def test_any_json_in_place_of_what_a_part_says(
    seed: int, place: Path, made: Path, run: Runner
) -> None:
    draw = random.Random(seed)
    dst = place / draw.choice(["dst", "begun"])
    record = json.loads(pq.read_metadata(dst / PART).metadata[b"consentgate.record"])
    part_with(dst, record=raw(mutated(record, draw), draw))
    told(run, dst)
    look(made, dst)


def column(kind: str, rows: int) -> Any:
    """A column of some type."""
    columns: dict[str, Callable[[], Any]] = {
        "null": lambda: pa.nulls(rows),
        "bool": lambda: pa.array([True] * rows),
        "int8": lambda: pa.array([1] * rows, pa.int8()),
        "int64": lambda: pa.array([1] * rows, pa.int64()),
        "uint32": lambda: pa.array([2**32 - 1] * rows, pa.uint32()),
        "uint32 with nulls": lambda: pa.array([None] * rows, pa.uint32()),
        "far apart": lambda: pa.array([-(2**63), 2**63 - 1] * rows)[:rows],
        "float": lambda: pa.array([float("nan")] * rows),
        "string": lambda: pa.array(["x"] * rows),
        "binary": lambda: pa.array([b"\xff"] * rows),
        "view": lambda: pa.array(["x"] * rows, pa.string_view()),
        "decimal": lambda: pa.array([1] * rows, pa.decimal128(3)),
        "timestamp": lambda: pa.array([1] * rows, pa.timestamp("us", "UTC")),
        "duration": lambda: pa.array([1] * rows, pa.duration("ns")),
        "list": lambda: pa.array([[1]] * rows),
        "empty lists": lambda: pa.array([[]] * rows, pa.list_(pa.uint32())),
        "struct": lambda: pa.array([{"a": 1}] * rows),
        "map": lambda: pa.array([[("a", 1)]] * rows, pa.map_(pa.string(), pa.int8())),
        "coded": lambda: pa.array(["x"] * rows).dictionary_encode(),
        "coded nulls": lambda: pa.array([None] * rows, pa.string()).dictionary_encode(),
        "coded numbers": lambda: pa.array([1] * rows).dictionary_encode(),
        "uuid": lambda: pa.array([bytes(16)] * rows, pa.binary(16)).cast(pa.uuid()),
    }
    return columns[kind]()


KINDS = ["null", "bool", "int8", "int64", "uint32", "uint32 with nulls", "far apart", "float"]
KINDS += ["string", "binary", "view", "decimal", "timestamp", "duration", "list", "empty lists"]
ID_KINDS = {"int8", "int64", "far apart", "uint32", "uint32 with nulls"}
ID_KINDS |= {"string", "view", "uuid", "coded", "coded nulls", "coded numbers"}
KINDS += ["struct", "map", "coded", "coded nulls", "coded numbers", "uuid"]


def with_column(table: pa.Table, name: str, kind: str) -> pa.Table:
    """The table with a column of another type."""
    forged = column(kind, table.num_rows)
    is_nullable = name == "record_id" or forged.null_count > 0
    field = pa.field(name, forged.type, nullable=is_nullable)
    return table.set_column(table.schema.get_field_index(name), field, forged)


@pytest.mark.parametrize("kind", KINDS)
def test_a_ledger_with_columns_of_any_type(kind: str, place: Path, made: Path, run: Runner) -> None:
    dst = place / "dst"
    table = pq.read_table(dst / PART)
    for name in table.column_names:
        part_with(dst, with_column(table, name, kind))
        found = [finding.path for finding in cg.audit(dst, public_key=made / "key.pub")]
        assert PART in found or (name == "record_id" and kind in ID_KINDS)
        told(run, dst)
    for name in ("row", "reason"):
        table = with_column(table, name, kind)
    part_with(dst, table)
    look(made, dst)


@pytest.mark.parametrize(
    "table",
    [
        pa.table({}),
        pa.table({"row": [1]}),
        pa.table({name: pa.nulls(0) for name in ("record_id", "row", "reason", "reason_bits")}),
        pa.table([pa.nulls(1)] * 4, names=["record_id"] * 4),
        pa.table({"reason_bits": [1], "record_id": [1]}),
    ],
)
def test_a_ledger_of_other_columns(table: pa.Table, place: Path, made: Path) -> None:
    part_with(place / "dst", table)
    assert PART in [
        finding.path for finding in cg.audit(place / "dst", public_key=made / "key.pub")
    ]
    look(made, place / "dst")


@pytest.mark.parametrize("name", ["a.parquet", PART])
@pytest.mark.parametrize("content", [b"", b"PAR1", b"PAR1" * 3, b"\xff" * 100, b"\0" * 9])
def test_no_parquet_at_all(content: bytes, name: str, place: Path, made: Path) -> None:
    for which in ("dst", "begun"):
        (place / which / name).write_bytes(content)
        look(made, place / which)
        assert cg.audit(place / which, public_key=made / "key.pub", source=made / "src") == ()
