"""The secret under which an index hashes ids.

Each index draws its own. So a hash can only be compared with others of the same index, or of the
file that this index was saved to. What is derived from a seed must not change: saved gates contain
such hashes (`storage.sections.VERSION`), and content digests order rows by them.
"""

import ctypes
import hashlib
import sys

import numpy as np

from consentgate.kernel import LineLayout, SecretWords

MAX_ID_BYTES = 65_536
"""Most bytes of a string id in a snapshot or registry. A longer id has no record anywhere."""

_TEXT_WORDS = MAX_ID_BYTES // 8 + 4
"""How many words of secret the longest text needs: its own, those of a pair of
zeros, and one pair more."""
_FINISH_WORDS = 4

assert sys.byteorder == "little", (
    "consentgate reads Arrow buffers in place, as little-endian integers"
)


class Secret:
    """The words that the kernel hashes ids with.

    Args:
        seed: 16 bytes; equal seeds give equal hashes.
        layout: the layout of the index. Only texts need many words.

    Attributes:
        struct: the words, for the kernel.
    """

    def __init__(self, seed: bytes, layout: LineLayout) -> None:
        self.struct = SecretWords(int.from_bytes(seed[:8], "little") | 1)
        if layout is LineLayout.TEXTS:
            finish = hashlib.shake_256(b"consentgate text fingerprints" + seed)
            self.struct.finish[:] = np.frombuffer(finish.digest(8 * _FINISH_WORDS), "<u8").tolist()
            stream = hashlib.shake_256(b"consentgate text words" + seed)
            self._words = ctypes.create_string_buffer(stream.digest(8 * _TEXT_WORDS))
            self.struct.words = ctypes.addressof(self._words)
