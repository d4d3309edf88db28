"""Gates that change while they are used: what follows a store of them."""

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
    """A published gate, opened."""

    publication: Publication
    gate: Gate


class Followed(Protocol):
    """A store of gates, as far as a live one needs it."""

    def _newest(self, last: OpenedGate | None) -> OpenedGate:
        """The current gate, which must not be older than the last one seen."""


class _Seen(NamedTuple):
    """The gate that was current when a store was last looked at.

    Attributes:
        good_until: on the monotonic clock, when it is to be looked at again.
    """

    newest: OpenedGate
    good_until: float


class LiveGate:
    """A gate that follows a store: what is published there judges from the next check on.

    It judges as a `Gate` does. Each call, and in a stream each batch, is judged by one gate, which
    `Decision.gate_digest` names; a stream's ledger begins a new part when the gate changes. Once a
    newer gate is current, streams and adapters give out nothing that it would not admit, even if
    it was judged before.

    Every call is an error as long as the store cannot be read, or what is published there cannot be
    used: the gate may not be current any more. The same holds when the store goes back to a gate of
    an older snapshot, or to an earlier gate of the same snapshot, as a restored backup or a mirror
    that lags behind does. Judging by that gate would undo withdrawals.

    May be used by many threads; while one opens a new gate, which takes milliseconds (or as long as
    fetching it), those that need it wait. Pickles and copies as the store and the interval, so
    worker processes follow by themselves, whether they were forked or not. With an object store,
    start them by spawn or forkserver: pyarrow's S3 connections cannot be made in a process that was
    forked while another thread was using S3, which is an error here after half a minute.

    ::

        live = cg.GateStore("s3://bucket/gates", cache="/var/cache/gates").live(
            check_every=timedelta(seconds=30)
        )
        decision = live.decide(batch)
        decision.gate_digest                                 # which gate that was
        for batch in live.stream(batches, ledger="ledger/"): ...

    Args:
        store: what it follows.
        check_every: see `GateStore.live`, which looks at once whether there is a gate; this does so
            when the first is needed.

    Raises:
        TypeError: `store` is no store, or `check_every` no timedelta.
        ConfigurationError: `check_every` is negative.
    """

    def __init__(self, store: Followed, *, check_every: timedelta = timedelta(seconds=1)) -> None:
        if not callable(getattr(store, "_newest", None)):
            raise TypeError(f"`store` is of type '{type(store).__name__}' but must be a GateStore.")
        require(check_every, "check_every", timedelta, hint="give a timedelta")
        if check_every < timedelta():
            raise ConfigurationError(f"check_every is {check_every}; give 0 seconds or more.")
        self._store, self._check_every = store, check_every
        self._seen: _Seen | None = None
        self._locks: dict[object, threading.Lock] = {}

    def __repr__(self) -> str:
        return f"<LiveGate of {self._store}, checked every {self._check_every}>"

    def __reduce__(self) -> Any:
        return partial(type(self), check_every=self._check_every), (self._store,)

    def current(self) -> Gate:
        """The newest gate, which stays what it is; to be asked for again for the next batch.

        Raises:
            StaleSnapshotError: The store has gone back to an older gate.
            Whatever `GateStore.current` raises.
        """
        seen = self._seen
        if seen is not None and time.monotonic() < seen.good_until:
            return seen.newest.gate
        # A lock of this process's own: after a fork, nobody would release the other's.
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
            Whatever `current` and `Gate.decide` raise; StaleSnapshotError once the newest gate's
                snapshot or registry is too old. Publishing a new one mends it.
        """
        return self.current().decide(data, judged_at=judged_at, threads=threads)

    def filter(
        self, data: Any, *, judged_at: datetime | None = None, threads: int | None = None
    ) -> tuple[pa.Table, pa.Table]:
        """Split the rows into admitted and excluded; see `Gate.filter`.

        Raises:
            Whatever `decide` raises.
        """
        return self.current().filter(data, judged_at=judged_at, threads=threads)

    def annotate(
        self, data: Any, *, judged_at: datetime | None = None, threads: int | None = None
    ) -> pa.Table:
        """The table with its verdicts; see `Gate.annotate`.

        Raises:
            Whatever `Gate.annotate` and `decide` raise.
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
        """The admitted rows of a stream, each batch judged by the gate that is current then.

        See `Gate.stream`. The ledger directory gets another file whenever the gate changes. Rows
        that were judged, but have not come out yet, are judged again when it has changed. Whether
        it has is asked when a batch is read, at most each `check_every`: an engine that reads ahead
        still has the batches that it read before.

        Raises:
            Whatever `Gate.stream` and `decide` raise.
        """
        options = JudgingOptions(ledger=ledger, judged_at=judged_at, threads=threads)
        return admitted_stream(batches, Sieve(self, options))


AnyGate: TypeAlias = Gate | LiveGate
"""A gate that adapters judge by; `current()` gives the one for the next batch."""
