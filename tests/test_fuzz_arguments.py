"""Junk in place of any argument of any public function: the library's errors, or a TypeError.

No error holds an id or a text of the data that was given: not in its message, not in its causes.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, timezone, tzinfo
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.dataset as pa_ds
import pyarrow.parquet as pq
import pytest

import consentgate as cg
from consentgate.adapters import duckdb, huggingface, pandas, polars, torch
from tests.build import AS_OF, NOW, channel_table, consent_table, message_table
from tests.leaks import MARK, assert_tells_nobody, room, someone

KINDS = ["integer", "string", "uuid"]
SEED = 4711


class OddZone(tzinfo):
    """A time zone that knows no offset."""

    def utcoffset(self, _instant: datetime | None) -> timedelta | None:
        return None


def junk(gate: cg.Gate) -> list[Any]:
    """Values of every sort, most of which fit nowhere."""
    cycle: list[Any] = []
    cycle.append(cycle)
    naive = datetime(2026, 3, 2)
    table = message_table(sender_id=[someone("string")], text=[MARK])
    return [
        None, True, False, 0, -1, 1, 3, 2**31, 2**64, 10**400, 1.5, float("nan"), float("inf"),
        Decimal(3), 1j, "", "x", "\0", "a\0b", "\ud800", "x" * 300, "s3://", "file://x", "gs:x",
        "http://x", "*", "[", "**/*.parquet", "/dev/null", "/", ".", "..", "~", b"", b"x", b"\xff",
        bytearray(b"x"), memoryview(b"x"), [], [1], [None], ["x"], ["\ud800"], cycle, (), ("x", 1),
        {}, {"x": 1}, {1: "x"}, {"x": cycle}, set(), {"x"}, frozenset({1}), object(), object, int,
        print, lambda: None, iter([]), (n for n in [1]), range(3), Path(), Path("x\0"),
        Path("x" * 300), Path("/dev/zero"), Path("missing"), UUID(int=3), Exception(MARK),
        naive, date(2026, 3, 2), timedelta(), timedelta(-1), timedelta.max, naive.time(),
        datetime.max.replace(tzinfo=timezone(timedelta(hours=-23))),
        datetime.min.replace(tzinfo=timezone(timedelta(hours=23))),
        naive.replace(tzinfo=OddZone()), pd.NaT, pd.NA, pd.Timestamp(0, tz="UTC"), np.nan,
        np.datetime64("2026-03-02"), np.int64(3), np.array([3]), np.array("x"), np.bool_(True),
        pa.scalar(3), pa.array([MARK]), pa.chunked_array([[1], [2]]), pa.int64(), pa.schema([]),
        pa.table({}), pa.table({"a": [MARK]}), table, table.to_batches()[0], table.to_reader(),
        [table], [table, table.select(["text"])], pa.array([{"a": MARK}]), pl.DataFrame({"a": [1]}),
        pl.DataFrame({"a": [1]}).lazy(), pl.Series([MARK]), pd.DataFrame({"a": [MARK]}),
        pa_ds.dataset(table), gate, gate.policy, gate.consent, gate.channels, gate.columns,
        gate.decide(message_table()), cg.Reason.AFTER_SNAPSHOT, cg.PolicyError("x"), cg,
        cg.Gate, cg.Policy, cg.GateStore, cg.Columns(subjects="a"), cg.Policy(name=MARK),
    ]  # fmt: skip


def odd_tables(kind: str) -> Iterator[pa.Table]:
    """Messages of which one column is missing, there twice, null, or of a type that does not fit."""
    table = messages(kind)
    rows = table.num_rows
    deep: pa.DataType = pa.int64()
    for _ in range(500):
        deep = pa.list_(deep)
    columns = [
        pa.nulls(rows), pa.nulls(rows, pa.int64()), pa.array([MARK] * rows),
        pa.array([MARK] * rows).dictionary_encode(), pa.array([[MARK]] * rows),
        pa.array([{"a": MARK}] * rows), pa.array([b"\xff" * 16] * rows, pa.binary(16)),
        pa.array([1.5] * rows), pa.array([True] * rows), pa.array([NOW] * rows),
        pa.array([datetime(2026, 3, 2)] * rows), pa.array([date(2026, 3, 2)] * rows),
        pa.array([Decimal("1.5")] * rows), pa.array([UUID(int=3).bytes] * rows, pa.uuid()),
        pa.nulls(rows, deep), pa.array([MARK] * rows, pa.string_view()),
        pa.array([1] * rows, pa.run_end_encoded(pa.int32(), pa.int64())),
        pa.array([[("a", 1)]] * rows, pa.map_(pa.string(), pa.int64())),
        pa.array([timedelta(1)] * rows), pa.array([2**63] * rows, pa.uint64()),
    ]  # fmt: skip
    for place, name in enumerate(table.column_names):
        yield table.remove_column(place)
        yield table.append_column(name, table.column(place))
        yield from (table.set_column(place, name, column) for column in columns)


def messages(kind: str) -> pa.Table:
    """Messages of people, with a text."""
    return message_table(
        sender_id=[someone(kind), someone(kind, 1)], channel_id=[room(kind)] * 2, text=[MARK] * 2
    )


def make_gate(kind: str, *, judged_at: datetime | None = NOW) -> cg.Gate:
    """A gate that knows these people."""
    consent = consent_table(subject_id=[someone(kind), someone(kind, 2)], note=[MARK] * 2)
    policy = cg.Policy(
        max_snapshot_age=None,
        record_rules=[cg.Rule(name="rule", column="text", any_of=("x",))],  # type: ignore[arg-type]
    )
    return cg.Gate(
        policy,
        cg.ConsentSnapshot.from_arrow(consent, as_of=AS_OF),
        cg.ChannelRegistry.from_arrow(channel_table(channel_id=[room(kind)]), as_of=AS_OF),
        judged_at=judged_at,
    )


@dataclass(frozen=True)
class Call:
    """A public function, and arguments that it takes."""

    name: str
    function: Callable[..., Any]
    arguments: Mapping[str, Any]
    share: float = 1.0

    def __str__(self) -> str:
        return self.name


def read(batches: Any) -> Any:
    """All of a stream."""
    return batches.read_all()


def calls(folder: Path) -> list[Call]:
    """Every public entry point, with what it needs."""
    kind = "string"
    gate, table = make_gate(kind), messages(kind)
    by_clock = make_gate(kind, judged_at=None)
    consent, registry = consent_table(), channel_table()
    (folder / "policy.toml").write_text("")
    (folder / "in").mkdir()
    for name, data in (("consent", consent), ("channels", registry), ("in/messages", table)):
        pq.write_table(data, folder / f"{name}.parquet")
    gate.save(folder / "saved.gate")
    opened = cg.Gate.open(folder / "saved.gate")
    store = cg.GateStore(folder / "store")
    store.publish(by_clock)
    live = store.live()
    source, destination = folder / "in", folder / "out"
    cg.run(gate, source, destination)
    judged = {"data": table, "judged_at": NOW, "threads": 1}
    streamed = {"batches": [table], "ledger": None, "judged_at": NOW, "threads": 1}
    dated = {"as_of": AS_OF, "source": "x"}
    mapped = {**dated, "status_map": {"a": "b"}, "method_map": {"a": "b"}}
    explained = {"record_id": 0, "consent": None, "channels": None, "judged_at": NOW}
    return [
        Call("Policy", cg.Policy, {"name": "x", "record_rules": (), "max_snapshot_age": "P1D"}),
        Call("Policy.model_validate", cg.Policy.model_validate, {"obj": {}}),
        Call("Policy.load", cg.Policy.load, {"path": folder / "policy.toml"}),
        Call("Rule", cg.Rule, {"name": "a", "column": "b", "any_of": ["x"]}),
        Call("Columns", cg.Columns, vars(cg.Columns())),
        Call("ConsentSnapshot", cg.ConsentSnapshot, {"table": 1, "as_of": 2, "source": 3}),
        Call("ConsentSnapshot.from_arrow", cg.ConsentSnapshot.from_arrow, {"data": consent, **mapped}),
        Call("ConsentSnapshot.read", cg.ConsentSnapshot.read, {"path": folder / "consent.parquet", **mapped}),
        Call("ChannelRegistry", cg.ChannelRegistry, {"table": 1, "as_of": 2, "source": 3}),
        Call("ChannelRegistry.from_arrow", cg.ChannelRegistry.from_arrow, {"data": registry, **dated}),
        Call("ChannelRegistry.read", cg.ChannelRegistry.read, {"path": folder / "channels.parquet", **dated}),
        Call("Gate", cg.Gate, {"policy": gate.policy, "consent": gate.consent, "channels": gate.channels, "columns": gate.columns, "judged_at": NOW}),
        Call("Gate.open", cg.Gate.open, {"path": folder / "saved.gate", "verify": True}),
        Call("Gate.save", gate.save, {"path": folder / "other.gate"}),
        Call("Gate.decide", gate.decide, judged),
        Call("Gate.filter", gate.filter, judged),
        Call("Gate.annotate", gate.annotate, judged),
        Call("Gate.part", gate.part, {"table": table, "decision": gate.decide(table), "first_row": 0}),
        Call("Gate.stream", lambda **given: read(gate.stream(**given)), streamed),
        Call("Gate.explain", gate.explain, {"data": table, **explained}),
        Call("Gate.explain opened", opened.explain, {"data": table, **explained, "consent": gate.consent, "channels": gate.channels}),
        Call("LiveGate", lambda **given: cg.LiveGate(**given).decide(table), {"store": store, "check_every": timedelta(1)}),
        Call("LiveGate.decide", live.decide, judged),
        Call("LiveGate.filter", live.filter, judged),
        Call("LiveGate.annotate", live.annotate, judged),
        Call("LiveGate.stream", lambda **given: read(live.stream(**given)), streamed),
        Call("GateStore", lambda **given: cg.GateStore(**given).current(), {"place": folder / "store", "cache": None}),
        Call("GateStore.publish", store.publish, {"gate": by_clock}),
        Call("GateStore.prune", store.prune, {"keep": 3}),
        Call("GateStore.live", store.live, {"check_every": timedelta(1)}),
        Call("run", cg.run, {"gate": gate, "source": source, "destination": destination, "judged_at": NOW, "threads": 1, "fail_fast": False, "sign_with": None, "on_progress": None}, 0.4),
        Call("audit", cg.audit, {"destination": destination, "gate": gate, "source": source, "public_key": None, "threads": 1}, 0.4),
        Call("Manifest.read", cg.Manifest.read, {"folder": destination}),
        Call("Decision", cg.Decision, {"reason_bits": pa.array([0], pa.uint32()), "reason_names": {}}),
        Call("polars.filter", polars.filter, {"data": pl.DataFrame(table), "gate": gate, "ledger": None, "judged_at": NOW}),
        Call("pandas.filter", pandas.filter, {"data": table.to_pandas(), "gate": gate, "ledger": None, "judged_at": NOW}),
    ]


def attempt(call: Call, arguments: Mapping[str, Any], told: list[str]) -> None:
    """Call it; whatever else than the library's errors and TypeErrors comes out is told."""
    try:
        call.function(**arguments)
    except (cg.ConsentGateError, TypeError) as error:
        if isinstance(error, pa.ArrowException):
            told.append(f"{type(error).__name__}: {error}")
        assert_tells_nobody(error)
    except Exception as error:
        told.append(f"{type(error).__name__}: {str(error)[:150]}")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fuzz")


@pytest.fixture(scope="module")
def entry_points(folder: Path) -> dict[str, Call]:
    return {call.name: call for call in calls(folder)}


def test_all(entry_points, folder, monkeypatch) -> None:
    import time
    (folder / "cwd").mkdir()
    monkeypatch.chdir(folder / "cwd")
    rng = random.Random(SEED)
    gate = make_gate("string")
    for call in entry_points.values():
        t = time.time(); n = 0
        seen = set()
        call.function(**call.arguments)
        for name in call.arguments:
            for value in junk(gate):
                if rng.random() > call.share: continue
                told = []
                n += 1
                try:
                    attempt(call, {**call.arguments, name: value}, told)
                except AssertionError as e: told.append("LEAK "+str(e)[:200])
                for text in told:
                    if (name, text) not in seen:
                        seen.add((name,text)); print(f"{call} {name}={repr(value)[:40]!r}: {text}")
        print(f"   {call} {n} {time.time()-t:.2f}s")
