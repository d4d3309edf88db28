"""Arrow IPC: streams that are cut off, footers that lie, and malformed values."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

import consentgate as cg
from tests.run_data import mixed_messages
from tests.storage.mutants import NEW_IPC
from tests.storage.reading import all_batches, whole_table


def ipc_stream(batches: int) -> bytes:
    """A stream of batches of ten messages."""
    table = mixed_messages(10 * batches).drop("word")
    sink = pa.BufferOutputStream()
    with NEW_IPC["arrows"](sink, table.schema) as writer:
        writer.write_table(table, max_chunksize=10)
    content: bytes = sink.getvalue().to_pybytes()
    return content


STREAMS: dict[str, Callable[[bytes], bytes]] = {
    "without its end": lambda whole: whole[:-8],
    "of one batch without its end": lambda whole: whole[: len(whole) // 2],
    "followed by another": lambda whole: whole + whole,
    "followed by a byte": lambda whole: whole + b"\0",
    "with another end in the middle": lambda whole: whole[:-8] + whole[-8:] + whole[-8:],
}


@pytest.mark.parametrize("how", STREAMS)
def test_a_stream_that_does_not_end_where_the_file_does_is_an_error(
    how: str, tmp_path: Path
) -> None:
    path, whole = tmp_path / "x.arrows", ipc_stream(3)
    path.write_bytes(whole)
    assert all_batches(path).num_rows == 30
    path.write_bytes(STREAMS[how](whole))
    for read in (whole_table, all_batches):
        with pytest.raises(cg.UnreadableFileError, match="truncated, corrupt or malformed"):
            read(path)


def test_a_stream_cut_off_between_two_batches_is_an_error(tmp_path: Path) -> None:
    path, whole = tmp_path / "x.arrows", ipc_stream(3)
    with pa.ipc.open_stream(whole) as reader, pa.BufferReader(whole) as source:
        messages = pa.ipc.MessageReader.open_stream(source)
        ends = [source.tell() for message in messages if message.type]
        assert reader.read_all().num_rows == 30
    for end in ends:
        path.write_bytes(whole[:end])
        with pytest.raises(cg.UnreadableFileError, match="truncated, corrupt or malformed"):
            all_batches(path)


def test_an_empty_stream_is_read(tmp_path: Path) -> None:
    schema = pa.schema([("message_id", pa.int64())])
    with NEW_IPC["arrows"](tmp_path / "x.arrows", schema):
        pass
    with NEW_IPC["arrow"](tmp_path / "x.arrow", schema):
        pass
    for name in ("x.arrows", "x.arrow"):
        assert all_batches(tmp_path / name) == schema.empty_table()


def test_an_ipc_file_whose_footer_lists_fewer_batches_is_an_error(tmp_path: Path) -> None:
    """Here the footer is one of a file with the same first batches."""
    table, parts = mixed_messages(30).drop("word"), {}
    for rows in (20, 30):
        sink = pa.BufferOutputStream()
        with NEW_IPC["arrow"](sink, table.schema) as writer:
            writer.write_table(table[:rows], max_chunksize=10)
        content = sink.getvalue().to_pybytes()
        footer = len(content) - 10 - int.from_bytes(content[-10:-6], "little")
        parts[rows] = content[:footer], content[footer:]
    path = tmp_path / "x.arrow"
    path.write_bytes(parts[30][0] + parts[30][1])
    assert all_batches(path) == table
    path.write_bytes(parts[30][0] + parts[20][1])
    with pytest.raises(cg.UnreadableFileError, match="truncated, corrupt or malformed"):
        all_batches(path)


def raw(kind: pa.DataType, rows: int, *buffers: bytes) -> pa.Array:
    """An array of buffers that nobody has looked at."""
    return pa.Array.from_buffers(kind, rows, [None, *map(pa.py_buffer, buffers)])


def views(*words: int) -> pa.Array:
    """One view of a text out of line: its length, prefix, buffer and offset."""
    return raw(pa.string_view(), 1, np.array(words, "<i4").tobytes(), b"x" * 80)


MALFORMED: dict[str, Callable[[], pa.Array]] = {
    "text that is not UTF-8": lambda: raw(
        pa.string(), 1, np.array([0, 2], "<i4").tobytes(), b"\xff\xfe"
    ),
    "offsets that go back": lambda: raw(
        pa.string(), 2, np.array([0, 5, 3], "<i4").tobytes(), b"abcdef"
    ),
    "a view beyond its buffer": lambda: views(40, 0x78787878, 0, 10**9),
    "a view of a buffer that is not there": lambda: views(40, 0x78787878, 7, 0),
    "a view at a negative offset": lambda: views(40, 0x78787878, 0, -5),
    "an index beyond its dictionary": lambda: pa.DictionaryArray.from_arrays(
        pa.array([100], pa.int8()), pa.array(["a"]), safe=False
    ),
    "a dictionary of malformed views": lambda: pa.DictionaryArray.from_arrays(
        pa.array([0], pa.int8()), views(40, 0x78787878, 0, 10**9), safe=False
    ),
    "a struct of malformed views": lambda: pa.StructArray.from_arrays(
        [views(40, 0x78787878, 3, 0)], ["x"]
    ),
    "a list of malformed views": lambda: pa.ListArray.from_arrays(
        pa.array([0, 1], pa.int32()), views(40, 0x78787878, 3, 0)
    ),
}


@pytest.mark.parametrize("make", NEW_IPC.values(), ids=NEW_IPC)
@pytest.mark.parametrize("fault", MALFORMED)
def test_malformed_values_in_ipc_are_an_error(fault: str, make: Any, tmp_path: Path) -> None:
    column = MALFORMED[fault]()
    batch = pa.RecordBatch.from_arrays([column], ["x"])
    with make(tmp_path / "x.arrow", batch.schema) as writer:
        writer.write_batch(batch)
    for read in (whole_table, all_batches):
        with pytest.raises(cg.UnreadableFileError, match="truncated, corrupt or malformed"):
            read(tmp_path / "x.arrow")
