"""Hugging Face: withdrawals that are published while a stream is read, and names of splits."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from datasets import Dataset, DatasetDict, IterableDataset, IterableDatasetDict, Split
from torch.utils.data import DataLoader

import consentgate as cg
from consentgate.adapters import growing_ledger
from consentgate.adapters.huggingface import filter as gated
from tests.adapters.huggingface_cases import from_files, from_memory, generated, in_memory
from tests.build import WRITTEN, message_table
from tests.withdrawals import (
    SUBJECTS,
    Newest,
    assert_each_row_once,
    gate_without,
    ledger_of,
    messages_of_all,
    sender_of,
)

MAKERS = pytest.mark.parametrize("maker", [from_files, from_memory, generated])
BATCH_SIZES = pytest.mark.parametrize("batch_size", [1, 7, 4096])
PLAN = {9: 3, 35: 4, 70: 5}
"""After which message who has withdrawn, too."""


@MAKERS
@BATCH_SIZES
@pytest.mark.parametrize("form", [None, "numpy", "arrow"])
def test_no_row_is_given_that_the_current_gate_excludes(
    maker: Any, batch_size: int, form: str | None, folder: Path, tmp_path: Path
) -> None:
    store = cg.GateStore(tmp_path / "gates")
    store.publish(gate_without())
    live = store.live(check_every=timedelta(0))
    given = maker(messages_of_all(100), folder, 1)
    ledger = tmp_path / "ledger"
    stream = gated(given, live, batch_size=batch_size, ledger=ledger).with_format(form)
    withdrawn, seen = set[int](), list[int]()
    for row in stream:
        number = row["message_id"]
        seen.append(number[0].as_py() if form == "arrow" else int(number))
        assert sender_of(seen[-1]) not in withdrawn
        if seen[-1] in PLAN:
            withdrawn.add(PLAN[seen[-1]])
            store.publish(gate_without(*withdrawn, hours=len(withdrawn)))
    assert {sender_of(number) for number in seen if number > 70} == {*SUBJECTS} - withdrawn
    assert_each_row_once(seen, ledger, 100)
    assert {reason for _, reason, _ in ledger_of(ledger).values()} == {"consent_withdrawn"}


@MAKERS
def test_what_a_newer_gate_admits_again_is_given(maker: Any, folder: Path, tmp_path: Path) -> None:
    live: Any = Newest(gate_without(3))
    seen = []
    for row in gated(maker(messages_of_all(32), folder, 1), live, ledger=tmp_path / "ledger"):
        seen.append(row["message_id"])
        live.gate = gate_without()
    assert seen == [*range(32)]
    assert_each_row_once(seen, tmp_path / "ledger", 32)


@MAKERS
def test_batches_of_rows_are_given_too(maker: Any, folder: Path) -> None:
    live: Any = Newest(gate_without())
    found = []
    for batch in gated(maker(messages_of_all(64), folder, 1), live).iter(batch_size=8):
        found.append([sender_of(number) for number in batch["message_id"]])
        live.gate = gate_without(3)
    assert found[0] == [*SUBJECTS]
    assert {sender for batch in found[1:] for sender in batch} == {*SUBJECTS} - {3}


@pytest.mark.parametrize("part_rows", [5, 16_384])
def test_the_ledger_is_complete_at_every_row(
    part_rows: int, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(growing_ledger, "_PART_ROWS", part_rows)
    live: Any = Newest(gate_without(1))
    plan = {1: (1, 2), 9: (1, 2), 19: (1,), 33: (1, 4), 50: (5,)}
    ledger, seen = tmp_path / "ledger", list[int]()
    given = from_memory(messages_of_all(80), folder, 1)
    for row in gated(given, live, batch_size=20, ledger=ledger):
        seen.append(row["message_id"])
        assert {*range(seen[-1] + 1)} <= {*seen, *ledger_of(ledger)}
        assert not {*seen} & {*ledger_of(ledger)}
        if seen[-1] in plan:
            live.gate = gate_without(*plan[seen[-1]])
    assert_each_row_once(seen, ledger, 80)


SHAPES = [(from_files, 3, 7), (from_memory, 1, 1000), (generated, 3, 10)]


@pytest.mark.parametrize(("maker", "shards", "batch_size"), SHAPES)
@pytest.mark.parametrize("then", [None, "numpy", "mapped", "skipped", "batched"])
def test_a_stream_is_resumed_where_it_was_left(
    maker: Any, shards: int, batch_size: int, then: str | None, folder: Path
) -> None:
    live: Any = Newest(gate_without(3))
    given = maker(messages_of_all(40), folder, shards)

    def stream() -> IterableDataset:
        found = gated(given, live, batch_size=batch_size)
        if then == "mapped":
            return found.map(lambda row: {"longer": len(row["text"])})
        if then == "batched":
            return found.map(lambda rows: rows, batched=True, batch_size=5)
        return found.skip(0) if then == "skipped" else found.with_format(then)

    everything = [n for n in range(40) if sender_of(n) != 3]
    assert [row["message_id"] for row in stream()] == everything
    for count in range(1, len(everything) + 1, 3):
        first, second = stream(), stream()
        rows = iter(first)
        seen = [next(rows)["message_id"] for _ in range(count)]
        second.load_state_dict(first.state_dict())
        assert seen + [row["message_id"] for row in second] == everything


@pytest.mark.parametrize(("method", "workers"), [("fork", 2), ("spawn", 1)])
def test_workers_send_no_more_than_they_had_sent(
    method: str, workers: int, folder: Path, tmp_path: Path
) -> None:
    store, ahead = cg.GateStore(tmp_path / "gates"), 2
    store.publish(gate_without())
    live, given = store.live(check_every=timedelta(0)), from_files(messages_of_all(400), folder, 4)
    loader = DataLoader(
        gated(given, live, ledger=tmp_path / "ledger"),
        batch_size=None,
        num_workers=workers,
        prefetch_factor=ahead,
        multiprocessing_context=method,
    )
    seen, late = list[int](), 0
    for number, row in enumerate(loader):
        seen.append(row["message_id"])
        late += number > 2 and sender_of(seen[-1]) == 3
        if number == 2:
            store.publish(gate_without(3, hours=1))
    assert late <= workers * (ahead + 1)
    assert sorted([*seen, *ledger_of(tmp_path / "ledger")]) == [*range(400)]


@pytest.mark.parametrize("maker", [from_memory, generated])
def test_threads_that_read_shards_share_a_judge(maker: Any, folder: Path, tmp_path: Path) -> None:
    live: Any = Newest(gate_without())
    stream = gated(
        maker(messages_of_all(200), folder, 4), live, batch_size=16, ledger=tmp_path / "l"
    )
    seen = []
    for row in stream.shuffle(seed=1, buffer_size=10, max_buffer_input_shards=4):
        seen.append(row["message_id"])
        if len(seen) == 30:
            live.gate = gate_without(3)
    assert sorted([*seen, *ledger_of(tmp_path / "l")]) == [*range(200)]


def test_what_crosses_over_in_a_table_holds_no_other_text(folder: Path) -> None:
    live: Any = Newest(gate_without(3))
    stream = gated(from_files(messages_of_all(80), folder, 1), live).with_format("arrow")
    held = b"".join(
        bytes(buffer)
        for table in stream
        for chunk in table["text"].chunks
        for buffer in chunk.buffers()
        if buffer is not None
    )
    assert b"text 1" in held
    assert not any(b"text %d" % n in held for n in range(10, 80) if sender_of(n) == 3)


def test_nested_values_that_were_given_may_be_changed() -> None:
    keys = {"channel_id": 10, "created_at": WRITTEN}
    rows = [{"message_id": n, "sender_id": [sender_of(n)], **keys} for n in range(16)]
    given = IterableDataset.from_generator(lambda: iter(rows), gen_kwargs=None)
    live: Any = Newest(gate_without())
    seen = []
    for row in gated(given, live):
        seen.append(row["message_id"])
        row["sender_id"].append("changed")
        live.gate = gate_without(3)
    assert [sender_of(number) for number in seen] == [*SUBJECTS[:2], *SUBJECTS[3:]] * 2


# --- splits -------------------------------------------------------------------------------------

GATE = gate_without(3)
EVIL = [
    *["../evil", "/tmp/evil", "..", ".", "", "a/b", "a\\b", "a\0b", "C:evil", "a/../../evil", " "],
    *["a b", "a\n", ".hidden", "a.", "a..b", "x" * 201, "ü" * 101, "\ud800", "~", "a:b", "a*"],
    *[b"train", ("a",)],
]


def dictionaries(*names: Any) -> Iterator[Any]:
    """Dictionaries of splits with those names."""
    data = Dataset(messages_of_all(8))
    yield DatasetDict(dict.fromkeys(names, data))
    yield IterableDatasetDict({name: data.to_iterable_dataset() for name in names})


@pytest.mark.parametrize("name", EVIL)
def test_a_split_is_no_path_out_of_the_ledger(name: Any, tmp_path: Path) -> None:
    for splits in dictionaries("train", name):
        with pytest.raises(cg.ConfigurationError, match="cannot have a folder of its name"):
            gated(splits, GATE, ledger=tmp_path / "a" / "ledger")
        assert [*tmp_path.iterdir()] == []
        assert set(gated(splits, GATE)) == {"train", name}


@pytest.mark.parametrize("names", [("train", "Train"), ("straße", "STRASSE"), ("é", "e\u0301")])
def test_splits_do_not_share_a_folder(names: tuple[str, str], tmp_path: Path) -> None:
    for splits in dictionaries(*names):
        with pytest.raises(
            cg.ConfigurationError, match=r"would share a folder|cannot have a folder"
        ):
            gated(splits, GATE, ledger=tmp_path / "ledger")
        assert [*tmp_path.iterdir()] == []


@pytest.mark.parametrize("name", ["train", "train.v2", "a_b-c", "Übung", "7", Split.TRAIN])
def test_a_split_has_a_folder_in_the_ledger(name: Any, tmp_path: Path) -> None:
    for number, splits in enumerate(dictionaries(name)):
        ledger = tmp_path / str(number)
        for split in gated(splits, GATE, ledger=ledger).values():
            list(split)
        assert [*ledger.iterdir()] == [ledger / str(name)]
        assert sorted(ledger_of(ledger / str(name))) == [2]


# --- arguments ----------------------------------------------------------------------------------

ODD: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"batch_size": "x"}, TypeError, "`batch_size` is of type 'str'"),
    ({"batch_size": None}, TypeError, "`batch_size` is of type 'NoneType'"),
    ({"batch_size": 0}, cg.ConfigurationError, "`batch_size` is 0"),
    ({"threads": "2"}, TypeError, "`threads` is of type 'str'"),
    ({"judged_at": "2026-01-01"}, TypeError, "`judged_at` is of type 'str'"),
    ({"judged_at": WRITTEN.replace(tzinfo=None)}, cg.ConfigurationError, "`judged_at` must be"),
    ({"ledger": 3}, TypeError, "`ledger` is of type 'int'"),
]


def every_kind() -> Iterator[Any]:
    data = Dataset(messages_of_all(8))
    yield data
    yield data.to_iterable_dataset()
    yield from dictionaries("train")


@pytest.mark.parametrize(("options", "error", "message"), ODD)
def test_an_argument_that_does_not_fit_is_refused_at_once(
    options: dict[str, Any], error: type[Exception], message: str
) -> None:
    for data in every_kind():
        with pytest.raises(error, match=message):
            gated(data, GATE, **options)


def test_what_is_no_gate_is_refused_at_once(tmp_path: Path) -> None:
    wrong: Any
    for wrong in (None, 3, "gate", cg.Policy(), (), cg.Gate, cg.GateStore(tmp_path)):
        for data in every_kind():
            with pytest.raises(TypeError, match="`gate` is"):
                gated(data, wrong)
            with pytest.raises(TypeError, match="`gate` is"):
                gated(GATE, data)


@pytest.mark.parametrize("what", ["file", "fifo"])
def test_a_ledger_that_is_no_folder_is_an_error(what: str, tmp_path: Path) -> None:
    place = tmp_path / "ledger"
    if what == "file":
        place.touch()
    else:
        os.mkfifo(place)
    for data in every_kind():
        with pytest.raises(cg.OutputError, match="Ledger directory"):
            gated(data, GATE, ledger=place)


def test_no_repr_shows_what_is_in_messages() -> None:
    secret = "a text of somebody"
    table = message_table(sender_id=[1, 3], text=[secret] * 2)
    for data in (in_memory(table, Path(), 1), from_memory(table, Path(), 1)):
        result: Any = gated(data, GATE)
        shown = [repr(result), str(result)]
        if isinstance(result, IterableDataset):
            examples = result._ex_iterable
            held = examples._holder.hold(lambda _: table, 2)
            shown += [repr(thing) for thing in (examples, examples._holder, held, held._held)]
        assert not any(secret in text for text in shown)
