"""The consent snapshot: every subject's standing decision for each purpose, as of one instant."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from consentgate.arrow import (
    Bools,
    booleans,
    dictionary_codes,
    for_each,
    from_numpy,
    from_texts,
    one_chunk,
    quoted,
    row_blocks,
)
from consentgate.errors import NullValueError, UnknownStatusError
from consentgate.index import IdFamily, RowTable, id_family
from consentgate.inputs import tables
from consentgate.inputs.arguments import checked_source, checked_words
from consentgate.inputs.cells import InstantColumn
from consentgate.inputs.digest import content_digest
from consentgate.inputs.faults import rows_text
from consentgate.inputs.given import GivenTable, Layout
from consentgate.reasons import Reason

VALID_STATUSES = frozenset({"given", "renewed"})

STATUSES: dict[str, Reason | None] = {
    "given": None,
    "renewed": None,
    "refused": Reason.CONSENT_REFUSED,
    "withdrawn": Reason.CONSENT_WITHDRAWN,
    "revoked": Reason.CONSENT_WITHDRAWN,
    "expired": Reason.CONSENT_EXPIRED,
    "requested": Reason.CONSENT_NOT_GIVEN,
    "request_deferred": Reason.CONSENT_NOT_GIVEN,
    "invalidated": Reason.CONSENT_NOT_GIVEN,
    "unknown": Reason.CONSENT_NOT_GIVEN,
}
"""The statuses (ISO/IEC TS 27560 through W3C DPV), and the reason that each of them gives."""

EARLIEST_START = "effective_from_earliest"
"""A column that the snapshot adds if `effective_from` is uncertain; see `ConsentSnapshot`."""

_WORDS = frozenset({"purpose", "status", "method", "notice_version"})
_LAYOUT = Layout(
    "consent snapshot",
    "subject_id",
    (
        *("subject_id", "purpose", "status", "method"),
        *("effective_from", "expires_at", "covers_prior", "notice_version"),
    ),
    _WORDS,
)

_MOST_DIFFERENT = 50
"""If there are more different unknown words, they are not shown, because they may be ids."""
_MOST_CHARS = 40
"""If an unknown word is longer, they are not shown, because they may be ids or texts."""


@dataclass(frozen=True, eq=False, init=False, repr=False)
class ConsentSnapshot(tables.DatedTable):
    """All consent records as of one instant. Make one with `read` or `from_arrow`.

    Attributes:
        table: one row for each subject and purpose, tidied. Each column has one chunk. `subject_id`
            is int64, uint64, large_string or 16-byte binary. Words are dictionary-encoded. The
            attributes come after the known columns. Where `assume_timezone` leaves two instants
            possible, `effective_from` is the later one and `effective_from_earliest` the earlier
            one.
        as_of: the instant whose facts the snapshot holds, in UTC.
        source: a label that says where the data came from.
    """

    _rows = "records"

    @classmethod
    def read(
        cls,
        path: str | Path,
        *,
        as_of: datetime | None = None,
        source: str | None = None,
        columns: Mapping[str, str] | None = None,
        assume_timezone: str | None = None,
        status_map: Mapping[str, str] | None = None,
        method_map: Mapping[str, str] | None = None,
    ) -> "ConsentSnapshot":
        """Read a Parquet, Arrow IPC, CSV or JSON lines file. See `from_arrow`.

        Args:
            path: the path of the file.
            as_of: the instant whose facts the file holds, with a time zone. It may be left out if
                the file's metadata has `consentgate.as_of` or `as_of`.
            source: a label for evidence; None takes the path.
            columns, assume_timezone, status_map, method_map: as in `from_arrow`.

        Raises:
            TypeError: An argument is of a wrong type.
            UnreadableFileError: The file is missing, truncated, corrupt or of another format; or it
                is a file of text with cells that are not timestamps or booleans. The message says
                how many.
            ColumnMissingError: A file of text does not name its columns, or has no `subject_id`.
            ConsentGateError: Every other error of `from_arrow`.
        """
        maps = _checked_maps(status_map, method_map)
        given = GivenTable.read(_LAYOUT, path, columns, assume_timezone)
        return cls._checked(given, *maps, as_of, str(path) if source is None else source)

    @classmethod
    def from_arrow(
        cls,
        data: Any,
        *,
        as_of: datetime | None = None,
        source: str = "Arrow data",
        columns: Mapping[str, str] | None = None,
        assume_timezone: str | None = None,
        status_map: Mapping[str, str] | None = None,
        method_map: Mapping[str, str] | None = None,
    ) -> "ConsentSnapshot":
        """Check consent records and make a snapshot of them.

        Every column is checked before an error is raised, so that one error reports all faults.

        Args:
            data: one row for each subject and purpose, in any object that speaks the Arrow
                PyCapsule interface. Required columns are `subject_id` (integers, strings or UUIDs),
                `purpose`, `status` and `method` (text); only `method` may be null.
                `effective_from` (timestamp with a time zone) is required wherever the status is
                given or renewed. Optional columns are `expires_at` (timestamp with a time zone),
                `covers_prior` (boolean, null means false) and `notice_version` (text). Any other
                column that is not nested is an attribute.
            as_of: the instant whose facts the records are, with a time zone. None takes it from the
                schema's metadata.
            source: a label for evidence.
            columns: the names of these columns in `data`, if they are others, such as
                `{"subject_id": "user"}`.
            assume_timezone: the IANA time zone of timestamps that have none. A local time that
                occurs twice, or never, is read as the instant that excludes: a consent begins at
                the later one, its age counts from the earlier one, and it expires at the earlier
                one. With None, such timestamps are an error.
            status_map: a mapping from the status words of another vocabulary to ours. The key `""`
                stands for an empty cell, which is a null or an empty text. An empty cell cannot
                mean `given` or `renewed`.
            method_map: a mapping for method words, likewise. An empty cell cannot mean `explicit`.

        Raises:
            TypeError: An argument is of a wrong type.
            NotArrowError: `data` holds no Arrow data.
            ConfigurationError: `as_of` has no time zone, a text holds half of a surrogate pair,
                `columns` has a key that is not one of these columns or names one column for two of
                them, the time zone is not known, or an empty cell is to mean consent.
            SchemaMismatchError: A batch of a stream has another schema than the stream.
            MalformedDataError: A column is not what its type says.
            AsOfError: Neither `as_of` nor the metadata gives an instant, or they disagree.
            ColumnMissingError: A required column, or one that `columns` names, is absent.
            ColumnAmbiguousError: A column occurs twice, or is there although `columns` names
                another column for it.
            ColumnTypeError, NaiveTimestampError: A column's type does not fit.
            NullValueError: A required value is null. The message says in how many rows.
            UnknownStatusError: A status is outside the vocabulary. The message lists these words,
                unless they are so many or so long that they may be ids.
            DuplicateRecordError: Two rows are about the same subject and purpose.
            SnapshotError: A string id is longer than 65,536 bytes. Or there are faults of several
                classes, which the message lists and `faults` holds.
        """
        maps = _checked_maps(status_map, method_map)
        given = GivenTable.of(_LAYOUT, data, columns, assume_timezone)
        return cls._checked(given, *maps, as_of, source)

    @classmethod
    def _checked(
        cls,
        given: GivenTable,
        statuses: Mapping[str, str],
        methods: Mapping[str, str],
        as_of: datetime | None,
        source: str,
    ) -> "ConsentSnapshot":
        source = checked_source(source)
        found = given.each(
            {
                "status": lambda own: own.words("status", nulls=False, mapping=statuses),
                "subject_id": lambda own: own.ids("subject_id"),
                "purpose": lambda own: own.words("purpose", nulls=False),
                "method": lambda own: own.words("method", nulls=True, mapping=methods),
            }
        )
        columns = {name: found[name] for name in ("subject_id", "purpose", "status", "method")}
        ids, purposes, status, _ = columns.values()
        row_tables: list[RowTable] = []
        others = given.each(
            {
                "instants": lambda own: _instant_columns(own, status),
                "optional": _optional_columns,
                "attributes": _attribute_columns,
                "repeats": lambda own: _note_repeats(own, ids, purposes, row_tables),
            }
        )
        for more in others.values():
            columns |= more
        with given.faults.noted():
            instant = tables.read_as_of(as_of, given.schema, _LAYOUT.what)
        given.faults.raise_all()
        return cls._made(pa.table(columns), instant, source, row_tables)

    @cached_property
    def digest(self) -> str:
        """The SHA-256 of the records, in hexadecimal. It is computed when it is first needed.

        It does not depend on the order of the records, their chunking, layout or file format, nor
        on `as_of` and `source`.
        """
        return content_digest(self.table, "subject_id", _WORDS)

    @property
    def id_family(self) -> IdFamily:
        """The family of the subject ids."""
        family = id_family(self.table.schema.field("subject_id").type)
        assert family is not None
        return family


def only_rows(consent: ConsentSnapshot, rows: Sequence[int]) -> ConsentSnapshot:
    """A snapshot with some rows of another, every column as it is there.

    `from_arrow` would leave out `effective_from_earliest`, because that is no column of an input.

    Args:
        rows: their positions, each once.
    """
    taken = consent.table.take(from_numpy(np.asarray(rows, np.int64)))
    columns = {name: one_chunk(taken[name]) for name in taken.column_names}
    return ConsentSnapshot._made(pa.table(columns), consent.as_of, consent.source, [])


def _checked_maps(
    status_map: Mapping[str, str] | None, method_map: Mapping[str, str] | None
) -> tuple[dict[str, str], dict[str, str]]:
    return (
        checked_words(status_map, "status_map", never_empty=VALID_STATUSES),
        checked_words(method_map, "method_map", never_empty=frozenset({"explicit"})),
    )


def _instant_columns(
    given: GivenTable, status: pa.DictionaryArray | None
) -> dict[str, pa.Array | None]:
    """The columns of timestamps. Of two possible instants, each has the one that excludes."""
    starts, ends = (
        given.instants(name) if given.has(name) else None
        for name in ("effective_from", "expires_at")
    )
    if status is not None:
        _note_unknown_statuses(given, status)
        if starts is not None or not given.has("effective_from"):
            _note_valid_without_start(given, status, starts)
    columns = {}
    if starts is not None:
        columns["effective_from"] = starts.latest
        if starts.is_uncertain:
            columns[EARLIEST_START] = starts.earliest
    if ends is not None:
        columns["expires_at"] = ends.earliest
    return columns


def _attribute_columns(given: GivenTable) -> dict[str, pa.Array | None]:
    return {**tables.attribute_columns(given.others({*_LAYOUT.columns, EARLIEST_START}))}


def _note_repeats(
    given: GivenTable,
    ids: pa.Array | None,
    purposes: pa.DictionaryArray | None,
    row_tables: list[RowTable],
) -> dict[str, pa.Array | None]:
    """Note repeated records, and add the rows by id to `row_tables`. No column comes of it."""
    if ids is not None and purposes is not None:
        row_tables += given.note_repeats(ids, purposes, "the subject and purpose")
    return {}


def _optional_columns(given: GivenTable) -> dict[str, pa.Array | None]:
    columns = {}
    if given.has("covers_prior"):
        columns["covers_prior"] = given.flags("covers_prior")
    if given.has("notice_version"):
        columns["notice_version"] = given.words("notice_version", nulls=True)
    return columns


def _note_unknown_statuses(given: GivenTable, status: pa.DictionaryArray) -> None:
    words = status.dictionary.to_pylist()
    if not (unknown := set(words) - STATUSES.keys()):
        return
    are_words = len(unknown) <= _MOST_DIFFERENT and max(map(len, unknown)) <= _MOST_CHARS
    listed = f", {quoted(unknown)}," if are_words else ""
    hint = " An empty cell is ''." if "" in unknown else ""
    if not are_words:
        hint = " They do not look like statuses: is it the right column?"
    given.note(
        _has_word(status, unknown),
        UnknownStatusError,
        f"Column '{given.shown('status')}' holds {len(unknown):,} words outside the vocabulary"
        f"{listed}",
        f" instead of {quoted(STATUSES)}; translate them with `status_map`.{hint}",
    )


def _note_valid_without_start(
    given: GivenTable, status: pa.DictionaryArray, starts: InstantColumn | None
) -> None:
    if starts is not None and not starts.latest.null_count:
        return
    missing = _has_word(status, VALID_STATUSES)
    if starts is not None:
        missing &= ~booleans(starts.latest.is_valid())
        for noted in (starts.unread, starts.naive):
            missing &= True if noted is None else ~noted
    if missing.any():
        rows = np.flatnonzero(missing)
        given.faults.add(
            NullValueError(
                f"Column '{given.shown('effective_from')}' is "
                f"{'missing' if starts is None else 'null'} in {len(rows):,} rows whose status is "
                f"given or renewed ({rows_text(rows)}); say when each of those consents began."
            )
        )


def _has_word(column: pa.DictionaryArray, words: Collection[str]) -> Bools:
    matches = pc.is_in(column.dictionary, from_texts(sorted(words)))
    by_index = np.append(booleans(matches), False)  # the last is for nulls
    mask = np.empty(len(column), np.bool_)

    def fill(rows: slice) -> None:
        mask[rows] = by_index[dictionary_codes(column[rows])]

    for_each(fill, row_blocks(len(column)))
    return mask
