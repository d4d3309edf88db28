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
    """The part of a gate's interface that names the columns that it looks at."""

    @property
    def columns(self) -> Columns:
        """Which columns of the messages hold what."""

    @property
    def judged_columns(self) -> Sequence[str]:
        """The names of the columns that judging looks at."""


@dataclass(frozen=True, kw_only=True)
class JudgingOptions:
    """How a stream or an adapter judges and records.

    Attributes:
        ledger: a folder that gets the excluded rows. None keeps no record of them.
        judged_at: the instant of judgement, with a time zone. None takes the gate's; if that is
            None, too, the clock is read.
        threads: how many threads judge. None takes one for each available core, and one in a worker
            process.

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
        """The names of the columns that judging needs, and that the ledger needs if there is one.

        Args:
            gate: the gate that judges.
        """
        recorded = [] if self.ledger is None else [gate.columns.record_id]
        return list(dict.fromkeys([*recorded, *gate.judged_columns]))
