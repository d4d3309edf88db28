"""The consent snapshot: every subject's standing decision for each purpose, as of one instant."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from consentgate.arguments import require_path
from consentgate.arrow import Validator, as_table, quoted
from consentgate.errors import NullValueError, UnknownStatusError
from consentgate.index import IdFamily, id_family
from consentgate.inputs import tables
from consentgate.inputs.files import read_table
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
"""The vocabulary (ISO/IEC TS 27560 through W3C DPV), and the reason that each status gives."""

_TEXT_FILE_TYPES: dict[str, pa.DataType] = {
    "purpose": pa.string(),
    "status": pa.string(),
    "method": pa.string(),
    "notice_version": pa.string(),
    "effective_from": pa.timestamp("us", "UTC"),
    "expires_at": pa.timestamp("us", "UTC"),
    "covers_prior": pa.bool_(),
}


_MOST_WORDS = 10
"""How many unknown status words a message lists."""
_MOST_DIFFERENT = 50
"""A column of more different words is no column of statuses; they may be ids."""
_MOST_CHARS = 40
"""No status is longer than that; a longer one may be an id or a text."""


@dataclass(frozen=True, eq=False, init=False, repr=False)
class ConsentSnapshot(tables.DatedTable):
    """All consent records as of one instant. Make one with `read` or `from_arrow`.

    Attributes:
        table: one row per subject and purpose, tidied: one chunk a column; `subject_id` as int64,
            uint64, large_string or 16-byte binary; words dictionary-encoded; the attributes
            behind the known columns.
        as_of: the instant as of which it speaks, in UTC.
        source: where it came from, in words.
    """

    _rows = "records"

    @classmethod
    def read(
        cls,
        path: str | Path,
        *,
        as_of: datetime | None = None,
        source: str | None = None,
        status_map: Mapping[str, str] | None = None,
        method_map: Mapping[str, str] | None = None,
    ) -> "ConsentSnapshot":
        """Read a Parquet, Arrow IPC, CSV or JSON lines file. See `from_arrow`.

        Args:
            as_of: needed unless the file's metadata has `consentgate.as_of`.
            source: None means the path.

        Raises:
            TypeError: An argument is of a wrong type.
            UnreadableFileError: The file is missing, truncated, corrupt or of another format.
            ColumnMissingError: A file of text does not name its columns, or has no `subject_id`.
            Whatever `from_arrow` raises.
        """
        require_path(path, "path")
        table = read_table(path, _TEXT_FILE_TYPES, "subject_id")
        tables.refuse_headless(table, path, "subject_id")
        return cls.from_arrow(
            table,
            as_of=as_of,
            source=str(path) if source is None else source,
            status_map=status_map,
            method_map=method_map,
        )

    @classmethod
    def from_arrow(
        cls,
        data: Any,
        *,
        as_of: datetime | None = None,
        source: str = "Arrow data",
        status_map: Mapping[str, str] | None = None,
        method_map: Mapping[str, str] | None = None,
    ) -> "ConsentSnapshot":
        """Check and take over consent records.

        Args:
            data: anything that speaks the Arrow PyCapsule interface. `subject_id` (integers,
                strings or UUIDs), `purpose`, `status` (all never null) and `method` (text) must
                be there; `effective_from` (timestamp with a time zone) wherever the status is
                given or renewed. `expires_at`, `covers_prior` (null means false) and
                `notice_version` may be. Any other column that is not nested is an attribute.
            as_of: an instant with a time zone; None takes it from the schema's metadata.
            source: a label for evidence.
            status_map: translates status words of another vocabulary.
            method_map: translates method words.

        Raises:
            TypeError: An argument is of a wrong type.
            NotArrowError: `data` holds no Arrow data.
            ConfigurationError: `as_of` has no time zone, or a text holds half of a surrogate pair.
            SchemaMismatchError: A batch of a stream has another schema than the stream.
            MalformedDataError: A column is not what its type says.
            AsOfError: Nobody says as of when it speaks, or argument and metadata disagree.
            ColumnMissingError, ColumnAmbiguousError: A required column is absent or there twice.
            ColumnTypeError, NaiveTimestampError: A column's type does not fit.
            NullValueError: A required value is null; the message counts them.
            SnapshotError: A string id is longer than 65,536 bytes.
            UnknownStatusError: A status is outside the vocabulary; the message lists up to ten such
                words, but none where there are so many or so long ones that they may be ids.
            DuplicateRecordError: Two rows are about one subject and purpose.
        """
        statuses = tables.checked_mapping(status_map, "status_map")
        methods = tables.checked_mapping(method_map, "method_map")
        source = tables.checked_source(source)
        table = as_table(data)
        Validator().check(table)
        columns = {
            "subject_id": tables.id_column(table, "subject_id"),
            "purpose": tables.word_column(table, "purpose", nulls=False),
            "status": _translated(tables.word_column(table, "status", nulls=False), statuses),
            "method": _translated(tables.word_column(table, "method", nulls=True), methods),
        }
        _refuse_unknown_statuses(columns["status"])
        for name, read in _OPTIONAL.items():
            if name in table.column_names:
                columns[name] = read(table, name)
        _refuse_valid_without_start(columns)
        columns |= tables.attribute_columns(table, _TEXT_FILE_TYPES | {"subject_id": None})
        tidy = pa.table(columns)
        tables.refuse_repeats(tidy, "subject_id", "purpose", "the subject and purpose")
        instant = tables.read_as_of(as_of, table, "consent snapshot")
        return cls._made(tidy, instant, source)

    @cached_property
    def digest(self) -> str:
        """The SHA-256 of the content, in hexadecimal; computed when first asked for.

        It depends on the records alone: not on their order, chunking, layout or file format, nor
        on `as_of` and `source`.
        """
        return tables.content_digest(self.table, "subject_id", "purpose")

    @property
    def id_family(self) -> IdFamily:
        """The family of the subject ids."""
        family = id_family(self.table.schema.field("subject_id").type)
        assert family is not None
        return family


_OPTIONAL: dict[str, Callable[[pa.Table, str], pa.Array]] = {
    "effective_from": tables.instant_column,
    "expires_at": tables.instant_column,
    "covers_prior": tables.flag_column,
    "notice_version": lambda table, name: tables.word_column(table, name, nulls=True),
}


def _translated(words: pa.DictionaryArray, mapping: Mapping[str, str]) -> pa.DictionaryArray:
    if not mapping:
        return words
    translated = [mapping.get(word, word) for word in words.dictionary.to_pylist()]
    dictionary = pa.array(translated, pa.large_string())
    return pa.DictionaryArray.from_arrays(words.indices, dictionary)


def _refuse_unknown_statuses(status: pa.DictionaryArray) -> None:
    if unknown := set(status.dictionary.to_pylist()) - STATUSES.keys():
        are_words = len(unknown) <= _MOST_DIFFERENT and max(map(len, unknown)) <= _MOST_CHARS
        listed = f", such as {quoted(sorted(unknown)[:_MOST_WORDS])}," if are_words else ""
        hint = "" if are_words else " They do not look like statuses: is it the right column?"
        raise UnknownStatusError(
            f"Column 'status' holds {len(unknown):,} words outside the vocabulary{listed} instead "
            f"of {quoted(STATUSES)}; translate them with status_map={{…}}.{hint}"
        )


def _refuse_valid_without_start(columns: Mapping[str, pa.Array]) -> None:
    is_valid = pc.is_in(
        columns["status"].dictionary, pa.array(sorted(VALID_STATUSES), pa.large_string())
    )
    is_valid = is_valid.take(columns["status"].indices)
    starts = columns.get("effective_from")
    missing = is_valid if starts is None else pc.and_(is_valid, starts.is_null())
    if count := pc.sum(missing).as_py():
        raise NullValueError(
            f"Column 'effective_from' is null in {count} rows whose status is given or renewed; "
            "say when each of those consents began."
        )
