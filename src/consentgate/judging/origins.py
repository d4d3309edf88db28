"""Finds the column, the subject or channel, and the purpose that a row's reasons came from.

Every channel, subject and value of a row is judged by itself, by the same code that judges whole
rows. The reasons against the row are the union of the results (docs/semantics.md, section 4.4).
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa

from consentgate.arrow import is_list, list_items, valid_mask
from consentgate.index import rows_with
from consentgate.inputs import ConsentSnapshot, only_rows
from consentgate.judging.consent_facts import compile_consent
from consentgate.judging.judgement import Judge
from consentgate.reasons import FIRST_RULE_BIT, Reason

_OF_CHANNELS = Reason.PRIVATE_CHANNEL | Reason.CHANNEL_UNKNOWN
_OF_INSTANTS = Reason.TIMESTAMP_MISSING | Reason.AFTER_SNAPSHOT
_OF_CONSENT = (
    Reason.NO_CONSENT_RECORD
    | Reason.CONSENT_REFUSED
    | Reason.CONSENT_WITHDRAWN
    | Reason.CONSENT_NOT_GIVEN
    | Reason.CONSENT_EXPIRED
    | Reason.CONSENT_NOT_EXPLICIT
    | Reason.NOTICE_NOT_ACCEPTED
    | Reason.PREDATES_CONSENT
)


@dataclass(frozen=True, repr=False)
class Origin:
    """The subject, channel or other value of a row that a reason came from.

    Attributes:
        column: the column of the messages that holds it.
        what: "subject", "channel" or "value".
        id: the id of the subject or channel. None for a null, for a row that names no subject, and
            for a value.
        purpose: the purpose for which consent is at fault; None if consent is not at fault.
    """

    column: str
    what: str
    id: Any = None
    purpose: str | None = None

    def __repr__(self) -> str:
        purpose = "" if self.purpose is None else f", purpose '{self.purpose}'"
        return f"<Origin: {self.what} in '{self.column}'{purpose}>"

    def __str__(self) -> str:
        own_id = "" if self.what == "value" else f" {'null' if self.id is None else self.id}"
        purpose = "" if self.purpose is None else f", purpose '{self.purpose}'"
        return f"{self.what}{own_id} in '{self.column}'{purpose}"


def find_origins(
    judge: Judge, consent: ConsentSnapshot, row: pa.RecordBatch, now: int
) -> dict[int, tuple[Origin, ...]]:
    """The origins of every reason that applies to a row, by the reason's bit number, in order.

    Args:
        judge: the judge of the gate.
        consent: the snapshot that it was compiled from.
        row: one row, with the columns that judging looks at.
        now: the instant of judgement, microseconds since 1970 in UTC.
    """
    candidates = _Candidates(judge, consent, row, now)
    origins: dict[int, dict[Origin, None]] = {}
    for origin, bits in candidates.all():
        for bit in _numbers(bits):
            origins.setdefault(bit, {})[origin] = None  # a subject may be named twice
    return {bit: tuple(origins[bit]) for bit in sorted(origins)}


@dataclass(frozen=True, repr=False)
class _Candidates:
    """All that reasons against one row can come from, each with the reasons that do."""

    judge: Judge
    consent: ConsentSnapshot
    row: pa.RecordBatch
    now: int

    def all(self) -> Iterator[tuple[Origin, int]]:
        """Every possible origin with its reasons, which may be none. One may come twice."""
        yield from self._channels()
        yield from self._subjects()
        bits = self._bits(self.judge, self.row)
        yield Origin(self.judge.columns.created_at, "value"), bits & _OF_INSTANTS
        for number, rule in enumerate(self.judge.policy.record_rules):
            yield Origin(rule.column, "value"), bits & 1 << (FIRST_RULE_BIT + number)

    def _channels(self) -> Iterator[tuple[Origin, int]]:
        columns = self.judge.columns
        for name in columns.channels:
            alone = replace(columns, channels=(name,), visibility=None)
            bits = self._bits(replace(self.judge, columns=alone), self.row)
            yield Origin(name, "channel", self._cell(name)), bits & _OF_CHANNELS
        if columns.visibility is not None:
            alone = replace(columns, channels=())
            bits = self._bits(replace(self.judge, columns=alone, channels=None), self.row)
            yield Origin(columns.visibility, "value"), bits & _OF_CHANNELS

    def _subjects(self) -> Iterator[tuple[Origin, int]]:
        mentions = [(name, ids) for name in self.judge.columns.subjects for ids in self._ids(name)]
        records = self._records_of([ids[0].as_py() for _, ids in mentions])
        purposes = sorted(self.judge.policy.purposes)
        by_purpose = {purpose: self._judge_of(purpose, records) for purpose in purposes}
        for name, ids in mentions:
            value = ids[0].as_py()
            if value is None:
                yield Origin(name, "subject"), int(Reason.SUBJECT_MISSING)
                continue
            alone = replace(self.judge.columns, subjects=(name,))
            at = self.row.column_names.index(name)
            row = self.row.set_column(at, name, ids)
            for purpose, judge in by_purpose.items():
                bits = self._bits(replace(judge, columns=alone), row)
                yield Origin(name, "subject", value, purpose), bits & self._of_consent
        is_anyone_named = any(ids[0].as_py() is not None for _, ids in mentions)
        for name in self.judge.columns.subjects:
            if not is_anyone_named or self._is_null_list(name):
                yield Origin(name, "subject"), int(Reason.SUBJECT_MISSING)

    def _records_of(self, subjects: list[Any]) -> ConsentSnapshot:
        """The snapshot's records about some subjects."""
        table = self.consent.table
        found = {row for subject in subjects for row in rows_with(table["subject_id"], subject)}
        return only_rows(self.consent, sorted(found))

    def _judge_of(self, purpose: str, records: ConsentSnapshot) -> Judge:
        """A judge that only looks at the consent for one purpose."""
        policy = self.judge.policy.model_copy(update={"purposes": {purpose}})
        return replace(self.judge, policy=policy, consent=compile_consent(policy, records))

    @property
    def _of_consent(self) -> int:
        """The bits of the reasons that come from the record of one subject."""
        policy = self.judge.policy
        first = FIRST_RULE_BIT + len(policy.record_rules)
        rules = range(first, first + len(policy.subject_rules))
        return int(_OF_CONSENT) | sum(1 << bit for bit in rules)

    def _bits(self, judge: Judge, row: pa.RecordBatch) -> int:
        return int(judge.judge(pa.Table.from_batches([row]), self.now, 1)[0])

    def _cell(self, name: str) -> Any:
        return self.row.column(name)[0].as_py()

    def _ids(self, name: str) -> Iterator[pa.Array]:
        """Every subject in a column, in an array of its own, nulls included."""
        column = self.row.column(name)
        if not is_list(column.type):
            yield column
            return
        items, (start,), (count,) = list_items(column)
        for at in range(start, start + count):
            yield items.slice(at, 1)

    def _is_null_list(self, name: str) -> bool:
        column = self.row.column(name)
        valid = valid_mask(column)
        return is_list(column.type) and valid is not None and not valid[0]


def _numbers(bits: int) -> Iterator[int]:
    """The numbers of the bits that are set, from the lowest on."""
    return (number for number in range(bits.bit_length()) if bits >> number & 1)
