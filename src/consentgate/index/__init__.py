"""Finding what is known about an id: ids of any layout, a hash table of facts, packed instants."""

from consentgate.index.hasher import IdHasher
from consentgate.index.ids import IdArray, IdFamily, id_family, rows_with
from consentgate.index.index import Index, RowTable, first_rows
from consentgate.index.packed_instants import (
    SHORTEST_SHIFT,
    PackedInstants,
    pack_instants,
    with_rests,
)
from consentgate.index.secret import MAX_ID_BYTES

__all__ = [
    "MAX_ID_BYTES",
    "SHORTEST_SHIFT",
    "IdArray",
    "IdFamily",
    "IdHasher",
    "Index",
    "PackedInstants",
    "RowTable",
    "first_rows",
    "id_family",
    "pack_instants",
    "rows_with",
    "with_rests",
]
