"""The gate's faces: what each gives, in which schema, and from whatever speaks Arrow."""

from __future__ import annotations

import json
import multiprocessing
import os
import pickle
import sys
import warnings
from collections.abc import Callable, Iterator
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import nanoarrow as na
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import consentgate as cg
from consentgate.adapters import pandas
from consentgate.arrow.threads import BLOCK_ROWS, block_rows, thread_count
from consentgate.arrow.values import booleans
from tests.build import (
    AS_OF,
    MICRO,
    NOW,
    channel_table,
    consent_table,
    make_channels,
    make_consent,
    make_gate,
    message_table,
    reasons,
)

GATE = make_gate(make_consent(subject_id=[1, 2], status=["given", "withdrawn"]))
METADATA = {"owner": "tests"}
TABLE = message_table(
    sender_id=[1, 2, 1, None, 1],
    channel_id=[10, 10, 11, 10, 10],
    body=["a", "b", "c", "d", None],
).replace_schema_metadata(METADATA)
VERDICTS = [None, "consent_withdrawn", "channel_unknown", "subject_missing", None]
BITS = [0, 1 << 5, 1 << 1, 1 << 2, 0]
ADMITTED = [0, 4]
UUIDS = pa.array([bytes([n] * 16) for n in (1, 2, 1)], pa.uuid())
REASON = pa.dictionary(pa.int32(), pa.string())


def empty(table: pa.Table = TABLE) -> pa.Table:
    """The table without its rows."""
    return table.schema.empty_table()


def as_ipc(table: pa.Table) -> bytes:
    """Every byte of a table."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    content: bytes = sink.getvalue().to_pybytes()
    return content


def read_part(folder: Path) -> pa.Table:
    """The only file of a ledger."""
    (path,) = folder.iterdir()
    assert path.suffix == ".parquet"
    return pq.ParquetFile(path).read()


# --- decide, filter, annotate ---------------------------------------------------------------


def test_filter_parts_the_rows_and_keeps_the_admitted_ones_as_they_are() -> None:
    admitted, excluded = GATE.filter(TABLE)
    assert admitted.equals(TABLE.take(ADMITTED), check_metadata=True)
    assert excluded.schema.names == ["record_id", "row", "reason", "reason_bits"]
    assert excluded.schema.types == [pa.int64(), pa.int64(), REASON, pa.uint32()]
    assert [f.nullable for f in excluded.schema] == [True, False, False, False]
    assert excluded.to_pydict() == {
        "record_id": [1, 2, 3],
        "row": [1, 2, 3],
        "reason": VERDICTS[1:4],
        "reason_bits": BITS[1:4],
    }


def test_the_excluded_rows_say_what_judged_them() -> None:
    gate = make_gate(record_rules=(cg.Rule(name="rule", column="body", is_null=True),))
    metadata = gate.filter(TABLE)[1].schema.metadata
    assert gate.consent is not None and gate.channels is not None
    names = json.loads(metadata.pop(b"consentgate.reason_names"))
    assert names == {str(bit): reason.code for bit, reason in enumerate(cg.Reason)} | {"16": "rule"}
    assert metadata == {
        b"consentgate.policy_digest": gate.policy.digest.encode(),
        b"consentgate.snapshot_digest": gate.consent.digest.encode(),
        b"consentgate.snapshot_as_of": AS_OF.isoformat().encode(),
        b"consentgate.registry_digest": gate.channels.digest.encode(),
        b"consentgate.registry_as_of": AS_OF.isoformat().encode(),
    }


def test_without_a_registry_none_is_named() -> None:
    gate = make_gate(columns=cg.Columns(channels=(), visibility="body"))
    metadata = gate.filter(TABLE)[1].schema.metadata
    assert {key for key in metadata if b"registry" in key} == set()


@pytest.mark.parametrize(
    "record_ids",
    [
        pa.array(["a", "b", "c", None, "e"], pa.string_view()),
        pa.array([bytes([n] * 16) for n in range(5)], pa.uuid()),
        pa.array(["a", "b", "a", "b", "c"]).dictionary_encode(),
        pa.array([1, 1, 2, 2, 3], pa.uint8()),
    ],
    ids=lambda array: str(array.type),
)
def test_record_ids_keep_their_type(record_ids: pa.Array, tmp_path: Path) -> None:
    table = TABLE.set_column(TABLE.schema.get_field_index("message_id"), "message_id", record_ids)
    excluded = GATE.filter(table)[1]
    assert excluded.schema.field("record_id").type == record_ids.type
    assert excluded["record_id"].to_pylist() == record_ids.to_pylist()[1:4]
    GATE.stream([table], ledger=tmp_path).read_all()
    assert read_part(tmp_path)["record_id"].to_pylist() == record_ids.to_pylist()[1:4]


def test_annotate_appends_the_verdicts() -> None:
    annotated = GATE.annotate(TABLE)
    assert annotated.drop(["reason", "reason_bits"]).equals(TABLE, check_metadata=True)
    assert annotated.schema.field("reason") == pa.field("reason", REASON)
    assert annotated.schema.field("reason_bits") == pa.field("reason_bits", pa.uint32(), False)
    assert annotated["reason"].to_pylist() == VERDICTS
    assert annotated["reason_bits"].to_pylist() == BITS


def test_an_empty_table_has_no_verdicts_but_every_schema() -> None:
    for nothing in (empty(), TABLE.slice(0, 0), pa.Table.from_batches([], TABLE.schema)):
        admitted, excluded = GATE.filter(nothing)
        assert admitted.equals(empty(), check_metadata=True)
        assert excluded.num_rows == 0
        assert excluded.schema == GATE.filter(TABLE)[1].schema
        decision = GATE.decide(nothing)
        assert len(decision.reason_bits) == len(decision.reason) == len(decision.admitted) == 0
        assert (decision.counts, decision.occurrences) == ({}, {})
        assert GATE.annotate(nothing).num_rows == 0
        assert GATE.stream(nothing).read_all().equals(empty())


def test_an_empty_tables_faults_are_still_found() -> None:
    with pytest.raises(cg.ColumnMissingError, match="'sender_id'"):
        GATE.decide(empty().drop("sender_id"))


@pytest.mark.parametrize("rows", [1, 2, 3])
def test_neither_chunks_nor_slices_change_a_verdict(rows: int) -> None:
    pieces = [TABLE.slice(start, rows) for start in range(0, 5, rows)]
    table = pa.concat_tables([empty(), *pieces, empty()])
    assert GATE.decide(table).reason_bits.to_pylist() == BITS
    assert GATE.filter(table)[0].to_pylist() == TABLE.take(ADMITTED).to_pylist()
    around = pa.concat_tables([TABLE, TABLE, TABLE]).combine_chunks().slice(5, 5)
    assert GATE.decide(around).reason_bits.to_pylist() == BITS


def test_columns_may_be_chunked_differently() -> None:
    columns = [TABLE["sender_id"].combine_chunks(), TABLE["created_at"], TABLE["message_id"]]
    chunks = pa.chunked_array([[10], [10, 11, 10], [10]])
    names = ["sender_id", "created_at", "message_id", "channel_id"]
    assert GATE.decide(pa.table([*columns, chunks], names)).reason_bits.to_pylist() == BITS


def test_nothing_is_modified() -> None:
    table = TABLE.append_column("tag", pa.array(list("abcab")).dictionary_encode())
    before = as_ipc(table)
    GATE.decide(table)
    GATE.filter(table)
    GATE.annotate(table)
    GATE.stream([table]).read_all()
    assert as_ipc(table) == before


def make_reader() -> pa.RecordBatchReader:
    return pa.RecordBatchReader.from_batches(TABLE.schema, TABLE.to_batches(max_chunksize=2))


SPEAKERS: list[tuple[str, Callable[[], Any]]] = [
    ("table", lambda: TABLE),
    ("record batch", lambda: TABLE.combine_chunks().to_batches()[0]),
    ("reader", make_reader),
    ("Polars", lambda: pl.DataFrame(TABLE)),
    ("nanoarrow stream", lambda: na.c_array_stream(TABLE)),
    ("nanoarrow array", lambda: na.c_array(TABLE.combine_chunks().to_batches()[0])),
]
MAKERS = [pytest.param(make, id=name) for name, make in SPEAKERS]


@pytest.mark.parametrize("make", MAKERS)
def test_whatever_speaks_arrow_is_judged(make: Callable[[], Any]) -> None:
    assert GATE.decide(make()).reason_bits.to_pylist() == BITS
    admitted, excluded = GATE.filter(make())
    assert admitted.to_pylist() == TABLE.take(ADMITTED).to_pylist()
    assert excluded["row"].to_pylist() == [1, 2, 3]


@pytest.mark.parametrize("convert", [pl.DataFrame, na.c_array_stream, pa.Table.to_reader])
def test_snapshots_and_registries_are_taken_from_whatever_speaks_arrow(
    convert: Callable[[pa.Table], Any],
) -> None:
    consent = cg.ConsentSnapshot.from_arrow(convert(consent_table()), as_of=AS_OF)
    channels = cg.ChannelRegistry.from_arrow(convert(channel_table()), as_of=AS_OF)
    assert make_gate(consent, channels).decide(TABLE).num_admitted == 2


def test_a_registry_without_rows_or_chunks_is_a_registry() -> None:
    none = pa.Table.from_batches([], channel_table().schema)
    registry = cg.ChannelRegistry.from_arrow(none, as_of=AS_OF)
    assert reasons(make_gate(None, registry), message_table()) == [["channel_unknown"]]


# --- the instant of judgement ---------------------------------------------------------------


def test_the_calls_instant_comes_before_the_gates() -> None:
    gate = make_gate(make_consent(expires_at=NOW + MICRO))
    assert reasons(gate, message_table()) == [[]]
    later = NOW + MICRO
    expired = ["consent_expired"]
    assert reasons(gate, message_table(), judged_at=later) == [expired]
    assert gate.filter(message_table(), judged_at=later)[1]["reason"].to_pylist() == expired
    assert gate.annotate(message_table(), judged_at=later)["reason"].to_pylist() == expired
    assert gate.stream(message_table(), judged_at=later).read_all().num_rows == 0
    assert gate.explain(message_table(), 0, judged_at=later).rows[0].reasons[0].code == expired[0]


def live_gate(now_ns: int, monkeypatch: pytest.MonkeyPatch) -> tuple[cg.Gate, list[int]]:
    """A gate without an instant of its own, and the clock it reads."""
    clock = [now_ns]
    monkeypatch.setattr("consentgate.gate.time.time_ns", lambda: clock[0])
    consent = make_consent(expires_at=NOW)
    return cg.Gate(cg.Policy(), consent, make_channels()), clock


def to_ns(micros_after_now: int) -> int:
    return int(NOW.timestamp()) * 10**9 + micros_after_now * 1000


def test_without_an_instant_the_clock_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    gate, clock = live_gate(to_ns(-1) + 999, monkeypatch)
    assert reasons(gate, message_table()) == [[]]
    clock[0] = to_ns(0)
    assert reasons(gate, message_table()) == [["consent_expired"]]


def test_a_long_stream_notices_expiry(monkeypatch: pytest.MonkeyPatch) -> None:
    gate, clock = live_gate(to_ns(-1), monkeypatch)
    reader = gate.stream(message_table() for _ in range(2))
    assert reader.read_next_batch().num_rows == 1
    clock[0] = to_ns(0)
    assert reader.read_all().num_rows == 0


def test_a_long_stream_notices_staleness(monkeypatch: pytest.MonkeyPatch) -> None:
    gate, clock = live_gate(to_ns(-1), monkeypatch)
    reader = gate.stream(message_table() for _ in range(2))
    assert reader.read_next_batch().num_rows == 1
    clock[0] += 30 * 86_400 * 10**9
    with pytest.raises(cg.StaleSnapshotError, match="consent snapshot"):
        reader.read_next_batch()


def test_a_clock_may_be_five_minutes_slow(monkeypatch: pytest.MonkeyPatch) -> None:
    gate, clock = live_gate(0, monkeypatch)
    five_minutes_before = int(AS_OF.timestamp()) * 10**9 - 300 * 10**9
    clock[0] = five_minutes_before
    assert gate.decide(message_table()).num_admitted == 1
    clock[0] -= 1000
    with pytest.raises(cg.FutureSnapshotError, match="consent snapshot"):
        gate.decide(message_table())


# --- streams and ledgers --------------------------------------------------------------------


def batches() -> Iterator[pa.RecordBatch]:
    yield from TABLE.to_batches(max_chunksize=2)


STREAMS: list[tuple[str, Callable[[], Any]]] = [
    ("table", lambda: TABLE),
    ("reader", make_reader),
    ("generator of batches", batches),
    ("list of tables", lambda: [TABLE.slice(0, 2), TABLE.slice(2, 0), TABLE.slice(2)]),
    ("Polars", lambda: pl.DataFrame(TABLE)),
    ("Polars frames", lambda: (pl.DataFrame(TABLE.slice(at, 1)) for at in range(5))),
    ("nanoarrow stream", lambda: na.c_array_stream(TABLE)),
    ("nanoarrow arrays", lambda: (na.c_array(batch) for batch in batches())),
    ("zero-row batches", lambda: [empty(), TABLE, empty()]),
]


@pytest.mark.parametrize("make", [pytest.param(make, id=name) for name, make in STREAMS])
def test_a_stream_gives_the_admitted_rows_and_keeps_a_ledger(
    make: Callable[[], Any], tmp_path: Path
) -> None:
    reader = GATE.stream(make(), ledger=tmp_path / "new" / "ledger")
    assert isinstance(reader, pa.RecordBatchReader)
    assert reader.schema.names == TABLE.schema.names
    assert reader.read_all().to_pylist() == TABLE.take(ADMITTED).to_pylist()
    assert_is_ledger(read_part(tmp_path / "new" / "ledger"))


def assert_is_ledger(ledger: pa.Table) -> None:
    """It holds exactly what `filter` excludes, evidence included."""
    excluded = GATE.filter(TABLE)[1]
    assert ledger.to_pylist() == excluded.to_pylist()
    assert ledger.schema.metadata == excluded.schema.metadata
    assert ledger.schema.types == excluded.schema.types


def test_a_stream_keeps_schema_and_metadata() -> None:
    reader = GATE.stream(batches())
    assert reader.schema.equals(TABLE.schema, check_metadata=True)
    assert reader.read_all().equals(TABLE.take(ADMITTED), check_metadata=True)


def test_a_stream_without_a_ledger_writes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    GATE.stream(TABLE).read_all()
    assert list(tmp_path.iterdir()) == []


def test_a_ledger_is_whole_when_the_reader_is_closed_early(tmp_path: Path) -> None:
    read = []

    def endless() -> Iterator[pa.RecordBatch]:
        while True:
            read.append(1)
            yield TABLE.combine_chunks().to_batches()[0]

    reader = GATE.stream(endless(), ledger=tmp_path)
    reader.read_next_batch()
    reader.read_next_batch()
    reader.close()
    del reader
    assert read_part(tmp_path)["row"].to_pylist() == [1, 2, 3, 6, 7, 8]
    assert len(read) == 2


def test_a_ledger_is_whole_when_the_reader_is_closed_before_its_first_batch(
    tmp_path: Path,
) -> None:
    reader = GATE.stream([TABLE], ledger=tmp_path)
    reader.close()
    del reader
    assert read_part(tmp_path).num_rows == 0


def test_no_ledger_has_its_name_before_it_is_whole(tmp_path: Path) -> None:
    reader = GATE.stream([TABLE, TABLE], ledger=tmp_path)
    reader.read_next_batch()
    assert [path.suffix for path in tmp_path.iterdir()] == [".partial"]
    reader.read_all()
    assert [path.suffix for path in tmp_path.iterdir()] == [".parquet"]


def test_several_streams_share_a_ledger(tmp_path: Path) -> None:
    for _ in range(3):
        GATE.stream(TABLE, ledger=tmp_path).read_all()
    parts = [pq.ParquetFile(path).read() for path in tmp_path.iterdir()]
    assert [part["record_id"].to_pylist() for part in parts] == [[1, 2, 3]] * 3


def test_a_ledger_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(cg.OutputError, match="cannot be written"):
        GATE.stream(TABLE, ledger=tmp_path / "file")


@pytest.mark.parametrize(
    "change",
    [
        lambda table: table.drop("body"),
        lambda table: table.append_column("more", table["body"]),
        lambda table: table.rename_columns([*table.column_names[:-1], "id"]),
        lambda table: table.set_column(0, "sender_id", table["sender_id"].cast(pa.int32())),
        lambda table: table.select(table.column_names[::-1]),
    ],
    ids=["fewer", "more", "renamed", "retyped", "reordered"],
)
def test_a_batch_of_another_schema_ends_the_stream(change: Callable[[Any], Any]) -> None:
    reader = GATE.stream([TABLE, change(TABLE)])
    assert reader.read_next_batch().num_rows == 2
    with pytest.raises(cg.SchemaMismatchError, match=r"another schema than the first"):
        reader.read_next_batch()


def test_a_schema_mismatch_names_the_columns_that_differ() -> None:
    other = TABLE.drop("body").set_column(0, "sender_id", TABLE["sender_id"].cast(pa.int32()))
    words = "column 'sender_id' is int32 instead of int64, column 'body' is missing"
    with pytest.raises(cg.SchemaMismatchError, match=words):
        GATE.stream([TABLE, other]).read_all()


def test_a_batchs_metadata_may_differ() -> None:
    other = TABLE.replace_schema_metadata({"owner": "others"})
    assert GATE.stream([TABLE, other]).read_all().num_rows == 4


def test_a_streams_schema_is_checked_at_once(tmp_path: Path) -> None:
    with pytest.raises(cg.ColumnMissingError, match="'sender_id'"):
        GATE.stream([TABLE.drop("sender_id")], ledger=tmp_path)
    with pytest.raises(cg.StaleSnapshotError, match="consent snapshot"):
        GATE.stream([TABLE], ledger=tmp_path, judged_at=NOW + timedelta(days=99))
    assert list(tmp_path.iterdir()) == []


def test_a_ledger_holds_no_text_and_no_subject(tmp_path: Path) -> None:
    secret = "secret-4711-0815"
    consent = make_consent(subject_id=[secret], status="refused")
    table = message_table(sender_id=[secret], body=secret)
    make_gate(consent).stream(table, ledger=tmp_path).read_all()
    ledger = read_part(tmp_path)
    assert ledger.num_rows == 1
    assert secret.encode() not in as_ipc(ledger)


# --- explain --------------------------------------------------------------------------------


def test_an_explanation_says_why_and_shows_the_records() -> None:
    told = GATE.explain(TABLE, 1)
    (row,) = told.rows
    assert (told.record_id, row.row) == (1, 1)
    (reason,) = row.reasons
    assert (reason.code, reason.words) == ("consent_withdrawn", "a data subject withdrew consent")
    assert [str(origin) for origin in reason.origins] == [
        "subject 2 in 'sender_id', purpose 'train_ai_system'"
    ]
    assert row.created_at == "2025-06-01T00:00:00Z"
    (channel,), (subject,) = row.channels, row.subjects
    assert (channel.column, channel.id, channel.purpose) == ("channel_id", 10, None)
    assert channel.record == {"visibility": "public"}
    assert (subject.column, subject.id, subject.purpose) == ("sender_id", 2, "train_ai_system")
    assert subject.record is not None
    assert subject.record["status"] == "withdrawn"
    assert subject.record["effective_from"] == "2025-01-01T00:00:00Z"
    assert "consent_withdrawn: a data subject withdrew consent" in str(told)


def test_an_explanation_says_that_nothing_is_on_record() -> None:
    unknown = GATE.explain(TABLE, 2).rows[0]
    assert unknown.channels[0].record is None
    assert "channel_id 11: no record" in str(unknown)
    missing = GATE.explain(TABLE, 3).rows[0]
    assert (missing.subjects[0].id, missing.subjects[0].record) == (None, None)
    assert GATE.explain(TABLE, 0).rows[0].reasons == ()
    assert "admitted" in str(GATE.explain(TABLE, 0))


@pytest.mark.parametrize(
    ("ids", "sought", "rows"),
    [
        (pa.array([5, 6, 5]), 5, [0, 2]),
        (pa.array(["5", "6", "5"], pa.string_view()), "5", [0, 2]),
        (pa.array(["5", "6", "5"]).dictionary_encode(), "6", [1]),
        (UUIDS, bytes([1] * 16), [0, 2]),
        (UUIDS, UUID(bytes=bytes([2] * 16)), [1]),
    ],
)
def test_every_row_with_the_id_is_explained(ids: Any, sought: Any, rows: list[int]) -> None:
    told = GATE.explain(message_table(message_id=ids), sought)
    assert [row.row for row in told.rows] == rows


def test_rules_lists_and_several_purposes_are_explained() -> None:
    rule = cg.Rule(name="paid", column="tier", any_of=("paid",))
    consent = make_consent(subject_id=[1, 1, 2], purpose=["a", "b", "a"], tier="paid")
    gate = make_gate(consent, purposes={"a", "b"}, subject_rules=(rule,))
    (row,) = gate.explain(message_table(sender_id=pa.array([[1, 2]])), 0).rows
    assert [reason.code for reason in row.reasons] == ["no_consent_record", "paid"]
    assert "'tier'" in row.reasons[1].words
    found = [(s.id, s.purpose, s.record is None) for s in row.subjects]
    assert found == [(1, "a", False), (1, "b", False), (2, "a", False), (2, "b", True)]


# --- digests, pickles, processes ------------------------------------------------------------


def test_a_gates_digest_follows_all_that_decides() -> None:
    later = cg.ConsentSnapshot.from_arrow(consent_table(), as_of=AS_OF + MICRO)
    gates = [
        make_gate(),
        make_gate(methods={"implied"}),
        make_gate(make_consent(status="renewed")),
        make_gate(later),
        make_gate(None, make_channels(channel_id=[11])),
        make_gate(columns=cg.Columns(record_id="other")),
        make_gate(columns=cg.Columns(assume_timezone="UTC")),
    ]
    assert len({gate.digest for gate in gates}) == len(gates)
    elsewhere = cg.Gate(cg.Policy(), make_consent(), make_channels())
    assert make_gate().digest == elsewhere.digest


def test_a_pickled_gate_judges_the_same() -> None:
    copy = pickle.loads(pickle.dumps(GATE))
    assert copy.decide(TABLE).reason_bits == GATE.decide(TABLE).reason_bits
    assert copy.digest == GATE.digest
    assert copy.filter(TABLE)[1].equals(GATE.filter(TABLE)[1], check_metadata=True)


def test_a_pickled_gate_of_string_ids_finds_its_people() -> None:
    names = [f"person {n}" for n in range(1000)]
    gate = make_gate(make_consent(subject_id=names))
    copy = pickle.loads(pickle.dumps(gate))
    assert copy.decide(message_table(sender_id=[*names, "nobody"])).num_admitted == 1000


def judge_in_child(gate: cg.Gate, rows: int) -> None:
    """Exit with 0 if the gate judges as it should."""
    table = message_table(sender_id=pa.array(np.arange(rows) % 3, pa.int64()))
    admitted, _ = gate.filter(table)
    bits = gate.decide(table, threads=2).reason_bits
    expected = (rows + 1) // 3
    sys.exit(0 if (admitted.num_rows, bits.to_pylist().count(0)) == (expected, expected) else 1)


def test_a_forked_child_judges_after_its_parent_has_used_polars() -> None:
    frame = pl.DataFrame({"a": range(100_000)}).lazy().group_by(pl.col("a") % 7).len()
    assert frame.collect().height == 7
    GATE.decide(message_table(sender_id=[1] * 200_000), threads=2)
    child = multiprocessing.get_context("fork").Process(
        target=judge_in_child, args=(GATE, 150_000), daemon=True
    )
    with warnings.catch_warnings():
        # Polars and Python 3.12 warn that forking with threads may deadlock: what this test is for
        warnings.simplefilter("ignore")
        child.start()
    child.join(timeout=60)
    exit_code = child.exitcode
    child.kill()
    assert exit_code == 0


def test_a_worker_process_judges_on_one_thread_unless_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made: list[int] = []
    pool = "consentgate.arrow.threads.ThreadPoolExecutor"

    def refuse(workers: int) -> None:
        made.append(workers)
        raise RuntimeError("a pool is made")

    monkeypatch.setattr(pool, refuse)
    monkeypatch.setattr("consentgate.arrow.threads.os.sched_getaffinity", lambda _: {0, 1, 2})
    table = message_table(sender_id=[1] * 3 * BLOCK_ROWS)
    for threads in (None, 2):
        with pytest.raises(RuntimeError, match="a pool is made"):
            GATE.decide(table, threads=threads)
    assert made == [3, 2]
    made.clear()
    with pytest.raises(RuntimeError, match="a pool is made"):
        GATE.decide(table[: BLOCK_ROWS - 1])  # less than a block, but worth three threads
    assert made == [3]
    assert GATE.decide(table[:65_536]).num_admitted == 65_536
    monkeypatch.setattr("consentgate.arrow.threads.parent_process", object)
    assert GATE.decide(table).num_admitted == 3 * BLOCK_ROWS
    assert GATE.decide(table, threads=1).num_admitted == 3 * BLOCK_ROWS


@pytest.mark.parametrize(
    ("judged_at", "error", "message"),
    [
        ("2026-01-01", TypeError, "`judged_at` is of type 'str'"),
        (0, TypeError, "`judged_at` is of type 'int'"),
        (date(2026, 1, 1), TypeError, "`judged_at` is of type 'date'"),
        (datetime(2026, 1, 1), cg.ConfigurationError, "`judged_at` must be a datetime with a time"),
        (pd.NaT, cg.ConfigurationError, "`judged_at` must be a datetime with a time"),
    ],
)
def test_an_instant_that_cannot_be_one_is_refused_alike_everywhere(
    judged_at: Any, error: type[Exception], message: str, tmp_path: Path
) -> None:
    table = message_table()
    with pytest.raises(error, match=message):
        cg.Gate(cg.Policy(), make_consent(), make_channels(), judged_at=judged_at)
    for judge in (GATE.decide, GATE.filter, GATE.annotate, GATE.stream, pandas.filter):
        given = (table.to_pandas(), GATE) if judge is pandas.filter else (table,)
        with pytest.raises(error, match=message):
            judge(*given, judged_at=judged_at)
    pq.write_table(table, tmp_path / "in.parquet")
    with pytest.raises(error, match=message):
        cg.run(GATE, tmp_path / "in.parquet", tmp_path / "out", judged_at=judged_at)


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


@pytest.mark.parametrize("first", range(17))
def test_booleans_are_read_at_any_offset(first: int) -> None:
    values = pa.array([None if n % 5 == 0 else n % 3 == 0 for n in range(60)])
    for last in range(first, 60, 7):
        part = values[first:last]
        expected = [value for value in part.to_pylist() if value is not None]
        assert booleans(part)[part.is_valid().to_numpy(zero_copy_only=False)].tolist() == expected
        assert booleans(part.is_valid()).tolist() == part.is_valid().to_pylist()


@pytest.mark.parametrize(
    ("rows", "threads", "size"),
    [(0, 1, 65_536), (200_001, 2, 100_001), (10**9, 2, 262_144), (10**5, 64, 65_536)],
)
def test_blocks_are_neither_too_many_nor_too_few(rows: int, threads: int, size: int) -> None:
    assert block_rows(rows, threads) == size


def test_chunks_that_are_judged_apart_keep_their_places() -> None:
    """Chunks of so many rows are not copied together first."""
    sizes = (17_000, 18_000, 19_000, 20_000)
    parts = [
        message_table(sender_id=[1 + n % 2] * size, message_id=range(size))
        for n, size in enumerate(sizes)
    ]
    found = GATE.decide(pa.concat_tables(parts), threads=2).reason_bits.to_pylist()
    assert found == [1 << 5 if n % 2 else 0 for n, size in enumerate(sizes) for _ in range(size)]


@pytest.mark.parametrize("count", [None, 1, 7])
def test_cores_are_counted_where_a_process_cannot_be_bound_to_some(
    count: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on macOS and Windows."""
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: count)
    assert thread_count() == (count or 1)


def test_a_process_counts_the_cores_that_it_is_bound_to(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {1, 3, 8}, raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 99)
    assert thread_count() == 3
    assert thread_count(5) == 5
    with pytest.raises(cg.ConfigurationError, match="`threads` is 0 but must be at least 1"):
        thread_count(0)


def test_a_dictionary_of_dictionaries_is_refused() -> None:
    encode = pa.DictionaryArray.from_arrays
    codes = pa.array([0])
    chunks = [encode(codes, encode(codes, pa.array([subject]))) for subject in (1, 99)]
    table = message_table(sender_id=[1, 99]).drop_columns("sender_id")
    with pytest.raises(cg.ColumnTypeError, match="must hold ids"):
        make_gate().decide(table.append_column("sender_id", pa.chunked_array(chunks)))


def test_explanation_shows_the_rows_own_visibility() -> None:
    columns = cg.Columns(channels=(), visibility="seen_by")
    gate = cg.Gate(cg.Policy(), make_consent(), columns=columns, judged_at=GATE.judged_at)
    table = TABLE.append_column("seen_by", pa.array(["friends"] * TABLE.num_rows))
    record_id = table["message_id"][0].as_py()
    assert "visibility friends" in str(gate.explain(table, record_id, judged_at=NOW))


def test_a_polars_categorical_streams() -> None:
    frame = pl.DataFrame(TABLE).with_columns(mood=pl.lit("fine").cast(pl.Categorical))
    admitted = GATE.stream(frame, judged_at=NOW).read_all()
    assert admitted.num_rows == GATE.filter(frame, judged_at=NOW)[0].num_rows > 0
