"""Counts the words of a column."""

from collections import Counter
from collections.abc import Collection, Iterable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from consentgate.arrow import Bools, Int64s, dictionary_codes, is_text, plain_text

MOST_LISTED = 50
"""The words of a column with more different ones are not shown, because they may be ids."""
MOST_CHARS = 40
"""The words of a column with a longer one are not shown, because they may be ids or texts."""
MOST_COUNTED = 1_000
"""In a column of more different words, only the accepted ones are counted."""


def are_shown(words: Collection[str]) -> bool:
    """Whether the words of a column may be shown, because they are few and short."""
    return len(words) <= MOST_LISTED and max(map(len, words), default=0) <= MOST_CHARS


def on_one_line(text: str) -> str:
    """The text with every character that does not print escaped, line breaks included."""
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)


class WordCounts:
    """How often each word occurs in a column, counted batch by batch.

    Args:
        accepted: the words that are always counted. Other words are counted one by one as long as
            they are few and short.

    Attributes:
        entries: how many entries hold a word and not a null.
        is_listed: whether the other words were counted one by one, too.
    """

    def __init__(self, accepted: Iterable[str]) -> None:
        self._accepted = pa.array(sorted(accepted), pa.large_string())
        self._accepted_counts: Int64s = np.zeros(len(self._accepted), np.int64)
        self._others: Counter[str] = Counter()
        self.entries = 0
        self.is_listed = True

    def add(self, column: pa.Array, where: Bools | None = None) -> None:
        """Count the words of a column.

        Args:
            column: n words, integers or booleans, or a dictionary of them.
            where: n booleans, true for the entries that are counted; None counts all.
        """
        values, codes = _encoded(column)
        codes = codes if where is None else codes[where]
        counts = np.bincount(codes, minlength=len(values) + 1)[:-1]
        counts[values.is_null().to_numpy(zero_copy_only=False)] = 0
        self.entries += int(counts.sum())
        at = pc.index_in(values, self._accepted).fill_null(-1).to_numpy(zero_copy_only=False)
        np.add.at(self._accepted_counts, at[at >= 0], counts[at >= 0])
        if self.is_listed:
            self._add_others(values, counts, np.flatnonzero((at < 0) & (counts > 0)))

    def _add_others(self, values: pa.Array, counts: Int64s, at: Int64s) -> None:
        are_few = len(at) <= MOST_COUNTED
        words = values.take(pa.array(at[:MOST_COUNTED], pa.int64()))
        if are_few and (pc.max(pc.utf8_length(words)).as_py() or 0) <= MOST_CHARS:
            for word, count in zip(words.to_pylist(), counts[at].tolist(), strict=True):
                self._others[word] += count
        else:
            self.is_listed = False
        if not self.is_listed or len(self._others) > MOST_COUNTED:
            self.is_listed = False
            self._others.clear()

    @property
    def accepted(self) -> dict[str, int]:
        """The number of entries with each of the accepted words."""
        pairs = zip(self._accepted.to_pylist(), self._accepted_counts.tolist(), strict=True)
        return dict(pairs)

    @property
    def words(self) -> dict[str, int] | None:
        """The number of entries with each word; None if not all words were counted one by one."""
        if not self.is_listed:
            return None
        return {word: count for word, count in self.accepted.items() if count} | self._others


def _encoded(column: pa.Array) -> tuple[pa.Array, Int64s]:
    """Encode a column as values and codes.

    Returns:
        The values as large_string, which may repeat and may hold nulls. And for each entry the
        position of its value; for a null, the number of values.
    """
    if pa.types.is_null(column.type):
        return pa.array([], pa.large_string()), np.zeros(len(column), np.int64)
    if not pa.types.is_dictionary(column.type):
        column = (plain_text(column) if is_text(column.type) else column).dictionary_encode()
    values = column.dictionary
    text = plain_text(values) if is_text(values.type) else values.cast(pa.large_string())
    return text, dictionary_codes(column)
