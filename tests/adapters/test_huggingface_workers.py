"""Hugging Face's streams in worker processes."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from datasets import IterableDataset
from torch.utils.data import DataLoader
from torchdata.stateful_dataloader import StatefulDataLoader

import consentgate as cg
from consentgate.adapters.huggingface import filter as gated
from tests.adapters.contract import ledger_rows
from tests.adapters.huggingface_cases import from_files, from_memory, generated, on_disk
from tests.adapters.huggingface_data import ROWS, admitted_ids, ids_in, message
from tests.build import make_gate
from tests.run_data import mixed_messages


def rows_from_workers(dataset: Any, context: str, workers: int = 2) -> list[Any]:
    """What the workers of a loader hand over."""
    loader = DataLoader(
        dataset,
        batch_size=None,
        num_workers=workers,
        multiprocessing_context=context,
        in_order=False,
    )
    return list(loader)


WORKERS = [("fork", on_disk), ("fork", from_memory), ("fork", generated), ("spawn", from_files)]


@pytest.mark.parametrize(("context", "maker"), WORKERS)
def test_workers_share_the_rows(
    context: str, maker: Any, gate: cg.Gate, folder: Path, tmp_path: Path
) -> None:
    ledger = None if maker is on_disk else tmp_path / "ledger"
    result = gated(maker(mixed_messages(ROWS), folder, 4), gate, batch_size=32, ledger=ledger)
    found = rows_from_workers(result, context)
    assert sorted(row["message_id"] for row in found) == admitted_ids(gate)
    if ledger is not None:
        excluded = gate.filter(mixed_messages(ROWS))[1]
        assert ledger_rows(ledger)["record_id"].sort() == excluded["record_id"].sort()
        assert len(list(ledger.iterdir())) == 2


def test_a_forked_worker_leaves_its_parents_ledger_alone(
    gate: cg.Gate, folder: Path, tmp_path: Path
) -> None:
    ledger = tmp_path / "ledger"
    result = gated(from_memory(mixed_messages(ROWS), folder, 2), gate, ledger=ledger)
    ids_in(result)
    mine = {path: path.read_bytes() for path in ledger.iterdir()}
    assert len(rows_from_workers(result, "fork")) == len(admitted_ids(gate))
    assert len(list(ledger.iterdir())) == len(mine) + 2
    assert all(path.read_bytes() == octets for path, octets in mine.items())


def shards_of_objects(shards: list[int]) -> Iterator[dict[str, Any]]:
    for shard in shards:
        yield message(message_id=shard, sender_id=1.5)


def test_an_error_in_a_worker_has_its_class_in_the_parent() -> None:
    stream = IterableDataset.from_generator(shards_of_objects, gen_kwargs={"shards": [0, 1]})
    with pytest.raises(cg.ColumnTypeError, match=r"(?s)worker process.*type 'float'"):
        rows_from_workers(gated(stream, make_gate()), "fork", workers=1)


def test_a_worker_refuses_another_gate_in_the_file(
    gate: cg.Gate, folder: Path, tmp_path: Path
) -> None:
    result = gated(from_memory(mixed_messages(ROWS), folder, 2), gate)
    make_gate().save(tmp_path / "gate")
    with pytest.raises(cg.ReplacedGateError, match="worker process"):
        rows_from_workers(result, "spawn", workers=1)


@pytest.mark.filterwarnings("ignore:'set_vital' is deprecated:UserWarning")  # torchdata 0.11
def test_a_loader_with_a_state_goes_on_where_it_was(gate: cg.Gate, folder: Path) -> None:
    def loader() -> Any:
        stream = gated(from_memory(mixed_messages(ROWS), folder, 4), gate, batch_size=16)
        return StatefulDataLoader(stream, batch_size=None, num_workers=2)

    first, second, seen = loader(), loader(), []
    for place, row in enumerate(first):
        seen.append(row["message_id"])
        if place == 40:
            state = first.state_dict()
    second.load_state_dict(state)
    assert [*seen[:41], *(row["message_id"] for row in second)] == seen
    assert sorted(seen) == admitted_ids(gate)


def test_what_a_killed_process_had_judged_is_in_the_ledger(
    gate: cg.Gate, folder: Path, tmp_path: Path
) -> None:
    ledger = tmp_path / "ledger"
    result = gated(from_memory(mixed_messages(ROWS), folder, 1), gate, batch_size=20, ledger=ledger)
    child = os.fork()
    if child == 0:
        for row in result:
            if row["message_id"] > 100:
                os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)
    assert ledger_rows(ledger).equals(gate.filter(mixed_messages(120))[1])
