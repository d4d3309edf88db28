"""Runs: what they read, what they write, and what they refuse."""

from __future__ import annotations

import io
import json
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.fs as pa_fs
import pyarrow.parquet as pq
import pytest

import consentgate as cg
from consentgate.runs import file_judge, inventory
from consentgate.storage import parquet_reading
from consentgate.storage.folders import Folder
from consentgate.storage.locks import lock
from tests.build import AS_OF, MICRO, NOW, make_channels, make_consent, make_gate, message_table
from tests.run_data import (
    EVIDENCE,
    all_files,
    as_of,
    data_files,
    ledger_files,
    mixed_gate,
    mixed_messages,
    write_files,
)
from tests.runs.test_signing import write_keys

NAMES = ["a.parquet", "b.parquet", "deep/er/c.parquet"]


@pytest.fixture
def src(tmp_path: Path) -> Path:
    """A folder of three files of messages."""
    write_files(tmp_path / "src", NAMES)
    return tmp_path / "src"


@pytest.fixture
def dst(tmp_path: Path) -> Path:
    """A destination that is not there yet."""
    return tmp_path / "dst"


# what is written


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


def test_schema_and_metadata_are_the_inputs_plus_the_digests(src: Path, dst: Path) -> None:
    gate = mixed_gate()
    cg.run(gate, src, dst)
    before, after = (pq.read_schema(folder / "a.parquet") for folder in (src, dst))
    assert after.equals(before)
    evidence = {k.encode(): v.encode() for k, v in gate.evidence.items() if "names" not in k}
    evidence |= {b"consentgate.gate_digest": gate.digest.encode()}
    assert after.metadata == {b"owner": b"tests", **evidence}


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


def test_the_manifest_says_what_happened(src: Path, dst: Path) -> None:
    gate = mixed_gate()
    begun = datetime.now(UTC)
    manifest = cg.run(gate, src, dst)
    table = pa.concat_tables(pq.read_table(src / n, partitioning=None) for n in NAMES)
    decision = gate.decide(table)
    assert manifest.totals.model_dump() == {
        "rows": 1500,
        "admitted": decision.num_admitted,
        "excluded": decision.num_excluded,
        "counts": dict(decision.counts),
        "occurrences": dict(decision.occurrences),
    }
    assert manifest.policy == gate.policy
    assert manifest.columns == gate.columns
    assert manifest.judgement.gate_digest == gate.digest
    assert manifest.judgement.judged_at == NOW
    assert manifest.consent.as_of == AS_OF
    assert manifest.consent.source == "Arrow data"
    assert begun <= manifest.started_at <= manifest.finished_at <= datetime.now(UTC)
    assert [file.input.path for file in manifest.files] == sorted(NAMES)
    for file in manifest.files:
        path = src / file.input.path
        assert file.input.size_bytes == path.stat().st_size
        assert file.input.version == str(path.stat().st_mtime_ns)
    assert cg.Manifest.read(dst) == manifest


def test_the_manifest_is_the_last_thing_written(src: Path, dst: Path) -> None:
    cg.run(mixed_gate(), src, dst)
    times = {p: p.stat().st_mtime_ns for p in dst.rglob("*") if p.is_file() and p.name != "lock"}
    assert max(times, key=times.__getitem__) == dst / EVIDENCE / "manifest.json"


def test_nothing_but_files_that_are_named_is_left(src: Path, dst: Path) -> None:
    cg.run(mixed_gate(), src, dst)
    ledger = {f"{EVIDENCE}/ledger/{name}" for name in NAMES}
    evidence = {f"{EVIDENCE}/manifest.json", f"{EVIDENCE}/lock"}
    assert all_files(dst) == {*NAMES, *ledger, *evidence}


def test_the_json_schema_is_the_models() -> None:
    import json

    published = (Path(cg.__file__).parent / "runs/manifest.schema.json").read_text()
    assert json.loads(published) == cg.Manifest.model_json_schema()


@pytest.mark.parametrize("threads", [1, 2, 7])
@pytest.mark.parametrize("group", [7, 100_000])
def test_threads_do_not_change_a_byte(
    threads: int, group: int, tmp_path: Path, dst: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("consentgate.storage.parquet_reading.BATCH_BYTES", 2000)
    monkeypatch.setattr("consentgate.storage.parquet_writing.GROUP_BYTES", 5000)
    monkeypatch.setattr("consentgate.storage.parquet_reading._PROBE_ROWS", 10)
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
    monkeypatch.setattr(parquet_reading, "_DECODERS_BYTES", 50_000)
    with parquet_reading.open_parquet(tmp_path / "src" / "a.parquet", columns=28) as file:
        assert len(parquet_reading._slabs(file, 0)) > 3
    cg.run(mixed_gate(), tmp_path / "src", dst)
    assert data_files(dst) == data_files(tmp_path / "whole")
    assert ledger_files(dst) == ledger_files(tmp_path / "whole")


# sources


def test_a_single_file(src: Path, dst: Path) -> None:
    manifest = cg.run(mixed_gate(), src / "a.parquet", dst)
    assert data_files(dst).keys() == {"a.parquet"}
    assert manifest.source == str(src / "a.parquet")


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("*.parquet", {"a.parquet", "b.parquet"}),
        ("**/*.parquet", set(NAMES)),
        ("[ab].parquet", {"a.parquet", "b.parquet"}),
        ("?.parquet", {"a.parquet", "b.parquet"}),
        ("deep/*/*.parquet", {"deep/er/c.parquet"}),
    ],
)
def test_patterns(pattern: str, names: set[str], src: Path, dst: Path) -> None:
    cg.run(mixed_gate(), f"{src}/{pattern}", dst)
    shared = "" if pattern != "deep/*/*.parquet" else "deep/"
    assert data_files(dst).keys() == {name.removeprefix(shared) for name in names}


def test_relative_paths(src: Path, dst: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(src.parent)
    cg.run(mixed_gate(), "src", "dst")
    assert data_files(dst).keys() == set(NAMES)


def test_file_uris(src: Path, dst: Path) -> None:
    cg.run(mixed_gate(), f"file://{src}", f"file://{dst}")
    assert data_files(dst).keys() == set(NAMES)


@pytest.mark.parametrize("name", ["a b.parquet", "ä€.parquet", "a%20b.parquet", "a[1].parquet"])
def test_names_of_any_letters(name: str, tmp_path: Path, dst: Path) -> None:
    write_files(tmp_path / "src", [name])
    cg.run(mixed_gate(), tmp_path / "src", dst)
    cg.run(mixed_gate(), tmp_path / "src" / name, tmp_path / "single")
    assert data_files(dst) == data_files(tmp_path / "single")
    assert cg.audit(dst) == ()


def test_a_name_that_is_no_unicode(src: Path, dst: Path) -> None:
    (src / "a.parquet").rename(Path(os.fsdecode(os.fsencode(src / "\udcff.parquet"))))
    with pytest.raises(cg.SourceError, match="is no UTF-8"):
        cg.run(mixed_gate(), src, dst)


def test_hidden_files_are_no_messages(src: Path, dst: Path) -> None:
    for name in ("_SUCCESS", ".part.crc", "_temporary/x.parquet", ".git/y.parquet"):
        (src / name).parent.mkdir(exist_ok=True)
        (src / name).write_bytes(b"no Parquet")
    cg.run(mixed_gate(), src, dst)
    cg.run(mixed_gate(), f"{src}/**/*", dst.with_name("other"))
    assert data_files(dst).keys() == data_files(dst.with_name("other")).keys() == set(NAMES)


def test_a_runs_destination_can_be_anothers_source(src: Path, dst: Path) -> None:
    cg.run(mixed_gate(), src, dst)
    stricter = mixed_gate(notice_versions=["n9"])
    manifest = cg.run(stricter, dst, dst.with_name("stricter"))
    assert manifest.totals.admitted == 0
    metadata = pq.read_schema(dst.with_name("stricter") / "a.parquet").metadata
    assert metadata[b"consentgate.gate_digest"] == stricter.digest.encode()


def test_columns_that_folders_stand_for_are_judged(tmp_path: Path, dst: Path) -> None:
    table = message_table(sender_id=[1, 2, None]).drop("channel_id")
    for name in ("channel_id=10/a", "channel_id=11/b", "channel_id=__HIVE_DEFAULT_PARTITION__/c"):
        (tmp_path / "src" / name).parent.mkdir(parents=True)
        pq.write_table(table, tmp_path / "src" / name)
    manifest = cg.run(make_gate(), tmp_path / "src", dst)
    counts = {f.input.path: f.occurrences for f in manifest.files}
    assert manifest.totals.admitted == 1
    assert counts["channel_id=11/b"]["channel_unknown"] == 3
    assert counts["channel_id=__HIVE_DEFAULT_PARTITION__/c"]["channel_unknown"] == 3
    assert pq.read_table(dst / "channel_id=10/a", partitioning=None).equals(table.slice(0, 1))
    assert cg.audit(dst, gate=make_gate()) == ()


def test_folders_of_text_are_text(tmp_path: Path, dst: Path) -> None:
    consent = make_consent(subject_id=["007", "8"])
    for name in ("sender_id=007/a", "sender_id=8/b", "sender_id=a%20b/c"):
        (tmp_path / "src" / name).parent.mkdir(parents=True)
        pq.write_table(message_table().drop("sender_id"), tmp_path / "src" / name)
    manifest = cg.run(make_gate(consent), tmp_path / "src", dst)
    assert [file.output.rows for file in manifest.files] == [1, 1, 0]


def test_an_empty_folder_value_is_text(tmp_path: Path, dst: Path) -> None:
    for name in ("team=1/a", "team=/b"):
        (tmp_path / "src" / name).parent.mkdir(parents=True)
        pq.write_table(message_table(), tmp_path / "src" / name)
    rule = {"name": "none", "column": "team", "any_of": [""]}
    manifest = cg.run(make_gate(record_rules=[rule]), tmp_path / "src", dst)
    assert [f.output.rows for f in manifest.files] == [0, 1]


def test_a_column_that_folders_name_twice(tmp_path: Path, dst: Path) -> None:
    write_files(tmp_path / "src", ["team=a/team=b/c.parquet"])
    with pytest.raises(cg.SourceError, match="name one column twice"):
        cg.run(mixed_gate(), tmp_path / "src", dst)


def test_another_partitioning_judges_everything_anew(tmp_path: Path, dst: Path, spy: Spy) -> None:
    for name in ("x/y/a.parquet", "y/x/b.parquet"):
        (tmp_path / "src" / name).parent.mkdir(parents=True)
        pq.write_table(message_table(), tmp_path / "src" / name)
    gate = make_gate(record_rules=[{"name": "x", "column": "team", "any_of": ["x"]}])
    admitted = []
    for names in (["team", "day"], ["day", "team"]):
        parts = ds.partitioning(pa.schema([(name, pa.string()) for name in names]))
        dataset = ds.dataset(tmp_path / "src", format="parquet", partitioning=parts)
        manifest = cg.run(gate, dataset, dst)
        admitted.append([file.output.rows for file in manifest.files])
        assert len(spy.since()) == 2
        assert cg.audit(dst, gate=gate) == ()
    assert admitted == [[0, 1], [1, 0]]


def test_a_partition_column_without_plain_text(tmp_path: Path, dst: Path) -> None:
    write_files(tmp_path / "src", ["a.parquet"])
    (fragment,) = ds.dataset(tmp_path / "src", format="parquet").get_fragments()
    made = fragment.format.make_fragment(
        fragment.path, fragment.filesystem, ds.field("x") == pa.scalar(b"\xff")
    )
    schema = fragment.physical_schema.append(pa.field("x", pa.binary()))
    dataset = ds.FileSystemDataset([made], schema, fragment.format, fragment.filesystem)
    with pytest.raises(cg.ConfigurationError, match="has no plain text"):
        cg.run(mixed_gate(), dataset, dst)


def test_a_column_in_files_and_folders_is_ambiguous(tmp_path: Path, dst: Path) -> None:
    write_files(tmp_path / "src", ["channel_id=10/a.parquet"])
    with pytest.raises(cg.ColumnAmbiguousError, match="'channel_id'"):
        cg.run(mixed_gate(), tmp_path / "src", dst)
    assert not data_files(dst)


def test_every_folder_has_to_give_the_columns(tmp_path: Path, dst: Path) -> None:
    table = message_table().drop("channel_id")
    for name in ("channel_id=10/a", "b"):
        (tmp_path / "src" / name).parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(table, tmp_path / "src" / name)
    with pytest.raises(cg.ColumnMissingError, match="'channel_id'"):
        cg.run(make_gate(), tmp_path / "src", dst)


def test_record_ids_must_be_in_the_files(tmp_path: Path, dst: Path) -> None:
    (tmp_path / "src" / "message_id=1").mkdir(parents=True)
    table = message_table().drop("message_id")
    pq.write_table(table, tmp_path / "src" / "message_id=1" / "a")
    with pytest.raises(cg.ColumnMissingError, match="only in their folders' names"):
        cg.run(make_gate(), tmp_path / "src", dst)


def test_a_data_set(src: Path, dst: Path) -> None:
    manifest = cg.run(mixed_gate(), ds.dataset(src, format="parquet"), dst)
    assert data_files(dst).keys() == set(NAMES)
    assert manifest.source.endswith("src (data set)")


def test_a_data_set_with_partitions(tmp_path: Path, dst: Path) -> None:
    table = message_table(sender_id=[1, 2]).drop("channel_id")
    for name in ("10/a", "11/b"):
        (tmp_path / "src" / name).parent.mkdir(parents=True)
        pq.write_table(table, tmp_path / "src" / name)
    parts = ds.partitioning(pa.schema({"channel_id": pa.int64()}))
    dataset = ds.dataset(tmp_path / "src", format="parquet", partitioning=parts)
    manifest = cg.run(make_gate(), dataset, dst)
    assert [file.output.rows for file in manifest.files] == [1, 0]
    assert cg.audit(dst, gate=make_gate(), source=dataset) == ()


def some_row_groups(dataset: Any) -> Any:
    fragments = [f.subset(row_group_ids=[0]) for f in dataset.get_fragments()]
    return ds.FileSystemDataset(fragments, dataset.schema, dataset.format, dataset.filesystem)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda d: d.filter(ds.field("message_id") > 3), "filtered or projected"),
        (some_row_groups, "only some row groups"),
        (lambda d: ds.dataset([d]), "made of files"),
        (lambda d: d.to_table(), "made of files"),
        (lambda _d: 5, "made of files"),
    ],
)
def test_what_is_not_whole_files_is_refused(
    change: Callable[[Any], Any], words: str, src: Path, dst: Path
) -> None:
    with pytest.raises(cg.ConfigurationError, match=words):
        cg.run(mixed_gate(), change(ds.dataset(src, format="parquet")), dst)
    assert not dst.exists()


def test_a_data_set_of_another_format_is_refused(tmp_path: Path, dst: Path) -> None:
    ds.write_dataset(mixed_messages(5).select(["text"]), tmp_path / "src", format="csv")
    with pytest.raises(cg.ConfigurationError, match="not Parquet"):
        cg.run(mixed_gate(), ds.dataset(tmp_path / "src", format="csv"), dst)


def test_hidden_files_are_refused_where_they_are_named(src: Path, dst: Path) -> None:
    (src / "a.parquet").rename(src / "_a.parquet")
    for source in (src / "_a.parquet", ds.dataset([str(src / "_a.parquet")], format="parquet")):
        with pytest.raises(cg.ConfigurationError, match="begins with"):
            cg.run(mixed_gate(), source, dst)


def test_a_data_set_within_a_folder_of_its_own(src: Path, dst: Path) -> None:
    inner = pa_fs.SubTreeFileSystem(str(src), pa_fs.LocalFileSystem())
    dataset = ds.dataset("/", filesystem=inner, format="parquet")
    with pytest.raises(cg.OutputError, match="lies within the source"):
        cg.run(mixed_gate(), dataset, src / "clean")
    cg.run(mixed_gate(), dataset, dst)
    assert data_files(dst).keys() == set(NAMES)


def test_a_link_that_leads_back(src: Path, dst: Path) -> None:
    (src / "loop").symlink_to(src)
    with pytest.raises(cg.SourceError, match="is reached twice"):
        cg.run(mixed_gate(), src, dst)


def test_a_link_that_leads_nowhere_is_named(src: Path, dst: Path) -> None:
    (src / "lost.parquet").symlink_to(src.parent / "nowhere")
    fault = incomplete(mixed_gate(), src, dst, "1 of 4 files could not be judged, and 3 are done")
    assert "lost.parquet" in str(fault)


def test_links_elsewhere_are_followed(src: Path, tmp_path: Path, dst: Path) -> None:
    write_files(tmp_path / "other", ["d.parquet"])
    (src / "more").symlink_to(tmp_path / "other")
    cg.run(mixed_gate(), src, dst)
    assert data_files(dst).keys() == {*NAMES, "more/d.parquet"}


def test_a_source_that_links_to_the_destination(src: Path, dst: Path) -> None:
    cg.run(mixed_gate(), src, dst)
    (src / "clean").symlink_to(dst)
    with pytest.raises(cg.OutputError, match="or a part of the source in it"):
        cg.run(mixed_gate(), src, dst)


# going on


class Spy:
    """Counts which files are judged."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.judged: list[str] = []
        judge = file_judge.FileJudge.judge

        def spy(this: file_judge.FileJudge, found: inventory.InputFile) -> Any:
            self.judged.append(found.name)
            return judge(this, found)

        monkeypatch.setattr(file_judge.FileJudge, "judge", spy)

    def since(self) -> set[str]:
        """Those judged since the last call."""
        judged, self.judged = set(self.judged), []
        return judged


@pytest.fixture
def spy(monkeypatch: pytest.MonkeyPatch) -> Spy:
    """Counts which files are judged."""
    return Spy(monkeypatch)


def stop_after(count: int) -> Callable[[cg.Progress], None]:
    """Interrupts a run once so many files are done."""

    def report(progress: cg.Progress) -> None:
        if progress.files_done >= count:
            raise KeyboardInterrupt

    return report


def test_a_run_that_is_done_is_not_done_again(src: Path, dst: Path, spy: Spy) -> None:
    first = cg.run(mixed_gate(), src, dst)
    before = {p: p.stat().st_mtime_ns for p in dst.rglob("*") if p.name != "lock"}
    assert spy.since() == set(NAMES)
    assert cg.run(mixed_gate(), src, dst) == first
    assert not spy.since()
    assert before == {p: p.stat().st_mtime_ns for p in dst.rglob("*") if p.name != "lock"}


@pytest.mark.parametrize("count", [0, 1, 2, 3])
def test_an_interrupted_run_goes_on(count: int, src: Path, dst: Path, spy: Spy) -> None:
    with pytest.raises(KeyboardInterrupt):
        cg.run(mixed_gate(), src, dst, threads=1, on_progress=stop_after(count))
    assert not (dst / EVIDENCE / "manifest.json").exists()
    assert not (dst / EVIDENCE / "drafts").exists()
    done = data_files(dst).keys()
    assert len(done) == count
    spy.since()
    resumed = cg.run(mixed_gate(), src, dst)
    assert spy.since() == set(NAMES) - done
    whole = cg.run(mixed_gate(), src, dst.with_name("whole"))
    assert data_files(dst) == data_files(dst.with_name("whole"))
    assert (resumed.files, resumed.totals) == (whole.files, whole.totals)
    assert cg.audit(dst) == ()


def test_an_interrupted_run_keeps_its_instant(src: Path, dst: Path) -> None:
    consent = make_consent(subject_id=list(range(45)))
    gate = cg.Gate(cg.Policy(max_snapshot_age=None), consent, make_channels())
    gate = live(gate)
    begun = datetime.now(UTC)
    with pytest.raises(KeyboardInterrupt):
        cg.run(gate, src, dst, threads=1, on_progress=stop_after(1))
    stopped = datetime.now(UTC)
    manifest = cg.run(gate, src, dst)
    assert begun <= manifest.judgement.judged_at <= stopped
    assert begun <= manifest.started_at <= stopped


def test_an_interrupted_run_does_not_go_on_with_a_stale_snapshot(
    src: Path, dst: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = live(mixed_gate())
    with pytest.raises(KeyboardInterrupt):
        cg.run(gate, src, dst, threads=1, on_progress=stop_after(1))
    before = all_files(dst)
    later = time.time_ns() + 8 * 86_400 * 10**9
    monkeypatch.setattr(time, "time_ns", lambda: later)
    with pytest.raises(cg.StaleSnapshotError, match="8 days"):
        cg.run(gate, src, dst)
    assert all_files(dst) == before


def live(gate: cg.Gate) -> cg.Gate:
    """The gate, with a snapshot as of now, which reads the clock."""
    assert gate.consent is not None and gate.channels is not None
    now = datetime.now(UTC) - timedelta(minutes=1)
    consent = cg.ConsentSnapshot.from_arrow(gate.consent.table, as_of=now)
    channels = cg.ChannelRegistry.from_arrow(gate.channels.table, as_of=now)
    return cg.Gate(gate.policy, consent, channels)


def test_a_run_that_ended_is_followed_by_one_at_a_new_instant(
    src: Path, dst: Path, spy: Spy
) -> None:
    gate = live(mixed_gate(max_snapshot_age=None))
    first = cg.run(gate, src, dst)
    spy.since()
    second = cg.run(gate, src, dst)
    assert spy.since() == set(NAMES)
    assert second.previous == first.digest
    assert second.judgement.judged_at > first.judgement.judged_at


@pytest.mark.parametrize("complete", [True, False])
def test_a_new_gate_judges_everything_anew(complete: bool, src: Path, dst: Path, spy: Spy) -> None:
    if complete:
        first = cg.run(mixed_gate(), src, dst)
    else:
        with pytest.raises(KeyboardInterrupt):
            cg.run(mixed_gate(), src, dst, threads=1, on_progress=stop_after(2))
    spy.since()
    manifest = cg.run(as_of(make_gate(channels=make_channels(visibility="private"))), src, dst)
    assert spy.since() == set(NAMES)
    assert manifest.totals.admitted == 0
    assert manifest.previous == (first.digest if complete else None)
    assert cg.audit(dst) == ()


def test_another_version_judges_everything_anew(
    src: Path, dst: Path, spy: Spy, monkeypatch: pytest.MonkeyPatch
) -> None:
    cg.run(mixed_gate(), src, dst)
    spy.since()
    monkeypatch.setattr(sys.modules["consentgate.runs.runner"], "_VERSION", "0.2.0")
    cg.run(mixed_gate(), src, dst)
    assert spy.since() == set(NAMES)


def test_another_instant_judges_everything_anew(src: Path, dst: Path, spy: Spy) -> None:
    cg.run(mixed_gate(), src, dst)
    spy.since()
    cg.run(mixed_gate(), src, dst, judged_at=NOW + MICRO)
    assert spy.since() == set(NAMES)


def test_a_changed_file_is_judged_anew(src: Path, dst: Path, spy: Spy) -> None:
    first = cg.run(mixed_gate(), src, dst)
    spy.since()
    pq.write_table(mixed_messages(7), src / "b.parquet")
    second = cg.run(mixed_gate(), src, dst)
    assert spy.since() == {"b.parquet"}
    assert second.totals.rows == 1007
    assert second.previous == first.digest
    assert cg.audit(dst) == ()


def test_a_file_of_the_same_size_and_another_time_is_judged_anew(
    src: Path, dst: Path, spy: Spy
) -> None:
    cg.run(mixed_gate(), src, dst)
    spy.since()
    status = (src / "a.parquet").stat()
    os.utime(src / "a.parquet", ns=(status.st_atime_ns, status.st_mtime_ns + 1))
    cg.run(mixed_gate(), src, dst)
    assert spy.since() == {"a.parquet"}


def plain(rows: int, sender: int) -> bytes:
    """A file of messages of one sender; such files have the same size, whoever it is."""
    table = message_table(sender_id=[sender] * rows, message_id=list(range(rows)))
    content = io.BytesIO()
    pq.write_table(table, content, compression="none", use_dictionary=False, write_statistics=False)
    return content.getvalue()


@pytest.mark.parametrize("ended", [True, False])
@pytest.mark.parametrize("is_signed", [True, False])
@pytest.mark.parametrize("where", ["disk", "filesystem without times"])
def test_a_file_that_was_exchanged_quietly_is_judged_anew(
    where: str, is_signed: bool, ended: bool, tmp_path: Path, dst: Path, spy: Spy
) -> None:
    """Its size is the same, and its time of modification was put back, or there is none."""
    key = write_keys(tmp_path)[0] if is_signed else None
    place = tmp_path / "in"
    source: Any = place
    if where != "disk":
        memory: Any = import_module("fsspec").filesystem("memory")  # it ships no types
        place = Path("/", *tmp_path.parts[1:])
        wrapped = pa_fs.PyFileSystem(pa_fs.FSSpecHandler(memory))

    def put(name: str, sender: int) -> None:
        if where != "disk":
            memory.pipe(f"{place}/{name}", plain(20, sender))
            return
        place.mkdir(exist_ok=True)
        (place / name).write_bytes(plain(20, sender))
        os.utime(place / name, ns=(0, 10**18))

    def judge(dst: Path, **options: Any) -> cg.Manifest:
        given = source if where == "disk" else ds.dataset(str(place), filesystem=wrapped)
        return cg.run(mixed_gate(), given, dst, sign_with=key, threads=1, **options)

    for name in ("a.parquet", "b.parquet"):
        put(name, 1)
    with nullcontext() if ended else pytest.raises(KeyboardInterrupt):
        judge(dst, on_progress=None if ended else stop_after(1))
    (done, *_) = ledger_files(dst)
    put(done, 4)  # who withdrew
    spy.since()
    manifest = judge(dst)
    assert done in spy.since()
    assert (manifest.totals.rows, manifest.totals.admitted) == (40, 20)
    assert judge(dst) == manifest
    assert not spy.since()


def test_a_done_input_that_cannot_be_read_any_more_fails_alone(
    src: Path, dst: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cg.run(mixed_gate(), src, dst)
    fetched = Folder.fetched

    def fails(self: Folder, name: str) -> Any:
        if self.root == str(src) and name == "a.parquet":
            raise cg.UnreadableFileError("The disk is broken.")
        return fetched(self, name)

    monkeypatch.setattr(Folder, "fetched", fails)
    incomplete(mixed_gate(), src, dst, "1 of 3 files could not be judged, and 2 are done")


def test_an_added_file_is_judged_and_the_others_are_not(src: Path, dst: Path, spy: Spy) -> None:
    cg.run(mixed_gate(), src, dst)
    spy.since()
    write_files(src, ["new.parquet"])
    manifest = cg.run(mixed_gate(), src, dst)
    assert spy.since() == {"new.parquet"}
    assert len(manifest.files) == 4
    assert cg.audit(dst) == ()


def test_what_left_the_source_leaves_the_destination(src: Path, dst: Path) -> None:
    cg.run(mixed_gate(), src, dst)
    (src / "b.parquet").unlink()
    manifest = cg.run(mixed_gate(), src, dst)
    assert data_files(dst).keys() == ledger_files(dst).keys() == {NAMES[0], NAMES[2]}
    assert len(manifest.files) == 2
    assert cg.audit(dst) == ()


def test_an_output_that_is_gone_is_made_again(src: Path, dst: Path, spy: Spy) -> None:
    cg.run(mixed_gate(), src, dst)
    before = data_files(dst)
    spy.since()
    (dst / "a.parquet").unlink()
    (dst / "b.parquet").write_bytes(b"short")
    (dst / EVIDENCE / "ledger" / NAMES[2]).write_bytes(b"PAR1")
    cg.run(mixed_gate(), src, dst)
    assert spy.since() == set(NAMES)
    assert data_files(dst) == before


def forge_part(path: Path, change: Callable[[pa.Table], pa.Table]) -> None:
    """Alter a part of the ledger, and leave what it says of itself."""
    table, metadata = pq.read_table(path), pq.read_metadata(path).metadata
    del metadata[b"ARROW:schema"]
    pq.write_table(change(table).replace_schema_metadata(metadata), path)


@pytest.mark.parametrize("count", [1, 3])
def test_an_output_of_the_same_size_is_not_trusted(
    count: int, src: Path, dst: Path, spy: Spy
) -> None:
    with pytest.raises(KeyboardInterrupt):
        cg.run(mixed_gate(), src, dst, threads=1, on_progress=stop_after(count))
    if count == 3:
        cg.run(mixed_gate(), src, dst)
    name = min(data_files(dst))
    whole = (dst / name).read_bytes()
    (dst / name).write_bytes(whole[:100] + bytes([whole[100] ^ 1]) + whole[101:])
    spy.since()
    cg.run(mixed_gate(), src, dst)
    assert name in spy.since()
    assert (dst / name).read_bytes() == whole
    assert cg.audit(dst) == ()


@pytest.mark.parametrize(
    "change",
    [
        lambda t: t.slice(1),
        lambda t: pa.table({"x": t["row"]}),
        lambda t: t.append_column("x", t["row"]),
    ],
)
def test_a_part_of_the_ledger_that_does_not_add_up_is_not_trusted(
    change: Callable[[pa.Table], pa.Table], src: Path, dst: Path, spy: Spy
) -> None:
    cg.run(mixed_gate(), src, dst)
    spy.since()
    forge_part(dst / EVIDENCE / "ledger" / "a.parquet", change)
    cg.run(mixed_gate(), src, dst)
    assert spy.since() == {"a.parquet"}
    assert cg.audit(dst) == ()


def test_a_part_that_names_another_output_is_not_trusted(src: Path, dst: Path, spy: Spy) -> None:
    cg.run(mixed_gate(), src, dst)
    spy.since()
    path = dst / EVIDENCE / "ledger" / "a.parquet"
    table, metadata = pq.read_table(path), pq.read_metadata(path).metadata
    record = json.loads(metadata[b"consentgate.record"])
    record["outcome"]["output"]["path"] = "../../b.parquet"
    metadata = {b"consentgate.record": json.dumps(record).encode()}
    pq.write_table(table.replace_schema_metadata(metadata), path)
    cg.run(mixed_gate(), src, dst)
    assert spy.since() == {"a.parquet"}


def test_an_instant_of_long_ago_is_not_gone_on_with(src: Path, dst: Path) -> None:
    gate = live(mixed_gate(max_snapshot_age=None))
    with pytest.raises(KeyboardInterrupt):
        cg.run(gate, src, dst, threads=1, on_progress=stop_after(1))
    state = dst / EVIDENCE / "run.json"
    forged = json.loads(state.read_text())
    forged["judgement"]["judged_at"] = "2020-01-01T00:00:00Z"
    state.write_text(json.dumps(forged))
    begun = datetime.now(UTC)
    assert cg.run(gate, src, dst).judgement.judged_at >= begun


def test_outputs_of_another_gate_go_before_anything_is_judged(src: Path, dst: Path) -> None:
    """Whoever trains on an unfinished run must not train on what an older gate admitted."""
    cg.run(mixed_gate(), src, dst)
    with pytest.raises(KeyboardInterrupt):
        cg.run(as_of(make_gate()), src, dst, on_progress=stop_after(0))
    assert not data_files(dst)
    assert not ledger_files(dst)


def test_every_earlier_manifest_is_kept(src: Path, dst: Path) -> None:
    digests = [cg.run(mixed_gate(), src, dst, judged_at=NOW + n * MICRO).digest for n in range(4)]
    kept = {path.stem for path in (dst / EVIDENCE / "manifests").iterdir()}
    assert kept == set(digests[:-1])
    assert cg.audit(dst) == ()


# what is refused


def incomplete(gate: cg.Gate, src: Path, dst: Path, words: str, **options: Any) -> Exception:
    """Runs, expecting that some files cannot be judged; returns the first fault."""
    with pytest.raises(cg.RunIncompleteError, match=words) as caught:
        cg.run(gate, src, dst, **options)
    assert not (dst / EVIDENCE / "manifest.json").exists()
    assert isinstance(caught.value.__cause__, Exception)
    return caught.value.__cause__


def broken(kind: str, path: Path) -> None:
    """Make a file corrupt."""
    content = path.read_bytes()
    middle = len(content) // 3
    contents = {
        "empty": b"",
        "text": b"no Parquet at all",
        "cut": content[: len(content) // 2],
        "footer": content[:-400] + bytes(392) + content[-8:],
        "pages": content[:8] + bytes(middle) + content[8 + middle :],
    }
    path.write_bytes(contents[kind])


@pytest.mark.parametrize("kind", ["empty", "text", "cut", "footer", "pages"])
def test_a_corrupt_file_is_named_and_the_others_are_done(kind: str, src: Path, dst: Path) -> None:
    whole = (src / "b.parquet").read_bytes()
    broken(kind, src / "b.parquet")
    fault = incomplete(mixed_gate(), src, dst, "1 of 3 files could not be judged, and 2 are done")
    assert isinstance(fault, cg.UnreadableFileError)
    assert str(src / "b.parquet") in str(fault)
    assert data_files(dst).keys() == ledger_files(dst).keys() == {NAMES[0], NAMES[2]}
    (src / "b.parquet").write_bytes(whole)
    cg.run(mixed_gate(), src, dst)
    cg.run(mixed_gate(), src, dst.with_name("whole"))
    assert data_files(dst) == data_files(dst.with_name("whole"))


@pytest.mark.parametrize("kind", ["text", "pages"])
def test_fail_fast_stops_at_once(kind: str, src: Path, dst: Path, spy: Spy) -> None:
    pq.write_table(mixed_messages(5_000), src / "b.parquet", row_group_size=128)
    broken(kind, src / "b.parquet")
    incomplete(mixed_gate(), src, dst, "1 of 3 files", threads=1, fail_fast=True)
    assert spy.since() == (set() if kind == "text" else {"b.parquet"})
    assert not data_files(dst)


def test_all_files_may_be_corrupt(src: Path, dst: Path) -> None:
    for name in NAMES:
        broken("text", src / name)
    incomplete(mixed_gate(), src, dst, "3 of 3 files could not be judged, and 0 are done")


@pytest.mark.parametrize("what", ["nothing", "empty folder", "hidden files", "pattern"])
def test_a_source_without_files(what: str, tmp_path: Path, dst: Path) -> None:
    src = tmp_path / "src"
    if what != "nothing":
        src.mkdir()
    if what == "hidden files":
        (src / "_SUCCESS").touch()
    with pytest.raises(cg.SourceError, match=r"is not there|holds no files"):
        cg.run(mixed_gate(), src / "*.parquet" if what == "pattern" else src, dst)
    assert not dst.exists()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda t: t.drop("text"), "column 'text' is missing"),
        (lambda t: t.append_column("x", t["text"]), "column 'x' is additional"),
        (lambda t: t.select(t.column_names[::-1]), "the columns' order differs"),
        (
            lambda t: t.set_column(1, "sender_id", t["sender_id"].cast(pa.int32())),
            "column 'sender_id' is int32 instead of int64",
        ),
    ],
)
def test_files_of_differing_schemas(
    change: Callable[[pa.Table], pa.Table], words: str, src: Path, dst: Path
) -> None:
    table = mixed_messages(9)
    table = table.select(["message_id", "sender_id", "channel_id", "created_at", "text", "word"])
    for name in NAMES:
        pq.write_table(table, src / name)
    pq.write_table(change(table), src / "b.parquet")
    with pytest.raises(cg.SchemaMismatchError, match=words) as caught:
        cg.run(mixed_gate(), src, dst)
    for name in ("a.parquet", "b.parquet"):
        assert f"'{src / name}'" in str(caught.value)
    assert not data_files(dst)


def test_metadata_may_differ(src: Path, dst: Path) -> None:
    table = pq.read_table(src / "b.parquet").replace_schema_metadata({"other": "b"})
    pq.write_table(table, src / "b.parquet")
    cg.run(mixed_gate(), src, dst)
    assert pq.read_schema(dst / "b.parquet").metadata[b"other"] == b"b"


def test_a_destination_with_something_else(src: Path, dst: Path) -> None:
    dst.mkdir()
    (dst / "thesis.docx").touch()
    with pytest.raises(cg.OutputError, match=r"holds files, but no run, such as 'thesis.docx'"):
        cg.run(mixed_gate(), src, dst)
    assert all_files(dst) == {"thesis.docx"}


def test_a_destination_that_is_a_file(src: Path, dst: Path) -> None:
    dst.touch()
    with pytest.raises(cg.OutputError, match="is a file"):
        cg.run(mixed_gate(), src, dst)


@pytest.mark.parametrize("complete", [True, False])
def test_a_destination_with_a_run_of_another_source(complete: bool, src: Path, dst: Path) -> None:
    if complete:
        cg.run(mixed_gate(), src / "a.parquet", dst)
    else:
        with pytest.raises(KeyboardInterrupt):
            cg.run(mixed_gate(), src / "a.parquet", dst, on_progress=stop_after(0))
    before = all_files(dst)
    with pytest.raises(cg.OutputError, match=r"holds a run of '.*a.parquet', but the source"):
        cg.run(mixed_gate(), src, dst)
    assert all_files(dst) == before


def test_a_file_that_no_run_wrote_is_neither_kept_nor_removed(src: Path, dst: Path) -> None:
    cg.run(mixed_gate(), src, dst)
    pq.write_table(mixed_messages(3), dst / "ungated.parquet")
    with pytest.raises(
        cg.OutputError, match=r"a file that no run wrote, such as 'ungated.parquet'"
    ):
        cg.run(mixed_gate(), src, dst)
    assert (dst / "ungated.parquet").exists()


def test_a_file_of_somebody_elses_is_not_replaced(src: Path, dst: Path) -> None:
    """Not even once the source has one of that name."""
    cg.run(mixed_gate(), src, dst)
    (dst / "new.parquet").write_text("precious notes")
    write_files(src, ["new.parquet"])
    with pytest.raises(cg.OutputError, match=r"that no run wrote, such as 'new.parquet'"):
        cg.run(mixed_gate(), src, dst)
    assert (dst / "new.parquet").read_text() == "precious notes"


def test_an_output_of_another_run_is_not_removed(src: Path, dst: Path) -> None:
    cg.run(mixed_gate(), src, dst)
    shutil.copy(dst / "a.parquet", dst / "copy.parquet")
    with pytest.raises(cg.OutputError, match=r"that no run wrote, such as 'copy.parquet'"):
        cg.run(mixed_gate(), src, dst)
    assert (dst / "copy.parquet").exists()


@pytest.mark.parametrize("what", ["folder", "file", "dangling", "pipe"])
def test_links_and_pipes_in_a_destination(what: str, src: Path, dst: Path) -> None:
    """Else a run would remove or write the files that they lead to."""
    cg.run(mixed_gate(), src, dst)
    before = all_files(src)
    if what == "folder":
        shutil.rmtree(dst / "deep")
        (dst / "deep").symlink_to(src / "deep")
    elif what == "pipe":
        os.mkfifo(dst / EVIDENCE / "drafts")
    else:
        (dst / "a.parquet").unlink()
        (dst / "a.parquet").symlink_to(src / ("a.parquet" if what == "file" else "z"))
    with pytest.raises(cg.OutputError, match="is a link, or neither file nor folder"):
        cg.run(make_gate(), src, dst)
    assert all_files(src) == before
    assert cg.audit(dst) != ()


@pytest.mark.parametrize("place", ["src", "src/clean", "src/deep", "link"])
@pytest.mark.parametrize("pattern", ["", "/**/*.parquet"])
def test_a_destination_within_the_source(
    place: str, pattern: str, src: Path, tmp_path: Path
) -> None:
    (tmp_path / "link").symlink_to(src / "deep")
    before = all_files(src)
    with pytest.raises(cg.OutputError, match="lies within the source"):
        cg.run(mixed_gate(), f"{src}{pattern}", tmp_path / place)
    assert all_files(src) == before


def test_a_source_within_the_destination(src: Path, tmp_path: Path) -> None:
    with pytest.raises(cg.OutputError, match="or a part of the source in it"):
        cg.run(mixed_gate(), src, tmp_path)


def test_a_destination_beside_a_single_file(src: Path) -> None:
    cg.run(mixed_gate(), src / "a.parquet", src / "clean")
    assert data_files(src / "clean").keys() == {"a.parquet"}


def test_two_files_with_one_part_of_the_ledger(tmp_path: Path, dst: Path) -> None:
    write_files(tmp_path / "src", ["a", "a.parquet"])
    with pytest.raises(cg.ConfigurationError, match="would share"):
        cg.run(mixed_gate(), tmp_path / "src", dst)


def test_a_file_and_a_folder_that_share_a_part_of_the_ledger(tmp_path: Path, dst: Path) -> None:
    write_files(tmp_path / "src", ["x", "x.parquet/a.parquet"])
    with pytest.raises(cg.ConfigurationError, match="or a folder of it"):
        cg.run(mixed_gate(), tmp_path / "src", dst)


@pytest.mark.parametrize("make", [Path.mkdir, lambda p: p.symlink_to(p)])
def test_a_lock_that_is_none(make: Callable[[Path], None], src: Path, dst: Path) -> None:
    (dst / EVIDENCE).mkdir(parents=True)
    make(dst / EVIDENCE / "lock")
    with pytest.raises(cg.OutputError, match=r"Lock '.*' cannot be written|is a link"):
        cg.run(mixed_gate(), src, dst)


def test_two_runs_at_once(src: Path, dst: Path) -> None:
    (dst / EVIDENCE).mkdir(parents=True)
    with lock(Folder.at(dst)), pytest.raises(cg.DestinationBusyError, match="Another run"):
        cg.run(mixed_gate(), src, dst)
    assert not data_files(dst)
    cg.run(mixed_gate(), src, dst)


@pytest.mark.parametrize(
    ("gate", "error"),
    [
        (lambda: mixed_gate(max_snapshot_age="PT1H"), cg.StaleSnapshotError),
        (lambda: make_gate(columns=cg.Columns(subjects=("author",))), cg.ColumnMissingError),
        (lambda: make_gate(make_consent(subject_id=["a"])), cg.IdFamilyError),
        (
            lambda: make_gate(record_rules=[{"name": "r", "column": "x", "is_null": True}]),
            cg.RuleColumnMissingError,
        ),
    ],
)
def test_what_makes_judging_impossible_is_an_error_before_any_row(
    gate: Callable[[], cg.Gate], error: type[Exception], src: Path, dst: Path
) -> None:
    with pytest.raises(error):
        cg.run(gate(), src, dst)
    assert not data_files(dst)


def test_a_lost_row_fails_the_run(src: Path, dst: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    split = cg.Gate.split

    def lossy(self: cg.Gate, table: pa.Table, decision: Any, **options: Any) -> Any:
        admitted, excluded = split(self, table, decision, **options)
        return admitted.slice(1), excluded

    monkeypatch.setattr(cg.Gate, "split", lossy)
    with pytest.raises(cg.ConservationError, match="does not add up"):
        cg.run(mixed_gate(), src, dst)
    assert not data_files(dst)
    assert not ledger_files(dst)


def test_a_doubled_row_fails_the_run(src: Path, dst: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def doubling(*arguments: Any) -> Iterator[pa.RecordBatch]:
        for batch in batches(*arguments):
            yield batch
            yield batch.slice(0, 1)

    batches = parquet_reading.read_batches
    monkeypatch.setattr(file_judge, "read_batches", doubling)
    with pytest.raises(cg.ConservationError, match="does not add up"):
        cg.run(mixed_gate(), src, dst)
    assert not data_files(dst)


# sources that change


def meddle(monkeypatch: pytest.MonkeyPatch, change: Callable[[], None]) -> None:
    """Let something happen to the source once the first batch has been read."""
    batches = parquet_reading.read_batches

    def read(*arguments: Any) -> Iterator[pa.RecordBatch]:
        for place, batch in enumerate(batches(*arguments)):
            yield batch
            if place == 0:
                change()

    monkeypatch.setattr(file_judge, "read_batches", read)


@pytest.mark.parametrize(
    "how", ["vanishes", "rewritten", "replaced", "appended", "cut", "same", "fewer", "others"]
)
def test_a_file_that_changes_while_it_is_read(
    how: str, src: Path, dst: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, other = src / "b.parquet", src.parent / "other.parquet"
    pq.write_table(mixed_messages(500), other)
    changes: dict[str, Callable[[], object]] = {
        "vanishes": lambda: path.unlink(missing_ok=True),
        "rewritten": lambda: path.write_bytes(other.read_bytes()),
        "replaced": lambda: other.exists() and other.rename(path),
        "appended": lambda: path.write_bytes(path.read_bytes() + b"more"),
        "cut": lambda: os.truncate(path, 400),
        "same": lambda: rewrite_quietly(path),
        "fewer": lambda: pq.write_table(mixed_messages(3), path),
        "others": lambda: pq.write_table(mixed_messages(500).select(["text"]), path),
    }
    meddle(monkeypatch, lambda: (changes[how](), None)[1])
    monkeypatch.setattr("consentgate.storage.parquet_reading.BATCH_BYTES", 2000)
    fault = incomplete(mixed_gate(), src, dst, "'.*b.parquet'", threads=1)
    assert isinstance(fault, cg.SourceChangedError)
    assert data_files(dst).keys() == {NAMES[0], NAMES[2]}
    assert ledger_files(dst).keys() == {NAMES[0], NAMES[2]}


def rewrite_quietly(path: Path) -> None:
    """Change a byte and put the time of modification back."""
    status = path.stat()
    with path.open("r+b") as file:
        file.seek(200)
        file.write(b"\x00")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


@pytest.mark.parametrize("rows", [3, 900])
def test_a_file_that_changes_between_looking_and_judging(
    rows: int, src: Path, dst: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    judge = file_judge.FileJudge.judge

    def replaced(self: file_judge.FileJudge, found: inventory.InputFile) -> Any:
        if found.name == "b.parquet":
            pq.write_table(mixed_messages(rows), src / "b.parquet")
        return judge(self, found)

    monkeypatch.setattr(file_judge.FileJudge, "judge", replaced)
    fault = incomplete(mixed_gate(), src, dst, "1 of 3 files could not be judged, and 2 are done")
    assert isinstance(fault, cg.SourceChangedError)


def test_drafts_that_somebody_removes(
    src: Path, dst: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    meddle(monkeypatch, lambda: shutil.rmtree(dst / EVIDENCE / "drafts", ignore_errors=True))
    with pytest.raises(cg.OutputError, match="cannot be written"):
        cg.run(mixed_gate(), src, dst)
    assert not data_files(dst)


# progress


def test_progress_ends_at_everything(src: Path, dst: Path) -> None:
    seen: list[cg.Progress] = []
    manifest = cg.run(mixed_gate(), src, dst, on_progress=seen.append)
    assert seen[0] == cg.Progress(3, 1500, 0, 0, 0)
    assert seen[-1] == cg.Progress(3, 1500, 3, 1500, manifest.totals.admitted)
    assert all(a.rows_done <= b.rows_done for a, b in pairwise(seen))


def test_progress_of_a_resumed_run_counts_what_was_done(src: Path, dst: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        cg.run(mixed_gate(), src, dst, threads=1, on_progress=stop_after(2))
    seen: list[cg.Progress] = []
    manifest = cg.run(mixed_gate(), src, dst, on_progress=seen.append)
    assert (seen[0].files_done, seen[0].rows_done) == (2, 1000)
    assert seen[-1] == cg.Progress(3, 1500, 3, 1500, manifest.totals.admitted)
