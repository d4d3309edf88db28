"""Functions that make snapshots, registries, messages and gates in one line.

A column is a list, a range or an Arrow array; anything else is repeated in every row, and ABSENT
leaves the column out. What is not said is such that the row is admitted.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa

import consentgate as cg

ABSENT = ...
MICRO = timedelta(microseconds=1)
BEGUN = datetime(2025, 1, 1, tzinfo=UTC)
WRITTEN = datetime(2025, 6, 1, tzinfo=UTC)
AS_OF = datetime(2026, 3, 1, tzinfo=UTC)
NOW = datetime(2026, 3, 2, tzinfo=UTC)


def build_table(columns: dict[str, Any]) -> pa.Table:
    """A table of the columns given."""
    given = {name: column for name, column in columns.items() if column is not ABSENT}
    lengths = [len(c) for c in given.values() if is_column(c)]
    rows = max(lengths, default=1)
    return pa.table({n: as_array(c if is_column(c) else [c] * rows) for n, c in given.items()})


def is_column(column: Any) -> bool:
    """Whether it is a whole column, and no value to be repeated."""
    return isinstance(column, list | range | pa.Array | pa.ChunkedArray)


def as_array(column: Any) -> Any:
    """The column in Arrow's own types."""
    return column if isinstance(column, pa.Array | pa.ChunkedArray) else pa.array(column)


def consent_table(**columns: Any) -> pa.Table:
    """Consent records; by default subject 1 has given consent."""
    known = {"subject_id": [1], "purpose": "train_ai_system", "status": "given"}
    return build_table({**known, "method": "explicit", "effective_from": BEGUN, **columns})


def channel_table(**columns: Any) -> pa.Table:
    """Channels; by default channel 10 is public."""
    return build_table({"channel_id": [10], "visibility": "public", **columns})


def message_table(**columns: Any) -> pa.Table:
    """Messages; by default message 0 of subject 1 in channel 10."""
    table = build_table({"sender_id": 1, "channel_id": 10, "created_at": WRITTEN, **columns})
    if "message_id" in columns:
        return table
    return table.append_column("message_id", pa.array(range(table.num_rows), pa.int64()))


def make_consent(**columns: Any) -> cg.ConsentSnapshot:
    """A snapshot as of AS_OF."""
    return cg.ConsentSnapshot.from_arrow(consent_table(**columns), as_of=AS_OF)


def make_channels(**columns: Any) -> cg.ChannelRegistry:
    """A registry as of AS_OF."""
    return cg.ChannelRegistry.from_arrow(channel_table(**columns), as_of=AS_OF)


def make_gate(
    consent: cg.ConsentSnapshot | None = None,
    channels: cg.ChannelRegistry | None = None,
    *,
    columns: cg.Columns | None = None,
    **policy: Any,
) -> cg.Gate:
    """A gate that judges as of NOW, by a policy of those fields."""
    columns = columns or cg.Columns()
    if channels is None and columns.channels:
        channels = make_channels()
    consent = consent or make_consent()
    return cg.Gate(cg.Policy(**policy), consent, channels, columns=columns, judged_at=NOW)


def reasons(gate: cg.Gate, messages: Any, **options: Any) -> list[list[str]]:
    """Every reason against each message, in order of precedence."""
    decision = gate.decide(messages, **options)
    words = decision.reason_bits.to_pylist()
    return [[n for bit, n in decision.reason_names.items() if word >> bit & 1] for word in words]
