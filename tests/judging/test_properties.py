"""What always holds of a gate, whatever the messages: docs/semantics.md, section 10."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tests.layouts import Layout, read_column, read_rows, split_into_batches
from tests.pools import ODD_VALUES, USUAL_VALUES
from tests.reference import ReferenceRule, name_bits
from tests.scenarios import RECORD_ATTRIBUTES, SUBJECT_ATTRIBUTES, Scenario
from tests.strategies import layouts, scenarios

# scenarios are full of words that do not fit each other
pytestmark = pytest.mark.filterwarnings("ignore::consentgate.CoverageWarning")

BLOCKS_ROWS = 150_000  # more than any block that threads may share out
BATCH_SIZES = st.lists(st.integers(0, 7), max_size=6)
CHOICES = st.integers(0, 255)


class StreamOnly:
    """An object that is known by the Arrow PyCapsule stream interface and by nothing else."""

    def __init__(self, table: pa.Table) -> None:
        self._table = table

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        return self._table.__arrow_c_stream__(requested_schema)


@given(scenario=scenarios(), layout=layouts(), threads=st.integers(1, 3))
def test_admitted_and_excluded_make_up_the_input(
    scenario: Scenario, layout: Layout, threads: int
) -> None:
    table = scenario.table(layout)
    admitted, excluded = scenario.gate().filter(
        table, judged_at=scenario.judged_at, threads=threads
    )
    left_out = excluded["row"].to_pylist()
    assert left_out == sorted(set(left_out))
    kept = [row for row in range(table.num_rows) if row not in set(left_out)]
    rows = read_rows(table)
    assert admitted.schema.equals(table.schema, check_metadata=True)
    assert read_rows(admitted) == [rows[row] for row in kept]
    admitted.validate(full=True)


@given(scenario=scenarios(), layout=layouts())
def test_excluded_says_which_rows_and_why(scenario: Scenario, layout: Layout) -> None:
    table = scenario.table(layout)
    gate = scenario.gate()
    _, excluded = gate.filter(table, judged_at=scenario.judged_at)
    bits = scenario.decide(layout)
    rows = [row for row, of_row in enumerate(bits) if of_row]
    record_ids = read_column(table["message_id"])
    assert excluded.schema.field("record_id").type == table.schema.field("message_id").type
    assert excluded.schema.field("row").type == pa.int64()
    assert excluded.schema.field("reason").type == pa.dictionary(pa.int32(), pa.string())
    assert excluded.schema.field("reason_bits").type == pa.uint32()
    assert read_column(excluded["record_id"]) == [record_ids[row] for row in rows]
    assert excluded["row"].to_pylist() == rows
    assert excluded["reason"].to_pylist() == [name_primary(scenario, bits[row]) for row in rows]
    assert excluded["reason_bits"].to_pylist() == [bits[row] for row in rows]


def name_primary(scenario: Scenario, bits: int) -> str | None:
    """The code of the lowest bit set."""
    return next((name for bit, name in name_bits(scenario.policy).items() if bits >> bit & 1), None)


@given(scenario=scenarios())
def test_decision_agrees_with_its_own_bits(scenario: Scenario) -> None:
    decision = scenario.gate().decide(scenario.table(), judged_at=scenario.judged_at)
    bits = decision.reason_bits.to_pylist()
    primary = [name_primary(scenario, of_row) for of_row in bits]
    assert decision.reason_bits.type == pa.uint32()
    assert decision.reason_bits.null_count == 0
    assert decision.admitted.to_pylist() == [of_row == 0 for of_row in bits]
    assert decision.reason.to_pylist() == primary
    assert +Counter(decision.counts) == Counter(name for name in primary if name is not None)
    assert sum(decision.counts.values()) == sum(of_row != 0 for of_row in bits)
    assert +Counter(decision.occurrences) == Counter(
        name
        for of_row in bits
        for bit, name in name_bits(scenario.policy).items()
        if of_row >> bit & 1
    )


@given(
    scenario=scenarios(),
    of_gates=st.tuples(layouts(), layouts()),
    of_messages=st.tuples(layouts(), layouts()),
)
def test_layout_changes_no_decision(
    scenario: Scenario, of_gates: tuple[Layout, Layout], of_messages: tuple[Layout, Layout]
) -> None:
    found = []
    for of_gate, of_table in zip(of_gates, of_messages, strict=True):
        gate, table = scenario.gate(of_gate), scenario.table(of_table)
        found.append(gate.decide(table, judged_at=scenario.judged_at).reason_bits)
    assert found[0].equals(found[1])


@given(scenario=scenarios(), layout=layouts(), sizes=BATCH_SIZES)
def test_every_way_in_gives_the_same_bits(
    scenario: Scenario, layout: Layout, sizes: Sequence[int]
) -> None:
    gate, table = scenario.gate(), scenario.table(layout)
    now = scenario.judged_at
    expected = gate.decide(table, judged_at=now).reason_bits.to_pylist()
    ways_in = [table.to_reader(), StreamOnly(table), table.combine_chunks().to_reader()]
    for way_in in ways_in:
        assert gate.decide(way_in, judged_at=now).reason_bits.to_pylist() == expected
    batches = split_into_batches(table, sizes)
    by_batch = [gate.decide(batch, judged_at=now).reason_bits.to_pylist() for batch in batches]
    assert [bits for of_batch in by_batch for bits in of_batch] == expected
    streamed = (
        StreamOnly(scenario.snapshot_table(layout)),
        StreamOnly(scenario.registry_table(layout)),
    )
    from_streams = scenario.gate_from(*streamed).decide(table, judged_at=now)
    assert from_streams.reason_bits.to_pylist() == expected
    annotated = gate.annotate(table, judged_at=now)
    assert annotated["reason_bits"].to_pylist() == expected
    assert annotated.drop_columns(["reason", "reason_bits"]).equals(table)


@given(scenario=scenarios(), layout=layouts(), sizes=BATCH_SIZES)
def test_stream_admits_what_filter_admits(
    scenario: Scenario, layout: Layout, sizes: Sequence[int]
) -> None:
    gate, table = scenario.gate(), scenario.table(layout)
    admitted, _ = gate.filter(table, judged_at=scenario.judged_at)
    for source in (list(split_into_batches(table, sizes)), table.to_reader()):
        streamed = gate.stream(source, judged_at=scenario.judged_at).read_all()
        assert streamed.schema.equals(table.schema, check_metadata=True)
        assert read_rows(streamed) == read_rows(admitted)


@settings(max_examples=10)
@given(scenario=scenarios(), layout=layouts())
def test_threads_and_blocks_change_no_decision(scenario: Scenario, layout: Layout) -> None:
    table = scenario.table(layout)
    doublings = (BLOCKS_ROWS // max(table.num_rows, 1)).bit_length()
    assume(table.num_rows and is_small(scenario, doublings) and not has_views_of_views(table))
    expected = pa.array(scenario.reference_bits() * 2**doublings, pa.uint32())
    for _ in range(doublings):
        table = pa.concat_tables([table, table]).combine_chunks()
    gate = scenario.gate()
    for threads in (1, 2, 3):
        decision = gate.decide(table, judged_at=scenario.judged_at, threads=threads)
        assert decision.reason_bits.equals(expected)


def is_small(scenario: Scenario, doublings: int) -> bool:
    """Whether the values fit into memory, written out as text and doubled so often."""
    values = (value for column in scenario.columns for value in column.scalars())
    return sum(len(str(value)) for value in values) << doublings < 2**27


def has_views_of_views(table: pa.Table) -> bool:
    """Whether there are list views of string views, whose buffers pile up at each doubling.

    Flattening them gives every list a reference to every buffer: 10^10 of them (pyarrow 26).
    """
    return any("list_view<item: string_view" in str(kind) for kind in table.schema.types)


def withdraw_consent(scenario: Scenario, choice: int) -> Scenario:
    """One consent is withdrawn."""
    at = choice % len(scenario.consents)
    withdrawn = replace(scenario.consents[at], status="withdrawn")
    return replace(
        scenario,
        consents=(*scenario.consents[:at], withdrawn, *scenario.consents[at + 1 :]),
    )


def remove_record(scenario: Scenario, choice: int) -> Scenario:
    """One consent record is no longer there."""
    at = choice % len(scenario.consents)
    return replace(scenario, consents=(*scenario.consents[:at], *scenario.consents[at + 1 :]))


def make_channel_private(scenario: Scenario, choice: int) -> Scenario:
    """One channel turns private."""
    at = choice % len(scenario.channels)
    private = replace(scenario.channels[at], visibility="private")
    return replace(
        scenario,
        channels=(*scenario.channels[:at], private, *scenario.channels[at + 1 :]),
    )


def add_record_rule(scenario: Scenario, choice: int) -> Scenario:
    """The policy excludes some messages more."""
    rule = make_rule("added", RECORD_ATTRIBUTES, choice)
    rules = (rule, *scenario.policy.record_rules)
    return replace(scenario, policy=replace(scenario.policy, record_rules=rules))


def add_subject_rule(scenario: Scenario, choice: int) -> Scenario:
    """The policy excludes some subjects more."""
    rule = make_rule("added", SUBJECT_ATTRIBUTES, choice)
    rules = (*scenario.policy.subject_rules, rule)
    return replace(scenario, policy=replace(scenario.policy, subject_rules=rules))


def make_rule(name: str, attributes: dict[str, str], choice: int) -> ReferenceRule:
    """A rule that excludes an odd value, or all but the usual one."""
    column = list(attributes)[choice % 3]
    family = attributes[column]
    if choice & 4:
        return ReferenceRule(name, column, none_of=(USUAL_VALUES[family],))
    return ReferenceRule(name, column, any_of=(ODD_VALUES[family][0],))


@pytest.mark.parametrize(
    "tighten",
    [
        withdraw_consent,
        remove_record,
        make_channel_private,
        add_record_rule,
        add_subject_rule,
    ],
)
@given(scenario=scenarios(), layout=layouts(), choice=CHOICES)
def test_tightening_never_admits_an_excluded_row(
    tighten: Callable[[Scenario, int], Scenario], scenario: Scenario, layout: Layout, choice: int
) -> None:
    assume(scenario.consents)
    before = scenario.decide(layout)
    after = tighten(scenario, choice).decide(layout)
    assert [row for row, bits in enumerate(before) if bits and not after[row]] == []


@given(scenario=scenarios(), choice=CHOICES)
def test_withdrawal_excludes_every_row_that_names_the_subject(
    scenario: Scenario, choice: int
) -> None:
    assume(scenario.consents)
    at = choice % len(scenario.consents)
    record = scenario.consents[at]
    assume(record.purpose in scenario.policy.purposes)
    bits = withdraw_consent(scenario, choice).decide()
    for message, of_row in zip(scenario.messages(), bits, strict=True):
        cells = (cell if isinstance(cell, tuple) else (cell,) for cell in message.subjects)
        if any(record.subject in cell for cell in cells):
            assert of_row >> 5 & 1


@given(scenario=scenarios(), layout=layouts())
def test_judging_modifies_no_input(scenario: Scenario, layout: Layout) -> None:
    inputs = [
        scenario.table(layout),
        scenario.snapshot_table(layout),
        scenario.registry_table(layout),
    ]
    before = [copy_memory(table) for table in inputs]
    table, snapshot, registry = inputs
    gate = scenario.gate_from(snapshot, registry)
    gate.decide(table, judged_at=scenario.judged_at)
    gate.filter(table, judged_at=scenario.judged_at)
    gate.annotate(table, judged_at=scenario.judged_at)
    gate.stream(table.to_reader(), judged_at=scenario.judged_at).read_all()
    assert [copy_memory(table) for table in inputs] == before


def copy_memory(table: pa.Table) -> list[Any]:
    """Every byte of a table, those outside its slices included."""
    arrays = [chunk for column in table.columns for chunk in column.chunks]
    dictionaries = [a.dictionary for a in arrays if pa.types.is_dictionary(a.type)]
    buffers = (buffer for array in (*arrays, *dictionaries) for buffer in array.buffers())
    return [table.schema, *(None if buffer is None else buffer.to_pybytes() for buffer in buffers)]
