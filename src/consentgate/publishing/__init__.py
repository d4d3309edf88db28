"""Publishing gates that change while jobs run, and following them."""

from consentgate.publishing.live import AnyGate, LiveGate
from consentgate.publishing.publication import Publication
from consentgate.publishing.store import GateStore

__all__ = [
    "AnyGate",
    "GateStore",
    "LiveGate",
    "Publication",
]
