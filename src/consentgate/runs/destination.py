"""The state of a destination when a run begins: nothing, an unfinished run or an ended one."""

from collections.abc import Iterable, Mapping, Set
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import reduce
from os.path import realpath

import pyarrow as pa
import pyarrow.fs as pa_fs

from consentgate.errors import OutputError, StaleSnapshotError, UnreadableFileError
from consentgate.runs.manifest import (
    FileRecord,
    InstantFrom,
    Judgement,
    Manifest,
    Newest,
    RunState,
)
from consentgate.runs.records import to_json
from consentgate.runs.source import Source
from consentgate.storage import (
    GATE_KEY,
    LEDGER,
    MANIFEST,
    ODD,
    PAST,
    SEALS,
    SIGNATURE,
    STATE,
    Folder,
    is_hidden,
    ledger_name,
    open_parquet,
    past,
    printable,
    seal_name,
    write_faults_named,
)


def refuse_overlap(folder: Folder, source: Source) -> None:
    """Raise an error if the destination overlaps the source.

    Raises:
        OutputError: The destination lies within the source, or its path leads nowhere.
    """
    if folder.is_local and source.folder.is_local:
        with write_faults_named(f"Destination '{folder}'"), suppress(FileNotFoundError):
            folder.path("").stat()
        own = f"{realpath(folder.root).rstrip('/')}/"
        reached = (realpath(source.folder.path(file.name)) for file in source.files)
        overlaps = any(path.startswith(own) for path in reached)
        inner, outer = own, f"{realpath(source.folder.path('')).rstrip('/')}/"
    else:
        inner, outer = f"{folder}/", f"{source.folder}/"
        overlaps = False
    if overlaps or (source.is_tree and inner.startswith(outer)):
        raise OutputError(
            f"Destination '{folder}' lies within the source '{source.folder}', or holds files of "
            "the source, so its files would be judged as messages next time; name a folder "
            "elsewhere."
        )


@dataclass(frozen=True)
class Destination:
    """The content of a destination.

    Attributes:
        folder: the destination.
        source: the source of the run.
        present: the names of all files in the destination.
        state: the state of a run of this source that has not ended; None if there is none.
        manifest: the manifest of the last run that has ended; None if there is none.
        newest: the newest snapshot, registry and instant that a run here judged by; None if no run
            has judged here.
        goes_on: whether a run may keep the instant of judgement and the start that the state names.
    """

    folder: Folder
    source: Source
    present: Set[str]
    state: RunState | None
    manifest: Manifest | None
    newest: Newest | None
    goes_on: bool = True

    @classmethod
    def of(cls, folder: Folder, source: Source) -> "Destination":
        """Look at a destination.

        Raises:
            OutputError: It is a file, or holds something else than a run of this source.
            ManifestError: It holds a manifest that was altered or is malformed.
        """
        if folder.kind() not in (pa_fs.FileType.Directory, pa_fs.FileType.NotFound):
            raise OutputError(f"Destination '{folder}' is a file; name a folder.")
        for name in folder.oddities():  # before reading, which could wait forever
            raise OutputError(
                f"'{printable(name)}' in destination '{folder}' {ODD}; take it away, so that "
                "nothing is written or removed elsewhere."
            )
        state, manifest = RunState.read(folder), Manifest.find(folder)
        present = folder.listing(follow_links=False).keys()
        newest = _joined([state, manifest])
        if newest is None:
            newest = _joined(_past_manifests(folder, present))
        if state is not None and manifest is not None and state.has_ended(manifest):
            state = None  # that run was killed before it could remove its state
        for record in (state, manifest):
            if record is not None and record.source != source.label:
                raise OutputError(
                    f"Destination '{folder}' holds a run of '{record.source}', but the source is "
                    f"now '{source.label}'; name another folder."
                )
        destination = cls(folder, source, present, state, manifest, newest)
        destination._refuse_foreign()
        return destination

    @property
    def outputs(self) -> set[str]:
        """The files in the destination that engines would read."""
        return {name for name in self.present if not is_hidden(name)}

    @property
    def ledger(self) -> list[str]:
        """The parts of the ledger in the destination."""
        return sorted(name for name in self.present if name.startswith(f"{LEDGER}/"))

    def judged_by(self, newest: Iterable[Newest | None]) -> "Destination":
        """The same destination, with what else files in it were judged by."""
        known = [each for each in (self.newest, *newest) if each is not None]
        return replace(self, newest=reduce(Newest.joined, known) if known else None)

    def refuse_older(self, own: Newest, *, allow: bool) -> None:
        """Raise an error if a run judges by something older than an earlier run here.

        Args:
            own: the snapshot, registry and instant that the run judges by.
            allow: do not raise.

        Raises:
            StaleSnapshotError: The snapshot, registry or instant of judgement is older.
        """
        if allow or self.newest is None:
            return
        if older := own.what_is_older(self.newest):
            raise StaleSnapshotError(
                f"This run is older than an earlier one in '{self.folder}', so it could "
                f"undo withdrawals: {older}. Judge by the newest snapshot and registry, or into "
                "another folder; or allow it (`allow_older_snapshot`)."
            )

    def is_result(
        self, judgement: Judgement, done: Mapping[str, FileRecord], *, is_signed: bool
    ) -> bool:
        """Whether the last run's manifest is the one that a run would write now.

        Args:
            judgement: the judgement of the run.
            done: the files that were judged already, and need not be judged again.
            is_signed: whether the manifest has the signature that it needs, if any.
        """
        if self.manifest is None or self.state is not None or self.manifest.judgement != judgement:
            return False
        records = {record.input.path: record for record in self.manifest.files}
        names = {file.name for file in self.source.files}
        return is_signed and records == dict(done) and names == self.outputs == set(done)

    def next_state(self, judgement: Judgement, instant_from: InstantFrom, own: Newest) -> RunState:
        """The state to write into the destination while a run is under way."""
        state = RunState(
            judgement=judgement,
            instant_from=instant_from,
            source=self.source.label,
            started_at=datetime.now(UTC),
            previous=self.state.previous if self.state is not None else None,
            newest=own if self.newest is None else self.newest.joined(own),
        )
        if self.manifest is not None:
            return state.model_copy(update={"previous": self.manifest.digest})
        if self.state is not None and self.goes_on and self.state.judgement == judgement:
            return state.model_copy(update={"started_at": self.state.started_at})
        return state

    def begin(self, state: RunState, done: Mapping[str, FileRecord]) -> None:
        """Write the state of a run that begins, and remove files that are no longer valid.

        Args:
            state: the state to write.
            done: the files that need not be judged again, whose outputs stay.

        Raises:
            OutputError: The destination cannot be written to.
        """
        if self.manifest is not None:
            for name in (SIGNATURE, MANIFEST):
                content = self.folder.read(name)
                if content is not None:
                    self.folder.write(past(name, self.manifest.digest), content)
        if state != self.state:
            self.folder.write(STATE, to_json(state))
        self.folder.delete(MANIFEST)
        self.folder.delete(SIGNATURE)
        kept = {*done, *map(ledger_name, done), *map(seal_name, done)}
        seals = {name for name in self.present if name.startswith(f"{SEALS}/")}
        for names in (self.ledger, sorted(self.outputs), sorted(seals)):
            for name in names:
                if name not in kept:
                    self.folder.delete(name)

    def _refuse_foreign(self) -> None:
        """Raise an error unless a run wrote every file here that engines would read."""
        is_run = self.state is not None or self.manifest is not None
        known = {file.name for file in self.source.files}
        judged = {name for name in self.outputs if ledger_name(name) in self.present}
        for name in sorted(self.outputs - judged if is_run else self.outputs):
            if not (is_run and name in known and self._is_output(name)):
                what = "a file that no run wrote" if is_run else "files, but no run"
                raise OutputError(
                    f"Destination '{self.folder}' holds {what}, such as '{name}'; name an empty "
                    "folder, or remove them."
                )

    def _is_output(self, name: str) -> bool:
        """Whether a run may have written a file and then been killed before the ledger's part."""
        with self.folder.opened(name) as file:
            try:
                metadata = open_parquet(file).metadata.metadata or {}
            except (pa.ArrowException, OSError, UnreadableFileError):
                return False
        return GATE_KEY.encode() in metadata


def _joined(records: Iterable[RunState | Manifest | None]) -> Newest | None:
    newest = [record.newest for record in records if record is not None]
    return reduce(Newest.joined, newest) if newest else None


def _past_manifests(folder: Folder, present: Set[str]) -> Iterable[Manifest | None]:
    """The earlier manifests that a destination keeps, for when the last run's is gone."""
    names = (name for name in present if name.startswith(f"{PAST}/"))
    return [Manifest.find(folder, name) for name in names if not name.endswith(".dsse.json")]
