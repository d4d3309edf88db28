"""Finding what is known about an id: ids as arrays, a hash table of facts, and packed instants."""

from consentgate.index.fingerprints import MAX_ID_BYTES
from consentgate.index.ids import IdFamily, id_family, read_ids, rows_with
from consentgate.index.index import IdHasher, Index, Matches, count_repeats
from consentgate.index.packed_instants import (
    SHORTEST_SHIFT,
    PackedInstants,
    pack_instants,
    with_rests,
)
from consentgate.index.perfect_hash import PerfectHash

__all__ = [
    "MAX_ID_BYTES",
    "SHORTEST_SHIFT",
    "IdFamily",
    "IdHasher",
    "Index",
    "Matches",
    "PackedInstants",
    "PerfectHash",
    "count_repeats",
    "id_family",
    "pack_instants",
    "read_ids",
    "rows_with",
    "with_rests",
]
