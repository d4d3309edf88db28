"""Counts the ids of messages that a gate knows and does not know, batch by batch."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from consentgate.arrow import (
    Bits,
    Bools,
    Int64s,
    Uint64s,
    dictionary_codes,
    fixed_width_values,
    is_list,
    is_text,
    list_items,
    plain_text,
    row_blocks,
    valid_mask,
    without_views,
)
from consentgate.index import IdHasher
from consentgate.judging import Facts

_TOP_BIT = np.uint64(1 << 63)
_WORTH_UNITING = 1 << 20


@dataclass(frozen=True)
class IdCoverage:
    """Counts of the subject ids, or of the channel ids, that messages name and that a gate knows.

    A gate knows a subject that has a record for every purpose of the policy, and a channel that has
    a visibility in the registry.

    Attributes:
        columns: the columns of the messages that hold the ids.
        distinct: how many different ids the messages name. Nulls do not count.
        unknown: how many of these ids the gate does not know.
        unknown_rows: how many rows name an unknown id.
        incomplete: how many of the unknown ids are in the snapshot, but not for every purpose; or
            in the registry, but without a visibility. None: not checked.
        alike: how many of the unknown ids are not in the snapshot or registry, but differ from an
            id there only in case, in surrounding white space or in Unicode form. 0 if ids are not
            text. None: not checked.
        alike_rows: how many rows name such an id. None: not checked.
        unused: how many ids the gate knows that no message names.
    """

    columns: tuple[str, ...]
    distinct: int
    unknown: int
    unknown_rows: int
    incomplete: int | None
    alike: int | None
    alike_rows: int | None
    unused: int


class IdCounter:
    """Counts the ids of one kind: those of subjects, or those of channels.

    Known ids are counted exactly. Unknown ids are told apart over several batches by keyed 64-bit
    hashes. For text, the odds that two of n ids have the same hash are about n² / 2**65.

    Args:
        columns: the columns of the messages that hold the ids.
        facts: the facts in which the gate looks them up.
        now: the instant of judgement, microseconds since 1970 in UTC.
        listed: all ids of the snapshot or registry, tidied; None if they are not available.
    """

    def __init__(
        self, columns: Sequence[str], facts: Facts, now: int, listed: pa.Array | None
    ) -> None:
        self._columns, self._facts, self._now = tuple(columns), facts, now
        self._listed = listed
        self._spellings: _Spellings | None = None
        self._hasher = IdHasher()
        self._named = np.zeros(facts.index.entries, np.bool_)
        self._unknown, self._incomplete = _DifferentHashes(), _DifferentHashes()
        self._alike = _DifferentHashes()
        self._unknown_rows = self._alike_rows = 0

    def add(self, batch: pa.RecordBatch) -> None:
        """Count the ids of n rows."""
        unknown_rows = np.zeros(batch.num_rows, np.bool_)
        alike_rows = np.zeros(batch.num_rows, np.bool_)
        for name in self._columns:
            mentions = Mentions.read(batch.column(name))
            unknown, alike = self._looked_up(mentions.ids)
            unknown_rows |= mentions.rows_with(unknown)
            alike_rows |= mentions.rows_with(alike)
        self._unknown_rows += int(np.count_nonzero(unknown_rows))
        self._alike_rows += int(np.count_nonzero(alike_rows))

    def _looked_up(self, ids: pa.Array) -> tuple[Bools, Bools]:
        """Two masks of n different ids: which are unknown, and which are alike to a listed id."""
        answers = self._facts.resolve(ids, self._now, ranks=True)
        assert answers.ranks is not None
        unknown = self._are_unknown(answers.bits[:-1])
        ranks = answers.ranks[~unknown]
        self._named[ranks[ranks >= 0]] = True
        alike = np.zeros(len(ids), np.bool_)
        at = np.flatnonzero(unknown)
        if at.size:
            unknown_ids = ids.take(pa.array(at))
            hashes = _hashes(unknown_ids, self._hasher)
            self._unknown.add(hashes)
            if self._listed is not None:
                alike[at] = self._count_alike(unknown_ids, hashes, self._listed)
        return unknown, alike

    def _count_alike(self, ids: pa.Array, hashes: Uint64s, listed: pa.Array) -> Bools:
        """Count which of n unknown ids are listed, and which are alike to a listed id.

        Returns:
            A mask of the latter.
        """
        if self._spellings is None:
            self._spellings = _Spellings.of(listed, self._hasher)
        is_listed = _are_in(self._spellings.exact, hashes)
        self._incomplete.add(hashes[is_listed])
        if self._spellings.plain is None:
            return np.zeros(len(hashes), np.bool_)
        plain = _hashes(_plainly_spelled(ids), self._hasher)
        is_alike = ~is_listed & _are_in(self._spellings.plain, plain)
        self._alike.add(hashes[is_alike])
        return is_alike

    def result(self) -> IdCoverage:
        """The counts of all rows so far."""
        known, has_list = int(np.count_nonzero(self._named)), self._listed is not None
        return IdCoverage(
            self._columns,
            known + self._unknown.count(),
            self._unknown.count(),
            self._unknown_rows,
            self._incomplete.count() if has_list else None,
            self._alike.count() if has_list else None,
            self._alike_rows if has_list else None,
            self._all_known() - known,
        )

    def _all_known(self) -> int:
        pieces = self._facts.entries(self._now)
        return sum(int(np.count_nonzero(~self._are_unknown(bits))) for bits in pieces)

    def _are_unknown(self, bits: Bits) -> Bools:
        """A mask of the ids that are not known, by the reasons against them."""
        unknown: Bools = bits & np.uint32(self._facts.meaning.unknown) != 0
        return unknown


@dataclass(frozen=True, repr=False)
class Mentions:
    """The ids that a column of n rows names.

    Attributes:
        ids: the different ids, without null: int64, uint64, large_string or 16-byte binary.
        codes: for each item of the column, the position of its id in `ids`. For a null, and for an
            item that no row has, it is the length of `ids`.
        starts, counts: for each row, its first item and the number of its items.
    """

    ids: pa.Array
    codes: Int64s
    starts: Int64s
    counts: Int64s

    @classmethod
    def read(cls, column: pa.Array) -> "Mentions":
        """Read a column of ids or of lists of ids."""
        if not is_list(column.type):
            ids, codes = _different(column, None)
            return cls(ids, codes, np.arange(len(codes)), np.ones(len(codes), np.int64))
        items, starts, counts = list_items(column)
        if (valid := valid_mask(column)) is not None:
            counts = np.where(valid, counts, 0)
        ids, codes = _different(items, _used(starts, counts, len(items)))
        return cls(ids, codes, starts, counts)

    def rows_with(self, flags: Bools) -> Bools:
        """A mask of the rows that name an id whose flag is true. There is one flag for each id."""
        before = np.zeros(len(self.codes) + 1, np.int64)
        np.cumsum(np.append(flags, False)[self.codes], out=before[1:])
        starts = np.where(self.counts > 0, self.starts, 0)
        having: Bools = before[starts + self.counts] > before[starts]
        return having


@dataclass(frozen=True, repr=False)
class _Spellings:
    """Hashes of all ids of a snapshot or registry, in ascending order.

    Attributes:
        exact: hashes of the ids as they are.
        plain: hashes of the ids without differences of case, surrounding white space and Unicode
            form; None if ids are not text.
    """

    exact: Uint64s
    plain: Uint64s | None

    @classmethod
    def of(cls, ids: pa.Array, hasher: IdHasher) -> "_Spellings":
        """Hash n ids."""
        blocks = row_blocks(len(ids))
        exact = [_hashes(ids[rows], hasher) for rows in blocks]
        if not is_text(ids.type):
            return cls(_in_order(exact), None)
        plain = [_hashes(_plainly_spelled(ids[rows]), hasher) for rows in blocks]
        return cls(_in_order(exact), _in_order(plain))


class _DifferentHashes:
    """Counts different hashes."""

    def __init__(self) -> None:
        self._united = np.zeros(0, np.uint64)
        self._more: list[Uint64s] = []
        self._waiting = 0

    def add(self, hashes: Uint64s) -> None:
        """Count hashes, which may repeat earlier ones."""
        self._more.append(hashes)
        self._waiting += len(hashes)
        if self._waiting > max(_WORTH_UNITING, len(self._united)):
            self._unite()

    def count(self) -> int:
        """The number of different hashes so far."""
        self._unite()
        return len(self._united)

    def _unite(self) -> None:
        self._united = np.unique(np.concatenate([self._united, *self._more]))
        self._more, self._waiting = [], 0


def _used(starts: Int64s, counts: Int64s, items: int) -> Bools:
    """A mask of the items that at least one of n lists has. Lists may overlap."""
    holders = np.flatnonzero(counts)
    begun = np.bincount(starts[holders], minlength=items + 1)
    begun -= np.bincount((starts + counts)[holders], minlength=items + 1)
    return np.cumsum(begun)[:items] > 0


def _different(items: pa.Array, used: Bools | None) -> tuple[pa.Array, Int64s]:
    """The different ids of n items, and the position of each item's id among them.

    Args:
        used: a mask of the items that count; None if all count.
    """
    if pa.types.is_null(items.type):
        return pa.array([], pa.int64()), np.zeros(len(items), np.int64)
    if pa.types.is_dictionary(items.type):
        values, codes = _used_values(items)
    else:
        values, codes = _tidy(items), np.arange(len(items))
    encoded = values.dictionary_encode()
    codes = dictionary_codes(encoded)[codes]
    if used is not None:
        codes = np.where(used, codes, len(encoded.dictionary))
    present, codes = np.unique(np.append(codes, len(encoded.dictionary)), return_inverse=True)
    return encoded.dictionary.take(pa.array(present[:-1])), codes[:-1]


def _used_values(items: pa.DictionaryArray) -> tuple[pa.Array, Int64s]:
    """The dictionary's values that n items use, null included, and the position of each item's."""
    end = len(items.dictionary)
    present, codes = np.unique(dictionary_codes(items), return_inverse=True)
    values = without_views(items.dictionary).take(pa.array(present, mask=present == end))
    return _tidy(values), codes


def _tidy(ids: pa.Array) -> pa.Array:
    """Ids without a dictionary as int64, uint64, large_string or 16-byte binary."""
    if isinstance(ids, pa.ExtensionArray):
        return ids.storage
    if is_text(ids.type):
        return plain_text(ids)
    if pa.types.is_integer(ids.type):
        return ids.cast(pa.int64() if pa.types.is_signed_integer(ids.type) else pa.uint64())
    return ids


def _hashes(ids: pa.Array, hasher: IdHasher) -> Uint64s:
    """Hashes of n tidy ids. Equal ids have equal hashes, whatever their width and sign."""
    hashes = hasher.hashes(ids)
    if pa.types.is_uint64(ids.type):  # 2**64 - 1 and -1 have the same bits
        values = fixed_width_values(ids, np.dtype(np.uint64))
        return np.where(values >= _TOP_BIT, ~hashes, hashes)
    return hashes


def _plainly_spelled(ids: pa.Array) -> pa.Array:
    """Text without differences of case, surrounding white space and Unicode form."""
    return pc.utf8_lower(pc.utf8_trim_whitespace(pc.utf8_normalize(ids, "NFC")))


def _in_order(blocks: Sequence[Uint64s]) -> Uint64s:
    return np.sort(np.concatenate([np.zeros(0, np.uint64), *blocks]))


def _are_in(ordered: Uint64s, hashes: Uint64s) -> Bools:
    """A mask of those of n hashes that are among the ordered ones."""
    if not len(ordered):
        return np.zeros(len(hashes), np.bool_)
    at = np.minimum(np.searchsorted(ordered, hashes), len(ordered) - 1)
    found: Bools = ordered[at] == hashes
    return found
