"""Junk for any argument of any public function is an error of the library or a TypeError.

No error holds an id or a text of the data that was given: not in its message, not in its causes.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta, timezone, tzinfo
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
from consentgate.adapters import pandas, polars
from tests.build import AS_OF, NOW, channel_table, consent_table, message_table
from tests.leaks import MARK, ids, shown_by, someone

KINDS = ["integer", "string", "uuid"]
SEED = 4711


class OddZone(tzinfo):
    """A time zone that knows no offset."""

    def utcoffset(self, _instant: datetime | None) -> timedelta | None:
        return None

    dst = utcoffset

    def tzname(self, _instant: datetime | None) -> str | None:
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
        "http://x", "*", "[", "**/*.parquet", "/dev/null", ".", b"", b"x", b"\xff",
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
        gate.decide(messages("string")), cg.Reason.AFTER_SNAPSHOT, cg.PolicyError("x"), cg,
        cg.Gate, cg.Policy, cg.GateStore, cg.Columns(subjects=("a",)), cg.Policy(name=MARK),
    ]  # fmt: skip


def odd_tables(table: pa.Table) -> Iterator[pa.Table]:
    """Tables of which one column is missing, there twice, null, or of a type that does not fit."""
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
    return message_table(sender_id=ids(kind, 0, 1), channel_id=ids(kind, 2, 2), text=[MARK] * 2)


def make_gate(kind: str, *, judged_at: datetime | None = NOW) -> cg.Gate:
    """A gate that knows these people."""
    consent = consent_table(subject_id=ids(kind, 0, 1), note=[MARK] * 2)
    policy = cg.Policy(
        max_snapshot_age=None,
        record_rules=[cg.Rule(name="rule", column="text", any_of=("x",))],
    )
    return cg.Gate(
        policy,
        cg.ConsentSnapshot.from_arrow(consent, as_of=AS_OF),
        cg.ChannelRegistry.from_arrow(channel_table(channel_id=ids(kind, 2)), as_of=AS_OF),
        judged_at=judged_at,
    )


@dataclass(frozen=True)
class Call:
    """A public function, arguments that it takes, and the share of junk that there is time for."""

    name: str
    function: Callable[..., Any]
    arguments: Mapping[str, Any]
    share: float = 1.0


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
    dated = {"as_of": AS_OF, "source": "x", "columns": {}, "assume_timezone": "UTC"}
    mapped = {**dated, "status_map": {"a": "b"}, "method_map": {"a": "b"}}
    explained = {"record_id": 0, "consent": None, "channels": None, "judged_at": NOW}
    return [
        Call("Policy", cg.Policy, {"name": "x", "record_rules": (), "max_snapshot_age": "P1D"}),
        Call("Policy.model_validate", cg.Policy.model_validate, {"obj": {}}),
        Call("Policy.load", cg.Policy.load, {"path": folder / "policy.toml"}),
        Call("Rule", cg.Rule, {"name": "a", "column": "b", "any_of": ["x"]}),
        Call("Columns", cg.Columns, vars(cg.Columns())),
        Call("ConsentSnapshot", cg.ConsentSnapshot, {"table": 1, "as_of": 2, "source": 3}),
        Call(
            "ConsentSnapshot.from_arrow", cg.ConsentSnapshot.from_arrow, {"data": consent, **mapped}
        ),
        Call(
            "ConsentSnapshot.read",
            cg.ConsentSnapshot.read,
            {"path": folder / "consent.parquet", **mapped},
        ),
        Call("ChannelRegistry", cg.ChannelRegistry, {"table": 1, "as_of": 2, "source": 3}),
        Call(
            "ChannelRegistry.from_arrow", cg.ChannelRegistry.from_arrow, {"data": registry, **dated}
        ),
        Call(
            "ChannelRegistry.read",
            cg.ChannelRegistry.read,
            {"path": folder / "channels.parquet", **dated},
        ),
        Call(
            "Gate",
            cg.Gate,
            {
                "policy": gate.policy,
                "consent": gate.consent,
                "channels": gate.channels,
                "columns": gate.columns,
                "judged_at": NOW,
            },
        ),
        Call("Gate.open", cg.Gate.open, {"path": folder / "saved.gate", "verify": True}),
        Call("Gate.save", gate.save, {"path": folder / "other.gate"}),
        Call("Gate.decide", gate.decide, judged),
        Call("Gate.filter", gate.filter, judged),
        Call("Gate.annotate", gate.annotate, judged),
        Call(
            "Gate.split",
            gate.split,
            {"table": table, "decision": gate.decide(table), "first_row": 0},
        ),
        Call("Gate.stream", lambda **given: gate.stream(**given).read_all(), streamed),
        Call("Gate.coverage", gate.coverage, {**judged, "consent": None, "channels": None}),
        Call("Gate.explain", gate.explain, {"data": table, **explained}),
        Call(
            "Gate.explain of an opened one",
            opened.explain,
            {"data": table, **explained, "consent": gate.consent, "channels": gate.channels},
        ),
        Call(
            "LiveGate",
            lambda **given: cg.LiveGate(**given).decide(table),
            {"store": store, "check_every": timedelta(1)},
        ),
        Call("LiveGate.decide", live.decide, judged),
        Call("LiveGate.filter", live.filter, judged),
        Call("LiveGate.annotate", live.annotate, judged),
        Call("LiveGate.stream", lambda **given: live.stream(**given).read_all(), streamed),
        Call(
            "GateStore",
            lambda **given: cg.GateStore(**given).current(),
            {"place": folder / "store", "cache": None},
        ),
        Call("GateStore.publish", store.publish, {"gate": by_clock}),
        Call("GateStore.prune", store.prune, {"keep": 3}),
        Call("GateStore.live", store.live, {"check_every": timedelta(1)}),
        Call(
            "run",
            cg.run,
            {
                "gate": gate,
                "source": source,
                "destination": destination,
                "judged_at": NOW,
                "threads": 1,
                "fail_fast": False,
                "sign_with": None,
                "on_progress": None,
            },
            0.4,
        ),
        Call(
            "audit",
            cg.audit,
            {
                "destination": destination,
                "gate": gate,
                "source": source,
                "public_key": None,
                "threads": 1,
            },
            0.4,
        ),
        Call("Manifest.read", cg.Manifest.read, {"path": destination}),
        Call(
            "Decision", cg.Decision, {"reason_bits": pa.array([0], pa.uint32()), "reason_names": {}}
        ),
        Call(
            "adapters.polars",
            polars.filter,
            {"data": pl.DataFrame(table), "gate": gate, "ledger": None, "judged_at": NOW},
        ),
        Call(
            "adapters.pandas",
            pandas.filter,
            {"data": table.to_pandas(), "gate": gate, "ledger": None, "judged_at": NOW},
        ),
    ]


def attempt(call: Call, arguments: Mapping[str, Any], told: list[str]) -> None:
    """Call it; tells of whatever comes out that is no error of the library's and no TypeError."""
    try:
        call.function(**arguments)
    except Exception as error:
        is_ours = isinstance(error, cg.ConsentGateError | TypeError)
        if not is_ours or isinstance(error, pa.ArrowException):
            changed = [k for k, v in arguments.items() if v is not call.arguments.get(k)]
            told.append(f"{call.name} {changed}: {type(error).__name__}: {error!s:.150}")
        if not isinstance(error, cg.UnknownStatusError):  # which is to list the words it found
            told += [f"{call.name} shows {text!r:.150}" for text in shown_by(error)]


@pytest.fixture(scope="module")
def entry_points(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Call]]:
    """Every call by its name; what junk names as a path lies below a folder of its own."""
    folder = tmp_path_factory.mktemp("fuzz")
    (folder / "work").mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder / "work")
        yield {call.name: call for call in calls(folder)}


NAMES = [
    "ChannelRegistry", "ChannelRegistry.from_arrow", "ChannelRegistry.read", "Columns",
    "ConsentSnapshot", "ConsentSnapshot.from_arrow", "ConsentSnapshot.read", "Decision", "Gate",
    "Gate.annotate", "Gate.coverage", "Gate.decide", "Gate.explain",
    "Gate.explain of an opened one", "Gate.filter", "Gate.open", "Gate.save", "Gate.split",
    "Gate.stream", "GateStore", "GateStore.live",
    "GateStore.prune", "GateStore.publish", "LiveGate", "LiveGate.annotate", "LiveGate.decide",
    "LiveGate.filter", "LiveGate.stream", "Manifest.read", "Policy", "Policy.load",
    "Policy.model_validate", "Rule", "adapters.pandas", "adapters.polars", "audit", "run",
]  # fmt: skip


def test_every_public_name_is_tried(entry_points: dict[str, Call]) -> None:
    assert sorted(entry_points) == NAMES
    results = {"Coverage", "Explanation", "Finding", "Mismatch", "Progress", "Publication"}
    results |= {"CoverageWarning", "DatedInput", "GateIdentity", "Reason", "__version__"}
    errors = {name for name in cg.__all__ if name.endswith("Error")}
    assert {name.partition(".")[0] for name in NAMES} >= set(cg.__all__) - errors - results


@pytest.mark.parametrize("name", NAMES)
def test_junk_in_place_of_an_argument_is_refused_in_our_words(
    name: str, entry_points: dict[str, Call]
) -> None:
    call, dice = entry_points[name], random.Random(SEED)
    told: list[str] = []
    attempt(call, call.arguments, told)
    for argument in call.arguments:
        for value in junk(make_gate("string")):
            if dice.random() < call.share:
                attempt(call, {**call.arguments, argument: value}, told)
    assert not told, "\n".join(dict.fromkeys(told))


@pytest.mark.parametrize("name", NAMES)
def test_arguments_in_another_order_are_refused_in_our_words(
    name: str, entry_points: dict[str, Call]
) -> None:
    call, dice = entry_points[name], random.Random(SEED)
    told: list[str] = []
    for _ in range(10):
        values = list(call.arguments.values())
        dice.shuffle(values)
        attempt(call, dict(zip(call.arguments, values, strict=True)), told)
    assert not told, "\n".join(dict.fromkeys(told))


@pytest.mark.parametrize("kind", KINDS)
def test_odd_columns_are_judged_or_refused_in_our_words(kind: str) -> None:
    gate, told = make_gate(kind), list[str]()
    for table in odd_tables(messages(kind)):
        for method in (gate.filter, gate.annotate):
            attempt(Call("", method, {}), {"data": table, "threads": 1}, told)
        attempt(Call("", lambda given: gate.stream([given]).read_all(), {}), {"given": table}, told)
        attempt(Call("", gate.explain, {}), {"data": table, "record_id": 0}, told)
    assert not told, "\n".join(dict.fromkeys(told))


@pytest.mark.parametrize("kind", KINDS)
def test_odd_records_and_channels_are_taken_or_refused_in_our_words(kind: str) -> None:
    told = list[str]()
    records = consent_table(
        subject_id=ids(kind, 0, 1),
        expires_at=NOW, covers_prior=True, notice_version="v1", note=MARK,
    )  # fmt: skip
    channels = channel_table(channel_id=ids(kind, 2), public_since=NOW)
    for cls, table in ((cg.ConsentSnapshot, records), (cg.ChannelRegistry, channels)):
        for odd in odd_tables(table):
            attempt(Call("", digest_of, {}), {"cls": cls, "table": odd}, told)
    assert not told, "\n".join(dict.fromkeys(told))


def digest_of(cls: Any, table: pa.Table) -> str:
    """The digest of a snapshot or registry."""
    digest: str = cls.from_arrow(table, as_of=AS_OF).digest
    return digest


def test_wrong_order_says_which_argument_is_meant() -> None:
    gate = make_gate("integer")
    assert gate.consent is not None
    with pytest.raises(
        TypeError, match=r"`policy` is of type 'ConsentSnapshot' but must be Policy"
    ):
        cg.Gate(gate.consent, gate.policy)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"`gate` is of type 'Policy' but must be Gate"):
        cg.run(gate.policy, "in", "out")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="holds no Arrow data"):
        gate.filter(gate)
    with pytest.raises(TypeError, match="is made with `read` or `from_arrow`"):
        cg.ConsentSnapshot(gate.consent.table, AS_OF, "x")
