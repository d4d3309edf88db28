"""Ids and texts that nobody may see, and where an error or an object could show them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import UUID

import pyarrow as pa

MARK = "person-4711-said-so"
NUMBER = 4_711_471_147_114_711
MARKS = (
    MARK,
    str(NUMBER),
    str(UUID(int=NUMBER)),
    UUID(int=NUMBER).hex,
    repr(UUID(int=NUMBER).bytes),
)


def someone(kind: str, number: int = 0) -> Any:
    """A person's id of some family."""
    if kind == "string":
        return MARK + ("!" * number)
    return NUMBER * 10**number if kind == "integer" else UUID(int=NUMBER * 10**number).bytes


def ids(kind: str, *numbers: int) -> pa.Array:
    """Ids of some family, as Arrow has them."""
    return pa.array([someone(kind, n) for n in numbers], pa.binary(16) if kind == "uuid" else None)


def texts(error: BaseException | None) -> Iterator[str]:
    """All that an error shows, and all that those show that a traceback shows with it."""
    while error is not None:
        yield from (str(error), repr(error), repr(error.args), repr(vars(error)))
        yield from getattr(error, "__notes__", ())
        hidden = error.__suppress_context__
        error = error.__cause__ or (None if hidden else error.__context__)


def shown_by(error: BaseException, *marks: str) -> list[str]:
    """What an error, or what it came from, shows of ids and texts."""
    return [text for text in texts(error) if any(mark in text for mark in marks or MARKS)]
