"""Judge a Hugging Face data set; a new snapshot is never answered from an old cache.

python examples/hugging_face_dataset.py
"""

from datasets import Dataset

from chitchat import MESSAGES, open_gate
from consentgate.adapters import huggingface as gated


def main() -> None:
    """Filter before whatever else is mapped over the messages."""
    messages = Dataset.from_parquet(str(MESSAGES))
    admitted = gated.filter(messages, open_gate())
    lengths = admitted.map(lambda row: {"length": len(row["text"])})
    print("train on", lengths.num_rows, "messages with", lengths.column_names)


if __name__ == "__main__":
    main()
