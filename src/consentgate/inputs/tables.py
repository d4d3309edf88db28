"""The common part of the consent snapshot and the channel registry.

Both are tables with one row per key that are true as of one instant. Here their columns are
checked and brought into the fewest layouts, one chunk each; and their content gets a digest.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from consentgate.arguments import is_utf8, require
from consentgate.arrow import (
    as_micros,
    check_instants,
    decoded,
    find_column,
    is_text,
    one_chunk,
    pandas_index,
    plain_text,
    read_instants,
    type_text,
    without_views,
)
from consentgate.errors import (
    AsOfError,
    ColumnMissingError,
    ColumnTypeError,
    ConfigurationError,
    DuplicateRecordError,
    NullValueError,
    SnapshotError,
)
from consentgate.index import MAX_ID_BYTES, IdFamily, IdHasher, count_repeats, id_family, read_ids
from consentgate.storage import digest_bytes, digest_json

_AS_OF_KEYS = (b"consentgate.as_of", b"as_of")
_TEXT_SUFFIXES = (".csv", ".jsonl", ".ndjson")
_MOST_CHARS = 60
"""How much of a file's own words about itself a message shows."""


@dataclass(frozen=True, eq=False, init=False, repr=False)
class DatedTable:
    """A checked table that is true as of one instant: the base of snapshot and registry.

    Attributes:
        table: the rows, tidied.
        as_of: the instant, in UTC.
        source: where the table came from, in words.
    """

    table: pa.Table
    as_of: datetime
    source: str
    _rows: ClassVar[str]
    """The word by which `repr` counts rows."""

    def __init__(self, *_fields: object, **_more: object) -> None:
        raise TypeError(
            f"A {type(self).__name__} is made with `read` or `from_arrow`, which check it."
        )

    def __repr__(self) -> str:
        """The number of rows, the instant and the source. No cell, because ids are people."""
        name, rows = type(self).__name__, f"{self.table.num_rows:,} {self._rows}"
        return f"<{name}: {rows} as of {self.as_of.isoformat()}, from {self.source!r}>"

    @classmethod
    def _made(cls, table: pa.Table, as_of: datetime, source: str) -> Self:
        """An instance from values that were checked already."""
        data = cls.__new__(cls)
        for name, value in {"table": table, "as_of": as_of, "source": source}.items():
            object.__setattr__(data, name, value)
        return data


def checked_source(source: str) -> str:
    """The label, once it is known to be text that manifests can hold.

    Raises:
        TypeError, ConfigurationError: It is not.
    """
    require(source, "source", str, hint="give a label in words")
    _check_text(source, "source")
    return source


def checked_mapping(mapping: Mapping[str, str] | None, name: str) -> dict[str, str]:
    """The words of another vocabulary and what they mean.

    Raises:
        TypeError, ConfigurationError: It is not made of words.
    """
    require(mapping, name, Mapping, None, hint="give words by word, such as {'yes': 'given'}")
    words = dict(mapping or {})
    for word in (*words.keys(), *words.values()):
        require(word, name, str, hint="give words by word, such as {'yes': 'given'}")
        _check_text(word, name)
    return words


def _check_text(text: str, name: str) -> None:
    if not is_utf8(text):
        raise ConfigurationError(f"`{name}` holds half of a surrogate pair, which is no text.")


def id_column(table: pa.Table, name: str) -> pa.Array:
    """The ids as int64, uint64, large_string or 16-byte binary, none null.

    Raises:
        ColumnMissingError: There is no such column.
        ColumnTypeError: Its type is no id type.
        NullValueError: An id is null.
        SnapshotError: A string id is longer than 65,536 bytes.
    """
    column = table.column(find_column(table.schema, name, role="required"))
    family = id_family(column.type)
    if family is None:
        raise ColumnTypeError(
            f"Column '{name}' is {type_text(column.type)} but must hold ids: integers, strings or "
            "UUIDs; cast it."
        )
    ids = one_chunk(plain_text(column) if family is IdFamily.STRING else decoded(column))
    _refuse_nulls(ids, name)
    if family is IdFamily.INTEGER:
        fits_signed = pa.types.is_signed_integer(ids.type) or _max(ids) < 2**63
        return ids.cast(pa.int64() if fits_signed else pa.uint64())
    if family is IdFamily.UUID:
        return ids.storage if isinstance(ids, pa.ExtensionArray) else ids
    longest = int(np.diff(read_ids(ids).offsets).max(initial=0))  # type: ignore[union-attr]
    if longest > MAX_ID_BYTES:
        raise SnapshotError(
            f"Column '{name}' holds an id of {longest} bytes; at most {MAX_ID_BYTES} are taken "
            "for an id. Check that the right column was named."
        )
    return ids


def word_column(table: pa.Table, name: str, *, nulls: bool) -> pa.DictionaryArray:
    """A column of few different words, dictionary-encoded.

    Raises:
        ColumnMissingError: There is no such column.
        ColumnTypeError: It does not hold text.
        NullValueError: A word is null and `nulls` does not allow it.
    """
    column = table.column(find_column(table.schema, name, role="required"))
    kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    if not (is_text(kind) or pa.types.is_null(kind)):
        raise ColumnTypeError(
            f"Column '{name}' is {type_text(column.type)} but must be text; cast it."
        )
    words = _encoded(column)
    if not nulls:
        _refuse_nulls(words, name)
    return words


def instant_column(table: pa.Table, name: str) -> pa.Array:
    """A column of timestamps with a time zone.

    Raises:
        ColumnMissingError: There is no such column.
        ColumnTypeError: It does not hold timestamps.
        NaiveTimestampError: It has no time zone.
    """
    column = table.column(find_column(table.schema, name, role="required"))
    if pa.types.is_null(column.type):
        return pa.nulls(len(column), pa.timestamp("us", "UTC"))
    check_instants(column.type, name)
    return one_chunk(column)


def flag_column(table: pa.Table, name: str) -> pa.Array:
    """A column of booleans. Nulls stay, since policy rules may look for them.

    Raises:
        ColumnMissingError: There is no such column.
        ColumnTypeError: It does not hold booleans.
    """
    column = table.column(find_column(table.schema, name, role="required"))
    if not (pa.types.is_boolean(column.type) or pa.types.is_null(column.type)):
        raise ColumnTypeError(
            f"Column '{name}' is {type_text(column.type)} but must be boolean; cast it."
        )
    return one_chunk(column.cast(pa.bool_()))


def attribute_columns(table: pa.Table, known: Mapping[str, Any]) -> dict[str, pa.Array]:
    """Every other column that a rule could look at. Nested ones and a pandas index are left out."""
    others = {*known, *pandas_index(table.schema)}
    names = [name for name in table.column_names if name not in others]
    columns = {
        name: table.column(find_column(table.schema, name, role="attribute")) for name in names
    }
    plain = {name: _attribute(column) for name, column in columns.items()}
    return {name: column for name, column in plain.items() if column is not None}


def refuse_headless(table: pa.Table, path: str | Path, key: str) -> None:
    """Raise an error if a file of text (CSV, JSON lines) does not name its columns.

    Without them, what the reader takes for names are cells, which other errors would show.

    Raises:
        ColumnMissingError: The column of ids is not among them.
    """
    is_text_file = Path(path).suffix.lower() in _TEXT_SUFFIXES
    if is_text_file and key not in table.column_names:
        raise ColumnMissingError(
            f"File '{path}' has no column '{key}'; name the columns in the first line of a CSV "
            "file, and in every line of a JSON lines file."
        )


def refuse_repeats(table: pa.Table, key: str, word: str | None, what: str) -> None:
    """Raise an error if two rows share their key.

    Raises:
        DuplicateRecordError: Some do; the message counts the surplus rows.
    """
    lanes = IdHasher().all_keys(read_ids(table.column(key).chunk(0))).lanes
    if word is not None:
        lanes += (_ranks(table.column(word).chunk(0)),)
    if repeats := count_repeats(lanes):
        raise DuplicateRecordError(
            f"{repeats} rows of {table.num_rows} repeat {what} of an earlier row; which one holds "
            "is never guessed. Keep one row each."
        )


def read_as_of(argument: datetime | None, table: pa.Table, what: str) -> datetime:
    """As of which instant a table speaks: from the argument or from the schema's metadata.

    Raises:
        AsOfError: Neither says, they disagree, or it is no instant with a time zone.
    """
    metadata = table.schema.metadata or {}
    texts = [metadata[key].decode("utf-8", "replace") for key in _AS_OF_KEYS if key in metadata]
    instants = {_parse_as_of(text, what) for text in texts}
    if argument is not None:
        as_micros(argument, name="as_of")
        instants.add(_in_utc(argument, what))
    if len(instants) > 1:
        raise AsOfError(
            f"The {what} is said to be as of {' and '.join(str(i) for i in sorted(instants))}; "
            "correct the argument or the file's metadata."
        )
    if not instants:
        raise AsOfError(
            f"Nobody says as of when the {what} speaks; give as_of=…, or put "
            "'consentgate.as_of' into the file's metadata."
        )
    return instants.pop()


def content_digest(table: pa.Table, key: str, word: str | None) -> str:
    """The SHA-256 of a tidy table's content, whatever the order of its rows and columns.

    Rows are put into the order of a fixed hash of their key, and every column is written as
    values of one width with its nulls zeroed and listed. Columns that hold only nulls do not count.
    """
    order = _canonical_order(table, key, word)
    names = sorted(name for name in table.column_names if table[name].null_count < len(table))
    parts: list[Any] = [digest_json([table.num_rows, names]).encode()]
    for name in names:
        kind, buffers = _canonical_buffers(table.column(name).chunk(0).take(order))
        parts += [digest_json([kind, [buffer.nbytes for buffer in buffers]]).encode(), *buffers]
    return digest_bytes(parts)


def _canonical_order(table: pa.Table, key: str, word: str | None) -> pa.Array:
    lanes = IdHasher(bytes(16)).all_keys(read_ids(table.column(key).chunk(0))).lanes
    if word is not None:
        lanes = (_ranks(table.column(word).chunk(0)), *lanes)
    return pa.array(np.lexsort(lanes))


def _canonical_buffers(column: pa.Array) -> tuple[str, list[np.ndarray[Any, Any]]]:
    if pa.types.is_dictionary(column.type):
        column = plain_text(column)
    valid = column.is_valid().to_numpy(zero_copy_only=False)
    if is_text(column.type):
        text = read_ids(column.fill_null(""))
        first, last = text.offsets[0], text.offsets[-1]  # type: ignore[union-attr]
        lengths = np.diff(text.offsets).astype(np.int64)  # type: ignore[union-attr]
        return "text", [valid, lengths, text.data[first:last]]  # type: ignore[union-attr]
    if pa.types.is_timestamp(column.type):
        instants = read_instants(column.fill_null(0), "attribute", assume_timezone="UTC")
        return "instant", [valid, instants.floor, instants.ceil]
    if pa.types.is_fixed_size_binary(column.type):
        return "uuid", [valid, read_ids(column).values]  # type: ignore[union-attr]
    values = column.fill_null(False if pa.types.is_boolean(column.type) else 0)
    flat = values.to_numpy(zero_copy_only=False)
    return flat.dtype.kind, [valid, flat]


def _ranks(words: pa.DictionaryArray) -> Any:
    """Each word's position among the dictionary's words in order, as uint64."""
    rank = np.argsort(np.argsort(np.array(words.dictionary.to_pylist(), dtype=object)))
    return rank.astype(np.uint64)[words.indices.to_numpy(zero_copy_only=False)]


def _encoded(column: pa.ChunkedArray) -> pa.DictionaryArray:
    """Text of any layout, dictionary-encoded with no value that is not used."""
    chunks = [_encoded_chunk(chunk) for chunk in column.chunks if len(chunk)]
    words = pa.chunked_array(chunks, pa.dictionary(pa.int32(), pa.large_string()))
    return one_chunk(words.unify_dictionaries())


def _encoded_chunk(chunk: pa.Array) -> pa.DictionaryArray:
    if not pa.types.is_dictionary(chunk.type):
        return plain_text(chunk).dictionary_encode()
    used = chunk.indices.unique().drop_null()
    values = plain_text(chunk.dictionary).take(used).dictionary_encode()
    codes = values.indices.take(pc.index_in(chunk.indices, used))
    return pa.DictionaryArray.from_arrays(codes, values.dictionary)


def _attribute(column: pa.ChunkedArray) -> pa.Array | None:
    if pa.types.is_dictionary(column.type) and is_text(column.type.value_type):
        return _encoded(column)
    column = without_views(decoded(column))
    kind = column.type
    if is_text(kind):
        return one_chunk(plain_text(column))
    if pa.types.is_integer(kind):
        return one_chunk(column.cast(pa.uint64() if pa.types.is_uint64(kind) else pa.int64()))
    if pa.types.is_boolean(kind) or pa.types.is_timestamp(kind):
        return one_chunk(column)
    if pa.types.is_floating(kind):
        return one_chunk(column.cast(pa.float64()))
    if pa.types.is_nested(kind) or isinstance(kind, pa.BaseExtensionType):
        return None
    try:
        return one_chunk(column.cast(pa.large_string()))
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        return None


def _refuse_nulls(column: pa.Array, name: str) -> None:
    if column.null_count:
        raise NullValueError(
            f"Column '{name}' is null in {column.null_count} of {len(column)} rows but must "
            "never be; complete or remove those rows."
        )


def _max(ids: pa.Array) -> int:
    return int(read_ids(ids).values.max(initial=0))  # type: ignore[union-attr]


def _parse_as_of(text: str, what: str) -> datetime:
    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        instant = datetime.min
    if instant.utcoffset() is None:
        raise AsOfError(
            f"The {what}'s metadata says as_of '{text[:_MOST_CHARS]}', which is no ISO 8601 "
            "instant with an offset from UTC; correct it."
        )
    return _in_utc(instant, what)


def _in_utc(instant: datetime, what: str) -> datetime:
    try:
        return instant.astimezone(UTC)
    except OverflowError as error:
        raise AsOfError(f"The {what}'s as_of lies outside the calendar; correct it.") from error
