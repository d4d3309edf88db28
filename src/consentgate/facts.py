"""What a gate knows about each subject and each channel, compiled for one policy.

Facts lie in slot order beside their index, so judging is gathering them. Reason bits are stored
flipped by the reason that an unknown id gets: a zero, whether an empty slot or memory that was
never written, reads as "nothing is known", which excludes.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from consentgate._arrow import (
    EARLIEST,
    LATEST,
    Bits,
    Bools,
    Instants,
    Int64s,
    dictionary_codes,
    find_column,
    read_instants,
)
from consentgate._ids import read_ids
from consentgate.channels import ChannelRegistry
from consentgate.errors import ColumnMissingError, RuleColumnMissingError
from consentgate.index import Index
from consentgate.policy import Policy, Rule
from consentgate.reasons import FIRST_RULE_BIT, Reason
from consentgate.rules import check_rule, match_rule
from consentgate.snapshot import STATUSES, VALID_STATUSES, ConsentSnapshot

__all__ = ["ChannelFacts", "ConsentFacts", "find_rule_column", "flag", "visibility_bits"]


def flag(where: Bools, reason: int) -> Bits:
    """The reason's bit where a mask is true, else 0."""
    return where.astype(np.uint32) * np.uint32(reason)


def find_rule_column(schema: pa.Schema, rule: Rule, where: str) -> int:
    """The position of the column that a rule looks at, once its type is known to fit.

    Raises:
        RuleColumnMissingError, RuleColumnTypeError: The rule cannot be evaluated.
    """
    try:
        place = find_column(schema, rule.column, role=f"rule '{rule.name}', in the {where}")
    except ColumnMissingError as error:
        raise RuleColumnMissingError(str(error)) from error
    check_rule(rule, schema.field(place).type)
    return place


@dataclass(frozen=True)
class ConsentFacts:
    """What is known about each subject, over all the policy's purposes.

    Attributes:
        index: where each subject's facts lie.
        known: uint32 by slot: the reasons that hold at any time, flipped by NO_CONSENT_RECORD.
        valid_from: int64 by slot: messages from before this instant predate a consent.
        valid_until: int64 by slot: from this instant on a consent has expired.
    """

    index: Index
    known: Bits
    valid_from: Int64s
    valid_until: Int64s

    @classmethod
    def compile(cls, policy: Policy, consent: ConsentSnapshot) -> "ConsentFacts":
        """Unite each subject's records for the purposes asked for."""
        records = _Records.read(policy, consent.table)
        rows = records.rows_by_purpose
        index, slots = _index_subjects(consent.table["subject_id"].chunk(0), rows)

        bits = np.zeros(index.size, dtype=np.uint32)
        found = np.zeros(index.size, dtype=np.int64)
        valid_from = np.full(index.size, EARLIEST)
        valid_until = np.full(index.size, LATEST)
        for of_purpose, at in zip(rows, slots, strict=True):
            found[at] += 1
            bits[at] |= records.bits[of_purpose]
            valid_from[at] = np.maximum(valid_from[at], records.valid_from[of_purpose])
            valid_until[at] = np.minimum(valid_until[at], records.valid_until[of_purpose])
        bits |= flag(found < len(rows), Reason.NO_CONSENT_RECORD)
        bits[index.null] = Reason.SUBJECT_MISSING
        return cls(index, bits ^ np.uint32(Reason.NO_CONSENT_RECORD), valid_from, valid_until)

    def judge(self, slots: Int64s, created: Instants, now: int) -> Bits:
        """The reasons against n mentions of subjects, each in a message of its own instant."""
        bits = self.known[slots] ^ np.uint32(Reason.NO_CONSENT_RECORD)
        bits |= flag(self.valid_until[slots] <= now, Reason.CONSENT_EXPIRED)
        bits |= flag(created.floor < self.valid_from[slots], Reason.PREDATES_CONSENT)
        return bits


@dataclass(frozen=True)
class ChannelFacts:
    """What is known about each channel.

    Attributes:
        index: where each channel's facts lie.
        known: uint32 by slot: the reasons that hold at any time, flipped by CHANNEL_UNKNOWN.
        public_since: int64 by slot: messages from before this instant were written in private.
    """

    index: Index
    known: Bits
    public_since: Int64s

    @classmethod
    def compile(cls, policy: Policy, registry: ChannelRegistry) -> "ChannelFacts":
        """Sort the registry's channels into public, private and unknown."""
        table = registry.table
        index = Index(read_ids(table["channel_id"].chunk(0)))
        bits = np.full(index.size, np.uint32(Reason.CHANNEL_UNKNOWN))
        bits[index.slots] = visibility_bits(table["visibility"].chunk(0), policy)
        since = np.full(index.size, EARLIEST)
        if "public_since" in table.column_names:
            instants = read_instants(table["public_since"].chunk(0), "public_since")
            since[index.slots] = _where_valid(instants.ceil, instants.valid, EARLIEST)
        return cls(index, bits ^ np.uint32(Reason.CHANNEL_UNKNOWN), since)

    def judge(self, slots: Int64s, created: Instants) -> Bits:
        """The reasons against n messages for the channel of each."""
        bits = self.known[slots] ^ np.uint32(Reason.CHANNEL_UNKNOWN)
        bits |= flag(created.floor < self.public_since[slots], Reason.PRIVATE_CHANNEL)
        return bits


def visibility_bits(words: pa.DictionaryArray, policy: Policy) -> Bits:
    """What n visibilities say: nothing if public, else private, or unknown for a null."""
    by_word = {word: Reason(0) for word in policy.public_visibilities}
    return _bits_of_words(words, by_word, other=Reason.PRIVATE_CHANNEL, null=Reason.CHANNEL_UNKNOWN)


@dataclass(frozen=True)
class _Records:
    """Every consent record of a snapshot on its own: its reasons and instants, by row."""

    rows_by_purpose: list[Int64s]
    bits: Bits
    valid_from: Int64s
    valid_until: Int64s

    @classmethod
    def read(cls, policy: Policy, table: pa.Table) -> "_Records":
        columns = {name: table[name].chunk(0) for name in table.column_names}
        is_valid = _bits_of_words(columns["status"], dict.fromkeys(VALID_STATUSES, 1), other=0) == 1
        return cls(
            [_rows_of(columns["purpose"], purpose) for purpose in sorted(policy.purposes)],
            _record_bits(policy, columns, is_valid) | _rule_bits(policy, table),
            _valid_from(columns, is_valid),
            _valid_until(policy, columns, is_valid),
        )


def _rows_of(purposes: pa.DictionaryArray, purpose: str) -> Int64s:
    wanted = np.array([word == purpose for word in purposes.dictionary.to_pylist()], dtype=bool)
    rows: Int64s = np.flatnonzero(wanted[purposes.indices.to_numpy(zero_copy_only=False)])
    return rows


def _record_bits(policy: Policy, columns: Mapping[str, pa.Array], is_valid: Bools) -> Bits:
    """Bits 4 to 9, but for expiry by date."""
    by_status = {word: reason or Reason(0) for word, reason in STATUSES.items()}
    bits = _bits_of_words(columns["status"], by_status, other=Reason.CONSENT_NOT_GIVEN)
    accepted = {"method": (policy.methods, Reason.CONSENT_NOT_EXPLICIT)}
    if policy.notice_versions is not None:
        accepted["notice_version"] = (policy.notice_versions, Reason.NOTICE_NOT_ACCEPTED)
    for name, (words, reason) in accepted.items():
        if name in columns:
            against = _bits_of_words(columns[name], dict.fromkeys(words, 0), other=reason)
        else:
            against = np.full(len(bits), np.uint32(reason))
        bits |= np.where(is_valid, against, np.uint32(0))
    return bits


def _rule_bits(policy: Policy, table: pa.Table) -> Bits:
    bits = np.zeros(table.num_rows, dtype=np.uint32)
    first = FIRST_RULE_BIT + len(policy.record_rules)
    for place, rule in enumerate(policy.subject_rules):
        column = table.column(find_rule_column(table.schema, rule, "consent snapshot"))
        bits |= flag(match_rule(rule, column.chunk(0)), 1 << (first + place))
    return bits


def _valid_from(columns: Mapping[str, pa.Array], is_valid: Bools) -> Int64s:
    if "effective_from" not in columns:
        return np.full(len(is_valid), EARLIEST)
    looked_at = is_valid
    if "covers_prior" in columns:
        looked_at = is_valid & ~columns["covers_prior"].to_numpy(zero_copy_only=False)
    starts = read_instants(columns["effective_from"], "effective_from")
    return _where_valid(starts.ceil, looked_at, EARLIEST)


def _valid_until(policy: Policy, columns: Mapping[str, pa.Array], is_valid: Bools) -> Int64s:
    until = np.full(len(is_valid), LATEST)
    if "expires_at" in columns:
        ends = read_instants(columns["expires_at"], "expires_at")
        until = _where_valid(ends.floor, ends.valid, LATEST)
    if policy.max_consent_age is not None and "effective_from" in columns:
        age = min(policy.max_consent_age // timedelta(microseconds=1), LATEST)
        starts = read_instants(columns["effective_from"], "effective_from")
        until = np.minimum(until, np.minimum(starts.floor, LATEST - age) + age)
    return _where_valid(until, is_valid, LATEST)


def _bits_of_words(
    words: pa.DictionaryArray, by_word: Mapping[str, int], *, other: int, null: int | None = None
) -> Bits:
    """Each word's bits: from `by_word`, else `other`; `null` (by default `other`) for a null."""
    values = words.dictionary.to_pylist()
    null = other if null is None else null
    bits = [null if word is None else by_word.get(word, other) for word in values]
    table = np.array([*bits, null], dtype=np.uint32)
    return table[dictionary_codes(words)]


def _index_subjects(subjects: pa.Array, rows: list[Int64s]) -> tuple[Index, list[Int64s]]:
    """An index of the subjects in some rows, and the slots of those rows, purpose by purpose."""
    if len(rows) == 1:
        index = Index(
            read_ids(subjects if len(rows[0]) == len(subjects) else subjects.take(rows[0]))
        )
        return index, [index.slots]
    mentions = [subjects.take(of_purpose) for of_purpose in rows]
    index = Index(read_ids(pc.unique(pa.concat_arrays(mentions))))
    return index, [index.find(read_ids(of_purpose)) for of_purpose in mentions]


def _where_valid(values: Int64s, valid: Bools | None, otherwise: int) -> Int64s:
    return values if valid is None else np.where(valid, values, otherwise)
