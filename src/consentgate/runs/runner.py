"""A run: judges every file of a data set into another one, with a ledger and a manifest.

The order in which files are written makes a run safe to kill at any point::

    run.json                      the judgement: gate, version and instant
    for each input: its output    complete, under its final name
                    its seal      if the run is signed
                    its part of the ledger, complete, with what became of the file in its metadata
    manifest.json                 from all parts of the ledger; then run.json is removed

A file is done when its part of the ledger is there, and the part names the state of the input, the
judgement, and the output. A signed run also needs a seal over all of that.
"""

import platform
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from types import FunctionType
from typing import Any

import pyarrow as pa

from consentgate.arguments import require, require_path
from consentgate.arrow import as_micros, thread_count
from consentgate.errors import (
    ColumnMissingError,
    ConfigurationError,
    OutputError,
    RunIncompleteError,
    SourceChangedError,
    SourceError,
    UnreadableFileError,
)
from consentgate.gate import CLOCK_SKEW, Gate
from consentgate.identity import VERSION
from consentgate.judging import record_id_column
from consentgate.runs.destination import Destination, refuse_overlap
from consentgate.runs.file_judge import HELPERS, FileJudge
from consentgate.runs.inventory import Failure, InputFile, finished, look_at, read_parts
from consentgate.runs.manifest import (
    FileRecord,
    InstantFrom,
    Judgement,
    Manifest,
    Newest,
    RunState,
    Totals,
)
from consentgate.runs.records import to_json
from consentgate.runs.seals import Seals
from consentgate.runs.signing import Signer
from consentgate.runs.source import find_source, with_partition
from consentgate.storage import (
    DRAFTS,
    EVIDENCE,
    MANIFEST,
    SIGNATURE,
    STATE,
    Folder,
    lock,
    write_faults_named,
)

_MOST_FILES_AT_ONCE = 4
"""How many files are judged at the same time at most. Each takes up to 200 MB and some threads."""
_LONGEST_STOP = timedelta(days=1)
"""A run that is resumed later than this begins anew, at a new instant."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LIBRARIES = ("numpy", "pyarrow", "pydantic")
_MOST_SHOWN = 3


@dataclass(frozen=True)
class Progress:
    """How far a run has come.

    Attributes:
        files, rows: how many there are in the source, without files that cannot be read.
        files_done, rows_done: how many have been judged, including those that were judged before
            the run was resumed.
        admitted: how many of the judged rows are admitted.
    """

    files: int
    rows: int
    files_done: int
    rows_done: int
    admitted: int


OnProgress = Callable[[Progress], None]


def run(
    gate: Gate,
    source: Any,
    destination: str | Path,
    *,
    judged_at: datetime | None = None,
    threads: int | None = None,
    fail_fast: bool = False,
    sign_with: str | Path | None = None,
    allow_older_snapshot: bool = False,
    on_progress: OnProgress | None = None,
) -> Manifest:
    """Judge every file of a data set, and write the admitted rows as a data set of the same form.

    For each input, the run writes one output with the same relative path, schema, compression and
    key-value metadata, to which the gate's digests are added. The output has no rows if no row is
    admitted. `_consentgate/ledger/` holds one Parquet file of excluded rows for each input.
    `_consentgate/manifest.json` is written last, and says what judged which files.

    A run that was stopped, killed or failed goes on when it is started again with the same
    arguments. Files are judged again if their content has changed, or if the gate, this library's
    version or the instant of judgement has. Outputs that are no longer valid are removed first.
    Digests say whether a file has changed, so finished inputs and outputs are read again, which
    takes less time than judging them.

    An instant that was taken from the clock is kept if the run goes on within a day, unless a
    consent has expired since. In that case all files are judged again, at the present instant. An
    instant that was given is not kept for a call without it. If a run has ended, all files are
    judged again at the new instant. If `judged_at` gives the same instant and nothing has changed,
    nothing is done.

    A run is refused if its snapshot, its registry or its instant of judgement is older than that of
    an earlier run in the destination, because it could undo withdrawals. It is also refused if an
    earlier snapshot or registry of the same `as_of` has other content. Then both of them have to be
    allowed with `allow_older_snapshot`, until a newer one has judged.

    Each file of the source is judged once. Links to files and folders elsewhere are followed, but
    one file under two names, through links of any kind, is an error.

    The manifest names the input files and their folders, and the parts of the ledger are named
    after them. If those names hold ids of people (`sender_id=…`), so does the evidence.

    Args:
        gate: the gate that judges. The manifest names its file if it was saved or opened.
        source: Parquet files: a path or URI (`file://`, `s3://`, `gs://`) of a file or a folder, or
            a pattern (`*`, `**`, `?`, `[ab]`), or a `pyarrow.dataset.Dataset`. Folders named
            `column=value` count as columns. Names that begin with `.` or `_` are left out.
        destination: the path or URI of a folder that is empty, not there yet, or holds a run of
            this source.
        judged_at: the instant of judgement, with a time zone. None takes the gate's. If that is
            None, too, the clock is read when the run begins.
        threads: how many files are judged at the same time, at most 4. None takes one for each
            available core.
        fail_fast: stop at the first file that cannot be judged, instead of judging the others
            first.
        sign_with: the path of an Ed25519 private key in PEM, to sign the manifest with. This needs
            the extra `sign`. Files that were done before are judged again unless a run with this
            key judged them. docs/semantics.md, section 8.8, says what a signature protects against.
        allow_older_snapshot: judge even if this run is older than an earlier one, so that rows may
            be admitted again that a withdrawal had removed. The manifest says so.
        on_progress: a function that is called with a `Progress` after every batch, from several
            threads, one at a time.

    Returns:
        The manifest, as written.

    Warns:
        CoverageWarning: As in `Gate.filter`. Warnings about the policy come before rows are judged,
            and warnings about reasons that exclude nearly all rows come at the end.

    Raises:
        TypeError: An argument is of a wrong type.
        SourceError: The source holds no files, holds one file under two names, or cannot be listed.
        ConfigurationError: The source is not a data set of whole files, two files would share a
            part of the ledger, the gate and the files do not fit, or the key cannot be used.
        ExtraMissingError: `sign_with` is given, but the extra `sign` is not installed.
        ManifestError: The destination's manifest, or the state of an unfinished run, was altered.
        NewerEvidenceError: A newer version wrote files in the destination.
        StaleSnapshotError: This run is older than an earlier one in the destination, or its
            snapshot or registry is older than the policy allows.
        SchemaMismatchError: A file has another schema than the first.
        RunIncompleteError: Files are corrupt, or changed or vanished while they were read. Nothing
            of them is published, and all other files are done.
        DestinationBusyError: Another run is writing there.
        OutputError: The destination lies within the source, holds something else, or cannot be
            written to.
        ConservationError: A row was lost.
        Every error of `Gate.decide` about schema, snapshot and registry: raised before any row is
            judged.
    """
    _check_arguments(gate, destination, judged_at, threads, sign_with, on_progress)
    require(allow_older_snapshot, "allow_older_snapshot", bool)
    instant = _Instant.of(gate, judged_at)
    files = find_source(source)
    with _faults_as_outputs():
        folder = Folder.at(destination)
    signer = None if sign_with is None else Signer(sign_with)
    refuse_overlap(folder, files)
    seals = Seals(folder, signer)
    with _faults_as_outputs():  # before anything is created there
        target = seals.checked(Destination.of(folder, files))
        _judgement(gate, instant, target, allow_older=allow_older_snapshot)
    with _held(folder) as check_hold:
        found, failures = look_at(files)
        if not found or (failures and fail_fast):
            raise _incomplete(failures, 0, len(files.files))
        target = seals.checked(Destination.of(folder, files))
        parts = read_parts(folder, target.ledger)
        target = target.judged_by(part.newest for part in parts.values())
        _refuse_unfit(gate, found, judged_at)
        instant = _Instant.of(gate, judged_at)
        judgement, own = _judgement(gate, instant, target, allow_older=allow_older_snapshot)
        is_sealed = partial(seals.is_sealed, judgement, files.label)
        at_once = min(thread_count(threads), _MOST_FILES_AT_ONCE)
        done = finished(
            files.folder, folder, found, judgement, parts, is_believed=is_sealed, threads=at_once
        )
        if target.is_result(judgement, done, is_signed=_is_signed(target, signer)):
            assert target.manifest is not None
            folder.delete(STATE)  # in case the last run was killed before it could do so
            return target.manifest
        gate._watch.warn_of_policy()
        state = seals.sealed(target.next_state(judgement, instant.origin, own))
        with _drafts(folder) as drafts, ThreadPoolExecutor(HELPERS * at_once) as helpers:
            target.begin(state, done)
            reporter = _Reporter(found, done, on_progress)
            todo = [file for file in found if file.name not in done]
            seal = partial(seals.write, judgement, files.label)
            judge = FileJudge(
                gate,
                judgement,
                files.folder,
                folder,
                drafts,
                helpers,
                seal,
                reporter.add,
                check_hold,
            )
            failures += _judge_all(judge, todo, done, reporter, at_once, fail_fast=fail_fast)
        if failures:
            raise _incomplete(failures, len(done), len(files.files))
        check_hold()
        manifest = _finish(gate, folder, state, own, done, signer)
    gate._watch.warn_of_totals(manifest.totals.rows, manifest.totals.occurrences)
    return manifest


def _check_arguments(
    gate: object,
    destination: object,
    judged_at: object,
    threads: int | None,
    sign_with: object,
    on_progress: object,
) -> None:
    require(gate, "gate", Gate, hint="give a Gate first; of a live gate, give its current()")
    require_path(destination, "destination")
    require(judged_at, "judged_at", datetime, None)
    thread_count(threads)
    require_path(sign_with, "sign_with", None)
    if not (on_progress is None or callable(on_progress)):
        require(on_progress, "on_progress", FunctionType, hint="give a function of one argument")


@contextmanager
def _faults_as_outputs() -> Iterator[None]:
    """Turn errors about sources into errors about outputs, because paths are read the same way."""
    try:
        yield
    except SourceError as error:
        raise OutputError(f"As a destination: {error}") from error


@contextmanager
def _held(folder: Folder) -> Iterator[Callable[[], None]]:
    with write_faults_named(f"Destination '{folder}'"):
        if folder.is_local:
            folder.path(EVIDENCE).mkdir(parents=True, exist_ok=True)
    with lock(folder) as check_hold:
        yield check_hold


@dataclass(frozen=True)
class _Instant:
    """The instant of judgement that a call asks for, and where it comes from."""

    at: datetime
    origin: InstantFrom

    @classmethod
    def of(cls, gate: Gate, given: datetime | None) -> "_Instant":
        """The instant that was given, or else the gate's, or else the clock's.

        Raises:
            TypeError: `given` is not a datetime.
            ConfigurationError: The instant has no time zone, or lies outside the years 1 to 9999.
        """
        at, origin = _EPOCH + timedelta(microseconds=time.time_ns() // 1000), InstantFrom.CLOCK
        if given is not None:
            at, origin = given, InstantFrom.ARGUMENT
        elif gate.judged_at is not None:
            at, origin = gate.judged_at, InstantFrom.GATE
        as_micros(at, name="judged_at")
        try:
            return cls(at.astimezone(UTC), origin)
        except OverflowError:
            raise ConfigurationError(
                "`judged_at` lies before the year 1 or after 9999 in UTC; give another instant."
            ) from None


def _refuse_unfit(gate: Gate, found: Sequence[InputFile], given: datetime | None) -> None:
    """Raise an error unless the gate can judge the files, by their columns and its own age."""
    by_folders = {tuple(c.name for c in file.file.partition): file for file in found}
    for file in by_folders.values():
        rows = with_partition(pa.Table.from_batches([], file.schema), file.file.partition)
        record_id_column(rows.schema, gate.columns)
        gate.decide(rows, judged_at=given)
    if gate.columns.record_id not in found[0].schema.names:
        raise ColumnMissingError(
            f"Column '{gate.columns.record_id}' holds the record ids but is not in the files, only "
            "in their folders' names; write it into the files."
        )


def _judgement(
    gate: Gate, instant: _Instant, target: Destination, *, allow_older: bool
) -> tuple[Judgement, Newest]:
    """The judgement of this run, and the snapshot, registry and instant that it judges by.

    Raises:
        StaleSnapshotError: They are older than those of an earlier run.
    """
    judgement = _kept(gate, instant, target)
    if judgement is None:
        at = instant.at
        if instant.origin is InstantFrom.CLOCK and target.newest is not None:
            ahead = target.newest.judged_at - at  # another machine's clock may be ahead
            at += ahead if timedelta() < ahead <= CLOCK_SKEW else timedelta()
        judgement = Judgement(gate_digest=gate.digest, version=VERSION, judged_at=at)
    own = Newest.of(gate.identity, judgement.judged_at)
    target.refuse_older(own, allow=allow_older)
    return judgement, own


def _kept(gate: Gate, instant: _Instant, target: Destination) -> Judgement | None:
    """The judgement of an unfinished run, if judging at the present instant gives the same.

    None if it does not, or if there is no such run.
    """
    state = target.state if target.goes_on else None
    if state is None or {state.instant_from, instant.origin} != {InstantFrom.CLOCK}:
        return None
    before = state.judgement
    is_same = (before.gate_digest, before.version) == (gate.digest, VERSION)
    if not is_same or not timedelta() <= instant.at - before.judged_at < _LONGEST_STOP:
        return None
    then, now = (as_micros(at, name="judged_at") for at in (before.judged_at, instant.at))
    return None if gate._judge.consent.changes_between(then, now) else before


def _is_signed(target: Destination, signer: Signer | None) -> bool:
    """Whether the destination's manifest has this key's signature. True without a key."""
    if signer is None or target.manifest is None:
        return signer is None
    return signer.has_signed(target.folder.read(SIGNATURE), target.manifest)


def _judge_all(
    judge: FileJudge,
    todo: Sequence[InputFile],
    done: dict[str, FileRecord],
    reporter: "_Reporter",
    at_once: int,
    *,
    fail_fast: bool,
) -> list[Failure]:
    """Judge files, the largest first, and add them to `done`. Returns the failures."""

    def attempt(file: InputFile) -> FileRecord | Failure | None:
        try:
            reporter.go_on()
            return judge.judge(file)
        except (UnreadableFileError, SourceChangedError) as error:
            if fail_fast:
                reporter.stop()
            return Failure(file.name, error)
        except _StoppedError:
            return None

    failures: list[Failure] = []
    with ThreadPoolExecutor(at_once) as pool:
        largest_first = sorted(todo, key=lambda file: -file.stamp.size_bytes)
        try:
            for future in as_completed([pool.submit(attempt, file) for file in largest_first]):
                result = future.result()
                if isinstance(result, Failure):
                    failures.append(result)
                elif result is not None:
                    done[result.input.path] = result
                    reporter.finish_file()
        finally:
            reporter.stop()
    return failures


class _Reporter:
    """Counts what is done, and stops the other threads after `stop`."""

    def __init__(
        self,
        found: Sequence[InputFile],
        done: Mapping[str, FileRecord],
        on_progress: OnProgress | None,
    ) -> None:
        self._lock, self._stopped = threading.Lock(), threading.Event()
        self._tell = on_progress or (lambda _progress: None)
        before = Totals.of(done.values())
        rows = sum(file.rows for file in found)
        self._progress = Progress(len(found), rows, len(done), before.rows, before.admitted)
        self._tell(self._progress)

    def add(self, rows: int, admitted: int) -> None:
        """Count a batch."""
        self.go_on()
        self._advance(rows_done=rows, admitted=admitted)

    def finish_file(self) -> None:
        """Count a file."""
        self._advance(files_done=1)

    def go_on(self) -> None:
        """Raise an error if `stop` was called."""
        if self._stopped.is_set():
            raise _StoppedError

    def stop(self) -> None:
        """Let no thread judge another batch."""
        self._stopped.set()

    def _advance(self, **more: int) -> None:
        with self._lock:
            now = {name: getattr(self._progress, name) + count for name, count in more.items()}
            self._progress = replace(self._progress, **now)
            self._tell(self._progress)


class _StoppedError(Exception):
    """Another file failed, or the run was interrupted."""


@contextmanager
def _drafts(folder: Folder) -> Iterator[Path]:
    """A local folder for incomplete files. It is below the destination if that is local, too.

    Files that killed runs left there are removed.
    """
    if not folder.is_local:
        with write_faults_named("The temporary folder"):
            temporary = TemporaryDirectory(prefix="consentgate-")
        with temporary as name:
            yield Path(name)
        return
    drafts = folder.path(DRAFTS)
    with write_faults_named(f"Destination '{folder}'"):
        shutil.rmtree(drafts, ignore_errors=True)
        drafts.mkdir()
    try:
        yield drafts
    finally:
        shutil.rmtree(drafts, ignore_errors=True)


def _finish(
    gate: Gate,
    folder: Folder,
    state: RunState,
    own: Newest,
    done: Mapping[str, FileRecord],
    signer: Signer | None,
) -> Manifest:
    """Write the manifest, which ends the run."""
    files = tuple(done[name] for name in sorted(done))
    manifest = Manifest.sealed(
        judgement=state.judgement,
        libraries={"python": platform.python_version(), **{n: version(n) for n in _LIBRARIES}},
        identity=gate.identity,
        policy=gate.policy.model_dump(mode="json"),
        newest=state.newest,
        allowed_older_snapshot=bool(own.what_is_older(state.newest)),
        gate_file=None if gate.path is None else str(gate.path),
        source=state.source,
        started_at=state.started_at,
        finished_at=datetime.now(UTC),
        files=files,
        totals=Totals.of(files),
        previous=state.previous,
    )
    folder.settle(file.path for record in files for file in (record.output, record.ledger))
    if signer is not None:
        folder.write(SIGNATURE, signer.sign(manifest))
    folder.write(MANIFEST, to_json(manifest))
    folder.delete(STATE)
    return manifest


def _incomplete(failures: Sequence[Failure], done: int, files: int) -> RunIncompleteError:
    failures = sorted(failures, key=lambda failure: failure.name)
    shown = " ".join(str(failure.error) for failure in failures[:_MOST_SHOWN])
    more = len(failures) - _MOST_SHOWN
    error = RunIncompleteError(
        f"{len(failures)} of {files} files could not be judged, and {done} are done. Fix the files "
        "named here, then run again; finished files are not judged again. "
        + shown
        + (f" And {more} more." if more > 0 else "")
    )
    error.failures = tuple((f.name, f.error.code, str(f.error)) for f in failures)
    error.__cause__ = failures[0].error
    return error
