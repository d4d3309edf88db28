"""pandas: indexes, types and objects of its own, and what must not stay in them."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import consentgate as cg
from consentgate.adapters import pandas as gated
from tests.adapters.contract import ledger_rows, messages
from tests.build import (
    NOW,
    WRITTEN,
    channel_table,
    consent_table,
    make_consent,
    make_gate,
    message_table,
)
from tests.run_data import mixed_gate

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
    with pytest.raises(cg.NotArrowError, match="is not a pandas DataFrame"):
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


WORDS = [f"SECRET {n}" for n in range(ROWS)]
CODED = pa.array(WORDS).dictionary_encode()
HOLDERS: dict[str, Callable[[], Any]] = {
    "object": lambda: pd.array(WORDS, dtype=object),
    "str": lambda: pd.array(WORDS, dtype="str"),
    "python's text": lambda: pd.array(WORDS, dtype=pd.StringDtype("python")),
    "categories": lambda: pd.Categorical(WORDS),
    "categories of Arrow": lambda: pd.Categorical(arrow_array(pa.array(WORDS))),
    "categories of a dictionary": lambda: pd.Categorical.from_codes(
        np.arange(ROWS), pd.Index(arrow_array(CODED))
    ),
    "intervals": lambda: pd.Categorical(pd.IntervalIndex.from_breaks(range(ROWS + 1))),
    "dictionary": lambda: arrow_array(CODED),
    "text": lambda: arrow_array(pa.array(WORDS)),
    "slice": lambda: arrow_array(pa.array(WORDS * 3)[ROWS : 2 * ROWS]),
    "views": lambda: arrow_array(pa.array(WORDS, pa.string_view())),
    "list views": lambda: arrow_array(pa.array([[w] for w in WORDS], pa.list_view(pa.string()))),
    "structs": lambda: arrow_array(pa.StructArray.from_arrays([CODED], ["word"])),
    "maps": lambda: arrow_array(
        pa.array([[("k", w)] for w in WORDS], pa.map_(pa.string(), pa.string()))
    ),
    "runs": lambda: arrow_array(pa.compute.run_end_encode(pa.array(WORDS))),
    "extension": lambda: arrow_array(
        pa.ExtensionArray.from_storage(pa.opaque(CODED.type, "t", "v"), CODED)
    ),
    "sparse": lambda: pd.arrays.SparseArray(np.arange(ROWS)),
}


def arrow_array(array: pa.Array) -> Any:
    """The values in a column of Arrow's types."""
    return pd.arrays.ArrowExtensionArray(pa.chunked_array([array]))


NO_LEVELS = {"views", "list views", "structs", "maps", "runs", "extension"}
"""What pandas makes no level of an index of."""
PLACES = {"column": set(HOLDERS), "index": set(HOLDERS), "level": set(HOLDERS) - NO_LEVELS}


@pytest.mark.parametrize(
    ("place", "kind"), [(place, kind) for place, kinds in PLACES.items() for kind in sorted(kinds)]
)
def test_no_word_of_an_excluded_row_is_left_behind(gate: cg.Gate, place: str, kind: str) -> None:
    values, given = HOLDERS[kind](), frame()
    if place == "column":
        given["extra"] = values
    elif place == "index":
        given.index = pd.Index(values, name="extra")
    else:
        given.index = pd.MultiIndex.from_arrays([pd.Index(values), range(ROWS)])
    found, rows = gated.filter(given, gate), admitted_rows(gate)
    held, before = (f["extra"] if place == "column" else f.index for f in (found, given))
    assert held.tolist() == [before.tolist()[row] for row in rows]
    shown = pickle.dumps(found)
    others = set(range(ROWS)) - set(rows)
    assert not any(f"SECRET {row}".encode() in shown for row in others if row > 9)


def test_categories_keep_nulls_order_and_name(gate: cg.Gate) -> None:
    words = [None if n % 7 == 0 else f"word {n % 11}" for n in range(ROWS)]
    categories = pd.Index([f"word {n}" for n in (5, 3, 99, 1, 0, 2, 4, 10, 9, 8, 7, 6)], name="all")
    given = frame(extra=pd.Categorical(words, categories, ordered=True))
    found = gated.filter(given, gate)["extra"].array
    wanted = given["extra"].array[admitted_rows(gate)].remove_unused_categories()
    pd.testing.assert_extension_array_equal(found, wanted)
    nulls = gated.filter(frame(extra=pd.Categorical([None] * ROWS, categories)), gate)["extra"]
    assert nulls.isna().all()
    assert len(nulls.cat.categories) == 0


class Uncooperative(pd.arrays.IntervalArray):  # type: ignore[misc]  # pandas has no types here
    """A column that cannot be converted, and whose error shows a value."""

    def __arrow_array__(self, type: Any = None) -> Any:  # noqa: A002  # as pyarrow calls it
        raise KeyError("SECRET")


@pytest.mark.parametrize("name", ["sender_id", "channel_id", "created_at", "message_id"])
@pytest.mark.parametrize("kind", ["its own code fails", "signalling NaN", "sparse"])
def test_columns_whose_conversion_fails_are_refused(
    gate: cg.Gate, name: str, kind: str, tmp_path: Path
) -> None:
    odd = {
        "its own code fails": lambda: Uncooperative.from_breaks(range(ROWS + 1)),
        "signalling NaN": lambda: pd.array([Decimal("sNaN")] * ROWS, dtype=object),
        "sparse": lambda: pd.arrays.SparseArray(["SECRET"] * ROWS, fill_value="SECRET"),
    }
    with pytest.raises(cg.ColumnTypeError, match=f"Column '{name}' is .* convert it") as error:
        gated.filter(frame(**{name: odd[kind]()}), gate, ledger=tmp_path)  # it needs record ids
    assert "SECRET" not in str(error.value)
    assert error.value.__suppress_context__


LABELS: list[Any] = ["\ud800", "a\0b", "", None, 1.5, ("a", "b"), b"x", float("nan"), "x" * 70_000]


@pytest.mark.parametrize("label", LABELS, ids=lambda label: repr(label)[:9])
def test_labels_may_be_anything(gate: cg.Gate, label: Any) -> None:
    given = frame()
    given.columns = given.columns.astype(object)
    given[label] = range(ROWS)
    found = gated.filter(given, gate)
    assert [*map(repr, found.columns)] == [*map(repr, given.columns)]
    assert found.iloc[:, -1].tolist() == admitted_rows(gate)
    with pytest.raises(cg.ColumnMissingError, match="Column 'sender_id'"):
        gated.filter(given.drop(columns="sender_id"), gate)


def test_malformed_columns_of_arrow_are_refused(gate: cg.Gate) -> None:
    codes = pa.array([99] * ROWS, pa.int32())
    beyond = pa.DictionaryArray.from_arrays(codes, pa.array(["a"]), safe=False)
    octets = pa.array([b"\xff"] * ROWS)
    no_text = pa.Array.from_buffers(pa.string(), ROWS, octets.buffers())
    for array in (beyond, no_text):
        with pytest.raises(cg.MalformedDataError, match="Column 'extra'"):
            gated.filter(frame(extra=arrow_array(array)), gate)


# --- lists of subjects --------------------------------------------------------------------------

LISTS: dict[str, list[Any]] = {
    "integers": [[1], [1, 2], [], None, [2, 2], [3], [2**62, 1]],
    "with nulls": [[1], [1, None], [], None, [2, 2], [3], [None]],
    "strings": [["ann"], ["ann", "bob"], [], None, ["bob"], ["cy"], ["ann", None]],
}
SUBJECTS: dict[str, Any] = {
    "integers": pa.array([1, 2, 2**62]),
    "with nulls": pa.array([1, 2]),
    "strings": pa.array(["ann", "bob"]),
}


def list_gate(kind: str) -> cg.Gate:
    """A gate for columns of lists beside which another column names someone."""
    consent = make_consent(subject_id=SUBJECTS[kind])
    return make_gate(consent, columns=cg.Columns(subjects=("people",)))


def list_messages(kind: str) -> pa.Table:
    """Messages whose subjects are lists."""
    lists = LISTS[kind]
    people = pa.array(lists, pa.list_(SUBJECTS[kind].type))
    return message_table(people=people, message_id=list(range(len(lists))))


@pytest.mark.parametrize("kind", LISTS)
@pytest.mark.parametrize("form", ["as read", "lists", "tuples", "arrow"])
def test_lists_of_subjects_are_judged_as_in_arrow(kind: str, form: str, tmp_path: Path) -> None:
    table, gate = list_messages(kind), list_gate(kind)
    pq.write_table(table, tmp_path / "messages.parquet")
    given = pd.read_parquet(tmp_path / "messages.parquet")
    if form == "arrow":
        given = pd.read_parquet(tmp_path / "messages.parquet", dtype_backend="pyarrow")
    elif form != "as read":
        make = {"lists": list, "tuples": tuple}[form]
        cells = [None if cell is None else make(cell) for cell in LISTS[kind]]
        given["people"] = pd.Series(cells, dtype=object)
    cells = list(given["people"])
    found = gated.filter(given, gate, ledger=tmp_path / "ledger")
    admitted, excluded = gate.filter(table)
    assert 0 < admitted.num_rows < table.num_rows
    assert found["message_id"].tolist() == admitted["message_id"].to_pylist()
    ledger = ledger_rows(tmp_path / "ledger")
    assert ledger.to_pylist() == excluded.to_pylist()
    if form != "arrow":
        rows = found["message_id"].tolist()
        assert all(a is cells[row] for a, row in zip(found["people"], rows, strict=True))


FLOATS = [[1.5], [2.0**53], [float("inf"), 1.0], np.array([2.0**24], np.float32)]


@pytest.mark.parametrize("floats", FLOATS, ids=str)
def test_floats_that_may_be_several_ids_are_refused(floats: Any) -> None:
    given = list_messages("integers").to_pandas()
    given["people"] = pd.Series([np.array(floats)] * len(given), dtype=object)
    with pytest.raises(cg.ColumnTypeError, match=r"'people' holds arrays of floats.*dtype_backend"):
        gated.filter(given, list_gate("integers"))


ODD_ITEMS = [
    np.array([[1]]),
    np.array(1),
    np.array([True]),
    np.array([1], "M8[us]"),
    [1.0],
    [[1]],
    np.array([1], "m8[us]"),
    [np.timedelta64(1, "us")],
    np.timedelta64(1, "us"),
    np.ma.masked_array([1, 2], [True, False]),
    np.ma.masked_array([1.0, 2.0], [True, False]),
]


@pytest.mark.parametrize("cell", ODD_ITEMS, ids=repr)
def test_lists_of_what_is_no_id_are_refused(cell: Any) -> None:
    given = list_messages("integers").to_pandas()
    given["people"] = pd.Series([[1]] * len(given), dtype=object)
    given.at[2, "people"] = cell
    with pytest.raises(cg.ColumnTypeError, match="Column 'people' holds"):
        gated.filter(given, list_gate("integers"))


# --- an index is no column ----------------------------------------------------------------------

FRAMES: dict[str, Callable[[pd.DataFrame], pd.DataFrame]] = {
    "another index": lambda frame: frame.set_axis([7, 8, 9]),
    "named": lambda frame: frame.set_axis(pd.Index(list("xyz"), name="label")),
    "levels": lambda frame: frame.set_axis(
        pd.MultiIndex.from_arrays([[1, 2, 3], list("abc")], names=["n", None])
    ),
    "filtered": lambda frame: pd.concat([frame, frame])[[*[False] * 3, *[True] * 3]],
    "sorted": lambda frame: frame.iloc[::-1],
}


@pytest.mark.parametrize("kind", FRAMES)
@pytest.mark.parametrize("way", ["frame", "file"])
def test_an_index_is_no_attribute_of_a_snapshot(kind: str, way: str, tmp_path: Path) -> None:
    table = consent_table(subject_id=[1, 2, 3], region=["EU", "US", "EU"])
    frame = FRAMES[kind](table.to_pandas(types_mapper=pd.ArrowDtype))
    assert len(frame) == 3
    if way == "frame":
        snapshot = cg.ConsentSnapshot.from_arrow(frame, as_of=NOW)
    else:
        frame.to_parquet(tmp_path / "consent.parquet")
        snapshot = cg.ConsentSnapshot.read(tmp_path / "consent.parquet", as_of=NOW)
    wanted = cg.ConsentSnapshot.from_arrow(table, as_of=NOW)
    assert snapshot.table.column_names == wanted.table.column_names
    assert snapshot.digest == wanted.digest


@pytest.mark.parametrize("kind", FRAMES)
def test_an_index_is_no_part_of_a_registry(kind: str) -> None:
    table = channel_table(channel_id=[1, 2, 3])
    frame = FRAMES[kind](table.to_pandas())
    registry = cg.ChannelRegistry.from_arrow(frame, as_of=NOW)
    assert registry.digest == cg.ChannelRegistry.from_arrow(table, as_of=NOW).digest


def test_an_index_that_holds_a_column_of_the_snapshot_is_read() -> None:
    table = consent_table(subject_id=[1, 2, 3], expires_at=[NOW, None, NOW])
    frame = table.to_pandas(types_mapper=pd.ArrowDtype)
    for column in ("subject_id", "expires_at"):
        snapshot = cg.ConsentSnapshot.from_arrow(frame.set_index(column), as_of=NOW)
        assert snapshot.digest == cg.ConsentSnapshot.from_arrow(table, as_of=NOW).digest


@pytest.mark.parametrize("kind", FRAMES)
def test_messages_keep_their_index_and_ledgers_do_not_hold_it(kind: str, tmp_path: Path) -> None:
    given = FRAMES[kind](message_table(sender_id=[1, 5, 1]).to_pandas())
    found = gated.filter(given, make_gate(), ledger=tmp_path)
    assert found.index.tolist() == given[given["sender_id"] == 1].index.tolist()
    assert ledger_rows(tmp_path).column_names == ["record_id", "row", "reason", "reason_bits"]
    admitted, excluded = make_gate().filter(given)
    assert admitted.column_names == pa.table(given).column_names
    assert excluded.equals(ledger_rows(tmp_path))


@pytest.mark.parametrize(
    "description", [b"", b"{", b"[]", b"3", b'{"index_columns": 3}', b"[" * 100_000, b"\xff"]
)
def test_metadata_that_pandas_did_not_write_names_no_index(description: bytes) -> None:
    table = consent_table(region="EU").replace_schema_metadata({"pandas": description})
    snapshot = cg.ConsentSnapshot.from_arrow(table, as_of=NOW)
    assert "region" in snapshot.table.column_names
