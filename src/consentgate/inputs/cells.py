"""Reads cells of CSV and JSON lines files as instants and booleans."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from consentgate.arrow import Bools, Instants, is_text, one_chunk, one_text, read_instants

_DAY = r"^\d{4}-\d{2}-\d{2}[ T]"
_WITH_OFFSET = _DAY + r"[0-9:.]+(Z|[+-][0-9:]+)$"
_WITHOUT_OFFSET = _DAY + r"\d{2}:[0-9:.]+$"
_UNITS = ("us", "ns")


@dataclass(frozen=True, eq=False, repr=False)
class InstantColumn:
    """n timestamps in UTC, as two columns that differ where an instant is uncertain.

    A local time that occurs twice or never when clocks change is uncertain, and so is one that is
    finer than a microsecond.

    Attributes:
        earliest, latest: n timestamps with a time zone.
        unread: n booleans, true where a cell could not be read; the timestamps are null there.
            None if all cells were read.
        naive: n booleans, true where a cell has no offset from UTC and no time zone is known for
            it; the timestamps are null there. None if there is no such cell.
    """

    earliest: pa.Array
    latest: pa.Array
    unread: Bools | None = None
    naive: Bools | None = None

    @property
    def is_uncertain(self) -> bool:
        """Whether the two timestamps of any entry differ."""
        return self.earliest is not self.latest and not self.earliest.equals(self.latest)


def as_instants(column: pa.Array, name: str, zone: str | None) -> InstantColumn:
    """Read a column of timestamps.

    Args:
        name: the column's name, as messages show it.
        zone: the time zone of a column that has none.
    """
    if column.type.tz is None and zone == "UTC":
        column = column.cast(pa.timestamp(column.type.unit, "UTC"))
    if column.type.tz is not None:
        return InstantColumn(column, column)
    instants = read_instants(column, name, zone)
    return InstantColumn(*_micros(instants))


def read_instant_cells(column: pa.ChunkedArray, name: str, zone: str | None) -> InstantColumn:
    """Read cells of ISO 8601. Other cells become nulls and are marked as unread.

    Args:
        name: the column's name, as messages show it.
        zone: the time zone of cells that have no offset from UTC.
    """
    if not is_text(column.type):  # JSON has numbers, booleans, objects and lists, too
        nulls = pa.nulls(len(column), pa.timestamp("us", "UTC"))
        return InstantColumn(nulls, nulls, unread=_is_valid(column))
    cells = one_text(column)
    whole = _cast(cells, "UTC")
    return _read_apart(cells, name, zone) if whole is None else InstantColumn(whole, whole)


def read_flag_cells(column: pa.ChunkedArray) -> tuple[pa.Array, Bools | None]:
    """Read cells as booleans.

    Returns:
        n booleans, and a mask of the cells that are not booleans; None if all are.
    """
    if pa.types.is_boolean(column.type) or pa.types.is_null(column.type):
        return one_chunk(column.cast(pa.bool_())), None
    if not is_text(column.type):
        return pa.nulls(len(column), pa.bool_()), _is_valid(column)
    cells = one_text(column)
    with suppress(pa.ArrowInvalid):
        return cells.cast(pa.bool_()), None
    unread = _unreadable(cells, pa.bool_())
    return _only(cells, ~unread).cast(pa.bool_()), unread


def _read_apart(cells: pa.Array, name: str, zone: str | None) -> InstantColumn:
    """Read cells with an offset from UTC, without one, and cells that are not timestamps."""
    has_offset, is_naive = _matches(cells, _WITH_OFFSET), _matches(cells, _WITHOUT_OFFSET)
    unread = _is_valid(cells) & ~has_offset & ~is_naive
    with_offset, failed = _read_most(_only(cells, has_offset), "UTC")
    unread |= failed
    if zone is None:
        naive = is_naive if is_naive.any() else None
        return InstantColumn(with_offset, with_offset, unread, naive)
    local, failed = _read_most(_only(cells, is_naive), None)
    unread |= failed
    in_zone = as_instants(local, name, zone)
    if not has_offset.any():
        return InstantColumn(in_zone.earliest, in_zone.latest, unread)
    floor, ceil = _micros(read_instants(with_offset, name))
    floor_local, ceil_local = (
        _micros(read_instants(side, name))[at]
        for at, side in enumerate((in_zone.earliest, in_zone.latest))
    )
    return InstantColumn(pc.coalesce(floor, floor_local), pc.coalesce(ceil, ceil_local), unread)


def _read_most(cells: pa.Array, zone: str | None) -> tuple[pa.Array, Bools]:
    """Cast as many cells as possible to timestamps. Returns them, and a mask of the others."""
    whole = _cast(cells, zone)
    if whole is not None:
        return whole, np.zeros(len(cells), np.bool_)
    coarse, fine = (_unreadable(cells, pa.timestamp(unit, zone)) for unit in _UNITS)
    failed = coarse & fine
    read = _cast(_only(cells, ~failed), zone)
    if read is None:  # some cells need nanoseconds, and others lie too far from 1970 for those
        failed = coarse
        read = _only(cells, ~failed).cast(pa.timestamp("us", zone))
    return read, failed


def _cast(cells: pa.Array, zone: str | None) -> pa.Array | None:
    """Cast all cells to timestamps, in microseconds if those are fine enough.

    None if a cell cannot be cast.
    """
    for unit in _UNITS:
        with suppress(pa.ArrowInvalid):
            return cells.cast(pa.timestamp(unit, zone))
    return None


def _unreadable(cells: pa.Array, kind: pa.DataType) -> Bools:
    """A mask of the cells that cannot be cast. Equal cells are tried once, and many at a time."""
    encoded = cells.dictionary_encode()
    values = encoded.dictionary
    is_bad = np.zeros(len(values) + 1, np.bool_)  # the last one is for nulls
    ahead = [slice(0, len(values))]
    while ahead:
        span = ahead.pop()
        if _can_cast(values[span], kind):
            continue
        middle = (span.start + span.stop) // 2
        if middle == span.start:
            is_bad[middle] = True
        else:
            ahead += [slice(span.start, middle), slice(middle, span.stop)]
    codes = encoded.indices.fill_null(len(values)).to_numpy()
    bad: Bools = is_bad[codes]
    return bad


def _can_cast(values: pa.Array, kind: pa.DataType) -> bool:
    try:
        values.cast(kind)
    except pa.ArrowInvalid:
        return False
    return True


def _matches(cells: pa.Array, pattern: str) -> Bools:
    matched = pc.match_substring_regex(cells, pattern).fill_null(False)
    mask: Bools = matched.to_numpy(zero_copy_only=False)
    return mask


def _is_valid(cells: pa.Array | pa.ChunkedArray) -> Bools:
    valid = pc.is_valid(cells)
    mask: Bools = np.asarray(
        valid.to_numpy(zero_copy_only=False) if isinstance(valid, pa.Array) else valid.to_numpy()
    )
    return mask


def _only(cells: pa.Array, wanted: Bools) -> pa.Array:
    """The wanted cells, with nulls in place of the others."""
    return pc.if_else(pa.array(wanted), cells, pa.scalar(None, cells.type))


def _micros(instants: Instants) -> Sequence[pa.Array]:
    """Floor and ceil as timestamps in UTC."""
    nulls = None if instants.valid is None else ~instants.valid
    kind = pa.timestamp("us", "UTC")
    return [
        pa.array(side, pa.int64(), mask=nulls).cast(kind)
        for side in (instants.floor, instants.ceil)
    ]
