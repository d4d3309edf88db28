"""What can be wrong with a file of messages."""

from __future__ import annotations

import pyarrow as pa

import consentgate as cg
from tests.build import ABSENT
from tests.faults.fault import NAIVE, PEOPLE, PERSON, ROOM, Fault, record_rule

MESSAGE_FAULTS = [
    *(
        Fault(
            f"no {name}",
            cg.ColumnMissingError,
            (f"'{name}'", "'other'"),
            {name: ABSENT, "other": PEOPLE},
        )
        for name in ("sender_id", "channel_id", "created_at")
    ),
    Fault(
        "no record id",
        cg.ColumnMissingError,
        ("'message_id'", "(record_id)"),
        {"message_id": ABSENT},
    ),
    Fault(
        "no visibility",
        cg.ColumnMissingError,
        ("'seen_by'", "(visibility)"),
        columns={"visibility": "seen_by"},
        options=("--visibility-column", "seen_by"),
    ),
    *(
        Fault(
            f"{name} twice",
            cg.ColumnAmbiguousError,
            ("2 columns", f"'{name}'"),
            twice={"messages": name},
        )
        for name in ("message_id", "sender_id", "channel_id", "created_at")
    ),
    Fault(
        "integer subjects",
        cg.IdFamilyError,
        ("'sender_id'", "int64", "integer", "string", "consent snapshot"),
        {"sender_id": [4711]},
    ),
    Fault(
        "lists of integers",
        cg.IdFamilyError,
        ("'sender_id'", "integer", "string"),
        {"sender_id": pa.array([[4711]])},
    ),
    Fault(
        "UUID channels",
        cg.IdFamilyError,
        ("'channel_id'", "UUID", "string", "channel registry"),
        {"channel_id": pa.array([bytes(16)], pa.binary(16))},
    ),
    Fault("float subjects", cg.ColumnTypeError, ("'sender_id'", "double"), {"sender_id": [1.5]}),
    Fault(
        "lists of floats",
        cg.ColumnTypeError,
        ("'sender_id'", "double"),
        {"sender_id": pa.array([[1.5]])},
    ),
    Fault(
        "lists of lists",
        cg.ColumnTypeError,
        ("'sender_id'", "list<"),
        {"sender_id": pa.array([[[PERSON]]])},
    ),
    Fault(
        "lists of channels",
        cg.ColumnTypeError,
        ("'channel_id'", "list<"),
        {"channel_id": pa.array([[ROOM]])},
    ),
    Fault(
        "float record ids",
        cg.ColumnTypeError,
        ("'message_id'", "record_id", "double"),
        {"message_id": [1.5]},
    ),
    Fault(
        "numbers as visibility",
        cg.ColumnTypeError,
        ("'seen_by'", "int64", "text"),
        {"seen_by": [1]},
        columns={"visibility": "seen_by"},
        options=("--visibility-column", "seen_by"),
    ),
    Fault(
        "naive created_at",
        cg.NaiveTimestampError,
        ("'created_at'", "timestamp[us]", "assume_timezone"),
        {"created_at": [NAIVE]},
    ),
    Fault(
        "created_at as text",
        cg.ColumnTypeError,
        ("'created_at'", "string", "timestamp"),
        {"created_at": [PERSON]},
    ),
    Fault(
        "created_at as date",
        cg.ColumnTypeError,
        ("'created_at'", "date32"),
        {"created_at": [NAIVE.date()]},
    ),
    Fault(
        "created_at of nulls",
        cg.ColumnTypeError,
        ("'created_at'", "null"),
        {"created_at": pa.nulls(1)},
    ),
    Fault(
        "rule without column",
        cg.RuleColumnMissingError,
        ("'field'", "'rule'", "messages"),
        policy=record_rule('any_of = ["x"]'),
    ),
    Fault(
        "rule on a column there twice",
        cg.ColumnAmbiguousError,
        ("2 columns", "'field'"),
        {"field": ["x"]},
        twice={"messages": "field"},
        policy=record_rule('any_of = ["x"]'),
    ),
    Fault(
        "rule on a list",
        cg.RuleColumnTypeError,
        ("'field'", "'rule'", "list<"),
        {"field": pa.array([["x"]])},
        policy=record_rule('any_of = ["x"]'),
    ),
    Fault(
        "null rule on a list",
        cg.RuleColumnTypeError,
        ("'field'", "nested"),
        {"field": pa.array([["x"]])},
        policy=record_rule("is_null = true"),
    ),
    Fault(
        "null rule on a struct",
        cg.RuleColumnTypeError,
        ("'field'", "nested"),
        {"field": pa.array([{"x": 1}])},
        policy=record_rule("is_null = true"),
    ),
    Fault(
        "text rule on numbers",
        cg.RuleColumnTypeError,
        ("'field'", "int64", "str"),
        {"field": [1]},
        policy=record_rule('any_of = ["1"]'),
    ),
    Fault(
        "number rule on text",
        cg.RuleColumnTypeError,
        ("'field'", "string", "int"),
        {"field": ["1"]},
        policy=record_rule("any_of = [1]"),
    ),
    Fault(
        "truth rule on numbers",
        cg.RuleColumnTypeError,
        ("'field'", "int64", "bool"),
        {"field": [1]},
        policy=record_rule("any_of = [true]"),
    ),
    Fault(
        "number rule on truths",
        cg.RuleColumnTypeError,
        ("'field'", "bool", "int"),
        {"field": [True]},
        policy=record_rule("none_of = [1]"),
    ),
    Fault(
        "number rule on floats",
        cg.RuleColumnTypeError,
        ("'field'", "double", "int"),
        {"field": [1.0]},
        policy=record_rule("none_of = [1]"),
    ),
    Fault(
        "text rule on coded numbers",
        cg.RuleColumnTypeError,
        ("'field'", "int64", "str"),
        {"field": pa.array([1]).dictionary_encode()},
        policy=record_rule('none_of = ["1"]'),
    ),
]
