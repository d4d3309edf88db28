"""A batch of messages, described for the kernel, which judges rows of it."""

import ctypes
from typing import Any

import numpy as np
import pyarrow as pa

from consentgate import kernel as c
from consentgate.arrow import (
    ArrayBuffers,
    Bits,
    MalformedArrayError,
    Validator,
    from_numpy,
    integers,
    is_list,
    list_items,
    malformed,
    read_instants,
    unite,
)
from consentgate.columns import Columns
from consentgate.index import IdArray
from consentgate.judging.facts import Facts, Resolved
from consentgate.judging.lookup import Lookup
from consentgate.reasons import Reason

_LISTS = {
    pa.ListType: (c.ListKind.LIST32, 4),
    pa.LargeListType: (c.ListKind.LIST64, 8),
    pa.ListViewType: (c.ListKind.LIST_VIEW32, 4),
    pa.LargeListViewType: (c.ListKind.LIST_VIEW64, 8),
}
_VIEWS = (c.ListKind.LIST_VIEW32, c.ListKind.LIST_VIEW64)


class Messages:
    """n messages, ready to be judged. The buffers' sizes are checked here, the rest by the kernel.

    Args:
        batch: n rows of a schema that `Judge.check` has accepted.
        columns: which columns hold what.
        consent, channels: the facts about subjects and channels; None if there are no channels.
        known_until: the earlier `as_of` of snapshot and registry, microseconds since 1970 in UTC.
        lookup: the lookup that all batches of one table share.

    Raises:
        MalformedDataError: A column is not what its type says.
    """

    def __init__(
        self,
        batch: pa.RecordBatch,
        columns: Columns,
        consent: Facts,
        channels: Facts | None,
        known_until: int,
        lookup: Lookup,
    ) -> None:
        self._batch, self._lookup = batch, lookup
        self._held: list[Any] = []  # what the kernel reads has to stay in memory
        self._names = [*(columns.channels if channels else ()), *columns.subjects]
        described: list[c.Column] = []
        name = columns.created_at
        try:
            when = self._created(batch.column(name), columns, known_until)
            for name in self._names:
                is_subject = len(described) >= len(self._names) - len(columns.subjects)
                facts = consent if is_subject or channels is None else channels
                column = batch.column(name)
                described.append(self._column(name, column, facts, names_subjects=is_subject))
        except (MalformedArrayError, pa.ArrowException):  # pyarrow's message can quote values
            raise malformed(name, batch.column(name).type) from None
        self._columns = (c.Column * len(described))(*described)
        self._struct = c.Messages(
            *(when, self._columns, len(described)),
            *(Reason.SUBJECT_MISSING, Reason.SUBJECT_MISSING),
        )
        self._held.append(described)

    def judge(self, rows: slice, bits: Bits) -> None:
        """Add the reasons against some rows to `bits`, which has an entry for each of them.

        Raises:
            MalformedDataError: A column is not what its type says.
        """
        at_fault = ctypes.c_int64()
        fault = c.kernel.cg_judge(self._struct, rows.start, rows.stop, bits.ctypes.data, at_fault)
        if fault != c.Fault.SOUND:
            name = self._names[at_fault.value]
            raise malformed(name, self._batch.column(name).type)

    def _column(
        self, name: str, column: pa.Array, facts: Facts, *, names_subjects: bool
    ) -> c.Column:
        if not is_list(column.type):
            return self._ids(name, column, facts, c.Lists(), names_subjects=names_subjects)
        items, lists = self._lists(column)
        is_shared = lists.kind in _VIEWS and self._are_shared(column, len(items))
        if is_shared or pa.types.is_null(items.type):
            return self._united(name, column, facts)
        return self._ids(name, items, facts, lists, names_subjects=names_subjects)

    def _ids(
        self, name: str, ids: pa.Array, facts: Facts, lists: c.Lists, *, names_subjects: bool
    ) -> c.Column:
        """A column of ids, or the ids of a column of lists."""
        resolved = None
        if isinstance(ids, pa.DictionaryArray):
            ids.validate()  # checks that there is a dictionary
            if self._lookup.takes_values(ids):
                Validator().check_column(name, ids)  # pyarrow takes values without any check
            resolved, positions = self._lookup.values(facts, ids)
            ids = ids.indices if positions is None else from_numpy(positions)
        described = IdArray(ids)
        struct = self._lookup.struct(facts, is_signed=described.is_signed)
        self._held += [described, struct]
        return self._made(struct, described.struct, resolved, lists, names_subjects=names_subjects)

    def _made(
        self,
        facts: c.Facts,
        ids: c.Ids,
        resolved: Resolved | None,
        lists: c.Lists,
        *,
        names_subjects: bool,
    ) -> c.Column:
        answers = c.Resolved()
        if resolved is not None:
            self._held.append(resolved)
            answers = c.Resolved(
                *(resolved.bits.ctypes.data, resolved.since.ctypes.data, len(resolved.bits) - 1)
            )
        return c.Column(ctypes.pointer(facts), ids, answers, lists, names_subjects)

    def _lists(self, column: pa.Array) -> tuple[pa.Array, c.Lists]:
        """The items of a column of lists, and how its rows refer to them."""
        buffers = ArrayBuffers(column)
        self._held.append(buffers)
        kind, length = column.type, len(column)
        if pa.types.is_fixed_size_list(kind):
            size = kind.list_size
            items = column.values.slice(column.offset * size, length * size)
            if len(items) != length * size:
                raise MalformedArrayError
            return items, c.Lists(c.ListKind.FIXED_LIST, size=size, valid=buffers.validity)
        code, width = _LISTS[type(kind)]
        sizes = buffers.values(2, width) if code in _VIEWS else None
        return column.values, c.Lists(code, buffers.values(1, width), sizes, 0, buffers.validity)

    def _are_shared(self, column: pa.Array, items: int) -> bool:
        sizes = integers(column.sizes).astype(np.int64)
        # a size that no view can have must not make up for those of others
        return int(sizes.clip(0, items + 1).sum()) > items

    def _united(self, name: str, column: pa.Array, facts: Facts) -> c.Column:
        """Lists whose items are looked up once, and united by list beforehand.

        Overlapping views and items of type null, which need no memory, are not judged item by item,
        because that could take any amount of time.
        """
        Validator().check_column(name, column)
        values, starts, counts = list_items(column)
        if pa.types.is_null(values.type):  # one of them stands for all
            values, starts, counts = values[:1], np.zeros_like(starts), counts.clip(0, 1)
        holders = np.flatnonzero(counts)
        answers = self._lookup.items(facts, values)
        spans = starts[holders], counts[holders]
        bits, since = np.zeros(0, np.uint32), np.zeros(0, np.int64)
        if len(holders):
            bits = unite(np.bitwise_or, answers.bits, *spans)
            since = unite(np.maximum, answers.since, *spans)
        resolved = Resolved(np.append(bits, np.uint32(0)), np.append(since, 0))
        offsets = np.concatenate([[0], np.cumsum(counts > 0)])
        ids = IdArray(from_numpy(np.arange(len(holders))))
        valid = ArrayBuffers(column)
        self._held += [offsets, ids, valid]
        lists = c.Lists(c.ListKind.LIST64, offsets.ctypes.data, None, 0, valid.validity)
        struct = self._lookup.struct(facts, is_signed=facts.index.is_signed)
        self._held.append(struct)
        return self._made(struct, ids.struct, resolved, lists, names_subjects=True)

    def _created(self, column: pa.Array, columns: Columns, known_until: int) -> c.Created:
        zone, kind = columns.assume_timezone, column.type
        buffers = ArrayBuffers(column)
        self._held.append(buffers)
        if kind.tz is not None or zone == "UTC":
            earliest = latest = buffers.values(1, 8)
            unit = c.Unit.named(kind.unit)
        else:
            instants = read_instants(column, columns.created_at, zone)
            self._held.append(instants)
            earliest, latest = instants.floor.ctypes.data, instants.ceil.ctypes.data
            unit = c.Unit.MICROSECONDS
        return c.Created(
            *(earliest, latest, unit, buffers.validity, known_until),
            *(Reason.AFTER_SNAPSHOT, Reason.TIMESTAMP_MISSING),
        )
