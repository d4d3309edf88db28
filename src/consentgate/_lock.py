"""One run at a time in a destination.

On a disk, the system's own lock does it, which ends with the process that holds it. An object store
has none, so a run leaves a lease there, which it renews; whoever finds the lease of another that
was renewed of late goes away. The store's clock counts, so machines need not agree on the time.
"""

import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from filelock import FileLock, Timeout

from consentgate._layout import LEASES, LOCK
from consentgate._storage import Folder
from consentgate.errors import ConsentGateError, DestinationBusyError

__all__ = ["lock"]

LEASE_S = 60.0
"""So long is a lease honoured after it was last renewed."""


@contextmanager
def lock(folder: Folder) -> Iterator[Callable[[], None]]:
    """Hold a destination while the block runs.

    Yields:
        A function that does nothing, or raises the error below where the hold was lost.

    Raises:
        DestinationBusyError: Another run holds it.
        OutputError: The destination cannot be written to.
    """
    with _file_lock(folder) if folder.is_local else _lease(folder) as check:
        yield check


@contextmanager
def _file_lock(folder: Folder) -> Iterator[Callable[[], None]]:
    held = FileLock(folder.path(LOCK))
    try:
        held.acquire(blocking=False)
    except Timeout as error:
        raise _busy(folder, "wait for it to end") from error
    try:
        yield lambda: None
    finally:
        held.release()


@contextmanager
def _lease(folder: Folder) -> Iterator[Callable[[], None]]:
    name = f"{LEASES}/{uuid.uuid4().hex}"
    ended, is_lost = threading.Event(), threading.Event()

    def check() -> None:
        if is_lost.is_set():
            raise DestinationBusyError(
                f"The lease on '{folder}' could not be renewed, so another run may have begun "
                "there; run again."
            )

    def renew() -> None:
        missed = 0
        while not ended.wait(LEASE_S / 4):
            try:
                folder.write(name, b"")
                missed = 0
            except ConsentGateError:
                missed += 1
            if missed > 1:
                is_lost.set()

    renewer = threading.Thread(target=renew, name="consentgate-lease", daemon=True)
    folder.write(name, b"")
    renewer.start()
    try:
        if _others(folder, name):
            wait = f"wait for it to end; where it was killed, for {LEASE_S:.0f} seconds"
            raise _busy(folder, wait)
        yield check
    finally:
        ended.set()
        renewer.join()
        with suppress(ConsentGateError):  # it runs out by itself
            folder.delete(name)


def _others(folder: Folder, own: str) -> bool:
    """Whether another run renewed its lease of late; leases that have run out are taken away."""
    times = folder.listing(LEASES)
    now = times.pop(own)
    old = [name for name, time in times.items() if now - time > LEASE_S]
    for name in old:
        folder.delete(name)
    return len(old) < len(times)


def _busy(folder: Folder, what_to_do: str) -> DestinationBusyError:
    return DestinationBusyError(f"Another run is writing into '{folder}'; {what_to_do}.")
