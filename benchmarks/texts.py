"""Texts of about 200 bytes. Their words are so skewed that zstd makes the texts half as long."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

__all__ = ["make_texts"]

_LETTERS = np.frombuffer(b"etaoinshrdlucmfwypvbgkjqxz", dtype=np.uint8)
_VOCABULARY = 20_000
_SEED = 20_260_201
_MIN_WORD, _MAX_WORD = 2, 10
_MIN_WORDS, _MAX_WORDS = 14, 42
_LETTER_SKEW, _WORD_SKEW = 1.7, 3.0


def make_texts(random: np.random.Generator, count: int) -> pa.StringArray:
    """The given number of texts, of 14 to 42 words each."""
    offsets = _offsets(random, count, _MIN_WORDS, _MAX_WORDS)
    drawn = _VOCABULARY * random.random(offsets[-1], dtype=np.float32) ** _WORD_SKEW
    words = _vocabulary().take(pa.array(drawn.astype(np.int32)))
    return pc.binary_join(pa.ListArray.from_arrays(pa.array(offsets), words), " ")


def _vocabulary() -> pa.StringArray:
    """The vocabulary, which is the same every time."""
    random = np.random.default_rng(_SEED)
    offsets = _offsets(random, _VOCABULARY, _MIN_WORD, _MAX_WORD)
    drawn = (len(_LETTERS) * random.random(offsets[-1]) ** _LETTER_SKEW).astype(np.int32)
    buffers = [None, pa.py_buffer(offsets), pa.py_buffer(_LETTERS[drawn])]
    return pa.Array.from_buffers(pa.string(), _VOCABULARY, buffers)


def _offsets(
    random: np.random.Generator, count: int, shortest: int, longest: int
) -> np.ndarray[tuple[int], np.dtype[np.int32]]:
    """The offsets of `count` items with random lengths, and the end of the last item."""
    offsets = np.zeros(count + 1, dtype=np.int32)
    np.cumsum(random.integers(shortest, longest + 1, count), dtype=np.int32, out=offsets[1:])
    return offsets
