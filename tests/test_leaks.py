"""Notebooks, logs and tracebacks show no id and no text of a person through this package."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import json
import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import consentgate as cg
from consentgate.arrow.instants import as_micros, read_instants
from consentgate.index.hasher import IdHasher
from consentgate.index.ids import IdArray
from consentgate.index.index import Index
from consentgate.judging.facts import Resolved
from consentgate.judging.lookup import Lookup
from consentgate.judging.messages import Messages
from consentgate.judging.stream import Sieve
from consentgate.storage.parquet_writing import FileForm, RowGroupWriter
from tests.build import AS_OF, NOW, channel_table, consent_table, make_gate, message_table
from tests.faults import FAULTS
from tests.faults.fault import Fault
from tests.leaks import MARK, MARKS, displays, ids, is_ours, shown_by, someone, within
from tests.modules import PATHS, load, syntax

KINDS = ["integer", "string", "uuid"]


def judged(kind: str, folder: Path) -> Iterator[Any]:
    """Everything that comes of judging what people of this kind of id wrote, the objects within
    gates and snapshots included.
    """
    people, rooms = ids(kind, 0, 1), ids(kind, 2, 2)
    channels = channel_table(channel_id=rooms[:1])
    consent = cg.ConsentSnapshot.from_arrow(
        consent_table(subject_id=people, status=["given", "refused"], note=[MARK] * 2), as_of=AS_OF
    )
    registry = cg.ChannelRegistry.from_arrow(channels, as_of=AS_OF)
    rule = {"name": "rule", "column": "text", "any_of": ["x"]}
    policy = cg.Policy(max_snapshot_age=None, record_rules=[rule])
    gate = cg.Gate(policy, consent, registry, judged_at=NOW)
    table = message_table(sender_id=people, channel_id=rooms, message_id=people, text=[MARK] * 2)
    gate.save(folder / "a.gate")
    opened = cg.Gate.open(folder / "a.gate")
    store = cg.GateStore(folder / "store")
    publication = store.publish(cg.Gate(policy, consent, registry))
    live = store.live(check_every=timedelta(days=1))
    pq.write_table(table, folder / "in.parquet")
    manifest = cg.run(gate, folder / "in.parquet", folder / "out")
    (folder / "out/in.parquet").unlink()
    now = as_micros(NOW, name="now")
    facts, lookup = gate._judge.consent, Lookup(2, now)
    yield from (gate, opened, store, publication, live, manifest, facts, IdHasher())
    yield from (*cg.audit(folder / "out"), gate.decide(table), lookup, Sieve(gate))
    yield from (
        IdArray(people),
        facts.resolve(people, now),
        lookup.values(facts, people.dictionary_encode())[0],
        read_instants(table["created_at"].chunk(0), ""),
    )
    judge = gate._judge
    batch = table.combine_chunks().to_batches()[0]
    yield Messages(batch, judge.columns, judge.consent, judge.channels, now, lookup)
    yield gate.explain(table, someone(kind, 1))
    yield gate.explain(table, someone(kind))


@pytest.mark.parametrize("kind", KINDS)
def test_no_object_shows_an_id_or_a_text(kind: str, tmp_path: Path) -> None:
    seen = set()
    for root in judged(kind, tmp_path):
        for thing in filter(is_ours, within(root)):
            seen.add(type(thing).__name__)
            for text in displays(thing):
                assert not any(mark in text for mark in MARKS), (type(thing), text[:200])
    assert seen >= {
        "ConsentSnapshot", "ChannelRegistry", "Gate", "Judge", "Facts", "Index", "Resolved",
        "Messages", "IdArray", "Manifest", "Publication", "Explanation", "RowExplanation",
        "Reference", "ExplainedReason", "Origin",
        "Decision", "Finding", "GateStore", "LiveGate", "Policy", "Rule", "Columns", "Instants",
        "Lookup",
    }  # fmt: skip


def test_an_explanation_shows_ids_only_as_text_that_is_asked_for(tmp_path: Path) -> None:
    *_, explanation = judged("string", tmp_path)
    assert str(explanation).startswith(f"record {MARK}\nrow 0, ")
    assert repr(explanation) == "<Explanation: 1 rows; str() shows ids>"
    assert repr(explanation.rows) == "(<RowExplanation: row 0, 0 reasons>,)"
    assert repr(explanation.rows[0].subjects) == "(<Reference: column 'sender_id', a record>,)"


def test_a_snapshot_says_what_it_is() -> None:
    consent = cg.ConsentSnapshot.from_arrow(consent_table(), as_of=AS_OF, source="here")
    assert repr(consent) == (
        "<ConsentSnapshot: 1 records as of 2026-03-01T00:00:00+00:00, from 'here'>"
    )
    registry = cg.ChannelRegistry.from_arrow(channel_table(), as_of=AS_OF)
    assert repr(registry) == (
        "<ChannelRegistry: 1 channels as of 2026-03-01T00:00:00+00:00, from 'Arrow data'>"
    )


CELLS = re.compile(r"Array|Table|Batch|Int64s|Uint64s|Bools|Bits|Scalar|\bAny\b|\bIds\b")
NO_CELLS = ("FileForm.options", "_Scan.dataset")
"""Options of a writer; a pyarrow data set, whose `repr` shows no rows."""


@pytest.mark.parametrize("name", [name for name in PATHS if name != "__main__"])
def test_a_record_that_can_hold_cells_has_a_repr_of_its_own(name: str) -> None:
    """Dataclasses and named tuples would show all their fields."""
    module = load(name)
    classes = [c for c in vars(module).values() if inspect.isclass(c)]
    for cls in classes:
        is_record = dataclasses.is_dataclass(cls) or hasattr(cls, "_fields")
        if cls.__module__ == module.__name__ and is_record and shows_its_fields(cls):
            kinds = {f"{cls.__name__}.{f}": k for f, k in inspect.get_annotations(cls).items()}
            telling = {f for f, kind in kinds.items() if CELLS.search(str(kind))}
            assert telling <= {*NO_CELLS}


def shows_its_fields(cls: type) -> bool:
    """Whether the class's `repr` is the one that dataclasses or named tuples come with."""
    own = vars(cls).get("__repr__")
    return own is not None and inspect.unwrap(own).__code__.co_filename != inspect.getfile(cls)


def test_a_record_without_a_repr_of_its_own_would_be_noticed() -> None:
    from consentgate.cli.ledger_files import Row

    assert shows_its_fields(Row)
    assert not shows_its_fields(cg.Decision)
    assert not shows_its_fields(cg.ConsentSnapshot)
    assert not shows_its_fields(Index)
    assert not shows_its_fields(Resolved)
    assert shows_its_fields(FileForm)


@pytest.mark.parametrize("name", [name for name in PATHS if not name.startswith("cli")])
def test_the_library_writes_no_log(name: str) -> None:
    for node in ast.walk(syntax(name)):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = {alias.name for alias in node.names} | {getattr(node, "module", None)}
            assert not names & (
                {"logging"} if name == "coverage.watch" else {"logging", "warnings"}
            )
        assert not (isinstance(node, ast.Call) and getattr(node.func, "id", "") == "print")


# errors


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_no_fault_shows_an_id(fault: Fault, tmp_path: Path) -> None:
    fault.write(tmp_path)
    with pytest.raises(fault.error, match=r"[.)]$") as caught:
        fault.judge(tmp_path)
    assert shown_by(caught.value, "person-") == []


HEADER = "subject_id,purpose,status,method,effective_from\n"
ROW = f"{MARK},train_ai_system,given,explicit,2025-01-01T00:00:00Z\n"
RECORD = {
    "subject_id": MARK,
    "purpose": "train_ai_system",
    "status": "given",
    "method": "explicit",
    "effective_from": "2025-01-01T00:00:00Z",
}
LINE = json.dumps(RECORD) + "\n"
JUNK_FILES: dict[str, tuple[str, str]] = {
    "a cell too many": ("csv", HEADER + ROW + ROW[:-1] + f",{MARK}\n"),
    "a cell too few": ("csv", HEADER + ROW + f"{MARK}\n"),
    "no instant": ("csv", HEADER + ROW.replace("2025-01-01T00:00:00Z", MARK)),
    "a text as status": ("csv", HEADER + ROW.replace("given", MARK * 3)),
    "many ids as statuses": (
        "csv", HEADER + "".join(ROW.replace("given", f"{MARK}-{n}") for n in range(60))
    ),
    "rows twice": ("csv", HEADER + ROW + ROW),
    "a quote that is open": ("csv", HEADER + f'"{MARK},train_ai_system\n'),
    "columns twice": ("csv", HEADER[:-1] + ",status\n" + ROW[:-1] + ",given\n"),
    "a line that is no object": ("jsonl", LINE + f'"{MARK}"\n'),
    "a line that is cut off": ("jsonl", LINE + LINE[:30]),
    "a line that is text": ("jsonl", LINE + MARK + "\n"),
    "types that change": ("jsonl", LINE + json.dumps({**RECORD, "subject_id": 1}) + "\n"),
    "a list for an id": ("jsonl", json.dumps({**RECORD, "subject_id": [MARK]}) + "\n"),
    "a text for a bool": ("jsonl", json.dumps({**RECORD, "covers_prior": MARK}) + "\n"),
    "a key twice": ("jsonl", LINE[:-2] + f', "status": "{MARK}"' + "}\n"),
    "deep values": ("jsonl", LINE[:-2] + ', "x": ' + "[" * 5_000 + f'"{MARK}"' + "]" * 5_000),
    "no header": ("csv", ROW),
    "objects by id": ("jsonl", json.dumps({MARK: RECORD}) + "\n"),
    "half a surrogate pair": ("jsonl", LINE.replace("given", r"\ud800" + MARK)),
}  # fmt: skip


@pytest.mark.parametrize(("suffix", "content"), JUNK_FILES.values(), ids=JUNK_FILES)
def test_no_error_of_a_file_quotes_it(suffix: str, content: str, tmp_path: Path) -> None:
    path = tmp_path / f"consent.{suffix}"
    path.write_text(content)
    with pytest.raises(cg.ConsentGateError, match=r"[.?)]$") as caught:
        cg.ConsentSnapshot.read(path, as_of=AS_OF)
    assert shown_by(caught.value) == []


def test_a_policy_file_that_is_something_else_is_not_quoted(tmp_path: Path) -> None:
    for name, content in (("a.json", LINE), ("a.toml", ROW), ("b.json", json.dumps([MARK]))):
        (tmp_path / name).write_text(content)
        with pytest.raises(cg.PolicyError, match=r"[.]$") as caught:
            cg.Policy.load(tmp_path / name)
        assert shown_by(caught.value) == []


def test_an_instant_that_cannot_be_written_is_not_quoted(tmp_path: Path) -> None:
    ticks = 2**62 + 123_456
    table = pa.table({"x": pa.array([ticks], pa.timestamp("s"))})
    writer = RowGroupWriter(tmp_path / "x.parquet", FileForm(table.schema, {}), "Output")
    writer.write(table)
    with pytest.raises(cg.OutputError, match="ArrowInvalid") as error:
        writer.close()
    assert not shown_by(error.value, str(ticks))
    assert str(ticks) in str(error.value.__context__)


def test_a_field_of_a_column_that_cannot_be_taken_out_is_not_quoted() -> None:
    words = pa.array(["a"]).dictionary_encode()
    union = pa.UnionArray.from_sparse(pa.array([0], pa.int8()), [words], [MARK])
    with pytest.raises(cg.ColumnTypeError, match="cannot be taken out") as error:
        make_gate().filter(message_table(x=union))
    assert not shown_by(error.value, MARK)
    assert MARK in str(error.value.__context__)


def test_a_few_words_outside_the_vocabulary_are_listed_and_many_are_not() -> None:
    for count, listed in (
        (1, "'word-0'"),
        (50, "'word-0', 'word-1', 'word-10', .*'word-9', in 50"),
    ):
        table = consent_table(subject_id=range(count), status=[f"word-{n}" for n in range(count)])
        with pytest.raises(cg.UnknownStatusError, match=listed) as caught:
            cg.ConsentSnapshot.from_arrow(table, as_of=AS_OF)
        assert str(caught.value).count("word-") == count
    for words in ([f"word-{n}" for n in range(51)], ["word-" * 9]):
        table = consent_table(subject_id=range(len(words)), status=words)
        with pytest.raises(cg.UnknownStatusError, match="is it the right column") as caught:
            cg.ConsentSnapshot.from_arrow(table, as_of=AS_OF)
        assert "word-" not in str(caught.value)


def test_metadata_is_quoted_in_part_only() -> None:
    table = consent_table().replace_schema_metadata({"consentgate.as_of": "x" * 100_000})
    with pytest.raises(cg.AsOfError, match=r"as_of 'x{60}', which") as caught:
        cg.ConsentSnapshot.from_arrow(table)
    assert len(str(caught.value)) < 300


def test_a_type_is_shown_without_the_names_in_it() -> None:
    """Where JSON objects are keyed by ids, ids are the names of a struct's fields."""
    column = pa.array([{MARK: True}] * 2)
    gate = make_gate()
    messages = message_table(sender_id=[1, 1])
    for name in ("sender_id", "channel_id", "created_at", "message_id"):
        table = messages.set_column(messages.column_names.index(name), name, column)
        with pytest.raises(cg.ColumnTypeError, match="struct<…>") as caught:
            gate.filter(table)
        assert shown_by(caught.value) == []
        with pytest.raises(cg.SchemaMismatchError, match="is struct<…> instead of") as other:
            gate.stream([messages, table]).read_all()
        assert shown_by(other.value) == []
    for name in ("subject_id", "status", "effective_from", "covers_prior"):
        table = consent_table(**{"subject_id": [1, 2], name: column})
        with pytest.raises(cg.ColumnTypeError, match="struct<…>") as caught:
            cg.ConsentSnapshot.from_arrow(table, as_of=AS_OF)
        assert shown_by(caught.value) == []


def test_two_structs_are_told_apart_without_their_names() -> None:
    one, other = ({name: True} for name in (MARK, MARK + "!"))
    tables = [message_table(x=[value]) for value in (one, other)]
    with pytest.raises(cg.SchemaMismatchError, match="column 'x' is another struct<…>") as caught:
        make_gate().stream(tables).read_all()
    assert shown_by(caught.value) == []
