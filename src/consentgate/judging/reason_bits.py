"""Reason bits as NumPy arrays, made from masks and from dictionary-encoded words."""

from collections.abc import Mapping

import numpy as np
import pyarrow as pa

from consentgate.arrow import (
    Bits,
    Bools,
    Int64s,
    dictionary_codes,
)


def flag(where: Bools, reason: int) -> Bits:
    """The reason's bit where a mask is true, else 0."""
    return where.astype(np.uint32) * np.uint32(reason)


def bits_of_words(
    words: pa.DictionaryArray, by_word: Mapping[str, int], *, other: int, null: int | None = None
) -> Bits:
    """The bits of each word: those in `by_word`, else `other`. A null has `null`, else `other`."""
    values = words.dictionary.to_pylist()
    null = other if null is None else null
    bits = [null if word is None else by_word.get(word, other) for word in values]
    table = np.array([*bits, null], dtype=np.uint32)
    return table[dictionary_codes(words)]


def where_valid(values: Int64s, valid: Bools | None, otherwise: int) -> Int64s:
    """The values where a mask is true, else `otherwise`. With None as the mask, all the values."""
    return values if valid is None else np.where(valid, values, otherwise)
