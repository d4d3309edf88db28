"""The digest of the content of a snapshot or registry. It does not depend on the file's form.

docs/semantics.md, section 2.9, says what is digested. The rows are written as bytes and put in
order by the kernel (`kernel/ordering.c`).
"""

import hashlib
from collections.abc import Collection
from typing import Any

import numpy as np
import pyarrow as pa

from consentgate.arrow import (
    Int64s,
    Uint64s,
    for_each,
    refuse_faults,
    row_blocks,
    thread_count,
)
from consentgate.inputs.fields import Field, read_field
from consentgate.kernel import Dealt, Extent, Fault, Rows, kernel
from consentgate.kernel import Field as FieldStruct
from consentgate.storage import digest_bytes, digest_json

_FORMAT = "consentgate-content-2"
_BUCKET_ROWS = 32_768
"""How many rows a bucket has on average at most, so that it stays in a core's cache."""
_BYTES_AT_ONCE = 256 << 20
"""About how many bytes of rows are in memory at once."""
_EXTENT = np.dtype(Extent)
_DEALT = np.dtype(Dealt)

Extents = np.ndarray[Any, np.dtype[np.void]]
Entries = np.ndarray[Any, np.dtype[np.void]]
Octets = np.ndarray[Any, np.dtype[np.uint8]]


def content_digest(table: pa.Table, key: str, words: Collection[str]) -> str:
    """The SHA-256 of a tidy table's content. It does not depend on the order of rows and columns.

    Args:
        table: n rows, each column of one chunk.
        key: the column of ids.
        words: the columns whose words are digested once, and then by their ranks.
    """
    names = sorted(name for name in table.column_names if table[name].null_count < len(table))
    fields = [read_field(table[name].chunk(0), is_words=name in words) for name in names]
    bits = _bucket_bits(len(table))
    head = {
        "format": _FORMAT,
        "rows": len(table),
        "buckets": 1 << bits,
        "columns": [
            [name, field.tag, *field.words] for name, field in zip(names, fields, strict=True)
        ],
    }
    hashes = _hashes(table[key].chunk(0))
    buckets = _Buckets(hashes, bits, fields).digests()
    return digest_bytes([bytes.fromhex(digest_json(head)), *buckets])


def _bucket_bits(rows: int) -> int:
    """How many bits of a hash name its bucket. It depends on the number of rows alone."""
    return (max(1, -(-rows // _BUCKET_ROWS)) - 1).bit_length()


def _hashes(ids: pa.Array) -> Uint64s:
    """The hashes by which rows are dealt and sorted."""
    hashes = np.empty(len(ids), np.uint64)
    key = read_field(ids, is_words=False)

    def fill(rows: slice) -> None:
        own = hashes[rows]
        refuse_faults(kernel.cg_hash_rows(key.struct, rows.start, rows.stop, own.ctypes.data))

    for_each(fill, row_blocks(len(ids)))
    return hashes


class _Buckets:
    """n rows that are dealt into buckets, each of which is sorted and digested on its own.

    Args:
        hashes: of n ids.
        bits: how many of their upper bits name a bucket.
        fields: the columns, in order.
    """

    def __init__(self, hashes: Uint64s, bits: int, fields: list[Field]) -> None:
        self._held = hashes, fields
        self._bits = bits
        structs = (FieldStruct * len(fields))(*(field.struct for field in fields))
        self._rows = Rows(hashes.ctypes.data, bits, structs, len(fields))
        rows = len(hashes)
        self._spans = row_blocks(rows, -(-rows // thread_count())) or [slice(0, 0)]

    def digests(self) -> list[bytes]:
        """The SHA-256 of each bucket's rows."""
        extents = self._measured()
        sizes = {name: extents[name].sum(axis=1) for name in ("rows", "bytes")}
        groups = _groups(sizes["bytes"])
        # memory that is used again needs no new pages
        dealt = np.empty(_most(sizes["rows"], groups), _DEALT)
        octets = np.empty(_most(sizes["bytes"], groups), np.uint8)
        digests: list[bytes] = []
        for buckets in groups:
            digests += self._digested(buckets, extents[buckets], dealt, octets)
        return digests

    def _measured(self) -> Extents:
        """How many rows and bytes each span has in each bucket, of shape (buckets, spans)."""
        extents = np.zeros((len(self._spans), 1 << self._bits), _EXTENT)

        def measure(span: int) -> None:
            rows = self._spans[span]
            refuse_faults(
                kernel.cg_measure_rows(self._rows, rows.start, rows.stop, extents[span].ctypes.data)
            )

        for_each(measure, range(len(self._spans)))
        return extents.T

    def _digested(
        self, buckets: slice, extents: Extents, dealt: Entries, octets: Octets
    ) -> list[bytes]:
        """The digests of some buckets.

        Args:
            buckets: which ones.
            extents: of each of these buckets in each span.
            dealt, octets: space for the rows of these buckets.
        """
        ends = _ends(extents)
        starts = _starts(extents, ends)

        def deal(span: int) -> None:
            rows = self._spans[span]
            next_, limits = starts[:, span].copy(), ends[:, span].copy()
            refuse_faults(
                kernel.cg_deal_rows(
                    *(self._rows, rows.start, rows.stop, buckets.start, buckets.stop),
                    *(next_.ctypes.data, limits.ctypes.data),
                    *(dealt.ctypes.data, octets.ctypes.data),
                )
            )

        digests = [b""] * len(extents)

        def digest(bucket: int) -> None:
            own = dealt[starts[bucket, 0]["rows"] : ends[bucket, -1]["rows"]]
            digests[bucket] = self._ordered_digest(own, octets, int(extents[bucket]["bytes"].sum()))

        for_each(deal, range(len(self._spans)))
        for_each(digest, range(len(extents)))
        return digests

    def _ordered_digest(self, dealt: Entries, octets: Octets, space: int) -> bytes:
        """Sort the rows of one bucket and digest them."""
        scratch, ordered = np.empty_like(dealt), np.empty(space, np.uint8)
        count = kernel.cg_order_bucket(
            *(dealt.ctypes.data, len(dealt), self._bits, scratch.ctypes.data),
            *(octets.ctypes.data, ordered.ctypes.data, space),
        )
        if count < 0:
            refuse_faults(Fault.NO_SPACE)
        return hashlib.sha256(ordered[:count].data).digest()


def _groups(sizes: Int64s) -> list[slice]:
    """Buckets in groups of about _BYTES_AT_ONCE, at least one in each."""
    before = np.cumsum(sizes) - sizes
    firsts = np.flatnonzero(np.diff(before // _BYTES_AT_ONCE, prepend=-1)).tolist()
    return [slice(a, b) for a, b in zip(firsts, [*firsts[1:], len(sizes)], strict=True)]


def _most(sizes: Int64s, groups: list[slice]) -> int:
    """The most that any group of buckets takes."""
    return max(int(sizes[group].sum()) for group in groups)


def _ends(extents: Extents) -> Extents:
    """Where the rows of each span end in each bucket, if buckets lie one after the other."""
    ends = np.empty(extents.shape, _EXTENT)
    for name in ("rows", "bytes"):
        ends[name] = np.cumsum(extents[name]).reshape(extents.shape)
    return ends


def _starts(extents: Extents, ends: Extents) -> Extents:
    starts = np.empty(extents.shape, _EXTENT)
    for name in ("rows", "bytes"):
        starts[name] = ends[name] - extents[name]
    return starts
