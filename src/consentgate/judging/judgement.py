"""The judgement (docs/semantics.md, section 4) over one block of messages.

It is pure: the bits depend on the block, the facts and the instant of judgement, and on nothing
else.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from consentgate.arrow import (
    LATEST,
    Bits,
    Int64s,
    as_micros,
    check_instants,
    find_column,
    is_list,
    is_text,
    list_items,
    plain_text,
    read_instants,
    spans,
    type_text,
    unite,
    valid_mask,
)
from consentgate.columns import Columns
from consentgate.errors import ColumnTypeError, GateRulesError, IdFamilyError
from consentgate.index import IdFamily, Matches, id_family
from consentgate.inputs import ChannelRegistry, ConsentSnapshot
from consentgate.judging.channel_facts import ChannelFacts, visibility_bits
from consentgate.judging.consent_facts import ConsentFacts
from consentgate.judging.lookup import Lookup
from consentgate.judging.reason_bits import flag
from consentgate.judging.rules import find_rule_column, match_rule
from consentgate.policy import Policy
from consentgate.reasons import FIRST_RULE_BIT, RULES_VERSION, Reason, reason_names


def _rules() -> tuple[int, dict[int, str]]:
    """The rules of judgement and the built-in reasons of this version."""
    return RULES_VERSION, reason_names()


@dataclass(frozen=True, repr=False)
class Judge:
    """All that judging needs besides the messages and the instant of judgement.

    Attributes:
        snapshot_as_of: the snapshot's `as_of`, in microseconds since 1970 in UTC.
        registry_as_of: the channel registry's `as_of`, in the same unit; None if there is none.
    """

    policy: Policy
    columns: Columns
    consent: ConsentFacts
    channels: ChannelFacts | None
    snapshot_as_of: int
    registry_as_of: int | None
    subject_family: IdFamily
    channel_family: IdFamily | None

    @classmethod
    def compile(
        cls,
        policy: Policy,
        consent: ConsentSnapshot,
        channels: ChannelRegistry | None,
        columns: Columns,
    ) -> "Judge":
        """Compile policy, snapshot and registry into the form in which they are looked up.

        Raises:
            RuleColumnMissingError, RuleColumnTypeError: A subject rule cannot be evaluated.
        """
        return cls(
            policy,
            columns,
            ConsentFacts.compile(policy, consent),
            None if channels is None else ChannelFacts.compile(policy, channels),
            as_micros(consent.as_of, name="as_of"),
            None if channels is None else as_micros(channels.as_of, name="as_of"),
            consent.id_family,
            None if channels is None else channels.id_family,
        )

    def __getstate__(self) -> tuple[Any, dict[str, Any]]:
        return _rules(), self.__dict__

    def __setstate__(self, state: tuple[Any, dict[str, Any]]) -> None:
        """Take a pickle over, unless a version with other rules of judgement made it."""
        rules, fields = state
        if rules != _rules():
            raise GateRulesError(
                "The gate was pickled by a version of consentgate with other rules of judgement "
                "than this version has; build the gate anew from its policy, snapshot and registry."
            )
        self.__dict__.update(fields)

    def check(self, schema: pa.Schema) -> list[str]:
        """Check a schema, and return the names of the columns that judging looks at.

        Raises:
            ColumnMissingError, ColumnAmbiguousError: A column is absent or occurs twice.
            ColumnTypeError: A column's type does not fit. The subclasses IdFamilyError,
                NaiveTimestampError and RuleColumnTypeError say more precisely why.
        """
        columns = self.columns
        for name in columns.subjects:
            _check_ids(schema, name, self.subject_family, lists=True)
        for name in columns.channels:
            _check_ids(schema, name, self.channel_family, lists=False)
        if columns.visibility is not None:
            _check_text(schema, columns.visibility)
        created_at = schema.field(_find(schema, columns.created_at, "created_at"))
        check_instants(created_at.type, columns.created_at, columns.assume_timezone)
        rules = [find_rule_column(schema, rule, "messages") for rule in self.policy.record_rules]
        named = [*columns.subjects, *columns.channels, columns.visibility, columns.created_at]
        named += [schema.field(at).name for at in rules]
        return list(dict.fromkeys(name for name in named if name is not None))

    def judge(self, block: pa.RecordBatch, now: int, lookup: Lookup) -> Bits:
        """The reasons against every row of a block.

        Args:
            block: n rows of a schema that `check` has accepted.
            now: the instant of judgement, microseconds since 1970 in UTC.
            lookup: the lookup that all blocks of one table share.

        Returns:
            n uint32, 0 = admitted.
        """
        created = read_instants(
            block.column(self.columns.created_at),
            self.columns.created_at,
            self.columns.assume_timezone,
        )
        written = created.floor
        bits = flag(created.ceil > self._known_until, Reason.AFTER_SNAPSHOT)
        if (valid := created.valid) is not None:
            bits = np.where(valid, bits, np.uint32(Reason.TIMESTAMP_MISSING))
            written = np.where(valid, created.floor, LATEST)
        bits |= self._channel_bits(block, written, lookup)
        bits |= self._subject_bits(block, written, now, lookup)
        for number, rule in enumerate(self.policy.record_rules):
            matched = match_rule(rule, block.column(rule.column))
            bits |= flag(matched, 1 << (FIRST_RULE_BIT + number))
        return bits

    @property
    def _known_until(self) -> int:
        """The earlier `as_of` of snapshot and registry, which know nothing about later messages."""
        as_of = self.snapshot_as_of, self.registry_as_of
        return min(instant for instant in as_of if instant is not None)

    def _channel_bits(self, block: pa.RecordBatch, created: Int64s, lookup: Lookup) -> Bits:
        bits = np.zeros(block.num_rows, dtype=np.uint32)
        if self.channels is not None:
            for name in self.columns.channels:
                matches = lookup.find(self.channels.index, block.column(name))
                bits |= self.channels.judge(matches, created)
        if self.columns.visibility is not None:
            words = block.column(self.columns.visibility)
            if not pa.types.is_dictionary(words.type):
                words = plain_text(words).dictionary_encode()
            bits |= visibility_bits(words, self.policy)
        return bits

    def _subject_bits(
        self, block: pa.RecordBatch, created: Int64s, now: int, lookup: Lookup
    ) -> Bits:
        bits = np.zeros(block.num_rows, dtype=np.uint32)
        named = np.zeros(block.num_rows, dtype=np.int64)
        for name in self.columns.subjects:
            column = block.column(name)
            if is_list(column.type):
                named += self._judge_lists(bits, column, created, now, lookup)
            else:
                matches = lookup.find(self.consent.index, column)
                bits |= self.consent.judge(matches, created, now)
                named += 1
        return bits | flag(named == 0, Reason.SUBJECT_MISSING)

    def _judge_lists(
        self, bits: Bits, lists: pa.Array, created: Int64s, now: int, lookup: Lookup
    ) -> Int64s:
        """Add the reasons against each row's list of subjects to `bits`, and return the lengths."""
        values, starts, counts = list_items(lists)
        if (present := valid_mask(lists)) is not None:
            bits |= flag(~present, Reason.SUBJECT_MISSING)
        holders = np.flatnonzero(counts)
        if holders.size:
            matches = lookup.find(self.consent.index, values)
            is_shared = counts.sum() > len(values)
            judge = self._judge_shared if is_shared else self._judge_apart
            bits[holders] |= judge(matches, starts[holders], counts[holders], created[holders], now)
        return counts

    def _judge_apart(
        self, matches: Matches, starts: Int64s, counts: Int64s, created: Int64s, now: int
    ) -> Bits:
        """The reasons against n rows, each of which names at least one subject.

        A subject is judged as often as it is named.
        """
        bounds = np.cumsum(counts) - counts
        has_others = len(matches.facts) > counts.sum()  # such as those of null lists
        if has_others or not np.array_equal(starts, bounds):
            matches = matches.take(spans(starts, counts))
        against = self.consent.judge(matches, np.repeat(created, counts), now)
        return np.bitwise_or.reduceat(against, bounds)

    def _judge_shared(
        self, matches: Matches, starts: Int64s, counts: Int64s, created: Int64s, now: int
    ) -> Bits:
        """The same for list views that overlap: subjects are judged once, then united by view.

        Overlapping views are not written out one after the other, because that could take any
        amount of memory.
        """
        bits = unite(np.bitwise_or, self.consent.judge_subjects(matches, now), starts, counts)
        begin = unite(np.maximum, self.consent.starts(matches), starts, counts)
        return bits | flag(begin > created, Reason.PREDATES_CONSENT)


def record_id_column(schema: pa.Schema, columns: Columns) -> int:
    """The position of the column of record ids, if a ledger can hold them.

    Judging does not look at them. `Gate.filter`, ledgers and runs need them.

    Raises:
        ColumnMissingError, ColumnAmbiguousError: The column is absent or occurs twice.
        ColumnTypeError: The column does not hold ids.
    """
    name = columns.record_id
    at = _find(schema, name, "record_id")
    kind = schema.field(at).type
    if id_family(kind) is None:
        raise ColumnTypeError(
            f"Column '{name}' (record_id) is {type_text(kind)} but must be an integer, string, "
            "UUID or 16-byte binary; cast it."
        )
    return at


def _check_ids(schema: pa.Schema, name: str, family: IdFamily | None, *, lists: bool) -> None:
    """Raise an error unless a column's ids are of a family. A column of type null fits all."""
    kind = schema.field(_find(schema, name, "subjects" if lists else "channels")).type
    item = kind.value_type if lists and is_list(kind) else kind
    own = id_family(item)
    if own is None and not pa.types.is_null(item):
        wanted = "ids or lists of ids" if lists else "ids"
        raise ColumnTypeError(
            f"Column '{name}' is {type_text(kind)} but must hold {wanted}: integers, strings or "
            "UUIDs; cast it."
        )
    if own is not None and own is not family:
        where = "consent snapshot" if lists else "channel registry"
        raise IdFamilyError(
            f"Column '{name}' is {type_text(kind)}, so its ids are {own}s, but those of the "
            f"{where} are {family}s; cast one of them."
        )


def _find(schema: pa.Schema, name: str, role: str) -> int:
    """The position of a column that `Columns` names in the field `role`."""
    return find_column(schema, name, role=role, hint=f"name the column in `Columns.{role}`")


def _check_text(schema: pa.Schema, name: str) -> None:
    kind = schema.field(_find(schema, name, "visibility")).type
    value = kind.value_type if pa.types.is_dictionary(kind) else kind
    if not (is_text(value) or pa.types.is_null(value)):
        raise ColumnTypeError(
            f"Column '{name}' (visibility) is {type_text(kind)} but must be text; cast it."
        )
