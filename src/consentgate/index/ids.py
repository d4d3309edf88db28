"""Id columns of every layout, as flat NumPy arrays of one of three families."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any, TypeAlias
from uuid import UUID

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from consentgate.arrow import (
    Int64s,
    Uint64s,
    decoded,
    fixed_width_values,
    is_text,
    plain_text,
    without_views,
)
from consentgate.errors import ColumnTypeError


class IdFamily(StrEnum):
    """The kind of value that ids are. Ids are never cast from one family to another."""

    INTEGER = "integer"
    STRING = "string"
    UUID = "UUID"


@dataclass(frozen=True, repr=False)
class Integers:
    """Integers of any width. `values` holds them as 64 bits, which are signed if `is_signed`."""

    values: Uint64s
    is_signed: bool

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, rows: slice) -> "Integers":
        return Integers(self.values[rows], self.is_signed)


@dataclass(frozen=True, repr=False)
class Strings:
    """n byte strings: `data[offsets[i]:offsets[i + 1]]`, compared byte by byte."""

    data: npt.NDArray[np.uint8]
    offsets: npt.NDArray[np.int32] | Int64s

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, rows: slice) -> "Strings":
        start, stop, _ = rows.indices(len(self))
        return Strings(self.data, self.offsets[start : stop + 1])


@dataclass(frozen=True, repr=False)
class Uuids:
    """n UUIDs as an (n, 2) array of 64-bit values, which hold their 16 bytes in order."""

    values: Uint64s

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, rows: slice) -> "Uuids":
        return Uuids(self.values[rows])


Ids: TypeAlias = Integers | Strings | Uuids


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


def read_ids(array: pa.Array) -> Ids:
    """An id array without a dictionary as flat ids. A null becomes any id.

    Raises:
        ColumnTypeError: The type belongs to none of the three families.
    """
    family = id_family(array.type)
    if family is IdFamily.INTEGER:
        return _read_integers(array)
    if family is IdFamily.STRING:
        return _read_strings(array)
    if family is IdFamily.UUID:
        storage = array.storage if isinstance(array, pa.ExtensionArray) else array
        return Uuids(fixed_width_values(storage, np.dtype((np.uint64, 2))))
    raise ColumnTypeError(f"Type {array.type} is not a type of ids.")


def _read_integers(array: pa.Array) -> Integers:
    values = fixed_width_values(array, np.dtype(array.type.to_pandas_dtype()))
    is_signed = values.dtype.kind == "i"
    wide = values.astype(np.int64 if is_signed else np.uint64, copy=False)
    return Integers(wide.view(np.uint64), is_signed)


def _read_strings(array: pa.Array) -> Strings:
    array = without_views(array)
    width = np.dtype(np.int32 if pa.types.is_string(array.type) else np.int64)
    _, offsets, data = array.buffers()
    if len(array) == 0 or offsets is None:
        return Strings(np.zeros(0, np.uint8), np.zeros(len(array) + 1, width))
    positions = np.frombuffer(offsets, width, len(array) + 1, array.offset * width.itemsize)
    return Strings(np.frombuffer(data or b"", dtype=np.uint8), positions)


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
