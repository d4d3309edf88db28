"""A gate that can be sent to other processes."""

import pickle
from typing import Any, cast

from consentgate.gate import Gate
from consentgate.publishing import AnyGate


class CarriedGate:
    """A gate or live gate that is unpickled when it is first used in another process.

    Engines hand on errors that are raised then. They do not hand on errors that are raised while
    they unpickle their own work, so a process pool would wait for ever. Copies are the same object,
    because gates do not change.
    """

    def __init__(self, gate: AnyGate | bytes) -> None:
        self._gate = gate

    def current(self) -> Gate:
        """The gate for the next batch.

        Raises:
            UnreadableFileError, GateFileError: The file of the saved gate is gone or is another
                one.
            Every error of a live gate.
        """
        gate = self._gate  # which another thread may be unpickling, too
        if isinstance(gate, bytes):
            gate = self._gate = cast(AnyGate, pickle.loads(gate))
        return gate.current()

    def __reduce__(self) -> tuple[Any, ...]:
        gate = self._gate if isinstance(self._gate, bytes) else pickle.dumps(self._gate)
        return CarriedGate, (gate,)

    def __copy__(self) -> "CarriedGate":
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> "CarriedGate":
        return self
