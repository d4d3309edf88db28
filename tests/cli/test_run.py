"""`consentgate run`, `verify` and `compile`: what they write, what they say, and how they end."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pyarrow.parquet as pq
import pytest

import consentgate as cg
from consentgate.cli import progress
from tests.build import NOW, message_table
from tests.command import Runner, assert_paragraph, judge, shown_on_terminal
from tests.run_data import EVIDENCE, data_files
from tests.signing import write_keys

pytestmark = pytest.mark.usefixtures("source")

GATE = ["--gate", "the.gate", "--judged-at", NOW.isoformat()]


@pytest.fixture
def source(folder: Path) -> Path:
    """A folder of two files, half of whose rows are admitted."""
    for name in ("a.parquet", "deep/b.parquet"):
        path = folder / "src" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(message_table(sender_id=[1, 2] * 50), path)
    return folder / "src"


@pytest.fixture
def gate_file(run: Runner) -> Path:
    """A saved gate."""
    assert run("compile", "--out", "the.gate", *judge()[:-2]).code == 0
    return Path("the.gate").absolute()


def test_a_run_writes_a_data_set_and_its_evidence(run: Runner, folder: Path) -> None:
    outcome = run("run", "src", "dst", *judge())
    assert (outcome.code, outcome.err) == (0, "")
    assert data_files(Path("dst")).keys() == {"a.parquet", "deep/b.parquet"}
    assert re.search(r"judged +200 ", outcome.out)
    assert re.search(r"consent_withdrawn +100 +100", outcome.out)
    assert outcome.out.endswith(
        f"2 files are in {folder}/dst; the evidence is {folder}/dst/_consentgate/manifest.json\n"
    )


def test_a_saved_gate_does_the_same(run: Runner, gate_file: Path) -> None:
    run("run", "src", "one", *judge())
    outcome = run("run", "src", "other", *GATE)
    assert outcome.code == 0
    assert data_files(Path("one")) == data_files(Path("other"))
    manifest = json.loads(Path("other", EVIDENCE, "manifest.json").read_text())
    assert manifest["gate_file"] == str(gate_file)
    assert manifest["identity"]["consent"]["source"] == "consent.parquet"


def test_json_is_an_object_a_line(run: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "JSON_EVERY_S", 0.0)
    outcome = run("run", "src", "dst", "--json", *judge())
    *lines, end = map(json.loads, outcome.out.splitlines())
    assert lines and all(line["event"] == "progress" for line in lines)
    assert lines[-1]["rows"] == lines[-1]["of_rows"] == 200
    assert lines[-1]["admitted"] == 100
    assert end == {
        "event": "finished",
        "files": 2,
        "rows": 200,
        "admitted": 100,
        "excluded": 100,
        "counts": {"consent_withdrawn": 100},
        "occurrences": {"consent_withdrawn": 100},
        "manifest": str(Path("dst/_consentgate/manifest.json").absolute()),
    }


def test_json_tells_failures_too(run: Runner, source: Path) -> None:
    (source / "a.parquet").write_bytes(b"no Parquet")
    outcome = run("run", "src", "dst", "--json", *judge())
    assert outcome.code == 1
    failed = json.loads(outcome.out.splitlines()[-1])
    assert (failed["event"], failed["code"]) == ("failed", "run_incomplete")
    assert "a.parquet" in failed["message"]
    assert_paragraph(outcome.err, "run_incomplete")


def test_in_a_pipe_there_is_a_line_now_and_then(
    run: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "LINE_EVERY_S", 0.0)
    outcome = run("run", "src", "dst", *judge())
    line = r"200 of 200 \(100%\) rows, [\d,]+ rows/s, 50% admitted, 1 min left\n"
    assert re.search(line, outcome.err)


def test_a_line_is_due_once_a_minute(run: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(range(0, 10_000, 25))
    monkeypatch.setattr("consentgate.cli.progress.time.monotonic", lambda: next(clock))
    outcome = run("run", "src", "dst", *judge())
    assert outcome.err.count("\n") == 1  # five reports, 25 seconds apart


@pytest.mark.usefixtures("folder")
def test_on_a_terminal_there_is_a_bar() -> None:
    shown = shown_on_terminal("run", "src", "dst", *judge())
    assert "200 rows" in shown
    assert re.search(r"50% admitted", shown)


def test_fail_fast(run: Runner, source: Path) -> None:
    (source / "a.parquet").write_bytes(b"no Parquet")
    assert run("run", "src", "dst", "--fail-fast", *judge()).code == 1
    assert not data_files(Path("dst"))
    assert run("run", "src", "dst", *judge()).code == 1
    assert data_files(Path("dst")).keys() == {"deep/b.parquet"}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "Missing option '--policy'"),
        (["--policy", "policy.toml"], "Missing option '--consent'"),
        (["--gate", "the.gate", "--policy", "policy.toml"], "--policy cannot be given with --gate"),
        (
            ["--gate", "the.gate", "--created-at-column", "at"],
            "--created-at-column cannot be given with --gate",
        ),
    ],
)
@pytest.mark.usefixtures("gate_file")
def test_options_that_do_not_fit_together(arguments: list[str], words: str, run: Runner) -> None:
    outcome = run("run", "src", "dst", *arguments)
    assert outcome.code == 2
    assert words in outcome.err
    assert not Path("dst").exists()


@pytest.mark.usefixtures("gate_file")
def test_a_gate_judges_single_files_too(run: Runner) -> None:
    assert run("filter", "src/a.parquet", "--out", "out", *GATE).code == 0
    assert pq.read_metadata("out/admitted.parquet").num_rows == 50


@pytest.mark.usefixtures("gate_file")
def test_explaining_takes_the_records(run: Runner) -> None:
    outcome = run("explain", "src/a.parquet", "1", *GATE)
    assert outcome.code == 2
    assert "holds no consent records" in outcome.err


def test_compile_replaces_only_with_overwrite(run: Runner, gate_file: Path) -> None:
    before = gate_file.read_bytes()
    refused = run("compile", "--out", "the.gate", *judge())
    assert refused.code == 1
    assert_paragraph(refused.err, "output")
    assert gate_file.read_bytes() == before
    outcome = run("compile", "--out", "the.gate", "--overwrite", *judge())
    assert outcome.out == f"wrote the.gate, the gate {cg.Gate.open(gate_file).digest}\n"


@pytest.mark.parametrize("name", ["policy.toml", "consent.parquet", "channels.parquet"])
def test_compile_does_not_replace_what_it_reads(name: str, run: Runner) -> None:
    outcome = run("compile", "--out", name, "--overwrite", *judge())
    assert outcome.code == 1
    assert "would replace a file that this command reads" in outcome.err


def test_a_gate_compiled_for_an_instant_keeps_it(run: Runner) -> None:
    run("compile", "--out", "then.gate", *judge())
    assert cg.Gate.open("then.gate").judged_at == NOW
    assert run("filter", "src/a.parquet", "--out", "out", "--gate", "then.gate").code == 0
    again = run("compile", "--out", "x", "--gate", "then.gate")
    assert again.code == 2
    assert "is compiled already" in again.err


def test_keys_in_a_uri_are_not_said(run: Runner) -> None:
    uri = "s3://AKIA:SECRET@bucket/clean?endpoint_override=127.0.0.1:9&scheme=http"
    outcome = run("run", "src", uri, "--json", *judge())
    assert outcome.code == 1
    assert "AKIA" not in outcome.out + outcome.err
    assert "SECRET" not in outcome.out + outcome.err


def test_all_files_that_failed_are_in_the_json(run: Runner, source: Path) -> None:
    for name in ("a.parquet", "deep/b.parquet"):
        (source / name).write_bytes(b"no Parquet")
    outcome = run("run", "src", "dst", "--json", *judge())
    files = json.loads(outcome.out.splitlines()[-1])["files"]
    assert [(file["path"], file["code"]) for file in files] == [
        ("a.parquet", "unreadable_file"),
        ("deep/b.parquet", "unreadable_file"),
    ]


# verify


@pytest.mark.usefixtures("gate_file")
def test_verify_says_that_all_is_well(run: Runner) -> None:
    run("run", "src", "dst", *GATE)
    plain = run("verify", "dst")
    assert (plain.code, plain.out) == (0, "every file is as the manifest says\n")
    anew = run("verify", "dst", "--rejudge", "--source", "src")
    assert anew.code == 0
    assert anew.out.endswith("says, and the gate admits every row again\n")
    assert json.loads(run("verify", "dst", "--json").out) == {"findings": []}


def test_verify_names_what_is_wrong(run: Runner) -> None:
    run("run", "src", "dst", *judge())
    Path("dst/a.parquet").unlink()
    Path("dst/new\x1b[31m.parquet").touch()
    outcome = run("verify", "dst")
    assert outcome.code == 1
    assert outcome.out.splitlines() == [
        "a.parquet: is missing",
        r"new\x1b[31m.parquet: was added; no manifest names it",
        "2 findings: do not train on this.",
    ]
    machine = run("verify", "dst", "--json")
    assert machine.code == 1
    findings = json.loads(machine.out)["findings"]
    assert findings[0] == {"path": "a.parquet", "what": "is missing"}


@pytest.mark.usefixtures("gate_file")
def test_rejudging_takes_the_gate(run: Runner) -> None:
    run("run", "src", "dst", *judge())
    outcome = run("verify", "dst", "--rejudge")
    assert outcome.code == 2
    assert "consentgate compile" in outcome.err
    assert run("verify", "dst", "--gate", "the.gate").code == 0


def test_rejudging_verifies_the_gate_itself(run: Runner, gate_file: Path) -> None:
    run("run", "src", "dst", *GATE)
    content = bytearray(gate_file.read_bytes())
    content[-1] ^= 1
    gate_file.write_bytes(content)
    outcome = run("verify", "dst", "--rejudge")
    assert outcome.code == 1
    assert_paragraph(outcome.err, "damaged_gate")


def test_signing_and_verifying(run: Runner) -> None:
    private, public = write_keys(Path())
    assert run("run", "src", "dst", "--sign-with", str(private), *judge()).code == 0
    assert run("verify", "dst", "--public-key", str(public)).code == 0
    assert run("verify", "dst").code == 2
    Path("dst", EVIDENCE, "manifest.dsse.json").unlink()
    assert run("verify", "dst", "--public-key", str(public)).code == 1


@pytest.mark.parametrize("where", ["nowhere", "src"])
def test_verify_needs_a_run(where: str, run: Runner) -> None:
    outcome = run("verify", where)
    assert outcome.code == 1
    assert_paragraph(outcome.err, "manifest")
