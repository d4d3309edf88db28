"""The methods of a gate: their results and schemas, for all objects that speak Arrow."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import date, datetime
from pathlib import Path
from typing import Any

import nanoarrow as na
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import consentgate as cg
from consentgate.adapters import pandas
from consentgate.reasons import RULES_VERSION
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
from tests.gate_data import (
    ADMITTED,
    BITS,
    GATE,
    REASON,
    TABLE,
    VERDICTS,
    as_ipc,
    empty,
    make_reader,
    read_part,
)

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
    assert json.loads(metadata.pop(b"consentgate.columns")) == {
        "record_id": "message_id",
        "subjects": ["sender_id"],
        "channels": ["channel_id"],
        "visibility": None,
        "created_at": "created_at",
        "assume_timezone": None,
    }
    assert metadata == {
        b"consentgate.format": b"consentgate-ledger-1",
        b"consentgate.version": cg.__version__.encode(),
        b"consentgate.gate_digest": gate.digest.encode(),
        b"consentgate.reason_width": b"32",
        b"consentgate.rules_version": str(RULES_VERSION).encode(),
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
