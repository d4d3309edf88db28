"""Finding columns in schemas, and how messages show columns and their types."""

import json
from collections.abc import Iterable
from typing import Any

import pyarrow as pa

from consentgate.errors import ColumnAmbiguousError, ColumnMissingError, SchemaMismatchError

_MOST_TYPE_CHARS = 80
_MOST_NAMES = 50


def refuse_other_schema(first: pa.Schema, other: pa.Schema) -> None:
    """Raise an error unless both have the same columns in the same order; metadata may differ.

    Raises:
        SchemaMismatchError: Their columns differ.
    """
    if difference := schema_difference(first, other):
        raise SchemaMismatchError(
            f"A batch has another schema than the first: {difference}; cast the batches to one "
            "schema."
        )


def find_column(
    schema: pa.Schema, name: str, *, role: str, hint: str = "say which column to use"
) -> int:
    """The position of the only column of that name.

    Args:
        role: what the column is needed for, in the words of error messages.
        hint: what else can be done than to rename a column, in the words of error messages.

    Raises:
        ColumnMissingError: No column has that name.
        ColumnAmbiguousError: Several columns have that name.
    """
    positions = schema.get_all_field_indices(name)
    if not positions:
        raise ColumnMissingError(
            f"Column '{name}' ({role}) is missing; the columns are {quoted(schema.names)}. "
            f"Rename one, or {hint}."
        )
    if len(positions) > 1:
        raise ColumnAmbiguousError(
            f"{len(positions)} columns are named '{name}' ({role}); rename or drop all but one."
        )
    return int(positions[0])


def quoted(names: Iterable[str]) -> str:
    """Names in quotes for a message: sorted, the first 50 of them, and "none" if there are none."""
    in_order = sorted(names)
    more = len(in_order) - _MOST_NAMES
    listed = ", ".join(f"'{name}'" for name in in_order[:_MOST_NAMES]) or "none"
    return f"{listed} and {more:,} more" if more > 0 else listed


def type_text(kind: Any) -> str:
    """A type as messages show it: short, and without the names of fields within it.

    These names can be ids of people: a column of JSON objects that are keyed by ids has such
    fields.
    """
    text = str(kind)
    has_names = "struct<" in text or "union<" in text
    if has_names or len(text) > _MOST_TYPE_CHARS:
        return f"{text.partition('<')[0][:_MOST_TYPE_CHARS]}<…>"
    return text


_TEXTS = {kind.id for kind in (pa.string(), pa.large_string(), pa.string_view())}
_ITEM = pa.null()
_LISTS = {
    kind.id
    for kind in (
        *(pa.list_(_ITEM), pa.large_list(_ITEM), pa.list_(_ITEM, 1)),
        *(pa.list_view(_ITEM), pa.large_list_view(_ITEM)),
    )
}


def is_text(kind: pa.DataType) -> bool:
    """Whether a type holds text: string, large_string or string_view."""
    return kind.id in _TEXTS


def is_list(kind: pa.DataType) -> bool:
    """Whether a type is a list of any layout. A map is not a list."""
    return kind.id in _LISTS


def is_flat(kind: pa.DataType) -> bool:
    """Whether a type is made of no other types: it has no fields, dictionary or storage."""
    is_made = isinstance(kind, pa.BaseExtensionType | pa.DictionaryType)
    return not is_made and kind.num_fields == 0


def plain_layout(kind: pa.DataType) -> pa.DataType | None:
    """The type without views for a string view or binary view; None for any other type."""
    if pa.types.is_string_view(kind):
        return pa.large_string()
    return pa.large_binary() if pa.types.is_binary_view(kind) else None


def pandas_index(schema: pa.Schema) -> set[str]:
    """The names of the columns that are the index of a pandas data frame, if it was one.

    pandas says so in the schema's metadata, which also gets into Parquet files.
    """
    try:
        description = json.loads((schema.metadata or {}).get(b"pandas", b"{}"))
        return {name for name in description["index_columns"] if isinstance(name, str)}
    except (ValueError, LookupError, TypeError, RecursionError):
        return set()  # pandas did not write this, so it tells nothing about an index


def schema_difference(first: pa.Schema, other: pa.Schema) -> str:
    """How the other schema differs from the first, in words; empty if only metadata differs."""
    if first.equals(other, check_metadata=False):
        return ""
    names = dict.fromkeys([*first.names, *other.names])
    differences = [
        _column_difference(name, _kinds(first, name), _kinds(other, name)) for name in names
    ]
    return ", ".join(filter(None, differences)) or "the columns' order differs"


def _column_difference(name: str, before: str, after: str) -> str:
    if before == after:
        return ""
    if not (before and after):
        return f"column '{name}' is {'additional' if after else 'missing'}"
    if type_text(before) == type_text(after):
        return f"column '{name}' is another {type_text(after)}"
    return f"column '{name}' is {type_text(after)} instead of {type_text(before)}"


def _kinds(schema: pa.Schema, name: str) -> str:
    """The types of all columns of a name, in words; empty if there is no such column."""
    fields = [schema.field(at) for at in schema.get_all_field_indices(name)]
    return " and ".join(f"{f.type}{'' if f.nullable else ' not null'}" for f in fields)
