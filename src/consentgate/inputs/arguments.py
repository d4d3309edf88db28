"""The arguments with which snapshots and registries are read, checked."""

from collections.abc import Collection, Mapping

from consentgate.arguments import is_utf8, require
from consentgate.arrow import check_time_zone, quoted
from consentgate.errors import ConfigurationError

_WORDS_HINT = "give words by word, such as {'yes': 'given'}, with '' for an empty cell"
_NAMES_HINT = "give names by name, such as {'subject_id': 'user'}"


def checked_source(source: str) -> str:
    """The label, once it is known to be text that manifests can hold.

    Raises:
        TypeError, ConfigurationError: It is not.
    """
    require(source, "source", str, hint="give a label in words")
    _check_text(source, "source")
    return source


def checked_zone(zone: str | None) -> str | None:
    """The time zone, once it is known.

    Raises:
        TypeError, ConfigurationError: It is not text, or no time zone has that name.
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
    """The words of another vocabulary and what they mean, with "" for an empty cell.

    Args:
        name: the argument's name.
        never_empty: the meanings that an empty cell must not have.

    Raises:
        TypeError, ConfigurationError: It is not made of words, or an empty or blank cell is given
            one of those meanings.
    """
    require(mapping, name, Mapping, None, hint=_WORDS_HINT)
    words = dict(mapping or {})
    for word, meaning in words.items():
        for text in (word, meaning):
            require(text, name, str, hint=_WORDS_HINT)
            _check_text(text, name)
        if not word.strip() and meaning in never_empty:
            raise ConfigurationError(
                f"`{name}` lets an empty cell mean '{meaning}', but a person who said nothing has "
                "not consented; map it to 'unknown', or complete those cells."
            )
    return words


def checked_names(
    columns: Mapping[str, str] | None, known: Collection[str], what: str
) -> dict[str, str]:
    """The file's names of columns by ours.

    Args:
        known: our names.
        what: what is read, as messages name it.

    Raises:
        TypeError: It is not made of names.
        ConfigurationError: A key is none of our names, or one column of the file would be two of
            ours.
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
            f"`columns` maps {quoted(unknown)}, but a {what} has only {quoted(known)}; give the "
            f"names of the file by these.{hint}"
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


def _check_text(text: str, name: str) -> None:
    if not is_utf8(text):
        raise ConfigurationError(f"`{name}` holds half of a surrogate pair, which is no text.")
