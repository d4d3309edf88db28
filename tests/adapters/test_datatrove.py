"""datatrove: pipelines in processes of their own, their statistics, and what documents hold."""

from __future__ import annotations

import gzip
import json
import pickle
import uuid
from collections import Counter
from collections.abc import Iterator
from copy import deepcopy
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datatrove.data import Document
from datatrove.executor import LocalPipelineExecutor
from datatrove.pipeline.filters.base_filter import BaseFilter
from datatrove.pipeline.readers import JsonlReader, ParquetReader
from datatrove.pipeline.writers import JsonlWriter

import consentgate as cg
from consentgate.adapters.datatrove import consent_filter
from consentgate.adapters.datatrove import filter as gated
from tests.adapters.contract import ledger_rows
from tests.build import NOW, WRITTEN, make_channels, make_consent, make_gate
from tests.run_data import mixed_gate, mixed_messages

FILES, ROWS = 4, 150
BATCHES = pytest.mark.parametrize("batch_size", [1, 2, 100])


def document(number: int = 0, **metadata: Any) -> Document:
    """One document, admitted if it stays as it is; ABSENT keys are left out."""
    known = {"message_id": number, "sender_id": 1, "channel_id": 10, "created_at": WRITTEN}
    kept = {key: value for key, value in {**known, **metadata}.items() if value is not ...}
    return Document(text=f"text {number}", id=f"id {number}", metadata=kept)


def verdicts(
    documents: list[Document], gate: Any, batch_size: int = 100, **options: Any
) -> list[str | None]:
    """Each document's reason, None where it is admitted."""
    writer = Gathered()
    options = {"batch_size": batch_size, "exclusion_writer": writer, **options}
    admitted = [*gated(iter(documents), gate, **options)]
    reasons = {id(doc): doc.metadata["filter_reason"] for doc in writer.documents}
    assert len(admitted) + len(reasons) == len(documents)
    assert [id(doc) for doc in documents if id(doc) not in reasons] == [*map(id, admitted)]
    return [reasons.get(id(doc)) for doc in documents]


class Gathered:
    """A writer that keeps documents in memory."""

    def __init__(self) -> None:
        self.documents: list[Document] = []

    def write(self, doc: Document, rank: int) -> None:
        assert rank == 0
        self.documents.append(doc)

    def __enter__(self) -> Gathered:
        return self

    def __exit__(self, *_: object) -> None:
        pass


# Pipelines


def write_jsonl(folder: Path) -> None:
    """Messages in JSON lines, whose instants are text."""
    folder.mkdir()
    for place in range(FILES):
        rows = mixed_messages(ROWS, first=place * ROWS).to_pylist()
        lines = [json.dumps({**row, "created_at": row["created_at"].isoformat()}) for row in rows]
        (folder / f"{place}.jsonl").write_text("\n".join(lines))


def write_parquet(folder: Path) -> None:
    """Messages in Parquet."""
    folder.mkdir()
    for place in range(FILES):
        pq.write_table(mixed_messages(ROWS, first=place * ROWS), folder / f"{place}.parquet")


def lines_in(folder: Path) -> list[dict[str, Any]]:
    """What a writer wrote, in the order of files and lines."""
    files = [gzip.decompress(path.read_bytes()) for path in sorted(folder.glob("*.gz"))]
    return [json.loads(line) for file in files for line in file.splitlines()]


def pipeline(gate: Any, tmp_path: Path, reader: Any, **options: Any) -> list[Any]:
    """A pipeline from files to files."""
    writer = JsonlWriter(str(tmp_path / "excluded"))
    step = consent_filter(gate, exclusion_writer=writer, **options)
    return [reader, step, JsonlWriter(str(tmp_path / "clean"))]


READERS = {"jsonl": (write_jsonl, JsonlReader), "parquet": (write_parquet, ParquetReader)}


@pytest.mark.parametrize("form", READERS)
@pytest.mark.parametrize("workers", [1, 2])
def test_a_pipeline_in_processes_decides_as_the_gate(
    form: str, workers: int, gate: cg.Gate, tmp_path: Path
) -> None:
    write, read = READERS[form]
    write(tmp_path / "messages")
    steps = pipeline(
        gate, tmp_path, read(str(tmp_path / "messages")), ledger=tmp_path / "ledger", batch_size=64
    )
    executor = LocalPipelineExecutor(
        steps, tasks=2, workers=workers, logging_dir=str(tmp_path / "logs")
    )
    stats = executor.run().stats[1].stats
    table = mixed_messages(FILES * ROWS)
    admitted, excluded = gate.filter(table)
    found = {row["metadata"]["message_id"] for row in lines_in(tmp_path / "clean")}
    assert found == set(admitted["message_id"].to_pylist())
    reasons = {
        row["metadata"]["message_id"]: row["metadata"]["filter_reason"]
        for row in lines_in(tmp_path / "excluded")
    }
    wanted = dict(
        zip(excluded["record_id"].to_pylist(), excluded["reason"].to_pylist(), strict=True)
    )
    assert reasons == wanted
    counts = {f"dropped_{reason}": n for reason, n in Counter(wanted.values()).items()}
    assert {name: stats[name].total for name in counts} == counts
    assert (stats["total"].total, stats["forwarded"].total) == (table.num_rows, len(found))
    parts = [pq.read_table(path) for path in (tmp_path / "ledger").glob("*.parquet")]
    ledger = pa.concat_tables(parts)
    assert len(parts) == 2
    assert ledger.schema.equals(excluded.schema, check_metadata=True)
    assert (
        dict(zip(*(ledger[n].to_pylist() for n in ("record_id", "reason")), strict=True)) == wanted
    )


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("batch_size", [50, 1])
def test_an_error_ends_the_pipeline_with_its_class_and_no_log_quotes_the_document(
    workers: int, batch_size: int, gate: cg.Gate, tmp_path: Path
) -> None:
    (tmp_path / "messages").mkdir()
    row = {"text": "very secret", "id": "secret id", "message_id": 1, "sender_id": "secret sender"}
    (tmp_path / "messages" / "0.jsonl").write_text(json.dumps({**row, "channel_id": 10}))
    steps = pipeline(gate, tmp_path, JsonlReader(str(tmp_path / "messages")), batch_size=batch_size)
    logs = tmp_path / "logs"
    executor = LocalPipelineExecutor(steps, tasks=2, workers=workers, logging_dir=str(logs))
    with pytest.raises(cg.IdFamilyError, match="Column 'sender_id' is string"):
        executor.run()
    assert not executor.is_rank_completed(0)
    said = [path.read_text() for path in (logs / "logs").iterdir()]
    assert any("IdFamilyError" in text for text in said)
    assert not any("secret" in text for text in said)


def replace_by_another(path: Path) -> None:
    """Save another gate there."""
    make_gate().save(path)


@pytest.mark.parametrize(
    ("harm", "error"),
    [(Path.unlink, cg.UnreadableFileError), (replace_by_another, cg.ReplacedGateError)],
)
def test_workers_that_find_another_gate_end_and_do_not_hang(
    harm: Any, error: type[Exception], gate: cg.Gate, tmp_path: Path
) -> None:
    write_jsonl(tmp_path / "messages")
    steps = pipeline(gate, tmp_path, JsonlReader(str(tmp_path / "messages")))
    harm(tmp_path / "gate")
    executor = LocalPipelineExecutor(steps, tasks=2, workers=2, logging_dir=str(tmp_path / "logs"))
    with pytest.raises(error, match="gate"):
        executor.run()
    assert not lines_in(tmp_path / "clean")


def test_a_gate_that_is_not_saved_goes_along(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "messages")
    gate = mixed_gate()
    steps = pipeline(gate, tmp_path, JsonlReader(str(tmp_path / "messages")))
    assert deepcopy(steps[1])._gate.current() is gate
    LocalPipelineExecutor(steps, tasks=2, workers=2, logging_dir=str(tmp_path / "logs")).run()
    admitted = gate.filter(mixed_messages(FILES * ROWS))[0]
    assert len(lines_in(tmp_path / "clean")) == admitted.num_rows


# The filter itself


def test_it_is_a_filter_of_datatroves(gate: cg.Gate) -> None:
    step = pickle.loads(pickle.dumps(consent_filter(gate)))
    assert isinstance(step, BaseFilter)
    assert step.filter(document()) is True
    assert step.filter(document(sender_id=4)) == (False, "consent_withdrawn")
    assert step.filter_batch([document(), document(sender_id=None)]) == [
        True,
        (False, "subject_missing"),
    ]


def test_documents_come_as_they_were_and_only_when_asked_for(gate: cg.Gate) -> None:
    asked: list[int] = []

    def source() -> Iterator[Document]:
        for number in range(10):
            asked.append(number)
            yield document(number, sender_id=1 + number % 4, deep={"list": [1, None]})

    admitted = gated(source(), gate, batch_size=5)
    assert not asked
    first = next(admitted)
    assert len(asked) == 5
    assert first == document(0, sender_id=1, deep={"list": [1, None]})
    assert [doc.metadata["message_id"] for doc in admitted] == [1, 2, 4, 5, 6, 8, 9]


def test_the_ledger_is_complete_when_the_iterator_is_closed(gate: cg.Gate, tmp_path: Path) -> None:
    documents = [document(number, sender_id=4 if number % 2 else 1) for number in range(10)]
    admitted = gated(documents, gate, batch_size=4, ledger=tmp_path / "ledger")
    assert [next(admitted).metadata["message_id"] for _ in range(3)] == [0, 2, 4]
    admitted.close()  # type: ignore[attr-defined]
    ledger = ledger_rows(tmp_path / "ledger")
    assert ledger["row"].to_pylist() == ledger["record_id"].to_pylist() == [1, 3]


def test_arguments_are_checked_at_once(gate: cg.Gate) -> None:
    with pytest.raises(cg.ConfigurationError, match="`batch_size` is 0"):
        gated([], gate, batch_size=0)


def test_a_snapshot_gone_stale_ends_the_stream() -> None:
    with pytest.raises(cg.StaleSnapshotError, match="old at the instant of judgement"):
        next(gated([document()], make_gate(), judged_at=NOW + timedelta(days=9)))


# What metadata holds


@BATCHES
def test_whatever_is_not_there_excludes(batch_size: int) -> None:
    nothings = [..., None, float("nan"), pd.NaT]
    keys = ["sender_id", "channel_id", "created_at"]
    documents = [document(n, **{key: value}) for n, key in enumerate(keys) for value in nothings]
    documents += [document(), document(sender_id=[]), document(sender_id=[1, None])]
    reasons = ["subject_missing", "channel_unknown", "timestamp_missing"]
    wanted = [reason for reason in reasons for _ in nothings]
    for order in (1, -1):  # nulls come first, or last
        found = verdicts(documents[::order], make_gate(), batch_size)
        assert found[::order] == [*wanted, None, "subject_missing", "subject_missing"]


@BATCHES
def test_a_document_s_own_id_stands_for_the_record_id(batch_size: int, tmp_path: Path) -> None:
    documents = [document(n, message_id=..., sender_id=2) for n in range(3)]
    verdicts(documents, make_gate(), batch_size, ledger=tmp_path)
    assert ledger_rows(tmp_path)["record_id"].to_pylist() == ["id 0", "id 1", "id 2"]


def test_rules_look_at_the_text_and_id_of_a_document_too() -> None:
    rules = (
        cg.Rule(name="text_7", column="text", any_of=("text 7",)),
        cg.Rule(name="id_8", column="id", any_of=("id 8",)),
    )
    documents = [document(n) for n in range(6, 10)] + [document(7, text="not that")]
    found = verdicts(documents, make_gate(record_rules=rules))
    assert found == [None, "text_7", "id_8", None, None]


RULES = [
    ({"any_of": ("a",)}, ["b", "a", None, ...], [None, "rule", "rule", "rule"]),
    ({"none_of": ("a",)}, ["b", "a", None], ["rule", None, "rule"]),
    ({"any_of": (1,)}, [2, 1, 2**63, None], [None, "rule", None, "rule"]),
    ({"any_of": (True,)}, [False, True, None], [None, "rule", "rule"]),
    ({"is_null": True}, ["x", 1, None, float("nan"), ...], [None, None, "rule", "rule", "rule"]),
    ({"is_null": True}, [pd.NA, pd.NaT, np.float32("nan"), Decimal("NaN")], ["rule"] * 4),
    (
        {"is_null": True},
        [np.datetime64("NaT"), Decimal("sNaN"), Decimal(1)],
        ["rule", "rule", None],
    ),
]


@BATCHES
@pytest.mark.parametrize(("condition", "values", "wanted"), RULES)
def test_rules_look_at_metadata(
    condition: Any, values: list[Any], wanted: list[str | None], batch_size: int
) -> None:
    gate = make_gate(record_rules=(cg.Rule(name="rule", column="extra", **condition),))
    documents = [document(n, extra=value) for n, value in enumerate(values)]
    assert verdicts(documents, gate, batch_size) == wanted


@BATCHES
@pytest.mark.parametrize(
    ("condition", "value", "match"),
    [
        ({"any_of": ("a",)}, 1, "holds integers but must hold strings"),
        ({"any_of": (1,)}, "1", "holds strings but must hold integers"),
        ({"any_of": (1,)}, True, "holds booleans but must hold integers"),
        ({"any_of": (True,)}, 1, "holds integers but must hold booleans"),
        ({"is_null": True}, ["x"], "whose values must be single ones"),
        ({"is_null": True}, np.array([1]), "whose values must be single ones"),
        ({"is_null": True}, frozenset("x"), "whose values must be single ones"),
        ({"is_null": True}, object(), "whose values must be single ones"),
    ],
)
def test_a_rule_that_cannot_be_evaluated_is_an_error(
    condition: Any, value: Any, match: str, batch_size: int
) -> None:
    gate = make_gate(record_rules=(cg.Rule(name="rule", column="extra", **condition),))
    with pytest.raises(cg.RuleColumnTypeError, match=match):
        verdicts([document(extra=None), document(extra=value)], gate, batch_size)


@BATCHES
def test_subjects_alone_and_in_lists_are_the_same(batch_size: int) -> None:
    gate = make_gate(make_consent(subject_id=["a", "b"]))
    subjects: list[Any] = ["a", ["a"], ("a", "b"), ["a", "c"], "c", ["c"], [None], np.str_("b")]
    found = verdicts([document(sender_id=who) for who in subjects], gate, batch_size)
    nobody = "no_consent_record"
    assert found == [None, None, None, nobody, nobody, nobody, "subject_missing", None]


@BATCHES
def test_uuids_are_themselves_or_sixteen_bytes(batch_size: int, tmp_path: Path) -> None:
    known, unknown = uuid.UUID(int=7), uuid.UUID(int=8)
    gate = make_gate(make_consent(subject_id=pa.array([known.bytes], pa.binary(16))))
    subjects = [known, known.bytes, unknown, [known, known.bytes], [unknown]]
    documents = [document(sender_id=who, message_id=unknown) for who in subjects]
    found = verdicts(documents, gate, batch_size, ledger=tmp_path)
    assert [reason is None for reason in found] == [True, True, False, True, False]
    assert ledger_rows(tmp_path)["record_id"].to_pylist() == [unknown] * 2


UNFIT = [
    ({"sender_id": "1"}, cg.IdFamilyError, "'sender_id'.* strings"),
    ({"sender_id": uuid.UUID(int=1)}, cg.IdFamilyError, "'sender_id'.* UUIDs"),
    ({"sender_id": b"1"}, cg.ColumnTypeError, "'sender_id' holds"),
    ({"sender_id": 1.0}, cg.ColumnTypeError, "'sender_id' holds values of type 'float'"),
    ({"sender_id": True}, cg.ColumnTypeError, "'sender_id' holds booleans"),
    ({"sender_id": {"id": 1}}, cg.ColumnTypeError, "'sender_id' holds values of type 'dict'"),
    ({"sender_id": {1}}, cg.ColumnTypeError, "'sender_id' holds values of type 'set'"),
    ({"sender_id": [[1]]}, cg.ColumnTypeError, "'sender_id' holds values of type 'list'"),
    ({"sender_id": 2**64}, cg.ColumnTypeError, "'sender_id' holds values that do not fit"),
    ({"channel_id": "10"}, cg.IdFamilyError, "'channel_id'.* strings"),
    ({"channel_id": [10]}, cg.ColumnTypeError, "'channel_id' holds values of type 'list'"),
    ({"message_id": "1"}, cg.IdFamilyError, "'message_id'.* strings"),
    ({"message_id": ...}, cg.IdFamilyError, "'message_id'.* strings"),
    ({"message_id": 1.5}, cg.ColumnTypeError, "'message_id' holds values of type 'float'"),
    ({"created_at": 1748736000}, cg.ColumnTypeError, "'created_at' holds integers"),
    ({"created_at": date(2025, 6, 1)}, cg.ColumnTypeError, "'created_at' holds values of type"),
    ({"created_at": datetime(2025, 6, 1)}, cg.NaiveTimestampError, "'created_at'.* zone"),
]


@BATCHES
@pytest.mark.parametrize(("metadata", "error", "match"), UNFIT)
def test_what_does_not_fit_is_an_error_wherever_it_comes(
    metadata: dict[str, Any], error: type[Exception], match: str, batch_size: int, tmp_path: Path
) -> None:
    seen: list[Document] = []
    documents = [document(0), document(1, **metadata), document(2)]
    with pytest.raises(error, match=match):
        seen.extend(gated(documents, make_gate(), batch_size=batch_size, ledger=tmp_path))
    assert [doc.metadata["message_id"] for doc in seen] == [0][: batch_size == 1]


@pytest.mark.parametrize(("metadata", "error", "match"), UNFIT)
def test_no_error_holds_a_value(
    metadata: dict[str, Any], error: type[Exception], match: str, tmp_path: Path
) -> None:
    del match
    with pytest.raises(error) as caught:  # that it matches, the test above holds
        verdicts([document(0), document(1, **metadata)], make_gate(), ledger=tmp_path)
    assert caught.value.__cause__ is caught.value.__context__ is None
    value = next(iter(metadata.values()))
    if isinstance(value, int) and value > 1:
        assert str(value) not in str(caught.value)


# Instants


def written(text: Any) -> list[str | None]:
    """What becomes of a document written then."""
    gate = make_gate(make_consent(effective_from=datetime(2025, 6, 1, tzinfo=UTC)))
    return verdicts([document(created_at=text)], gate)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("2025-06-01T00:00:00Z", None),
        ("2025-06-01T02:00:00+02:00", None),
        ("2025-06-01 00:00:00.000000+00:00", None),
        ("2025-05-31T23:59:59.999999Z", "predates_consent"),
        ("2025-05-31T23:59:59.999999999Z", "predates_consent"),
        ("2025-06-01T01:59:59.999999999+02:00", "predates_consent"),
        ("2026-03-01T00:00:00Z", None),
        ("2026-03-01T00:00:00.000000001Z", "after_snapshot"),
        ("9999-12-31T00:00:00Z", "after_snapshot"),
    ],
)
def test_text_is_read_to_the_last_digit(text: str, wanted: str | None) -> None:
    assert written(text) == [wanted]


BAD_TEXT = [
    "",
    "yesterday",
    "2025-06-01",
    "20250601T000000Z",
    "2025-02-30T00:00:00Z",
    "2025-06-01T24:00:00Z",
    " 2025-06-01T00:00:00Z",
    "2025-06-01T00:00:00 Z",
    "2025-06-01T00:00:00+25:00",
    "2025-06-01T00:00:00.0000000001Z",
    "1748736000",
    "2025-06-01T00:00:00[Europe/Berlin]",
    "\ud800",
]


@BATCHES
@pytest.mark.parametrize("text", BAD_TEXT)
def test_text_that_is_no_instant_is_an_error(text: str, batch_size: int) -> None:
    documents = [document(created_at="2025-06-01T00:00:00Z"), document(created_at=text)]
    with pytest.raises(cg.ColumnTypeError, match="Column 'created_at'") as caught:
        verdicts(documents, make_gate(), batch_size)
    assert not text or text not in str(caught.value)


@BATCHES
def test_text_without_a_zone_is_an_error_unless_one_is_assumed(batch_size: int) -> None:
    naive, zoned = "2025-06-01T00:00:00", "2025-06-01T00:00:00Z"
    with pytest.raises(cg.NaiveTimestampError, match="has no time zone"):
        verdicts([document(created_at=naive)], make_gate(), batch_size)
    gate = make_gate(columns=cg.Columns(assume_timezone="Europe/Berlin"))
    assert verdicts([document(created_at=naive)] * 3, gate, batch_size) == [None] * 3
    assert verdicts([document(created_at=zoned)] * 3, gate, batch_size) == [None] * 3
    for one, other in ((naive, zoned), (zoned, naive)):
        with pytest.raises(cg.ColumnTypeError, match=r"with.* time zone"):
            verdicts([document(created_at=one), document(created_at=other)], gate, batch_size)


@BATCHES
@pytest.mark.parametrize("day", ["2025-06-01", "2025-06-01T00"])
def test_a_day_alone_is_no_instant_of_an_assumed_zone(day: str, batch_size: int) -> None:
    gate = make_gate(columns=cg.Columns(assume_timezone="UTC"))
    documents = [document(created_at="2025-06-01T00:00:00"), document(created_at=day)]
    with pytest.raises(cg.ColumnTypeError, match="is not an instant, such as a day alone"):
        verdicts(documents, gate, batch_size)


def test_an_assumed_zone_is_judged_at_both_ends_of_a_doubled_hour() -> None:
    columns = cg.Columns(assume_timezone="Europe/Berlin")
    since = datetime(2025, 10, 26, 0, 30, tzinfo=UTC)  # 02:30 for the first time
    gate = make_gate(make_consent(effective_from=since), columns=columns)
    texts = ["2025-10-26T02:29:59", "2025-10-26T02:30:00", "2025-10-26T03:00:00"]
    found = verdicts([document(created_at=text) for text in texts], gate)
    assert found == ["predates_consent", None, None]


@BATCHES
def test_datetimes_of_all_zones_are_instants(batch_size: int) -> None:
    begun = datetime(2025, 6, 1, tzinfo=UTC)
    gate = make_gate(make_consent(effective_from=begun))
    odd = timezone(timedelta(hours=5, minutes=53, seconds=28))
    instants = [
        begun.astimezone(odd),
        (begun - timedelta(microseconds=1)).astimezone(odd),
        pd.Timestamp(begun),
        pd.Timestamp(begun) - pd.Timedelta(1, "ns"),
        datetime(1, 1, 1, tzinfo=UTC) if batch_size == 1 else None,
    ]
    found = verdicts([document(created_at=instant) for instant in instants], gate, batch_size)
    early = "predates_consent"
    assert found[:4] == [None, early, None, early]
    assert found[4] is not None


# Keys that no document has


@BATCHES
@pytest.mark.parametrize("key", ["sender_id", "channel_id", "created_at"])
def test_a_key_that_none_has_is_an_error_at_the_end(key: str, batch_size: int) -> None:
    documents = [document(number, **{key: ...}) for number in range(5)]
    with pytest.raises(cg.ColumnMissingError, match=f"'{key}' is missing: of 5 documents, none"):
        assert not [*gated(documents, make_gate(), batch_size=batch_size)]
    assert verdicts([*documents, document()], make_gate(), batch_size)[-1] is None


@pytest.mark.parametrize("batch_size", [1, 7, 999, 1000, 1001, 5000])
def test_a_key_is_looked_for_in_the_first_thousand_documents(batch_size: int) -> None:
    without = [document(number, sender_id=...) for number in range(1000)]
    found = verdicts([*without[:999], document()], make_gate(), batch_size)
    assert found == ["subject_missing"] * 999 + [None]
    with pytest.raises(cg.ColumnMissingError, match="Column 'sender_id' is missing"):
        assert not [*gated([*without, document()], make_gate(), batch_size=batch_size)]


def test_a_rule_s_key_that_none_has_is_an_error_of_the_rule() -> None:
    gate = make_gate(record_rules=(cg.Rule(name="rule", column="extra", is_null=True),))
    with pytest.raises(cg.RuleColumnMissingError, match="Column 'extra'"):
        verdicts([document()], gate)


def test_a_visibility_is_text() -> None:
    columns = cg.Columns(channels=(), visibility="seen_by")
    gate = cg.Gate(cg.Policy(), make_consent(), columns=columns, judged_at=NOW)
    values = ["public", "private", None, ...]
    found = verdicts([document(seen_by=value) for value in values], gate)
    assert found == [None, "private_channel", "channel_unknown", "channel_unknown"]
    with pytest.raises(cg.ColumnTypeError, match="Column 'seen_by' holds booleans"):
        verdicts([document(seen_by=True)], gate)


def test_no_documents_are_no_error(tmp_path: Path) -> None:
    assert verdicts([], make_gate(channels=make_channels()), ledger=tmp_path / "ledger") == []


def test_a_step_judges_one_stream_at_a_time() -> None:
    step = consent_filter(make_gate())
    begun = step.run(iter([document(1), document(2)]))
    assert next(begun).metadata["message_id"] == 1
    with pytest.raises(cg.ConfigurationError, match="still judging other documents"):
        next(step.run(iter([document(3)])))
    assert [doc.metadata["message_id"] for doc in begun] == [2]
    assert [doc.metadata["message_id"] for doc in step.run(iter([document(3)]))] == [3]
