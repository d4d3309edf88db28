"""Arrow data is held to its schema and its types before anything reads it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

import consentgate as cg
from consentgate.arrow.validation import Validator, refuse_odd_names
from tests.build import AS_OF, consent_table, make_consent, make_gate, message_table
from tests.layouts import LAYOUT_BYTES, Layout
from tests.malformed import MALFORMED, coded, lists, miscounted, text
from tests.processes import HANGING_S
from tests.scenarios import Scenario
from tests.strategies import layouts, scenarios

NOBODY = make_consent(subject_id=["a", "b"], status=["given", "refused"])
BY_TEXT = make_gate(NOBODY)


# --- streams whose batches have another schema ------------------------------------------------


def first_batch() -> pa.RecordBatch:
    return message_table(sender_id=[1, 1]).combine_chunks().to_batches()[0]


def reordered(batch: pa.RecordBatch) -> pa.RecordBatch:
    return batch.select(batch.schema.names[::-1])


def retyped(name: str, kind: pa.DataType) -> Callable[[pa.RecordBatch], pa.RecordBatch]:
    def retype(batch: pa.RecordBatch) -> pa.RecordBatch:
        place = batch.schema.get_field_index(name)
        return batch.set_column(place, name, batch.column(place).cast(kind))

    return retype


OTHERS: dict[str, Callable[[pa.RecordBatch], pa.RecordBatch]] = {
    "reordered": reordered,
    "narrower": retyped("sender_id", pa.int8()),
    "unsigned": retyped("channel_id", pa.uint64()),
    "text": retyped("sender_id", pa.string()),
    "naive": retyped("created_at", pa.timestamp("us")),
    "another unit": retyped("created_at", pa.timestamp("ns", "UTC")),
    "another zone": retyped("created_at", pa.timestamp("us", "Europe/Berlin")),
    "renamed": lambda batch: batch.rename_columns(
        ["channel_id", "sender_id", *batch.schema.names[2:]]
    ),
    "one column more": lambda batch: batch.append_column("more", pa.array([1, 2])),
    "one column fewer": lambda batch: batch.select(batch.schema.names[:-1]),
    "not nullable": lambda batch: batch.cast(
        pa.schema([field.with_nullable(False) for field in batch.schema])
    ),
}


def mixed_reader(other: str) -> pa.RecordBatchReader:
    batch = first_batch()
    return pa.RecordBatchReader.from_batches(batch.schema, [batch, OTHERS[other](batch)])


CALLS: dict[str, Callable[[cg.Gate, Any], Any]] = {
    "decide": lambda gate, data: gate.decide(data),
    "filter": lambda gate, data: gate.filter(data),
    "annotate": lambda gate, data: gate.annotate(data),
    "stream": lambda gate, data: gate.stream(data).read_all(),
    "explain": lambda gate, data: gate.explain(data, 0),
}


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("other", OTHERS)
def test_a_batch_of_another_schema_is_refused(other: str, call: str) -> None:
    with pytest.raises(cg.SchemaMismatchError, match="another schema than the first"):
        CALLS[call](make_gate(), mixed_reader(other))


@pytest.mark.parametrize("other", OTHERS)
def test_a_snapshot_in_batches_of_other_schemas_is_refused(other: str) -> None:
    with pytest.raises(cg.SchemaMismatchError, match="another schema than the first"):
        cg.ConsentSnapshot.from_arrow(mixed_reader(other), as_of=AS_OF)
    with pytest.raises(cg.SchemaMismatchError, match="another schema than the first"):
        cg.ChannelRegistry.from_arrow(mixed_reader(other), as_of=AS_OF)


def test_batches_that_differ_in_metadata_alone_are_judged() -> None:
    batch = first_batch()
    other = batch.replace_schema_metadata({"a": "b"})
    reader = pa.RecordBatchReader.from_batches(batch.schema, [batch, other])
    admitted, excluded = make_gate().filter(reader)
    assert (admitted.num_rows, excluded.num_rows) == (4, 0)


def test_an_error_of_the_producer_is_named_without_its_words() -> None:
    class Stream:
        def __arrow_c_stream__(self, requested_schema: object = None) -> object:
            return broken.__arrow_c_stream__(requested_schema)

    def fail() -> Iterator[pa.RecordBatch]:
        yield first_batch()
        raise pa.ArrowInvalid("cannot read 'someone@example.org'")

    broken = pa.RecordBatchReader.from_batches(first_batch().schema, fail())
    with pytest.raises(cg.MalformedDataError, match="Stream' cannot be read") as caught:
        make_gate().decide(Stream())
    assert "someone" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


# --- columns that contradict themselves ---------------------------------------------------------


def with_column(name: str, column: pa.Array) -> pa.Table:
    return message_table(**{"sender_id": ["a", "a"], name: column})


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("fault", MALFORMED)
def test_a_malformed_subject_column_is_refused(fault: str, call: str) -> None:
    column = MALFORMED[fault]()
    gate = make_gate() if column.type == pa.int64() else BY_TEXT
    with pytest.raises(cg.MalformedDataError, match=r"Column 'sender_id' .* is malformed"):
        CALLS[call](gate, message_table(sender_id=column))


@pytest.mark.parametrize("fault", MALFORMED)
def test_a_malformed_column_that_is_only_carried_is_refused(fault: str) -> None:
    table = with_column("text", MALFORMED[fault]())
    assert BY_TEXT.decide(table).num_admitted == 2
    with pytest.raises(cg.MalformedDataError, match=r"Column 'text' .* is malformed"):
        BY_TEXT.filter(table)
    with pytest.raises(cg.MalformedDataError, match=r"Column 'text' .* is malformed"):
        BY_TEXT.stream(table).read_all()


@pytest.mark.parametrize("fault", ["text backwards", "index beyond the dictionary"])
def test_a_malformed_record_id_is_refused(fault: str) -> None:
    table = with_column("message_id", MALFORMED[fault]())
    with pytest.raises(cg.MalformedDataError, match=r"Column 'message_id' .* is malformed"):
        BY_TEXT.filter(table)


@pytest.mark.parametrize("fault", MALFORMED)
@pytest.mark.parametrize("column", ["subject_id", "purpose", "status", "tier"])
def test_a_malformed_snapshot_is_refused(column: str, fault: str) -> None:
    table = consent_table(**{"subject_id": ["a", "b"], column: MALFORMED[fault]()})
    with pytest.raises(cg.MalformedDataError, match=rf"Column '{column}' .* is malformed"):
        cg.ConsentSnapshot.from_arrow(table, as_of=AS_OF)


def test_a_null_that_the_producer_does_not_count_names_nobody() -> None:
    """Behind the null lies the id of somebody who has given consent."""
    gate = make_gate(make_consent(subject_id=[1, 2]))
    with pytest.raises(cg.MalformedDataError, match="number of nulls"):
        gate.decide(message_table(sender_id=miscounted(0)))


def test_a_large_dictionary_is_checked_for_a_small_table() -> None:
    values = pa.array([f"user {n}" for n in range(1000)])
    for codes in ([0, 999, 1000], [0, -1, 2]):
        broken = pa.DictionaryArray.from_arrays(pa.array(codes), values, safe=False)
        with pytest.raises(cg.MalformedDataError, match="sender_id"):
            BY_TEXT.decide(message_table(sender_id=broken))


def test_an_index_under_a_null_may_be_anything() -> None:
    indices = pa.Array.from_buffers(
        pa.int8(), 2, [pa.py_buffer(b"\x01"), pa.py_buffer(b"\x00\x77")], null_count=1
    )
    column = pa.DictionaryArray.from_arrays(indices, pa.array(["a"]), safe=False)
    admitted, excluded = BY_TEXT.filter(message_table(sender_id=column))
    assert (admitted.num_rows, excluded["reason"].to_pylist()) == (1, ["subject_missing"])


def test_only_what_a_slice_uses_is_checked_of_its_items() -> None:
    items = text(0, 1, 4, 2, data=b"abcd")
    table = with_column("tags", lists(0, 1, 3, items=items))
    assert BY_TEXT.filter(table.slice(0, 1))[0]["tags"].to_pylist() == [["a"]]
    with pytest.raises(cg.MalformedDataError, match="tags"):
        BY_TEXT.filter(table)


def test_small_chunks_are_checked_before_they_are_joined() -> None:
    good, bad = with_column("sender_id", coded(0, 0)), with_column("sender_id", coded(0, 7))
    with pytest.raises(cg.MalformedDataError, match="sender_id"):
        BY_TEXT.decide(pa.concat_tables([good, bad, good]))


def nested(levels: int) -> pa.DataType:
    kind = pa.int8()
    for _ in range(levels):
        kind = pa.struct([("inner", kind)])
    return kind


def test_deep_columns_are_judged_or_refused() -> None:
    for levels, kind in ((63, None), (64, cg.ColumnTypeError), (500, cg.ColumnTypeError)):
        table = with_column("deep", pa.nulls(2, nested(levels)))
        if kind is None:
            assert BY_TEXT.filter(table)[0].num_rows == 2
        else:
            with pytest.raises(kind, match="'deep' is nested more than 64 levels deep"):
                BY_TEXT.filter(table)


def test_flipped_octets_are_errors_and_never_crashes() -> None:
    """In a process of its own, since it is a crash of pyarrow's that is looked for."""
    command = [sys.executable, "-m", "tests.arrow.fuzz_ipc", "1", "400"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=HANGING_S, check=False)
    assert done.returncode == 0, done.stderr
    for call in ("filter", "stream", "annotate", "explain"):
        assert f"{call}: judged" in done.stdout
        assert f"{call}: malformed_data" in done.stdout


@given(scenario=scenarios(), layout=layouts())
def test_what_is_well_formed_passes_in_every_layout(scenario: Scenario, layout: Layout) -> None:
    Validator().check(scenario.table(layout))
    Validator().check(scenario.snapshot_table(layout))


@given(data=st.binary(min_size=LAYOUT_BYTES, max_size=LAYOUT_BYTES), scenario=scenarios())
def test_what_pyarrow_finds_malformed_is_refused(data: bytes, scenario: Scenario) -> None:
    """Buffers are overwritten in place: pyarrow's own full check is the judge of what is sound."""
    rng = np.random.default_rng(list(data[:8]))
    table = scenario.table(data)
    for name, column in zip(table.column_names, table.columns, strict=True):
        for chunk in column.chunks:
            if (broken := overwritten(chunk, rng)) is not None and not is_sound(broken):
                with pytest.raises(cg.MalformedDataError, match=name):
                    Validator().check_column(name, broken)


def overwritten(array: pa.Array, rng: np.random.Generator) -> pa.Array | None:
    """A copy of an array with an octet of its first buffers changed; None where it has none."""
    is_plain = not isinstance(array.type, pa.BaseExtensionType | pa.DictionaryType)
    if pa.types.is_nested(array.type) or not is_plain:
        return None
    buffers = array.buffers()
    places = [place for place, b in enumerate(buffers) if b is not None and b.size]
    if not places or not len(array):
        return None
    place = places[int(rng.integers(len(places)))]
    octets = bytearray(buffers[place].to_pybytes())
    octets[int(rng.integers(len(octets)))] ^= 1 << int(rng.integers(8))
    buffers[place] = pa.py_buffer(bytes(octets))
    try:
        return pa.Array.from_buffers(array.type, len(array), buffers, offset=array.offset)
    except pa.ArrowException:
        return None


def is_sound(array: pa.Array) -> bool:
    """Whether pyarrow's own full check finds nothing."""
    try:
        array.validate(full=True)
    except pa.ArrowException:
        return False
    return True


# --- columns of other lengths than their batch ---------------------------------------------------


def struct_of(rows: int, **columns: pa.Array) -> pa.StructArray:
    """A struct of so many rows, whose children may be longer, as a slice of a struct is."""
    fields = [pa.field(name, column.type) for name, column in columns.items()]
    kind, children = pa.struct(fields), list(columns.values())
    return pa.Array.from_buffers(kind, rows, [None], children=children)


def messages_of(senders: list[int], rows: int) -> pa.StructArray:
    """Messages of senders, of which only the first so many are there."""
    table = message_table(sender_id=senders).combine_chunks()
    columns = {name: table[name].chunk(0) for name in table.column_names}
    columns |= {name: columns[name][:rows] for name in ("channel_id", "message_id")}
    return struct_of(rows, **columns)


REFUSER = make_gate(make_consent(subject_id=[1, 2], status=["given", "refused"]))
HIDDEN = messages_of([1, 1, 1], 2), messages_of([2, 2], 2)
"""Joined column by column, the sender of a refused message would be one who has consented."""


@pytest.mark.parametrize(
    "data",
    [
        lambda: pa.chunked_array(HIDDEN),
        lambda: pa.RecordBatchReader.from_batches(
            pa.record_batch(HIDDEN[0]).schema, [pa.record_batch(each) for each in HIDDEN]
        ),
    ],
)
def test_columns_that_are_longer_than_their_batch_are_cut(data: Callable[[], Any]) -> None:
    expected = [None, None, "consent_refused", "consent_refused"]
    assert REFUSER.decide(data()).reason.to_pylist() == expected
    for admitted in (REFUSER.filter(data())[0], REFUSER.stream(data()).read_all()):
        assert admitted["sender_id"].to_pylist() == [1, 1]
    assert REFUSER.annotate(data())["reason"].to_pylist() == expected


def test_a_batch_whose_columns_are_longer_is_cut_and_a_table_of_such_is_refused() -> None:
    batches = [pa.record_batch(each) for each in HIDDEN]
    for batch, expected in zip(batches, (2, 0), strict=True):
        assert REFUSER.filter(batch)[0].num_rows == expected
    table = pa.Table.from_batches(batches)
    for call in CALLS.values():
        with pytest.raises(cg.MalformedDataError, match="'Table' cannot be read"):
            call(REFUSER, table)


def test_hidden_rows_of_a_snapshot_are_no_records() -> None:
    table = consent_table(subject_id=[1, 2])
    records = struct_of(1, **{name: table[name].chunk(0) for name in table.column_names})
    for data in (records, pa.chunked_array([records]), pa.record_batch(records)):
        snapshot = cg.ConsentSnapshot.from_arrow(data, as_of=AS_OF)
        assert snapshot.table["subject_id"].to_pylist() == [1]


# --- what validating itself must not do -----------------------------------------------------------


def nested_dictionary(*values: str) -> pa.Array:
    """A dictionary whose values are dictionary-encoded, too."""
    inner = pa.DictionaryArray.from_arrays(pa.array(range(len(values)), pa.int8()), list(values))
    return pa.DictionaryArray.from_arrays(pa.array([0, 1], pa.int8()), inner)


def test_dictionaries_within_dictionaries_are_carried() -> None:
    in_struct = pa.StructArray.from_arrays([nested_dictionary("a", "b")], names=["inner"])
    for column in (
        nested_dictionary("a", "b"),
        pa.DictionaryArray.from_arrays(pa.array([1, 0], pa.int8()), in_struct),
    ):
        admitted, _ = BY_TEXT.filter(with_column("text", column))
        assert admitted["text"].to_pylist() == column.to_pylist()


def test_a_dictionary_within_a_dictionary_is_validated_in_every_chunk() -> None:
    """Both outer dictionaries lie in the same place, and only the inner ones differ."""
    places = pa.array([0, 1], pa.int8())
    good, bad = (
        pa.DictionaryArray.from_arrays(
            places, pa.DictionaryArray.from_arrays(places, values, safe=False)
        )
        for values in (pa.array(["a", "b"]), text(0, 4, 2))
    )
    tables = [with_column("text", column) for column in (good, bad)]
    with pytest.raises(cg.MalformedDataError, match="text"):
        BY_TEXT.filter(pa.concat_tables(tables))


def test_extensions_within_unions_are_refused() -> None:
    storage = pa.array(["a", "b"])
    outer = pa.ExtensionArray.from_storage(pa.opaque(storage.type, "type", "vendor"), storage)
    union = pa.UnionArray.from_sparse(pa.array([0, 0], pa.int8()), [outer])
    with pytest.raises(cg.ColumnTypeError, match="extension types within a union"):
        BY_TEXT.filter(with_column("text", union))


def shared_views(rows: int) -> pa.Array:
    """Views of one text of 100,000 bytes."""
    long = b"a" * 100_000
    cell = np.array([len(long), 0x61616161, 0, 0], "int32").tobytes()
    buffers = [None, pa.py_buffer(cell * rows), pa.py_buffer(long)]
    return pa.Array.from_buffers(pa.string_view(), rows, buffers)


def test_views_of_ids_that_share_a_long_text_are_judged_where_they_are() -> None:
    gate = make_gate(NOBODY, columns=cg.Columns(channels=(), visibility="seen"))
    messages = message_table(sender_id=shared_views(2_000), seen="public")
    assert gate.decide(messages).counts == {"no_consent_record": 2_000}


@pytest.mark.parametrize("column", ["seen", "ruled", "text"])
def test_views_that_share_a_long_text_take_no_more_than_a_limit(column: str) -> None:
    rows = 20_000
    shared = shared_views(rows)
    plain: dict[str, Any] = dict.fromkeys(("seen", "ruled", "text"), "a")
    gate = make_gate(
        NOBODY,
        columns=cg.Columns(channels=(), visibility="seen"),
        public_visibilities={"a"},
        record_rules=[cg.Rule(name="rule", column="ruled", any_of=["b"])],
    )
    with pytest.raises(cg.MalformedDataError, match="views of text or binary values share"):
        gate.filter(message_table(**{"sender_id": ["a"] * rows, **plain, column: shared}))


def test_runs_and_large_dictionaries_are_not_written_out() -> None:
    rows, long = 50_000, "a" * 100_000
    runs = pa.RunEndEncodedArray.from_arrays(pa.array([rows], pa.int32()), pa.array([long]))
    values = pa.array([long, *map(str, range(rows))])
    codes = pa.array(np.zeros(rows, np.int32))
    table = message_table(sender_id=pa.DictionaryArray.from_arrays(codes, values), text=runs)
    gate = make_gate(make_consent(subject_id=[long[:60_000], "0"]))
    assert gate.decide(table).counts == {"no_consent_record": rows}
    admitted, _ = make_gate().filter(table.set_column(0, "sender_id", pa.array([1] * rows)))
    assert admitted["text"].chunk(0).values.to_pylist() == [long]


@pytest.mark.parametrize(
    "kind",
    [
        pa.timestamp("us", "QQQQ"),
        pa.list_(pa.timestamp("us", "QQQQ")),
        pa.struct([("QQQQ", pa.int8())]),
        pa.dictionary(pa.int8(), pa.timestamp("us", "QQQQ")),
    ],
    ids=str,
)
def test_names_and_time_zones_that_are_not_utf8_are_found_at_any_depth(kind: pa.DataType) -> None:
    octets = pa.schema([("column", kind)]).serialize().to_pybytes().replace(b"QQQQ", b"Q\xffQQ")
    refuse_odd_names(pa.schema([("column", kind)]))
    with pytest.raises(pa.ArrowInvalid, match="UTF-8"):
        refuse_odd_names(pa.ipc.read_schema(pa.py_buffer(octets)))


@pytest.mark.parametrize(
    ("build", "arrays", "places"),
    [
        (pa.list_, pa.ListArray, [[0, 1, 3]]),
        (pa.large_list, pa.LargeListArray, [[0, 1, 3]]),
        (pa.list_view, pa.ListViewArray, [[0, 1], [1, 2]]),
        (pa.large_list_view, pa.LargeListViewArray, [[0, 1], [1, 2]]),
    ],
)
def test_lists_keep_the_name_and_nullability_of_their_items(
    build: Callable[..., Any], arrays: Any, places: list[list[int]]
) -> None:
    words = pa.dictionary(pa.int8(), pa.string())
    kind = build(pa.field("word", words, nullable=False))
    width = pa.int64() if build in (pa.large_list, pa.large_list_view) else pa.int32()
    items = pa.array(["a", "b", "a"]).dictionary_encode().cast(words)
    column = arrays.from_arrays(*(pa.array(each, width) for each in places), items, type=kind)
    admitted, _ = BY_TEXT.filter(with_column("words", column))
    assert admitted.schema.field("words").type.equals(kind, check_metadata=True)
    assert admitted["words"].to_pylist() == [["a"], ["b", "a"]]
