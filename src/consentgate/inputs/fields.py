"""Columns of a tidy table, as the kernel writes them as bytes for the digest of the content."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from consentgate.arrow import ArrayBuffers, for_each, integers, row_blocks
from consentgate.kernel import Field as FieldStruct
from consentgate.kernel import FieldKind, Unit

_WIDE = {pa.int64(): "int", pa.uint64(): "uint", pa.float64(): "float"}
_INDEX_BYTES = 4


@dataclass(frozen=True, eq=False, repr=False)
class Field:
    """A column of n values.

    Attributes:
        tag: the type of the values, as the digest names it.
        struct: the column, for the kernel.
        words: one list with all the words that are used, in order; no list if the values
            themselves are digested.
        held: what owns the memory that `struct` points to.
    """

    tag: str
    struct: FieldStruct
    words: tuple[list[str], ...] = ()
    held: tuple[Any, ...] = field(default=())


def read_field(column: pa.Array, *, is_words: bool) -> Field:
    """Describe a column of a tidy table.

    Args:
        column: integers or floats of 64 bits, booleans, timestamps, 16-byte binary, large_string,
            or a dictionary of large_string with 32-bit indices.
        is_words: whether the dictionary's words are digested once. Otherwise the texts are
            digested, as if there was no dictionary.
    """
    kind = column.type
    if pa.types.is_dictionary(kind):
        return _words(column) if is_words else _dictionary_texts(column)
    buffers = ArrayBuffers(column)
    if pa.types.is_boolean(kind):
        bits, _ = buffers.span(1)
        struct = FieldStruct(FieldKind.FLAG, bits, column.offset, valid=buffers.validity)
        return Field("bool", struct, held=(buffers,))
    if pa.types.is_timestamp(kind):
        struct = _plain(FieldKind.INSTANT, buffers, 8)
        struct.unit = Unit.named(kind.unit)
        return Field("instant", struct, held=(buffers,))
    if pa.types.is_large_string(kind):
        struct = _plain(FieldKind.TEXT, buffers, 8)
        _point_to_texts(struct, buffers)
        return Field("text", struct, held=(buffers,))
    if pa.types.is_fixed_size_binary(kind):
        return Field("uuid", _plain(FieldKind.UUID, buffers, 16), held=(buffers,))
    return Field(_WIDE[kind], _plain(FieldKind.WIDE, buffers, 8), held=(buffers,))


def _plain(kind: FieldKind, buffers: ArrayBuffers, size: int) -> FieldStruct:
    return FieldStruct(kind, buffers.values(1, size), valid=buffers.validity)


def _point_to_texts(struct: FieldStruct, texts: ArrayBuffers) -> None:
    struct.offsets = texts.values(1, 8)
    struct.data, struct.data_bytes = texts.span(2)


def _dictionary_texts(column: pa.DictionaryArray) -> Field:
    indices, texts = ArrayBuffers(column.indices), ArrayBuffers(column.dictionary)
    struct = _plain(FieldKind.DICTIONARY_TEXT, indices, _INDEX_BYTES)
    struct.dictionary_length = texts.length
    _point_to_texts(struct, texts)
    return Field("text", struct, held=(indices, texts))


def _words(column: pa.DictionaryArray) -> Field:
    by_index = column.dictionary.to_pylist()
    words = sorted({by_index[at] for at in _used(column)})
    rank_of = {word: rank for rank, word in enumerate(words)}
    ranks = np.array([rank_of.get(word, 0) for word in by_index], np.uint32)
    indices = ArrayBuffers(column.indices)
    struct = _plain(FieldKind.WORD, indices, _INDEX_BYTES)
    struct.dictionary_length = len(ranks)
    struct.ranks = ranks.ctypes.data
    struct.rank_bytes = 1 if len(words) <= 1 << 8 else 2 if len(words) <= 1 << 16 else 4
    return Field("words", struct, (words,), (indices, ranks))


def _used(column: pa.DictionaryArray) -> list[int]:
    """The indices that are used."""
    is_used = np.zeros(len(column.dictionary), np.bool_)

    def mark(rows: slice) -> None:
        is_used[integers(column.indices[rows].drop_null())] = True

    for_each(mark, row_blocks(len(column)))
    used: list[int] = np.flatnonzero(is_used).tolist()
    return used
