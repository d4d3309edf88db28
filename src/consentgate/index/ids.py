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

_KINDS = {
    pa.int8().id: (IdKind.INT8, 1),
    pa.int16().id: (IdKind.INT16, 2),
    pa.int32().id: (IdKind.INT32, 4),
    pa.int64().id: (IdKind.INT64, 8),
    pa.uint8().id: (IdKind.UINT8, 1),
    pa.uint16().id: (IdKind.UINT16, 2),
    pa.uint32().id: (IdKind.UINT32, 4),
    pa.uint64().id: (IdKind.UINT64, 8),
    pa.binary(16).id: (IdKind.UUIDS, 16),
    pa.string().id: (IdKind.TEXTS32, 4),
    pa.large_string().id: (IdKind.TEXTS64, 8),
    pa.string_view().id: (IdKind.VIEWS, 16),
}
"""How the kernel reads a type of ids, and how many bytes one entry has in its second buffer."""
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
        if pa.types.is_null(kind):
            self.struct, self.is_signed = Ids(IdKind.NULLS, len(array)), False
            return
        code, size = _KINDS.get(kind.id, (IdKind.NULLS, 0))
        if code is IdKind.NULLS or (code is IdKind.UUIDS and kind.byte_width != _UUID_BYTES):
            raise ColumnTypeError(f"Type {kind} is not a type of ids.")
        self.is_signed = code <= IdKind.INT64
        self._buffers = buffers = ArrayBuffers(array)
        self.struct = Ids(code, buffers.length, buffers.values(1, size), valid=buffers.validity)
        if code is IdKind.VIEWS:
            spans = [Buffer(*buffers.span(at)) for at in range(2, buffers.count)]
            self._held = (Buffer * len(spans))(*spans)
            self.struct.buffers, self.struct.buffer_count = addressof(self._held), len(spans)
        elif code >= IdKind.TEXTS32:
            self.struct.data, self.struct.data_bytes = buffers.span(2)

    def __len__(self) -> int:
        length: int = self.struct.length
        return length


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
