"""Runs: the files that they write, and their types, compression and metadata."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import consentgate as cg
from consentgate.storage import parquet_batches
from consentgate.storage.parquet_reading import open_parquet
from tests.build import make_consent, make_gate, message_table
from tests.run_data import (
    EVIDENCE,
    data_files,
    ledger_files,
    mixed_gate,
    mixed_messages,
    write_files,
)
from tests.runs.running import NAMES, incomplete


def test_each_file_gives_its_admitted_rows_and_its_part_of_the_ledger(src: Path, dst: Path) -> None:
    gate = mixed_gate()
    cg.run(gate, src, dst)
    assert data_files(dst).keys() == ledger_files(dst).keys() == set(NAMES)
    for name in NAMES:
        admitted, excluded = gate.filter(pq.read_table(src / name, partitioning=None))
        written = pq.read_table(dst / name, partitioning=None)
        assert written.replace_schema_metadata().equals(admitted.replace_schema_metadata())
        ledger = pq.read_table(dst / EVIDENCE / "ledger" / name, partitioning=None)
        assert ledger.replace_schema_metadata().equals(excluded.replace_schema_metadata())
        assert 0 < admitted.num_rows < 500


def test_schema_and_metadata_are_the_inputs_plus_what_judged(src: Path, dst: Path) -> None:
    gate = mixed_gate()
    cg.run(gate, src, dst)
    before, after = (pq.read_schema(folder / "a.parquet") for folder in (src, dst))
    assert after.equals(before)
    identity = {k.encode(): v.encode() for k, v in gate.identity.to_metadata().items()}
    assert after.metadata == {b"owner": b"tests", **identity}


@pytest.mark.parametrize("codec", ["snappy", "gzip", "zstd", "brotli", "lz4", "none"])
def test_compression_is_the_inputs(codec: str, tmp_path: Path, dst: Path) -> None:
    write_files(tmp_path / "src", ["a.parquet"], compression=codec)
    cg.run(mixed_gate(), tmp_path / "src", dst)
    before, after = (
        pq.read_metadata(f / "a.parquet").row_group(0).to_dict()["columns"]
        for f in (tmp_path / "src", dst)
    )
    assert [c["compression"] for c in after] == [c["compression"] for c in before]


def test_compression_by_column_is_kept(tmp_path: Path, dst: Path) -> None:
    codecs = {"message_id": "gzip", "text": "zstd", "sender_id": "none"}
    codecs |= {"channel_id": "snappy", "created_at": "snappy", "word": "none"}
    write_files(tmp_path / "src", ["a.parquet"], compression=codecs)
    cg.run(mixed_gate(), tmp_path / "src", dst)
    group = pq.read_metadata(dst / "a.parquet").row_group(0)
    columns = [group.column(place) for place in range(group.num_columns)]
    found = {c.path_in_schema: c.compression.lower().replace("un", "") for c in columns}
    assert found == {k: v.replace("none", "compressed") for k, v in codecs.items()}


def test_a_file_without_admitted_rows_gives_an_empty_one(tmp_path: Path, dst: Path) -> None:
    (tmp_path / "src").mkdir()
    pq.write_table(message_table(sender_id=[7, 8, None]), tmp_path / "src" / "a.parquet")
    manifest = cg.run(make_gate(), tmp_path / "src", dst)
    written = pq.read_table(dst / "a.parquet")
    assert written.equals(message_table().schema.empty_table())
    assert manifest.totals.excluded == 3


def test_a_file_without_rows_gives_one(tmp_path: Path, dst: Path) -> None:
    (tmp_path / "src").mkdir()
    pq.write_table(message_table().schema.empty_table(), tmp_path / "src" / "a.parquet")
    manifest = cg.run(make_gate(), tmp_path / "src", dst)
    assert pq.read_table(dst / "a.parquet").num_rows == 0
    assert (manifest.totals.rows, len(manifest.files)) == (0, 1)


COLUMNS = {
    "uuid": pa.array([bytes(range(16))] * 3, pa.binary(16)).cast(pa.uuid()),
    "naive": pa.array([1, 2, None], pa.timestamp("ns")),
    "millis": pa.array([1, 2, None], pa.timestamp("ms", "Europe/Berlin")),
    "seconds": pa.array([1, 2, None], pa.timestamp("s")),
    "time": pa.array([1, 2, None], pa.time32("s")),
    "duration": pa.array([1, 2, None], pa.duration("us")),
    "decimal": pa.array([1, 2, None], pa.decimal128(9, 2)),
    "large": pa.array(["a", "b", None], pa.large_string()),
    "view": pa.array(["a", "b", None], pa.string_view()),
    "half": pa.array([1.5, 2.5, None], pa.float16()),
    "lists": pa.array([[1], [], None], pa.large_list(pa.int16())),
    "views": pa.array([[1], [], None], pa.list_view(pa.int16())),
    "fixed": pa.array([[1, 2], [3, 4], None], pa.list_(pa.int16(), 2)),
    "struct": pa.array([{"a": 1, "b": ["x"]}, {"a": None, "b": []}, None]),
    "map": pa.array([[("k", 1)], [], None], pa.map_(pa.string(), pa.int8())),
    "category": pa.array(["x", "y", None]).dictionary_encode(),
    "nulls": pa.nulls(3),
    "date": pa.array([1, 2, None], pa.date64()),
    "bytes": pa.array([b"\xff", b"", None]),
    "unsigned": pa.array([1, 2**32 - 1, None], pa.uint32()),
}


@pytest.mark.parametrize("name", COLUMNS)
@pytest.mark.parametrize("stores_schema", [True, False])
def test_columns_of_any_type_come_back_as_they_were(
    name: str, stores_schema: bool, tmp_path: Path, dst: Path
) -> None:
    table = message_table(sender_id=[1, None, 1]).append_column(name, COLUMNS[name])
    (tmp_path / "src").mkdir()
    pq.write_table(table, tmp_path / "src" / "a.parquet", store_schema=stores_schema)
    cg.run(make_gate(), tmp_path / "src", dst)
    before, after = (pq.ParquetFile(f / "a.parquet") for f in (tmp_path / "src", dst))
    assert after.schema_arrow.equals(before.schema_arrow)
    assert after.schema.to_arrow_schema().equals(before.schema.to_arrow_schema())
    expected = before.read().to_pylist()
    assert after.read().to_pylist() == [expected[0], expected[2]]
    assert (b"ARROW:schema" in after.metadata.metadata) is stores_schema


@pytest.mark.parametrize("item", [pl.String, pl.Int32])
def test_lists_of_a_fixed_size_of_0_are_refused(item: Any, tmp_path: Path, dst: Path) -> None:
    """Polars writes them. pyarrow 26 ends the process when it writes some, and reads none again."""
    (tmp_path / "src").mkdir()
    empty = pl.Series([[]] * 3, dtype=pl.Array(item, 0))
    messages = pl.DataFrame(message_table(sender_id=[1, 1, 1])).with_columns(x=empty)
    messages.write_parquet(tmp_path / "src" / "a.parquet")
    with pytest.raises(cg.ColumnTypeError, match=r"'x' is fixed_size_list<.*fixed size 0"):
        cg.run(make_gate(), tmp_path / "src", dst)
    assert not list(dst.glob("*.parquet"))


def test_columns_that_are_not_worth_a_dictionary_have_none(tmp_path: Path, dst: Path) -> None:
    """Whatever they hold, they come back as they were."""
    rows = 20_000
    words = pa.array([f"a rather long word {n}" for n in range(rows)])
    few = pa.array([f"word {n % 9}" for n in range(rows)])
    table = message_table(sender_id=[1, 2] * (rows // 2))
    for name, column in (("words", words), ("few", few)):
        table = table.append_column(name, column)
        table = table.append_column(f"{name} coded", column.dictionary_encode())
        table = table.append_column(f"{name} listed", pa.array([[w] for w in column.to_pylist()]))
    (tmp_path / "src").mkdir()
    pq.write_table(table, tmp_path / "src" / "a.parquet")
    cg.run(make_gate(), tmp_path / "src", dst)
    written = pq.ParquetFile(dst / "a.parquet")
    assert written.schema_arrow.equals(table.schema)
    assert written.read().to_pylist() == table.to_pylist()[::2]
    group = written.metadata.row_group(0)
    columns = [group.column(place) for place in range(group.num_columns)]
    coded = {c.path_in_schema.partition(".")[0] for c in columns if c.has_dictionary_page}
    assert not {name for name in coded if "words" in name}
    assert {"few", "few coded", "few listed"} <= coded


def test_timestamps_that_spark_writes_do_not_wrap_round(tmp_path: Path, dst: Path) -> None:
    """INT96 of the year 9999 is after the snapshot, and not in 1816."""
    created = pa.array([datetime(2025, 6, 1), datetime(9999, 12, 31)], pa.timestamp("us"))
    (tmp_path / "src").mkdir()
    pq.write_table(
        message_table(created_at=created),
        tmp_path / "src" / "a.parquet",
        use_deprecated_int96_timestamps=True,
    )
    consent = make_consent(covers_prior=True)
    gate = make_gate(consent, columns=cg.Columns(assume_timezone="UTC"))
    manifest = cg.run(gate, tmp_path / "src", dst)
    assert manifest.totals.counts == {"after_snapshot": 1}
    column = pq.ParquetFile(dst / "a.parquet").schema.column(2)
    assert (column.name, column.physical_type) == ("created_at", "INT96")


@pytest.mark.parametrize("stores_schema", [True, False])
def test_metadata_is_kept_whoever_wrote_the_file(
    stores_schema: bool, tmp_path: Path, dst: Path
) -> None:
    (tmp_path / "src").mkdir()
    table = mixed_messages(50)
    path = tmp_path / "src" / "a.parquet"
    with pq.ParquetWriter(path, table.schema, store_schema=stores_schema) as writer:
        writer.write_table(table)
        writer.add_key_value_metadata({"made by": "tests"})
    cg.run(mixed_gate(), tmp_path / "src", dst)
    before, after = (pq.read_metadata(f / "a.parquet").metadata for f in (tmp_path / "src", dst))
    assert after[b"consentgate.gate_digest"] == mixed_gate().digest.encode()
    assert after.get(b"owner") == before.get(b"owner")
    assert after.get(b"made by") == b"tests"
    assert (b"ARROW:schema" in after) is stores_schema
    assert cg.audit(dst, gate=mixed_gate()) == ()


def test_a_file_that_duckdb_wrote(tmp_path: Path, dst: Path) -> None:
    (tmp_path / "src").mkdir()
    price = pa.array([1] * 300, pa.decimal128(9, 2))
    messages = duckdb.from_arrow(mixed_messages(300).append_column("price", price))
    messages.write_parquet(f"{tmp_path}/src/a.parquet")
    cg.run(mixed_gate(), tmp_path / "src", dst)
    before, after = (pq.ParquetFile(f / "a.parquet") for f in (tmp_path / "src", dst))
    assert after.schema_arrow.equals(before.schema_arrow)
    kinds = [[f.schema.column(n).physical_type for n in range(7)] for f in (before, after)]
    assert kinds[0] == kinds[1]
    assert after.read().to_pylist() == mixed_gate().filter(before.read())[0].to_pylist()
    assert cg.audit(dst) == ()


SPRING = [datetime(2025, 6, 1)]

INEXACT = {
    "finer": pa.array([np.datetime64("2025-06-01T00:00:00.0000005", "ns")]),
    "nested": pa.array([SPRING], pa.list_(pa.timestamp("us"))),
}


@pytest.mark.parametrize("what", INEXACT)
def test_old_timestamps_that_microseconds_cannot_hold(what: str, tmp_path: Path, dst: Path) -> None:
    (tmp_path / "src").mkdir()
    table = message_table(created_at=pa.array(SPRING, pa.timestamp("us")))
    pq.write_table(
        table.append_column("x", INEXACT[what]),
        tmp_path / "src" / "a.parquet",
        use_deprecated_int96_timestamps=True,
    )
    gate = make_gate(columns=cg.Columns(assume_timezone="UTC"))
    fault = incomplete(gate, tmp_path / "src", dst, "1 of 1 files")
    assert "microseconds cannot hold exactly" in str(fault)
    assert not data_files(dst)


def test_old_timestamps_so_far_away_that_they_wrap_round(tmp_path: Path, dst: Path) -> None:
    """A day of the year 586,579 that would be read as one of 2025."""
    (tmp_path / "src").mkdir()
    path = tmp_path / "src" / "a.parquet"
    table = message_table(created_at=pa.array(SPRING, pa.timestamp("us")))
    pq.write_table(
        table, path, use_deprecated_int96_timestamps=True, compression="none", use_dictionary=False
    )
    day = (2460828).to_bytes(4, "little")  # the Julian day of 2025-06-01
    micros = (SPRING[0] - datetime(1970, 1, 1)) // timedelta(microseconds=1)
    days, rest = divmod(micros + 2**64, 86_400 * 10**6)
    old = bytes(8) + day
    new = (rest * 1000).to_bytes(8, "little") + (days + 2440588).to_bytes(4, "little")
    content = path.read_bytes()
    assert content.count(old) >= 1
    path.write_bytes(content.replace(old, new))
    gate = make_gate(columns=cg.Columns(assume_timezone="UTC"))
    fault = incomplete(gate, tmp_path / "src", dst, "1 of 1 files")
    assert "microseconds cannot hold exactly" in str(fault)


@pytest.mark.parametrize("threads", [1, 2, 7])
@pytest.mark.parametrize("group", [7, 100_000])
def test_threads_do_not_change_a_byte(
    threads: int, group: int, tmp_path: Path, dst: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("consentgate.storage.parquet_batches.BATCH_BYTES", 2000)
    monkeypatch.setattr("consentgate.storage.parquet_writing.GROUP_BYTES", 5000)
    monkeypatch.setattr("consentgate.storage.parquet_batches._PROBE_ROWS", 10)
    write_files(tmp_path / "src", NAMES, row_group_size=group)
    cg.run(mixed_gate(), tmp_path / "src", dst, threads=threads)
    cg.run(mixed_gate(), tmp_path / "src", tmp_path / "other", threads=1)
    assert data_files(dst) == data_files(tmp_path / "other")
    assert ledger_files(dst) == ledger_files(tmp_path / "other")
    assert pq.read_metadata(dst / "a.parquet").num_row_groups > 1
    whole = mixed_gate().filter(pq.read_table(tmp_path / "src" / "a.parquet"))
    assert pq.read_table(dst / "a.parquet").to_pylist() == whole[0].to_pylist()
    assert pq.read_table(dst / EVIDENCE / "ledger" / "a.parquet").equals(whole[1])


def test_wide_files_are_decoded_in_parts(
    tmp_path: Path, dst: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lists, structs and dictionaries too; the same bytes come out."""
    table = mixed_messages(3_000)
    for place in range(20):
        table = table.append_column(f"c{place}", pa.array(range(place, place + 3_000)))
    pairs = [{"a": n, "b": [str(n)] * (n % 3)} for n in range(3_000)]
    table = table.append_column("pairs", pa.array(pairs))
    table = table.append_column("kinds", table["text"].dictionary_encode())
    (tmp_path / "src").mkdir()
    pq.write_table(table, tmp_path / "src" / "a.parquet", row_group_size=1_000)
    cg.run(mixed_gate(), tmp_path / "src", tmp_path / "whole")
    monkeypatch.setattr(parquet_batches, "_DECODERS_BYTES", 50_000)
    with open_parquet(tmp_path / "src" / "a.parquet", columns=28) as file:
        assert len(parquet_batches.BatchReader(file)._slabs(0)) > 3
    cg.run(mixed_gate(), tmp_path / "src", dst)
    assert data_files(dst) == data_files(tmp_path / "whole")
    assert ledger_files(dst) == ledger_files(tmp_path / "whole")
