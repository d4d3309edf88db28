"""Whether two words are probably meant to be one."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consentgate.coverage.spelling import Spellings, are_alike


@pytest.mark.parametrize(
    ("word", "other"),
    [
        ("public", "Public"),
        ("public", " public"),
        ("public", "publik"),
        ("public", "pubilc"),
        ("public", "publicc"),
        ("train_ai_system", "train-ai-system"),
        ("train_ai_system", "Train AI system"),
        ("train_ai_system", "train_ai_sytem"),
        ("EU", "eu "),
        ("v1", "V1"),
        ("2025-11", "202511"),
        ("café", "cafe\u0301"),
        ("a" * 100, "a" * 99 + "b"),
        ("a" * 200, "A" * 200),
    ],
)
def test_words_that_are_spelled_almost_alike(word: str, other: str) -> None:
    assert are_alike(word, other)
    assert are_alike(other, word)


@pytest.mark.parametrize(
    ("word", "other"),
    [
        ("public", "private"),
        ("public", "publcii"),
        ("public", "republic"),
        ("v1", "v2"),
        ("v1", "v10"),
        ("2025-11", "2025-12"),
        ("notice-1", "notice-2"),
        ("en", "es"),
        ("EU", "EUR"),
        ("explicit", "implicit"),
        ("", "a"),
        ("a" * 101, "a" * 100 + "b"),
    ],
)
def test_words_that_differ(word: str, other: str) -> None:
    assert not are_alike(word, other)
    assert not are_alike(other, word)


@given(st.text(), st.text())
def test_it_does_not_matter_which_word_comes_first(word: str, other: str) -> None:
    assert are_alike(word, other) == are_alike(other, word)


@given(st.text("abcdé", min_size=4), st.data())
def test_one_letter_more_is_alike(word: str, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(word)))
    assert are_alike(word, word[:at] + "x" + word[at:])


@given(st.lists(st.text("abB 1-", max_size=7), unique=True), st.text("abB 1-", max_size=7))
def test_words_are_found_among_many(words: list[str], word: str) -> None:
    found = Spellings(words).alike(word)
    assert found == sorted(other for other in words if other != word and are_alike(word, other))


def test_a_hundred_thousand_words_are_looked_up_at_once() -> None:
    """Compared one by one with a thousand others, they took half an hour."""
    others = [f"notice number {n:04d} of the shop" for n in range(1_000)]
    spellings = Spellings(others)
    begun = time.perf_counter()
    found = [spellings.alike(f"notjce number {n:04d} of the shop") for n in range(100_000)]
    assert time.perf_counter() - begun < 30
    assert found == [[other] for other in others] + [[]] * 99_000
