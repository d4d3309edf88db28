"""The names of columns in `Columns`: those that are accepted, and those that are refused."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

import consentgate as cg
from tests.build import make_channels, make_consent

FIELDS = ["record_id", "subjects", "channels", "visibility", "created_at", "assume_timezone"]


def test_one_name_or_several_may_be_given() -> None:
    columns = cg.Columns(subjects="a", channels=["b", "c"])
    assert (columns.subjects, columns.channels) == (("a",), ("b", "c"))


@pytest.mark.parametrize("field", FIELDS)
@pytest.mark.parametrize("value", [3, b"x", object(), {"a"}, {"a": 1}, str, 1.5, [None], [b"x"]])
def test_what_is_no_name_is_a_type_error(field: str, value: Any) -> None:
    with pytest.raises(TypeError, match=f"`{field}` is of type"):
        cg.Columns(**{field: value})


@pytest.mark.parametrize("field", ["record_id", "subjects", "channels", "created_at"])
def test_what_is_needed_cannot_be_none(field: str) -> None:
    with pytest.raises(TypeError, match=f"`{field}` is of type 'NoneType'"):
        cg.Columns(**{field: None})  # type: ignore[arg-type]


@pytest.mark.parametrize("field", FIELDS)
@pytest.mark.parametrize("name", ["", "a\0b", "\ud800"])
def test_a_name_that_arrow_cannot_hold_is_refused(field: str, name: str) -> None:
    with pytest.raises(cg.ConfigurationError, match=f"`{field}` has a name that is empty"):
        cg.Columns(**{field: name})


@pytest.mark.parametrize("field", ["subjects", "channels"])
def test_a_column_is_named_once(field: str) -> None:
    with pytest.raises(cg.ConfigurationError, match=f"`{field}` names a column twice"):
        cg.Columns(**{field: ("a", "b", "a")})  # type: ignore[arg-type]


@pytest.mark.parametrize("subjects", ["a", ("b", "a"), ["a", "b"]])
def test_record_ids_are_no_subjects_ids(subjects: Any) -> None:
    """Record ids go into ledgers, which never hold the id of a person."""
    with pytest.raises(cg.ConfigurationError, match="'a' is named as `record_id` and in `subj"):
        cg.Columns(record_id="a", subjects=subjects)
    with pytest.raises(cg.ConfigurationError, match="and in `subjects`"):
        replace(cg.Columns(subjects=subjects), record_id="a")


@pytest.mark.parametrize("columns", ["sender_id", ["sender_id"], {"subjects": "sender_id"}])
def test_a_gate_says_how_columns_are_named(columns: Any) -> None:
    words = r"`columns` is of type '\w+' but must be Columns or None; name the columns by what they"
    with pytest.raises(TypeError, match=words + r" hold, as in Columns\(subjects=\"sender_id\"\)"):
        cg.Gate(cg.Policy(), make_consent(), make_channels(), columns=columns)
