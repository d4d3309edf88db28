"""Searches errors and objects for ids and texts that they must not show."""

from __future__ import annotations

import inspect
import pprint
from collections.abc import Iterator
from typing import Any
from uuid import UUID

import pyarrow as pa
import rich.pretty

MARK = "person-4711-said-so"
NUMBER = 4_711_471_147_114_711
MARKS = (
    MARK,
    str(NUMBER),
    str(UUID(int=NUMBER)),
    UUID(int=NUMBER).hex,
    repr(UUID(int=NUMBER).bytes),
)
TELLING = ("Explanation", "RowExplanation", "ExplainedReason", "Origin", "Reference")
"""What shows ids when it is asked for its text (`str`), but not in its `repr`."""


def someone(kind: str, number: int = 0) -> Any:
    """A person's id of some family."""
    if kind == "string":
        return MARK + ("!" * number)
    return NUMBER * 10**number if kind == "integer" else UUID(int=NUMBER * 10**number).bytes


def ids(kind: str, *numbers: int) -> pa.Array:
    """Ids of some family, as Arrow has them."""
    return pa.array([someone(kind, n) for n in numbers], pa.binary(16) if kind == "uuid" else None)


def texts(error: BaseException | None) -> Iterator[str]:
    """The text of an error and of all errors that a traceback shows with it."""
    while error is not None:
        yield from (str(error), repr(error), repr(error.args), repr(vars(error)))
        yield from getattr(error, "__notes__", ())
        hidden = error.__suppress_context__
        error = error.__cause__ or (None if hidden else error.__context__)


def shown_by(error: BaseException, *marks: str) -> list[str]:
    """The ids and texts that an error, or an error that it came from, shows."""
    return [text for text in texts(error) if any(mark in text for mark in marks or MARKS)]


def within(root: Any) -> Iterator[Any]:
    """An object, and all that it is made of."""
    seen: dict[int, Any] = {}
    waiting = [root]
    while waiting:
        thing = waiting.pop()
        if id(thing) in seen or inspect.ismodule(thing) or inspect.isclass(thing):
            continue
        seen[id(thing)] = thing
        yield thing
        if isinstance(thing, dict):
            waiting += [*thing.keys(), *thing.values()]
        elif isinstance(thing, tuple | list | set | frozenset):
            waiting += thing
        waiting += getattr(thing, "__dict__", {}).values()


def is_ours(thing: Any) -> bool:
    """Whether the object's class is the package's."""
    return type(thing).__module__.partition(".")[0] == "consentgate"


def displays(thing: Any) -> Iterator[str]:
    """Every text that a notebook, a log or a traceback could show for an object."""
    yield from (repr(thing), f"{thing!r}", pprint.pformat(thing), rich.pretty.pretty_repr(thing))
    yield from (repr([thing]), repr({"x": thing}), ascii(thing))
    for name in ("_repr_html_", "_repr_markdown_", "_repr_pretty_", "_repr_mimebundle_"):
        assert not hasattr(thing, name), f"{type(thing)} has {name}: test what it shows"
    if type(thing).__name__ not in TELLING:
        yield from (str(thing), f"{thing}", format(thing, ""))
