"""Files that are not what they seem: pipes, devices, odd names, too few rows, flipped bytes."""

from __future__ import annotations

import json
import os
import random
import re
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import consentgate as cg
from consentgate.inputs.files import MessageFile, read_table
from consentgate.storage import durable, json_depth, parquet_reading
from consentgate.storage.durable import check_regular, open_regular, read_regular, replacing
from consentgate.storage.folders import Folder
from consentgate.storage.json_depth import MOST_LEVELS, json_levels
from consentgate.storage.layout import LOCK
from consentgate.storage.parquet_footer import column_chunks, read_footer
from consentgate.storage.parquet_reading import open_parquet, promised_batches
from consentgate.storage.parquet_writing import FileForm
from tests.build import AS_OF, consent_table, make_gate, message_table
from tests.command import Outcome, Runner, judge
from tests.inputs.mutants import NEW_IPC, columns
from tests.run_data import mixed_messages, write_files

ROOT = Path(__file__).parents[2]


# --- pipes, devices, sockets, folders -------------------------------------------------------


def make_odd(kind: str, path: Path) -> None:
    """Something that is no regular file."""
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "link to a pipe":
        os.mkfifo(path.with_suffix(".pipe"))
        path.symlink_to(path.with_suffix(".pipe"))
    elif kind == "device":
        path.symlink_to("/dev/zero")
    elif kind == "folder":
        path.mkdir()
    else:
        (path.parent / "s").mkdir()
        with closing(socket.socket(socket.AF_UNIX)) as bound:
            bound.bind(str(path.parent / "s" / "s"))
        path.symlink_to(path.parent / "s" / "s")


ODD = ["pipe", "link to a pipe", "device", "folder", "socket"]
WORDS = "it is a (named pipe|device|folder|socket), not a regular file"


def read_twice(folder: Folder, name: str) -> None:
    with folder.fetched(name):
        pass


READERS: dict[str, Callable[[Path], object]] = {
    "snapshot": lambda path: cg.ConsentSnapshot.read(path, as_of=AS_OF),
    "registry": lambda path: cg.ChannelRegistry.read(path, as_of=AS_OF),
    "messages": MessageFile.open,
    "batches": lambda path: list(MessageFile(path, pa.schema([]), None).batches()),
    "gate": cg.Gate.open,
    "folder read": lambda path: Folder.at(path.parent).read(path.name),
    "folder stamp": lambda path: Folder.at(path.parent).stamp(path.name),
    "folder opened": lambda path: Folder.at(path.parent).opened(path.name).__enter__(),
    "folder fetched": lambda path: read_twice(Folder.at(path.parent), path.name),
    "folder pieces": lambda path: list(Folder.at(path.parent).pieces(path.name)),
}


@pytest.mark.parametrize("kind", ODD)
@pytest.mark.parametrize("reader", READERS)
def test_what_is_no_regular_file_is_not_read(reader: str, kind: str, tmp_path: Path) -> None:
    make_odd(kind, tmp_path / "x.csv")
    with pytest.raises(cg.UnreadableFileError, match=WORDS):
        READERS[reader](tmp_path / "x.csv")


@pytest.mark.parametrize("kind", ["pipe", "device", "socket"])
def test_what_is_no_regular_file_is_not_left_out_of_a_run(kind: str, tmp_path: Path) -> None:
    write_files(tmp_path / "src", ["a.parquet"])
    make_odd(kind, tmp_path / "x")
    (tmp_path / "x").rename(tmp_path / "src" / "b.parquet")
    with pytest.raises(cg.RunIncompleteError, match=WORDS):
        cg.run(make_gate(), tmp_path / "src", tmp_path / "dst")


WRITERS: dict[str, Callable[[Path], object]] = {
    "gate": lambda path: make_gate().save(path),
    "folder write": lambda path: Folder.at(path.parent).write(path.name, b"x"),
    "folder publish": lambda path: Folder.at(path.parent).publish(
        path.with_name("draft"), path.name
    ),
}


@pytest.mark.parametrize("kind", ODD)
@pytest.mark.parametrize("writer", WRITERS)
def test_what_is_no_regular_file_is_not_replaced(writer: str, kind: str, tmp_path: Path) -> None:
    make_odd(kind, tmp_path / "x")
    (tmp_path / "draft").write_bytes(b"x")
    before = sorted(tmp_path.iterdir())
    with pytest.raises(cg.OutputError, match=WORDS):
        WRITERS[writer](tmp_path / "x")
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize("kind", ODD)
@pytest.mark.parametrize("name", ["current.json", LOCK, "gate"])
def test_a_store_with_a_pipe_in_it_is_an_error(name: str, kind: str, tmp_path: Path) -> None:
    store = cg.GateStore(tmp_path / "gates")
    published = store.publish(make_gate_of_today())
    path = tmp_path / "gates" / (published.name if name == "gate" else name)
    path.unlink()
    make_odd(kind, path)
    error = cg.OutputError if name == LOCK else cg.UnreadableFileError
    with pytest.raises(error, match=WORDS):
        store.publish(make_gate_of_today())
    if name != LOCK:
        for act in (store.current, store.live):
            with pytest.raises(cg.UnreadableFileError, match=WORDS):
                act()


def make_gate_of_today() -> cg.Gate:
    """A gate without an instant of its own, whose snapshot has no age limit."""
    consent = cg.ConsentSnapshot.from_arrow(consent_table(), as_of=AS_OF)
    columns = cg.Columns(channels=(), visibility="visibility")
    return cg.Gate(cg.Policy(max_snapshot_age=None), consent, columns=columns)


@pytest.fixture
def filtered(folder: Path, run: Runner) -> Callable[..., Outcome]:
    """`consentgate filter` of the messages in `folder`, and of other files."""
    pq.write_table(message_table(), folder / "messages.parquet")
    return partial(run, "filter", "messages.parquet", "--out", "out", *judge())


@pytest.mark.parametrize("kind", ["pipe", "device"])
@pytest.mark.parametrize("name", ["admitted.parquet", "excluded.parquet"])
def test_the_command_line_replaces_no_pipe(
    name: str, kind: str, folder: Path, filtered: Callable[..., Outcome]
) -> None:
    (folder / "out").mkdir()
    make_odd(kind, folder / "out" / name)
    done = filtered("--overwrite")
    assert (done.code, "[output]" in done.err) == (1, True)
    assert [path.name for path in (folder / "out").iterdir()] == [name]


@pytest.mark.parametrize("name", ["messages", "consent", "channels"])
def test_the_command_line_reads_no_pipe(
    name: str, folder: Path, filtered: Callable[..., Outcome]
) -> None:
    (folder / f"{name}.parquet").unlink()
    os.mkfifo(folder / f"{name}.parquet")
    done = filtered()
    assert (done.code, "[unreadable_file]" in done.err) == (1, True)
    assert not (folder / "out").exists()


@pytest.mark.parametrize("link", ["symlink", "hard link", "the same"])
def test_a_file_that_is_named_twice_is_judged_by_nobody(
    link: str, folder: Path, filtered: Callable[..., Outcome]
) -> None:
    other = folder / ("messages.parquet" if link == "the same" else "other.parquet")
    if link == "symlink":
        other.symlink_to("messages.parquet")
    elif link == "hard link":
        os.link(folder / "messages.parquet", other)
    done = filtered(other.name)
    assert (done.code, "are one file" in done.err, "[source]" in done.err) == (1, True, True)


def test_small_files_have_a_largest_size(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.touch()
    os.truncate(path, 10**12)
    with pytest.raises(OSError, match="has 1,000,000,000,000 bytes, but at most 16,777,216 are"):
        read_regular(path)
    with pytest.raises(cg.UnreadableFileError, match="at most 1,073,741,824 are read"):
        Folder.at(tmp_path).read("x")
    (tmp_path / "gates").mkdir()
    path.rename(tmp_path / "gates" / "current.json")
    with pytest.raises(cg.UnreadableFileError, match="at most 65,536 are read"):
        cg.GateStore(tmp_path / "gates").current()
    path.write_bytes(b"x" * 10)
    assert read_regular(path, most_bytes=10) == b"x" * 10
    assert check_regular(path, most_bytes=10).st_size == 10
    with pytest.raises(OSError, match="at most 9"):
        open_regular(path, most_bytes=9)


def test_a_file_that_grows_while_it_is_read_is_not_read_beyond_its_most(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "x").write_bytes(b"x" * 10)
    monkeypatch.setattr(durable, "open_regular", lambda path, **_: path.open("rb"))
    with pytest.raises(OSError, match="it has 6 bytes, but at most 5 are read"):
        read_regular(tmp_path / "x", most_bytes=5)


# --- names ----------------------------------------------------------------------------------

NAMES = {
    "a NUL": "x\0y",
    "too long": "x" * 300,
    "not UTF-8": "x\udcff",
    "a lone surrogate": "x\ud800",
    "a path that is too long": "x" * 200 + ("/" + "y" * 200) * 30,
}


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
@pytest.mark.parametrize("reader", READERS)
def test_a_path_that_cannot_be_is_not_read(reader: str, name: str, tmp_path: Path) -> None:
    path = tmp_path / f"{name}.csv"
    if (reader, name) == ("folder read", NAMES["not UTF-8"]):
        assert READERS[reader](path) is None  # Linux can have such a file
        return
    with pytest.raises(cg.FileError, match=r"\.$"):
        READERS[reader](path)


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
@pytest.mark.parametrize("writer", WRITERS)
def test_a_path_that_cannot_be_is_not_written(writer: str, name: str, tmp_path: Path) -> None:
    (tmp_path / "draft").write_bytes(b"x")
    with pytest.raises(cg.FileError, match=r"\.$"):
        WRITERS[writer](tmp_path / name)
    assert [path.name for path in tmp_path.iterdir()] == ["draft"]


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
def test_a_store_whose_path_cannot_be_is_an_error(name: str, tmp_path: Path) -> None:
    for act in (
        lambda: cg.GateStore(tmp_path / name).publish(make_gate_of_today()),
        lambda: cg.GateStore(tmp_path / name).current(),
        lambda: cg.GateStore(tmp_path / name).prune(keep=1),
        lambda: Folder.at(tmp_path / name).listing(),
    ):
        with pytest.raises(cg.FileError, match=r"\.$"):
            act()


@pytest.mark.parametrize("short", [0, None])
def test_long_values_that_repeat_do_not_fill_the_memory(short: int | None, tmp_path: Path) -> None:
    rows, first = 2_000, 200
    indices = pa.array([short] * first + [1] * (rows - first), pa.int32())
    text = pa.DictionaryArray.from_arrays(indices, pa.array(["", "x" * (1 << 18)]))
    table = pa.table({"text": text, "place": range(rows)})
    pq.write_table(table, tmp_path / "small", store_schema=False, compression="zstd")
    assert (tmp_path / "small").stat().st_size < 1 << 20
    places, largest = [], 0
    for batch in parquet_reading.read_batches(open_parquet(tmp_path / "small", columns=2)):
        assert pa.types.is_string(batch.schema.field("text").type)
        places += batch["place"].to_pylist()
        largest = max(largest, batch.nbytes)
    assert places == list(range(rows))
    assert largest < 128 << 20


def test_short_rows_are_joined_into_large_batches(tmp_path: Path) -> None:
    table = pa.table({"place": range(100_000), "kind": pa.array(["a", "b"] * 50_000)})
    table = table.append_column("few", table["kind"].dictionary_encode())
    pq.write_table(table, tmp_path / "short")
    batches = list(parquet_reading.read_batches(open_parquet(tmp_path / "short", columns=3)))
    assert len(batches) == 1
    assert pa.Table.from_batches(batches).equals(table.unify_dictionaries().combine_chunks())


RELATIVE: dict[str, Callable[[], object]] = {
    "run": lambda: cg.run(make_gate(), "src", "dst"),
    "audit": lambda: cg.audit("dst"),
    "store": lambda: cg.GateStore("gates"),
    "cache": lambda: cg.GateStore("/gates", cache="cache"),
    "save": lambda: make_gate().save("gate"),
    "open": lambda: cg.Gate.open("gate"),
    "policy": lambda: cg.Policy.load("policy.toml"),
    "snapshot": lambda: cg.ConsentSnapshot.read("consent.parquet"),
    "stream": lambda: make_gate().stream([message_table()], ledger="ledger").read_all(),
}


@pytest.mark.parametrize("act", RELATIVE.values(), ids=RELATIVE)
def test_a_working_directory_that_is_gone_is_an_error(
    act: Callable[[], object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    with pytest.raises((cg.FileError, cg.PolicyError), match=r"\.$"):
        act()


def test_a_file_uri_has_no_query(tmp_path: Path) -> None:
    with pytest.raises(cg.SourceError, match="not a URI of a file"):
        Folder.at(f"file://{tmp_path}/x?y=1")
    assert Folder.at(f"file://{tmp_path}/x%3Fy=1").root == f"{tmp_path}/x?y=1"


@pytest.mark.parametrize("name", ["x" * 255, "ü" * 127, "x" * 238])
def test_a_name_may_be_as_long_as_the_system_lets_it(name: str, tmp_path: Path) -> None:
    gate = make_gate()
    gate.save(tmp_path / name)
    assert cg.Gate.open(tmp_path / name).digest == gate.digest
    assert [path.name for path in tmp_path.iterdir()] == [name]
    with replacing(tmp_path / name, "It") as file:
        file.write(b"x")
    assert (tmp_path / name).read_bytes() == b"x"


# --- as many rows as were promised ----------------------------------------------------------


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


def whole_table(path: Path) -> pa.Table:
    """What a file holds, read as a snapshot is."""
    return read_table(path, {}, "x")


def all_batches(path: Path) -> pa.Table:
    """What a file of messages holds."""
    file = MessageFile.open(path)
    return pa.Table.from_batches(file.batches(), file.schema)


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
        list(parquet_reading.read_batches(file))


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


# --- flipped bytes --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "count"),
    [("narrow", 300), ("wide", 80), ("file", 300), ("stream", 300), ("csv", 300), ("jsonl", 300)],
)
def test_no_flipped_byte_ends_the_process(kind: str, count: int) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.inputs.mutants", kind, "4", str(count)],
        capture_output=True,
        text=True,
        timeout=120,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stderr[-2_000:]
    ends = json.loads(done.stdout.replace("'", '"'))
    assert set(ends) <= {"read", "unreadable_file", "column_type"}
    assert min(ends["read"], ends["unreadable_file"]) > count / 20


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


# --- malformed values -----------------------------------------------------------------------


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


@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize("form", ["parquet", "arrow", "arrows"])
def test_a_name_that_is_not_utf8_is_an_error(form: str, nested: bool, tmp_path: Path) -> None:
    path = tmp_path / f"x.{form}"
    inner = pa.array([{"inner-name": 1}]) if nested else pa.array([1])
    table = pa.table({"column" if nested else "inner-name": inner})
    if form == "parquet":
        pq.write_table(table, path, store_schema=False)
    else:
        with NEW_IPC[form](path, table.schema) as w:
            w.write_table(table)
    path.write_bytes(path.read_bytes().replace(b"inner-name", b"inner\xff\xfeame"))
    for read in (whole_table, MessageFile.open):
        with pytest.raises(cg.UnreadableFileError, match="truncated, corrupt or malformed"):
            read(path)


@pytest.mark.parametrize("levels", [500, 3_000])
@pytest.mark.parametrize("form", ["parquet", "arrow", "arrows"])
def test_columns_that_are_nested_deeply_are_an_error(
    form: str, levels: int, tmp_path: Path
) -> None:
    kind, path = pa.int64(), tmp_path / f"x.{form}"
    for _ in range(levels):
        kind = pa.list_(kind)
    table = pa.table({"x": pa.nulls(1, kind)})
    if form == "parquet":
        pq.write_table(table, path, store_schema=False)
    else:
        with NEW_IPC[form](path, table.schema) as w:
            assert w  # pyarrow writes the schema, but no batch
    for read in (whole_table, MessageFile.open):
        with pytest.raises(cg.UnreadableFileError, match=r"write it anew"):
            read(path)


# --- JSON -----------------------------------------------------------------------------------


def levels_of(value: Any) -> int:
    """How many objects and lists lie within each other."""
    if isinstance(value, dict):
        value = list(value.values())
    return 1 + max(map(levels_of, value), default=0) if isinstance(value, list) else 0


TEXTS = ["a", "[[[{", "]]]]", "\\", '"', '\\"[[', "]\n[", "x\\\\", "\u2028[", "ü{"]


def draw_json(draws: random.Random, levels: int) -> Any:
    """Any value of JSON, with brackets and quotes in its strings."""
    if levels == 0 or draws.random() < 0.3:
        return draws.choice([1, None, True, *TEXTS])
    if draws.random() < 0.5:
        return [draw_json(draws, levels - 1) for _ in range(draws.randint(0, 3))]
    return {draws.choice(TEXTS): draw_json(draws, levels - 1) for _ in range(draws.randint(0, 3))}


@pytest.mark.parametrize("seed", range(5))
def test_the_levels_of_json_are_counted(seed: int) -> None:
    draws = random.Random(seed)
    for _ in range(200):
        values = [draw_json(draws, draws.randint(0, 7)) for _ in range(3)]
        is_ascii, indent = draws.random() < 0.5, draws.choice([None, 1])
        lines = [json.dumps(value, indent=indent, ensure_ascii=is_ascii) for value in values]
        text = "\n".join(lines).encode()
        cut = draws.randrange(len(text))
        parts = [text] if text[:cut].endswith(b"\\") else [text[:cut], text[cut:]]
        assert json_levels(parts) == max(map(levels_of, values))


@pytest.mark.parametrize(
    "before",
    [
        b"",
        b'"',
        b'{"a": "\\\n',
        b'{"a": "]]]]]]]\n',
        b"]]]]]]]]]\n",
        b'\\"\n',
        b'{"a": "\\\\"}',
        b"\r",
    ],
)
def test_malformed_json_hides_no_levels(before: bytes) -> None:
    assert json_levels([before + b"\n" + b"[" * 1_000 + b"]" * 1_000]) >= 1_000


def deep_json(levels: int, opening: str, closing: str) -> bytes:
    """A snapshot with an attribute that is nested so deeply."""
    record = consent_table().to_pylist()[0]
    record |= {"effective_from": record["effective_from"].isoformat(), "deep": "HERE"}
    deep = opening * (levels - 1) + "1" + closing * (levels - 1)
    return json.dumps(record).replace('"HERE"', deep).encode() + b"\n"


@pytest.mark.parametrize(
    ("opening", "closing"), [("[", "]"), ('{"a":', "}"), ("[\n", "]"), ("[", "")]
)
@pytest.mark.parametrize("levels", [MOST_LEVELS + 1, 10_000, 300_000, 1_000_000])
def test_json_that_is_nested_deeply_is_refused(
    levels: int, opening: str, closing: str, tmp_path: Path
) -> None:
    path = tmp_path / "x.jsonl"
    path.write_bytes(b'{"subject_id": "]]]]"}\n' + deep_json(levels, opening, closing))
    with pytest.raises(cg.UnreadableFileError, match="nests objects or lists more than 64 deep"):
        cg.ConsentSnapshot.read(path, as_of=AS_OF)


def test_json_that_is_nested_less_deeply_is_read(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    path.write_bytes(deep_json(MOST_LEVELS, "[", "]"))
    assert len(cg.ConsentSnapshot.read(path, as_of=AS_OF).table) == 1


def test_an_escape_may_be_cut_by_a_piece(tmp_path: Path) -> None:

    path = tmp_path / "x.jsonl"
    for shift in range(6):
        start = b'{"a": "' + b" " * (json_depth._CHUNK_BYTES - 10 + shift)
        path.write_bytes(start + b'\\\\\\"[[[' + b'", "b": [[1]]}\n')
        assert json_levels(json_depth._chunks(path)) == 3


def test_old_timestamps_that_microseconds_do_not_hold_are_refused_in_snapshots(
    tmp_path: Path,
) -> None:
    instants = pa.array([10**18 + 1], pa.timestamp("ns", "UTC"))
    table = consent_table(effective_from=instants)
    pq.write_table(table, tmp_path / "x.parquet", use_deprecated_int96_timestamps=True)
    with pytest.raises(cg.UnreadableFileError, match="INT96"):
        cg.ConsentSnapshot.read(tmp_path / "x.parquet", as_of=AS_OF)


def lines(count: int) -> Iterator[bytes]:
    """Many records of a snapshot as JSON."""
    for number in range(count):
        yield deep_json(1, "", "").replace(b'"subject_id": 1', b'"subject_id": %d' % number)


def test_many_lines_of_json_are_read(tmp_path: Path) -> None:
    (tmp_path / "x.jsonl").write_bytes(b"".join(lines(9_000)))
    assert cg.ConsentSnapshot.read(tmp_path / "x.jsonl", as_of=AS_OF).table.num_rows == 9_000
