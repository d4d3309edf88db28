"""The bare random gather in C, compiled as the library's kernel is.

NumPy's `take` would not be bare. For every entry, it also checks the position and writes a copy,
and took 14.4 ns where this takes 8.7 (8 M positions in 320 MB, one thread of a virtual machine).
"""

import ctypes
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import numpy.typing as npt

from benchmarks.corpus import SEED, Size, skewed
from benchmarks.ids import IdKind, make_ids
from consentgate.arrow import row_blocks
from consentgate.kernel import building

__all__ = ["LINE_BYTES", "Gather"]

LINE_BYTES = 64
_LINE_WORDS = 8
_SOURCE = Path(__file__).with_name("gather.c")


@dataclass(frozen=True)
class Gather:
    """A number of lines of 64 bytes, and the position of one of them for every message."""

    lines: npt.NDArray[np.uint64]
    positions: npt.NDArray[np.int64]
    library: ctypes.CDLL

    @classmethod
    def make(cls, size: Size, lines: int) -> "Gather":
        """Draw positions that are as skewed as senders."""
        random = np.random.default_rng([SEED, 4])
        senders = skewed(random, size.subjects, size.messages)
        positions = make_ids(IdKind.INTEGER, senders).to_numpy() % lines
        spare = np.ones((lines + 1) * _LINE_WORDS, dtype=np.uint64)
        first = -spare.ctypes.data % LINE_BYTES // spare.itemsize
        words = spare[first : first + lines * _LINE_WORDS]
        return cls(words.reshape(lines, _LINE_WORDS), positions, _compiled())

    def run(self, workers: int) -> int:
        """Gather for every message, a block at a time; returns the number of messages."""
        with ThreadPoolExecutor(workers) as pool:
            return sum(pool.map(self._gather, row_blocks(len(self.positions))))

    def _gather(self, rows: slice) -> int:
        positions = self.positions[rows]
        return int(
            self.library.gather(self.lines.ctypes.data, positions.ctypes.data, len(positions))
        )


def _compiled() -> ctypes.CDLL:
    with TemporaryDirectory(prefix="consentgate-benchmarks-") as folder:
        command = [*building.compiler(""), "-O3", "-fPIC", "-shared", str(_SOURCE), "-o", "gather"]
        building.run(command, Path(folder))
        library = ctypes.CDLL(str(Path(folder, "gather")))
    library.gather.restype = ctypes.c_uint64
    library.gather.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64]
    return library
