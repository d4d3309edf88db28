"""Copies rows of Polars frames, so that nothing of the other rows stays in their buffers."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from typing import TYPE_CHECKING

from consentgate.decision import Decision
from consentgate.errors import ColumnTypeError

if TYPE_CHECKING:
    import polars as pl


def in_short(kind: pl.DataType) -> str:
    """The name of a type, without the words of an `Enum`, which can be text of messages."""
    name, inner = type(kind).__name__, getattr(kind, "inner", None)
    return name if inner is None else f"{name}({in_short(inner)})"


def own_rows(frame: pl.DataFrame, decision: Decision) -> pl.DataFrame:
    """Copy the admitted rows into buffers that hold nothing of other rows.

    The result of Polars' own `filter` shares buffers with its input: those of text always, and
    those of numbers if the wanted rows lie next to each other. Pickling or exporting it would hand
    on the whole buffers.
    """
    import polars as pl

    mask = pl.Series(decision.admitted)
    flat = [name for name, kind in frame.schema.items() if _is_flat(kind)]
    others = [name for name in frame.columns if name not in flat]
    gathered = only(frame, flat)[mask.arg_true()]
    filtered = only(frame, others).filter(mask)
    copies = [*gathered.get_columns(), *map(_copied, filtered.get_columns())]
    return only(pl.DataFrame({copy.name: copy for copy in copies}), frame.columns)


def _is_flat(kind: pl.DataType) -> bool:
    """Whether each value has a fixed width, so that `gather` copies it."""
    import polars as pl

    flat = pl.Boolean | pl.Null | pl.Object | pl.Categorical | pl.Enum
    return kind.is_numeric() or kind.is_temporal() or isinstance(kind, flat)


def _copied(column: pl.Series) -> pl.Series:
    """Copy values into buffers that hold no others."""
    import polars as pl

    kind = column.dtype
    if isinstance(kind, pl.BaseExtension):
        return _copied(column.ext.storage()).ext.to(kind)
    if _is_flat(kind):
        return column.gather(pl.int_range(column.len(), eager=True))
    if isinstance(kind, pl.String | pl.Binary):
        plain = column.to_arrow(compat_level=pl.CompatLevel.oldest())  # not a view
        return pl.Series(column.name, plain)
    try:
        return _written_and_read(column)
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException):
        # from None, because the error's own message can quote values
        raise ColumnTypeError(
            f"Column '{column.name}' is {in_short(kind)}, which Polars cannot write to Arrow, so "
            "its rows cannot be copied; cast it, or leave it out."
        ) from None


def _written_and_read(column: pl.Series) -> pl.Series:
    """Copy a frame through a file in memory, which can hold types that Arrow does not have."""
    import polars as pl

    file, rows = BytesIO(), column.len()
    # Polars 2.1 panics when it writes one single list of an extension type, alone or as a chunk.
    several = pl.concat([column, column]) if rows == 1 else column
    several.rechunk().to_frame().write_ipc_stream(file, compat_level=pl.CompatLevel.oldest())
    copy = pl.read_ipc_stream(file.getvalue()).to_series().head(rows)
    # Types that are registered `as_storage` come back as their storage.
    return copy if copy.dtype == column.dtype else copy.cast(column.dtype)


def only(frame: pl.DataFrame, names: Sequence[str]) -> pl.DataFrame:
    """The frame with only those columns. With no column, it still has its rows.

    The names are taken literally. Polars' `select` and `drop` read some as patterns, such as
    `^.*$`.
    """
    import polars as pl
    from polars import selectors

    if not names:  # `select` would make a frame without rows
        return pl.DataFrame(height=frame.height)
    return frame.select(selectors.by_name(names))
