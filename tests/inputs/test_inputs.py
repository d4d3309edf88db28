"""Snapshots and registries as objects: where they came from, and that each equals only itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import consentgate as cg
from consentgate.reasons import REASONS, sentences
from tests.build import (
    AS_OF,
    channel_table,
    consent_table,
    make_channels,
    make_consent,
    make_gate,
    message_table,
)
from tests.inputs.records import CHANNELS, RECORDS

SOURCES = pytest.mark.parametrize(
    ("kind", "table"),
    [(cg.ConsentSnapshot, consent_table()), (cg.ChannelRegistry, channel_table())],
    ids=["snapshot", "registry"],
)


@SOURCES
def test_a_source_is_the_path_unless_it_is_given(kind: Any, table: Any, tmp_path: Path) -> None:
    path = tmp_path / "table.parquet"
    pq.write_table(table, path)
    for place in (path, str(path)):
        assert kind.read(place, as_of=AS_OF).source == str(path)
        assert kind.read(place, as_of=AS_OF, source=None).source == str(path)
        assert kind.read(place, as_of=AS_OF, source="crm, nightly").source == "crm, nightly"
        assert kind.read(place, as_of=AS_OF, source="").source == ""


@SOURCES
def test_a_source_of_arrow_data_is_named_if_it_is_given(kind: Any, table: Any) -> None:
    assert kind.from_arrow(table, as_of=AS_OF).source == "Arrow data"
    assert kind.from_arrow(table, as_of=AS_OF, source="crm").source == "crm"
    assert kind.from_arrow(table, as_of=AS_OF, source="").source == ""


def test_a_gate_names_both_sources(tmp_path: Path) -> None:
    consent = cg.ConsentSnapshot.from_arrow(consent_table(), as_of=AS_OF, source="crm")
    channels = cg.ChannelRegistry.from_arrow(channel_table(), as_of=AS_OF, source="chat")
    gate = make_gate(consent, channels)
    assert gate.identity.consent.source == "crm"
    assert gate.identity.channels is not None and gate.identity.channels.source == "chat"
    gate.save(tmp_path / "a.gate")
    assert cg.Gate.open(tmp_path / "a.gate").identity == gate.identity
    columns = cg.Columns(channels=(), visibility="visibility")
    identity = make_gate(consent, columns=columns).identity
    assert (identity.consent.source, identity.channels) == ("crm", None)


@SOURCES
def test_a_snapshot_or_registry_equals_only_itself(kind: Any, table: Any) -> None:
    one, other = (kind.from_arrow(table, as_of=AS_OF) for _ in range(2))
    assert one == one
    assert one != other
    assert one != table
    assert len({one, other, one}) == 2
    assert {one: 1}[one] == 1
    assert hash(one) == hash(one)


def test_a_decision_equals_only_itself() -> None:
    gate = make_gate()
    one, other = gate.decide(message_table()), gate.decide(message_table())
    assert one == one
    assert one != other
    assert len({one, other, one}) == 2


def test_all_statuses_outside_the_vocabulary_are_named() -> None:
    words = [f"word {n:02}" for n in range(12)]
    table = consent_table(subject_id=range(12), status=words)
    with pytest.raises(cg.UnknownStatusError) as caught:
        cg.ConsentSnapshot.from_arrow(table, as_of=AS_OF)
    message = str(caught.value)
    assert "holds 12 words outside" in message
    assert f", {', '.join(map(repr, words))}, in 12 of 12 rows (rows 1, 2, 3, 4, 5 and" in message
    assert "'given', 'invalidated'" in message


@pytest.mark.parametrize(
    ("chars", "count", "are_listed"),
    [(40, 50, True), (41, 50, False), (40, 51, False), (2, 1, True)],
)
def test_words_that_may_be_ids_are_not_named(chars: int, count: int, are_listed: bool) -> None:
    words = [f"{n:02}".rjust(chars, "x") for n in range(count)]
    table = consent_table(subject_id=range(count), status=words)
    with pytest.raises(cg.UnknownStatusError, match=f"holds {count} words outside") as caught:
        cg.ConsentSnapshot.from_arrow(table, as_of=AS_OF)
    assert (words[0] in str(caught.value)) == are_listed
    assert ("is it the right column?" in str(caught.value)) != are_listed


def test_no_unknown_word_is_named_beside_one_that_may_be_a_text() -> None:
    table = consent_table(subject_id=[1, 2], status=["no", "x" * 41])
    with pytest.raises(cg.UnknownStatusError, match="is it the right column") as caught:
        cg.ConsentSnapshot.from_arrow(table, as_of=AS_OF)
    assert "'no'" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "column", "wording"),
    [
        ("sender_id", [1.5], "is double but must hold ids or lists of ids: integers"),
        ("channel_id", [1.5], "is double but must hold ids: integers"),
        ("sender_id", ["a"], "so its ids are strings, but those of the consent snapshot are "),
        ("channel_id", ["a"], "so its ids are strings, but those of the channel registry are "),
        ("sender_id", pa.array([["a"]]), "those of the consent snapshot are integers;"),
        ("channel_id", pa.array([[1]]), "is list<item: int64> but must hold ids: integers"),
    ],
)
def test_an_error_says_whose_ids_do_not_fit(name: str, column: Any, wording: str) -> None:
    with pytest.raises(cg.ColumnTypeError) as caught:
        make_gate().decide(message_table(**{name: column}))
    assert str(caught.value).startswith(f"Column '{name}' is ")
    assert wording in str(caught.value)


@pytest.mark.parametrize(
    ("rule", "column", "wording"),
    [
        ({"any_of": [1]}, ["a"], "is string but must hold int values; change"),
        ({"none_of": ["a"]}, [1], "is int64 but must hold str values; change"),
        ({"any_of": [True]}, [1], "is int64 but must hold bool values; change"),
        (
            {"is_null": True},
            [[1]],
            "is list<item: int64> but must not be nested or run-end-encoded; change",
        ),
    ],
)
def test_an_error_says_what_a_rules_column_must_hold(rule: Any, column: Any, wording: str) -> None:
    gate = make_gate(record_rules=[cg.Rule(name="odd", column="tier", **rule)])
    with pytest.raises(cg.RuleColumnTypeError) as caught:
        gate.decide(message_table(tier=pa.array(column)))
    assert str(caught.value).startswith("Rule 'odd' looks at column 'tier', which is ")
    assert wording in str(caught.value)


def test_an_error_says_what_is_there_twice() -> None:
    with pytest.raises(cg.DuplicateRecordError, match="repeat the subject and purpose of an ear"):
        make_consent(subject_id=[1, 1])
    with pytest.raises(cg.DuplicateRecordError, match="repeat the channel of an earlier row"):
        make_channels(channel_id=[1, 1])


def test_every_reason_is_said_in_words_of_its_own() -> None:
    assert list(sentences()) == [reason.code for reason in cg.Reason]
    assert len(set(sentences().values())) == len(REASONS)
    for words in sentences().values():
        assert len(words.split()) > 3
        assert words[0].islower()
        assert words[-1].isalpha()


def test_digests_of_every_type_of_column_are_the_same_in_every_release() -> None:
    """Nulls of each type included; manifests and ledgers hold digests for years."""
    consent, channels = make_consent(**RECORDS), make_channels(**CHANNELS)
    assert consent.digest == "b2d6957c3305a9e8dcfdd2b0c774e298e290ffd6516731ebacdea447944726f3"
    assert channels.digest == "c51eff85a4cfbabcbba3be2bd63571508f259a92cecd032c1d4f3be7d3a4e8bf"


@pytest.mark.parametrize("highest", [2**31, 2**62, 2**63 - 1])
def test_unsigned_ids_that_fit_are_the_same_as_signed_ones(highest: int) -> None:
    signed, unsigned = (
        make_consent(subject_id=pa.array([1, highest], kind)) for kind in (pa.int64(), pa.uint64())
    )
    assert unsigned.digest == signed.digest
    assert unsigned.table.schema.field("subject_id").type == pa.int64()
    beyond = make_consent(subject_id=pa.array([1, 2**63], pa.uint64()))
    assert beyond.table.schema.field("subject_id").type == pa.uint64()


def test_an_attribute_may_end_with_an_empty_batch_of_a_stream() -> None:
    """A C stream can hand over an empty batch with an offset but no buffers."""
    table = consent_table(subject_id=[1, 2])
    batch = table.append_column("tier", pa.array(["a", "b"], pa.string_view())).to_batches()[0]
    batches = pa.RecordBatchReader.from_batches(batch.schema, [batch, batch.slice(1, 0)])
    imported = pa.RecordBatchReader._import_from_c_capsule(batches.__arrow_c_stream__())
    snapshot = cg.ConsentSnapshot.from_arrow(imported, as_of=AS_OF)
    assert snapshot.table["tier"].to_pylist() == ["a", "b"]
