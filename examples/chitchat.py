"""The messages and the gate of the demonstration, for the other examples."""

import subprocess
import sys
from pathlib import Path

import consentgate as cg

DEMO = Path("demo-output")
MESSAGES = DEMO / "messages.parquet"


def open_gate() -> cg.Gate:
    """Open a saved gate. The first call runs the demonstration and saves its gate."""
    if not DEMO.exists():
        subprocess.run([sys.executable, "-m", "consentgate", "demo"], check=True)
    path = DEMO / "train.gate"
    if not path.exists():
        consent = cg.ConsentSnapshot.read(DEMO / "consent.parquet")
        gate = cg.Gate(
            cg.Policy.load(DEMO / "policy.toml"),
            consent,
            cg.ChannelRegistry.read(DEMO / "channels.parquet"),
            columns=cg.Columns(subjects=("sender_id", "participant_ids")),
            judged_at=consent.as_of,  # the messages are of 2018; without it, the clock counts
        )
        gate.save(path)
    return cg.Gate.open(path)
