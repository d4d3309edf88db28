"""The digest of the content, held to a slow reference that goes row by row."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

import consentgate as cg
from consentgate.inputs import digest as digesting
from consentgate.inputs.digest import content_digest
from tests.build import AS_OF, channel_table, consent_table
from tests.inputs.digest_reference import FACTOR, hash_id, reference_digest
from tests.inputs.records import CHANNELS, RECORDS

WORDS = {"purpose", "status", "method", "notice_version"}
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
INT64 = st.integers(-(2**63), 2**63 - 1)
UNITS = ["s", "ms", "us", "ns"]


def take(table: pa.Table) -> cg.ConsentSnapshot:
    return cg.ConsentSnapshot.from_arrow(table, as_of=AS_OF)


def slow_digest(snapshot: cg.ConsentSnapshot) -> str:
    return reference_digest(snapshot.table, "subject_id", WORDS)


def nullable(values: Any, rows: int) -> Any:
    return st.lists(st.none() | values, min_size=rows, max_size=rows)


@st.composite
def tables(draw: Any) -> pa.Table:
    """Records with ids of each family, several purposes, and attributes of every type."""
    rows = draw(st.integers(1, 12))
    family = draw(
        st.sampled_from(
            [
                (INT64, pa.int64()),
                (st.integers(0, 2**64 - 1), pa.uint64()),
                (TEXTS, pa.string()),
                (st.binary(min_size=16, max_size=16), pa.uuid()),
            ]
        )
    )
    unique = st.lists(
        st.tuples(family[0], st.sampled_from(["a", "b", "é"])),
        min_size=rows,
        max_size=rows,
        unique=True,
    )
    keys = draw(unique)
    columns: dict[str, Any] = {
        "subject_id": pa.array([key for key, _ in keys], family[1]),
        "purpose": [purpose for _, purpose in keys],
        "status": [draw(st.sampled_from(["given", "refused"])) for _ in range(rows)],
        "method": draw(nullable(TEXTS, rows)),
        "notice_version": draw(nullable(TEXTS, rows)),
        "covers_prior": pa.array(draw(nullable(st.booleans(), rows)), pa.bool_()),
        "name": pa.array(draw(nullable(TEXTS, rows)), pa.string()),
        "score": pa.array(draw(nullable(INT64, rows)), pa.int64()),
        "count": pa.array(draw(nullable(st.integers(0, 2**64 - 1), rows)), pa.uint64()),
        "ratio": pa.array(draw(nullable(st.floats(allow_nan=False), rows)), pa.float64()),
        "joined": pa.array(draw(nullable(INT64, rows)), pa.int64()).cast(
            pa.timestamp(draw(st.sampled_from(UNITS)), draw(st.sampled_from([None, "UTC"])))
        ),
    }  # fmt: skip
    return consent_table(**columns)


@given(tables(), st.data())
def test_the_digest_is_that_of_the_reference_in_any_order_and_layout(
    table: pa.Table, data: st.DataObject
) -> None:
    expected = slow_digest(take(table))
    order = data.draw(st.permutations(range(len(table))))
    cut = data.draw(st.integers(0, len(table)))
    shuffled = table.take(order)
    place = table.schema.get_field_index("name")
    coded = shuffled.set_column(place, "name", shuffled["name"].dictionary_encode())
    chunked = pa.concat_tables([coded.slice(0, cut), rest_of(coded, cut)])
    assert take(table).digest == expected
    assert take(shuffled).digest == expected
    assert take(chunked).digest == expected


def rest_of(table: pa.Table, start: int) -> pa.Table:
    """The rows from `start` on, with dictionaries of their own."""
    return pa.Table.from_batches(table.slice(start).to_batches(), table.schema).unify_dictionaries()


@pytest.mark.parametrize("rows", [1, 4])
def test_the_digests_of_known_records_are_those_of_the_reference(rows: int) -> None:
    snapshot = take(consent_table(**RECORDS).slice(0, rows))
    assert snapshot.digest == slow_digest(snapshot)
    registry = cg.ChannelRegistry.from_arrow(channel_table(**CHANNELS).slice(0, rows), as_of=AS_OF)
    assert registry.digest == reference_digest(registry.table, "channel_id", {"visibility"})


def test_a_table_without_rows_has_a_digest_of_its_own() -> None:
    snapshot = take(consent_table(**RECORDS).slice(0, 0))
    assert snapshot.digest == slow_digest(snapshot)


@pytest.mark.parametrize("kind", [pa.string(), pa.int64()])
def test_rows_of_many_buckets_are_those_of_the_reference(
    kind: pa.DataType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(digesting, "_BYTES_AT_ONCE", 1 << 20)  # several groups of buckets
    rows = 100_000
    numbers = pa.array(np.random.default_rng(1).permutation(rows))
    table = consent_table(
        subject_id=numbers.cast(kind),
        tier=pa.array([None, "gold", "", "é" * 40]).take(pa.array(np.arange(rows) % 4)),
        notice_version=pa.array([f"v{n}" for n in range(300)]).take(
            pa.array(np.arange(rows) % 300)
        ),
    )
    snapshot = take(table)
    assert snapshot.digest == slow_digest(snapshot)
    assert take(table.take(np.arange(rows)[::-1])).digest == snapshot.digest


def of_one_hash(count: int) -> list[bytes]:
    """UUIDs that somebody has made so that all of them have the same hash."""

    def mixed(value: int) -> int:
        value = value * FACTOR % 2**64
        return value ^ value >> 32

    pairs = [(n, mixed(16 ^ n) ^ 12_345) for n in range(count)]
    return [a.to_bytes(8, "little") + b.to_bytes(8, "little") for a, b in pairs]


@pytest.mark.parametrize("count", [2, 9, 5_000])
def test_ids_with_equal_hashes_are_put_in_order_by_their_rows(count: int) -> None:
    ids = pa.array(of_one_hash(count), pa.binary(16))
    assert len({hash_id(value, ids.type) for value in ids.to_pylist()}) == 1
    table = consent_table(subject_id=ids, tier=[f"{n}" * (n % 7) for n in range(count)])
    snapshot = take(table)
    assert snapshot.digest == slow_digest(snapshot)
    assert take(table.take(np.arange(count)[::-1])).digest == snapshot.digest


def test_words_that_no_row_uses_do_not_count() -> None:
    words = pa.DictionaryArray.from_arrays(
        pa.array([1, 0], pa.int32()), pa.array(["b", "a", "unused", "a"], pa.large_string())
    )
    used = pa.DictionaryArray.from_arrays(
        pa.array([0, 1], pa.int32()), pa.array(["a", "b"], pa.large_string())
    )
    ids = pa.array([1, 2])
    one, other = (pa.table({"subject_id": ids, "status": column}) for column in (words, used))
    expected = reference_digest(other, "subject_id", WORDS)
    assert content_digest(one, "subject_id", WORDS) == expected
    assert content_digest(other, "subject_id", WORDS) == expected


def test_a_text_is_not_taken_for_a_word() -> None:
    table = consent_table(subject_id=[1, 2], tier=["a", "b"])
    assert content_digest(take(table).table, "subject_id", WORDS | {"score"}) == take(table).digest
