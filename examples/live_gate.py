"""Follow a store of gates, so that a running job honours a withdrawal.

python examples/live_gate.py
"""

import tempfile
from datetime import UTC, datetime, timedelta

import pyarrow as pa

import consentgate as cg

NOW = datetime.now(UTC)


def main() -> None:
    """Publish a gate, begin a job, publish another gate, and go on with the job."""
    with tempfile.TemporaryDirectory() as folder:
        store = cg.GateStore(folder)
        store.publish(gate({"ada": "given", "ben": "given"}, as_of=NOW - timedelta(minutes=2)))

        live = cg.GateStore(folder).live(check_every=timedelta(0))  # in the job
        for number in range(2):
            admitted, _ = live.filter(messages())
            print("train on", admitted["text"].to_pylist())
            if number == 0:  # meanwhile, in the process that knows about consent
                statuses = {"ada": "given", "ben": "withdrawn"}
                store.publish(gate(statuses, as_of=NOW - timedelta(minutes=1)))


def gate(statuses: dict[str, str], *, as_of: datetime) -> cg.Gate:
    """A gate that judges by the clock, as every published gate must."""
    consent = {
        "subject_id": list(statuses),
        "purpose": ["train_ai_system"] * len(statuses),
        "status": list(statuses.values()),
        "method": ["explicit"] * len(statuses),
        "effective_from": pa.array([NOW - timedelta(days=90)] * len(statuses)),
    }
    channels = pa.table({"channel_id": ["town-hall"], "visibility": ["public"]})
    return cg.Gate(
        cg.Policy(),
        cg.ConsentSnapshot.from_arrow(pa.table(consent), as_of=as_of),
        cg.ChannelRegistry.from_arrow(channels, as_of=as_of),
    )


def messages() -> pa.Table:
    """The messages that people wrote yesterday."""
    return pa.table(
        {
            "message_id": [1, 2],
            "sender_id": ["ada", "ben"],
            "channel_id": ["town-hall"] * 2,
            "created_at": pa.array([NOW - timedelta(days=1)] * 2),
            "text": ["hello, everyone", "hi"],
        }
    )


if __name__ == "__main__":
    main()
