"""Judge a Polars query, whose rows are read, judged and written batch by batch.

python examples/polars_lazy_frame.py
"""

import polars as pl

from chitchat import MESSAGES, open_gate
from consentgate.adapters import polars as gated


def main() -> None:
    """Write the texts of the admitted messages, and print why the others are excluded."""
    messages = gated.filter(pl.scan_parquet(MESSAGES), open_gate(), ledger="excluded-rows")
    messages.select("message_id", "text").sink_parquet("train.parquet")

    print("train on", pl.read_parquet("train.parquet").height, "messages")
    print(pl.scan_parquet("excluded-rows").group_by("reason").len().sort("len").collect())


if __name__ == "__main__":
    main()
