"""Reprs of objects are short and useful, and show no id of a person."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import rich.pretty

import consentgate as cg
from consentgate.runs.manifest import RunState
from tests.build import (
    AS_OF,
    make_channels,
    make_consent,
    make_gate,
    message_table,
)
from tests.leaks import MARK, displays, is_ours, within

VISIBLE = cg.Columns(channels=(), visibility="seen_by")


def test_a_gate_shows_its_policy_and_what_is_on_record() -> None:
    gate = make_gate(make_consent(subject_id=list(range(1_200))), name="train-2026")
    assert repr(gate) == (
        "<Gate 'train-2026': 1,200 consent records as of 2026-03-01T00:00:00Z, 1 channel as of "
        "2026-03-01T00:00:00Z, judged at 2026-03-02T00:00:00Z>"
    )


def test_a_gate_without_channels_and_instant_shows_neither() -> None:
    gate = cg.Gate(cg.Policy(), make_consent(), columns=VISIBLE)
    assert repr(gate) == "<Gate 'default': 1 consent record as of 2026-03-01T00:00:00Z>"


def test_an_opened_gate_shows_its_digest(tmp_path: Path) -> None:
    cg.Gate(cg.Policy(), make_consent(), make_channels()).save(tmp_path / "a.gate")
    gate = cg.Gate.open(tmp_path / "a.gate")
    assert repr(gate) == (
        "<Gate 'default': consent records as of 2026-03-01T00:00:00Z, channels as of "
        f"2026-03-01T00:00:00Z, digest {gate.digest[:12]}>"
    )


def test_a_policy_shows_what_is_not_as_by_default() -> None:
    assert repr(cg.Policy()) == "Policy(name='default')"
    policy = cg.Policy(
        name="spring",
        methods={"explicit", "bundled"},
        max_consent_age=timedelta(days=365),
        record_rules={"mine": {"column": "sender_id", "any_of": [MARK, "x"]}},
        subject_rules={"odd": {"column": "tier", "is_null": True}},
    )
    assert repr(policy) == (
        "Policy(name='spring', methods=['bundled', 'explicit'], "
        "max_consent_age=datetime.timedelta(days=365), record_rules=['mine'], "
        "subject_rules=['odd'])"
    )
    assert [repr(rule) for rule in policy.record_rules + policy.subject_rules] == [
        "Rule(name='mine', column='sender_id', test='any_of', values=2)",
        "Rule(name='odd', column='tier', test='is_null')",
    ]
    assert repr(cg.Policy(max_snapshot_age="none")) == (
        "Policy(name='default', max_snapshot_age=None)"
    )


def test_a_decision_shows_how_many_rows_each_reason_excludes() -> None:
    gate = make_gate()
    assert repr(gate.decide(message_table(sender_id=[1, 2, 2, None]))) == (
        "<Decision: 4 rows, 1 admitted, 3 excluded (subject_missing 1, no_consent_record 2)>"
    )
    assert repr(gate.decide(message_table())) == "<Decision: 1 rows, 1 admitted, 0 excluded>"


@pytest.fixture
def manifest(tmp_path: Path) -> cg.Manifest:
    """The manifest of a run over folders that are named after people."""
    for folder in (f"sender_id={MARK}", f"sender_id={MARK}!"):
        (tmp_path / "in" / folder).mkdir(parents=True)
        table = message_table(channel_id=[10, 12]).drop("sender_id")
        pq.write_table(table, tmp_path / "in" / folder / "a.parquet")
    gate = make_gate(make_consent(subject_id=[MARK]), name="spring")
    return cg.run(gate, tmp_path / "in", tmp_path / "out")


def test_a_manifest_shows_counts_and_what_judged(manifest: cg.Manifest) -> None:
    assert repr(manifest) == (
        "Manifest(files=2, rows=4, admitted=1, excluded=3, policy='spring', "
        f"judged_at='2026-03-02T00:00:00+00:00', digest='{manifest.digest[:12]}')"
    )


def test_nothing_of_a_manifest_shows_the_folders_of_people(manifest: cg.Manifest) -> None:
    assert MARK in manifest.files[0].input.path
    seen = set()
    for thing in filter(is_ours, within(manifest)):
        seen.add(type(thing).__name__)
        for text in displays(thing):
            assert MARK not in text, type(thing)
    assert seen >= {"FileRecord", "ReadFile", "WrittenFile", "PartitionValue", "Totals"}
    shown = repr(manifest.files[0].input), repr(manifest.files[0].input.partition)
    assert "rows=2" in shown[0]
    assert shown[1] == "(<PartitionValue: column 'sender_id', string>,)"


def test_the_state_of_a_run_does_not_show_its_source(manifest: cg.Manifest) -> None:
    fields: dict[str, Any] = {
        "judgement": manifest.judgement,
        "instant_from": "argument",
        "source": f"in/sender_id={MARK}",
        "started_at": AS_OF,
        "previous": None,
        "newest": manifest.newest,
    }
    state = RunState(**fields)
    assert MARK not in repr(state) + str(state) + rich.pretty.pretty_repr(state)


def test_a_store_and_what_follows_it_show_their_place(tmp_path: Path) -> None:
    store = cg.GateStore(tmp_path / "gates")
    assert repr(store) == f"<GateStore: {tmp_path}/gates>"
    live = cg.LiveGate(store, check_every=timedelta(seconds=30))
    assert repr(live) == f"<LiveGate of <GateStore: {tmp_path}/gates>, checked every 0:00:30>"
