"""Judge a Hugging Face data set. With a new snapshot, cached results of an older one are not used.

python examples/hugging_face_dataset.py
"""

from datasets import Dataset

from chitchat import MESSAGES, open_gate
from consentgate.adapters import huggingface as gated


def main() -> None:
    """Filter the messages before other functions are mapped over them."""
    messages = Dataset.from_parquet(str(MESSAGES))
    admitted = gated.filter(messages, open_gate())
    lengths = admitted.map(lambda row: {"length": len(row["text"])})
    print("train on", lengths.num_rows, "messages with", lengths.column_names)


if __name__ == "__main__":
    main()
