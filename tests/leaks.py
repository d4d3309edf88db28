"""Ids and texts that nobody may see, and where an error or an object could show them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import UUID

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


def room(kind: str) -> Any:
    """A channel's id of some family."""
    return someone(kind, 2)


def texts(error: BaseException | None) -> Iterator[str]:
    """All that an error says, and all that those say that it came from."""
    while error is not None:
        yield from (str(error), repr(error), repr(error.args), repr(vars(error)))
        yield from getattr(error, "__notes__", ())
        if error.__cause__ is not None and error.__context__ is not error.__cause__:
            yield from texts(error.__context__)
        error = error.__cause__ or error.__context__


def shown_by(error: BaseException) -> list[str]:
    """What an error, or what it came from, shows of ids and texts."""
    return [text for text in texts(error) if any(mark in text for mark in MARKS)]
