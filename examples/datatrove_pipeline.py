"""Judge documents in a datatrove pipeline, which also writes and counts the excluded ones.

python examples/datatrove_pipeline.py
"""

from datatrove.executor import LocalPipelineExecutor
from datatrove.pipeline.readers import ParquetReader
from datatrove.pipeline.writers import JsonlWriter

from chitchat import MESSAGES, open_gate
from consentgate.adapters.datatrove import consent_filter


def main() -> None:
    """Read messages, judge them, and write the admitted and the excluded ones."""
    reader = ParquetReader(str(MESSAGES.parent), glob_pattern=MESSAGES.name, id_key="message_id")
    step = consent_filter(open_gate(), exclusion_writer=JsonlWriter("pipeline/excluded"))
    pipeline = [reader, step, JsonlWriter("pipeline/clean")]
    stats = LocalPipelineExecutor(pipeline, logging_dir="pipeline/logs", skip_completed=False).run()
    print("train on", stats.stats[1].stats["forwarded"].total, "messages")


if __name__ == "__main__":
    main()
