"""The arguments that all adapters have in common: whether they can be used, said at once."""

from datetime import datetime
from pathlib import Path
from typing import Any

from consentgate.arguments import require, require_path
from consentgate.arrow import as_micros, thread_count
from consentgate.errors import ConfigurationError
from consentgate.publishing import GateStore


def require_gate(gate: Any) -> None:
    """Raise TypeError unless something is a gate, or a live one: what `current` can be asked of."""
    if isinstance(gate, GateStore):
        raise TypeError("`gate` is a GateStore, which publishes gates; give its `live()`.")
    if isinstance(gate, type) or not callable(getattr(gate, "current", None)):
        raise TypeError(
            f"`gate` is of type '{type(gate).__name__}' but must be a Gate or LiveGate; check the "
            "order of the arguments: first the data, then the gate."
        )


def require_options(
    gate: Any,
    *,
    ledger: str | Path | None = None,
    judged_at: datetime | None = None,
    threads: int | None = None,
) -> None:
    """Refuse what is no gate, and options of `Sieve` that cannot be used.

    Raises:
        TypeError: An argument is of another type than it says.
        ConfigurationError: `threads` is less than 1, or `judged_at` has no time zone.
    """
    require_gate(gate)
    require_path(ledger, "ledger", None)
    require(threads, "threads", int, None)
    if judged_at is not None:
        as_micros(judged_at, name="judged_at")
    if threads is not None:
        thread_count(threads)


def require_count(value: Any, name: str) -> None:
    """Refuse a number of rows or documents that is not at least 1.

    Raises:
        TypeError: It is no integer.
        ConfigurationError: It is less than 1.
    """
    require(value, name, int, hint="give a whole number")
    if value < 1:
        raise ConfigurationError(f"`{name}` is {value} but must be at least 1.")
