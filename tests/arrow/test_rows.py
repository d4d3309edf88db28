"""Taking rows out of a table: every layout comes back, and nothing of the other rows does."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

import consentgate as cg
from consentgate.arrow.rows import keep_rows
from tests.build import make_gate, message_table

SECRET = "secret-of-4711!!"  # 16 bytes, too long for a string view to hold inline
TEXTS = ["a", SECRET, None, "the longest of them", SECRET, SECRET, "b", SECRET, "a"]
MASK = [text != SECRET for text in TEXTS]
KEPT = [text for text in TEXTS if text != SECRET]
Build = Callable[[list[str | None]], Any]


class Note(pa.ExtensionType):  # type: ignore[misc]  # the stubs leave it untyped
    """Text of another name."""

    def __init__(self, storage: pa.DataType) -> None:
        super().__init__(storage, "tests.note")

    def __arrow_ext_serialize__(self) -> bytes:
        return b""

    @classmethod
    def __arrow_ext_deserialize__(cls, storage: pa.DataType, _: bytes) -> Note:
        return cls(storage)


def plain(kind: pa.DataType) -> Build:
    return lambda texts: pa.array(texts, kind)


def coded(value: pa.DataType, index: pa.DataType | None = None, *nulls: None) -> Build:
    """A dictionary that ends in the secret, which it holds twice, and perhaps in a null."""

    def build(texts: list[str | None]) -> Any:
        words = ["unused", *dict.fromkeys(t for t in texts if t is not None), SECRET, *nulls]
        codes = [words.index(t) if t in words else None for t in texts]
        return pa.DictionaryArray.from_arrays(
            pa.array(codes, index or pa.int8()), pa.array(words, value)
        )

    return build


def lists(of: pa.DataType) -> Build:
    """Lists of no, one or two items; some are null."""
    return lambda texts: pa.array([None if t is None else [t] * (len(t) % 3) for t in texts], of)


def fixed(value: pa.DataType) -> Build:
    return lambda texts: pa.array([t and [t, None] for t in texts], pa.list_(value, 2))


def lists_of(build: Build) -> Build:
    """Lists of one item each, whatever its layout."""

    def make(texts: list[str | None]) -> Any:
        return pa.ListArray.from_arrays(pa.array(range(len(texts) + 1), pa.int32()), build(texts))

    return make


def views_of(build: Build) -> Build:
    """List views in backward order of one item each, whatever its layout."""

    def make(texts: list[str | None]) -> Any:
        starts = pa.array(range(len(texts))[::-1], pa.int32())
        sizes = pa.array([1] * len(texts), pa.int32())
        return pa.ListViewArray.from_arrays(starts, sizes, build(texts[::-1]))

    return make


def structs_of(*builds: Build) -> Build:
    """Structs of several layouts; some are null."""

    def make(texts: list[str | None]) -> Any:
        mask = pa.array([text is None for text in texts], pa.bool_())
        names = [str(place) for place in range(len(builds))]
        return pa.StructArray.from_arrays([build(texts) for build in builds], names, mask=mask)

    return make


def maps(value: pa.DataType) -> Build:
    kind = pa.map_(pa.string(), value)
    return lambda texts: pa.array([t and [(t, t), (t + "2", None)] for t in texts], kind)


def runs(value: pa.DataType) -> Build:
    return lambda texts: pc.run_end_encode(pa.array(texts, value), run_end_type=pa.int16())


def noted(build: Build) -> Build:
    def make(texts: list[str | None]) -> Any:
        storage = build(texts)
        return pa.ExtensionArray.from_storage(Note(storage.type), storage)

    return make


def uuids(texts: list[str | None]) -> Any:
    return pa.array([t and t.encode()[:16].ljust(16) for t in texts], pa.uuid())


TEXT, VIEW = plain(pa.string()), plain(pa.string_view())
CODED = coded(pa.string())
LAYOUTS: dict[str, Build] = {
    "string": TEXT,
    "large_string": plain(pa.large_string()),
    "binary": plain(pa.binary()),
    "string_view": VIEW,
    "binary_view": plain(pa.binary_view()),
    "uuid": uuids,
    "dictionary": CODED,
    "dictionary of large_string": coded(pa.large_string(), pa.uint32()),
    "dictionary of string_view": coded(pa.string_view(), pa.int64()),
    "null in a dictionary": coded(pa.string(), pa.int16(), None),
    "list": lists(pa.list_(pa.string())),
    "large_list": lists(pa.large_list(pa.string())),
    "list of string_view": lists(pa.list_(pa.string_view())),
    "large_list of string_view": lists(pa.large_list(pa.string_view())),
    "list_view": lists(pa.list_view(pa.string())),
    "large_list_view": lists(pa.large_list_view(pa.large_string())),
    "list_view of string_view": lists(pa.list_view(pa.string_view())),
    "list of list_view": lists_of(lists(pa.list_view(pa.string()))),
    "fixed_size_list": fixed(pa.string()),
    "fixed_size_list of string_view": fixed(pa.string_view()),
    "list of dictionary": lists_of(CODED),
    "list_view backwards": views_of(TEXT),
    "list_view of dictionary": views_of(CODED),
    "list_view of struct": views_of(structs_of(CODED, VIEW)),
    "struct": structs_of(TEXT, TEXT),
    "struct of all": structs_of(TEXT, VIEW, CODED, lists(pa.list_view(pa.string_view()))),
    "struct of struct": structs_of(structs_of(CODED)),
    "map": maps(pa.string()),
    "run_end_encoded": runs(pa.string()),
    "extension": noted(TEXT),
    "extension of string_view": noted(VIEW),
    "extension of dictionary": noted(CODED),
    "list of extension": lists_of(noted(VIEW)),
    "list of extension of dictionary": lists_of(noted(CODED)),
    "list_view of extension": views_of(noted(VIEW)),
    "struct of extension": structs_of(noted(CODED)),
}
NOT_IN_PARQUET = ("run_end", "null in", "dictionary of string_view", "list_view of struct")


def whole(build: Build) -> Any:
    return pa.chunked_array([build(TEXTS)])


def sliced(build: Build) -> Any:
    """The column in the midst of a larger one, which holds the secret too."""
    return pa.chunked_array([build([SECRET, "z", *TEXTS, "z", SECRET]).slice(2, len(TEXTS))])


def chunked(build: Build) -> Any:
    """Chunks of which some are empty and some hold nothing but secrets."""
    pieces = [TEXTS[:1], [], TEXTS[1:4], TEXTS[4:6], TEXTS[6:]]
    return pa.chunked_array([build(piece) for piece in pieces])


def buffers(array: Any) -> Iterator[bytes]:
    """Every byte that an array refers to, dictionaries included."""
    if isinstance(array, pa.ExtensionArray):
        array = array.storage
    yield from (buffer.to_pybytes() for buffer in array.buffers() if buffer is not None)
    if isinstance(array, pa.DictionaryArray):
        yield from buffers(array.dictionary)
    elif isinstance(array, pa.StructArray):
        for place in range(array.type.num_fields):
            yield from buffers(array.field(place))
    elif hasattr(array, "values"):
        yield from buffers(array.values)


def holds_secret(contents: bytes) -> bool:
    """Whether the secret, or the greater part of it, is in there."""
    return SECRET[:12].encode() in contents


def as_ipc(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    content: bytes = sink.getvalue().to_pybytes()
    return content


def as_parquet(table: pa.Table) -> bytes:
    sink = io.BytesIO()
    pq.write_table(table, sink, compression="none")
    return sink.getvalue()


SHAPES = pytest.mark.parametrize("shape", [whole, sliced, chunked], ids=lambda f: f.__name__)
LAYOUT = pytest.mark.parametrize("name", LAYOUTS)


@LAYOUT
@SHAPES
def test_rows_come_back_as_they_were(name: str, shape: Callable[[Build], Any]) -> None:
    column = shape(LAYOUTS[name])
    schema = pa.schema([pa.field("x", column.type, metadata={"a": "b"})], metadata={"c": "d"})
    kept = keep_rows(pa.table([column], schema=schema), pa.array(MASK))
    kept.validate(full=True)
    assert kept.schema.equals(schema, check_metadata=True)
    expected = [value for value, is_kept in zip(column.to_pylist(), MASK, strict=True) if is_kept]
    assert kept["x"].to_pylist() == expected
    assert len(expected) == len(KEPT)


@LAYOUT
@SHAPES
def test_nothing_of_other_rows_stays_behind(name: str, shape: Callable[[Build], Any]) -> None:
    table = pa.table({"x": shape(LAYOUTS[name])})
    assert holds_secret(as_ipc(table))
    kept = keep_rows(table, pa.array(MASK))
    assert not any(holds_secret(b) for chunk in kept["x"].chunks for b in buffers(chunk))
    assert not holds_secret(as_ipc(kept))
    if not name.startswith(NOT_IN_PARQUET):
        assert not holds_secret(as_parquet(kept))


@LAYOUT
@pytest.mark.parametrize("is_kept", [True, False])
def test_all_rows_or_none_may_be_kept(name: str, is_kept: bool) -> None:
    table = pa.table({"x": LAYOUTS[name](KEPT)})
    kept = keep_rows(table, pa.array([is_kept] * len(KEPT)))
    assert kept.schema == table.schema
    assert kept.to_pylist() == (table.to_pylist() if is_kept else [])


@LAYOUT
def test_a_table_without_rows_or_chunks_stays_so(name: str) -> None:
    kind = LAYOUTS[name](KEPT).type
    for chunks in ([], [LAYOUTS[name]([])]):
        table = pa.table({"x": pa.chunked_array(chunks, kind)})
        kept = keep_rows(table, pa.array([], pa.bool_()))
        assert (kept.schema, kept.num_rows) == (table.schema, 0)


@pytest.mark.parametrize("name", ["string", "string_view", "dictionary", "list_view"])
@SHAPES
def test_the_gates_admitted_rows_hold_nothing_of_the_excluded(
    name: str, shape: Callable[[Build], Any]
) -> None:
    senders = [1 if is_kept else 2 for is_kept in MASK]
    table = message_table(sender_id=senders, body=shape(LAYOUTS[name]))
    for admitted in (make_gate().filter(table)[0], make_gate().stream(table).read_all()):
        assert admitted.num_rows == len(KEPT)
        assert not holds_secret(as_ipc(admitted))
        assert not holds_secret(as_parquet(admitted))


def test_a_dictionary_keeps_the_values_in_use_in_their_order() -> None:
    words = pa.array(["d", "c", "b", "a", None, "c"])
    codes = pa.array([3, 1, 5, None, 4, 0, 1], pa.uint8())
    array = pa.DictionaryArray.from_arrays(codes, words, ordered=True)
    table = pa.table({"x": array})
    kept = keep_rows(table, pa.array([True, True, True, True, False, False, True]))["x"].chunk(0)
    assert kept.type == array.type
    assert kept.dictionary.to_pylist() == ["c", "a", "c"]
    assert kept.indices.to_pylist() == [1, 0, 2, None, 0]


def test_columns_may_share_a_name() -> None:
    table = pa.table([pa.array([1, 2]), VIEW(["a", "b"])], names=["x", "x"])
    kept = keep_rows(table, pa.array([False, True]))
    assert [column.to_pylist() for column in kept.columns] == [[2], ["b"]]


@pytest.mark.parametrize("value", [pa.string_view(), pa.dictionary(pa.int8(), pa.string())])
def test_what_cannot_be_taken_out_is_an_error_and_never_left_behind(value: pa.DataType) -> None:
    keys, values = pa.array(["k"]), pa.array([SECRET]).cast(value)
    offsets = pa.array([0, 1], pa.int32())
    kind = pa.map_(pa.string(), value)
    table = pa.table({"x": pa.MapArray.from_arrays(offsets, keys, values).cast(kind)})
    table = pa.concat_tables([table, table])
    try:
        kept = keep_rows(table, pa.array([True, False]))
    except cg.ColumnTypeError as error:
        assert "'x'" in str(error)
    else:
        assert kept.to_pylist() == table.to_pylist()[:1]


def test_lists_are_taken_at_random_as_python_takes_them() -> None:
    rng = np.random.default_rng(3)
    for _ in range(50):
        rows = int(rng.integers(0, 20))
        cells = [
            None if rng.random() < 0.2 else ["v"] * int(rng.integers(0, 4)) for _ in range(rows)
        ]
        mask = rng.random(rows) < 0.5
        for kind in (pa.list_(pa.string_view()), pa.list_view(pa.string())):
            table = pa.table({"x": pa.array([None, ["z"], *cells], kind).slice(2)})
            kept = keep_rows(table, pa.array(mask))["x"].to_pylist()
            assert kept == [cell for cell, is_kept in zip(cells, mask, strict=True) if is_kept]


@pytest.mark.parametrize(
    "value",
    [pa.string_view(), pa.dictionary(pa.int8(), pa.string()), pa.list_view(pa.int8()), pa.int8()],
)
def test_lists_of_a_fixed_size_of_0_come_back(value: pa.DataType) -> None:
    """Polars has such columns."""
    lists = pa.array([[], None, [], None, []], pa.list_(value, 0))
    for cells in (lists, lists.slice(1), lists[2:3], lists[:0]):
        table = pa.table({"x": cells})
        mask = [row % 2 == 0 for row in range(len(cells))]
        kept = keep_rows(table, pa.array(mask, pa.bool_()))
        kept.validate(full=True)
        assert kept.schema == table.schema
        assert kept["x"].to_pylist() == cells.to_pylist()[::2]


def test_a_map_that_would_keep_excluded_values_is_refused() -> None:
    offsets = pa.array([0, 1, 2], pa.int32())
    moods = pa.array(["fine", "secret"]).dictionary_encode()
    table = pa.table({"moods": pa.MapArray.from_arrays(offsets, pa.array(["a", "b"]), moods)})
    with pytest.raises(cg.ColumnTypeError, match=r"'moods'.*cannot be taken out"):
        keep_rows(table, pa.array([True, False]))
