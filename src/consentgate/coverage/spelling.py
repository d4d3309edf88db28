"""Finds words that are probably meant to be the same as another word."""

import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Iterator

_FEWEST_LETTERS = 4
"""Shorter words are never alike, because words such as 'en' and 'es' often differ by one letter."""
_MOST_CHARS = 100
"""Longer words are texts. Looking for edits in them would take much time and memory."""


def are_alike(word: str, other: str) -> bool:
    """Whether two different words are probably meant to be the same.

    They are alike if they differ only in case, Unicode form, white space, `-` and `_`. They are
    also alike if both have at least 4 letters and at most 100 characters, and one becomes the other
    by adding, leaving out or replacing one letter, or by swapping two neighbours. Their digits must
    be the same: `v1` and `v2` are not alike.
    """
    word, other = _spelling(word), _spelling(other)
    if word == other:
        return True
    return _may_be_edited(word) and _may_be_edited(other) and _is_one_edit(word, other)


class Spellings:
    """Finds, among some words, those that are spelled almost like another word.

    The time of a search does not grow with the number of words.

    Args:
        words: n different words. Each takes memory that grows with the square of its length.
    """

    def __init__(self, words: Iterable[str]) -> None:
        self._by_digits: dict[str, _Edits] = defaultdict(_Edits)
        for word in words:
            spelling = _spelling(word)
            self._by_digits[_digits(spelling)].add(spelling, word)

    def alike(self, word: str) -> list[str]:
        """The words that are spelled almost like another word, in the order of the alphabet."""
        spelling = _spelling(word)
        edits = self._by_digits.get(_digits(spelling))
        near = edits.near(spelling) if edits is not None else ()
        return sorted(other for other in near if other != word and are_alike(word, other))


class _Edits:
    """Words with the same digits, by every spelling that leaves out at most one letter.

    Of two words that are one edit apart, some such spellings are equal.
    """

    def __init__(self) -> None:
        self._words: dict[str, list[str]] = defaultdict(list)
        self._lengths: set[int] = set()

    def add(self, spelling: str, word: str) -> None:
        """Add a word under its spelling."""
        self._lengths.add(len(spelling))
        for variant in set(_variants(spelling)):
            self._words[variant].append(word)

    def near(self, spelling: str) -> set[str]:
        """All words that may be alike to a spelling, and perhaps others."""
        size = len(spelling)
        if self._lengths.isdisjoint((size - 1, size, size + 1)):
            return set()
        found = (self._words.get(variant, ()) for variant in _variants(spelling))
        return {word for words in found for word in words}


def _variants(spelling: str) -> Iterator[str]:
    yield spelling
    if _may_be_edited(spelling):
        yield from (spelling[:at] + spelling[at + 1 :] for at in range(len(spelling)))


def _may_be_edited(spelling: str) -> bool:
    """Whether a word is long enough, and short enough, to be one edit apart from another."""
    return len(spelling) <= _MOST_CHARS and sum(map(str.isalpha, spelling)) >= _FEWEST_LETTERS


def _spelling(word: str) -> str:
    """The word without case, Unicode form, white space, `-` and `_`."""
    plain = unicodedata.normalize("NFKC", word).casefold()
    return "".join(plain.split()).replace("-", "").replace("_", "")


def _is_one_edit(word: str, other: str) -> bool:
    longer, shorter = sorted((word, other), key=len, reverse=True)
    if len(longer) - len(shorter) > 1 or _digits(longer) != _digits(shorter):
        return False
    same = next((at for at, char in enumerate(shorter) if char != longer[at]), len(shorter))
    left, right = longer[same:], shorter[same:]
    if len(left) > len(right):
        return left[1:] == right
    is_swap = left[:2] == right[1::-1] and left[2:] == right[2:]
    return left[1:] == right[1:] or is_swap


def _digits(word: str) -> str:
    return "".join(filter(str.isdigit, word))
