"""Arguments of the wrong type are refused by name before anything is done with them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from consentgate.arguments import require, require_path


@pytest.mark.parametrize(
    ("value", "kinds"),
    [(1, (int,)), (True, (bool,)), (True, (int, bool)), (None, (int, None)), (Path(), (Path,))],
)
def test_an_argument_that_fits_is_let_through(value: Any, kinds: Any) -> None:
    require(value, "threads", *kinds)


@pytest.mark.parametrize(
    ("value", "kinds", "words"),
    [
        ("1", (int,), "`threads` is of type 'str' but must be int"),
        (True, (int,), "`threads` is of type 'bool' but must be int"),
        (None, (int, str), "`threads` is of type 'NoneType' but must be int or str"),
        (1, (str, None), "`threads` is of type 'int' but must be str or None"),
    ],
)
def test_an_argument_that_does_not_fit_is_named(value: Any, kinds: Any, words: str) -> None:
    with pytest.raises(TypeError, match=words):
        require(value, "threads", *kinds)


class BytesPath:
    """A path object that gives bytes."""

    def __fspath__(self) -> bytes:
        return b"x"


def test_a_path_is_text_or_a_path_object() -> None:
    require_path("x", "path")
    require_path(Path("x"), "path")
    require_path(None, "path", None)
    for value in (b"x", 3, None, BytesPath()):
        with pytest.raises(TypeError, match=r"`path` is of type .* give a path as text"):
            require_path(value, "path")
