"""Warns if a gate excludes rows in mass and the policy or the data may be at fault.

The checks cost a few microseconds a batch. A warning comes once for each gate and cause, and holds
no id.
"""

import sys
import warnings
from collections.abc import Mapping
from types import FrameType

import numpy as np
import pyarrow as pa

from consentgate.arrow import integers, quoted
from consentgate.columns import Columns
from consentgate.coverage.mismatches import MASS_SHARE, gap_text, is_mass, mass_text, purpose_text
from consentgate.coverage.vocabularies import alike_words, id_columns, policy_gaps, words_used
from consentgate.coverage.words import WordCounts, are_shown, on_one_line
from consentgate.decision import Decision
from consentgate.inputs import ChannelRegistry, ConsentSnapshot
from consentgate.policy import Policy
from consentgate.reasons import Reason

FEWEST_ROWS = 1_000
"""The fewest rows from which a warning is derived."""
_HINTS = (
    Reason.PRIVATE_CHANNEL,
    Reason.CHANNEL_UNKNOWN,
    Reason.SUBJECT_MISSING,
    Reason.NO_CONSENT_RECORD,
    Reason.TIMESTAMP_MISSING,
    Reason.AFTER_SNAPSHOT,
)
"""The reasons that apply to nearly all rows if the gate's inputs do not fit the messages."""

_PACKAGE = __name__.partition(".")[0] + "."


class CoverageWarning(UserWarning):
    """A warning that policy, snapshot, registry and messages seem not to fit each other.

    `Gate.coverage` says more about it.
    """


class Watch:
    """Gives the warnings of one gate, once for each cause.

    Args:
        policy, columns: those of the gate.
        consent, channels: the snapshot and the registry that it was compiled from. None for a gate
            that was opened; the words of its policy are not checked then.
    """

    def __init__(
        self,
        policy: Policy,
        columns: Columns,
        consent: ConsentSnapshot | None,
        channels: ChannelRegistry | None,
    ) -> None:
        self._policy, self._columns = policy, columns
        self._consent, self._channels = consent, channels
        self._done: dict[str, object] = {}
        self._sum: tuple[int, dict[Reason, int]]
        self._mask: np.uint32
        self._begin()

    def warn_of_policy(self) -> None:
        """Warn of purposes without a record, and of words that are spelled almost alike.

        The time does not grow with the rows of snapshot and registry.
        """
        if self._consent is None or not self._is_first("policy"):
            return
        gaps = list(policy_gaps(self._policy, self._columns, self._consent, self._channels))
        purposes = [gap for gap in gaps if gap.question.setting == "purposes"]
        texts = [gap_text(gap) for gap in gaps if gap.alike and gap not in purposes]
        if purposes:
            texts.insert(0, purpose_text([gap.word for gap in purposes], purposes[0].used))
        for text in texts:
            self._tell(text, text)

    def warn_of_decision(self, decision: Decision, table: pa.Table) -> None:
        """Warn of a reason that applies to nearly all of the rows that were judged last.

        The rows of small batches are added up until there are 1,000. The sum begins anew at a batch
        in which fewer than 90 % of the rows have such a reason.

        Args:
            decision: the decision on n rows.
            table: the n rows, validated.
        """
        bits = integers(decision.reason_bits)
        hints = bits & self._mask
        if np.count_nonzero(hints) < MASS_SHARE * len(bits):
            self._begin()
            return
        rows, before = self._sum  # read once: another thread may replace it meanwhile
        rows += len(decision)
        by_reason = {
            reason: count + int(np.count_nonzero(hints & np.uint32(reason)))
            for reason, count in before.items()
        }
        self._sum = rows, by_reason
        if rows >= FEWEST_ROWS:
            texts = self._mass_texts(rows, by_reason, table)
            self._begin()
            for code, text in texts.items():
                self._tell(code, text)

    def warn_of_totals(self, rows: int, occurrences: Mapping[str, int]) -> None:
        """Warn of a reason that applies to nearly all rows of a run."""
        if rows >= FEWEST_ROWS:
            by_reason = {reason: occurrences.get(reason.code, 0) for reason in _HINTS}
            for code, text in self._mass_texts(rows, by_reason, None).items():
                self._tell(code, text)

    def _begin(self) -> None:
        """Count rows from zero, for the reasons that were not warned of yet."""
        by_reason = {reason: 0 for reason in _HINTS if reason.code not in self._done}
        self._sum = 0, by_reason
        self._mask = np.uint32(sum(by_reason))

    def _mass_texts(
        self, rows: int, by_reason: Mapping[Reason, int], table: pa.Table | None
    ) -> dict[str, str]:
        """The text of the warning for each reason that applies to nearly all rows, by its code."""
        texts = {
            reason.code: mass_text(reason.code, rows, excluded)
            for reason, excluded in by_reason.items()
            if is_mass(rows, excluded)
        }
        private = Reason.PRIVATE_CHANNEL.code
        if private in texts:
            alike = self._alike_visibilities(table)
            if alike is None:  # nearly all messages may be private without any mistake
                del texts[private]
                self._is_first(private)
            else:
                texts[private] += alike
        return texts

    def _alike_visibilities(self, table: pa.Table | None) -> str | None:
        """A sentence that names visibilities that are spelled almost like a public one, if any."""
        used: set[str] = set()
        if self._channels is not None:
            used.update(words_used(self._channels.table, "visibility") or ())
        if table is not None and self._columns.visibility is not None:
            counts = WordCounts(self._policy.public_visibilities)
            for chunk in table.column(self._columns.visibility).chunks:
                counts.add(chunk)
            used.update(counts.words or ())
        pairs = alike_words(self._policy.public_visibilities, used)
        if not pairs:
            return None
        is_shown = are_shown(used) and self._columns.visibility not in id_columns(self._columns)
        which = f": {quoted(theirs for _, theirs in pairs)}" if is_shown else ""
        return f" Some visibilities are spelled almost like a public one{which}."

    def _tell(self, cause: str, text: str) -> None:
        if self._is_first(cause):
            warnings.warn(on_one_line(text), CoverageWarning, stacklevel=_caller_level())

    def _is_first(self, cause: str) -> bool:
        """Note that a cause was warned of. Return whether it is the first time, on any thread."""
        mine = object()
        return self._done.setdefault(cause, mine) is mine


def _caller_level() -> int:
    """The number of frames between `warnings.warn` and the caller outside of this package."""
    frame, level = sys._getframe(1), 1
    while frame.f_back is not None and _is_own(frame):
        frame, level = frame.f_back, level + 1
    return level


def _is_own(frame: FrameType) -> bool:
    """Whether code of this package runs in a frame. Code that `exec` runs may have no name."""
    return str(frame.f_globals.get("__name__")).startswith(_PACKAGE)
