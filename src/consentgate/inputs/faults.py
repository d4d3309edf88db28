"""Gathers the faults of a snapshot or registry, so that one error reports all of them."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import numpy.typing as npt

from consentgate.errors import (
    ColumnAmbiguousError,
    ColumnMissingError,
    ColumnTypeError,
    ConsentGateError,
    SnapshotError,
)

_MOST_ROWS = 5
"""How many row numbers a message lists."""


class Faults:
    """The faults found so far in one snapshot or registry.

    Args:
        what: what is read, as messages name it.
    """

    def __init__(self, what: str) -> None:
        self._what = what
        self._found: list[ConsentGateError] = []

    def add(self, fault: ConsentGateError) -> None:
        """Note a fault, which `raise_all` raises."""
        self._found.append(fault)

    def apart(self) -> "Faults":
        """A place for faults of the same table that are found at the same time."""
        return Faults(self._what)

    def take_over(self, others: "Faults") -> None:
        """Note all faults that were noted apart."""
        self._found += others._found

    @contextmanager
    def noted(self) -> Iterator[None]:
        """Note the fault that ends the block, instead of raising it."""
        try:
            yield
        except (ColumnMissingError, ColumnAmbiguousError, ColumnTypeError, SnapshotError) as fault:
            self.add(fault)

    def raise_all(self) -> None:
        """Raise one error for all faults, or return if there are none.

        Raises:
            ConsentGateError: A single fault is raised as it is. Several faults of one class are
                raised as that class, and faults of several classes as `SnapshotError`. The message
                then lists them, and `faults` holds them.
        """
        if len(self._found) == 1:
            raise self._found[0]
        if self._found:
            raise self._united()

    def _united(self) -> ConsentGateError:
        classes = {type(fault) for fault in self._found}
        united = classes.pop() if len(classes) == 1 else SnapshotError
        listed = "".join(f"\n- {fault}" for fault in self._found)
        error = united(f"The {self._what} has {len(self._found)} faults:{listed}")
        error.faults = tuple(self._found)
        return error


def rows_text(rows: npt.NDArray[np.int64]) -> str:
    """The numbers of rows as text, such as `rows 2, 5, 9, 11, 12 and 7 more, counted from 1`.

    Args:
        rows: the positions of the rows, counted from 0, in ascending order; at least one.
    """
    numbers = ", ".join(f"{row + 1:,}" for row in rows[:_MOST_ROWS].tolist())
    more = f" and {len(rows) - _MOST_ROWS:,} more" if len(rows) > _MOST_ROWS else ""
    return f"row{'s' if len(rows) > 1 else ''} {numbers}{more}, counted from 1"
