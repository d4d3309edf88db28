"""Files that releases wrote are read and verified as they were, by this and by later versions."""

from __future__ import annotations

import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow.parquet as pq
import pytest

import consentgate as cg
from consentgate.identity import VERSION
from consentgate.reasons import REASONS, RULES_VERSION
from consentgate.runs.manifest import Manifest, RunState
from consentgate.runs.records import to_json
from consentgate.storage import Folder
from tests.build import make_gate
from tests.command import Runner
from tests.kept.make import KEPT
from tests.run_data import EVIDENCE, as_of, mixed_gate, mixed_messages

RELEASES = sorted(path.parent.name for path in KEPT.glob("*/recorded.json"))
MANIFEST, STATE = f"{EVIDENCE}/manifest.json", f"{EVIDENCE}/run.json"
PART = f"{EVIDENCE}/ledger/a.parquet"


@pytest.fixture(params=RELEASES)
def kept(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A copy of the files of a release."""
    shutil.copytree(KEPT / request.param, tmp_path / "kept")
    return tmp_path / "kept"


def recorded(kept: Path) -> Any:
    """The facts that the release found in its files."""
    return json.loads((kept / "recorded.json").read_text())


def this_version(_: pytest.MonkeyPatch) -> None:
    """The version that there is."""


def with_another_reason(patch: pytest.MonkeyPatch) -> None:
    """A later version, with a built-in reason more."""
    later = SimpleNamespace(
        bit=len(REASONS), code="later_reason", sentence="a later version says so"
    )
    patch.setattr("consentgate.reasons.REASONS", (*REASONS, later))


def with_renamed_reasons(patch: pytest.MonkeyPatch) -> None:
    """A later version, whose reasons have other names."""
    renamed = [SimpleNamespace(bit=r.bit, code=f"x_{r.code}", sentence="x") for r in REASONS]
    patch.setattr("consentgate.reasons.REASONS", tuple(renamed))


def under_other_rules(patch: pytest.MonkeyPatch) -> None:
    """A later version, which admits others."""
    for module in ("identity", "judging.judgement"):
        patch.setattr(f"consentgate.{module}.RULES_VERSION", RULES_VERSION + 1)


LATER = [with_another_reason, with_renamed_reasons, under_other_rules]
VERSIONS = pytest.mark.parametrize("become", [this_version, *LATER])
Become = Callable[[pytest.MonkeyPatch], None]


def test_this_release_has_kept_its_files() -> None:
    """Otherwise write them: `python -m tests.kept.make`."""
    assert VERSION in RELEASES


@pytest.mark.parametrize("release", RELEASES)
def test_kept_files_are_small(release: str) -> None:
    files = [path for path in (KEPT / release).rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 100_000


@VERSIONS
def test_an_audit_of_a_kept_run_finds_nothing(
    become: Become, kept: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    become(monkeypatch)
    key = kept / "key.pub"
    assert cg.audit(kept / "run", source=kept / "source", public_key=key) == ()
    with (kept / "run" / "a.parquet").open("ab") as file:
        file.write(b"x")
    assert [found.path for found in cg.audit(kept / "run", public_key=key)] == ["a.parquet"]


@VERSIONS
def test_a_kept_ledger_counts_under_its_own_names(
    become: Become, kept: Path, run: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    become(monkeypatch)
    for place, wanted in (("run", recorded(kept)["run"]), ("stream", recorded(kept)["stream"])):
        outcome = run("ledger", "counts", kept / place, "--json")
        assert outcome.code == 0, outcome.err
        found = json.loads(outcome.out)
        assert {key: found[key] for key in wanted} == wanted
        assert all(found["words"].values())
        assert found["judged_by"][0]["gate_digest"] == recorded(kept)["gate_digest"]


@VERSIONS
def test_a_kept_ledger_is_shown_and_explained_under_its_own_names(
    become: Become, kept: Path, run: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    become(monkeypatch)
    rows = [
        json.loads(line)
        for line in run("ledger", "show", kept / "run", "--json", "--limit", "0").out.splitlines()
    ]
    assert len(rows) == recorded(kept)["run"]["excluded"]
    known = set(recorded(kept)["reason_names"].values())
    assert {code for row in rows for code in row["reasons"]} <= known
    explained = run("ledger", "explain", kept / "run", str(rows[0]["record_id"])).out
    assert f"  - {rows[0]['reason']}: " in explained


def test_a_reason_that_this_version_does_not_know_is_told_as_such(
    kept: Path, run: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("consentgate.reasons.REASONS", REASONS[1:])
    words = json.loads(run("ledger", "counts", kept / "run", "--json").out)["words"]
    assert words["private_channel"].startswith("a reason that this version does not know")
    assert words["quiet"] == "the policy excludes it by a rule on 'word'"


@VERSIONS
def test_the_state_of_a_kept_run_that_has_not_ended_is_read(
    become: Become, kept: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    become(monkeypatch)
    state = RunState.read(Folder.at(kept / "begun"))
    assert state is not None
    assert state.judgement.gate_digest == recorded(kept)["gate_digest"]


# the kept gate


def test_a_kept_gate_judges_as_it_did_or_is_refused(kept: Path) -> None:
    identity = kept_manifest(kept).identity
    if identity.other_rules:
        with pytest.raises(cg.GateFileError, match="compile the gate anew"):
            cg.Gate.open(kept / "kept.gate")
        return
    gate = cg.Gate.open(kept / "kept.gate", verify=True)
    assert gate.identity == identity
    assert gate.decide(mixed_messages(40)).counts == recorded(kept)["stream"]["counts"]
    assert cg.audit(kept / "run", gate=gate, public_key=kept / "key.pub") == ()


@pytest.mark.parametrize("become", LATER)
def test_a_gate_of_other_rules_is_refused_plainly(
    become: Become, kept: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    become(monkeypatch)
    with pytest.raises(cg.GateRulesError) as caught:
        cg.Gate.open(kept / "kept.gate")
    said, rules = str(caught.value), kept_manifest(kept).identity.rules_version
    assert f"was made by consentgate {kept_manifest(kept).judgement.version} " in said
    assert said.endswith("compile the gate anew from its policy, snapshot and registry.")
    if become is under_other_rules or rules != RULES_VERSION:
        assert f"under rules {rules}, but this version ({VERSION}) judges by rules" in said
    else:
        assert "other built-in reasons" in said


@pytest.mark.parametrize("become", LATER)
def test_a_pickle_of_a_gate_of_other_rules_is_refused(
    become: Become, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would judge by the later rules, and its ledgers would name the earlier ones."""
    gate = mixed_gate()
    pickled = pickle.dumps(gate)
    messages = mixed_messages(9)
    assert pickle.loads(pickled).decide(messages).counts == gate.decide(messages).counts
    become(monkeypatch)
    with pytest.raises(cg.GateRulesError, match="other rules of judgement than this version has"):
        pickle.loads(pickled)


def kept_manifest(kept: Path) -> Manifest:
    """The manifest of the kept run."""
    return Manifest.model_validate_json((kept / "run" / MANIFEST).read_bytes())


def test_a_gate_of_earlier_rules_is_no_obstacle_to_publishing_a_newer_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The snapshot that it was made of can still be read, so an older gate is refused."""
    store = cg.GateStore(tmp_path / "store")
    gate = clock_gate(make_gate(max_snapshot_age="none"))
    store.publish(clock_gate(as_of(gate)))
    under_other_rules(monkeypatch)
    with pytest.raises(cg.GateRulesError, match="judges by rules"):
        store.current()
    fresh = clock_gate(gate)
    with pytest.raises(cg.StaleSnapshotError, match="older than the current one"):
        store.publish(fresh)
    store.publish(clock_gate(as_of(gate)))
    assert store.current().identity.rules_version == RULES_VERSION + 1


def clock_gate(gate: cg.Gate) -> cg.Gate:
    """The gate anew, without an instant of judgement of its own."""
    assert gate.consent is not None
    return cg.Gate(gate.policy, gate.consent, gate.channels, columns=gate.columns)


@pytest.mark.parametrize(("version", "error"), [(9, cg.GateFileError), (1, cg.NewerGateError)])
def test_a_gate_of_another_file_version_is_refused(
    version: int, error: type[Exception], kept: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("consentgate.storage.sections.VERSION", version)
    with pytest.raises(error, match=rf"but this release reads version {version}; ") as caught:
        cg.Gate.open(kept / "kept.gate")
    assert ("install a newer consentgate" in str(caught.value)) == (version == 1)


# judging a run again


@pytest.mark.parametrize("become", LATER)
def test_judging_again_under_other_rules_is_one_message(
    become: Become, kept: Path, run: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate, key = mixed_gate(), kept / "key.pub"
    become(monkeypatch)
    with pytest.raises(
        cg.ConfigurationError, match="cannot be judged again as they were"
    ) as caught:
        cg.audit(kept / "run", gate=gate, public_key=key)
    assert f"install consentgate {kept_manifest(kept).judgement.version}" in str(caught.value)
    for more in (["--rejudge"], ["--gate", kept / "kept.gate"]):
        outcome = run("verify", kept / "run", "--public-key", key, *more)
        assert (outcome.code, outcome.out) == (2, "")
        assert "cannot be judged again" in outcome.err


# what a newer version wrote


def rewrite(path: Path, change: Callable[[Any], None]) -> None:
    """Change JSON in a file."""
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content, indent=2) + "\n")


def later_format(content: Any) -> None:
    content["format"] = content["format"][:-1] + "9"


def more_entries(content: Any) -> None:
    content["judgement"]["version"], content["more"] = "9.1.0", 1


def more_entries_within(content: Any) -> None:
    content["judgement"] |= {"version": "9.1.0", "more": 1}


NEWER = [later_format, more_entries, more_entries_within]


@pytest.mark.parametrize("change", NEWER)
@pytest.mark.parametrize("name", [f"run/{MANIFEST}", f"begun/{STATE}"])
def test_what_a_newer_version_wrote_is_refused_plainly(
    name: str, change: Callable[[Any], None], kept: Path
) -> None:
    rewrite(kept / name, change)
    folder = kept / name.partition("/")[0]
    actions: list[Callable[[], object]] = [lambda: cg.run(mixed_gate(), kept / "source", folder)]
    if folder.name == "run":
        actions.append(lambda: cg.audit(folder))
    for action in actions:
        with pytest.raises(cg.NewerEvidenceError, match="install") as caught:
            action()
        assert "input" not in str(caught.value) and "pydantic" not in str(caught.value)


def test_an_unknown_entry_in_what_this_version_wrote_was_added(kept: Path) -> None:
    def change(content: Any) -> None:
        content["judgement"]["version"], content["more"] = VERSION, 1

    rewrite(kept / "run" / MANIFEST, change)
    with pytest.raises(cg.ManifestError, match=r"\(more: an entry that .*cut off or al") as caught:
        cg.audit(kept / "run")
    assert type(caught.value) is cg.ManifestError


def rewrite_metadata(path: Path, **changes: str) -> None:
    """Change a Parquet file's metadata."""
    file = pq.ParquetFile(path)
    metadata = {k: v for k, v in file.metadata.metadata.items() if k != b"ARROW:schema"}
    metadata |= {f"consentgate.{key}".encode(): text.encode() for key, text in changes.items()}
    pq.write_table(file.read().replace_schema_metadata(metadata), path)


def test_a_ledger_of_a_later_format_is_refused_and_stays(kept: Path, run: Runner) -> None:
    (part,) = (kept / "stream").iterdir()
    rewrite_metadata(part, format="consentgate-ledger-9")
    for command in (["counts"], ["show"], ["explain"]):
        record = ["1"] if command == ["explain"] else []
        outcome = run("ledger", *command, kept / "stream", *record)
        assert outcome.code == 1
        assert "'consentgate-ledger-9'" in outcome.err and "install a newer" in outcome.err
    part = kept / "begun" / EVIDENCE / "ledger" / "day=1" / "b.parquet"
    rewrite_metadata(part, format="consentgate-ledger-9")
    before, source = part.read_bytes(), str(kept / "source")
    rewrite(kept / "begun" / STATE, lambda content: content.update(source=source))
    with pytest.raises(cg.NewerEvidenceError, match="install a newer consentgate"):
        cg.run(mixed_gate(), kept / "source", kept / "begun", allow_older_snapshot=True)
    assert part.read_bytes() == before


@pytest.mark.parametrize("said", ["consentgate-ledger-0", "consentgate-ledger-x", "", "x-9"])
def test_a_ledger_of_no_format_is_no_ledger(said: str, kept: Path, run: Runner) -> None:
    (part,) = (kept / "stream").iterdir()
    rewrite_metadata(part, format=said)
    outcome = run("ledger", "counts", kept / "stream")
    assert outcome.code == 1 and "is not a part of a ledger" in outcome.err


def test_records_are_written_as_they_were(kept: Path) -> None:
    """Byte for byte, from what was read of them."""
    content = (kept / "run" / MANIFEST).read_bytes()
    assert to_json(Manifest.model_validate_json(content)) == content
