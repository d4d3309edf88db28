"""A gate on its way to other processes."""

import pickle
from typing import Any, cast

from consentgate.gate import Gate
from consentgate.publishing import AnyGate


class CarriedGate:
    """A gate, or a live one, that is unpickled where it is first used.

    Engines hand on what is raised from there, but not what is raised while they unpickle their own
    work: a process pool would then wait for ever. Copies are the same object, since gates do not
    change.
    """

    def __init__(self, gate: AnyGate | bytes) -> None:
        self._gate = gate

    def current(self) -> Gate:
        """The gate for the next batch.

        Raises:
            UnreadableFileError, GateFileError: The saved gate that this one stands for is not there
                any more.
            Whatever a live gate raises.
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
