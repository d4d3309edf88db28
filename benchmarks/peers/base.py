"""The interface that all contestants share, and the comparison of their answers."""

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa

__all__ = ["Answer", "Bits", "Contestant", "WrongAnswerError", "as_storage", "refuse_difference"]

Bits = npt.NDArray[np.uint32]


@dataclass(frozen=True)
class Answer:
    """The reasons of n messages: `bits[i]` belongs to the message `message_ids[i]`.

    Without ids, the bits are in the order of the messages.
    """

    bits: Bits
    message_ids: npt.NDArray[np.int64] | None = None

    def in_order(self, first: int) -> Bits:
        """The bits in the order of the messages, whose ids ascend by one from `first`."""
        if self.message_ids is None:
            return self.bits
        ordered = np.full(len(self.bits), np.uint32(0xFFFF_FFFF))
        ordered[self.message_ids - first] = self.bits
        return ordered


class Contestant(Protocol):
    """Something that judges messages. Only `judge` is timed."""

    @property
    def name(self) -> str:
        """The contestant's name in the tables."""
        ...

    def load(self, messages: pa.Table) -> Any:
        """The messages as this contestant holds them."""
        ...

    def judge(self, messages: Any) -> Any:
        """The reasons of every message, in memory, in the contestant's own form."""
        ...

    def read(self, judged: Any) -> Answer:
        """The reasons in a form that can be compared."""
        ...


class WrongAnswerError(Exception):
    """A contestant gives other reasons than the gate, so its time would mean nothing."""


def refuse_difference(name: str, found: Bits, expected: Bits) -> None:
    """Raise an error unless two contestants agree about every message.

    Raises:
        WrongAnswerError: They differ.
    """
    if len(found) != len(expected):
        raise WrongAnswerError(f"{name} answers {len(found)} rows of {len(expected)}.")
    if count := np.count_nonzero(found != expected):
        row = int(np.flatnonzero(found != expected)[0])
        raise WrongAnswerError(
            f"{name} differs in {count} rows of {len(expected)}, first in row {row}: "
            f"{found[row]:#x} instead of {expected[row]:#x}."
        )


def as_storage(table: pa.Table) -> pa.Table:
    """The table with every UUID as the 16 bytes that it is made of."""
    fields = [pa.field(field.name, _storage(field.type)) for field in table.schema]
    return table.cast(pa.schema(fields))


def _storage(kind: pa.DataType) -> pa.DataType:
    if isinstance(kind, pa.UuidType):
        return kind.storage_type
    if pa.types.is_list(kind):
        return pa.list_(_storage(kind.value_type))
    return kind
