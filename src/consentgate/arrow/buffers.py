"""The addresses of Arrow's buffers, for code that reads them in place."""

import numpy as np
import pyarrow as pa

from consentgate.arrow.validation import MalformedArrayError
from consentgate.kernel import Fault, Validity, kernel

_NOTHING = np.zeros(1, np.uint8)
"""The place of bytes that are not there, because C must not count on from a null pointer."""


def refuse_faults(fault: int) -> None:
    """Raise MalformedArrayError if the kernel has found a fault in an array."""
    if fault != Fault.SOUND:
        raise MalformedArrayError(Fault(fault).name)


class ArrayBuffers:
    """The buffers of an array that holds no other arrays. It keeps them in memory.

    Args:
        array: n entries.

    Attributes:
        length: n.
        count: how many buffers there are.
        validity: the array's validity bits.

    Raises:
        MalformedArrayError: A buffer is too short, or the array has another number of nulls than
            it says.
    """

    def __init__(self, array: pa.Array) -> None:
        try:
            if len(array):  # some producers give no buffers with an empty array
                array.validate()  # checks the sizes of the buffers
        except pa.ArrowException:
            raise MalformedArrayError from None
        self.length = len(array)
        self._offset = array.offset
        self._buffers = array.buffers()
        self._copies: list[np.ndarray[tuple[int], np.dtype[np.uint8]]] = []
        self.count = len(self._buffers)
        bits = self._buffers[0]
        if bits is None or not self.length:
            self.validity = Validity()
        else:
            self.validity = Validity(bits.address, self._offset)
            if kernel.cg_count_nulls(self.validity, self.length) != array.null_count:
                raise MalformedArrayError

    def values(self, at: int, size: int) -> int | None:
        """The address of entry 0 in a buffer whose entries have `size` bytes."""
        buffer = self._buffers[at]
        if buffer is None or not self.length:
            if self.length:
                raise MalformedArrayError
            return None
        address: int = buffer.address
        if address % min(size, 8):  # some producers do not align their buffers
            copy = np.frombuffer(buffer, np.uint8).copy()
            self._copies.append(copy)
            address = copy.ctypes.data
        return address + int(self._offset) * size

    def span(self, at: int) -> tuple[int, int]:
        """The address of a buffer, and how many bytes it has."""
        buffer = self._buffers[at]
        return (_NOTHING.ctypes.data, 0) if buffer is None else (buffer.address, buffer.size)
