"""Channels and visibility: a message must be public wherever it was posted."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest

import consentgate as cg
from tests.judging.judge import OK, coded, judge


@pytest.mark.parametrize(
    ("visibility", "expected"),
    [
        ("public", OK),
        ("private", ["private_channel"]),
        ("Public", ["private_channel"]),
        ("public ", ["private_channel"]),
        ("", ["private_channel"]),
        (None, ["channel_unknown"]),
    ],
)
def test_a_place_must_be_public(visibility: str | None, expected: list[str]) -> None:
    assert judge(channels={"visibility": visibility}) == [expected]
    on_row = cg.Columns(channels=(), visibility="seen_by")
    assert judge({"seen_by": visibility}, columns=on_row) == [expected]
    both = cg.Columns(visibility="seen_by")
    assert judge({"seen_by": visibility}, columns=both) == [expected]
    assert judge({"seen_by": "public"}, {}, {"visibility": visibility}, both) == [expected]


def test_the_policy_says_which_words_mean_public() -> None:
    channels = {"channel_id": [1, 2, 3], "visibility": ["open", "world", "public"]}
    found = judge(
        {"channel_id": [1, 2, 3]}, channels=channels, public_visibilities={"open", "world"}
    )
    assert found == [OK, OK, ["private_channel"]]


def test_an_unknown_or_missing_channel_is_unknown() -> None:
    found = judge({"channel_id": [10, 11, None]})
    assert found == [OK, ["channel_unknown"], ["channel_unknown"]]


def test_every_channel_of_several_must_be_public() -> None:
    messages = {"channel_id": [10, 10, 11, 10, 11], "thread": [10, 11, 10, None, 99]}
    channels = {"channel_id": [10, 11], "visibility": ["public", "private"]}
    found = judge(
        messages, channels=channels, columns=cg.Columns(channels=("channel_id", "thread"))
    )
    private, unknown = ["private_channel"], ["channel_unknown"]
    assert found == [OK, private, private, unknown, private + unknown]


@pytest.mark.parametrize(
    "words",
    [
        coded([0, 1, 2, None], ["public", "private", None, "public"]),
        coded([3, 1, 2, None], ["unused", "private", None, "public"]),
        pa.array(["public", "private", None, None], pa.string_view()),
        pa.chunked_array([["public", "private"], [None, None]], pa.large_string()),
    ],
    ids=["repeated", "unused", "string_view", "chunks"],
)
def test_visibility_may_have_any_text_layout(words: Any) -> None:
    found = judge({"seen_by": words}, columns=cg.Columns(channels=(), visibility="seen_by"))
    unknown = ["channel_unknown"]
    assert found == [OK, ["private_channel"], unknown, unknown]


def test_columns_of_nulls_alone_are_unknown_or_missing() -> None:
    nulls = pa.nulls(2)
    both = cg.Columns(visibility="seen_by")
    assert judge({"sender_id": nulls}) == [["subject_missing"]] * 2
    assert judge({"channel_id": nulls}) == [["channel_unknown"]] * 2
    assert judge({"seen_by": nulls}, columns=both) == [["channel_unknown"]] * 2
