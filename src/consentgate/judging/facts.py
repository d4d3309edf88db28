"""The facts about subjects or channels, which the kernel looks up and compares with messages."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from consentgate import kernel as c
from consentgate.arrow import (
    Bits,
    Int64s,
    for_each,
    refuse_faults,
    row_blocks,
)
from consentgate.index import IdArray, Index, PackedInstants

_LINES_AT_ONCE = 16_384


@dataclass(frozen=True)
class Meaning:
    """The meaning of the bits of facts.

    The lowest bits hold reasons that do not depend on time. They are stored XOR `unknown`, so that
    zero means that there is no record. The instants are in the bits above.

    Attributes:
        first_reason: the position of the reason that the lowest bit stands for.
        reason_bits: how many bits hold reasons.
        unknown: the reason of an id without a record.
        null: the reason of a null.
        before_since: the reason of a message from before the instant `since`.
        after_until: the reason if the instant `until` has passed.
    """

    first_reason: int
    reason_bits: int
    unknown: int
    null: int
    before_since: int
    after_until: int


class Resolved(NamedTuple):
    """The reasons against n ids, and what a message has to be compared with.

    Attributes:
        bits: the reasons that do not depend on the message, n uint32.
        since: n int64 microseconds since 1970 in UTC. Messages from before that instant get one
            more reason. EARLIEST if there is no such instant.
        ranks: n int64, the rank of each id's entry; -1 if there is none, or if the memory around it
            is torn; None if not asked for.
    """

    bits: Bits
    since: Int64s
    ranks: Int64s | None = None

    def __repr__(self) -> str:
        return f"<Resolved: {len(self.bits)}>"

    def take(self, rows: Int64s) -> "Resolved":
        """The entries of those rows."""
        return Resolved(self.bits[rows], self.since[rows])


@dataclass(frozen=True, repr=False)
class Facts:
    """The facts about each id.

    Attributes:
        index: the facts by id.
        meaning: the meaning of their bits.
        since: the instants before which messages get the reason `before_since`. None if no id has
            one.
        until: the bitwise complements of the instants from which on ids get the reason
            `after_until`. None if no id has one.
    """

    index: Index
    meaning: Meaning
    since: PackedInstants | None
    until: PackedInstants | None

    def struct(self, now: int, *, is_signed: bool) -> c.Facts:
        """The facts, for the kernel.

        Args:
            now: the instant of judgement, microseconds since 1970 in UTC.
            is_signed: whether the ids to be looked up are signed integers.
        """
        struct = c.Facts.from_buffer_copy(self._struct)
        struct.past = ~now - 1  # until <= now exactly if ~until > ~now - 1
        struct.table.refuses_top_bit = is_signed != self.index.is_signed
        return struct

    @cached_property
    def _struct(self) -> c.Facts:
        meaning = self.meaning
        return c.Facts(
            *(self.index.table, (1 << meaning.reason_bits) - 1, meaning.first_reason),
            *(meaning.unknown, meaning.null, _layout(self.since)),
            *(meaning.before_since, meaning.after_until, _layout(self.until)),
        )

    def resolve(self, ids: pa.Array, now: int, *, ranks: bool = False) -> Resolved:
        """Look up n ids that are not dictionary-encoded. One entry more is that of a null.

        Args:
            now: the instant of judgement, microseconds since 1970 in UTC.
            ranks: whether to return ranks. They have no entry for the null.

        Raises:
            MalformedArrayError: The ids contradict themselves.
        """
        described = IdArray(ids)
        struct = self.struct(now, is_signed=described.is_signed)
        bits = np.full(len(ids) + 1, np.uint32(self.meaning.null))
        since = np.full(len(ids) + 1, np.iinfo(np.int64).min)
        places = np.empty(len(ids) if ranks else 0, np.int64)

        def resolve(rows: slice) -> None:
            refuse_faults(
                c.kernel.cg_resolve(
                    *(struct, described.struct, rows.start, rows.stop),
                    *(_at(bits, rows), _at(since, rows), _at(places, rows) if ranks else None),
                )
            )

        for_each(resolve, row_blocks(len(ids)))
        return Resolved(bits, since, places if ranks else None)

    def entries(self, now: int) -> Iterator[Bits]:
        """The reasons in all entries that do not depend on messages, by rank, in pieces."""
        struct = self.struct(now, is_signed=self.index.is_signed)
        space = _LINES_AT_ONCE * self.index.layout.places
        for lines in row_blocks(len(self.index.lines), _LINES_AT_ONCE):
            bits = np.empty(space, np.uint32)
            count = c.kernel.cg_entries(struct, lines.start, lines.stop, bits.ctypes.data, space)
            yield bits[:count]

    def changes_between(self, before: int, now: int) -> bool:
        """Whether the reasons against any id differ at two instants of judgement."""
        pairs = zip(self.entries(before), self.entries(now), strict=True)
        return any(not np.array_equal(then, later) for then, later in pairs)

    def __getstate__(self) -> dict[str, Any]:
        """The fields alone, because addresses mean nothing in another process."""
        return {name: self.__dict__[name] for name in self.__dataclass_fields__}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)


def _layout(instants: PackedInstants | None) -> c.InstantLayout:
    return c.InstantLayout() if instants is None else instants.layout


def _at(array: Any, rows: slice) -> int:
    """The address of an array's entry where some rows begin."""
    return int(array.ctypes.data) + int(rows.start) * int(array.itemsize)
