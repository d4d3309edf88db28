"""Columns that folders stand for."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

import consentgate as cg
from tests.build import make_consent, make_gate, message_table
from tests.run_data import data_files, mixed_gate, write_files
from tests.runs.running import Spy


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
