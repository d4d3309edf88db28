"""Which columns of the messages hold what the judgement needs."""

from dataclasses import dataclass

from consentgate._arrow import check_time_zone
from consentgate.errors import ConfigurationError

__all__ = ["Columns"]


@dataclass(frozen=True, kw_only=True)
class Columns:
    """Where in a batch of messages things are. A single name may be given as a plain string.

    Attributes:
        record_id: the message's own id (integer, string, UUID or 16-byte binary); it goes into
            the ledger.
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
        ConfigurationError: No subject column, or neither `channels` nor `visibility`: then nobody
            could know what is private; or an unknown time zone.
    """

    record_id: str = "message_id"
    subjects: tuple[str, ...] = ("sender_id",)
    channels: tuple[str, ...] = ("channel_id",)
    visibility: str | None = None
    created_at: str = "created_at"
    assume_timezone: str | None = None

    def __post_init__(self) -> None:
        for field in ("subjects", "channels"):
            value = getattr(self, field)
            object.__setattr__(self, field, (value,) if isinstance(value, str) else tuple(value))
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
        if self.assume_timezone is not None:
            check_time_zone(self.assume_timezone)
