"""Makes Arrow columns of Python values, for engines whose rows are Python objects.

Arrow converts values to make them fit. It takes an instant without a zone for one in UTC, and 1.0
for an integer, and a column of nulls gets the type null. Here a value that does not fit is an
error.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from functools import partial
from itertools import accumulate, chain
from numbers import Integral
from typing import Any, TypeAlias, cast
from uuid import UUID

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from consentgate.errors import (
    ColumnTypeError,
    IdFamilyError,
    NaiveTimestampError,
    RuleColumnTypeError,
)
from consentgate.gate import Gate
from consentgate.policy import Rule

Values: TypeAlias = Sequence[Any]
ErrorClass: TypeAlias = type[ColumnTypeError]

_BOOLEANS, _INTEGERS, _STRINGS, _UUIDS = "booleans", "integers", "strings", "UUIDs"
_ZONED, _NAIVE = "instants with a time zone", "instants without a time zone"
_KINDS: dict[type, str] = {
    bool: _BOOLEANS,  # first, because a bool is an Integral, too
    Integral: _INTEGERS,
    str: _STRINGS,
    UUID: _UUIDS,
    bytes: _UUIDS,
}
_MAY_BE_NULL = (float, Decimal, np.floating, np.datetime64, np.timedelta64)
_NULL_TYPES = ("NAType", "NaTType")
"""Types of pandas' nulls, each of which has one value."""
_SCALARS = (bool, int, float, str, bytes, UUID, date, time, timedelta, Decimal, np.generic)
_ID_TYPES = {_INTEGERS: pa.int64(), _STRINGS: pa.string(), _UUIDS: pa.uuid()}


class ValueColumns:
    """Makes columns of the values of one stream, batch by batch.

    A column has one kind of values from the stream's beginning to its end, so it makes no
    difference where a batch ends. None, NaN and NaT are null. A single subject is the same as a
    list of one. Lists may be lists, tuples or one-dimensional NumPy arrays.

    Args:
        reads_text: whether ISO 8601 text is read as instants.
    """

    def __init__(self, *, reads_text: bool) -> None:
        self._reads_text = reads_text
        self._kinds: dict[str, str] = {}

    def table(self, gate: Gate, columns: Mapping[str, Values]) -> pa.Table:
        """Make a table of columns, each read as the gate uses it.

        Args:
            columns: the columns that judging or recording need, with n values each.

        Raises:
            ColumnTypeError: A column holds values that do not fit, or different kinds of values.
                The subclasses IdFamilyError, NaiveTimestampError and RuleColumnTypeError say more
                precisely why.
        """
        readers = self._readers(gate)
        return pa.table({n: readers[n](_with_nulls(values)) for n, values in columns.items()})

    def _readers(self, gate: Gate) -> dict[str, Callable[[Values], pa.Array]]:
        """The function that reads each column. If a column has several roles, the last counts."""
        columns, readers = gate.columns, dict[str, Callable[[Values], pa.Array]]()
        for rule in sorted(gate.policy.record_rules, key=lambda rule: bool(rule.values)):
            readers[rule.column] = partial(self._ruled, rule)
        if columns.visibility is not None:
            readers[columns.visibility] = partial(self._words, columns.visibility)
        readers |= {name: partial(self._ids, name) for name in columns.channels}
        readers |= {name: partial(self._subjects, name) for name in columns.subjects}
        readers[columns.created_at] = partial(self._instants, columns.created_at)
        readers[columns.record_id] = partial(self._record_ids, columns.record_id)
        return readers

    def _record_ids(self, name: str, values: Values) -> pa.Array:
        ids = self._ids(name, values)
        if pa.types.is_null(ids.type):  # the ledger's column needs a type
            return pa.nulls(len(ids), _ID_TYPES[self._kinds.get(name, _STRINGS)])
        return ids

    def _subjects(self, name: str, values: Values) -> pa.Array:
        if not any(map(_is_list, values)):
            return self._ids(name, values)
        lists = [_items(name, value) for value in values]
        ends = accumulate(map(len, lists), initial=0)
        items = self._ids(name, _with_nulls([*chain.from_iterable(lists)]))
        missing = pa.array([value is None for value in values])
        return pa.LargeListArray.from_arrays(pa.array(ends, pa.int64()), items, mask=missing)

    def _ids(self, name: str, values: Values) -> pa.Array:
        kind = self._kind(name, values, _ID_TYPES, IdFamilyError)
        if kind is None:
            return pa.nulls(len(values))
        if kind == _INTEGERS:
            return _integers(name, values)
        if kind == _UUIDS:
            values = [value.bytes if isinstance(value, UUID) else value for value in values]
        return _array(name, values, _ID_TYPES[kind])

    def _words(self, name: str, values: Values) -> pa.Array:
        self._kind(name, values, [_STRINGS], ColumnTypeError)
        return _array(name, values, pa.large_string())

    def _instants(self, name: str, values: Values) -> pa.Array:
        if self._reads_text and any(isinstance(value, str) for value in values):
            return self._written_instants(name, values)
        kind = self._kind(name, values, [_ZONED, _NAIVE], NaiveTimestampError)
        is_finer = any(getattr(value, "nanosecond", 0) for value in values)  # pandas has these
        zone = None if kind == _NAIVE else "UTC"
        values = [_with_whole_offset(name, value) for value in values]
        return _array(name, values, pa.timestamp("ns" if is_finer else "us", zone))

    def _written_instants(self, name: str, values: Values) -> pa.Array:
        _only_kind(name, values, [_STRINGS], ColumnTypeError)
        text = _array(name, values, pa.large_string())
        zones = {_ZONED: "UTC", _NAIVE: None} if _has_times_of_day(text) else {_ZONED: "UTC"}
        for kind, zone in zones.items():
            for unit in ("us", "ns"):
                with suppress(pa.ArrowInvalid):
                    instants = text.cast(pa.timestamp(unit, zone))
                    self._settle(name, kind, NaiveTimestampError)
                    return instants
        raise ColumnTypeError(
            f"Column '{name}' holds text that is not an instant, such as a day alone, or some with "
            "a time zone and some without; write all as ISO 8601 with an offset from UTC, as "
            "2026-01-31T12:00:00Z."
        )

    def _ruled(self, rule: Rule, values: Values) -> pa.Array:
        name, of = rule.column, type(rule.values[0]) if rule.values else None
        if of is None:
            _need_scalars(rule, values)
            return pa.array([None if value is None else True for value in values], pa.bool_())
        kinds = {bool: _BOOLEANS, int: _INTEGERS, str: _STRINGS}
        self._kind(name, values, [kinds[of]], RuleColumnTypeError)
        if of is int:
            return _integers(name, values)
        return _array(name, values, pa.large_string() if of is str else pa.bool_())

    def _kind(
        self, name: str, values: Values, fit: Collection[str], error: ErrorClass
    ) -> str | None:
        """The kind of a column's values, which must not change; None if all are null."""
        kind = _only_kind(name, values, fit, error)
        if kind is not None:
            self._settle(name, kind, error)
        return kind

    def _settle(self, name: str, kind: str, error: ErrorClass) -> None:
        before = self._kinds.setdefault(name, kind)
        if kind != before:
            raise error(
                f"Column '{name}' holds {kind}, but held {before} before; make all of one kind."
            )


def _has_times_of_day(text: pa.Array) -> bool:
    """Whether every text has an hour and minutes. Arrow takes a day alone for its midnight."""
    return bool(pc.all(pc.match_substring_regex(text, r"[ T]\d{2}:")).as_py())


def _is_list(value: Any) -> bool:
    if isinstance(value, np.ma.MaskedArray):  # it also holds the values that are masked
        return False
    return isinstance(value, list | tuple) or (isinstance(value, np.ndarray) and value.ndim == 1)


def _items(name: str, value: Any) -> Values:
    """The items of a list. For a single value, the value. For a null, nothing."""
    if value is None:
        return ()
    if not _is_list(value):
        return (value,)
    if isinstance(value, np.ndarray) and value.dtype.kind == "f":
        return _integers_of(name, value)
    return cast(Values, value)


def _integers_of(name: str, floats: np.ndarray[Any, Any]) -> Values:
    """Turn an array of floats into integers. pandas makes floats of them if one of them is null.

    Up to 2**53 (for float64), every integer has its own float. Two larger ids could have the same.

    Raises:
        ColumnTypeError: A value is not an integer, or is so large that it may stand for several.
    """
    known = floats[~np.isnan(floats)]
    beyond = 2 ** (np.finfo(floats.dtype).nmant + 1)
    if not np.all((np.trunc(known) == known) & (np.abs(known) < beyond)):
        raise ColumnTypeError(
            f"Column '{name}' holds arrays of floats that are not integers, or are too large to be "
            'exact; read the data with dtype_backend="pyarrow", which keeps integers.'
        )
    return [None if np.isnan(item) else int(item) for item in floats]


def _with_nulls(values: Values) -> Values:
    """The values with None instead of NaN, NaT and NA."""
    kinds = set(map(type, values))
    if any(issubclass(t, _MAY_BE_NULL) or t.__name__ in _NULL_TYPES for t in kinds):
        return [None if _is_null(value) else value for value in values]
    return values


def _is_null(value: Any) -> bool:
    if isinstance(value, Decimal):
        return value.is_nan()
    if isinstance(value, _MAY_BE_NULL):
        return bool(value != value)  # true for NaN and NaT
    return type(value).__name__ in _NULL_TYPES


def _only_kind(name: str, values: Values, fit: Collection[str], error: ErrorClass) -> str | None:
    kinds = _kinds(values)
    if unfit := sorted(kinds.difference(fit)):
        unfit_error = error if error is RuleColumnTypeError else ColumnTypeError
        raise unfit_error(
            f"Column '{name}' holds {unfit[0]} but must hold {' or '.join(fit)}; convert them."
        )
    if len(kinds) > 1:
        raise error(f"Column '{name}' holds {' and '.join(sorted(kinds))}; make all of one kind.")
    return next(iter(kinds), None)


def _kinds(values: Values) -> set[str]:
    """The kinds of the values that are not null."""
    types = set(map(type, values)) - {type(None)}
    moments = [kind for kind in types if issubclass(kind, datetime)]
    kinds = {_kind_of(kind) for kind in types.difference(moments)}
    if moments:
        of = [value for value in values if isinstance(value, datetime)]
        kinds |= {_NAIVE if value.utcoffset() is None else _ZONED for value in of}
    return kinds


def _kind_of(kind: type) -> str:
    # a duration of NumPy counts as an integer there
    bases = {} if issubclass(kind, np.timedelta64) else _KINDS
    known = (word for base, word in bases.items() if issubclass(kind, base))
    return next(known, f"values of type '{kind.__qualname__}'")


def _with_whole_offset(name: str, value: datetime | None) -> datetime | None:
    """The same instant, in UTC if its offset has fractions of a second.

    pyarrow 26 ignores these fractions.
    """
    offset = None if value is None else value.utcoffset()
    if value is None or offset is None or not offset.microseconds:
        return value
    with suppress(OverflowError):
        return value.astimezone(UTC)
    raise ColumnTypeError(
        f"Column '{name}' holds an instant that has no date in UTC; leave it out."
    )


def _integers(name: str, values: Values) -> pa.Array:
    with suppress(OverflowError):
        return pa.array(values, pa.int64())
    return _array(name, values, pa.uint64())


def _array(name: str, values: Values, kind: pa.DataType) -> pa.Array:
    # An error raised within `except` would hold the other error, whose message can quote values.
    with suppress(pa.ArrowException, OverflowError, ValueError):
        return pa.array(values, kind)
    raise ColumnTypeError(
        f"Column '{name}' holds values that do not fit into {kind}; convert or leave them out."
    )


def _need_scalars(rule: Rule, values: Values) -> None:
    if not all(value is None or _is_scalar(value) for value in values):
        raise RuleColumnTypeError(
            f"Rule '{rule.name}' looks at column '{rule.column}', whose values must be single "
            "ones; change the rule or the values."
        )


def _is_scalar(value: Any) -> bool:
    """Whether a value is a single one whose type says whether it is null."""
    return isinstance(value, _SCALARS) and not isinstance(value, np.complexfloating)
