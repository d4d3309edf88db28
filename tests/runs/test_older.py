"""Runs do not undo withdrawals: what is older than what judged before is refused."""

from __future__ import annotations

import shutil
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

import consentgate as cg
from consentgate.runs.manifest import Seen
from consentgate.runs.records import to_json
from tests.build import AS_OF, MICRO, NOW, make_channels, make_consent, make_gate
from tests.command import Runner, assert_paragraph
from tests.run_data import EVIDENCE, all_files, as_of, data_files, digest, mixed_gate, write_files

HOUR = timedelta(hours=1)
NAMES = ["a.parquet", "b.parquet"]
FORTY = list(range(1, 41))


@pytest.fixture
def src(tmp_path: Path) -> Path:
    """A folder of two files of messages."""
    write_files(tmp_path / "src", NAMES)
    return tmp_path / "src"


def gate(
    consent: datetime = AS_OF, channels: datetime | None = AS_OF, *, withdrawn: int = 0, **more: Any
) -> cg.Gate:
    """A gate with a snapshot and a registry as of some instants.

    Args:
        withdrawn: how many subjects have withdrawn.
    """
    status = ["withdrawn" if n <= withdrawn else "given" for n in FORTY]
    snapshot = make_consent(subject_id=FORTY, status=status).table
    registry, columns = None, cg.Columns(channels=(), visibility="word")
    if channels is not None:
        registry = cg.ChannelRegistry.from_arrow(make_channels().table, as_of=channels)
        columns = cg.Columns()
    policy = cg.Policy(public_visibilities=["word 0"])
    if channels is not None:
        policy = cg.Policy()
    return cg.Gate(
        policy,
        cg.ConsentSnapshot.from_arrow(snapshot, as_of=consent),
        registry,
        columns=columns,
        judged_at=more.get("judged_at", NOW),
    )


def stop(_: cg.Progress) -> None:
    raise KeyboardInterrupt


def reseal(manifest: cg.Manifest, change: dict[str, Any]) -> bytes:
    """A manifest with other fields and a digest that fits, as it would be written."""
    draft = manifest.model_copy(update=change)
    return to_json(draft.model_copy(update={"digest": draft.content_digest()}))


def everything(dst: Path) -> dict[str, str]:
    """The digest of every file."""
    return {name: digest(dst / name) for name in all_files(dst)}


def refused(gate: cg.Gate, src: Path, dst: Path, words: str | None = None, **options: Any) -> None:
    """A run that is refused, and changes nothing."""
    before = everything(dst)
    with pytest.raises(cg.StaleSnapshotError, match=words):
        cg.run(gate, src, dst, **options)
    assert everything(dst) == before


LATER = AS_OF + HOUR
OLDER = {
    "snapshot": (gate(LATER, LATER, withdrawn=9), gate(AS_OF, LATER), "consent snapshot is as of"),
    "registry": (gate(LATER, LATER), gate(LATER, AS_OF), "channel registry is as of"),
    "snapshot, newer registry": (gate(LATER, AS_OF), gate(AS_OF, LATER), "consent snapshot"),
    "snapshot by a microsecond": (gate(AS_OF + MICRO), gate(AS_OF), "consent snapshot"),
    "same as_of, more consents": (gate(withdrawn=9), gate(), "nobody can tell which"),
    "same as_of, fewer consents": (gate(), gate(withdrawn=9), "nobody can tell which"),
    "instant": (gate(), gate(judged_at=NOW - MICRO), "its instant of judgement is"),
}


@pytest.mark.parametrize("how", ["ended", "begun", "killed at its end", "parts only", "past only"])
@pytest.mark.parametrize("what", OLDER)
def test_what_is_older_is_refused_unless_it_is_allowed(
    what: str, how: str, src: Path, dst: Path
) -> None:
    newer, older, words = OLDER[what]
    if how == "begun":
        with pytest.raises(KeyboardInterrupt):
            cg.run(newer, src, dst, on_progress=stop)
    else:
        first = cg.run(newer, src, dst)
    evidence = dst / EVIDENCE
    if how == "parts only":
        for path in (evidence / "manifest.json", *(dst / name for name in NAMES)):
            path.unlink()
    if how == "past only":
        past = f"{EVIDENCE}/manifests/{first.digest}.json"
        (evidence / "manifests").mkdir()
        (evidence / "manifest.json").rename(dst / past)
        shutil.rmtree(evidence / "ledger")
        for name in NAMES:
            (dst / name).unlink()
    if how == "killed at its end":
        shutil.copytree(dst, dst.with_name("copy"))
        (evidence / "manifest.json").unlink()
        with pytest.raises(KeyboardInterrupt):
            shutil.rmtree(dst)
            cg.run(newer, src, dst, on_progress=stop)
        shutil.copy(dst.with_name("copy") / EVIDENCE / "manifest.json", evidence / "manifest.json")
    refused(older, src, dst, words)
    manifest = cg.run(older, src, dst, allow_older_snapshot=True)
    assert manifest.allowed_older_snapshot
    left = [finding.path for finding in cg.audit(dst, gate=older)]
    assert left == ([past] if how == "past only" else [])  # the run that followed it is gone
    cg.run(older, src, dst.with_name("alone"))
    assert data_files(dst) == data_files(dst.with_name("alone"))


def test_what_was_allowed_once_is_not_allowed_for_ever(src: Path, dst: Path) -> None:
    newest, middle, oldest = (gate(AS_OF + n * HOUR, withdrawn=n) for n in (2, 1, 0))
    assert not cg.run(newest, src, dst).allowed_older_snapshot
    allowed = cg.run(oldest, src, dst, allow_older_snapshot=True)
    refused(oldest, src, dst)
    refused(middle, src, dst)
    assert cg.run(oldest, src, dst, allow_older_snapshot=True) == allowed
    again = cg.run(newest, src, dst)
    assert not again.allowed_older_snapshot
    assert again.newest.consent.as_of == AS_OF + 2 * HOUR
    assert cg.audit(dst) == ()


@pytest.mark.parametrize("what", ["snapshots", "registries"])
@pytest.mark.parametrize("how", ["ended", "begun", "manifest lost"])
def test_of_two_that_differ_as_of_one_instant_neither_is_forgotten(
    how: str, what: str, src: Path, dst: Path
) -> None:
    one, other = gate(), gate(withdrawn=9)
    if what == "registries":
        policy, consent = cg.Policy(), one.consent
        registry = cg.ChannelRegistry.from_arrow(make_channels(channel_id=[11]).table, as_of=AS_OF)
        assert consent is not None
        other = cg.Gate(policy, consent, registry, judged_at=NOW)
    cg.run(one, src, dst)
    with pytest.raises(KeyboardInterrupt) if how == "begun" else nullcontext():
        cg.run(
            other,
            src,
            dst,
            allow_older_snapshot=True,
            on_progress=stop if how == "begun" else None,
        )
    if how == "manifest lost":
        for path in (dst / EVIDENCE / "manifest.json", *(dst / name for name in NAMES)):
            path.unlink()
    for each in (one, other, one):
        refused(each, src, dst, "nobody can tell which")
        manifest = cg.run(each, src, dst, allow_older_snapshot=True)
        assert manifest.allowed_older_snapshot
        seen = manifest.newest.consent if what == "snapshots" else manifest.newest.channels
        assert seen is not None and len(seen.digests) == 2
        if how != "manifest lost":
            assert cg.audit(dst, gate=each, source=src) == ()
    newer = cg.run(gate(LATER, LATER), src, dst)
    assert not newer.allowed_older_snapshot
    for each in (one, other):
        refused(each, src, dst, "is as of")


def test_a_manifest_that_forgets_one_of_two_is_a_finding(src: Path, dst: Path) -> None:
    one, other = gate(), gate(withdrawn=9)
    cg.run(one, src, dst)
    manifest = cg.run(other, src, dst, allow_older_snapshot=True)
    forged = reseal(manifest, {"newest": manifest.own, "allowed_older_snapshot": False})
    (dst / EVIDENCE / "manifest.json").write_bytes(forged)
    (finding,) = cg.audit(dst)
    assert "leaves out what the run before it was judged by" in str(finding)


@pytest.mark.parametrize("order", [["b", "a"], ["a", "a"], []])
def test_digests_stand_in_order_once(order: list[str]) -> None:
    with pytest.raises(ValidationError):
        Seen(as_of=AS_OF, digests=tuple(letter * 64 for letter in order))


def test_allowing_what_need_not_be_allowed_is_not_recorded(src: Path, dst: Path) -> None:
    assert not cg.run(gate(), src, dst, allow_older_snapshot=True).allowed_older_snapshot
    assert not cg.run(gate(LATER), src, dst, allow_older_snapshot=True).allowed_older_snapshot


def test_an_unfinished_run_that_was_allowed_wants_the_option_again(src: Path, dst: Path) -> None:
    cg.run(gate(LATER, withdrawn=9), src, dst)
    with pytest.raises(KeyboardInterrupt):
        cg.run(gate(), src, dst, allow_older_snapshot=True, on_progress=stop)
    refused(gate(), src, dst)
    assert cg.run(gate(), src, dst, allow_older_snapshot=True).allowed_older_snapshot
    assert cg.audit(dst) == ()


def test_a_run_without_a_registry_does_not_make_it_forgotten(src: Path, dst: Path) -> None:
    cg.run(gate(AS_OF, LATER), src, dst)
    manifest = cg.run(gate(AS_OF, None), src, dst)
    assert not manifest.allowed_older_snapshot
    refused(gate(AS_OF, AS_OF), src, dst, "channel registry")
    cg.run(gate(AS_OF, LATER), src, dst)


def test_another_policy_may_judge_by_the_same_snapshot(src: Path, dst: Path) -> None:
    cg.run(mixed_gate(), src, dst)
    manifest = cg.run(mixed_gate(notice_versions=["n9"]), src, dst)
    assert not manifest.allowed_older_snapshot


def test_the_same_run_again_is_no_older_one(src: Path, dst: Path) -> None:
    first = cg.run(gate(), src, dst)
    assert cg.run(gate(), src, dst) == first


def test_a_clock_that_is_a_little_behind_is_no_older_run(src: Path, dst: Path) -> None:
    """Clocks of two machines differ; instants do not go back for that."""
    now = datetime.now(UTC)
    made = mixed_gate(max_snapshot_age=None)
    live = cg.Gate(made.policy, made.consent, made.channels)  # type: ignore[arg-type]
    first = cg.run(live, src, dst, judged_at=now + timedelta(minutes=2))
    second = cg.run(live, src, dst)
    assert second.judgement.judged_at == first.judgement.judged_at
    other = cg.run(live, src, dst, judged_at=now + timedelta(hours=2))
    refused(live, src, dst, "its instant of judgement is")
    assert other == cg.Manifest.model_validate_json((dst / EVIDENCE / "manifest.json").read_bytes())


def test_a_manifest_that_hides_what_came_before_is_a_finding(src: Path, dst: Path) -> None:
    """As one would be that came from a version that looks at no snapshot's age."""
    newer, older = gate(LATER, withdrawn=9), gate()
    cg.run(newer, src, dst)
    manifest = cg.run(older, src, dst, allow_older_snapshot=True)
    changes: list[dict[str, Any]] = [
        {"allowed_older_snapshot": False},
        {"allowed_older_snapshot": False, "newest": manifest.own},
    ]
    for change in changes:
        (dst / EVIDENCE / "manifest.json").write_bytes(reseal(manifest, change))
        assert [finding.path for finding in cg.audit(dst)] == [f"{EVIDENCE}/manifest.json"]


@pytest.mark.usefixtures("folder")
def test_the_command_line_refuses_and_allows(run: Runner, src: Path) -> None:
    newer, older = gate(LATER, LATER, withdrawn=9), gate()
    newer.save("newer.gate")
    older.save("older.gate")
    assert run("run", str(src), "dst", "--gate", "newer.gate").code == 0
    refused = run("run", str(src), "dst", "--gate", "older.gate")
    assert refused.code == 1
    assert_paragraph(refused.err, "stale_snapshot")
    assert "--allow-older-snapshot" in refused.err
    allowed = run("run", str(src), "dst", "--gate", "older.gate", "--allow-older-snapshot")
    assert allowed.code == 0
    verified = run("verify", "dst", "--rejudge")
    assert verified.code == 0
    assert "older than an earlier one, which was allowed: its consent snapshot" in verified.out


@pytest.mark.filterwarnings("ignore::consentgate.CoverageWarning")  # few subjects have a record
def test_gates_of_one_snapshot_and_more_are_told_apart(src: Path, dst: Path) -> None:
    cg.run(as_of(make_gate(make_consent(subject_id=[1]))), src, dst)
    refused(make_gate(make_consent(subject_id=[1, 2])), src, dst)
    cg.run(as_of(make_gate(make_consent(subject_id=[1, 2])), AS_OF + 2 * HOUR), src, dst)
