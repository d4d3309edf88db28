"""Looking up columns of ids of any layout. A dictionary is looked up once, not once per block."""

from threading import Lock
from typing import Any

import numpy as np
import pyarrow as pa

from consentgate.arrow import dictionary_codes, row_blocks, valid_mask, without_views
from consentgate.index import Index, Matches, read_ids


class Lookup:
    """Looks up the ids of one call, and keeps the matches of dictionaries.

    Args:
        rows: how many rows the judged table has. If a dictionary has more values than that, only
            the values that rows use are looked up.
    """

    def __init__(self, rows: int) -> None:
        self._rows = rows
        self._by_dictionary: dict[tuple[Any, ...], tuple[pa.Array, Matches]] = {}
        self._lock = Lock()

    def find(self, index: Index, ids: pa.Array) -> Matches:
        """The matches of n ids; `valid` is false for a null."""
        if not pa.types.is_dictionary(ids.type):
            return _find(index, ids)
        if len(ids.dictionary) > max(self._rows, len(ids)):
            return _find_used(index, ids)
        return self._of_dictionary(index, ids.dictionary).take(dictionary_codes(ids))

    def _of_dictionary(self, index: Index, values: pa.Array) -> Matches:
        """The matches of a dictionary's values, and then the match of a null.

        A dictionary is recognized by the addresses of its buffers. It is kept here, so that its
        memory is not used for another one. The first thread that needs a dictionary looks it up,
        and the other threads wait.
        """
        buffers = (0 if buffer is None else buffer.address for buffer in values.buffers())
        key = (id(index), values.type, values.offset, len(values), *buffers)
        with self._lock:
            if key not in self._by_dictionary:
                self._by_dictionary[key] = values, _find_all(index, values)
            return self._by_dictionary[key][1]


def _find(index: Index, ids: pa.Array) -> Matches:
    """The matches of n ids that are not dictionary-encoded."""
    if pa.types.is_null(ids.type):
        nothing = np.zeros(len(ids), np.uint64)
        return Matches(nothing, nothing.view(np.int64), np.zeros(len(ids), np.bool_))
    return index.find(read_ids(ids), valid_mask(ids))


def _find_used(index: Index, ids: pa.DictionaryArray) -> Matches:
    """The matches of n dictionary-encoded ids that use few of the dictionary's values."""
    end = len(ids.dictionary)
    used, positions = np.unique(dictionary_codes(ids), return_inverse=True)
    values = without_views(ids.dictionary).take(pa.array(used, mask=used == end))
    return _find(index, values).take(positions)


def _find_all(index: Index, values: pa.Array) -> Matches:
    """The matches of any number of ids, and then the match of a null."""
    count = len(values) + 1
    facts, slots = np.zeros(count, np.uint64), np.zeros(count, np.int64)
    valid = np.zeros(count, np.bool_)
    for rows in row_blocks(len(values)):
        matches = _find(index, values[rows])
        facts[rows], slots[rows] = matches.facts, matches.slots
        valid[rows] = True if matches.valid is None else matches.valid
    return Matches(facts, slots, valid)
