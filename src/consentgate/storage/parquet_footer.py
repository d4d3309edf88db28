"""The column chunks that a Parquet file's footer lists, read without pyarrow.

pyarrow 26 ends the whole process when it is asked for the column chunks of some damaged footers
(`RowGroupMetaData.column`, and the methods of its result), because C++ exceptions are not caught.
The format is Thrift's compact protocol with the structures of parquet.thrift,
https://github.com/apache/parquet-format/blob/master/src/main/thrift/parquet.thrift.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa

from consentgate.storage.durable import open_regular

_MAGIC = b"PAR1"
_TAIL_BYTES = 8
_CODECS = ("none", "snappy", "gzip", "lzo", "brotli", "lz4", "zstd", "lz4")
_MOST_VARINT_BYTES = 10
_MOST_NESTED = 32

_TRUE, _FALSE, _BYTE, _I16, _I32, _I64, _DOUBLE, _BINARY, _LIST, _SET, _MAP, _STRUCT = range(1, 13)


class ColumnChunk(NamedTuple):
    """The values of one leaf column in one row group.

    Attributes:
        path: the column's path in the schema, joined by dots.
        codec: how it is compressed, as `pyarrow.parquet.ParquetWriter` calls it.
        num_values: how many values it holds, nulls included.
        uncompressed_bytes: its size without compression.
    """

    path: str
    codec: str
    num_values: int
    uncompressed_bytes: int


def read_footer(source: str | Path | pa.NativeFile) -> bytes:
    """The bytes of a Parquet file's footer.

    Args:
        source: the file, or its path.

    Raises:
        pyarrow.ArrowInvalid: The file has no such footer.
        OSError: It cannot be read.
    """
    if isinstance(source, pa.NativeFile):
        return _read_footer(source)
    with open_regular(Path(source)) as file, pa.PythonFile(file, "r") as opened:
        return _read_footer(opened)


def _read_footer(file: pa.NativeFile) -> bytes:
    end = file.size() - _TAIL_BYTES
    tail = file.read_at(_TAIL_BYTES, max(0, end))
    size = int.from_bytes(tail[:4], "little")
    if tail[4:] != _MAGIC or size > end:
        raise pa.ArrowInvalid("no footer where a Parquet file ends")
    footer: bytes = file.read_at(size, end - size)
    return footer


def column_chunks(footer: bytes) -> Iterator[list[ColumnChunk]]:
    """The column chunks of each row group in turn, one for each leaf column.

    Raises:
        pyarrow.ArrowInvalid: The footer is damaged.
    """
    thrift = _Thrift(footer)
    try:
        for field, kind in thrift.fields():
            if (field, kind) == (4, _LIST):
                for _ in thrift.structs():
                    yield _row_group(thrift)
            else:
                thrift.skip(kind)
    except (IndexError, UnicodeDecodeError):
        raise pa.ArrowInvalid("a footer that is damaged") from None


def _row_group(thrift: "_Thrift") -> list[ColumnChunk]:
    chunks: list[ColumnChunk] = []
    for field, kind in thrift.fields():
        if (field, kind) == (1, _LIST):
            chunks += [_chunk(thrift) for _ in thrift.structs()]
        else:
            thrift.skip(kind)
    return chunks


def _chunk(thrift: "_Thrift") -> ColumnChunk:
    chunk = None
    for field, kind in thrift.fields():
        if (field, kind) == (3, _STRUCT):
            chunk = _column_metadata(thrift)
        else:
            thrift.skip(kind)
    if chunk is None:
        raise pa.ArrowInvalid("a column chunk without metadata")
    return chunk


def _column_metadata(thrift: "_Thrift") -> ColumnChunk:
    path: list[str] = []
    codec = num_values = size = -1
    for field, kind in thrift.fields():
        if (field, kind) == (3, _LIST):
            path = thrift.texts()
        elif (field, kind) == (4, _I32):
            codec = thrift.number()
        elif (field, kind) == (5, _I64):
            num_values = thrift.number()
        elif (field, kind) == (6, _I64):
            size = thrift.number()
        else:
            thrift.skip(kind)
    if not (path and 0 <= codec < len(_CODECS) and num_values >= 0 and size >= 0):
        raise pa.ArrowInvalid("a column chunk whose metadata is damaged")
    return ColumnChunk(".".join(path), _CODECS[codec], num_values, size)


class _Thrift:
    """A reader of Thrift's compact protocol. Past the end, it raises IndexError."""

    def __init__(self, content: bytes) -> None:
        self._content, self._at = content, 0

    def fields(self) -> Iterator[tuple[int, int]]:
        """The number and type of each field of a struct.

        The caller must read or skip a field's value before it asks for the next field. Types are
        the numbers that the protocol gives them.
        """
        field, content = 0, self._content
        while head := content[self._at]:
            self._at += 1
            field = field + (head >> 4) if head >> 4 else self.number()
            yield field, head & 15
        self._at += 1

    def structs(self) -> Iterator[None]:
        """Yield once for each struct of a list.

        The caller must read a struct before it asks for the next one.
        """
        kind, size = self._list()
        if size and kind != _STRUCT:
            raise pa.ArrowInvalid("a list of another type in a footer")
        for _ in range(size):
            yield

    def texts(self) -> list[str]:
        """A list of strings."""
        kind, size = self._list()
        if size and kind != _BINARY:
            raise pa.ArrowInvalid("a list of another type in a footer")
        return [self._octets().decode() for _ in range(size)]

    def number(self) -> int:
        """An integer of any width but a byte."""
        coded = self._varint()
        return (coded >> 1) ^ -(coded & 1)

    def skip(self, kind: int, depth: int = 0) -> None:
        """Pass over a field's value."""
        if kind in (_I16, _I32, _I64):
            content, at = self._content, self._at
            while content[at] > 0x7F:
                at += 1
            self._at = at + 1
        elif kind == _BINARY:
            self._advance(self._varint())
        elif kind == _STRUCT:
            self._skip_struct(depth)
        elif kind in (_LIST, _SET):
            inner, size = self._list()
            self._skip_items(inner, size, depth)
        elif kind == _MAP:
            self._skip_map(depth)
        elif kind in (_BYTE, _DOUBLE):
            self._advance(1 if kind == _BYTE else 8)
        elif kind not in (_TRUE, _FALSE):
            raise pa.ArrowInvalid("a value of unknown type in a footer")

    def _skip_struct(self, depth: int) -> None:
        if depth > _MOST_NESTED:
            raise pa.ArrowInvalid("a footer that is nested too deeply")
        content = self._content
        while head := content[self._at]:
            self._at += 1
            if head < 16:  # the field's number follows
                self._varint()
            self.skip(head & 15, depth + 1)
        self._at += 1

    def _skip_items(self, kind: int, size: int, depth: int) -> None:
        if kind in (_TRUE, _FALSE):
            self._advance(size)  # in a list, a boolean takes a byte
            return
        if kind in (_LIST, _SET, _MAP) and depth > _MOST_NESTED:
            raise pa.ArrowInvalid("a footer that is nested too deeply")
        for _ in range(size):
            self.skip(kind, depth + 1)

    def _skip_map(self, depth: int) -> None:
        if size := self._varint():
            kinds = self._byte()
            for _ in range(size):
                self._skip_items(kinds >> 4, 1, depth)
                self._skip_items(kinds & 15, 1, depth)

    def _list(self) -> tuple[int, int]:
        head = self._byte()
        size = head >> 4
        return head & 15, self._varint() if size == 15 else size

    def _octets(self) -> bytes:
        size = self._varint()
        self._advance(size)
        return self._content[self._at - size : self._at]

    def _varint(self) -> int:
        value = self._content[self._at]
        if value < 0x80:
            self._at += 1
            return value
        value = 0
        for at in range(_MOST_VARINT_BYTES):
            octet = self._byte()
            value |= (octet & 0x7F) << 7 * at
            if octet < 0x80:
                return value
        raise pa.ArrowInvalid("a number in a footer that does not end")

    def _byte(self) -> int:
        octet = self._content[self._at]
        self._at += 1
        return octet

    def _advance(self, size: int) -> None:
        self._at += size
        if self._at > len(self._content):
            raise IndexError
