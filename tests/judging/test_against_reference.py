"""The gate gives, bit by bit, what the plain judge of reference.py gives."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import cache
from itertools import product
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, event, given, settings
from hypothesis import strategies as st

from tests.layouts import LAYOUT_BYTES, NS_BY_UNIT, Column, Layout, lay_out_table, read_column
from tests.reference import (
    CODES,
    FIRST_RULE_BIT,
    Channel,
    Consent,
    Message,
    ReferencePolicy,
    ReferenceRule,
    judge,
    name_bits,
)
from tests.scenarios import (
    RECORD_ATTRIBUTES,
    SUBJECT_ATTRIBUTES,
    Scenario,
    make_instants,
    to_ns,
)
from tests.strategies import layouts, scenarios

AS_OF = datetime(2024, 6, 1, tzinfo=UTC)
AS_OF_NS = to_ns(AS_OF)
BEGIN_NS = AS_OF_NS - 10**12
POLICY = ReferencePolicy(
    purposes=frozenset({"train_ai_system"}),
    methods=frozenset({"explicit"}),
    notice_versions=None,
    max_consent_age_us=None,
    public_visibilities=frozenset({"public"}),
)
CONSENT = Consent("a", "train_ai_system", "given", "explicit", BEGIN_NS)
MESSAGE = Message(("a",), ("room",), None, BEGIN_NS)
PUBLIC = Channel("room", "public")


@settings(max_examples=5 * settings().max_examples)
@given(scenario=scenarios(), of_gate=layouts(), of_messages=layouts(), threads=st.integers(1, 3))
def test_gate_agrees_with_the_reference(
    scenario: Scenario, of_gate: Layout, of_messages: Layout, threads: int
) -> None:
    gate = scenario.gate(of_gate)
    table = scenario.table(of_messages)
    decision = gate.decide(table, judged_at=scenario.judged_at, threads=threads)
    expected = scenario.reference_bits()
    event("some admitted" if 0 in expected else "none admitted")
    assert decision.reason_bits.to_pylist() == expected


@given(scenario=scenarios())
def test_reasons_are_named_as_in_the_reference(scenario: Scenario) -> None:
    decision = scenario.gate().decide(scenario.table(), judged_at=scenario.judged_at)
    names = name_bits(scenario.policy)
    found: Counter[str] = Counter()
    for bits in scenario.reference_bits():
        found.update(name for bit, name in names.items() if bits >> bit & 1)
    assert +decision.occurrences == found


@cache
def collect_bits() -> Sequence[int]:
    """The reference's bits of every row of a fixed set of scenarios."""
    rows: list[int] = []

    @settings(
        max_examples=800,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(scenario=scenarios())
    def collect(scenario: Scenario) -> None:
        rows.extend(scenario.reference_bits())

    collect()
    return rows


def test_scenarios_reach_every_reason_set_and_unset() -> None:
    rows = collect_bits()
    expected = {*range(len(CODES)), *range(FIRST_RULE_BIT, FIRST_RULE_BIT + 4)}
    counts = {bit: sum(bits >> bit & 1 for bits in rows) for bit in range(32)}
    assert {bit for bit in counts if counts[bit]} == expected
    assert max(counts.values()) < len(rows) / 2
    assert 0.1 < rows.count(0) / len(rows) < 0.6


def test_scenarios_reach_every_reason_alone() -> None:
    assert {1 << bit for bit in range(len(CODES))} <= set(collect_bits())


def test_layouts_reach_every_kind_of_id_column_and_keep_its_meaning() -> None:
    ids: dict[str, tuple[Any, ...]] = {
        "integer": (1, None, 2, 1),
        "string": ("", None, "abcdefgh12345", ""),
        "uuid": (bytes(16), None, bytes(range(16)), bytes(16)),
    }
    columns = [Column(f"{family}_id", family, values) for family, values in ids.items()]
    for family, (one, null, other, _) in ids.items():
        cells = ((one, other), None, (null, one), (one, other))
        columns.append(Column(f"{family}_lists", family, cells, is_list=True))
    seen: set[str] = set()
    for seed in range(400):
        table = lay_out_table(columns, Random(seed).randbytes(LAYOUT_BYTES))
        table.validate(full=True)
        for column in columns:
            assert read_column(table[column.name]) == list(column.values)
            outer, _, inner = str(table.schema.field(column.name).type).partition("<")
            seen.update({outer, inner.removeprefix("item: ").partition("<")[0].partition(">")[0]})
    widths = {f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)}
    lists = {"list", "large_list", "list_view", "large_list_view", "fixed_size_list"}
    others = {"string", "large_string", "string_view", "extension", "fixed_size_binary[16]"}
    assert widths | lists | others | {"dictionary"} <= seen


def judge_one(
    message: Message = MESSAGE,
    consent: Consent = CONSENT,
    channel: Channel = PUBLIC,
    policy: ReferencePolicy = POLICY,
    registry_as_of_ns: int | None = AS_OF_NS,
) -> set[int]:
    bits = judge(
        message,
        policy,
        [consent],
        [channel],
        as_of_ns=AS_OF_NS,
        registry_as_of_ns=registry_as_of_ns,
        now_ns=AS_OF_NS,
        has_visibility=False,
    )
    return {bit for bit in range(32) if bits >> bit & 1}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, set()),
        ({"created_at_ns": BEGIN_NS - 1}, {10}),
        ({"created_at_ns": BEGIN_NS + 1}, set()),
        ({"created_at_ns": AS_OF_NS}, set()),
        ({"created_at_ns": AS_OF_NS + 1}, {12}),
        ({"created_at_ns": None}, {11}),
        ({"subjects": (None,)}, {2}),
        ({"subjects": ((),)}, {2}),
        ({"subjects": ((), "a")}, set()),
        ({"subjects": (None, "a")}, {2}),
        ({"subjects": (("a", None),)}, {2}),
        ({"subjects": (("a", "b"),)}, {3}),
        ({"channels": (None,)}, {1}),
        ({"channels": ("room", "hall")}, {1}),
        ({"channels": ()}, set()),
    ],
)
def test_reference_judges_messages_as_counted_by_hand(
    changes: dict[str, Any], expected: set[int]
) -> None:
    message = replace(MESSAGE, **changes)
    assert judge_one(message=message) == expected


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"status": "renewed"}, set()),
        ({"status": "refused"}, {4}),
        ({"status": "withdrawn"}, {5}),
        ({"status": "revoked"}, {5}),
        ({"status": "requested"}, {6}),
        ({"status": "request_deferred"}, {6}),
        ({"status": "invalidated"}, {6}),
        ({"status": "unknown"}, {6}),
        ({"status": "expired"}, {7}),
        ({"method": None}, {8}),
        ({"method": "default_on"}, {8}),
        ({"status": "refused", "method": "default_on", "expires_at_ns": 0}, {4}),
        ({"expires_at_ns": AS_OF_NS}, {7}),
        ({"expires_at_ns": AS_OF_NS + 999}, {7}),
        ({"expires_at_ns": AS_OF_NS + 1_000}, set()),
        ({"effective_from_ns": BEGIN_NS + 1}, {10}),
        ({"effective_from_ns": BEGIN_NS + 1, "covers_prior": False}, {10}),
        ({"effective_from_ns": BEGIN_NS + 1, "covers_prior": True}, set()),
        ({"effective_from_ns": AS_OF_NS, "covers_prior": True}, set()),
        ({"effective_from_ns": AS_OF_NS + 1, "covers_prior": True}, {6}),
        ({"effective_from_ns": AS_OF_NS + 1}, {6, 10}),
        ({"effective_from_ns": AS_OF_NS + 1, "status": "refused"}, {4}),
        ({"purpose": "advertise"}, {3}),
    ],
)
def test_reference_judges_records_as_counted_by_hand(
    changes: dict[str, Any], expected: set[int]
) -> None:
    assert judge_one(consent=replace(CONSENT, **changes)) == expected


@pytest.mark.parametrize(
    ("registry_as_of_ns", "expected"),
    [(BEGIN_NS, set()), (BEGIN_NS - 1, {12}), (BEGIN_NS - 1000, {12}), (None, set())],
)
def test_reference_judges_registry_ages_as_counted_by_hand(
    registry_as_of_ns: int | None, expected: set[int]
) -> None:
    assert judge_one(registry_as_of_ns=registry_as_of_ns) == expected


@pytest.mark.parametrize(
    ("visibility", "public_since_ns", "expected"),
    [
        ("public", BEGIN_NS, set()),
        ("public", BEGIN_NS + 1, {0}),
        ("Public", None, {0}),
        (None, None, {1}),
        (None, BEGIN_NS + 1, {0, 1}),
        ("private", BEGIN_NS + 1, {0}),
    ],
)
def test_reference_judges_channels_as_counted_by_hand(
    visibility: str | None, public_since_ns: int | None, expected: set[int]
) -> None:
    assert judge_one(channel=Channel("room", visibility, public_since_ns)) == expected


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"max_consent_age_us": 10**9}, {7}),
        ({"max_consent_age_us": 10**9 + 1}, set()),
        ({"notice_versions": frozenset({"v1"})}, {9}),
        ({"purposes": frozenset({"train_ai_system", "analyse"})}, {3}),
        ({"subject_rules": (ReferenceRule("r", "age", any_of=("child",)),)}, {16}),
        ({"subject_rules": (ReferenceRule("r", "age", none_of=("adult",)),)}, {16}),
        ({"subject_rules": (ReferenceRule("r", "age", none_of=("child",)),)}, set()),
        ({"subject_rules": (ReferenceRule("r", "age", is_null=True),)}, set()),
        ({"subject_rules": (ReferenceRule("r", "tier", any_of=("x",)),)}, {16}),
        ({"subject_rules": (ReferenceRule("r", "number", any_of=(True,)),)}, set()),
        (
            {
                "record_rules": (ReferenceRule("r", "language", any_of=("de",)),),
                "subject_rules": (ReferenceRule("s", "number", any_of=(1,)),),
            },
            {16, 17},
        ),
    ],
)
def test_reference_applies_policies_as_counted_by_hand(
    changes: dict[str, Any], expected: set[int]
) -> None:
    message = replace(MESSAGE, attributes={"language": "de"})
    consent = replace(CONSENT, attributes={"age": "child", "tier": None, "number": 1})
    assert judge_one(message, consent, policy=replace(POLICY, **changes)) == expected


@pytest.mark.parametrize(("of_messages", "of_records"), list(product(NS_BY_UNIT, NS_BY_UNIT)))
def test_instants_beyond_64_bits_never_admit_what_the_reference_excludes(
    of_messages: str, of_records: str
) -> None:
    scenario = make_extreme_scenario(NS_BY_UNIT[of_messages], NS_BY_UNIT[of_records])
    pairs = zip(scenario.decide(), scenario.reference_bits(), strict=True)
    assert [(found, bits) for found, bits in pairs if bits and not found] == []


def make_extreme_scenario(message_unit_ns: int, record_unit_ns: int) -> Scenario:
    """Least and greatest instants of one unit, judged against those of another."""
    least_and_greatest = (-(2**63), 2**63 - 1)
    instants = [count * record_unit_ns for count in least_and_greatest]
    rows = list(product(least_and_greatest, range(2), range(2)))
    attributes = dict.fromkeys(SUBJECT_ATTRIBUTES)
    return Scenario(
        policy=POLICY,
        consents=tuple(
            replace(CONSENT, subject=at, effective_from_ns=instant, attributes=attributes)
            for at, instant in enumerate(instants)
        ),
        channels=tuple(Channel(at, "public", instant) for at, instant in enumerate(instants)),
        columns=(
            Column("message_id", "integer", tuple(range(len(rows)))),
            Column("sender_id", "integer", tuple(subject for _, subject, _ in rows)),
            Column("channel_id", "integer", tuple(channel for _, _, channel in rows)),
            make_instants("created_at", [count * message_unit_ns for count, _, _ in rows]),
            *(
                Column(name, family, (None,) * len(rows))
                for name, family in RECORD_ATTRIBUTES.items()
            ),
        ),
        subject_names=("sender_id",),
        channel_names=("channel_id",),
        visibility_name=None,
        subject_family="integer",
        channel_family="integer",
        as_of=AS_OF,
        registry_as_of=AS_OF,
        judged_at=AS_OF,
    )
