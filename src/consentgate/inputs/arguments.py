"""Checks of the arguments with which snapshots and registries are read."""

from collections.abc import Collection, Mapping
from unicodedata import category

from consentgate.arguments import is_utf8, require
from consentgate.arrow import check_time_zone, quoted
from consentgate.errors import ConfigurationError

_WORDS_HINT = "give words by word, such as {'yes': 'given'}, with '' for an empty cell"
_NAMES_HINT = "give names by name, such as {'subject_id': 'user'}"


def checked_source(source: str) -> str:
    """Return the label. Raise an error unless it is text that manifests can hold.

    Raises:
        TypeError: It is not text.
        ConfigurationError: It holds half of a surrogate pair.
    """
    require(source, "source", str, hint="give a label in words")
    _check_text(source, "source")
    return source


def checked_zone(zone: str | None) -> str | None:
    """Return the time zone. Raise an error unless it is known.

    Raises:
        TypeError: It is not text.
        ConfigurationError: No time zone has that name.
    """
    hint = "give a name of the IANA database, such as 'Europe/Berlin'"
    require(zone, "assume_timezone", str, None, hint=hint)
    if zone is not None:
        _check_text(zone, "assume_timezone")
        check_time_zone(zone)
    return zone


def checked_words(
    mapping: Mapping[str, str] | None, name: str, *, never_empty: Collection[str]
) -> dict[str, str]:
    """Return a mapping from words of another vocabulary to ours. The key "" is an empty cell.

    Args:
        mapping: the argument.
        name: the argument's name.
        never_empty: the words that an empty cell must not mean.

    Raises:
        TypeError: It is not a mapping from text to text.
        ConfigurationError: A text holds half of a surrogate pair, or an empty or blank cell is to
            mean one of those words.
    """
    require(mapping, name, Mapping, None, hint=_WORDS_HINT)
    words = dict(mapping or {})
    for word, meaning in words.items():
        for text in (word, meaning):
            require(text, name, str, hint=_WORDS_HINT)
            _check_text(text, name)
        if _is_blank(word) and meaning in never_empty:
            raise ConfigurationError(
                f"`{name}` lets an empty cell mean '{meaning}', but a person who said nothing has "
                "not consented; map it to 'unknown', or complete those cells."
            )
    return words


def checked_names(
    columns: Mapping[str, str] | None, known: Collection[str], what: str
) -> dict[str, str]:
    """Return a mapping from our names of columns to the file's, without names that are the same.

    Args:
        columns: the argument.
        known: our names.
        what: what is read, as messages name it.

    Raises:
        TypeError: It is not a mapping from text to text.
        ConfigurationError: A key is not one of our names, or two of our names have the same column.
    """
    require(columns, "columns", Mapping, None, hint=_NAMES_HINT)
    names = dict(columns or {})
    for name in (*names.keys(), *names.values()):
        require(name, "columns", str, hint=_NAMES_HINT)
        _check_text(name, "columns")
    if unknown := names.keys() - set(known):
        turned = [name for name in unknown if names[name] in known]
        hint = f" Write '{names[turned[0]]}' first and '{turned[0]}' second." if turned else ""
        raise ConfigurationError(
            f"`columns` maps {quoted(unknown)}, but a {what} has only {quoted(known)}; use these "
            f"names as keys, and the names in the file as values.{hint}"
        )
    _refuse_shared(names, known)
    return {name: theirs for name, theirs in names.items() if name != theirs}


def _refuse_shared(names: Mapping[str, str], known: Collection[str]) -> None:
    whole = {**{name: name for name in known if name in names.values()}, **names}
    for theirs in names.values():
        ours = [name for name in whole if whole[name] == theirs]
        if len(ours) > 1:
            raise ConfigurationError(
                f"`columns` would make the column '{theirs}' {' and '.join(map(repr, ours))}; map "
                "each of those names to a column of its own."
            )


def _is_blank(word: str) -> bool:
    """Whether nothing of a word can be seen: only spaces, control and format characters."""
    return all(character.isspace() or category(character)[0] in "ZC" for character in word)


def _check_text(text: str, name: str) -> None:
    if not is_utf8(text):
        raise ConfigurationError(f"`{name}` holds half of a surrogate pair, which is not text.")
