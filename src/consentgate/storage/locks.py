"""Locks that let one run write to a destination at a time, or one publisher to a store of gates.

On a disk, the lock is the operating system's. It ends with the process that holds it. An object
store has no locks, so a run writes a lease there, and renews it. A run that finds another lease
which was renewed recently stops with an error. The age of a lease is measured by the store's clock,
so machines need not agree on the time.
"""

import math
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from filelock import FileLock, Timeout

from consentgate.errors import ConsentGateError, DestinationBusyError, OutputError
from consentgate.storage.durable import refuse_odd_target, write_faults_named
from consentgate.storage.folders import Folder
from consentgate.storage.layout import LEASES, LOCK

LEASE_S = 60.0
"""Seconds for which a lease holds after it was last renewed."""


@contextmanager
def lock(folder: Folder, *, who: str = "run") -> Iterator[Callable[[], None]]:
    """Lock a destination while the block runs.

    Args:
        who: what writes to it, in the words of error messages: "run" or "publisher".

    Yields:
        A function that raises DestinationBusyError if the lock was lost, and else does nothing.

    Raises:
        DestinationBusyError: Another run or publisher holds the lock.
        OutputError: The destination cannot be written to.
    """
    with _file_lock(folder, who) if folder.is_local else _lease(folder, who) as check:
        yield check


@contextmanager
def _file_lock(folder: Folder, who: str) -> Iterator[Callable[[], None]]:
    held, what = FileLock(folder.path(LOCK)), f"Lock '{folder.shown(LOCK)}'"
    refuse_odd_target(folder.path(LOCK), what)
    with write_faults_named(what):
        try:
            held.acquire(blocking=False)
        except Timeout as error:
            raise _busy(folder, who, "wait for it to end") from error
    try:
        yield lambda: None
    finally:
        held.release()


@contextmanager
def _lease(folder: Folder, who: str) -> Iterator[Callable[[], None]]:
    lease = _Lease(folder, who)
    lease.renew()
    renewer = threading.Thread(target=lease.keep, name="consentgate-lease", daemon=True)
    renewer.start()
    try:
        if lease.has_rivals():
            wait = f"wait for it to end; where it was killed, for {LEASE_S:.0f} seconds"
            raise _busy(folder, who, wait)
        yield lease.check
    finally:
        lease.ended.set()
        renewer.join()
        with suppress(ConsentGateError):  # a lease that stays runs out by itself
            folder.delete(lease.name)


class _Lease:
    """An object in a destination which says that a run is at work there.

    A run trusts its own lease for a shorter time than others respect it. The run measures this time
    by its own clock, and others by the store's. These clocks need not show the same time, but must
    run equally fast. A run that takes over a destination deletes the old lease. So a run that was
    cut off or suspended for too long notices that it has lost its lease.
    """

    def __init__(self, folder: Folder, who: str) -> None:
        self.name = f"{LEASES}/{uuid.uuid4().hex}"
        self.ended = threading.Event()
        self._folder, self._who, self._is_lost = folder, who, threading.Event()
        self._trusted_until = math.inf

    def renew(self) -> None:
        """Write the lease, and trust it for longer unless it ran out before it was written."""
        begun = time.monotonic()
        self._folder.write(self.name, b"")
        if not self._is_over():
            self._trusted_until = begun + LEASE_S * 3 / 4

    def keep(self) -> None:
        """Renew the lease every LEASE_S / 4 seconds until the run ends."""
        while not self.ended.wait(LEASE_S / 4):
            with suppress(ConsentGateError):  # renewing may work next time, or the lease runs out
                if not self._is_gone():
                    self.renew()

    def check(self) -> None:
        """Raise an error if the lease ran out or was deleted."""
        if self._is_over() or self._is_gone():
            raise DestinationBusyError(
                f"The lease on '{self._folder}' was lost, so another {self._who} may have begun "
                "there; start again."
            )

    def has_rivals(self) -> bool:
        """Whether another run renewed its lease recently. Leases that ran out are deleted."""
        times = self._folder.listing(LEASES)
        now = times.pop(self.name, None)
        if now is None:
            raise OutputError(
                f"An object that was written to '{self._folder}' is not listed there at once, so "
                f"two {self._who}s could not notice each other; use a store that is consistent."
            )
        old = [name for name, renewed in times.items() if now - renewed > LEASE_S]
        for name in old:
            self._folder.delete(name)
        return len(old) < len(times)

    def _is_over(self) -> bool:
        if time.monotonic() > self._trusted_until:
            self._is_lost.set()
        return self._is_lost.is_set()

    def _is_gone(self) -> bool:
        if self.name not in self._folder.listing(LEASES):
            self._is_lost.set()
        return self._is_lost.is_set()


def _busy(folder: Folder, who: str, what_to_do: str) -> DestinationBusyError:
    return DestinationBusyError(f"Another {who} is writing into '{folder}'; {what_to_do}.")
