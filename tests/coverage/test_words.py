"""Whether two words are probably meant to be one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consentgate.coverage.words import are_alike


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
