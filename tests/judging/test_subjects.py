"""Subjects: everyone whom a message names must consent."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

import consentgate as cg
from tests.build import (
    AS_OF,
    BEGUN,
    MICRO,
    WRITTEN,
    make_consent,
    make_gate,
    message_table,
    reasons,
)
from tests.judging.judge import LIST, OK, coded, judge


def test_every_subject_column_must_name_consenting_people() -> None:
    messages = {"sender_id": [1, 1, 2, 3, None], "recipient_id": [1, 2, 1, 9, 3]}
    consent = {"subject_id": [1, 2, 3], "status": ["given", "refused", "withdrawn"]}
    found = judge(messages, consent, columns=cg.Columns(subjects=("sender_id", "recipient_id")))
    assert found == [
        OK,
        ["consent_refused"],
        ["consent_refused"],
        ["no_consent_record", "consent_withdrawn"],
        ["subject_missing", "consent_withdrawn"],
    ]


LISTS = [[1], [], [2, 1], None, [1, 1], [3], [1, None], [], [9, 2, 1], [1]]

LIST_REASONS = [
    OK,
    ["subject_missing"],
    ["consent_refused"],
    ["subject_missing"],
    OK,
    ["consent_withdrawn"],
    ["subject_missing"],
    ["subject_missing"],
    ["no_consent_record", "consent_refused"],
    OK,
]


@pytest.mark.parametrize(
    "kind",
    [
        pa.list_(pa.int64()),
        pa.large_list(pa.int8()),
        pa.list_view(pa.uint16()),
        pa.large_list_view(pa.int32()),
    ],
    ids=str,
)
@pytest.mark.parametrize("start", [0, 3])
def test_every_subject_of_a_list_must_consent(kind: pa.DataType, start: int) -> None:
    lists = pa.array(LISTS, kind).slice(start)
    consent = {"subject_id": [1, 2, 3], "status": ["given", "refused", "withdrawn"]}
    assert judge({"sender_id": lists}, consent) == LIST_REASONS[start:]


def test_lists_of_one_size_are_read_behind_nulls_too() -> None:
    lists = pa.array([[2, 1], None, [1, 1], [1, None], [1, 2]], pa.list_(pa.int64(), 2))
    consent = {"subject_id": [1, 2], "status": ["given", "refused"]}
    missing, refused = ["subject_missing"], ["consent_refused"]
    assert judge({"sender_id": lists}, consent) == [refused, missing, OK, missing, refused]
    assert judge({"sender_id": lists.slice(1, 3)}, consent) == [missing, OK, missing]


def test_a_dictionary_within_lists_is_read() -> None:
    values = coded([0, 1, None, 2, 0], [1, 2, None])
    lists = pa.ListArray.from_arrays(pa.array([0, 1, 2, 3, 5], pa.int32()), values)
    missing = ["subject_missing"]
    assert judge({"sender_id": lists}) == [OK, ["no_consent_record"], missing, missing]


@pytest.mark.parametrize(
    ("sender", "mentioned", "expected"),
    [
        (1, [], OK),
        (1, [1], OK),
        (1, None, ["subject_missing"]),
        (1, [None], ["subject_missing"]),
        (1, [2], ["no_consent_record"]),
        (None, [1], ["subject_missing"]),
    ],
)
def test_an_empty_list_is_fine_beside_another_subject(
    sender: int | None, mentioned: Any, expected: list[str]
) -> None:
    messages = {
        "sender_id": pa.array([sender], pa.int64()),
        "mentioned": pa.array([mentioned], LIST),
    }
    found = judge(messages, columns=cg.Columns(subjects=("sender_id", "mentioned")))
    assert found == [expected]


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ([], [], ["subject_missing"]),
        ([1], [], OK),
        ([], [1], OK),
        ([], None, ["subject_missing"]),
        ([1], [2], ["no_consent_record"]),
    ],
)
def test_a_row_must_name_someone_in_some_list(first: Any, second: Any, expected: list[str]) -> None:
    messages = {"a": pa.array([first], LIST), "b": pa.array([second], LIST)}
    assert judge(messages, columns=cg.Columns(subjects=("a", "b"))) == [expected]


@pytest.mark.parametrize("make", [pa.ListViewArray, pa.LargeListViewArray])
@pytest.mark.parametrize(
    ("consent", "bits"),
    [
        ({"status": ["given", "refused", "given"]}, ["", "consent_refused", "subject_missing"]),
        (
            {"effective_from": [BEGUN, WRITTEN + MICRO, WRITTEN]},
            ["", "predates_consent", "subject_missing"],
        ),
        (
            {
                "covers_prior": True,
                "effective_from": WRITTEN + MICRO,
                "method": ["explicit", "", "explicit"],
            },
            ["", "consent_not_explicit", "subject_missing"],
        ),
    ],
)
def test_views_that_share_their_values_are_judged_one_by_one(
    make: Any, consent: dict[str, Any], bits: list[str]
) -> None:
    """Of six values, views hold twelve; the last value is a null, and nobody knows subject 9."""
    values = pa.array([9, 1, 2, 3, 1, None], pa.int64())
    spans = [(1, 1), (1, 2), (2, 2), (3, 2), (1, 4), (0, 2), (4, 2), (5, 0), (3, 1)]
    offset_type = pa.int32() if make is pa.ListViewArray else pa.int64()
    starts, sizes = (pa.array(column, offset_type) for column in zip(*spans, strict=True))
    views = make.from_arrays(starts, sizes, values, mask=pa.array([False] * 8 + [True]))
    good, wrong, missing = bits
    names = [[good], [good, wrong], [wrong, good], [good], [good, wrong], ["no_consent_record"]]
    names += [[missing], [missing], [missing]]
    found = judge({"sender_id": views}, {"subject_id": [1, 2, 3], **consent})
    assert found == [[name for name in row if name] for row in names]
    unjoined = judge(
        {"sender_id": views, "author": [1] * 7 + [1, 2]},
        {"subject_id": [1, 2, 3], **consent},
        columns=cg.Columns(subjects=("author", "sender_id")),
    )
    assert unjoined[:7] == found[:7]
    assert unjoined[7] == OK
    assert unjoined[8] == [missing, wrong]


def test_lists_of_nulls_alone_name_nobody() -> None:
    lists = pa.array([[None], [], None], pa.list_(pa.null()))
    assert judge({"sender_id": lists}) == [["subject_missing"]] * 3


MANY = 1 << 50


@pytest.mark.parametrize(
    ("kind", "buffers"),
    [
        (pa.large_list(pa.null()), [[0, MANY, 2 * MANY]]),
        (pa.large_list_view(pa.null()), [[MANY, 0], [MANY, MANY]]),
        (pa.large_list_view(pa.null()), [[0, 1], [MANY, MANY]]),
        (pa.list_(pa.null(), (1 << 31) - 1), []),
    ],
    ids=["lists", "views", "views that overlap", "lists of one size"],
)
def test_lists_of_very_many_nulls_are_judged_at_once(
    kind: pa.DataType, buffers: list[list[int]]
) -> None:
    """Items of type null need no memory, so a small file can hold more than anyone can look at."""
    nulls = pa.Array.from_buffers(pa.null(), 2 * MANY, [None])
    held = [None, *(pa.py_buffer(np.array(numbers, np.int64)) for numbers in buffers)]
    lists = pa.Array.from_buffers(kind, 2, held, children=[nulls])
    assert judge({"sender_id": lists}) == [["subject_missing"]] * 2


def test_each_member_of_a_list_is_judged_at_its_own_messages_instant() -> None:
    consent = {"subject_id": [1, 2], "effective_from": [BEGUN, WRITTEN]}
    messages = {
        "sender_id": pa.array([[1, 2], [1], [], [2, 1], [2]], LIST),
        "created_at": [WRITTEN, BEGUN, WRITTEN, WRITTEN - MICRO, AS_OF],
    }
    found = judge(messages, consent)
    assert found == [OK, OK, ["subject_missing"], ["predates_consent"], OK]


def test_a_null_list_may_have_items_behind_all_others() -> None:
    """Those of lists of fixed size have; they are looked up with the others and then left out."""
    senders = pa.array([[1], [1], None], pa.list_(pa.int64(), 1))
    gate = make_gate(make_consent(subject_id=[1, 2], effective_from=[BEGUN, WRITTEN]))
    assert reasons(gate, message_table(sender_id=senders)) == [[], [], ["subject_missing"]]
