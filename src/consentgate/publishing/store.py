"""Stores of gates, in which gates are published and removed.

::

    current.json                            the pointer, which names the current gate
    00000042-3f2a9c0d1e2b-9f8e7d6c.gate     the file of a gate; no name is ever used again
    _consentgate/                           the lock that lets one publisher work at a time

A gate's file is complete before the pointer names it, and the pointer is replaced at once. So a
reader finds either the gate from before or the new one, even if a publisher is killed.
"""

import copy
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from consentgate.arguments import require, require_path
from consentgate.errors import (
    ConfigurationError,
    OutputError,
    SourceChangedError,
    StaleSnapshotError,
    UnreadableFileError,
)
from consentgate.gate import Gate
from consentgate.judging import open_gate
from consentgate.publishing.gate_cache import Connection, open_published
from consentgate.publishing.live import LiveGate, OpenedGate
from consentgate.publishing.publication import (
    POINTER,
    TRIES,
    Publication,
    States,
    drafts,
    gate_name,
    gates_beside,
    is_own,
    newest_of,
    next_number,
    older,
    read_pointer,
    refuse_altered_pointer,
    states_of,
    superseded,
)
from consentgate.runs import to_json
from consentgate.storage import EVIDENCE, Folder, absolute, lock, printable, write_faults_named


class _Before(NamedTuple):
    """The content of a store before a gate is published.

    Attributes:
        names: the names of all files in the store.
        current: the publication that the pointer names; None if there is no pointer.
        beside: the gates that are newer than the current one; see `gates_beside`.
    """

    names: tuple[str, ...]
    current: Publication | None
    beside: dict[str, States]

    @property
    def states(self) -> dict[str, States]:
        """Inputs that the next gate must not be older than, by their names in errors."""
        states = {} if self.current is None else {"the current one": self.current.states}
        return states | {f"gate '{name}'": states for name, states in self.beside.items()}


class GateStore:
    """A folder in which gates are published. One of them is the current gate.

    A pipeline publishes new gates, and training jobs follow them::

        store = cg.GateStore("/shared/gates")
        store.publish(cg.Gate(policy, consent, channels))       # in the pipeline, say hourly
        store.prune(keep=24)

        live = cg.GateStore("/shared/gates").live()             # in the training job
        for batch in batches:
            admitted, excluded = live.filter(batch)             # by the newest gate

    Reading needs no right to write. Many threads may use a store. It pickles as its path, so it can
    be sent to other processes.

    Args:
        path: a directory, or the `s3://` or `gs://` URI of a folder in an object store. It holds
            the gates' files: guard it as you guard the snapshot. If a URI has keys in it, they are
            pickled, too. It is better to give keys in the environment.
        cache: for an object store, a directory on this machine. Each gate is fetched into it once
            for all processes, which then share its memory. Only this user may be able to write to
            it. It keeps the newest 3 gates. None: each process fetches the gate for itself into a
            temporary file, which is removed once it is mapped. Give a cache if several processes of
            a machine read the store, as data loaders' workers do. Directories need no cache.

    Raises:
        TypeError: `path` or `cache` is not a path.
        SourceError: The URI is malformed, or the object store does not answer. Or `path` is
            relative, but the working directory is gone.
        OutputError: `cache` is relative, but the working directory is gone.
    """

    def __init__(self, path: str | Path, *, cache: str | Path | None = None) -> None:
        require_path(path, "path")
        require_path(cache, "cache", None)
        self._connection = Connection(path)
        self._cache = None if cache is None else absolute(Path(cache), OutputError)

    def __repr__(self) -> str:
        return f"<GateStore: {self._connection}>"

    def __reduce__(self) -> Any:
        return partial(type(self), cache=self._cache), (self._connection.path,)

    def publish(self, gate: Gate) -> Publication:
        """Make a gate the current one.

        If a publisher is killed, the gate from before or the new one is current. Other files that
        it leaves do no harm. The next publication or `prune` removes them. The folder must be empty
        at the first publication. `gate` itself does not change, and pickles as before.

        Args:
            gate: a gate that was built or opened. It must not have its own instant of judgement
                (`judged_at`), because it could not notice that time passes. Its snapshot and
                registry must have a later `as_of` than those of the current gate, or must be the
                same ones, because withdrawals could be undone otherwise. To go back to another
                policy, build a gate of that policy with the newest snapshot. The gate must not be
                older than any gate with a higher number than the current one's, either, nor than
                any gate in the folder if the pointer is gone. So a pointer that is lost, or that is
                restored from a backup, lets no older gate in.

        Returns:
            What the pointer says about the gate.

        Raises:
            TypeError: `gate` is not a `Gate`.
            ConfigurationError: The gate has its own instant of judgement.
            StaleSnapshotError: The snapshot or registry is older than the policy allows, or older
                than that of the current gate or of a later one, or differs from it with the same
                `as_of`.
            FutureSnapshotError: The snapshot's or registry's `as_of` is more than 5 minutes ahead
                of the clock.
            DestinationBusyError: Another publisher is at work. Or one was killed less than a minute
                ago, with an object store.
            OutputError: The store cannot be written to, or is a folder of other files.
            GateFileError: The pointer is of an older version.
            DamagedGateError, NewerGateError, UnreadableFileError: The pointer or a gate's file
                cannot be read, or they contradict each other, so nobody can tell whether the gate
                is older.
        """
        require(gate, "gate", Gate, hint="build or open one; of a live gate, give its `current()`")
        _refuse_unfit(gate)
        looked_at = self._before(gate)  # before anything is created, in case the gate is refused
        with self._held() as check_hold:
            before = self._before(gate, looked_at.current)
            for name in drafts(before.names):
                self._folder.delete(name)
            publication = self._written(gate, before)
            check_hold()
            self._folder.write(POINTER, to_json(publication))
            for name in before.beside:  # only now, because until now they keep older gates out
                self._folder.delete(name)
        return publication

    def current(self) -> Gate:
        """Open the current gate, which the pointer names by its digest.

        The gate does not change when another one is published. To follow the store, use `live`.

        Raises:
            UnreadableFileError: No gate has been published, or it cannot be read.
            GateFileError: The pointer is of an older version.
            DamagedGateError, ForeignGateError, NewerGateError, ReplacedGateError: The pointer or
                the gate's file is damaged, of a newer version, or not what was published.
            GateRulesError: The gate was made under other rules of judgement than this version's.
            OutputError: The cache cannot be written to.
        """
        return self._newest(None).gate

    def live(self, *, check_every: timedelta = timedelta(seconds=1)) -> LiveGate:
        """Make a gate that follows this store; see `LiveGate`.

        Args:
            check_every: the time after which the pointer is looked at again. Looking takes
                microseconds in a directory. In an object store it takes some requests, for which
                the caller waits; give half a minute or more there.

        Raises:
            TypeError: `check_every` is not a timedelta.
            ConfigurationError: `check_every` is negative.
            Every error of `current`.
        """
        live = LiveGate(self, check_every=check_every)
        live.current()
        return live

    def prune(self, *, keep: int) -> tuple[str, ...]:
        """Remove old gates, and files that killed publishers left.

        Gates that are newer than the current one stay, because they may have been current before
        the pointer was restored from a backup. A newer publication removes them.

        Processes can go on using a removed gate that they have opened. A network file system does
        not know that other machines have the file open, and would end their processes, so keep all
        gates there that may still be in use. A gate from `current` that was pickled cannot be
        opened without its file.

        Args:
            keep: how many gates stay: the current one and those right before it.

        Returns:
            The names of the removed files.

        Raises:
            TypeError: `keep` is not an integer.
            ConfigurationError: `keep` is less than 1.
            DestinationBusyError: A publisher is at work.
            OutputError: The store cannot be written to.
            NewerGateError, UnreadableFileError: A later gate than the current one cannot be read.
            Every error of `current` about the pointer.
        """
        require(keep, "keep", int, hint="give a whole number")
        if keep < 1:
            raise ConfigurationError(
                f"`keep` is {keep}; give 1 or more, because the current gate stays."
            )
        self._published()
        with self._held():
            current, names = self._published(), self._folder.listing(follow_links=False)
            beside = gates_beside(self._folder, names, current).items()
            left = [name for name, states in beside if not older(current.states, states)]
            removed = (*superseded(names, current, keep=keep), *drafts(names), *left)
            for name in removed:
                self._folder.delete(name)
        return removed

    @property
    def _folder(self) -> Folder:
        return self._connection.folder

    @contextmanager
    def _held(self) -> Iterator[Callable[[], None]]:
        folder = self._folder
        if folder.is_local:
            with write_faults_named(f"Gate store '{folder}'"):
                folder.path(EVIDENCE).mkdir(parents=True, exist_ok=True)
        with lock(folder, who="publisher") as check_hold:
            yield check_hold

    def _before(self, gate: Gate, looked_at: Publication | None = None) -> "_Before":
        """The content of the store before a gate is published.

        Args:
            gate: the gate to publish.
            looked_at: the publication that was compared with its gate's file already.

        Raises:
            StaleSnapshotError: The gate is older than one in the store.
        """
        current = read_pointer(self._folder)
        names = tuple(self._folder.listing(follow_links=False))
        if current is None:
            self._refuse_foreign(names)
        elif current != looked_at:
            refuse_altered_pointer(self._folder, current)
        before = _Before(names, current, gates_beside(self._folder, names, current))
        for other, states in before.states.items():
            if what := older(states_of(gate.identity), states):
                raise StaleSnapshotError(
                    f"The gate is, or may be, older than {other} of '{self._folder}', so "
                    f"withdrawals would be undone: {what}; build it from the newest data."
                )
        return before

    def _refuse_foreign(self, names: Iterable[str]) -> None:
        for name in names:
            if not is_own(name):
                raise OutputError(
                    f"'{self._folder}' holds files, such as '{printable(name)}', but no gate was "
                    "published there; name an empty folder."
                )

    def _written(self, gate: Gate, before: "_Before") -> Publication:
        """Write the gate's file. Returns the publication for the pointer."""
        number = next_number(before.names, before.current)
        name = gate_name(number, gate.digest)
        states = newest_of(before.states.values()) | states_of(gate.identity)
        snapshot, registry = states["consent snapshot"], states.get("channel registry")
        return Publication(
            number=number,
            name=name,
            file_digest=self._save(gate, name),
            digest=gate.digest,
            as_of=snapshot.as_of,
            snapshot_digest=snapshot.digest,
            registry_as_of=registry and registry.as_of,
            registry_digest=registry and registry.digest,
            published_at=datetime.now(UTC),
        )

    def _save(self, gate: Gate, name: str) -> str:
        """Write the gate's file. Returns its digest."""
        twin = copy.copy(gate)  # so that `gate` itself pickles as before
        if self._folder.is_local:
            twin.save(self._folder.path(name))
            return open_gate(self._folder.path(name))[1].digest
        with (
            write_faults_named("A temporary file for the gate"),
            tempfile.TemporaryDirectory(prefix="consentgate-") as scratch,
        ):
            draft = Path(scratch, "gate")
            twin.save(draft)
            digest = open_gate(draft)[1].digest
            self._folder.publish(draft, name)
        return digest

    def _published(self) -> Publication:
        """The publication that the pointer names."""
        publication = read_pointer(self._folder)
        if publication is None:
            raise UnreadableFileError(
                f"There is no '{POINTER}' in gate store '{self._folder}'; publish a gate first, or "
                "check the path."
            )
        return publication

    def _newest(self, last: OpenedGate | None) -> OpenedGate:
        """The current gate. Raise an error if it is older than the last one seen."""
        published = self._published()
        for _ in range(TRIES):
            if last is not None:
                if published == last.publication:
                    return last
                self._refuse_return(published, last.publication)
            try:
                return OpenedGate(published, self._open(published))
            except (UnreadableFileError, SourceChangedError) as error:
                tried, published = published, self._published()
                if published == tried:
                    raise UnreadableFileError(
                        f"The current gate of '{self._folder}' cannot be opened: {error}"
                    ) from error
        raise UnreadableFileError(
            f"Gates of '{self._folder}' were removed {TRIES} times before they were opened; keep "
            "more of them when pruning."
        )

    def _refuse_return(self, published: Publication, last: Publication) -> None:
        what = older(published.states, last.states)
        if not what and published.states == last.states and published.number < last.number:
            what = f"its number is {published.number}, the other's {last.number}"
        if what:
            raise StaleSnapshotError(
                f"Gate store '{self._folder}' has gone back to an older gate than was current "
                f"before, or to one that may be older: {what}; restore the newer one, or publish "
                "one of the newest data."
            )

    def _open(self, published: Publication) -> Gate:
        return open_published(self._folder, published, self._cache)


def _refuse_unfit(gate: Gate) -> None:
    """Raise an error unless a gate takes its instant from the clock and can judge now."""
    if gate.judged_at is not None:
        raise ConfigurationError(
            "A gate with its own instant of judgement (`judged_at`) would never notice that "
            "consents expire or that its snapshot becomes too old; build it without `judged_at`."
        )
    gate._now(None)
