"""Hypothesis strategies for whole scenarios: a policy, a snapshot, a registry and messages.

Every pool is small, so that ids and instants are often equal, or nearly equal. A scenario is
decoded from a few short byte strings, where each byte is a choice. These are quick to draw, and
shrink towards the first option of every pool, which gives one admitted row without any trouble.
Each kind of trouble is switched on or off for a whole scenario, so that admitted rows, and rows
with only one reason, stay frequent.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from hypothesis import strategies as st

from tests.layouts import LAYOUT_BYTES, Column, Layout, Tape
from tests.pools import (
    BEGINNINGS_NS,
    BEYOND_NS,
    CHANNEL_NAMES,
    DAY_NS,
    FAMILIES,
    IDS_BY_FAMILY,
    INTEGER_RANGES,
    ODD_METHODS,
    ODD_NOTICES,
    ODD_VALUES,
    ODD_VISIBILITIES,
    OTHER_PURPOSE,
    PARTS_OF_MICROSECOND_NS,
    PAYLOADS,
    PURPOSES,
    STATUSES,
    SUBJECT_NAMES,
    SUBJECT_SHAPES,
    UNITS_NS,
    USUAL_VALUES,
    ZONES,
    just_after,
    make_twins,
    near,
)
from tests.reference import Channel, Consent, ReferencePolicy, ReferenceRule
from tests.scenarios import (
    RECORD_ATTRIBUTES,
    RULED_ATTRIBUTES,
    SUBJECT_ATTRIBUTES,
    Scenario,
    make_instants,
    to_datetime,
)

T = TypeVar("T")
Ids = tuple[Sequence[Any], Sequence[Any]]


class Trouble(enum.IntFlag):
    """The kinds of trouble that a scenario may have."""

    SUBJECTS = enum.auto()
    STRANGERS = enum.auto()
    STATUS = enum.auto()
    METHOD = enum.auto()
    NOTICE = enum.auto()
    BEGINNING = enum.auto()
    ENDING = enum.auto()
    CREATED = enum.auto()
    CHANNELS = enum.auto()
    VISIBILITY = enum.auto()
    RULES = enum.auto()
    EXTREMES = enum.auto()


ALL_TROUBLE = sum(Trouble)
MOST_ROWS = 40
REGISTRY_LAGS_NS = (0, 1_000, DAY_NS, 0, 0, -1_000)
ROW_BYTES = 32
SUBJECT_BYTES = 48
CHANNEL_BYTES = 4
FRAME_BYTES = 64


@dataclass(frozen=True)
class World:
    """Everything that the tables of one scenario share."""

    trouble: Trouble
    policy: ReferencePolicy
    begin_ns: int
    as_of_ns: int
    now_ns: int
    subject_family: str
    subjects: tuple[Any, ...]
    channel_family: str
    channels: tuple[Any, ...]
    extreme_kinds: Trouble
    """The kinds of instants that may lie beyond 64 bits of microseconds: those of the messages, or
    all others, but not both. Two such instants cannot be told apart in 64 bits. Then it is certain
    that a row is excluded, but not with which bits.
    """

    def pick(self, tape: Tape, kind: Trouble, usual: Sequence[T], odd: Sequence[T]) -> T:
        """The next choice. If that kind of trouble is on, one choice in five is an odd option."""
        turn, case = divmod(tape.number(256), 5)  # so options from the 52nd on are never picked
        options = odd if case == 4 and odd and self.trouble & kind else usual
        return options[turn % len(options)]

    def pick_instant(
        self,
        tape: Tape,
        kind: Trouble,
        unit_ns: int,
        usual: Sequence[int | None],
        odd: Sequence[int | None],
    ) -> int | None:
        """The next instant, rounded and clamped to what a column of this unit can hold."""
        is_extreme = self.trouble & Trouble.EXTREMES and self.extreme_kinds & kind
        extremes = (BEYOND_NS, -BEYOND_NS) if is_extreme else ()
        instant = self.pick(tape, kind, usual, (*odd, *extremes))
        if instant is None:
            return None
        return clamp(instant // unit_ns) * unit_ns


def clamp(count: int) -> int:
    """The nearest int64."""
    return max(-(2**63), min(2**63 - 1, count))


def make_world(tape: Tape, trouble: Trouble) -> World:
    """Choose the policy, the instants and the ids."""
    whole_begin_ns = tape.pick(BEGINNINGS_NS)
    begin_ns = whole_begin_ns + tape.pick(PARTS_OF_MICROSECOND_NS)
    as_of_ns = whole_begin_ns + tape.pick((DAY_NS, 1_000_000, 1_000, 0))
    now_ns = as_of_ns + tape.pick((DAY_NS, 0, 1_000))
    subject_family, channel_family = tape.pick(FAMILIES), tape.pick(FAMILIES)
    return World(
        trouble=trouble,
        policy=make_policy(tape, trouble, (now_ns - whole_begin_ns) // 1_000),
        begin_ns=begin_ns,
        as_of_ns=as_of_ns,
        now_ns=now_ns,
        subject_family=subject_family,
        subjects=choose_known_ids(subject_family, tape),
        channel_family=channel_family,
        channels=choose_known_ids(channel_family, tape),
        extreme_kinds=tape.pick((Trouble.CREATED, ~Trouble.CREATED)),
    )


def choose_known_ids(family: str, tape: Tape) -> tuple[Any, ...]:
    """Return one to seven distinct ids that one column type can hold."""
    fitting = choose_fitting_ids(IDS_BY_FAMILY[family], family, tape)
    first, step = tape.number(len(fitting)), tape.pick((1, 1, 3, 5))
    picked = (fitting[(first + step * turn) % len(fitting)] for turn in range(1 + tape.number(7)))
    return tuple(dict.fromkeys(picked))


def choose_fitting_ids(ids: Sequence[Any], family: str, tape: Tape) -> tuple[Any, ...]:
    """Return the ids. Of integers, return those that fit one width, which is often 64 bits."""
    low, high = tape.pick((*INTEGER_RANGES[:1] * 4, *INTEGER_RANGES[:2] * 2, *INTEGER_RANGES))
    return tuple(i for i in ids if low <= i < high) if family == "integer" else tuple(ids)


def make_policy(tape: Tape, trouble: Trouble, elapsed_us: int) -> ReferencePolicy:
    """Choose a policy. A consent that began `elapsed_us` ago may be just too old for it."""
    ages: tuple[int | None, ...] = (None, elapsed_us + 30 * DAY_NS // 1_000)
    if trouble & Trouble.ENDING:
        ages = (*ages, *(max(1, elapsed_us + step) for step in (1, 0, 0, DAY_NS // 1_000)))
    return ReferencePolicy(
        purposes=frozenset(PURPOSES[: 1 + tape.number(3)]),
        methods=tape.pick((frozenset({"explicit"}), frozenset({"explicit", "imported"}))),
        notice_versions=tape.pick((None, frozenset({"v1"}), frozenset({"v1", "v2"}))),
        max_consent_age_us=tape.pick(ages),
        public_visibilities=tape.pick((frozenset({"public"}), frozenset({"public", "unlisted"}))),
        record_rules=make_rules(tape, trouble, RECORD_ATTRIBUTES, "record_rule"),
        subject_rules=make_rules(tape, trouble, RULED_ATTRIBUTES, "subject_rule"),
    )


def make_rules(
    tape: Tape, trouble: Trouble, attributes: dict[str, str], prefix: str
) -> tuple[ReferenceRule, ...]:
    """Choose up to two rules. Most of them match odd values only."""
    rules = []
    for position in range(tape.pick((0, 1, 2, 2, 2))):
        column = tape.pick(tuple(attributes))
        usual, odd = USUAL_VALUES[attributes[column]], ODD_VALUES[attributes[column]]
        mask, kind = tape.number(64), tape.number(8)
        listed = tuple(v for at, v in enumerate(odd) if mask >> at & 1 and v is not None)
        rule = ReferenceRule(f"{prefix}_{position}", column, any_of=listed or (odd[0],))
        if kind == 7 and trouble & Trouble.RULES:
            rule = replace(rule, any_of=(usual,))
        elif kind == 6:
            rule = replace(rule, any_of=None, is_null=True)
        elif kind >= 3:
            rule = replace(rule, any_of=None, none_of=(*listed[:1], usual))
        rules.append(rule)
    return tuple(rules)


def make_consents(world: World, frame: Tape, tapes: Sequence[Tape]) -> tuple[Consent, ...]:
    """Choose the consent records. Without trouble, a record is valid for every purpose."""
    begin_unit, end_unit = choose_unit(frame), choose_unit(frame)
    records = []
    for subject, tape in zip(world.subjects, tapes, strict=True):
        for purpose in (*sorted(world.policy.purposes), OTHER_PURPOSE):
            is_there = world.pick(tape, Trouble.STRANGERS, (True,), (False,))
            record = make_consent(world, tape, subject, purpose, begin_unit, end_unit)
            records.extend([record] * is_there)
    return tuple(records)


def make_consent(
    world: World, tape: Tape, subject: Any, purpose: str, begin_unit: int, end_unit: int
) -> Consent:
    """Choose one record."""
    policy, now = world.policy, world.now_ns
    ages = [now - policy.max_consent_age_us * 1_000] if policy.max_consent_age_us else []
    begins = (*near(world.begin_ns, world.as_of_ns, now), *just_after(*ages))
    status = world.pick(tape, Trouble.STATUS, ("given", "renewed"), STATUSES)
    begin = world.pick_instant(
        tape, Trouble.BEGINNING, begin_unit, (world.begin_ns, world.begin_ns - DAY_NS), begins
    )
    is_valid = status in ("given", "renewed")
    covers_prior = world.pick(tape, Trouble.BEGINNING, (None, False), (True,))
    attributes = make_attributes(world, tape, SUBJECT_ATTRIBUTES)
    return Consent(
        subject=subject,
        purpose=purpose,
        status=status,
        method=world.pick(tape, Trouble.METHOD, sorted(policy.methods), ODD_METHODS),
        effective_from_ns=begin if is_valid or tape.flip() else None,
        expires_at_ns=world.pick_instant(
            tape, Trouble.ENDING, end_unit, (None, now + DAY_NS), (*near(now), *just_after(now))
        ),
        covers_prior=covers_prior,
        notice_version=world.pick(
            tape, Trouble.NOTICE, sorted(policy.notice_versions or {"v1"}), ODD_NOTICES
        ),
        attributes=attributes | {"covers_prior": covers_prior},
    )


def make_attributes(world: World, tape: Tape, families: dict[str, str]) -> dict[str, Any]:
    """Choose a value for every attribute."""
    return {
        name: world.pick(tape, Trouble.RULES, (USUAL_VALUES[family],), ODD_VALUES[family])
        for name, family in families.items()
    }


def make_channels(world: World, frame: Tape, tapes: Sequence[Tape]) -> tuple[Channel, ...]:
    """Choose the registry."""
    unit_ns = choose_unit(frame)
    public = sorted(world.policy.public_visibilities)
    since = (None, world.begin_ns - DAY_NS, world.begin_ns)
    odd = near(world.begin_ns, world.as_of_ns)
    return tuple(
        Channel(
            channel=channel,
            visibility=world.pick(tape, Trouble.VISIBILITY, public, ODD_VISIBILITIES),
            public_since_ns=world.pick_instant(tape, Trouble.CHANNELS, unit_ns, since, odd),
        )
        for channel, tape in zip(world.channels, tapes, strict=True)
    )


def make_message_columns(world: World, frame: Tape, tapes: Sequence[Tape]) -> Iterator[Column]:
    """Choose the columns of the messages, one after the other."""
    yield make_record_ids(world, frame, tapes)
    shapes = [frame.pick(SUBJECT_SHAPES) for _ in range(frame.pick((1, 1, 2, 3)))]
    for name, shape in zip(SUBJECT_NAMES, shapes, strict=False):
        ids = choose_cell_ids(world.subjects, world.subject_family, frame)
        usual = (*shape, 0) if len(shapes) > 1 and len(shape) > 1 else shape
        cells = tuple(pick_subjects(world, tape, ids, usual) for tape in tapes)
        yield Column(name, world.subject_family, cells, is_list=bool(shape))
    for name in CHANNEL_NAMES[: frame.pick((1, 1, 2, 0))]:
        known, odd = choose_cell_ids(world.channels, world.channel_family, frame)
        cells = tuple(
            world.pick(tape, Trouble.CHANNELS, known, (None, None, *odd)) for tape in tapes
        )
        yield Column(name, world.channel_family, cells)
    public = sorted(world.policy.public_visibilities)
    words = (world.pick(tape, Trouble.VISIBILITY, public, ODD_VISIBILITIES) for tape in tapes)
    yield Column("visibility", "string", tuple(words))
    yield make_created_at(world, choose_unit(frame), tapes)
    attributes = [make_attributes(world, tape, RECORD_ATTRIBUTES) for tape in tapes]
    for name, family in RECORD_ATTRIBUTES.items():
        yield Column(name, family, tuple(row[name] for row in attributes))
    for name, arrow_type, values in frame.pick(PAYLOADS):
        cells = tuple(tape.pick(values) for tape in tapes)
        yield Column(name, "payload", cells, arrow_type=arrow_type)


def make_record_ids(world: World, frame: Tape, tapes: Sequence[Tape]) -> Column:
    """Choose the record ids. In some scenarios they are not unique."""
    family, start, repeat = (
        frame.pick(FAMILIES),
        frame.pick((0, 2**64 - 50, -5)),
        frame.pick((1, 2)),
    )
    cells: list[Any] = []
    for row, tape in enumerate(tapes):
        number = row // repeat
        by_family = {
            "integer": start + number,
            "string": f"m{number}",
            "uuid": number.to_bytes(16, "big"),
        }
        cells.append(world.pick(tape, Trouble.SUBJECTS, (by_family[family],), (None,)))
    return Column("message_id", family, tuple(cells), may_be_dictionary=False)


def pick_subjects(world: World, tape: Tape, ids: Ids, lengths: Sequence[int]) -> Any:
    """Choose one cell: an id or, if there are lengths to choose from, a list of ids."""
    if not lengths:
        return pick_subject(world, tape, ids)
    is_there = world.pick(tape, Trouble.SUBJECTS, (True,), (False,))
    length = world.pick(tape, Trouble.SUBJECTS, lengths, (0,) if len(lengths) > 1 else ())
    picked = tuple(pick_subject(world, tape, ids) for _ in range(length))
    return picked if is_there else None


def pick_subject(world: World, tape: Tape, ids: Ids) -> Any:
    """Choose one id: an id with records, an id that may have no record, or null."""
    known, odd = ids
    nulls = (None,) * (4 if world.trouble & Trouble.SUBJECTS else 0)
    strangers = odd if world.trouble & Trouble.STRANGERS else ()
    return world.pick(tape, Trouble.SUBJECTS | Trouble.STRANGERS, known, (*nulls, *strangers))


def choose_cell_ids(known: Sequence[Any], family: str, frame: Tape) -> Ids:
    """Return ids for a column of the messages. Its width may differ from the snapshot's."""
    twins = (twin for identifier in known[:4] for twin in make_twins(identifier))
    ids = (*twins, *IDS_BY_FAMILY[family], *known)
    fitting = choose_fitting_ids(ids, family, frame)
    return tuple(i for i in known if i in fitting) or fitting[:1], fitting


def make_created_at(world: World, unit_ns: int, tapes: Sequence[Tape]) -> Column:
    """Choose when the messages were written."""
    usual = (world.as_of_ns, world.begin_ns, (world.begin_ns + world.as_of_ns) // 2)
    odd = (*(None, world.as_of_ns + DAY_NS) * 4, *near(world.begin_ns, world.as_of_ns))
    cells = [world.pick_instant(tape, Trouble.CREATED, unit_ns, usual, odd) for tape in tapes]
    return make_instants("created_at", cells)


def choose_unit(frame: Tape) -> int:
    """Return the length of a timestamp's unit, in nanoseconds."""
    return frame.pick(UNITS_NS)


@st.composite
def scenarios(draw: st.DrawFn) -> Scenario:
    """Scenarios of 0 to 40 messages."""

    def draw_tapes(count: int, size: int) -> list[Tape]:
        return [Tape(draw(st.binary(min_size=size, max_size=size))) for _ in range(count)]

    trouble = Trouble(draw(st.integers(0, ALL_TROUBLE)))
    (frame,) = draw_tapes(1, FRAME_BYTES)
    world = make_world(frame, trouble)
    row_count = (draw(st.integers(0, MOST_ROWS)) + 1) % (MOST_ROWS + 1)  # the simplest is 1, not 0
    rows = draw_tapes(row_count, ROW_BYTES)
    consents = make_consents(world, frame, draw_tapes(len(world.subjects), SUBJECT_BYTES))
    channels = make_channels(world, frame, draw_tapes(len(world.channels), CHANNEL_BYTES))
    columns = tuple(make_message_columns(world, frame, rows))
    names = {column.name for column in columns}
    channel_names = tuple(name for name in CHANNEL_NAMES if name in names)
    zone = frame.pick(ZONES)
    return Scenario(
        policy=world.policy,
        consents=consents,
        channels=channels,
        columns=columns,
        subject_names=tuple(name for name in SUBJECT_NAMES if name in names),
        channel_names=channel_names,
        visibility_name="visibility" if frame.flip() or not channel_names else None,
        subject_family=world.subject_family,
        channel_family=world.channel_family,
        as_of=to_datetime(world.as_of_ns, zone),
        registry_as_of=to_datetime(world.as_of_ns + frame.pick(REGISTRY_LAGS_NS), zone),
        judged_at=to_datetime(world.now_ns, zone),
    )


def layouts() -> st.SearchStrategy[Layout]:
    """Layouts, which shrink towards the plain one."""
    full = st.binary(min_size=LAYOUT_BYTES, max_size=LAYOUT_BYTES)
    return full.map(lambda choices: choices.rstrip(b"\0"))
