"""Polars: nothing of an excluded row is in the buffers of what comes back, whatever its type."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator
from decimal import Decimal
from functools import partial
from io import BytesIO
from typing import Any

import polars as pl
import pyarrow as pa
import pytest

from consentgate.adapters import polars as gated
from tests.build import make_gate, message_table

ROWS = 60
SECRET = 0x5345435245545345
"""Spells SECRETSE in memory, backwards on most machines."""
MARKS = (b"SECRET", b"TERCES")
ADMITTED = {
    "every second": lambda row: row % 2 == 1,
    "the first": lambda row: row < 40,
    "the last": lambda row: row >= 20,
    "the middle": lambda row: 20 <= row < 50,
    "all but one": lambda row: row != 7,
    "one": lambda row: row == 33,
    "none": lambda row: row < 0,
}


def plain(is_admitted: Callable[[int], bool]) -> dict[str, pl.Series]:
    """Columns of many types, whose excluded rows say SECRET."""
    words = [f"{'ok' if is_admitted(n) else 'SECRET'} text of row {n}" for n in range(ROWS)]
    numbers = [n if is_admitted(n) else SECRET for n in range(ROWS)]
    return {
        "text": pl.Series(words),
        "short text": pl.Series([word[:11] for word in words]),
        "binary": pl.Series([word.encode() for word in words]),
        "categorical": pl.Series(words, dtype=pl.Categorical),
        "integer": pl.Series(numbers),
        "integer with nulls": pl.Series([None if n % 5 == 0 else n for n in numbers]),
        "int128": pl.Series(numbers, dtype=pl.Int128),
        "decimal": pl.Series([Decimal(n) for n in numbers], dtype=pl.Decimal(38, 0)),
        "duration": pl.Series(numbers).cast(pl.Duration("us")),
        "boolean": pl.Series([is_admitted(n) for n in range(ROWS)]),
        "null": pl.Series([None] * ROWS),
    }


def extended(series: pl.Series) -> pl.Series:
    """The values in an extension type of Polars."""
    return series.ext.to(pl.Extension(f"tests.{series.dtype}", series.dtype, "metadata"))


def each(series: pl.Series, wrap: Callable[[pl.Expr], pl.Expr]) -> pl.Series:
    """What becomes of a column in an expression."""
    return series.to_frame("it").select(wrap(pl.col("it"))).to_series()


def listed(series: pl.Series) -> pl.Series:
    """The values in lists of one; by slices, since Polars cannot list extension values."""
    return pl.concat([series.slice(row, 1).implode() for row in range(ROWS)], rechunk=True)


WRAPPED: dict[str, Callable[[pl.Series], pl.Series]] = {
    "itself": lambda series: series,
    "list": listed,
    "array": partial(each, wrap=lambda it: pl.concat_arr(it, it)),
    "struct": partial(each, wrap=lambda it: pl.struct(a=it, b=pl.lit(1))),
    "extension": extended,
    "list of extension": lambda series: listed(extended(series)),
    "struct of extension": lambda series: WRAPPED["struct"](extended(series)),
    "extension of list": lambda series: extended(listed(series)),
    "extension of struct": lambda series: extended(WRAPPED["struct"](series)),
}
CHUNKED: dict[str, Callable[[pl.Series], pl.Series]] = {
    "one chunk": lambda series: series,
    "a slice": lambda series: pl.concat([series, series, series], rechunk=True).slice(ROWS, ROWS),
    "chunks": lambda series: pl.concat([series[:10], series[10:11], series[11:]], rechunk=False),
}


def filtered(series: pl.Series, is_admitted: Callable[[int], bool], *, lazy: bool) -> pl.DataFrame:
    """A column's admitted rows."""
    senders = [1 if is_admitted(row) else None for row in range(ROWS)]
    table = message_table(message_id=list(range(ROWS)), sender_id=senders)
    frame = pl.DataFrame(table).with_columns(series.alias("it"))
    if lazy:
        return gated.filter(frame.lazy(), make_gate()).select("it").collect()
    return gated.filter(frame, make_gate()).select("it")


def arrow(frame: pl.DataFrame, level: Any) -> pa.Table | None:
    """The frame in Arrow, as far as Arrow has its types."""
    try:
        return frame.to_arrow(compat_level=level)
    except pa.ArrowInvalid:
        return None


def ranges(table: pa.Table | None) -> Iterator[tuple[int, int]]:
    """Where in memory a table's buffers begin and end."""
    for chunk in [] if table is None else table["it"].chunks:
        storage = chunk.storage if isinstance(chunk, pa.ExtensionArray) else chunk
        for buffer in storage.buffers():
            if buffer is not None and buffer.size:
                yield buffer.address, buffer.address + buffer.size


def written(frame: pl.DataFrame) -> bytes:
    """The frame in every form in which it can leave the process."""
    forms = [pickle.dumps(frame)]
    for level in (pl.CompatLevel.oldest(), pl.CompatLevel.newest()):
        file = BytesIO()
        frame.write_ipc_stream(file, compat_level=level)
        forms += [file.getvalue(), pickle.dumps(arrow(frame, level))]
    return b"".join(forms)


@pytest.mark.parametrize("wrapped", WRAPPED)
@pytest.mark.parametrize("admitted", ADMITTED)
def test_no_buffer_holds_values_of_excluded_rows(wrapped: str, admitted: str) -> None:
    is_admitted = ADMITTED[admitted]
    newest = pl.CompatLevel.newest()
    for turn, (name, series) in enumerate(plain(is_admitted).items()):
        series = [*CHUNKED.values()][turn % 3](WRAPPED[wrapped](series).alias("it"))
        found = filtered(series, is_admitted, lazy=turn % 2 == 0)
        wanted = series.to_frame().filter([*map(is_admitted, range(ROWS))])
        assert found.schema == wanted.schema, name
        assert found["it"].to_list() == wanted["it"].to_list(), name
        before, after = arrow(series.to_frame(), newest), arrow(found, newest)  # kept alive
        shared = [a for a in ranges(before) for b in ranges(after) if a[0] < b[1] and b[0] < a[1]]
        assert not shared, name
        if wrapped != "list of extension" or found.height > 1:  # of one, Polars 2.1 can write none
            assert not any(mark in written(found) for mark in MARKS), name


@pytest.mark.parametrize("chunked", CHUNKED)
def test_objects_are_the_same_objects(chunked: str) -> None:
    things = CHUNKED[chunked](pl.Series("it", [object() for _ in range(ROWS)], dtype=pl.Object))
    found = filtered(things, ADMITTED["the middle"], lazy=False)["it"].to_list()
    assert [*map(id, found)] == [*map(id, things.to_list()[20:50])]


def test_types_that_are_registered_keep_their_class() -> None:
    class Mail(pl.BaseExtension):
        def __init__(self) -> None:
            super().__init__("tests.mail", pl.String)

    pl.register_extension_type("tests.mail", Mail)
    pl.register_extension_type("tests.plain", as_storage=True)
    try:
        words = plain(ADMITTED["the last"])["text"]
        stored = words.ext.to(pl.Extension("tests.plain", pl.String))
        for series in (words.ext.to(Mail()), stored, listed(stored), listed(words.ext.to(Mail()))):
            found = filtered(series, ADMITTED["the last"], lazy=False)["it"]
            assert found.dtype == series.dtype
            assert type(found.dtype) is type(series.dtype)
            assert found.to_list() == series.to_list()[20:]
    finally:
        pl.unregister_extension_type("tests.mail")
        pl.unregister_extension_type("tests.plain")
