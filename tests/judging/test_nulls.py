"""What is null: one answer, in rules, in ids, and in the consent records."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

import consentgate as cg
from consentgate.arrow.values import valid_mask
from tests.build import BEGUN, MICRO, make_consent, make_gate, message_table, reasons

ABSENT_RULE = cg.Rule(name="absent", column="seen", is_null=True)


class Wrapped(pa.ExtensionType):  # type: ignore[misc]  # pyarrow ships no types
    """An extension type over any storage."""

    def __init__(self, storage: pa.DataType) -> None:
        super().__init__(storage, "tests.wrapped")

    def __arrow_ext_serialize__(self) -> bytes:
        return b""

    @classmethod
    def __arrow_ext_deserialize__(cls, storage: pa.DataType, serialized: bytes) -> Wrapped:
        return cls(storage)


def wrapped(storage: pa.Array) -> pa.Array:
    """A column of an extension type."""
    return pa.ExtensionArray.from_storage(Wrapped(storage.type), storage)


def twice_wrapped(storage: pa.Array) -> pa.Array:
    """A column of an extension over an extension; pyarrow 26 cannot have one over the type null."""
    return wrapped(storage if pa.types.is_null(storage.type) else wrapped(storage))


def coded(values: pa.Array) -> pa.Array:
    """A dictionary whose values are these, nulls included."""
    return pa.DictionaryArray.from_arrays(pa.array(range(len(values)), pa.int8()), values)


PLAIN: dict[str, tuple[pa.Array, list[bool]]] = {
    "text": (pa.array(["a", None, ""]), [True, False, True]),
    "text view": (pa.array(["a", None, ""], pa.string_view()), [True, False, True]),
    "integers": (pa.array([0, None, -1]), [True, False, True]),
    "booleans": (pa.array([False, None, True]), [True, False, True]),
    "instants": (pa.array([0, None, 1], pa.timestamp("us", "UTC")), [True, False, True]),
    "numbers": (pa.array([0.0, math.nan, None]), [True, False, False]),
    "single precision": (pa.array([math.inf, math.nan, 1], pa.float32()), [True, False, True]),
    "half precision": (
        pa.array(np.array([0, np.nan, 1], np.float16), pa.float16()),
        [True, False, True],
    ),
    "typeless": (pa.nulls(3), [False, False, False]),
    "decimals": (pa.array([1, None, 2], pa.decimal128(5)), [True, False, True]),
    "binary": (pa.array([b"", None, b"\0"]), [True, False, True]),
}
WRAPS: dict[str, Any] = {
    "plain": lambda column: column,
    "extension": wrapped,
    "dictionary": coded,
    "extension over a dictionary": lambda column: wrapped(coded(column)),
    "extension over an extension": twice_wrapped,
    "dictionary with null indices": lambda column: coded(column).take(pa.array([0, 1, 2])),
    "slice": lambda column: pa.concat_arrays([column, column]).slice(3),
}


@pytest.mark.parametrize("wrap", WRAPS)
@pytest.mark.parametrize("kind", PLAIN)
def test_nulls_are_found_in_every_type(kind: str, wrap: str) -> None:
    plain, valid = PLAIN[kind]
    column = WRAPS[wrap](plain)
    expected = [[] if there else ["absent"] for there in valid]
    gate = make_gate(record_rules=[ABSENT_RULE])
    assert reasons(gate, message_table(seen=column)) == expected
    mask = valid_mask(column)
    assert [True] * 3 if mask is None else mask.tolist() == valid


@pytest.mark.parametrize(
    "column",
    [
        pa.UnionArray.from_sparse(
            pa.array([0, 1], pa.int8()), [pa.array([1, None]), pa.array(["a", None])]
        ),
        pa.UnionArray.from_dense(
            pa.array([0, 1], pa.int8()),
            pa.array([0, 0], pa.int32()),
            [pa.array([1, None]), pa.array([None, "a"])],
        ),
        pa.RunEndEncodedArray.from_arrays(pa.array([1, 2], pa.int32()), pa.array(["a", None])),
        pa.array([{"a": 1}, None]),
        pa.array([[1], None]),
        pa.array([[1, 2], None], pa.list_(pa.int8(), 2)),
        pa.array([[("a", 1)], None], pa.map_(pa.string(), pa.int8())),
    ],
    ids=lambda column: str(column.type),
)
def test_types_that_do_not_say_what_is_null_are_refused(column: pa.Array) -> None:
    gate = make_gate(record_rules=[ABSENT_RULE])
    for each in (column, wrapped(column), wrapped(wrapped(column))):
        with pytest.raises(cg.RuleColumnTypeError, match="must not be nested or run-end-encoded"):
            gate.decide(message_table(seen=each))


@pytest.mark.parametrize("test", [{"any_of": ["x"]}, {"none_of": ["a"]}])
@pytest.mark.parametrize(
    "column",
    [
        pa.array(["a", None]),
        coded(pa.array(["a", None])),
        coded(pa.array(["a", "b"])).take(pa.array([0, None])),
        pa.array(["a", None], pa.string_view()),
    ],
)
def test_rules_with_values_match_every_null(column: pa.Array, test: dict[str, Any]) -> None:
    gate = make_gate(record_rules=[cg.Rule(name="rule", column="seen", **test)])
    assert reasons(gate, message_table(seen=column)) == [[], ["rule"]]


def test_rules_with_values_match_typeless_nulls() -> None:
    rule = cg.Rule(name="rule", column="seen", none_of=["a"])
    for column in (pa.nulls(2), coded(pa.nulls(2))):
        found = reasons(make_gate(record_rules=[rule]), message_table(seen=column))
        assert found == [["rule"], ["rule"]]


@pytest.mark.parametrize(
    ("test", "expected"),
    [
        ({"is_null": True}, [[], [], ["rule"]]),
        ({"any_of": [False]}, [[], ["rule"], ["rule"]]),
        ({"none_of": [True]}, [[], ["rule"], ["rule"]]),
        ({"any_of": [True]}, [["rule"], [], ["rule"]]),
    ],
)
def test_a_rule_on_covers_prior_matches_its_nulls(
    test: dict[str, Any], expected: list[list[str]]
) -> None:
    consent = make_consent(subject_id=[1, 2, 3], covers_prior=[True, False, None])
    gate = make_gate(consent, subject_rules=[cg.Rule(name="rule", column="covers_prior", **test)])
    assert reasons(gate, message_table(sender_id=[1, 2, 3])) == expected


def test_a_null_covers_prior_covers_nothing() -> None:
    consent = make_consent(subject_id=[1, 2, 3], covers_prior=[True, False, None])
    messages = message_table(sender_id=[1, 2, 3], created_at=BEGUN - MICRO)
    assert reasons(make_gate(consent), messages) == [[], ["predates_consent"], ["predates_consent"]]


@pytest.mark.parametrize("kind", [pa.float64(), pa.float32(), pa.float16()])
def test_nan_in_an_attribute_is_null(kind: pa.DataType) -> None:
    score = pa.array([1.0, math.nan, None]).cast(kind)
    consent = make_consent(subject_id=[1, 2, 3], score=score)
    gate = make_gate(consent, subject_rules=[cg.Rule(name="rule", column="score", is_null=True)])
    assert reasons(gate, message_table(sender_id=[1, 2, 3])) == [[], ["rule"], ["rule"]]


@given(
    values=st.lists(st.none() | st.just(math.nan) | st.floats(width=16, allow_nan=False)),
    wraps=st.lists(st.sampled_from([wrapped, coded]), max_size=2, unique=True),
    cut=st.integers(0, 3),
)
def test_the_mask_is_what_plain_python_finds(
    values: list[float | None], wraps: Sequence[Any], cut: int
) -> None:
    values = values[:100]
    column = pa.array(values, pa.float64(), from_pandas=False)
    for wrap in wraps:
        column = wrap(column)
    mask = valid_mask(column.slice(cut))
    expected = [value is not None and not math.isnan(value) for value in values[cut:]]
    assert (len(expected) * [True] if mask is None else mask.tolist()) == expected
