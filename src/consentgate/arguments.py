"""Checks of the types of arguments that callers give to public functions."""

import os


def is_utf8(text: str) -> bool:
    """Whether text can be written as UTF-8. Half of a surrogate pair cannot."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def require(
    value: object,
    name: str,
    *kinds: type | None,
    hint: str = "check the order of the arguments",
) -> None:
    """Raise TypeError unless an argument is of one of these classes.

    Args:
        value: the argument.
        name: the parameter's name, as messages show it.
        kinds: the classes that are accepted; None if the argument may be left out. A bool is
            accepted as an int only if `bool` is one of the classes, too.
        hint: the end of the message, which says what to do.
    """
    classes = tuple(type(None) if kind is None else kind for kind in kinds)
    is_odd = isinstance(value, bool) and bool not in classes and object not in classes
    if isinstance(value, classes) and not is_odd:
        return
    wanted = " or ".join("None" if kind is None else kind.__name__ for kind in kinds)
    raise TypeError(f"`{name}` is of type '{type(value).__name__}' but must be {wanted}; {hint}.")


def require_path(value: object, name: str, *more: type | None) -> None:
    """Raise TypeError unless an argument is a path in text: `str` or a path object, not `bytes`.

    Args:
        value: the argument.
        name: the parameter's name, as messages show it.
        more: other classes that are accepted; None if the argument may be left out.
    """
    is_path = isinstance(value, os.PathLike) and isinstance(os.fspath(value), str)
    if not is_path:
        require(value, name, str, *more, hint="give a path as text or as a pathlib.Path")
