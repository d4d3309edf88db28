"""Columns of snapshots and registries under other names than ours."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import consentgate as cg
from tests.build import (
    AS_OF,
    BEGUN,
    WRITTEN,
    channel_table,
    consent_table,
    make_channels,
    make_consent,
)
from tests.inputs.writing import WRITERS

RECORDS: dict[str, Any] = {
    "subject_id": [1, 2],
    "status": ["given", "refused"],
    "expires_at": WRITTEN,
    "covers_prior": True,
    "notice_version": "1",
    "tier": ["007", "paid"],
}
CONSENT_NAMES = {
    "subject_id": "user",
    "purpose": "use",
    "status": "state",
    "method": "how",
    "effective_from": "since",
    "expires_at": "until",
    "covers_prior": "earlier_too",
    "notice_version": "notice",
}
CHANNELS: dict[str, Any] = {"channel_id": [1, 2], "visibility": "public", "public_since": WRITTEN}
CHANNEL_NAMES = {"channel_id": "room", "visibility": "seen_by", "public_since": "opened"}


@pytest.mark.parametrize("suffix", WRITERS)
def test_mapped_columns_give_the_same_snapshot_from_every_format(
    suffix: str, tmp_path: Path
) -> None:
    path = tmp_path / f"x.{suffix}"
    WRITERS[suffix](consent_table(**RECORDS).rename_columns(CONSENT_NAMES), path)
    snapshot = cg.ConsentSnapshot.read(path, as_of=AS_OF, columns=CONSENT_NAMES)
    plain = make_consent(**RECORDS)
    assert snapshot.table.schema == plain.table.schema
    assert snapshot.digest == plain.digest


@pytest.mark.parametrize("suffix", WRITERS)
def test_mapped_columns_give_the_same_registry_from_every_format(
    suffix: str, tmp_path: Path
) -> None:
    path = tmp_path / f"x.{suffix}"
    WRITERS[suffix](channel_table(**CHANNELS).rename_columns(CHANNEL_NAMES), path)
    registry = cg.ChannelRegistry.read(path, as_of=AS_OF, columns=CHANNEL_NAMES)
    assert registry.digest == make_channels(**CHANNELS).digest


def test_great_integers_of_json_stay_exact_under_another_name(tmp_path: Path) -> None:
    (tmp_path / "x.jsonl").write_text(
        f'{{"room": {2**64 - 1}, "visibility": "public"}}\n{{"room": 1, "visibility": "public"}}\n'
    )
    registry = cg.ChannelRegistry.read(
        tmp_path / "x.jsonl", as_of=AS_OF, columns={"channel_id": "room"}
    )
    assert registry.table["channel_id"].to_pylist() == [2**64 - 1, 1]


def test_columns_may_change_places() -> None:
    table = consent_table().rename_columns({"status": "method", "method": "status"})
    names = {"status": "method", "method": "status"}
    snapshot = cg.ConsentSnapshot.from_arrow(table, as_of=AS_OF, columns=names)
    assert snapshot.digest == make_consent().digest


def test_a_column_may_be_mapped_to_itself() -> None:
    snapshot = cg.ConsentSnapshot.from_arrow(
        consent_table(), as_of=AS_OF, columns={"subject_id": "subject_id"}
    )
    assert snapshot.digest == make_consent().digest


def test_messages_show_the_names_of_the_file() -> None:
    table = consent_table(
        subject_id=[1, None], status=["yes", "given"], effective_from=[BEGUN, None], covers_prior=1
    )
    names = {name: CONSENT_NAMES[name] for name in table.column_names}
    table = table.rename_columns(names)
    with pytest.raises(cg.SnapshotError) as caught:
        cg.ConsentSnapshot.from_arrow(table, as_of=AS_OF, columns=names)
    messages = [str(fault).partition(" is ")[0] for fault in caught.value.faults]
    assert messages[0] == "Column 'user'"
    assert messages[1].startswith("Column 'state' holds 1 words")
    assert messages[2:] == ["Column 'since'", "Column 'earlier_too'"]


def consent(columns: Any, **more: Any) -> cg.ConsentSnapshot:
    """Records in which `subject_id` is called `user`."""
    table = consent_table(**more).rename_columns({"subject_id": "user"})
    return cg.ConsentSnapshot.from_arrow(table, as_of=AS_OF, columns=columns)


FAULTS: list[tuple[str, Callable[[], Any], type[Exception], str]] = [
    (
        "absent",
        lambda: consent({"subject_id": "person"}),
        cg.ColumnMissingError,
        r"Column 'person' \('subject_id'\) is missing; .*'user'\. Rename one, or say with `c",
    ),
    (
        "absent though optional",
        lambda: consent({"subject_id": "user", "expires_at": "until"}),
        cg.ColumnMissingError,
        r"Column 'until' \('expires_at'\) is missing",
    ),
    (
        "not mapped",
        lambda: consent(None),
        cg.ColumnMissingError,
        r"Column 'subject_id' \(required\) is missing; .*say with `columns` which column to use",
    ),
    (
        "one for two",
        lambda: consent({"subject_id": "user", "method": "user"}),
        cg.ConfigurationError,
        "would make the column 'user' 'subject_id' and 'method'; map each of those names to a",
    ),
    (
        "one that has a meaning of its own",
        lambda: consent({"subject_id": "user", "method": "status"}),
        cg.ConfigurationError,
        "would make the column 'status' 'status' and 'method'; map each",
    ),
    (
        "unknown",
        lambda: consent({"subject": "user"}),
        cg.ConfigurationError,
        "`columns` maps 'subject', but a consent snapshot has only 'covers_prior', .*; use these",
    ),
    (
        "the wrong way round",
        lambda: consent({"user": "subject_id"}),
        cg.ConfigurationError,
        "Write 'subject_id' first and 'user' second",
    ),
    (
        "an attribute",
        lambda: consent({"subject_id": "user", "tier": "account"}),
        cg.ConfigurationError,
        "`columns` maps 'tier'",
    ),
    ("no mapping", lambda: consent("user"), TypeError, "`columns` is of type 'str'"),
    ("no names", lambda: consent({"subject_id": 1}), TypeError, "`columns` is of type 'int'"),
    (
        "no text",
        lambda: consent({"subject_id": "\ud800"}),
        cg.ConfigurationError,
        "`columns` holds half of a surrogate pair",
    ),
]


@pytest.mark.parametrize(
    ("act", "error", "words"), [pytest.param(*fault[1:], id=fault[0]) for fault in FAULTS]
)
def test_a_faulty_map_is_refused(
    act: Callable[[], Any], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words) as caught:
        act()
    assert caught.type is error


def test_a_file_with_both_names_is_refused() -> None:
    table = consent_table().append_column("user", pa.array([1]))
    words = "`columns` says that 'user' is 'subject_id', but there is a column 'subject_id', too; d"
    with pytest.raises(cg.ColumnAmbiguousError, match=words):
        cg.ConsentSnapshot.from_arrow(table, as_of=AS_OF, columns={"subject_id": "user"})


def test_a_registry_has_columns_of_its_own() -> None:
    with pytest.raises(cg.ConfigurationError, match="a channel registry has only 'channel_id', 'p"):
        cg.ChannelRegistry.from_arrow(channel_table(), as_of=AS_OF, columns={"subject_id": "x"})
    both = channel_table().append_column("room", pa.array([1]))
    with pytest.raises(cg.ColumnAmbiguousError, match="'room' is 'channel_id', but"):
        cg.ChannelRegistry.from_arrow(both, as_of=AS_OF, columns={"channel_id": "room"})


def test_a_mapped_column_is_no_attribute() -> None:
    table = consent_table(tier="paid").rename_columns({"subject_id": "user"})
    snapshot = cg.ConsentSnapshot.from_arrow(table, as_of=AS_OF, columns={"subject_id": "user"})
    assert snapshot.table.column_names[-1] == "tier"
    assert "user" not in snapshot.table.column_names


def test_a_file_of_text_without_names_shows_no_cell(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("person-1,p,given\nperson-2,p,given\n")
    with pytest.raises(cg.ColumnMissingError, match="has no column 'user'; name the") as caught:
        cg.ConsentSnapshot.read(tmp_path / "x.csv", as_of=AS_OF, columns={"subject_id": "user"})
    assert "person-" not in str(caught.value)


def test_a_parquet_file_named_like_text_is_read_by_its_content(tmp_path: Path) -> None:
    pq.write_table(consent_table(), tmp_path / "x.csv")
    snapshot = cg.ConsentSnapshot.read(tmp_path / "x.csv", as_of=AS_OF)
    assert snapshot.digest == make_consent().digest
