"""The options that streams and adapters have in common."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol

from consentgate.arguments import require_path
from consentgate.arrow import as_micros, thread_count
from consentgate.columns import Columns


class ColumnUser(Protocol):
    """A gate, as far as the columns that it looks at are concerned."""

    @property
    def columns(self) -> Columns:
        """Where in the messages things are."""

    @property
    def judged_columns(self) -> Sequence[str]:
        """The names of the columns that judging looks at."""


@dataclass(frozen=True, kw_only=True)
class JudgingOptions:
    """How a stream or an adapter judges and records.

    Attributes:
        ledger: a directory that gets the excluded rows. None keeps no record of them.
        judged_at: the instant of judgement, with a time zone; None takes the gate's, or else the
            clock.
        threads: how many threads judge; None: one per available core, or one in a worker process.

    Raises:
        TypeError: A value is of a wrong type.
        ConfigurationError: `threads` is less than 1, or `judged_at` has no time zone.
    """

    ledger: str | Path | None = None
    judged_at: datetime | None = None
    threads: int | None = None

    def __post_init__(self) -> None:
        require_path(self.ledger, "ledger", None)
        if self.judged_at is not None:
            as_micros(self.judged_at, name="judged_at")
        if self.threads is not None:
            thread_count(self.threads)

    def columns(self, gate: ColumnUser) -> list[str]:
        """The names of the columns that are needed: to judge, and to record if there is a ledger.

        Args:
            gate: the gate that judges.
        """
        recorded = [] if self.ledger is None else [gate.columns.record_id]
        return list(dict.fromkeys([*recorded, *gate.judged_columns]))
