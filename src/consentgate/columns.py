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
    """Where in a batch of messages things are. A single name may be given as a plain string.

    Attributes:
        record_id: the message's own id (integer, string, UUID or 16-byte binary); it goes into
            the ledger. Judging alone does not need it.
        subjects: one or more columns of subject ids, or of lists of them; every subject in every
            one must consent.
        channels: zero or more columns of channel ids; every one must be public.
        visibility: a string column on the row itself; must be public. With `channels` too, both
            must be.
        created_at: when the message was written; a timestamp with a time zone.
        assume_timezone: an IANA zone in which naive timestamps are read. Local times that occur
            twice or never when clocks change are judged at both ends, against admission. None:
            naive timestamps are an error.

    Raises:
        TypeError: A name is not a `str`, or several names are not in a list or tuple.
        ConfigurationError: No subject column, or neither `channels` nor `visibility`: then nobody
            could know what is private; or an unknown time zone; or a name that is empty, is given
            twice, or has a NUL character or half of a surrogate pair in it; or the record ids are
            the subjects' ids, which would get into the ledger.
    """

    record_id: str = "message_id"
    subjects: tuple[str, ...] = ("sender_id",)
    channels: tuple[str, ...] = ("channel_id",)
    visibility: str | None = None
    created_at: str = "created_at"
    assume_timezone: str | None = None

    if TYPE_CHECKING:  # one name or several may be given; several are kept

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
    """One name or several as a tuple. Raise an error unless each of them can name a column."""
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
