"""pandas: indexes, types and objects of its own, and what must not stay in them."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from uuid import UUID

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

import consentgate as cg
from consentgate.adapters import pandas as gated
from tests.adapters.contract import messages
from tests.build import WRITTEN, make_consent, make_gate
from tests.runs import mixed_gate

ROWS = 60


@pytest.fixture(scope="module")
def gate() -> cg.Gate:
    return mixed_gate()


def frame(**columns: Any) -> pd.DataFrame:
    """Messages in Arrow's types, and further columns."""
    made = messages(ROWS).to_pandas(types_mapper=pd.ArrowDtype)
    return made.assign(**columns)


def admitted_rows(gate: cg.Gate) -> list[int]:
    """The positions of admitted rows, which are their record ids, too."""
    return list(gate.filter(messages(ROWS))[0]["message_id"].to_pylist())


COLUMNS: dict[str, Callable[[], Any]] = {
    "categories": lambda: pd.Categorical([f"secret {n}" for n in range(ROWS)], ordered=True),
    "objects": lambda: [{"n": n} for n in range(ROWS)],
    "text": lambda: pd.array([f"text {n}" for n in range(ROWS)], dtype="str"),
    "nullable": lambda: pd.array([n if n % 3 else None for n in range(ROWS)], dtype="Int64"),
    "floats": lambda: np.arange(ROWS) / 7,
    "times": lambda: pd.date_range("2025-01-01", periods=ROWS, tz="Europe/Berlin"),
    "periods": lambda: pd.period_range("2025-01", periods=ROWS, freq="M"),
    "sparse": lambda: pd.arrays.SparseArray([n % 2 for n in range(ROWS)]),
    "lists": lambda: pd.array(
        [[n, n] for n in range(ROWS)], dtype=pd.ArrowDtype(pa.list_(pa.int8()))
    ),
    "views": lambda: pd.array(
        [f"v{n}" for n in range(ROWS)], dtype=pd.ArrowDtype(pa.string_view())
    ),
}


@pytest.mark.parametrize("kind", COLUMNS)
def test_columns_of_every_kind_keep_type_values_and_rows(gate: cg.Gate, kind: str) -> None:
    given = frame(extra=COLUMNS[kind]())
    found = gated.filter(given, gate)
    rows = admitted_rows(gate)
    assert found.index.tolist() == rows
    assert found["extra"].tolist() == [given["extra"].tolist()[row] for row in rows]
    if kind == "categories":
        assert found["extra"].cat.ordered
        assert len(found["extra"].cat.categories) == len(rows)
    else:
        assert found["extra"].dtype == given["extra"].dtype
    assert found.drop(columns="extra").dtypes.equals(given.drop(columns="extra").dtypes)


INDEXES: dict[str, Callable[[], Any]] = {
    "range": lambda: pd.RangeIndex(5, 5 + 3 * ROWS, 3, name="n"),
    "text": lambda: pd.Index([f"secret {n}" for n in range(ROWS)], name="who"),
    "categories": lambda: pd.CategoricalIndex([f"secret {n}" for n in range(ROWS)], name="who"),
    "times": lambda: pd.date_range("2025-01-01", periods=ROWS, freq="h", tz="UTC"),
    "arrow": lambda: pd.Index(
        pd.array([f"secret {n}" for n in range(ROWS)], dtype=pd.ArrowDtype(pa.string_view()))
    ),
    "levels": lambda: pd.MultiIndex.from_arrays(
        [pd.Categorical([f"secret {n}" for n in range(ROWS)]), range(ROWS)], names=["who", "n"]
    ),
}


@pytest.mark.parametrize("kind", INDEXES)
def test_indexes_keep_their_rows_and_show_no_others(gate: cg.Gate, kind: str) -> None:
    given = frame().set_axis(INDEXES[kind](), axis=0)
    found, rows = gated.filter(given, gate), admitted_rows(gate)
    assert found.index.tolist() == [given.index.tolist()[row] for row in rows]
    assert found.index.names == given.index.names
    shown = pickle.dumps(found)
    others = sorted(set(range(ROWS)) - set(rows))
    assert not any(f"secret {row}".encode() in shown for row in others if row > 9)


def test_labels_attributes_and_class_come_back(gate: cg.Gate) -> None:
    class Messages(pd.DataFrame):  # type: ignore[misc]  # pandas has no types here
        @property
        def _constructor(self) -> Any:
            return Messages

    given = Messages(frame())
    given[("not", "a word")] = 1
    given[7] = 2
    given.attrs["owner"] = "tests"
    found = gated.filter(given, gate)
    assert isinstance(found, Messages)
    assert list(found.columns) == list(given.columns)
    assert found.attrs == {"owner": "tests"}


def test_the_frame_that_was_given_stays_as_it_was(gate: cg.Gate) -> None:
    given = frame(cats=COLUMNS["categories"]())
    before = given.copy(deep=True)
    gated.filter(given, gate)
    pd.testing.assert_frame_equal(given, before)


PLAIN = {
    "numpy": lambda table: table.to_pandas(),
    "nullable": lambda table: table.to_pandas().convert_dtypes(),
    "objects": lambda table: pd.DataFrame(table.to_pylist(), dtype=object),
    "categories": lambda table: table.to_pandas().astype({"channel_id": "category"}),
}


@pytest.mark.parametrize("kind", PLAIN)
def test_plain_pandas_is_judged_as_arrow_is(kind: str) -> None:
    table = messages(ROWS)
    known = table.filter(pa.compute.is_valid(table["sender_id"]))
    gate = mixed_gate()
    found = gated.filter(PLAIN[kind](known), gate)
    assert found["message_id"].tolist() == gate.filter(known)[0]["message_id"].to_pylist()


def objects(**columns: Any) -> pd.DataFrame:
    """Messages of one admitted subject, whose columns are objects."""
    known: dict[str, Any] = {"message_id": [1, 2], "sender_id": [1, 1], "channel_id": [10, 10]}
    given = {**known, "created_at": [WRITTEN, WRITTEN], **columns}
    return pd.DataFrame({name: pd.Series(v, dtype=object) for name, v in given.items()})


@pytest.mark.parametrize(
    ("columns", "error"),
    [
        ({"sender_id": [1, 1.0]}, cg.ColumnTypeError),
        ({"sender_id": [1, "1"]}, cg.IdFamilyError),
        ({"sender_id": ["1", "1"]}, cg.IdFamilyError),
        ({"sender_id": [1, True]}, cg.ColumnTypeError),
        ({"created_at": [WRITTEN, WRITTEN.replace(tzinfo=None)]}, cg.NaiveTimestampError),
        ({"created_at": [WRITTEN.isoformat()] * 2}, cg.ColumnTypeError),
    ],
)
def test_objects_that_are_not_what_they_must_be(columns: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match=r"Column '(sender_id|created_at)'"):
        gated.filter(objects(**columns), make_gate())


@pytest.mark.parametrize("nothing", [None, float("nan"), pd.NaT, pd.NA])
@pytest.mark.parametrize("name", ["sender_id", "channel_id", "created_at"])
def test_what_is_nothing_in_pandas_is_null(name: str, nothing: Any) -> None:
    known: dict[str, Any] = {"sender_id": 1, "channel_id": 10, "created_at": WRITTEN}
    found = gated.filter(objects(**{name: [known[name], nothing]}), make_gate())
    assert found["message_id"].tolist() == [1]


OBJECTS: list[list[Any]] = [
    ["a", None],
    [pd.NA, 1],
    [WRITTEN, None],
    [pd.Timestamp(WRITTEN), pd.Timestamp(WRITTEN)],
    [1, 2],
]


@pytest.mark.parametrize("values", OBJECTS, ids=str)
def test_objects_stay_the_objects_that_they_are(values: list[Any]) -> None:
    given = objects(extra=values)
    found = gated.filter(given, make_gate())
    assert found["extra"].dtype == object
    assert all(one is other for one, other in zip(found["extra"], values, strict=True))


def test_offsets_with_fractions_of_a_second_count() -> None:
    begun = datetime(2025, 6, 1, tzinfo=UTC)
    gate = make_gate(make_consent(effective_from=begun))
    zone = timezone(timedelta(microseconds=900_000))
    early = [datetime(2025, 6, 1, tzinfo=zone), datetime(2025, 6, 1, 0, 0, 1, tzinfo=zone)]
    assert gated.filter(objects(created_at=early), gate)["message_id"].tolist() == [2]


def test_uuids_are_objects_in_pandas() -> None:
    who = [UUID(int=1), UUID(int=2)]
    consent = make_consent(subject_id=pa.array([who[0].bytes], pa.binary(16)))
    found = gated.filter(objects(sender_id=who), make_gate(consent))
    assert found["message_id"].tolist() == [1]


def test_ids_that_became_floats_are_refused() -> None:
    given = messages(ROWS).to_pandas()
    assert given["sender_id"].dtype == float
    with pytest.raises(cg.ColumnTypeError, match="'sender_id' is double"):
        gated.filter(given, mixed_gate())


def test_times_without_a_zone_are_refused(gate: cg.Gate) -> None:
    naive = frame(created_at=[datetime(2025, 6, 1)] * ROWS)
    with pytest.raises(cg.NaiveTimestampError, match="no time zone"):
        gated.filter(naive, gate)


def test_a_column_that_is_there_twice_is_refused(gate: cg.Gate) -> None:
    given = pd.concat([frame(), frame()[["sender_id"]]], axis=1)
    with pytest.raises(cg.ColumnAmbiguousError, match="2 columns are named 'sender_id'"):
        gated.filter(given, gate)


def test_other_columns_may_be_there_twice(gate: cg.Gate) -> None:
    given = pd.concat([frame(), frame()[["text"]]], axis=1)
    found = gated.filter(given, gate)
    assert list(found.columns) == list(given.columns)
    assert found.index.tolist() == admitted_rows(gate)


@pytest.mark.parametrize("data", [pd.Series([1]), messages(3), 3])
def test_only_data_frames_are_taken(gate: cg.Gate, data: Any) -> None:
    with pytest.raises(cg.NotArrowError, match="is no pandas DataFrame"):
        gated.filter(data, gate)


def test_no_error_shows_a_value() -> None:
    given = objects(sender_id=["ada@example.org", 1])
    with pytest.raises(cg.ColumnTypeError) as error:
        gated.filter(given, make_gate())
    assert "ada" not in str(error.value)
    assert error.value.__cause__ is None


def test_a_missing_column_is_named_among_all_that_are_there(gate: cg.Gate) -> None:
    given = frame(notes=[object()] * ROWS).rename(columns={"sender_id": "Sender"})
    with pytest.raises(cg.ColumnMissingError, match=r"'sender_id'.* 'Sender', .* 'notes', 'text'"):
        gated.filter(given, gate)
