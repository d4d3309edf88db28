"""Explaining a decision: every reason in words, and the record behind each.

For one record at a time, so here a loop over rows is fine. It shows subject ids and consent
records, which ledgers never do; but only as text that is asked for (`str`), never in a `repr`.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import pyarrow as pa

from consentgate.arrow import read_instants
from consentgate.columns import Columns
from consentgate.decision import Decision
from consentgate.errors import RecordNotFoundError
from consentgate.index import rows_with
from consentgate.inputs import ChannelRegistry, ConsentSnapshot
from consentgate.policy import Policy
from consentgate.reasons import FIRST_RULE_BIT, REASONS


@dataclass(frozen=True, repr=False)
class Reference:
    """Something that a row names, and what is on record about it.

    Attributes:
        column: the column that names it.
        id: its id, None for a null.
        purpose: the purpose asked for, None for a channel.
        record: what the snapshot or registry holds, by column; None when it holds nothing.
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
class RowExplanation:
    """Why one row is admitted or excluded.

    Attributes:
        row: its position in the table.
        reasons: the code and the words of every reason that applies, the primary one first; empty
            when the row is admitted.
        created_at: when it was written, in UTC, as text; None for a null.
        visibility: the row's own, where the gate looks at one.
        channels: the channels that the row names.
        subjects: the data subjects that the row names, once for each purpose.
    """

    row: int
    reasons: tuple[tuple[str, str], ...]
    created_at: str | None
    visibility: str | None
    channels: tuple[Reference, ...]
    subjects: tuple[Reference, ...]

    def __repr__(self) -> str:
        return f"<RowExplanation: row {self.row}, {len(self.reasons)} reasons>"

    def __str__(self) -> str:
        verdict = "excluded, because" if self.reasons else "admitted"
        lines = [f"row {self.row}, written {_show(self.created_at)}: {verdict}"]
        lines += [f"  - {code}: {words}" for code, words in self.reasons]
        lines += [f"  visibility {self.visibility}"] if self.visibility is not None else []
        lines += [f"  channel {reference}" for reference in self.channels]
        lines += [f"  subject {reference}" for reference in self.subjects]
        return "\n".join(lines)


@dataclass(frozen=True, repr=False)
class Explanation:
    """Why the rows with one record id are admitted or excluded.

    `str` gives it as text, ids of people included; `repr`, which gets into logs, holds none.
    """

    record_id: Any
    rows: tuple[RowExplanation, ...]

    def __repr__(self) -> str:
        return f"<Explanation: {len(self.rows)} rows; str() shows ids>"

    def __str__(self) -> str:
        return "\n".join([f"record {_show(self.record_id)}", *map(str, self.rows)])


def explain(
    policy: Policy,
    consent: ConsentSnapshot,
    channels: ChannelRegistry | None,
    columns: Columns,
    table: pa.Table,
    decision: Decision,
    record_id: Any,
) -> Explanation:
    """Explain what was decided of the rows that have a record id.

    Raises:
        RecordNotFoundError: None has it.
    """
    rows = rows_with(table.column(columns.record_id), record_id)
    if not rows:
        raise RecordNotFoundError(
            f"No row has the record id asked for in column '{columns.record_id}' "
            f"({table.column(columns.record_id).type}); check the id and its type."
        )
    words = _reason_words(policy, decision)
    explained = []
    for row in rows:
        bits = decision.reason_bits[row].as_py()
        values = _record(table.select(_named_columns(columns)), row)
        explained.append(
            RowExplanation(
                row,
                tuple(pair for bit, pair in words.items() if bits >> bit & 1),
                values[columns.created_at],
                values[columns.visibility] if columns.visibility is not None else None,
                tuple(_channel_references(columns, channels, values)),
                tuple(_subject_references(columns, policy, consent, values)),
            )
        )
    return Explanation(record_id, tuple(explained))


def _reason_words(policy: Policy, decision: Decision) -> dict[int, tuple[str, str]]:
    words = {reason.bit: reason.sentence for reason in REASONS}
    for at, rule in enumerate(policy.record_rules + policy.subject_rules):
        words[FIRST_RULE_BIT + at] = f"the policy excludes it by a rule on '{rule.column}'"
    return {bit: (name, words[bit]) for bit, name in decision.reason_names.items()}


def _named_columns(columns: Columns) -> list[str]:
    own = [] if columns.visibility is None else [columns.visibility]
    return list(dict.fromkeys([*columns.subjects, *columns.channels, columns.created_at, *own]))


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
    """One row by column, its timestamps as text, whatever their unit."""
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
    micros = int(read_instants(instant, "instant", assume_timezone="UTC").floor[0])
    try:
        return (datetime(1970, 1, 1) + timedelta(microseconds=micros)).isoformat() + "Z"
    except OverflowError:
        return f"{micros} microseconds from 1970"


def _show(value: Any) -> str:
    return "null" if value is None else str(value)
