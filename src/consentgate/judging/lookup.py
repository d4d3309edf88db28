"""Looks up facts and dictionaries once for each call, for all of its blocks."""

from threading import RLock
from typing import Any

import numpy as np
import pyarrow as pa

from consentgate import kernel as c
from consentgate.arrow import Int64s, dictionary_codes, from_numpy, without_views
from consentgate.judging.facts import Facts, Resolved


class Lookup:
    """Looks up the ids of one call, and keeps the answers about dictionaries.

    Args:
        rows: how many rows the judged table has. If a dictionary has more values than that, only
            the values that rows use are looked up.
        now: the instant of judgement, microseconds since 1970 in UTC.
    """

    def __init__(self, rows: int, now: int) -> None:
        self._rows, self.now = rows, now
        self._structs: dict[tuple[int, bool], c.Facts] = {}
        self._by_dictionary: dict[tuple[Any, ...], tuple[pa.Array, Resolved]] = {}
        self._lock = RLock()

    def struct(self, facts: Facts, *, is_signed: bool) -> c.Facts:
        """The facts, for the kernel."""
        key = (id(facts), is_signed)
        if key not in self._structs:
            self._structs[key] = facts.struct(self.now, is_signed=is_signed)
        return self._structs[key]

    def takes_values(self, ids: pa.DictionaryArray) -> bool:
        """Whether `values` takes the values in use out of a dictionary, which has to be sound."""
        return len(ids.dictionary) > max(self._rows, len(ids))

    def values(self, facts: Facts, ids: pa.DictionaryArray) -> tuple[Resolved, Int64s | None]:
        """The answers about a dictionary's values, and then about a null.

        Returns:
            The answers; and n positions in them, if these are other ones than the n indices.
        """
        if self.takes_values(ids):
            return self._used_values(facts, ids)
        return self._all_values(facts, ids.dictionary), None

    def items(self, facts: Facts, ids: pa.Array) -> Resolved:
        """The answers about n ids of any layout."""
        if not pa.types.is_dictionary(ids.type):
            return facts.resolve(ids, self.now)
        values, positions = self.values(facts, ids)
        return values.take(dictionary_codes(ids) if positions is None else positions)

    def _used_values(self, facts: Facts, ids: pa.DictionaryArray) -> tuple[Resolved, Int64s]:
        end = len(ids.dictionary)
        used, positions = np.unique(dictionary_codes(ids), return_inverse=True)
        values = without_views(ids.dictionary).take(from_numpy(used, used != end))
        return facts.resolve(values, self.now), positions

    def _all_values(self, facts: Facts, values: pa.Array) -> Resolved:
        """The answers about a dictionary's values.

        A dictionary is recognized by the addresses of its buffers. It is kept here, so that its
        memory is not used for another one. The first thread that needs a dictionary looks it up,
        and the other threads wait.
        """
        buffers = (0 if buffer is None else buffer.address for buffer in values.buffers())
        key = (id(facts), values.type, values.offset, len(values), *buffers)
        with self._lock:
            if key not in self._by_dictionary:
                self._by_dictionary[key] = values, facts.resolve(values, self.now)
            return self._by_dictionary[key][1]
