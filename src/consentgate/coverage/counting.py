"""Counts, batch by batch, how policy, snapshot, registry and messages fit each other."""

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import pyarrow as pa

from consentgate.arrow import (
    Bits,
    Bools,
    as_table,
    dictionary_codes,
    read_stream,
    refuse_other_schema,
    row_blocks,
)
from consentgate.coverage.ids import IdCounter, IdCoverage
from consentgate.coverage.report import Coverage
from consentgate.coverage.vocabularies import (
    MESSAGES,
    REGISTRY,
    SNAPSHOT,
    Question,
    Vocabulary,
    count_words,
    questions,
)
from consentgate.coverage.words import WordCounts
from consentgate.decision import Decision
from consentgate.inputs import ChannelRegistry, ConsentSnapshot
from consentgate.judging import Judge
from consentgate.reasons import FIRST_RULE_BIT, Reason, reason_names

_NEEDS = {
    SNAPSHOT: "The words and the spelling of ids of the consent snapshot: a gate that was opened "
    "holds no records. Give the snapshot that it was made of.",
    REGISTRY: "The words and the spelling of ids of the channel registry: a gate that was opened "
    "holds no registry. Give the one that it was made of.",
}


def tables_of(data: Any) -> Iterator[pa.Table]:
    """Give messages as tables: one table, or one for each batch of a stream or an iterable.

    For a stream, a table without rows comes first, which has the stream's schema.

    Raises:
        NotArrowError: `data` holds no Arrow data.
        SchemaMismatchError: A batch has another schema than the first.
        MalformedDataError: pyarrow cannot take the data over.
    """
    is_whole = isinstance(data, pa.Table) or hasattr(data, "__arrow_c_array__")
    if hasattr(data, "__arrow_c_stream__") and not is_whole:
        schema, batches = read_stream(data)
        yield pa.Table.from_batches([], schema)
        yield from map(as_table, batches)
    elif isinstance(data, Iterable) and not is_whole:
        first: pa.Schema | None = None
        for table in map(as_table, data):
            first = first or table.schema
            refuse_other_schema(first, table.schema)
            yield table
    else:
        yield as_table(data)


class CoverageCounter:
    """Makes a `Coverage` of messages, batch by batch.

    Args:
        judge: the judge of the gate.
        consent, channels: the snapshot and the registry that it was compiled from; None if they are
            not available, or if there is no registry.
        now: the instant of judgement, microseconds since 1970 in UTC.
    """

    def __init__(
        self,
        judge: Judge,
        consent: ConsentSnapshot | None,
        channels: ChannelRegistry | None,
        now: int,
    ) -> None:
        self._judge, self._consent, self._channels, self._now = judge, consent, channels, now
        self._rows = self._admitted = 0
        self._reasons: Counter[str] = Counter()
        self._subjects = IdCounter(
            judge.columns.subjects,
            judge.consent,
            now,
            None if consent is None else consent.table["subject_id"].chunk(0),
        )
        self._channel_ids = None if judge.channels is None else self._channel_counter()
        self._words = {
            question: WordCounts(question.named)
            for question in questions(judge.policy, judge.columns)
            if question.table == MESSAGES
        }

    def add(self, table: pa.Table, decision: Decision) -> None:
        """Count n messages.

        Args:
            table: messages that the gate has judged.
            decision: the decision on them.
        """
        self._rows += len(decision)
        self._admitted += decision.num_admitted
        self._reasons.update(decision.occurrences)
        named = [question.column for question in self._words]
        columns = [*self._judge.columns.subjects, *self._judge.columns.channels, *named]
        for batch in table.select(list(dict.fromkeys(columns))).to_batches():
            for rows in row_blocks(len(batch)):
                self._add(batch[rows])

    def _add(self, batch: pa.RecordBatch) -> None:
        self._subjects.add(batch)
        if self._channel_ids is not None:
            self._channel_ids.add(batch)
        for question, counts in self._words.items():
            counts.add(batch.column(question.column))

    def result(self) -> Coverage:
        """The coverage of all messages so far."""
        known, consenting, against = self._consents()
        order = reason_names(self._judge.policy.rule_names).values()
        return Coverage(
            self._rows,
            self._admitted,
            {code: self._reasons[code] for code in order if self._reasons[code]},
            self._subjects.result(),
            self._channel_coverage(),
            known,
            consenting,
            {code: against[code] for code in order if against[code]},
            self._unasked(),
            tuple(self._vocabularies()),
            tuple(self._not_checked()),
        )

    def _channel_counter(self) -> IdCounter:
        facts, registry = self._judge.channels, self._channels
        assert facts is not None
        listed = None if registry is None else registry.table["channel_id"].chunk(0)
        return IdCounter(self._judge.columns.channels, facts, self._now, listed)

    def _channel_coverage(self) -> IdCoverage | None:
        return None if self._channel_ids is None else self._channel_ids.result()

    def _consents(self) -> tuple[int, int, Counter[str]]:
        """Count the subjects that have a record for every purpose.

        Returns:
            Their number, the number of those whose consent is accepted, and the number of those
            that each reason applies to.
        """
        known = consenting = 0
        against: Counter[str] = Counter()
        names = reason_names(self._judge.policy.rule_names)
        for bits in self._judge.consent.entries(self._now):
            of_known = bits[bits & np.uint32(Reason.NO_CONSENT_RECORD) == 0]
            known += len(of_known)
            consenting += int(np.count_nonzero(of_known == 0))
            against.update(_rows_with_each(of_known, names))
        return known, consenting, against

    def _vocabularies(self) -> Iterator[Vocabulary]:
        for question in questions(self._judge.policy, self._judge.columns):
            counts = self._words.get(question) or self._count(question)
            if counts is not None:
                yield question.answered(counts)

    def _count(self, question: Question) -> WordCounts | None:
        """Count the words of the snapshot or registry; None if that is not available."""
        if question.table == REGISTRY and self._channels is not None:
            return count_words(question, self._channels.table)
        if question.table == SNAPSHOT and self._consent is not None:
            is_of_purposes = question.setting == "purposes" and not question.is_rule
            where = None if is_of_purposes else self._asked(self._consent)
            return count_words(question, self._consent.table, where)
        return None

    def _asked(self, consent: ConsentSnapshot) -> Bools:
        """A mask of the records for the policy's purposes."""
        purposes = consent.table["purpose"].chunk(0)
        asked = [word in self._judge.policy.purposes for word in purposes.dictionary.to_pylist()]
        return np.array([*asked, False], np.bool_)[dictionary_codes(purposes)]

    def _unasked(self) -> int | None:
        if self._consent is None:
            return None
        return int(np.count_nonzero(~self._asked(self._consent)))

    def _not_checked(self) -> Iterator[str]:
        if self._consent is None:
            yield _NEEDS[SNAPSHOT]
        if self._channels is None and self._judge.channels is not None:
            yield _NEEDS[REGISTRY]


def _rows_with_each(bits: Bits, names: dict[int, str]) -> dict[str, int]:
    last = max(names, default=FIRST_RULE_BIT)
    return {
        names[bit]: int(np.count_nonzero(bits & np.uint32(1 << bit)))
        for bit in range(last + 1)
        if bit in names
    }
