"""What is in a run's destination as it begins: nothing, a run to go on with, or one to follow."""

from collections.abc import Mapping, Set
from dataclasses import dataclass
from datetime import UTC, datetime

import pyarrow as pa
import pyarrow.fs as pa_fs

from consentgate._layout import (
    GATE_KEY,
    LEDGER,
    MANIFEST,
    SIGNATURE,
    STATE,
    is_hidden,
    ledger_name,
    past,
)
from consentgate._parquet import open_parquet
from consentgate._source import Source
from consentgate._storage import Folder
from consentgate.errors import OutputError
from consentgate.manifest import (
    FileRecord,
    Judgement,
    Manifest,
    RunState,
    to_json,
)

__all__ = ["Standing", "refuse_overlap"]


def refuse_overlap(folder: Folder, source: Source) -> None:
    """Nothing, when what is written to a destination cannot become part of the source.

    Raises:
        OutputError: The destination lies within the source.
    """
    if folder.is_local and source.folder.is_local:
        own = f"{folder.path('').resolve()}/"
        reached = (f"{source.folder.path(file.name).resolve()}" for file in source.files)
        overlaps = any(path.startswith(own) for path in reached)
        inner, outer = own, f"{str(source.folder.path('').resolve()).rstrip('/')}/"
    else:
        inner, outer = f"{folder}/", f"{source.folder}/"
        overlaps = False
    if overlaps or (source.is_tree and inner.startswith(outer)):
        raise OutputError(
            f"Destination '{folder}' lies within the source '{source.folder}', or a part of the "
            "source in it, so its files would be judged as messages next time; name a folder "
            "elsewhere."
        )


@dataclass(frozen=True)
class Standing:
    """What is in a destination.

    Attributes:
        folder: the destination.
        source: what the run reads.
        present: the names of all files there.
        state: of a run of this source that has not ended.
        manifest: of the last run that has.
    """

    folder: Folder
    source: Source
    present: Set[str]
    state: RunState | None
    manifest: Manifest | None

    @classmethod
    def of(cls, folder: Folder, source: Source) -> "Standing":
        """Look at a destination.

        Raises:
            OutputError: It is a file, or holds something else than a run of this source.
            ManifestError: It holds a manifest that was altered.
        """
        if folder.kind() is pa_fs.FileType.File:
            raise OutputError(f"Destination '{folder}' is a file; name a folder.")
        state = RunState.read(folder)
        manifest = Manifest.read(folder)
        if state is not None and manifest is not None and state.has_ended(manifest):
            state = None  # it was killed before it could tidy up
        for name in folder.oddities():
            raise OutputError(
                f"'{name}' in destination '{folder}' is a link, or neither file nor folder; take "
                "it away, so that nothing is written or removed elsewhere."
            )
        present = folder.listing().keys()
        for record in (state, manifest):
            if record is not None and record.source != source.label:
                raise OutputError(
                    f"Destination '{folder}' holds a run of '{record.source}', but the source is "
                    f"now '{source.label}'; name another folder."
                )
        standing = cls(folder, source, present, state, manifest)
        standing._refuse_foreign()
        return standing

    @property
    def outputs(self) -> set[str]:
        """The files in the destination that engines would read."""
        return {name for name in self.present if not is_hidden(name)}

    def is_result(
        self,
        judgement: Judgement,
        done: Mapping[str, FileRecord],
        *,
        must_sign: bool,
    ) -> bool:
        """Whether the last run's manifest says what a run would come to now."""
        if self.manifest is None or self.state is not None or self.manifest.judgement != judgement:
            return False
        records = {record.input.path: record for record in self.manifest.files}
        names = {file.name for file in self.source.files}
        is_signed = SIGNATURE in self.present or not must_sign
        return is_signed and records == dict(done) and names == self.outputs == set(done)

    def begin(self, judgement: Judgement, done: Mapping[str, FileRecord]) -> RunState:
        """Say that a run is under way, and remove what does not hold any more.

        Raises:
            OutputError: The destination cannot be written to.
        """
        state = self._next_state(judgement)
        if self.manifest is not None:
            for name in (SIGNATURE, MANIFEST):
                content = self.folder.read(name)
                if content is not None:
                    self.folder.write(past(name, self.manifest.digest), content)
        if state != self.state:
            self.folder.write(STATE, to_json(state))
        self.folder.delete(MANIFEST)
        self.folder.delete(SIGNATURE)
        kept = {*done, *map(ledger_name, done)}
        parts = {name for name in self.present if name.startswith(f"{LEDGER}/")}
        for name in [*sorted(parts - kept), *sorted(self.outputs - kept)]:
            self.folder.delete(name)
        return state

    def _next_state(self, judgement: Judgement) -> RunState:
        if self.state is not None and self.state.judgement == judgement:
            return self.state
        previous = self.state.previous if self.state is not None else None
        return RunState(
            judgement=judgement,
            source=self.source.label,
            started_at=datetime.now(UTC),
            previous=previous if self.manifest is None else self.manifest.digest,
        )

    def _refuse_foreign(self) -> None:
        """Nothing, when every file that engines would read there was written by a run."""
        is_run = self.state is not None or self.manifest is not None
        known = {file.name for file in self.source.files}
        judged = {name for name in self.outputs if ledger_name(name) in self.present}
        for name in sorted(self.outputs - judged if is_run else self.outputs):
            if not (is_run and name in known and self._is_output(name)):
                what = "a file that no run wrote" if is_run else "files, but no run"
                raise OutputError(
                    f"Destination '{self.folder}' holds {what}, such as '{name}'; name an empty "
                    "folder, or take them away."
                )

    def _is_output(self, name: str) -> bool:
        """Whether it can be what a killed run published before it could write the ledger's part."""
        with self.folder.opened(name) as file:
            try:
                metadata = open_parquet(file).metadata.metadata or {}
            except (pa.ArrowException, OSError):
                return False
        return GATE_KEY.encode() in metadata
