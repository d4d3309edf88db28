"""Gates that change while they are used: where they are published.

::

    current.json                            the pointer: which gate is current; at most 64 KiB
    00000042-3f2a9c0d1e2b-9f8e7d6c.gate     a gate's file; no name is ever used again
    _consentgate/                           what keeps two publishers apart

A gate's file is whole before the pointer names it, and the pointer is replaced at once. So whoever
reads it, and whenever a publisher is killed, finds the gate from before or the new one.
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
    """What is in a store before a gate is published.

    Attributes:
        names: the names of all files there.
        current: what the pointer says.
        beside: the gates that came after the current one; see `gates_beside`.
    """

    names: tuple[str, ...]
    current: Publication | None
    beside: dict[str, States]

    @property
    def states(self) -> dict[str, States]:
        """The states that the next gate must not be older than, by the words of errors for them."""
        states = {} if self.current is None else {"the current one": self.current.states}
        return states | {f"gate '{name}'": states for name, states in self.beside.items()}


class GateStore:
    """A folder in which gates are published, one of which is current.

    A pipeline that knows of new withdrawals publishes; training jobs follow::

        store = cg.GateStore("/shared/gates")
        store.publish(cg.Gate(policy, consent, channels))       # hourly, where consent is known
        store.prune(keep=24)

        live = cg.GateStore("/shared/gates").live()             # in the training job
        for batch in batches:
            admitted, excluded = live.filter(batch)             # by the newest gate

    Reading needs no right to write. Stores pickle as their path, so they go to other processes,
    and may be used by many threads.

    Args:
        path: a directory, or an object store's `s3://` or `gs://` URI. What is in it is the gates'
            files: guard them as you guard the snapshot. A URI with keys pickles with them; better,
            let them come from the environment.
        cache: for an object store, a directory on this machine, to which a gate is fetched once for
            all processes, which then share its memory; only this user may be able to write to it.
            It keeps the newest 3 gates. None: each process fetches the gate for itself, into a
            temporary file that is gone once it is mapped: give a cache wherever several processes
            of a machine read the store, as data loaders' workers do. A directory needs none.

    Raises:
        TypeError: `path` or `cache` is no path.
        SourceError: The URI is malformed, or nothing answers there. Or the path is relative, but
            the working directory is gone; for `cache`, this is an OutputError.
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

        Killed at any moment, a publisher leaves the gate from before or the new one current. What
        else it leaves does no harm and goes with the next publication or with `prune`. The first
        publication wants an empty folder. `gate` stays as it is, and pickles as before.

        Args:
            gate: built or opened; without an instant of judgement (`judged_at`), because it must
                notice how time passes. Its snapshot and registry must be as of a later instant than
                those of the current gate, or the same ones: otherwise withdrawals could be undone.
                To go back to another policy, build a gate of it with the newest snapshot. The same
                holds for every gate with a higher number than the current one's, and for all gates
                in the folder where the pointer is gone: a pointer that is lost, or is brought back
                from a backup, lets no older gate in.

        Raises:
            TypeError: `gate` is no `Gate`.
            ConfigurationError: The gate has an instant of judgement of its own.
            StaleSnapshotError: Its snapshot or registry is older than its policy allows, or than
                the current gate's or a later one's, or is another one as of the same instant.
            FutureSnapshotError: They claim an `as_of` that the clock has not reached.
            DestinationBusyError: Another publisher is at work; or, with an object store, one was
                killed less than a minute ago.
            OutputError: The store cannot be written to, or is a folder of other files.
            GateFileError: The pointer is of an older version.
            DamagedGateError, NewerGateError, UnreadableFileError: What is there cannot be read, or
                the pointer contradicts the gate that it names, so nobody knows whether the gate is
                older.
        """
        require(gate, "gate", Gate, hint="build or open one; a live gate has it as `current()`")
        _refuse_unfit(gate)
        looked_at = self._before(gate)  # where it is refused, nothing is created
        with self._held() as check_hold:
            before = self._before(gate, looked_at.current)
            for name in drafts(before.names):
                self._folder.delete(name)
            publication = self._written(gate, before)
            check_hold()
            self._folder.write(POINTER, to_json(publication))
            for name in before.beside:  # only now, so that an older gate is refused until then
                self._folder.delete(name)
        return publication

    def current(self) -> Gate:
        """The current gate, opened.

        It is the one that the pointer names, by its digest. It judges on for as long as it is used,
        whatever is published or removed meanwhile; to follow what is published, use `live`.

        Raises:
            UnreadableFileError: Nothing has been published, or it cannot be read.
            GateFileError: The pointer is of an older version.
            DamagedGateError, ForeignGateError, NewerGateError, ReplacedGateError: The pointer or
                the gate's file is damaged, of a newer version, or not what was published.
            OutputError: The cache cannot be written to.
        """
        return self._newest(None).gate

    def live(self, *, check_every: timedelta = timedelta(seconds=1)) -> LiveGate:
        """A gate that is always the current one; see `LiveGate`.

        Args:
            check_every: the time after which the pointer is looked at again. That takes some
                microseconds in a directory, but some requests to an object store, for which the
                caller waits: there, give half a minute or more.

        Raises:
            TypeError: `check_every` is no timedelta.
            ConfigurationError: `check_every` is negative.
            Whatever `current` raises.
        """
        live = LiveGate(self, check_every=check_every)
        live.current()
        return live

    def prune(self, *, keep: int) -> tuple[str, ...]:
        """Remove gates that were current once, but for the newest, and what killed publishers left.

        A gate stays that is newer than the current one, because it may have been current before the
        pointer was brought back from a backup. A newer publication removes it.

        Processes go on with a removed gate that they have opened. A network file system does not
        know that other machines have it open, and would end their processes: there, keep what may
        still be in use. A gate from `current` that was pickled cannot be opened without its file.

        Args:
            keep: how many gates stay: the current one and those right before it.

        Returns:
            The names of the files removed.

        Raises:
            TypeError: `keep` is no integer.
            ConfigurationError: `keep` is less than 1.
            DestinationBusyError: A publisher is at work.
            OutputError: The store cannot be written to.
            NewerGateError, UnreadableFileError: A later gate than the current one cannot be read.
            Whatever `current` raises about the pointer.
        """
        require(keep, "keep", int, hint="give a whole number")
        if keep < 1:
            raise ConfigurationError(f"keep is {keep}; give 1 or more, for the current gate stays.")
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
        """The state of the store before a gate is published; an error if something there is newer.

        Args:
            looked_at: what was held against its gate already.
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
        """Write the gate's file; returns what the pointer is to say."""
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
        """Write the gate's file; returns its digest."""
        twin = copy.copy(gate)  # which may pickle as that file
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
        """The current gate, which must not be older than the last one seen."""
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
                f"before, or to one that may be older: {what}; bring the newer one back, or "
                "publish one of the newest data."
            )

    def _open(self, published: Publication) -> Gate:
        return open_published(self._folder, published, self._cache)


def _refuse_unfit(gate: Gate) -> None:
    """Raise an error unless a gate can judge by the clock now."""
    if gate.judged_at is not None:
        raise ConfigurationError(
            "A gate with an instant of judgement of its own (judged_at) would never notice that "
            "consents expire or that it grows old; build it without."
        )
    gate._now(None)
