"""Why a row is excluded: the reason bits, their codes and what they mean in words.

A row's primary reason is its lowest bit, so the order of the members is their precedence.
Bits 13 to 15 are reserved; bits 16 to 31 belong to the policy's own rules.
"""

from collections.abc import Sequence
from enum import IntFlag

FIRST_RULE_BIT = 16
MAX_RULES = 16
REASON_WIDTH = 32
"""How many bits `reason_bits` has."""
RULES_VERSION = 1
"""The number of the rules of judgement. Raise it with every change to which rows are admitted, so
that evidence and gate files say by which rules they were made.
"""


class Reason(IntFlag):
    """The built-in reasons; a member's lower-case name is its code."""

    PRIVATE_CHANNEL = 1 << 0
    CHANNEL_UNKNOWN = 1 << 1
    SUBJECT_MISSING = 1 << 2
    NO_CONSENT_RECORD = 1 << 3
    CONSENT_REFUSED = 1 << 4
    CONSENT_WITHDRAWN = 1 << 5
    CONSENT_NOT_GIVEN = 1 << 6
    CONSENT_EXPIRED = 1 << 7
    CONSENT_NOT_EXPLICIT = 1 << 8
    NOTICE_NOT_ACCEPTED = 1 << 9
    PREDATES_CONSENT = 1 << 10
    TIMESTAMP_MISSING = 1 << 11
    AFTER_SNAPSHOT = 1 << 12

    @property
    def code(self) -> str:
        """The stable word for this reason, as ledgers and reports spell it."""
        assert self.name is not None
        return self.name.lower()


REASON_WORDS: dict[Reason, str] = {
    Reason.PRIVATE_CHANNEL: "it was posted in a private channel, or before it became public",
    Reason.CHANNEL_UNKNOWN: "nothing says whether the channel it was posted in is public",
    Reason.SUBJECT_MISSING: "a data subject is not named",
    Reason.NO_CONSENT_RECORD: "a data subject has no consent record for a purpose",
    Reason.CONSENT_REFUSED: "a data subject refused",
    Reason.CONSENT_WITHDRAWN: "a data subject withdrew consent",
    Reason.CONSENT_NOT_GIVEN: "a data subject has not given consent, or it has not begun",
    Reason.CONSENT_EXPIRED: "a data subject's consent has expired",
    Reason.CONSENT_NOT_EXPLICIT: "consent was not indicated in a way that the policy accepts",
    Reason.NOTICE_NOT_ACCEPTED: "consent was given under a notice that the policy does not accept",
    Reason.PREDATES_CONSENT: "it was written before a data subject's consent began",
    Reason.TIMESTAMP_MISSING: "nothing says when it was written",
    Reason.AFTER_SNAPSHOT: "it is newer than the consent snapshot or the channel registry",
}


def reason_names(rules: Sequence[str] = ()) -> dict[int, str]:
    """Every reason's code by its bit number (0 to 31), in order of precedence.

    Args:
        rules: the names of the policy's rules, record rules first.
    """
    built_in = {reason.value.bit_length() - 1: reason.code for reason in Reason}
    return built_in | {FIRST_RULE_BIT + at: name for at, name in enumerate(rules)}
