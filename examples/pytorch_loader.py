"""Train on admitted messages with PyTorch, with two workers and a pause in between.

python examples/pytorch_loader.py
"""

import pyarrow as pa
import torch
from torchdata.stateful_dataloader import StatefulDataLoader

from chitchat import MESSAGES, open_gate
from consentgate.adapters import torch as gated


def to_tensor(batch: pa.RecordBatch) -> torch.Tensor:
    """Turn a batch into a tensor, in the workers. A tokenizer would go here."""
    return torch.tensor([len(text) for text in batch.column("text").to_pylist()])


def make_loader() -> StatefulDataLoader:
    """A loader of batches of admitted messages."""
    # all that the gate adds
    dataset = gated.filter(MESSAGES, open_gate(), batch_size=512, columns=["text"])
    return StatefulDataLoader(dataset, batch_size=None, num_workers=2, collate_fn=to_tensor)


def main() -> None:
    """Begin training, save its position, and go on from there."""
    before = make_loader()
    lengths = [next(iter(before))]
    state = before.state_dict()

    after = make_loader()
    after.load_state_dict(state)
    lengths += list(after)
    print(
        "train on", sum(map(len, lengths)), "messages of", int(torch.cat(lengths).sum()), "letters"
    )
    print("excluded after the pause:", after.dataset.counts.most_common(3))


if __name__ == "__main__":
    main()
