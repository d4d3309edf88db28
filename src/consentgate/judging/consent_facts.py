"""The facts that a gate has about each subject, compiled for one policy."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from consentgate.arrow import (
    EARLIEST,
    LATEST,
    Bits,
    Bools,
    Int64s,
    Uint64s,
    as_micros,
    booleans,
    for_each,
    from_numpy,
    from_texts,
    one_chunk,
    read_instants,
    row_blocks,
    valid_mask,
)
from consentgate.index import Index, first_rows, pack_instants, with_rests
from consentgate.inputs import EARLIEST_START, STATUSES, VALID_STATUSES, ConsentSnapshot
from consentgate.judging.facts import Facts, Meaning
from consentgate.judging.reason_bits import bits_of_words, flag, where_valid
from consentgate.judging.rules import find_rule_column, match_rule
from consentgate.policy import Policy
from consentgate.reasons import FIRST_RULE_BIT, Reason

_NO_RECORD = np.uint32(Reason.NO_CONSENT_RECORD)
_FIRST_BIT = int(_NO_RECORD).bit_length() - 1
_RECORD_COLUMNS = {
    *("subject_id", "purpose", "status", "method", "notice_version"),
    *("effective_from", EARLIEST_START, "expires_at", "covers_prior"),
}


def consent_bits(policy: Policy) -> int:
    """How many bits of a subject's facts hold reasons."""
    last_bit = int(Reason.NOTICE_NOT_ACCEPTED).bit_length()
    if policy.subject_rules:
        last_bit = FIRST_RULE_BIT + len(policy.record_rules) + len(policy.subject_rules)
    return last_bit - _FIRST_BIT


def consent_meaning(policy: Policy) -> Meaning:
    """The meaning of the bits of a subject's facts.

    Their lowest bits hold the reasons from NO_CONSENT_RECORD on that do not depend on time.
    Messages from before the instant `since` predate a consent. The instant `until` is the one at
    which a consent expires.
    """
    return Meaning(
        first_reason=_FIRST_BIT,
        reason_bits=consent_bits(policy),
        unknown=Reason.NO_CONSENT_RECORD,
        null=Reason.SUBJECT_MISSING,
        before_since=Reason.PREDATES_CONSENT,
        after_until=Reason.CONSENT_EXPIRED,
    )


def compile_consent(policy: Policy, consent: ConsentSnapshot) -> Facts:
    """The facts about each subject, united over all the policy's purposes."""
    records = _Records.read(policy, consent)
    reason_bits = consent_bits(policy)
    facts = _stored(records.bits)
    not_after = np.invert(records.valid_until, out=records.valid_until)
    instants = [records.valid_from, not_after]
    # with an age limit there is always a layout for ends, so a gate file without one is refused
    always = None if policy.max_consent_age is None else 1
    layouts, rests = pack_instants(facts, reason_bits, instants, always=always)
    subjects = records.subjects
    del records, instants, not_after  # lowers the peak of memory
    is_whole = len(facts) == consent.table.num_rows
    rows = consent.take_row_table() if is_whole and len(policy.purposes) == 1 else None
    index, rests = Index.build(subjects, facts, rests, rows=rows)
    return Facts(index, consent_meaning(policy), *with_rests(layouts, rests))


def _stored(bits: Bits) -> Uint64s:
    """The reasons against n subjects as facts hold them."""
    facts = np.empty(len(bits), np.uint64)

    def store(rows: slice) -> None:
        facts[rows] = (bits[rows] ^ _NO_RECORD) >> np.uint32(_FIRST_BIT)

    for_each(store, row_blocks(len(bits)))
    return facts


@dataclass(frozen=True, repr=False)
class _Records:
    """The subjects, each once, with the reasons and instants of all their records.

    Attributes:
        subjects: n ids.
        bits: the reasons, n uint32.
        valid_from: the latest begin of a consent that does not cover prior messages, n int64
            microseconds since 1970 in UTC; EARLIEST if there is none.
        valid_until: the earliest end of a consent, in the same unit; LATEST if there is none.
    """

    subjects: pa.Array
    bits: Bits
    valid_from: Int64s
    valid_until: Int64s

    @classmethod
    def read(cls, policy: Policy, consent: ConsentSnapshot) -> "_Records":
        """Unite a snapshot's records for the policy's purposes by subject."""
        table = consent.table
        for rule in policy.subject_rules:
            find_rule_column(table.schema, rule, "consent snapshot")
        purposes = sorted(policy.purposes)
        as_of = as_micros(consent.as_of, name="as_of")
        records = [cls._of_purpose(policy, table, purpose, as_of) for purpose in purposes]
        return records[0] if len(records) == 1 else cls._united(records)

    @classmethod
    def _of_purpose(cls, policy: Policy, table: pa.Table, purpose: str, as_of: int) -> "_Records":
        looked_at = _RECORD_COLUMNS | {rule.column for rule in policy.subject_rules}
        used = table.select([name for name in table.column_names if name in looked_at])
        wanted = pc.is_in(used["purpose"].chunk(0).dictionary, from_texts([purpose]))
        if not pc.all(wanted).as_py():
            used = used.take(pc.indices_nonzero(wanted.take(used["purpose"].chunk(0).indices)))
        columns = {name: one_chunk(used[name]) for name in used.column_names}
        n = used.num_rows
        records = cls(
            columns["subject_id"],
            np.empty(n, np.uint32),
            np.empty(n, np.int64),
            np.empty(n, np.int64),
        )

        def judge(rows: slice) -> None:
            block = {name: column[rows] for name, column in columns.items()}
            is_valid = (
                bits_of_words(block["status"], dict.fromkeys(VALID_STATUSES, 1), other=0) == 1
            )
            bits = _record_bits(policy, block, is_valid) | _rule_bits(policy, block)
            bits |= flag(is_valid & _begins_after(block, as_of), Reason.CONSENT_NOT_GIVEN)
            records.bits[rows] = bits
            records.valid_from[rows] = _valid_from(block, is_valid)
            records.valid_until[rows] = _valid_until(policy, block, is_valid)

        for_each(judge, row_blocks(n))
        return records

    @classmethod
    def _united(cls, records: list["_Records"]) -> "_Records":
        """Unite the records for several purposes by subject.

        A subject without a record for each purpose gets the reason NO_CONSENT_RECORD.
        """
        mentions = pa.concat_arrays([some.subjects for some in records])
        first = first_rows(mentions)
        is_first = first == np.arange(len(first))
        subjects = mentions.filter(from_numpy(is_first))
        bits, purposes = np.zeros(len(subjects), np.uint32), np.zeros(len(subjects), np.int64)
        valid_from = np.full(len(subjects), EARLIEST)
        valid_until = np.full(len(subjects), LATEST)
        codes, start = (np.cumsum(is_first) - 1)[first], 0
        for some in records:
            at = codes[start : start + len(some.bits)]
            start += len(at)
            purposes[at] += 1
            bits[at] |= some.bits
            valid_from[at] = np.maximum(valid_from[at], some.valid_from)
            valid_until[at] = np.minimum(valid_until[at], some.valid_until)
        bits |= flag(purposes < len(records), Reason.NO_CONSENT_RECORD)
        return cls(subjects, bits, valid_from, valid_until)


def _record_bits(policy: Policy, columns: Mapping[str, pa.Array], is_valid: Bools) -> Bits:
    """Those of bits 4 to 9 that do not depend on instants."""
    by_status = {word: int(reason or 0) for word, reason in STATUSES.items()}
    bits = bits_of_words(columns["status"], by_status, other=Reason.CONSENT_NOT_GIVEN)
    accepted = {"method": (policy.methods, Reason.CONSENT_NOT_EXPLICIT)}
    if policy.notice_versions is not None:
        accepted["notice_version"] = (policy.notice_versions, Reason.NOTICE_NOT_ACCEPTED)
    for name, (words, reason) in accepted.items():
        if name in columns:
            against = bits_of_words(columns[name], dict.fromkeys(words, 0), other=reason)
        else:
            against = np.full(len(bits), np.uint32(reason))
        bits |= np.where(is_valid, against, np.uint32(0))
    return bits


def _rule_bits(policy: Policy, columns: Mapping[str, pa.Array]) -> Bits:
    bits = np.zeros(len(columns["subject_id"]), dtype=np.uint32)
    first = FIRST_RULE_BIT + len(policy.record_rules)
    for number, rule in enumerate(policy.subject_rules):
        bits |= flag(match_rule(rule, columns[rule.column]), 1 << (first + number))
    return bits


def _begins_after(columns: Mapping[str, pa.Array], as_of: int) -> Bools:
    """A mask that is true where a consent begins after the snapshot's `as_of`."""
    if "effective_from" not in columns:
        return np.zeros(len(columns["status"]), np.bool_)
    starts = read_instants(columns["effective_from"], "effective_from")
    begins = starts.ceil > as_of
    return begins if starts.valid is None else begins & starts.valid


def _valid_from(columns: Mapping[str, pa.Array], is_valid: Bools) -> Int64s:
    if "effective_from" not in columns:
        return np.full(len(is_valid), EARLIEST)
    looked_at = is_valid
    if "covers_prior" in columns:
        covers_prior = booleans(columns["covers_prior"])
        if (known := valid_mask(columns["covers_prior"])) is not None:
            covers_prior &= known
        looked_at = is_valid & ~covers_prior
    starts = read_instants(columns["effective_from"], "effective_from")
    return where_valid(starts.ceil, looked_at, EARLIEST)


def _valid_until(policy: Policy, columns: Mapping[str, pa.Array], is_valid: Bools) -> Int64s:
    until = np.full(len(is_valid), LATEST)
    if "expires_at" in columns:
        ends = read_instants(columns["expires_at"], "expires_at")
        until = where_valid(ends.floor, ends.valid, LATEST)
    if policy.max_consent_age is not None and "effective_from" in columns:
        age = min(policy.max_consent_age // timedelta(microseconds=1), LATEST)
        # if a consent may have begun at either of two instants, its age counts from the earlier one
        name = EARLIEST_START if EARLIEST_START in columns else "effective_from"
        starts = read_instants(columns[name], name)
        until = np.minimum(until, np.minimum(starts.floor, LATEST - age) + age)
    return where_valid(until, is_valid, LATEST)
