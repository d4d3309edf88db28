"""Which columns of the messages hold what the judgement needs."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from consentgate.arguments import is_utf8, require
from consentgate.arrow import check_time_zone
from consentgate.errors import ConfigurationError

_HINT = "give the names of columns as text"


@dataclass(frozen=True, kw_only=True)
class Columns:
    """The names of the columns of messages that a gate looks at.

    A single name may be given as a plain string where several are taken.

    Attributes:
        record_id: the column of the messages' own ids: integers, strings, UUIDs or 16-byte
            binaries. They go into the ledger. Judging alone does not need them.
        subjects: one or more columns of subject ids, or of lists of them. Every subject in every
            one of these columns must have consented.
        channels: zero or more columns of channel ids. Every channel in them must be public.
        visibility: a column of text with the message's own visibility, which must be public. If
            there are channel columns, too, the channels must also be public.
        created_at: the column that says when each message was written: timestamps with a time zone.
        assume_timezone: the IANA time zone in which timestamps without a zone are read. A local
            time that occurs twice, or never, when clocks change is taken as the instant that
            excludes. With None, timestamps without a zone are an error.

    Raises:
        TypeError: A name is not a `str`, or several names are not in a list or tuple.
        ConfigurationError: There is no subject column. Or there is neither a channel column nor a
            visibility column, so nobody could know what is private. Or the time zone is not known.
            Or a name is empty, is given twice, or has a NUL character or half of a surrogate pair
            in it. Or `record_id` is also a subject column, so subjects' ids would get into the
            ledger.
    """

    record_id: str = "message_id"
    subjects: tuple[str, ...] = ("sender_id",)
    channels: tuple[str, ...] = ("channel_id",)
    visibility: str | None = None
    created_at: str = "created_at"
    assume_timezone: str | None = None

    if TYPE_CHECKING:  # one name may be given where a tuple is kept

        def __init__(
            self,
            *,
            record_id: str = ...,
            subjects: str | Sequence[str] = ...,
            channels: str | Sequence[str] = ...,
            visibility: str | None = ...,
            created_at: str = ...,
            assume_timezone: str | None = ...,
        ) -> None: ...

    def __post_init__(self) -> None:
        for field in ("subjects", "channels"):
            object.__setattr__(self, field, _names(getattr(self, field), field))
        for field in ("record_id", "created_at"):
            _check_name(getattr(self, field), field)
        if self.visibility is not None:
            _check_name(self.visibility, "visibility")
        self._check_whole()
        if self.assume_timezone is not None:
            _check_name(self.assume_timezone, "assume_timezone")
            check_time_zone(self.assume_timezone)

    def _check_whole(self) -> None:
        if not self.subjects:
            raise ConfigurationError(
                "Columns names no subject column, so nobody could be asked for consent; "
                "name at least one in `subjects`."
            )
        if not self.channels and self.visibility is None:
            raise ConfigurationError(
                "Columns names neither a channel column nor a visibility column, so nobody could "
                "know what is private; name one in `channels` or in `visibility`."
            )
        if self.record_id in self.subjects:
            raise ConfigurationError(
                f"Column '{self.record_id}' is named as `record_id` and in `subjects`, but record "
                "ids go into the ledger, which never holds a subject's id; name the column of the "
                "messages' own ids as `record_id`."
            )


def _names(names: object, field: str) -> tuple[str, ...]:
    """Make a tuple of one name or several. Raise an error if one of them cannot name a column."""
    require(names, field, str, list, tuple, hint=_HINT)
    several = (names,) if isinstance(names, str) else tuple(names)  # type: ignore[arg-type]
    for name in several:
        _check_name(name, field)
    if len(set(several)) < len(several):
        raise ConfigurationError(f"`{field}` names a column twice; name each one once.")
    return several


def _check_name(name: object, field: str) -> None:
    require(name, field, str, hint=_HINT)
    assert isinstance(name, str)
    if not name or "\0" in name or not is_utf8(name):
        raise ConfigurationError(
            f"`{field}` has a name that is empty, or that has a NUL character or half of a "
            "surrogate pair in it; give the name as it is in the data."
        )
