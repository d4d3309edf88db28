"""The footers of Parquet files: what they say, and what is refused."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from consentgate.storage.parquet_footer import column_chunks, read_footer
from consentgate.storage.parquet_reading import open_parquet
from consentgate.storage.parquet_writing import FileForm
from tests.storage.mutants import columns


def test_footers_say_what_pyarrow_says_of_them(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    written: list[tuple[int, dict[str, Any]]] = [
        (8, {}),
        (104, {"compression": "zstd", "write_statistics": False}),
        (24, {"compression": {"c0": "gzip", "c1": "lz4"}, "write_page_index": True}),
        (9, {"compression": "none", "version": "1.0", "sorting_columns": []}),
    ]
    for count, options in written:
        pq.write_table(columns(count), path, row_group_size=20, **options)
        metadata = pq.read_metadata(path)
        groups = list(column_chunks(read_footer(path)))
        assert len(groups) == metadata.num_row_groups == 3
        for place, chunks in enumerate(groups):
            group = metadata.row_group(place)
            told = [group.column(leaf) for leaf in range(group.num_columns)]
            names = {"UNCOMPRESSED": "none"}
            assert [tuple(chunk) for chunk in chunks] == [
                (
                    column.path_in_schema,
                    names.get(column.compression, column.compression.lower()),
                    column.num_values,
                    column.total_uncompressed_size,
                )
                for column in told
            ]


@pytest.mark.parametrize("seed", range(4))
def test_a_damaged_footer_is_read_or_refused(seed: int) -> None:
    draws = random.Random(seed)
    sink = pa.BufferOutputStream()
    pq.write_table(columns(8), sink)
    footer = read_footer(pa.BufferReader(sink.getvalue()))
    for _ in range(200):
        octets = bytearray(
            footer[: draws.randrange(len(footer))] if draws.random() < 0.2 else footer
        )
        for _ in range(draws.randint(1, 4)):
            if octets:
                octets[draws.randrange(len(octets))] = draws.randrange(256)
        try:
            list(column_chunks(bytes(octets)))
        except pa.ArrowInvalid:
            continue


@pytest.mark.parametrize(
    "footer",
    [
        b"\x1c" * 100_000,  # structs within structs
        b"\x19" + b"\x19" * 100_000,  # lists within lists
        b"\x1b\x01\xbb" * 50_000,  # maps within maps
        b"\x16" + b"\xff" * 100_000,  # a number without an end
        b"\x18" + b"\xff" * 9 + b"\x01",  # a text longer than the footer
        b"\x19\xf1" + b"\xff" * 9 + b"\x01",  # a list of more truths than there is room for
    ],
)
def test_a_footer_that_never_ends_is_refused(footer: bytes) -> None:
    with pytest.raises(pa.ArrowInvalid, match=r"footer"):
        list(column_chunks(footer))


@pytest.mark.parametrize("content", [b"", b"PAR1", b"x" * 100, b"PAR1\xff\xff\xff\x7fPAR1"])
def test_a_file_without_a_footer_has_none(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(content)
    with pytest.raises((pa.ArrowInvalid, OSError), match=r"."):
        read_footer(tmp_path / "x")


def test_a_wide_file_keeps_its_codecs(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    pq.write_table(columns(104), path, compression={"c0": "gzip", "c1": "zstd", "c2": "none"})
    with open_parquet(path, columns=104) as file:
        form = FileForm.of(file)
    pq.write_table(columns(104), tmp_path / "y.parquet", **form.options)
    told = [
        next(column_chunks(read_footer(tmp_path / name))) for name in ("x.parquet", "y.parquet")
    ]
    assert [chunk.codec for chunk in told[0]] == [chunk.codec for chunk in told[1]]
