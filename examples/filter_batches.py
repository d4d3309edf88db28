"""Judge messages batch by batch, as a data loader does, with a ledger of the excluded rows.

python examples/filter_batches.py
"""

import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

import consentgate as cg

NOW = datetime.now(UTC)
BEGAN = NOW - timedelta(days=90)


def main() -> None:
    """Build a gate, stream messages through it, and print the ledger."""
    gate = cg.Gate(
        cg.Policy(subject_rules=(cg.Rule(name="minor", column="age_band", any_of=("13-17",)),)),
        cg.ConsentSnapshot.from_arrow(consent(), as_of=NOW),
        cg.ChannelRegistry.from_arrow(channels(), as_of=NOW),
    )
    with tempfile.TemporaryDirectory() as folder:
        reader = gate.stream(messages().to_batches(max_chunksize=2), ledger=folder)
        for batch in reader:
            print("train on", batch.column("text").to_pylist())
        del reader
        for part in Path(folder).glob("*.parquet"):
            print(pq.read_table(part).select(["record_id", "reason"]).to_pylist())
    print(gate.explain(messages(), 2))


def consent() -> pa.Table:
    """One row per subject and purpose."""
    return pa.table(
        {
            "subject_id": ["ada", "ben", "cleo"],
            "purpose": ["train_ai_system"] * 3,
            "status": ["given", "given", "withdrawn"],
            "method": ["explicit", "default_on", "explicit"],
            "effective_from": pa.array([BEGAN] * 3, pa.timestamp("us", "UTC")),
            "age_band": ["18+", "18+", "18+"],
        }
    )


def channels() -> pa.Table:
    """One row per channel."""
    return pa.table({"channel_id": ["town-hall", "dm-7"], "visibility": ["public", "private"]})


def messages() -> pa.Table:
    """The messages that people wrote."""
    return pa.table(
        {
            "message_id": [1, 2, 3, 4],
            "sender_id": ["ada", "ben", "cleo", "ada"],
            "channel_id": ["town-hall", "town-hall", "town-hall", "dm-7"],
            "created_at": pa.array([NOW - timedelta(days=1)] * 4, pa.timestamp("us", "UTC")),
            "text": ["hello, everyone", "hi", "good morning", "between us"],
        }
    )


if __name__ == "__main__":
    main()
