"""Dictionaries of ids that share memory or a type: each is looked up as what it is."""

from __future__ import annotations

import pyarrow as pa
import pytest

import consentgate as cg
from tests.build import make_channels, make_consent, make_gate, message_table, reasons


def test_dictionaries_in_the_same_memory_are_told_apart_by_their_type() -> None:
    codes = pa.array([0], pa.int32())
    signed = pa.array([-1], pa.int64())
    unsigned = pa.Array.from_buffers(pa.uint64(), 1, signed.buffers())
    gate = make_gate(
        make_consent(subject_id=[-1]), columns=cg.Columns(subjects=("sender_id", "other_id"))
    )
    for first, second in ((signed, unsigned), (unsigned, signed)):
        table = message_table(sender_id=[1]).drop_columns("sender_id")
        for name, values in (("sender_id", first), ("other_id", second)):
            table = table.append_column(name, pa.DictionaryArray.from_arrays(codes, values))
        assert gate.decide(table).counts == {"no_consent_record": 1}


def test_dictionaries_that_are_slices_of_one_array_are_told_apart() -> None:
    gate = make_gate(columns=cg.Columns(subjects=("sender_id", "other_id")))
    values = pa.array([1, 99, 99])
    for first, second in ((values[:2], values[1:]), (values[1:], values[:2])):
        table = message_table(sender_id=[1, 1]).drop_columns("sender_id")
        for name, slice_ in (("sender_id", first), ("other_id", second)):
            column = pa.DictionaryArray.from_arrays(pa.array([0, 0]), slice_)
            table = table.append_column(name, column)
        assert reasons(gate, table) == [["no_consent_record"]] * 2


def test_a_dictionary_that_subjects_and_channels_share_is_looked_up_for_each() -> None:
    gate = make_gate(make_consent(subject_id=[1]), make_channels(channel_id=[2]))
    shared = pa.array([1, 2])
    columns = {
        name: pa.DictionaryArray.from_arrays(pa.array(codes), shared)
        for name, codes in {"sender_id": [0, 1, 0], "channel_id": [1, 1, 0]}.items()
    }
    table = message_table(sender_id=[1, 2, 1])
    for name, column in columns.items():
        table = table.set_column(table.column_names.index(name), name, column)
    assert reasons(gate, table) == [[], ["no_consent_record"], ["channel_unknown"]]


def test_a_dictionary_of_dictionaries_is_refused() -> None:
    encode = pa.DictionaryArray.from_arrays
    codes = pa.array([0])
    chunks = [encode(codes, encode(codes, pa.array([subject]))) for subject in (1, 99)]
    table = message_table(sender_id=[1, 99]).drop_columns("sender_id")
    with pytest.raises(cg.ColumnTypeError, match="must hold ids"):
        make_gate().decide(table.append_column("sender_id", pa.chunked_array(chunks)))
