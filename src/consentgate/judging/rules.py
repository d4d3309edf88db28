"""Applying a policy rule to a whole column."""

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from consentgate.arrow import (
    Bools,
    booleans,
    dictionary_codes,
    find_column,
    from_numpy,
    from_texts,
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
    """Whether a rule may ask which entries of a column are null. `valid_mask` can tell it then."""
    if isinstance(kind, pa.BaseExtensionType):
        return _says_what_is_null(kind.storage_type)
    if pa.types.is_dictionary(kind):
        return _says_what_is_null(kind.value_type)
    return not pa.types.is_nested(kind) and not pa.types.is_run_end_encoded(kind)


def match_rule(rule: Rule, column: pa.Array) -> Bools:
    """A mask of n booleans that is true where the rule matches. A null always matches.

    Args:
        rule: a rule that `check_rule` accepts for this column's type.
        column: n values, dictionary-encoded or not.
    """
    valid = valid_mask(column)
    missing = np.zeros(len(column), np.bool_) if valid is None else ~valid
    if rule.is_null or missing.all():
        return missing
    return missing | _match_values(rule, column)


def _match_values(rule: Rule, column: pa.Array) -> Bools:
    """A mask that is true where the rule matches a value. For a null it may be true or false."""
    if pa.types.is_dictionary(column.type):
        by_value = np.append(match_rule(rule, column.dictionary), True)
        return by_value[dictionary_codes(column)]
    if pa.types.is_boolean(column.type):
        values = booleans(column)
        listed = (values & (True in rule.values)) | (~values & (False in rule.values))
    else:
        listed = booleans(_is_listed(column, rule.values))
    return listed if rule.any_of is not None else ~listed


def _is_listed(column: pa.Array, values: tuple[Any, ...]) -> pa.BooleanArray:
    """Whether each entry of a column is one of the values. The result for a null is arbitrary.

    At least one entry of the column is not null.
    """
    column, listed = _comparable(column, values)
    if len(listed) == 1:
        return pc.equal(column, listed[0])
    return pc.is_in(column, listed)


def _comparable(column: pa.Array, values: tuple[Any, ...]) -> tuple[pa.Array, pa.Array]:
    """The column and the values in one type, without the values that this type cannot hold."""
    if is_text(column.type):
        return plain_text(column), from_texts(values)
    kind = np.dtype(column.type.to_pandas_dtype())
    bounds = np.iinfo(kind)
    return column, from_numpy(np.array([v for v in values if bounds.min <= v <= bounds.max], kind))


def find_rule_column(schema: pa.Schema, rule: Rule, where: str) -> int:
    """The position of the column that a rule looks at, if the rule can be evaluated on it.

    Args:
        where: what the column belongs to, in the words of error messages.

    Raises:
        RuleColumnMissingError: No column has that name.
        ColumnAmbiguousError: Several columns have that name.
        RuleColumnTypeError: The column's type does not fit the rule.
    """
    try:
        at = find_column(schema, rule.column, role=f"rule '{rule.name}', in the {where}")
    except ColumnMissingError as error:
        raise RuleColumnMissingError(str(error)) from error
    check_rule(rule, schema.field(at).type)
    return at
