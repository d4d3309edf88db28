"""Id columns of every layout, as the kernel reads them."""

from ctypes import addressof
from enum import StrEnum
from typing import Any
from uuid import UUID

import pyarrow as pa
import pyarrow.compute as pc

from consentgate.arrow import (
    ArrayBuffers,
    decoded,
    is_text,
    plain_text,
)
from consentgate.errors import ColumnTypeError
from consentgate.kernel import Buffer, IdKind, Ids, LineLayout


class IdFamily(StrEnum):
    """The kind of value that ids are. Ids are never cast from one family to another."""

    INTEGER = "integer"
    STRING = "string"
    UUID = "UUID"

    @property
    def layout(self) -> LineLayout:
        """How the index keeps ids of this family."""
        return _LAYOUTS[self]


_LAYOUTS = {
    IdFamily.INTEGER: LineLayout.INTEGERS,
    IdFamily.STRING: LineLayout.TEXTS,
    IdFamily.UUID: LineLayout.UUIDS,
}

_INTEGER_KINDS = {
    pa.int8(): (IdKind.INT8, 1),
    pa.int16(): (IdKind.INT16, 2),
    pa.int32(): (IdKind.INT32, 4),
    pa.int64(): (IdKind.INT64, 8),
    pa.uint8(): (IdKind.UINT8, 1),
    pa.uint16(): (IdKind.UINT16, 2),
    pa.uint32(): (IdKind.UINT32, 4),
    pa.uint64(): (IdKind.UINT64, 8),
}
_VIEW_BYTES = 16
_UUID_BYTES = 16


def id_family(kind: pa.DataType) -> IdFamily | None:
    """The family of an id type, or of a dictionary of ids; None for any other type.

    A dictionary of dictionaries is not an id type, because it could not be told apart from others
    by the addresses of its buffers.
    """
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    if pa.types.is_integer(kind):
        return IdFamily.INTEGER
    if is_text(kind):
        return IdFamily.STRING
    if isinstance(kind, pa.UuidType) or kind == pa.binary(16):
        return IdFamily.UUID
    return None


class IdArray:
    """n ids without a dictionary, described for the kernel. A null has no record anywhere.

    The buffers' sizes are checked here. The kernel checks offsets and UTF-8 as it reads them.

    Args:
        array: integers, text, UUIDs, or an array of type null.

    Attributes:
        struct: the description.
        is_signed: whether the ids are signed integers.

    Raises:
        ColumnTypeError: The type belongs to none of the three families.
        MalformedArrayError: The array's buffers are too short, or it has another number of nulls
            than it says.
    """

    def __init__(self, array: pa.Array) -> None:
        if isinstance(array, pa.ExtensionArray):
            array = array.storage
        kind = array.type
        self.is_signed = False
        if pa.types.is_null(kind):
            self.struct = Ids(IdKind.NULLS, len(array))
            return
        self._buffers = ArrayBuffers(array)
        if kind in _INTEGER_KINDS:
            code, size = _INTEGER_KINDS[kind]
            self.is_signed = bool(pa.types.is_signed_integer(kind))
            self.struct = self._plain(code, size)
        elif kind == pa.binary(_UUID_BYTES):
            self.struct = self._plain(IdKind.UUIDS, _UUID_BYTES)
        elif pa.types.is_string_view(kind):
            self.struct = self._views()
        elif is_text(kind):
            is_short = pa.types.is_string(kind)
            code, size = (IdKind.TEXTS32, 4) if is_short else (IdKind.TEXTS64, 8)
            self.struct = self._plain(code, size)
            self.struct.data, self.struct.data_bytes = self._buffers.span(2)
        else:
            raise ColumnTypeError(f"Type {kind} is not a type of ids.")

    def __len__(self) -> int:
        length: int = self.struct.length
        return length

    def _plain(self, code: IdKind, size: int) -> Ids:
        buffers = self._buffers
        return Ids(code, buffers.length, buffers.values(1, size), valid=buffers.validity)

    def _views(self) -> Ids:
        struct = self._plain(IdKind.VIEWS, _VIEW_BYTES)
        spans = [Buffer(*self._buffers.span(at)) for at in range(2, self._buffers.count)]
        self._held = (Buffer * len(spans))(*spans)
        struct.buffers, struct.buffer_count = addressof(self._held), len(spans)
        return struct


def rows_with(ids: pa.Array | pa.ChunkedArray, value: Any) -> list[int]:
    """The positions where a column of ids holds an id; none if its type cannot hold that id.

    Args:
        value: a Python value of the column's type; for UUIDs a `uuid.UUID` or 16 bytes.
    """
    ids = decoded(ids)
    if is_text(ids.type):
        ids = plain_text(ids)
    if isinstance(ids.type, pa.BaseExtensionType):
        ids = ids.cast(ids.type.storage_type)
    try:
        wanted = pa.scalar(value.bytes if isinstance(value, UUID) else value, ids.type)
    except (ValueError, TypeError, OverflowError):  # ArrowInvalid and the like are ValueErrors
        return []
    positions: list[int] = pc.indices_nonzero(pc.equal(ids, wanted).fill_null(False)).to_pylist()
    return positions
