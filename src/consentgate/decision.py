"""The decision on every row of a batch."""

from collections import Counter
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from consentgate.arguments import require
from consentgate.arrow import Bits, Int64s, from_numpy, from_texts, integers


@dataclass(frozen=True, eq=False)
class Decision:
    """A gate's decision on n rows, in their order. It copies nothing of the rows.

    Attributes:
        reason_bits: uint32 array of n entries, never null; 0 = admitted.
        reason_names: the code of every reason that could apply, by bit number, in order of
            precedence.
        gate_digest: the `digest` of the gate that judged. None if the gate was neither saved nor
            opened, because then it takes long to compute.

    Raises:
        TypeError: `reason_bits` or `reason_names` is of a wrong type.
    """

    reason_bits: pa.UInt32Array
    reason_names: dict[int, str]
    gate_digest: str | None = None

    def __post_init__(self) -> None:
        require(self.reason_bits, "reason_bits", pa.UInt32Array)
        require(self.reason_names, "reason_names", dict)

    def __len__(self) -> int:
        return len(self.reason_bits)

    def __repr__(self) -> str:
        excluded = ", ".join(f"{name} {rows:,}" for name, rows in self.counts.items())
        return (
            f"<Decision: {len(self):,} rows, {self.num_admitted:,} admitted, "
            f"{self.num_excluded:,} excluded{f' ({excluded})' if excluded else ''}>"
        )

    @cached_property
    def admitted(self) -> pa.BooleanArray:
        """A boolean array of n entries, never null: which rows are admitted."""
        return from_numpy(self._bits == 0)

    @property
    def num_admitted(self) -> int:
        """How many rows are admitted."""
        return len(self) - self.num_excluded

    @cached_property
    def num_excluded(self) -> int:
        """How many rows are excluded."""
        return int(np.count_nonzero(self._bits))

    @cached_property
    def reason(self) -> pa.DictionaryArray:
        """The primary reason of each row: dictionary<int32, string>, null where admitted."""
        names, position_of_bit = _dictionary(tuple(self.reason_names.items()))
        excluded = self._bits != 0 if self.num_admitted else None
        positions = from_numpy(position_of_bit[self._primary], excluded)
        return pa.DictionaryArray.from_arrays(positions, names)

    @cached_property
    def counts(self) -> Counter[str]:
        """The number of rows by primary reason, in order of precedence, without zeros."""
        by_bit = self.rows_by_bit
        return Counter(
            {name: int(by_bit[bit]) for bit, name in self.reason_names.items() if by_bit[bit]}
        )

    @cached_property
    def rows_by_bit(self) -> Int64s:
        """The number of rows by their lowest bit: int64, 33 numbers, the last for admitted rows."""
        numbers: Int64s = np.bincount(self._primary, minlength=33)
        return numbers

    @cached_property
    def occurrences(self) -> Counter[str]:
        """The number of rows that each reason applies to, in order of precedence, without zeros."""
        by_bit = {
            bit: np.count_nonzero(self._bits & np.uint32(1 << bit)) for bit in self.reason_names
        }
        return Counter(
            {name: int(by_bit[bit]) for bit, name in self.reason_names.items() if by_bit[bit]}
        )

    @property
    def _bits(self) -> Bits:
        bits: Bits = integers(self.reason_bits)
        return bits

    @cached_property
    def _primary(self) -> Int64s:
        """The number of each row's lowest bit that is set; 32 for rows without one."""
        bits = self._bits
        below_lowest = (bits & -bits) - np.uint32(1)
        numbers: Int64s = np.bitwise_count(below_lowest).astype(np.int64)
        return numbers


@lru_cache(maxsize=64)
def _dictionary(
    reason_names: tuple[tuple[int, str], ...],
) -> tuple[pa.Array, npt.NDArray[np.int32]]:
    """The names of reasons by bit as a dictionary, and the position of each bit's name in it."""
    position_of_bit = np.zeros(33, dtype=np.int32)
    position_of_bit[[bit for bit, _ in reason_names]] = np.arange(len(reason_names))
    names = from_texts(name for _, name in reason_names)
    return names.cast(pa.string()), position_of_bit
