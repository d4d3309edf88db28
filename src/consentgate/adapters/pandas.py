"""pandas: data frames with admitted rows only.

>>> import pandas as pd
>>> from consentgate.adapters import pandas as gated
>>> frame = pd.read_parquet("messages.parquet", dtype_backend="pyarrow")  # doctest: +SKIP
>>> admitted = gated.filter(frame, gate)  # doctest: +SKIP
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from consentgate.adapters.engine import need
from consentgate.adapters.options import require_gate
from consentgate.adapters.values import ValueColumns
from consentgate.arrow import Validator, keep_values
from consentgate.errors import ColumnTypeError, NotArrowError
from consentgate.gate import Gate
from consentgate.judging import JudgingOptions, Sieve
from consentgate.publishing import AnyGate

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["filter"]


def filter(
    data: pd.DataFrame,
    gate: AnyGate,
    *,
    ledger: str | Path | None = None,
    judged_at: datetime | None = None,
    threads: int | None = None,
) -> pd.DataFrame:
    """Make a data frame of the admitted rows, in their order, with their index, types and labels.

    The frame is judged at once, by the gate that is current when `filter` is called.

    Only the columns that judging and recording need are looked at. They must be of types that Arrow
    has. In a column of objects, subjects may be lists, tuples or NumPy arrays, as `pd.read_parquet`
    returns them. The index is never looked at.

    In plain pandas, integer ids in a column with nulls are floats, and floats are not accepted as
    ids. Read the data with `dtype_backend="pyarrow"`, or use `Int64`. The only exception are NumPy
    arrays of subjects, which pandas makes floats of if one of them holds a null. These floats are
    taken for integers. All have to be whole numbers below 2**53, because larger ones are not exact.

    Categories that no admitted row has are removed, both from columns and from the index, because
    they would show what excluded rows hold. `attrs`, flags, and the fill value of a sparse column's
    type are kept as they are, because they do not belong to a row.

    Args:
        data: a data frame with the gate's columns.
        gate: a gate or a live gate.
        ledger: a folder that gets the excluded rows, with their position in `row`. None keeps no
            record of excluded rows.
        judged_at: the instant of judgement, with a time zone. None takes the gate's. If that is
            None, too, the clock is read.
        threads: as in `Gate.decide`.

    Raises:
        NotArrowError: `data` is not a `DataFrame`.
        TypeError: Another argument is of the wrong type.
        MalformedDataError: A column of Arrow's types is not what its type says.
        ExtraMissingError, ExtraOutdatedError: pandas is not installed, or too old.
        OutputError: The ledger cannot be written.
        Every error of `Gate.decide`.
    """
    need("pandas")
    import pandas as pd

    require_gate(gate)
    options = JudgingOptions(ledger=ledger, judged_at=judged_at, threads=threads)
    if not isinstance(data, pd.DataFrame):
        raise NotArrowError(
            f"An object of type '{type(data).__qualname__}' is not a pandas DataFrame; give one."
        )
    current = gate.current()
    with Sieve(current, options) as sieve:
        decision = sieve.judge(_needed_table(data, current, options.columns(current)))
    return _admitted_rows(data, decision.admitted)


def _needed_table(frame: pd.DataFrame, gate: Gate, needed: Collection[str]) -> pa.Table:
    """A table of all columns. Needed columns have their values, and the others have only nulls."""
    names, arrays = [], []
    for at, label in enumerate(frame.columns):
        if isinstance(label, str):
            is_needed = label in needed
            column = _as_arrow(frame.iloc[:, at], label, gate) if is_needed else None
            # Arrow refuses half of a surrogate pair.
            names.append(label.encode(errors="backslashreplace").decode())
            arrays.append(pa.nulls(len(frame)) if column is None else column)
    return pa.Table.from_arrays(arrays, names=names)


def _as_arrow(column: pd.Series, name: str, gate: Gate) -> pa.ChunkedArray:
    try:
        if column.dtype != object:
            array = pa.array(column.array, from_pandas=True)
            return array if isinstance(array, pa.ChunkedArray) else pa.chunked_array([array])
        values = column.to_numpy(copy=True)
        values[column.isna()] = None  # pandas has several nulls, Arrow one
    except Exception:  # a column's own code can raise any class, with values in its message
        # The text of pandas' own types can show values, for example that of sparse columns.
        kind = column.dtype if isinstance(column.dtype, np.dtype) else type(column.dtype).__name__
        raise ColumnTypeError(
            f"Column '{name}' is {kind} and cannot be converted to Arrow; convert it first."
        ) from None
    return ValueColumns(reads_text=False).table(gate, {name: values.tolist()}).column(name)


def _admitted_rows(frame: pd.DataFrame, mask: pa.BooleanArray) -> pd.DataFrame:
    import pandas as pd

    index = _admitted_index(frame.index, mask)
    columns = {}
    for at in range(frame.shape[1]):
        column = frame.iloc[:, at]
        values = _admitted_values(column, mask)
        is_object = column.dtype == object  # pandas would infer another type
        columns[at] = pd.Series(values, index=index, dtype=object if is_object else None)
    admitted = pd.DataFrame(columns, index=index)
    admitted.columns = frame.columns
    return frame._constructor(admitted).__finalize__(frame)


def _admitted_values(values: Any, mask: pa.BooleanArray) -> Any:
    """The values of a column or plain index where the mask is true, as an array."""
    import pandas as pd

    array = values.array
    if isinstance(array.dtype, pd.ArrowDtype):
        column = array.__arrow_array__()
        column = column if isinstance(column, pa.ChunkedArray) else pa.chunked_array([column])
        return pd.arrays.ArrowExtensionArray(keep_values(column, mask, str(values.name)))
    if isinstance(array.dtype, pd.StringDtype) and array.dtype.storage == "pyarrow":
        Validator().check_column(str(values.name), array.__arrow_array__())
    kept = array[mask.to_numpy(zero_copy_only=False)]
    return _with_own_categories(kept) if isinstance(kept.dtype, pd.CategoricalDtype) else kept


def _with_own_categories(values: Any) -> Any:
    """Categorical values with only the categories that they use.

    pandas' own `remove_unused_categories` keeps all words of categories that are a dictionary in
    Arrow.
    """
    import pandas as pd

    used, codes = np.unique(values.codes, return_inverse=True)
    has_nulls = int(used.size > 0 and used[0] < 0)
    is_used = np.zeros(len(values.categories), np.bool_)
    is_used[used[has_nulls:]] = True
    categories = pd.Index(
        _admitted_values(values.categories, pa.array(is_used)), name=values.categories.name
    )
    return pd.Categorical.from_codes(codes - has_nulls, categories, ordered=values.ordered)


def _admitted_index(index: pd.Index, mask: pa.BooleanArray) -> pd.Index:
    import pandas as pd

    if isinstance(index, pd.MultiIndex):
        levels = [index.get_level_values(at) for at in range(index.nlevels)]
        arrays = [_admitted_index(level, mask) for level in levels]
        return pd.MultiIndex.from_arrays(arrays, names=index.names)
    if isinstance(index.dtype, pd.ArrowDtype | pd.CategoricalDtype):
        return pd.Index(_admitted_values(index, mask), name=index.name)
    return index[mask.to_numpy(zero_copy_only=False)]
