"""Encodes columns of words, translates them and puts them in order."""

from collections.abc import Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from consentgate.arrow import Uint64s, from_texts, integers, one_chunk, plain_text

EMPTY = ""
"""The key of a mapping that stands for an empty cell, which is a null or an empty text."""


def encoded(column: pa.ChunkedArray) -> pa.DictionaryArray:
    """Dictionary-encode text of any layout. Every value of the dictionary is used."""
    chunks = [_encoded_chunk(chunk) for chunk in column.chunks if len(chunk)]
    words = pa.chunked_array(chunks, pa.dictionary(pa.int32(), pa.large_string()))
    return one_chunk(words.unify_dictionaries())


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
