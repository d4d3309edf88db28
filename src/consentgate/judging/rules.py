"""Where a policy rule matches, over a whole column."""

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from consentgate.arrow import (
    Bools,
    booleans,
    dictionary_codes,
    find_column,
    is_text,
    plain_text,
    type_text,
    valid_mask,
)
from consentgate.errors import ColumnMissingError, RuleColumnMissingError, RuleColumnTypeError
from consentgate.policy import Rule


def check_rule(rule: Rule, kind: pa.DataType) -> None:
    """Raise an error unless the rule can be evaluated on a column of that type.

    Raises:
        RuleColumnTypeError: The type is nested or run-end-encoded, or does not fit the rule's
            values.
    """
    value_type = type(rule.values[0]) if rule.values else type(None)
    plain = kind.value_type if pa.types.is_dictionary(kind) else kind
    fits = {
        type(None): _says_what_is_null(kind),
        str: is_text(plain),
        int: bool(pa.types.is_integer(plain)),
        bool: bool(pa.types.is_boolean(plain)),
    }
    if not (fits[value_type] or pa.types.is_null(plain)):
        wanted = (
            f"hold {value_type.__name__} values"
            if rule.values
            else "not be nested or run-end-encoded"
        )
        raise RuleColumnTypeError(
            f"Rule '{rule.name}' looks at column '{rule.column}', which is {type_text(kind)} but "
            f"must {wanted}; change the rule or cast the column."
        )


def _says_what_is_null(kind: pa.DataType) -> bool:
    """Whether `valid_mask` can tell which entries of a column are null, and a rule may ask it."""
    if isinstance(kind, pa.BaseExtensionType):
        return _says_what_is_null(kind.storage_type)
    if pa.types.is_dictionary(kind):
        return _says_what_is_null(kind.value_type)
    return not pa.types.is_nested(kind) and not pa.types.is_run_end_encoded(kind)


def match_rule(rule: Rule, column: pa.Array) -> Bools:
    """Where the rule matches: n booleans, true for every null.

    Args:
        rule: one that `check_rule` has let through for this column's type.
        column: n values, dictionary-encoded or not.
    """
    valid = valid_mask(column)
    missing = np.zeros(len(column), np.bool_) if valid is None else ~valid
    if rule.is_null or missing.all():
        return missing
    return missing | _match_values(rule, column)


def _match_values(rule: Rule, column: pa.Array) -> Bools:
    """Where the rule matches a value; anything where there is none."""
    if pa.types.is_dictionary(column.type):
        by_value = np.append(match_rule(rule, column.dictionary), True)
        return by_value[dictionary_codes(column)]
    listed = booleans(_is_listed(column, rule.values))
    return listed if rule.any_of is not None else ~listed


def _is_listed(column: pa.Array, values: tuple[Any, ...]) -> pa.BooleanArray:
    """Where a column that is not all null holds one of the values; anything where it is null."""
    column, listed = _comparable(column, values)
    if len(listed) == 1:
        return pc.equal(column, listed[0])
    return pc.is_in(column, listed)


def _comparable(column: pa.Array, values: tuple[Any, ...]) -> tuple[pa.Array, pa.Array]:
    """The column and the values in one type; values that it cannot hold equal nothing in it."""
    if is_text(column.type):
        return plain_text(column), pa.array(values, pa.large_string())
    if pa.types.is_boolean(column.type):
        return column, pa.array(values, pa.bool_())
    bounds = np.iinfo(column.type.to_pandas_dtype())
    return column, pa.array([v for v in values if bounds.min <= v <= bounds.max], column.type)


def find_rule_column(schema: pa.Schema, rule: Rule, where: str) -> int:
    """The position of the column that a rule looks at, once its type is known to fit.

    Raises:
        RuleColumnMissingError, RuleColumnTypeError: The rule cannot be evaluated.
    """
    try:
        at = find_column(schema, rule.column, role=f"rule '{rule.name}', in the {where}")
    except ColumnMissingError as error:
        raise RuleColumnMissingError(str(error)) from error
    check_rule(rule, schema.field(at).type)
    return at
