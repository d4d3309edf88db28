"""A gate that follows a store, and judges by the newest gate there."""

import threading
import time
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, Protocol, TypeAlias

import pyarrow as pa

from consentgate.arguments import require
from consentgate.decision import Decision
from consentgate.errors import ConfigurationError
from consentgate.gate import Gate
from consentgate.judging import JudgingOptions, Sieve, admitted_stream
from consentgate.publishing.gate_cache import this_process
from consentgate.publishing.publication import Publication


class OpenedGate(NamedTuple):
    """A published gate that was opened, with its publication."""

    publication: Publication
    gate: Gate


class Followed(Protocol):
    """The part of a store's interface that live gates use."""

    def _newest(self, last: OpenedGate | None) -> OpenedGate:
        """The current gate. Raise an error if it is older than the last one seen."""


class _Seen(NamedTuple):
    """The gate that was current when a store was last looked at.

    Attributes:
        newest: the gate.
        good_until: when the store has to be looked at again, in seconds of the monotonic clock.
    """

    newest: OpenedGate
    good_until: float


class LiveGate:
    """A gate that follows a store, and judges by the newest gate that is published there.

    It is used like a `Gate`. Each call, and in a stream each batch, is judged by one gate, which
    `Decision.gate_digest` names. A stream's ledger begins a new part when the gate changes. Once a
    newer gate is current, streams and adapters give out no row that it does not admit, even if the
    row was judged before.

    Every call raises an error as long as the store or the published gate cannot be read, because
    the gate from before may not be current any more. Every call also raises an error if the store
    has gone back to a gate of an older snapshot or registry, or to an earlier gate of the same
    ones. A restored backup or a mirror that lags behind does that. Judging by such a gate would
    undo withdrawals.

    Many threads may use a live gate. While one of them opens a new gate, which takes milliseconds
    or as long as fetching it, the others wait. A live gate pickles and copies as its store and
    interval, so each worker process follows the store itself, whether it was forked or not. With an
    object store, start worker processes by spawn or forkserver. In a process that was forked while
    another thread was using S3, pyarrow cannot connect to S3; that is an error after half a minute.

    ::

        live = cg.GateStore("s3://bucket/gates", cache="/var/cache/gates").live(
            check_every=timedelta(seconds=30)
        )
        decision = live.decide(batch)
        decision.gate_digest                                 # which gate that was
        for batch in live.stream(batches, ledger="ledger/"): ...

    Args:
        store: the store to follow. It is looked at when the first gate is needed; `GateStore.live`
            looks at it at once.
        check_every: as in `GateStore.live`.

    Raises:
        TypeError: `store` is not a `GateStore`, or `check_every` is not a timedelta.
        ConfigurationError: `check_every` is negative.
    """

    def __init__(self, store: Followed, *, check_every: timedelta = timedelta(seconds=1)) -> None:
        if not callable(getattr(store, "_newest", None)):
            raise TypeError(f"`store` is of type '{type(store).__name__}' but must be a GateStore.")
        require(check_every, "check_every", timedelta, hint="give a timedelta")
        if check_every < timedelta():
            raise ConfigurationError(f"`check_every` is {check_every}; give 0 seconds or more.")
        self._store, self._check_every = store, check_every
        self._seen: _Seen | None = None
        self._locks: dict[object, threading.Lock] = {}

    def __repr__(self) -> str:
        return f"<LiveGate of {self._store}, checked every {self._check_every}>"

    def __reduce__(self) -> Any:
        return partial(type(self), check_every=self._check_every), (self._store,)

    def current(self) -> Gate:
        """The newest gate. It does not change afterwards, so ask again for the next batch.

        Raises:
            StaleSnapshotError: The store has gone back to an older gate.
            Every error of `GateStore.current`.
        """
        seen = self._seen
        if seen is not None and time.monotonic() < seen.good_until:
            return seen.newest.gate
        # Each process has its own lock, because a lock that was held at a fork is never released.
        with self._locks.setdefault(this_process(), threading.Lock()):
            seen, now = self._seen, time.monotonic()
            if seen is None or now >= seen.good_until:
                newest = self._store._newest(seen and seen.newest)
                seen = self._seen = _Seen(newest, now + self._check_every.total_seconds())
            return seen.newest.gate

    def decide(
        self, data: Any, *, judged_at: datetime | None = None, threads: int | None = None
    ) -> Decision:
        """Judge every row of a batch; see `Gate.decide`.

        Raises:
            StaleSnapshotError: The newest gate's snapshot or registry is too old, or the store has
                gone back to an older gate. Publish a gate of a newer snapshot and registry.
            Every error of `current` and of `Gate.decide`.
        """
        return self.current().decide(data, judged_at=judged_at, threads=threads)

    def filter(
        self, data: Any, *, judged_at: datetime | None = None, threads: int | None = None
    ) -> tuple[pa.Table, pa.Table]:
        """Split the rows into admitted and excluded ones; see `Gate.filter`.

        Raises:
            Every error of `current` and of `Gate.filter`.
        """
        return self.current().filter(data, judged_at=judged_at, threads=threads)

    def annotate(
        self, data: Any, *, judged_at: datetime | None = None, threads: int | None = None
    ) -> pa.Table:
        """Append the columns `reason` and `reason_bits` to all rows; see `Gate.annotate`.

        Raises:
            Every error of `current` and of `Gate.annotate`.
        """
        return self.current().annotate(data, judged_at=judged_at, threads=threads)

    def stream(
        self,
        batches: Any,
        *,
        ledger: str | Path | None = None,
        judged_at: datetime | None = None,
        threads: int | None = None,
    ) -> pa.RecordBatchReader:
        """Give a reader of the admitted rows of a stream; see `Gate.stream`.

        Each batch is judged by the gate that is current when it is read. Rows that were judged and
        have not come out yet are judged again when the gate has changed. The store is looked at
        when a batch is read, but at most once per `check_every`. Batches that an engine has read
        ahead are not judged again. The ledger gets another part whenever the gate changes.

        Raises:
            Every error of `current` and of `Gate.stream`.
        """
        options = JudgingOptions(ledger=ledger, judged_at=judged_at, threads=threads)
        return admitted_stream(batches, Sieve(self, options))


AnyGate: TypeAlias = Gate | LiveGate
"""A gate that adapters judge by. Its `current()` is the gate for the next batch."""
