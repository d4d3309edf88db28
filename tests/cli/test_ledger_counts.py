"""`consentgate ledger counts`: rows by fate, reason and judge."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
import pytest

import consentgate as cg
from tests.build import make_consent, make_gate, message_table
from tests.cli.ledgers import NAMES, Command, run_mixed, stream_mixed
from tests.run_data import mixed_gate, mixed_messages, write_files

pytestmark = pytest.mark.usefixtures("small_batches")


def test_counts_are_those_of_the_manifest(ledger: Command) -> None:
    totals = run_mixed().totals
    found = ledger("counts", "out", "--json").json
    for key, value in totals.model_dump(mode="json").items():
        assert found[key] == value
    assert len(found["occurrences"]) > 3
    assert (found["files"], found["has_ended"]) == (3, True)


def test_counts_tell_rows_by_fate_and_reason_in_words(ledger: Command) -> None:
    Path("in").mkdir()
    table = message_table(sender_id=[1, 1, 2, None], channel_id=[10, 11, 11, 10])
    pq.write_table(table, "in/a.parquet")
    cg.run(make_gate(make_consent(subject_id=[1, 2], status=["given", "refused"])), "in", "out")
    outcome = ledger("counts", "out")
    assert outcome.lines[:3] == [
        ["judged", "4", "100.00%"],
        ["admitted", "1", "25.00%"],
        ["excluded", "3", "75.00%"],
    ]
    unknown = "nothing says whether the channel it was posted in is public"
    assert outcome.out.splitlines()[4:8] == [
        "reason           primary reason of  applies to",
        f"channel_unknown                  2           2  {unknown}",
        "subject_missing                  1           1  a data subject is not named",
        "consent_refused                  0           1  a data subject refused",
    ]
    assert "has not ended" not in outcome.out


def test_counts_tell_by_what_rows_were_judged(ledger: Command) -> None:
    manifest = run_mixed()
    identity = manifest.identity
    (judge,) = ledger("counts", "out", "--json").json["judged_by"]
    assert judge == {
        **manifest.judgement.model_dump(mode="json"),
        "policy_digest": identity.policy_digest,
        "snapshot_digest": identity.consent.digest,
        "snapshot_as_of": identity.consent.as_of.isoformat(),
        "snapshot_source": "Arrow data",
        "registry_digest": identity.channels.digest if identity.channels else None,
        "registry_as_of": identity.consent.as_of.isoformat(),
        "registry_source": "Arrow data",
    }
    out = ledger("counts", "out").out
    assert "judged at:         2026-03-02T00:00:00+00:00, by consentgate 0." in out
    assert f"policy:            {manifest.identity.policy_digest}" in out
    assert "consent snapshot:  as of 2026-03-01T00:00:00+00:00, from 'Arrow data'" in out
    assert "channel registry:  as of 2026-03-01T00:00:00+00:00, from 'Arrow data'" in out


def test_a_policys_rules_count_under_their_names_and_in_words(ledger: Command) -> None:
    rules = {"quiet": {"column": "word", "any_of": ["word 1"]}}
    totals = run_mixed(record_rules=rules).totals
    found = ledger("counts", "out", "--json").json
    assert found["occurrences"]["quiet"] == totals.occurrences["quiet"] > 0
    assert found["words"]["quiet"] == "the policy excludes it by a rule on 'word'"
    assert list(found["words"])[-1] == "quiet"


def test_counts_of_a_ledger_without_rows_are_none(ledger: Command) -> None:
    Path("in").mkdir()
    pq.write_table(message_table(), "in/a.parquet")
    cg.run(make_gate(), "in", "out")
    outcome = ledger("counts", "out")
    assert outcome.lines[2] == ["excluded", "0", "0.00%"]
    assert "reason" not in outcome.out
    shown = ledger("show", "out")
    assert (shown.code, shown.out, shown.err) == (0, "", "no row of the ledger matches\n")


def test_a_run_that_has_not_ended_counts_what_is_done_and_says_so(ledger: Command) -> None:
    rules = {"quiet": {"column": "word", "any_of": ["word 1"]}}
    write_files(Path("in"), NAMES, rows=100)
    Path("in/broken.parquet").write_bytes(b"PAR1 nothing PAR1")
    with pytest.raises(cg.RunIncompleteError):
        cg.run(mixed_gate(record_rules=rules), "in", "out")
    outcome = ledger("counts", "out")
    assert outcome.lines[0] == ["judged", "300", "100.00%"]
    assert "a rule of the policy excludes it" in outcome.out
    assert outcome.out.endswith("\nThe run has not ended; files done by now: 3\n")
    found = ledger("counts", "out", "--json").json
    assert (found["rows"], found["has_ended"]) == (300, False)
    assert "snapshot_source" not in found["judged_by"][0]


def test_a_streams_ledger_counts_over_its_parts(ledger: Command) -> None:
    stream_mixed(0, 100)
    decision = mixed_gate().decide(mixed_messages(200))
    found = ledger("counts", "streamed", "--json").json
    assert found["counts"] == dict(decision.counts)
    assert found["occurrences"] == dict(decision.occurrences)
    assert (found["files"], found["excluded"]) == (2, decision.num_excluded)
    assert found["rows"] is found["admitted"] is found["has_ended"] is None
    outcome = ledger("counts", "streamed")
    assert outcome.lines[0] == ["excluded", str(decision.num_excluded)]
    assert "ended" not in outcome.out


def test_judges_of_a_shared_ledger_are_told_apart(ledger: Command) -> None:
    stream_mixed(0, 100)
    batches = mixed_messages(100).to_batches()
    mixed_gate(name="other").stream(batches, ledger="streamed").read_all()
    judges = ledger("counts", "streamed", "--json").json["judged_by"]
    assert len({judge["policy_digest"] for judge in judges}) == len(judges) == 2


def test_the_ledger_of_a_run_can_be_named_by_itself_and_by_uri(ledger: Command) -> None:
    run_mixed()
    whole = ledger("counts", "out", "--json").json
    assert ledger("counts", Path("out").absolute().as_uri(), "--json").json == whole
    alone = ledger("counts", "out/_consentgate/ledger", "--json").json
    assert (alone["rows"], alone["counts"]) == (whole["rows"], whole["counts"])
    assert alone["has_ended"] is None
