"""datatrove: withdrawals that are published while documents are passed on, and odd documents."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from datatrove.data import Document
from datatrove.executor import LocalPipelineExecutor
from datatrove.pipeline.readers import JsonlReader
from datatrove.pipeline.writers import JsonlWriter

import consentgate as cg
from consentgate.adapters.datatrove import consent_filter
from consentgate.adapters.datatrove import filter as gated
from tests.build import WRITTEN
from tests.withdrawals import (
    SUBJECTS,
    Newest,
    assert_each_row_once,
    gate_without,
    ledger_of,
    sender_of,
)

BATCH_SIZES = pytest.mark.parametrize("batch_size", [1, 3, 7, 1000])


def documents(count: int) -> list[Document]:
    """Documents of every subject in turn."""
    known = {"channel_id": 10, "created_at": WRITTEN}
    keys = [{"message_id": n, "sender_id": sender_of(n), **known} for n in range(count)]
    return [Document(f"text {n}", f"id {n}", metadata=found) for n, found in enumerate(keys)]


def number_of(document: Document) -> int:
    return int(document.metadata["message_id"])


@BATCH_SIZES
def test_no_document_is_passed_on_that_the_current_gate_excludes(
    batch_size: int, tmp_path: Path
) -> None:
    store = cg.GateStore(tmp_path / "gates")
    store.publish(gate_without())
    live = store.live(check_every=timedelta(0))
    options: dict[str, Any] = {"batch_size": batch_size, "ledger": tmp_path / "ledger"}
    withdrawn, seen = set[int](), list[int]()
    for document in gated(documents(100), live, **options):
        seen.append(number_of(document))
        assert sender_of(seen[-1]) not in withdrawn
        if seen[-1] in (9, 35, 70):
            withdrawn.add(sender_of(seen[-1]))
            store.publish(gate_without(*withdrawn, hours=len(withdrawn)))
    assert {sender_of(number) for number in seen if number > 70} == {*SUBJECTS} - withdrawn
    assert_each_row_once(seen, tmp_path / "ledger", 100)


@BATCH_SIZES
def test_the_reason_is_that_of_the_gate_that_decided(batch_size: int, tmp_path: Path) -> None:
    gates = [gate_without(1), gate_without(2), gate_without(*SUBJECTS)]
    live: Any = Newest(gates[0])
    seen = []
    for document in gated(documents(24), live, batch_size=batch_size, ledger=tmp_path):
        seen.append(number_of(document))
        live.gate = gates[seen[-1] // 5]
        if seen[-1] > 9:
            live.gate = gates[2]
    snapshots = [gate.identity.consent.digest for gate in gates]
    by = {number: snapshot for number, (_, _, snapshot) in ledger_of(tmp_path).items()}
    assert seen == [1, 2, 3, 4, 5, 6, 7, 8, 10]
    assert [by[0], by[9], *{by[n] for n in range(11, 24)}] == snapshots


def test_documents_that_later_steps_change_are_not_judged_again() -> None:
    live: Any = Newest(gate_without())
    seen = []
    for document in gated(documents(16), live, batch_size=16):
        seen.append(number_of(document))
        document.metadata = {"sender_id": "changed"}
        live.gate = gate_without(3)
    assert [sender_of(number) for number in seen] == [*SUBJECTS[:2], *SUBJECTS[3:]] * 2


def test_a_pipelines_counts_are_those_of_what_was_passed_on(tmp_path: Path) -> None:
    live: Any = Newest(gate_without())
    step = consent_filter(live, batch_size=50, ledger=tmp_path)
    passed = []
    for document in step.run(iter(documents(80))):
        passed.append(document)
        live.gate = gate_without(3)
    stats = {name: stat.total for name, stat in step.stats.stats.items()}
    assert stats["total"] == 80
    assert (stats["forwarded"], stats["dropped"]) == (len(passed), 80 - len(passed)) == (70, 10)
    assert stats["dropped_consent_withdrawn"] == 10 == len(ledger_of(tmp_path))


def test_an_error_of_the_newer_gate_passes_nothing_on() -> None:
    live: Any = Newest(gate_without())
    seen = []
    policy = cg.Policy(max_snapshot_age=timedelta(minutes=1))
    consent, channels = gate_without().consent, gate_without().channels
    assert consent is not None
    stale = cg.Gate(policy, consent, channels)
    with pytest.raises(cg.StaleSnapshotError, match="old at the instant of judgement"):
        for document in gated(documents(16), live, batch_size=16):
            seen.append(number_of(document))
            live.gate = stale
    assert seen == [0]


# --- what is no document ------------------------------------------------------------------------


@BATCH_SIZES
def test_a_document_without_metadata_is_excluded(batch_size: int, tmp_path: Path) -> None:
    odd = Document("secret text", "secret id")
    odd.metadata = None
    known = documents(3)
    writer = JsonlWriter(str(tmp_path / "excluded"), compression=None)
    options: dict[str, Any] = {"batch_size": batch_size, "exclusion_writer": writer}
    with pytest.raises(cg.IdFamilyError, match="'message_id'"):  # its id is text, others' integers
        list(gated([*known, odd], gate_without(), ledger=tmp_path / "ledger", **options))
    for document in known:
        document.metadata["message_id"] = document.id
    assert list(gated([*known, odd], gate_without(), **options)) == known
    assert odd.metadata == {"filter_reason": "channel_unknown"}


@BATCH_SIZES
@pytest.mark.parametrize("metadata", [[], "sender_id", 3, ("sender_id", 1), object(), {1, 2}])
def test_metadata_that_is_no_dict_is_an_error(metadata: Any, batch_size: int) -> None:
    odd = Document("secret text", "secret id")
    odd.metadata = metadata
    with pytest.raises(cg.ColumnTypeError, match=r"metadata is of type '\w+' but must be a dict"):
        list(gated([odd], gate_without(), batch_size=batch_size))


@pytest.mark.parametrize("odd", ["text", 3, None, {"text": "a"}, object()])
def test_what_is_no_document_is_an_error(odd: Any) -> None:
    with pytest.raises(cg.NotArrowError, match="is not a datatrove Document"):
        list(gated([odd], gate_without()))


# --- arguments ----------------------------------------------------------------------------------

ODD: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"batch_size": "x"}, TypeError, "`batch_size` is of type 'str'"),
    ({"batch_size": None}, TypeError, "`batch_size` is of type 'NoneType'"),
    ({"batch_size": 0}, cg.ConfigurationError, "`batch_size` is 0"),
    ({"threads": "2"}, TypeError, "`threads` is of type 'str'"),
    ({"judged_at": "2026-01-01"}, TypeError, "`judged_at` is of type 'str'"),
    ({"judged_at": WRITTEN.replace(tzinfo=None)}, cg.ConfigurationError, "`judged_at` must be"),
    ({"ledger": 3}, TypeError, "`ledger` is of type 'int'"),
    ({"exclusion_writer": "excluded/"}, TypeError, "`exclusion_writer` is of type 'str'"),
]


@pytest.mark.parametrize(("options", "error", "message"), ODD)
def test_an_argument_that_does_not_fit_is_refused_at_once(
    options: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        gated([], gate_without(), **options)
    with pytest.raises(error, match=message):
        consent_filter(gate_without(), **options)


def test_what_is_no_gate_is_refused_at_once(tmp_path: Path) -> None:
    wrong: Any
    for wrong in (None, 3, "gate", cg.Policy(), (), cg.Gate, cg.GateStore(tmp_path)):
        with pytest.raises(TypeError, match="`gate` is"):
            gated([], wrong)
        with pytest.raises(TypeError, match="`gate` is"):
            consent_filter(wrong)
    turned: Any = gate_without()
    with pytest.raises(TypeError, match="gives no documents"):
        gated(turned, turned)


@pytest.mark.parametrize("what", ["file", "fifo"])
def test_a_ledger_that_is_no_folder_is_an_error(what: str, tmp_path: Path) -> None:
    place = tmp_path / "ledger"
    if what == "file":
        place.touch()
    else:
        os.mkfifo(place)
    with pytest.raises(cg.OutputError, match="Ledger directory"):
        list(gated(documents(1), gate_without(), ledger=place))


# --- what logs show -----------------------------------------------------------------------------


def odd_documents() -> Iterator[dict[str, Any]]:
    secret = {"text": "secret text", "id": "secret id"}
    yield {**secret, "sender_id": "secret sender", "channel_id": 10, "created_at": "2025-06-01"}
    yield {**secret, "sender_id": 1, "channel_id": 10, "created_at": "secret instant"}
    yield {**secret, "sender_id": 1.5, "channel_id": 10, "created_at": "2025-06-01T00:00:00Z"}
    yield {**secret, "sender_id": 1e21, "channel_id": 10, "created_at": "2025-06-01T00:00:00Z"}


def write_odd(place: int, folder: Path) -> None:
    folder.mkdir()
    (folder / "0.jsonl").write_text(json.dumps(list(odd_documents())[place]))


@pytest.mark.parametrize("place", range(4))
def test_no_log_shows_a_document(place: int, tmp_path: Path) -> None:
    write_odd(place, tmp_path / "messages")
    reader = JsonlReader(str(tmp_path / "messages"))
    steps = [reader, consent_filter(gate_without()), JsonlWriter(str(tmp_path / "clean"))]
    executor = LocalPipelineExecutor(steps, logging_dir=str(tmp_path / "logs"))
    with pytest.raises(cg.ColumnTypeError, match="Column '") as caught:
        executor.run()
    said = [path.read_text() for path in (tmp_path / "logs" / "logs").iterdir()]
    assert any("Error" in text for text in said)
    assert not any("secret" in text or "1e21" in text for text in [*said, repr(caught.value)])
