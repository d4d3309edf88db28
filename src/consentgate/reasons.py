"""The table of the reasons why rows are excluded, and the number of the rules of judgement.

A row's primary reason is its lowest bit that is set, so the bits are the order of precedence.
docs/semantics.md, section 4.3, says exactly when each reason applies.
"""

from collections.abc import Sequence
from enum import IntFlag, StrEnum
from typing import Self

RULES_VERSION = 1
"""The number of the rules of judgement. Raise it with every change to which rows are admitted, so
that evidence and gate files say by which rules they were made (docs/semantics.md, section 11).
"""
REASON_WIDTH = 32
"""How many bits `reason_bits` has."""
FIRST_RULE_BIT = 16
"""The lowest bit for the policy's own rules. Lower bits belong to built-in reasons."""
MAX_RULES = REASON_WIDTH - FIRST_RULE_BIT


class Input(StrEnum):
    """An input that is looked at to find out whether a reason applies."""

    MESSAGES = "messages"
    REGISTRY = "registry"
    SNAPSHOT = "snapshot"


class Reason(IntFlag):
    """The built-in reasons, as flags of `reason_bits`.

    A bit never changes its meaning, because evidence holds bits.

    Attributes:
        bit: the number of the bit, from 0.
        inputs: the inputs that are looked at to find out whether the reason applies.
        sentence: the meaning of the reason, as the end of a sentence that begins with "The message
            is excluded, because".
    """

    PRIVATE_CHANNEL = (
        0,
        (Input.MESSAGES, Input.REGISTRY),
        "it was posted in a private channel, or before it became public",
    )
    CHANNEL_UNKNOWN = (
        1,
        (Input.MESSAGES, Input.REGISTRY),
        "nothing says whether the channel it was posted in is public",
    )
    SUBJECT_MISSING = 2, (Input.MESSAGES,), "a data subject is not named"
    NO_CONSENT_RECORD = (
        3,
        (Input.SNAPSHOT,),
        "a data subject has no consent record for a purpose",
    )
    CONSENT_REFUSED = 4, (Input.SNAPSHOT,), "a data subject refused"
    CONSENT_WITHDRAWN = 5, (Input.SNAPSHOT,), "a data subject withdrew consent"
    CONSENT_NOT_GIVEN = (
        6,
        (Input.SNAPSHOT,),
        "a data subject has not given consent, or it has not begun",
    )
    CONSENT_EXPIRED = 7, (Input.SNAPSHOT,), "a data subject's consent has expired"
    CONSENT_NOT_EXPLICIT = (
        8,
        (Input.SNAPSHOT,),
        "consent was not indicated in a way that the policy accepts",
    )
    NOTICE_NOT_ACCEPTED = (
        9,
        (Input.SNAPSHOT,),
        "consent was given under a notice that the policy does not accept",
    )
    PREDATES_CONSENT = (
        10,
        (Input.MESSAGES, Input.SNAPSHOT),
        "it was written before a data subject's consent began",
    )
    TIMESTAMP_MISSING = 11, (Input.MESSAGES,), "nothing says when it was written"
    AFTER_SNAPSHOT = (
        12,
        (Input.MESSAGES, Input.REGISTRY, Input.SNAPSHOT),
        "it is newer than the consent snapshot or the channel registry",
    )

    bit: int
    inputs: tuple[Input, ...]
    sentence: str

    def __new__(cls, bit: int, inputs: tuple[Input, ...], sentence: str) -> Self:
        """A member of the table."""
        reason = int.__new__(cls, 1 << bit)
        reason._value_ = 1 << bit
        reason.bit, reason.inputs, reason.sentence = bit, inputs, sentence
        return reason

    @property
    def code(self) -> str:
        """The stable name of this reason, as ledgers and reports spell it."""
        assert self.name is not None
        return self.name.lower()


REASONS = tuple(Reason)
"""Every built-in reason, in order of precedence."""


def reason_names(rules: Sequence[str] = ()) -> dict[int, str]:
    """The code of every reason by the number of its bit (0 to 31), in order of precedence.

    Args:
        rules: the names of the policy's rules, record rules first.
    """
    built_in = {reason.bit: reason.code for reason in REASONS}
    return built_in | {FIRST_RULE_BIT + at: name for at, name in enumerate(rules)}


def sentences() -> dict[str, str]:
    """The sentence of each built-in reason by its code, in order of precedence."""
    return {reason.code: reason.sentence for reason in REASONS}
