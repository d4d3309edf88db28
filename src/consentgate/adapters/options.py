"""Checks of arguments that several adapters take besides `JudgingOptions`."""

from typing import Any

from consentgate.arguments import require
from consentgate.errors import ConfigurationError
from consentgate.publishing import GateStore


def require_gate(gate: Any) -> None:
    """Raise TypeError unless something is a gate or a live gate."""
    if isinstance(gate, GateStore):
        raise TypeError("`gate` is a GateStore, which publishes gates; give its `live()`.")
    if isinstance(gate, type) or not callable(getattr(gate, "current", None)):
        raise TypeError(
            f"`gate` is of type '{type(gate).__name__}' but must be a Gate or LiveGate; check the "
            "order of the arguments: first the data, then the gate."
        )


def require_count(value: Any, name: str) -> None:
    """Raise an error unless a number of rows or documents is at least 1.

    Raises:
        TypeError: It is not an integer.
        ConfigurationError: It is less than 1.
    """
    require(value, name, int, hint="give a whole number")
    if value < 1:
        raise ConfigurationError(f"`{name}` is {value} but must be at least 1.")
