"""The digest of the content of a snapshot or registry. It does not depend on the file's form."""

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from consentgate.arrow import fixed_width_values, is_text, plain_text, read_instants
from consentgate.index import IdHasher
from consentgate.inputs.words import ranks
from consentgate.storage import digest_bytes, digest_json


def content_digest(table: pa.Table, key: str, word: str | None) -> str:
    """The SHA-256 of a tidy table's content. It does not depend on the order of rows and columns.

    Rows are put into the order of a fixed hash of their key. Every column is digested as values of
    one width, with zeros for nulls, and with its validity. Columns that hold only nulls are left
    out.
    """
    order = _canonical_order(table, key, word)
    names = sorted(name for name in table.column_names if table[name].null_count < len(table))
    parts: list[Any] = [digest_json([table.num_rows, names]).encode()]
    for name in names:
        kind, buffers = _canonical_buffers(table.column(name).chunk(0).take(order))
        parts += [digest_json([kind, [buffer.nbytes for buffer in buffers]]).encode(), *buffers]
    return digest_bytes(parts)


def _canonical_order(table: pa.Table, key: str, word: str | None) -> pa.Array:
    lanes = [IdHasher(bytes(16)).hashes(table.column(key).chunk(0))]
    if word is not None:
        lanes = [ranks(table.column(word).chunk(0)), *lanes]
    return pa.array(np.lexsort(lanes))


def _canonical_buffers(column: pa.Array) -> tuple[str, list[np.ndarray[Any, Any]]]:
    if pa.types.is_dictionary(column.type):
        column = plain_text(column)
    valid = column.is_valid().to_numpy(zero_copy_only=False)
    if is_text(column.type):
        text = plain_text(column.fill_null(""))
        lengths = pc.binary_length(text).to_numpy()
        return "text", [valid, lengths, np.frombuffer("".join(text.to_pylist()).encode(), np.uint8)]
    if pa.types.is_timestamp(column.type):
        instants = read_instants(column.fill_null(0), "attribute", assume_timezone="UTC")
        return "instant", [valid, instants.floor, instants.ceil]
    if pa.types.is_fixed_size_binary(column.type):
        return "uuid", [valid, fixed_width_values(column, np.dtype((np.uint64, 2)))]
    values = column.fill_null(False if pa.types.is_boolean(column.type) else 0)
    flat = values.to_numpy(zero_copy_only=False)
    return flat.dtype.kind, [valid, flat]
