"""Columns that are not judged: read only where rows are admitted, and with the right rows."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import consentgate as cg
from consentgate.runs import row_copier
from tests.build import message_table
from tests.run_data import data_files, mixed_gate, mixed_messages
from tests.runs.running import incomplete

ROWS = 1_000


def write_groups(folder: Path, channels: list[int]) -> Path:
    """A file with a row group for each channel, whose pages have checksums and are plain."""
    table = message_table(
        message_id=list(range(ROWS * len(channels))),
        sender_id=1,
        channel_id=[channel for channel in channels for _ in range(ROWS)],
        text=[f"text {n} in {channel}" for channel in channels for n in range(ROWS)],
    )
    folder.mkdir()
    options = {"compression": "none", "use_dictionary": False, "write_page_checksum": True}
    pq.write_table(table, folder / "a.parquet", row_group_size=ROWS, **options)
    return folder / "a.parquet"


@pytest.fixture(autouse=True)
def _small_spans(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("consentgate.storage.parquet_batches.BATCH_BYTES", 10_000)


@pytest.mark.parametrize(("group", "is_needed"), [(0, False), (1, True), (2, False)])
def test_texts_of_a_row_group_are_read_only_if_a_row_of_it_is_admitted(
    group: int, is_needed: bool, tmp_path: Path, dst: Path
) -> None:
    channels = [11, 10, 12]
    path = write_groups(tmp_path / "src", channels)
    text = f"text 500 in {channels[group]}".encode()
    content = path.read_bytes()
    assert content.count(text) == 1
    path.write_bytes(content.replace(text, text.replace(b"text", b"xxxx")))
    if is_needed:
        incomplete(mixed_gate(), tmp_path / "src", dst, "1 of 1 files")
        return
    manifest = cg.run(mixed_gate(), tmp_path / "src", dst)
    assert (manifest.totals.rows, manifest.totals.admitted) == (3 * ROWS, ROWS)
    texts = pq.read_table(dst / "a.parquet")["text"].to_pylist()
    assert texts == [f"text {n} in 10" for n in range(ROWS)]


def test_rows_that_are_all_admitted_are_not_filtered(
    tmp_path: Path, dst: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_groups(tmp_path / "src", [10, 11, 10])
    monkeypatch.setattr(row_copier, "keep_valid_rows", None)
    cg.run(mixed_gate(), tmp_path / "src", dst)
    expected = mixed_gate().filter(pq.read_table(path))[0]
    written = pq.read_table(dst / "a.parquet")
    assert written.replace_schema_metadata(None).equals(expected.replace_schema_metadata(None))


def test_a_dictionary_of_rows_that_are_all_admitted_keeps_no_other_value(
    tmp_path: Path, dst: Path
) -> None:
    rows = 20
    words = pa.DictionaryArray.from_arrays(pa.array([0] * rows), pa.array(["used", "secret-4711"]))
    (tmp_path / "src").mkdir()
    pq.write_table(
        message_table(sender_id=1, channel_id=[10] * rows, word=words),
        tmp_path / "src" / "a.parquet",
        compression="none",
    )
    assert b"secret-4711" in (tmp_path / "src" / "a.parquet").read_bytes()
    manifest = cg.run(mixed_gate(), tmp_path / "src", dst)
    assert manifest.totals.admitted == rows
    assert b"secret-4711" not in (dst / "a.parquet").read_bytes()


@pytest.mark.parametrize("name", ["a.b", "text"])
def test_columns_that_their_names_do_not_tell_apart(name: str, tmp_path: Path, dst: Path) -> None:
    table = mixed_messages(5_000)
    nested = pa.array([{"b": n} for n in range(5_000)])
    table = table.append_column("a", nested).append_column(name, pa.array(range(5_000)))
    (tmp_path / "src").mkdir()
    pq.write_table(table, tmp_path / "src" / "a.parquet", row_group_size=1_000)
    cg.run(mixed_gate(), tmp_path / "src", dst)
    written = pq.ParquetFile(dst / "a.parquet").read()
    expected = mixed_gate().filter(table)[0]
    assert written.schema.names == table.schema.names
    for at in range(len(table.schema)):
        assert written.column(at).to_pylist() == expected.column(at).to_pylist()
    assert cg.audit(dst, gate=mixed_gate()) == ()


def test_files_without_other_columns(tmp_path: Path, dst: Path) -> None:
    table = mixed_messages(3_000).select(["sender_id", "channel_id", "created_at", "message_id"])
    (tmp_path / "src").mkdir()
    pq.write_table(table, tmp_path / "src" / "a.parquet")
    cg.run(mixed_gate(), tmp_path / "src", dst)
    assert data_files(dst).keys() == {"a.parquet"}
    expected = mixed_gate().filter(table)[0]
    assert pq.read_table(dst / "a.parquet").to_pylist() == expected.to_pylist()


def test_a_row_group_has_one_dictionary_for_many_batches(tmp_path: Path, dst: Path) -> None:
    rows = 20_000
    values = pa.array([f"word {n} of a long dictionary" for n in range(2_000)])
    words = pa.DictionaryArray.from_arrays(pa.array([n * 7 % 2_000 for n in range(rows)]), values)
    (tmp_path / "src").mkdir()
    pq.write_table(
        mixed_messages(rows).set_column(4, "word", words), tmp_path / "src" / "a.parquet"
    )
    cg.run(mixed_gate(), tmp_path / "src", dst)
    metadata = pq.read_metadata(dst / "a.parquet")
    assert metadata.num_row_groups == 1
    at = pq.read_schema(dst / "a.parquet").names.index("word")
    written = metadata.row_group(0).column(at).total_uncompressed_size
    assert written < sum(len(value) for value in values.to_pylist()) + 4 * rows
