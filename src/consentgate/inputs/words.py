"""Encodes columns of words, translates them and puts them in order."""

from collections.abc import Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from consentgate.arrow import (
    Uint64s,
    dictionary_codes,
    for_each,
    from_numpy,
    from_texts,
    integers,
    plain_text,
)

EMPTY = ""
"""The key of a mapping that stands for an empty cell, which is a null or an empty text."""


def encoded(column: pa.ChunkedArray) -> pa.DictionaryArray:
    """Dictionary-encode text of any layout. Every value of the dictionary is used."""
    chunks = [chunk for chunk in column.chunks if len(chunk)]
    parts = chunks.copy()

    def encode(at: int) -> None:
        parts[at] = _encoded_chunk(chunks[at])

    for_each(encode, range(len(chunks)))
    if len(parts) == 1:
        return parts[0]
    words = pa.chunked_array([part.dictionary for part in parts], pa.large_string()).unique()
    ends = np.cumsum([0, *map(len, parts)])
    codes, valid = np.empty(ends[-1], np.int32), np.ones(ends[-1], np.bool_)

    def write(at: int) -> None:
        part, rows = parts[at], slice(ends[at], ends[at + 1])
        new_codes = integers(pc.index_in(part.dictionary, words))
        own = dictionary_codes(part)
        valid[rows] = own < len(new_codes)
        codes[rows] = np.append(new_codes, 0)[own]

    for_each(write, range(len(parts)))
    indices = from_numpy(codes, None if valid.all() else valid)
    return pa.DictionaryArray.from_arrays(indices, words)


def translated(words: pa.DictionaryArray, mapping: Mapping[str, str]) -> pa.DictionaryArray:
    """Replace words by their meanings. Words that the mapping does not name stay."""
    if not mapping:
        return words
    meanings = [mapping.get(word, word) for word in words.dictionary.to_pylist()]
    codes = words.indices
    if EMPTY in mapping and codes.null_count:
        codes = codes.fill_null(len(meanings))
        meanings.append(mapping[EMPTY])
    return pa.DictionaryArray.from_arrays(codes, from_texts(meanings))


def ranks(words: pa.DictionaryArray) -> Uint64s:
    """The position of each entry's word among the dictionary's words in sorted order."""
    rank = np.argsort(np.argsort(np.array(words.dictionary.to_pylist(), dtype=object)))
    in_order: Uint64s = rank.astype(np.uint64)[integers(words.indices)]
    return in_order


def _encoded_chunk(chunk: pa.Array) -> pa.DictionaryArray:
    if not pa.types.is_dictionary(chunk.type):
        return plain_text(chunk).dictionary_encode()
    used = chunk.indices.unique().drop_null()
    words = plain_text(chunk.dictionary)
    if len(used) == len(words) == pc.count_distinct(words, mode="only_valid").as_py():
        return pa.DictionaryArray.from_arrays(chunk.indices.cast(pa.int32()), words)
    values = words.take(used).dictionary_encode()
    codes = values.indices.take(pc.index_in(chunk.indices, used))
    return pa.DictionaryArray.from_arrays(codes, values.dictionary)
