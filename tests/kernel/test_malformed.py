"""Arrow data that contradicts itself is refused by name, and nothing beyond it is read."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

import consentgate as cg
from tests.build import make_channels, make_consent, make_gate, message_table
from tests.kernel.hostile import (
    SHORT,
    Make,
    column,
    flat_faults,
    miscounted_instants,
    nested_faults,
    octets,
    shortened,
)

FLAT, NESTED = flat_faults(), nested_faults()
CALLS: dict[str, Callable[[cg.Gate, pa.Table], Any]] = {
    "decide": lambda gate, table: gate.decide(table),
    "filter": lambda gate, table: gate.filter(table),
    "explain": lambda gate, table: gate.explain(table, 0),
    "coverage": lambda gate, table: gate.coverage(table),
}
EVERY_CALL = pytest.mark.parametrize("call", CALLS)


def ids_like(kind: pa.DataType) -> pa.Array:
    """Some ids of the family of a column, those of the sound rows among them."""
    while pa.types.is_nested(kind) or pa.types.is_dictionary(kind):
        kind = kind.value_type
    if pa.types.is_integer(kind):
        return pa.array([1, 2, 3])
    if pa.types.is_fixed_size_binary(kind):
        return pa.array([bytes(16), b"x" * 16, b"y" * 16], pa.binary(16))
    return pa.array(["a" * 20, "aaaa", "b"])


def is_refused(call: str, gate: cg.Gate, name: str, **columns: Any) -> None:
    with pytest.raises(cg.MalformedDataError, match=rf"Column '{name}' .* is malformed Arrow data"):
        CALLS[call](gate, message_table(**columns))


def is_refused_as_subjects(call: str, make: Make) -> None:
    malformed = make()
    gate = make_gate(make_consent(subject_id=ids_like(malformed.type)))
    is_refused(call, gate, "sender_id", sender_id=malformed)


@EVERY_CALL
@pytest.mark.parametrize("fault", FLAT)
def test_a_malformed_column_of_subjects_is_refused(fault: str, call: str) -> None:
    is_refused_as_subjects(call, FLAT[fault])


@pytest.mark.parametrize("fault", NESTED)
def test_a_malformed_column_of_lists_is_refused(fault: str) -> None:
    for call in CALLS:
        is_refused_as_subjects(call, NESTED[fault])


@EVERY_CALL
@pytest.mark.parametrize("fault", SHORT)
def test_a_buffer_that_is_too_short_is_refused(fault: str, call: str) -> None:
    ids, size, to = SHORT[fault]
    gate = make_gate(make_consent(subject_id=ids_like(ids.type)))
    table = shortened(message_table(sender_id=ids), size, to)
    with pytest.raises(
        cg.MalformedDataError, match=r"Column 'sender_id' .* is malformed|cannot be read"
    ):
        CALLS[call](gate, table)


@pytest.mark.parametrize("fault", FLAT)
def test_a_malformed_column_of_channels_is_refused(fault: str) -> None:
    malformed = FLAT[fault]()
    gate = make_gate(channels=make_channels(channel_id=ids_like(malformed.type)))
    for call in CALLS:
        is_refused(call, gate, "channel_id", channel_id=malformed)


@pytest.mark.parametrize("fault", FLAT)
def test_a_fault_in_the_last_of_many_rows_is_found(fault: str) -> None:
    """Each thread finds faults in the rows that it judges."""
    malformed = FLAT[fault]()
    ids = ids_like(malformed.type)
    sound = ids.take([0] * 300_000).cast(malformed.type)
    gate = make_gate(make_consent(subject_id=ids))
    subjects = pa.chunked_array([sound, malformed])
    with pytest.raises(cg.MalformedDataError, match="Column 'sender_id'"):
        gate.decide(message_table(sender_id=subjects))


@EVERY_CALL
@pytest.mark.parametrize("nulls", [0, 3])
def test_instants_with_another_number_of_nulls_are_refused(nulls: int, call: str) -> None:
    is_refused(call, make_gate(), "created_at", created_at=miscounted_instants(nulls))


@EVERY_CALL
@pytest.mark.parametrize("to", [55, 8, 0])
def test_too_few_instants_are_refused(to: int, call: str) -> None:
    small = dict.fromkeys(["sender_id", "channel_id", "message_id"], pa.array([1] * 7, pa.int8()))
    sound = message_table(**small).select(["created_at", *small])
    with pytest.raises(
        cg.MalformedDataError, match=r"Column 'created_at' .* is malformed|cannot be read"
    ):
        CALLS[call](make_gate(), shortened(sound, 56, to))


# --- buffers of odd kinds that are sound ------------------------------------------------------


@pytest.mark.parametrize("dtype", ["int16", "int32", "int64", "uint64"])
@pytest.mark.parametrize("shift", range(1, 8))
def test_buffers_that_are_not_aligned_are_read(dtype: str, shift: int) -> None:
    """Some producers hand buffers over like this, for instance as slices of one message."""
    held = pa.py_buffer(bytes(shift) + octets([1, 2, 1, 3], dtype).to_pybytes())
    ids = column(pa.from_numpy_dtype(np.dtype(dtype)), None, held.slice(shift))
    decision = make_gate(make_consent(subject_id=[1])).decide(message_table(sender_id=ids))
    assert decision.admitted.to_pylist() == [True, False, True, False]


@pytest.mark.parametrize("shift", range(1, 8))
def test_text_of_buffers_that_are_not_aligned_is_read(shift: int) -> None:
    offsets = pa.py_buffer(bytes(shift) + octets([0, 1, 2, 3, 4], "int32").to_pybytes())
    text = pa.py_buffer(bytes(shift) + b"abac")
    ids = column(pa.string(), None, offsets.slice(shift), text.slice(shift))
    decision = make_gate(make_consent(subject_id=["a"])).decide(message_table(sender_id=ids))
    assert decision.admitted.to_pylist() == [True, False, True, False]


def test_the_cells_of_null_views_may_hold_anything() -> None:
    """The Arrow format allows this."""
    cells = octets([[1, 0x61, 0, 0], [-5, -1, 9, -9], [2**31 - 1, 0, 7, 2**31 - 1]], "int32")
    ids = column(pa.string_view(), b"\x01", cells, rows=3)
    decision = make_gate(make_consent(subject_id=["a"])).decide(message_table(sender_id=ids))
    assert decision.admitted.to_pylist() == [True, False, False]
    assert decision.counts == {"subject_missing": 2}
