"""Parquet files: batches of even sizes, and as many rows as were promised."""

from __future__ import annotations

import re
from itertools import combinations
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import consentgate as cg
from consentgate.inputs.files import read_table
from consentgate.storage import parquet_batches
from consentgate.storage.parquet_reading import open_parquet, promised_batches
from tests.build import AS_OF, consent_table
from tests.storage.reading import all_batches, whole_table


@pytest.mark.parametrize("short", [0, None])
def test_long_values_that_repeat_do_not_fill_the_memory(short: int | None, tmp_path: Path) -> None:
    rows, first = 2_000, 200
    indices = pa.array([short] * first + [1] * (rows - first), pa.int32())
    text = pa.DictionaryArray.from_arrays(indices, pa.array(["", "x" * (1 << 18)]))
    table = pa.table({"text": text, "place": range(rows)})
    pq.write_table(table, tmp_path / "small", store_schema=False, compression="zstd")
    assert (tmp_path / "small").stat().st_size < 1 << 20
    places, largest = [], 0
    for batch in parquet_batches.read_batches(open_parquet(tmp_path / "small", columns=2)):
        assert pa.types.is_string(batch.schema.field("text").type)
        places += batch["place"].to_pylist()
        largest = max(largest, batch.nbytes)
    assert places == list(range(rows))
    assert largest < 128 << 20


def test_short_rows_are_joined_into_large_batches(tmp_path: Path) -> None:
    table = pa.table({"place": range(100_000), "kind": pa.array(["a", "b"] * 50_000)})
    table = table.append_column("few", table["kind"].dictionary_encode())
    pq.write_table(table, tmp_path / "short")
    batches = list(parquet_batches.read_batches(open_parquet(tmp_path / "short", columns=3)))
    assert len(batches) == 1
    assert pa.Table.from_batches(batches).equals(table.unify_dictionaries().combine_chunks())


def one_column(rows: int) -> bytes:
    """A Parquet file of integers, whose footer holds every number of rows in one byte."""
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table({"a": range(rows)}), sink, row_group_size=rows // 2)
    content: bytes = sink.getvalue().to_pybytes()
    return content


def promises(content: bytes, rows: int) -> list[int]:
    """Where in a footer that number is the value of a field after the one before it."""
    footer = len(content) - 8 - int.from_bytes(content[-8:-4], "little")
    found = re.finditer(re.escape(bytes([0x16, 2 * rows])), content[footer:])
    return [footer + match.start() + 1 for match in found]


@pytest.mark.parametrize("said", [0, 5, 14, 16, 25, 50])
def test_a_footer_that_promises_another_number_of_rows_is_an_error(
    said: int, tmp_path: Path
) -> None:
    """Whichever two of the counts of groups, of their values and of the file are altered."""
    whole, path = one_column(30), tmp_path / "x.parquet"
    groups, totals = promises(whole, 15), promises(whole, 30)
    assert (len(groups), len(totals)) == (4, 1)
    path.write_bytes(whole)
    expected = read_table(path, {}, "a")
    places = groups + totals
    errors = 0
    for chosen in (c for size in (1, 2) for c in combinations(places, size)):
        content = bytearray(whole)
        for place in chosen:
            content[place] = 2 * (said if place in groups else 15 + said)
        path.write_bytes(content)
        for read in (whole_table, all_batches):
            try:
                assert read(path).equals(expected)
            except cg.UnreadableFileError:
                errors += 1
    assert errors > 10


def test_thirty_rows_of_a_promised_fifty_are_an_error(tmp_path: Path) -> None:
    content, path = bytearray(one_column(30)), tmp_path / "x.parquet"
    for place in promises(bytes(content), 15):
        content[place] = 2 * 25
    for place in promises(bytes(one_column(30)), 30):
        content[place] = 2 * 50
    path.write_bytes(content)
    assert pq.read_metadata(path).num_rows == 50
    for read in (whole_table, all_batches):
        with pytest.raises(cg.UnreadableFileError, match="truncated, corrupt or malformed"):
            read(path)
    with open_parquet(path) as file, pytest.raises(pa.ArrowInvalid, match="another number of rows"):
        list(promised_batches(file, 1_000, groups=[0]))
    with (
        open_parquet(path, columns=1) as file,
        pytest.raises(pa.ArrowInvalid, match="another number of rows"),
    ):
        list(parquet_batches.read_batches(file))


def test_text_that_is_not_utf8_in_parquet_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    pq.write_table(pa.table({"x": ["person-4711"] * 3}), path, compression="none")
    path.write_bytes(path.read_bytes().replace(b"person-4711", b"person-\xff\xfe\xfd\xfc"))
    for read in (whole_table, all_batches):
        with pytest.raises(
            cg.UnreadableFileError, match="truncated, corrupt or malformed"
        ) as caught:
            read(path)
        assert "person" not in str(caught.value)


def test_old_timestamps_that_microseconds_do_not_hold_are_refused_in_snapshots(
    tmp_path: Path,
) -> None:
    instants = pa.array([10**18 + 1], pa.timestamp("ns", "UTC"))
    table = consent_table(effective_from=instants)
    pq.write_table(table, tmp_path / "x.parquet", use_deprecated_int96_timestamps=True)
    with pytest.raises(cg.UnreadableFileError, match="INT96"):
        cg.ConsentSnapshot.read(tmp_path / "x.parquet", as_of=AS_OF)
