"""Explains a decision: every reason in words, where it came from, and what is on record.

An explanation is for one record id at a time, so a loop over rows is fine here. Its `str` shows
subject ids and consent records, which ledgers never do. Its `repr` does not show them.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from consentgate.arrow import micros_text, read_instants
from consentgate.columns import Columns
from consentgate.errors import RecordNotFoundError
from consentgate.index import rows_with
from consentgate.inputs import ChannelRegistry, ConsentSnapshot
from consentgate.judging.judgement import Judge
from consentgate.judging.origins import Origin, find_origins
from consentgate.policy import Policy
from consentgate.reasons import FIRST_RULE_BIT, REASONS, reason_names


@dataclass(frozen=True, repr=False)
class Reference:
    """A subject or channel that a row names, and what is on record about it.

    Attributes:
        column: the column that names it.
        id: its id; None for a null.
        purpose: the policy's purpose that the record is for; None for a channel.
        record: the row of the snapshot or registry, by column; None if there is no row.
    """

    column: str
    id: Any
    purpose: str | None
    record: dict[str, Any] | None

    def __repr__(self) -> str:
        return f"<Reference: column '{self.column}', {'a' if self.record else 'no'} record>"

    def __str__(self) -> str:
        about = f"{self.column} {_show(self.id)}" + (f" for {self.purpose}" if self.purpose else "")
        if self.record is None:
            return f"{about}: no record"
        fields = [
            f"{name}={_show(value)}" for name, value in self.record.items() if value is not None
        ]
        return f"{about}: {', '.join(fields)}"


@dataclass(frozen=True, repr=False)
class ExplainedReason:
    """A reason against a row, and where it came from.

    Attributes:
        code: the reason's code, as in ledgers.
        words: the reason's meaning, as text.
        origins: every subject, channel or value that it came from, with its column and purpose. At
            least one, in the order of the columns.
    """

    code: str
    words: str
    origins: tuple[Origin, ...]

    def __repr__(self) -> str:
        return f"<ExplainedReason: {self.code}, {len(self.origins)} origins>"

    def __str__(self) -> str:
        return "\n".join([f"{self.code}: {self.words}", *(f"    {o}" for o in self.origins)])


@dataclass(frozen=True, repr=False)
class RowExplanation:
    """Why one row is admitted or excluded.

    Attributes:
        row: the position of the row in the table.
        reasons: every reason that applies, the primary one first. Empty if the row is admitted.
        created_at: when the message was written, in UTC, as text; None for a null.
        visibility: the row's own visibility; None for a null, and if the gate does not look at it.
        channels: the channels that the row names.
        subjects: the data subjects that the row names, once for each purpose.
    """

    row: int
    reasons: tuple[ExplainedReason, ...]
    created_at: str | None
    visibility: str | None
    channels: tuple[Reference, ...]
    subjects: tuple[Reference, ...]

    def __repr__(self) -> str:
        return f"<RowExplanation: row {self.row}, {len(self.reasons)} reasons>"

    def __str__(self) -> str:
        verdict = "excluded, because" if self.reasons else "admitted"
        lines = [f"row {self.row}, written {_show(self.created_at)}: {verdict}"]
        lines += [f"  - {reason}" for reason in self.reasons]
        lines += [f"  visibility {self.visibility}"] if self.visibility is not None else []
        lines += [f"  channel {reference}" for reference in self.channels]
        lines += [f"  subject {reference}" for reference in self.subjects]
        return "\n".join(lines)


@dataclass(frozen=True, repr=False)
class Explanation:
    """Why the rows with one record id are admitted or excluded.

    `str` of it is the whole text, which shows ids of people. `repr`, which may get into logs, shows
    no id.

    Attributes:
        record_id: the record id, as it was given to `Gate.explain`.
        rows: one explanation for each row that has this id, in the order of the table.
    """

    record_id: Any
    rows: tuple[RowExplanation, ...]

    def __repr__(self) -> str:
        return f"<Explanation: {len(self.rows)} rows; str() shows ids>"

    def __str__(self) -> str:
        return "\n".join([f"record {_show(self.record_id)}", *map(str, self.rows)])


def explain(
    judge: Judge,
    consent: ConsentSnapshot,
    channels: ChannelRegistry | None,
    table: pa.Table,
    record_id: Any,
    now: int,
) -> Explanation:
    """Explain the decisions on the rows that have a record id.

    Args:
        judge: the judge of the gate.
        consent, channels: the snapshot and the registry that it was compiled from.
        table: messages that `Judge.check` has accepted, with their record ids.
        record_id: a value as the column of record ids holds it.
        now: the instant of judgement, microseconds since 1970 in UTC.

    Raises:
        RecordNotFoundError: No row has the id.
    """
    column = table.column(judge.columns.record_id)
    rows = rows_with(column, record_id)
    if not rows:
        raise RecordNotFoundError(
            f"No row has the record id asked for in column '{judge.columns.record_id}' "
            f"({column.type}); check the id and its type."
        )
    judged = table.select(judge.check(table.schema))
    explained = (
        _explain_row(judge, consent, channels, judged.slice(row, 1), row, now) for row in rows
    )
    return Explanation(record_id, tuple(explained))


def _explain_row(
    judge: Judge,
    consent: ConsentSnapshot,
    channels: ChannelRegistry | None,
    table: pa.Table,
    row: int,
    now: int,
) -> RowExplanation:
    """Explain the one row that a table holds."""
    (batch,) = (batch for batch in table.to_batches() if batch.num_rows)
    columns, values = judge.columns, _record(table, 0)
    reasons = _reason_words(judge.policy)
    origins = find_origins(judge, consent, batch, now)
    return RowExplanation(
        row,
        tuple(ExplainedReason(*reasons[bit], found) for bit, found in origins.items()),
        values[columns.created_at],
        values[columns.visibility] if columns.visibility is not None else None,
        tuple(_channel_references(columns, channels, values)),
        tuple(_subject_references(columns, judge.policy, consent, values)),
    )


def _reason_words(policy: Policy) -> dict[int, tuple[str, str]]:
    """The code and the words of every reason, by its bit number."""
    words = {reason.bit: reason.sentence for reason in REASONS}
    for at, rule in enumerate(policy.record_rules + policy.subject_rules):
        words[FIRST_RULE_BIT + at] = f"the policy excludes it by a rule on '{rule.column}'"
    return {bit: (name, words[bit]) for bit, name in reason_names(policy.rule_names).items()}


def _channel_references(
    columns: Columns, channels: ChannelRegistry | None, values: dict[str, Any]
) -> Iterator[Reference]:
    for column in columns.channels if channels is not None else ():
        assert channels is not None
        rows = rows_with(channels.table.column("channel_id"), values[column])
        record = _record(channels.table.drop("channel_id"), rows[0]) if rows else None
        yield Reference(column, values[column], None, record)


def _subject_references(
    columns: Columns, policy: Policy, consent: ConsentSnapshot, values: dict[str, Any]
) -> Iterator[Reference]:
    for column in columns.subjects:
        value = values[column]
        for subject in value if isinstance(value, list) else [value]:
            rows = rows_with(consent.table.column("subject_id"), subject)
            records = [_record(consent.table.drop("subject_id"), row) for row in rows]
            by_purpose = {record["purpose"]: record for record in records}
            for purpose in sorted(policy.purposes):
                yield Reference(column, subject, purpose, by_purpose.get(purpose))


def _record(table: pa.Table, row: int) -> dict[str, Any]:
    """The values of one row by column. Timestamps of any unit are text."""
    values = {}
    for name, column in zip(table.column_names, table.columns, strict=True):
        if pa.types.is_timestamp(column.type):
            values[name] = _instant_text(column.slice(row, 1).combine_chunks())
        else:
            values[name] = column[row].as_py()
    return values


def _instant_text(instant: pa.Array) -> str | None:
    if instant.null_count:
        return None
    floor = read_instants(instant, "instant", assume_timezone="UTC").floor
    return micros_text(int(floor[0]))


def _show(value: Any) -> str:
    return "null" if value is None else str(value)
