"""Streams while gates change: what is judged ahead is judged again before it is given out."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import consentgate as cg
from consentgate.judging import JudgingOptions
from consentgate.judging.stream import Sieve, admitted_stream
from tests.build import make_consent, make_gate, message_table
from tests.withdrawals import (
    SUBJECTS,
    Newest,
    assert_each_row_once,
    gate_without,
    ledger_of,
    messages_of_all,
    sender_of,
)


def chunked(sizes: list[int]) -> pa.Table:
    """Messages in a table of chunks of those sizes."""
    batches, start = list[pa.RecordBatch](), 0
    for size in sizes:
        batches += messages_of_all(size, first=start).to_batches() if size else []
        start += size
    return pa.Table.from_batches(batches, schema=messages_of_all(1).schema)


def test_a_withdrawal_reaches_what_was_judged_ahead(tmp_path: Path) -> None:
    store = cg.GateStore(tmp_path / "gates")
    store.publish(gate_without())
    live = store.live(check_every=timedelta(0))
    reader = live.stream([chunked([8] * 100)], ledger=tmp_path / "ledger")
    seen = reader.read_next_batch()["message_id"].to_pylist()
    store.publish(gate_without(3, hours=1))
    after = reader.read_all()["message_id"].to_pylist()
    assert [sender_of(message) for message in seen] == list(SUBJECTS)
    assert set(map(sender_of, after)) == set(SUBJECTS) - {3}
    assert_each_row_once(seen + after, tmp_path / "ledger", 800)
    assert {reason for _, reason, _ in ledger_of(tmp_path / "ledger").values()} == {
        "consent_withdrawn"
    }


GATES = [gate_without(), gate_without(1), gate_without(2, 3), gate_without(*SUBJECTS)]


@given(
    tables=st.lists(st.lists(st.integers(0, 5), max_size=5), min_size=1, max_size=4),
    changes=st.lists(st.integers(0, len(GATES) - 1), max_size=30),
    end=st.integers(0, 40),
)
@settings(max_examples=60)
def test_every_row_has_the_fate_that_the_gate_gives_it_that_is_current_then(
    tables: list[list[int]], changes: list[int], end: int
) -> None:
    live = Newest(GATES[0])
    sizes = [size for table in tables for size in table]
    everything = chunked(sizes)
    starts = [sum(map(sum, tables[:place])) for place in range(len(tables) + 1)]
    given_tables = [everything.slice(start, stop - start) for start, stop in pairwise(starts)]
    with tempfile.TemporaryDirectory() as folder:
        reader = admitted_stream(given_tables, Sieve(live, JudgingOptions(ledger=folder)))
        seen: list[int] = []
        for change in [*changes, *[0] * len(sizes)][:end]:
            live.gate = GATES[change]
            batch = next(reader, None)
            if batch is None:
                break
            numbers = batch["message_id"].to_pylist()
            assert GATES[change].decide(everything.take(numbers)).num_excluded == 0
            seen += numbers
        del reader  # pyarrow keeps what it reads from until then
        ledger = ledger_of(Path(folder))
        last = max([*seen, *ledger], default=-1) + 1
        assert_each_row_once(seen, Path(folder), last)


def test_a_gate_that_changes_while_rows_are_taken_out_judges_them_again(tmp_path: Path) -> None:
    live = Newest(GATES[0])
    with Sieve(live, JudgingOptions(ledger=tmp_path)) as sieve:
        held = sieve.hold(messages_of_all(8))

        def publish_late(decision: cg.Decision) -> int:
            live.gate = GATES[2]
            return decision.num_admitted

        assert held.take(8, publish_late) == 6
    assert set(map(sender_of, ledger_of(tmp_path))) == {2, 3}


def test_what_a_newer_gate_admits_is_given(tmp_path: Path) -> None:
    live = Newest(GATES[3])
    with Sieve(live, JudgingOptions(ledger=tmp_path)) as sieve:
        held = sieve.hold(messages_of_all(16))
        assert held.take(8, lambda decision: decision.num_admitted) == 0
        live.gate = GATES[1]
        assert held.take(8, lambda decision: decision.num_admitted) == 7
    assert sorted(ledger_of(tmp_path)) == [*range(9)]


@pytest.mark.parametrize("leaves_out", [False, True], ids=["all rows", "those left"])
def test_rows_are_made_anew_for_a_gate_that_looks_at_other_columns(
    leaves_out: bool, tmp_path: Path
) -> None:
    rule = cg.Rule(name="foreign", column="lang", any_of=("de",))
    live, asked = Newest(make_gate()), list[list[str]]()
    options = JudgingOptions(ledger=tmp_path)
    table = message_table(lang=["en", "de", "en", "de"])

    def columns_of(gate: cg.Gate) -> pa.Table:
        names = options.columns(gate)
        asked.append(names)
        given_out = 2 * len(asked[1:]) if leaves_out else 0
        return table.select(names).slice(given_out)

    with Sieve(live, options) as sieve:
        held = sieve.hold(columns_of)
        assert held.take(2, lambda decision: decision.num_admitted) == 2
        live.gate = make_gate(record_rules=(rule,))
        assert held.take(2, lambda decision: decision.num_admitted) == 1
    assert ["lang" in columns for columns in asked] == [False, True]
    assert {row: reason for row, (_, reason, _) in ledger_of(tmp_path).items()} == {3: "foreign"}


def test_record_ids_are_a_needed_column_if_something_looks_at_them(tmp_path: Path) -> None:
    gate, rule = make_gate(), cg.Rule(name="first", column="message_id", any_of=(0,))
    assert JudgingOptions().columns(gate) == ["sender_id", "channel_id", "created_at"]
    assert JudgingOptions(ledger=tmp_path).columns(gate)[0] == "message_id"
    assert "message_id" in JudgingOptions().columns(make_gate(record_rules=(rule,)))


def test_rows_without_record_ids_can_be_sieved_but_not_recorded(tmp_path: Path) -> None:
    table = message_table(sender_id=[1, 2]).drop("message_id")
    assert Sieve(make_gate()).judge(table).num_admitted == 1
    with Sieve(make_gate(), JudgingOptions(ledger=tmp_path)) as sieve:
        for judge in (sieve.judge, sieve.hold):
            with pytest.raises(cg.ColumnMissingError, match=r"'message_id' \(record_id\)"):
                judge(table)


ODD_OPTIONS: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"ledger": 3}, TypeError, "`ledger` is of type 'int'"),
    ({"threads": "2"}, TypeError, "`threads` is of type 'str'"),
    ({"threads": 0}, cg.ConfigurationError, "`threads` is 0"),
    ({"judged_at": "2026-01-01"}, TypeError, "`judged_at` is of type 'str'"),
    ({"judged_at": datetime(2026, 1, 1)}, cg.ConfigurationError, "`judged_at` must be"),
]


@pytest.mark.parametrize(("options", "error", "message"), ODD_OPTIONS)
def test_options_are_checked_when_they_are_made(
    options: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        JudgingOptions(**options)


def test_an_error_of_the_newer_gate_leaves_what_was_given_out_in_the_ledger(tmp_path: Path) -> None:
    live = Newest(make_gate(make_consent(subject_id=[2])))
    rule = cg.Rule(name="foreign", column="lang", any_of=("de",))
    with (
        pytest.raises(cg.RuleColumnMissingError, match="lang"),
        Sieve(live, JudgingOptions(ledger=tmp_path)) as sieve,
    ):
        held = sieve.hold(message_table(message_id=[0, 1, 2]))
        held.take(2, lambda decision: decision.num_admitted)
        live.gate = make_gate(record_rules=(rule,))
        held.take(1, lambda decision: decision.num_admitted)
    assert sorted(ledger_of(tmp_path)) == [0, 1]


def other_schemas() -> Iterator[pa.Table]:
    first = messages_of_all(8)
    order = first.column_names[::-1]
    yield first.select(order)
    yield first.set_column(1, "channel_id", first["channel_id"].cast(pa.int8()))
    yield first.set_column(2, "created_at", first["created_at"].cast(pa.timestamp("us")))
    yield first.drop("text")


@pytest.mark.parametrize("other", list(other_schemas()))
def test_a_readers_batches_are_held_to_its_schema_by_name_and_type(other: pa.Table) -> None:
    first = messages_of_all(8)
    batches = [*first.to_batches(), *other.to_batches()]
    reader = GATES[0].stream(pa.RecordBatchReader.from_batches(first.schema, batches))
    assert reader.read_next_batch().num_rows == 8
    with pytest.raises(cg.SchemaMismatchError, match="another schema"):
        reader.read_next_batch()
