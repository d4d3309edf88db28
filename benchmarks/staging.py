"""Filling a stage with a gate and the right answer, and comparing contestants with that answer."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from benchmarks.corpus import Corpus, Size, make_channels, make_consent
from benchmarks.datasets import make_written
from benchmarks.ids import IdKind
from benchmarks.peers import gate
from benchmarks.peers.base import Bits, WrongAnswerError
from benchmarks.process import cores, progress
from benchmarks.stage import Stage

__all__ = ["Found", "RightAnswer", "fill", "refuse_other"]

Int64s = npt.NDArray[np.int64]


def fill(stage: Stage, size: Size) -> Corpus:
    """Generate the data, and put the gate and the answer on the stage, but not the messages.

    Returns:
        The generated data.
    """
    progress("making messages and what goes with them")
    messages = make_written(size)
    consent = make_consent(IdKind.STRING, size.subjects)
    corpus = Corpus(messages, consent, make_channels(IdKind.STRING, size.channels))
    judge = gate.warm(corpus, cores()).make_gate()
    judge.save(stage.gate)
    decision = judge.decide(messages)
    columns = {
        "message_id": messages["message_id"],
        "reason_bits": decision.reason_bits,
        "admitted": decision.admitted,
        "text_bytes": pc.binary_length(messages["text"]),
    }
    pq.write_table(pa.table(columns), stage.answer)
    return corpus


class Found(NamedTuple):
    """The messages that a contestant gives out, as far as they are compared.

    Attributes:
        rows: how many messages there are.
        text_bytes: the bytes of all their texts.
        ids: their ids in any order; None if these are not known.
    """

    rows: int
    text_bytes: int
    ids: Int64s | None = None

    @classmethod
    def of(cls, messages: pa.Table | pa.RecordBatch) -> "Found":
        """The messages of a table or batch that has `text`, and may have `message_id`."""
        has_ids = "message_id" in messages.schema.names
        ids = messages["message_id"].to_numpy() if has_ids else None
        text_bytes = pc.sum(pc.binary_length(messages["text"])).as_py()
        return cls(messages.num_rows, text_bytes or 0, ids)


def refuse_other(name: str, found: Found, expected: Found) -> None:
    """Raise an error unless a contestant gives out the messages that it should.

    Args:
        expected: the right messages, with ascending ids.

    Raises:
        WrongAnswerError: The contestant gives out others.
    """
    is_right = found[:2] == expected[:2]
    if found.ids is not None and expected.ids is not None:
        is_right &= np.array_equal(np.sort(found.ids), expected.ids)
    if not is_right:
        raise WrongAnswerError(
            f"{name} does not give its {expected.rows} messages, but {found.rows} or others."
        )


@dataclass(frozen=True)
class RightAnswer:
    """The answer that contestants should give. Message ids are positions in these arrays.

    Attributes:
        bits: the reasons of each message.
        text_bytes: the bytes of each message's text.
    """

    bits: Bits
    text_bytes: Int64s

    @classmethod
    def read(cls, stage: Stage) -> "RightAnswer":
        """The answer that is on the stage."""
        table = pq.read_table(stage.answer, columns=["reason_bits", "text_bytes"])
        return cls(table["reason_bits"].to_numpy(), table["text_bytes"].to_numpy().astype(np.int64))

    @property
    def all(self) -> Found:
        """All messages."""
        return self._at(np.arange(len(self.bits)))

    @property
    def admitted(self) -> Found:
        """The admitted ones."""
        return self._at(np.flatnonzero(self.bits == 0))

    def _at(self, ids: Int64s) -> Found:
        return Found(len(ids), int(self.text_bytes[ids].sum()), ids)
