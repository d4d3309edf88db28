"""The audit: checks whether a run's files are still as its manifest says."""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import pairwise
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from consentgate.arguments import require, require_path
from consentgate.arrow import thread_count
from consentgate.decision import Decision
from consentgate.errors import (
    ConfigurationError,
    ConsentGateError,
    ManifestError,
    SourceChangedError,
)
from consentgate.gate import Gate
from consentgate.identity import GateIdentity
from consentgate.index import id_family
from consentgate.inputs import read_faults_named
from consentgate.ledger import ledger_schema, read_ledger_head
from consentgate.runs.manifest import (
    FileRecord,
    Manifest,
    Outcome,
    PartRecord,
    RunState,
    SealedFile,
    Totals,
    WrittenFile,
    loss,
)
from consentgate.runs.records import parse_record
from consentgate.runs.signing import is_seal, read_public_key, signed_manifest
from consentgate.runs.source import Partition, Source, find_source, with_partition
from consentgate.storage import (
    EVIDENCE,
    LEASES,
    LOCK,
    MANIFEST,
    ODD,
    RECORD_KEY,
    SIGNATURE,
    STATE,
    Folder,
    digest_file,
    digest_json,
    open_parquet,
    past,
    printable,
    read_batches,
    seal_name,
    why,
)


@dataclass(frozen=True)
class Finding:
    """Something that is not as the manifest says.

    Attributes:
        path: the path of the file, below the run's destination or source.
        what: the end of a sentence about the file, which says what is wrong.
    """

    path: str
    what: str

    def __str__(self) -> str:
        return f"{self.path}: {self.what}"


def audit(
    destination: str | Path,
    *,
    gate: Gate | None = None,
    source: Any = None,
    public_key: str | Path | None = None,
    threads: int | None = None,
) -> tuple[Finding, ...]:
    """Check that everything in a run's destination is as its manifest says.

    The audit reads every output and every part of the ledger. It compares digests, sizes and
    numbers of rows with the manifest, counts reasons anew from the ledger, and compares the
    metadata of every file with the manifest. It names files that are missing, added or in each
    other's place. It follows the chain of earlier manifests. Links, pipes and devices in the
    destination are named and never opened. A manifest without a signature may have been altered
    together with all other files (docs/semantics.md, section 8.8).

    Args:
        destination: the path or URI of the folder of a run that has ended.
        gate: the gate that judged. If it is given, every admitted row is judged again, at the
            instant of the run.
        source: the source of the run, as it was given to `run`. If it is given, the content of the
            inputs and the names of their folders are compared, too, and files that no run judged
            are named.
        public_key: the path of the Ed25519 public key, in PEM, that the manifest has to be signed
            with. It is needed if the manifest is signed.
        threads: how many files are read at the same time. None takes one for each available core.

    Returns:
        A finding for everything that is not as the manifest says. Empty if all is well.

    Raises:
        TypeError: An argument is of a wrong type.
        ManifestError: There is no manifest, or it is malformed or altered.
        ConfigurationError: The manifest is signed but no key is given, or the key cannot be used;
            or another gate judged, or the run was judged under other rules of judgement than this
            version's.
        NewerEvidenceError: A newer version wrote the manifest.
        UnreadableFileError, SourceError: The destination or the source cannot be read.
    """
    require_path(destination, "destination")
    require(gate, "gate", Gate, None, hint="build or open one")
    folder = Folder.at(destination)
    _refuse_odd_manifest(folder)
    manifest = Manifest.find(folder)
    if manifest is None:
        raise ManifestError(
            f"There is no manifest in '{folder}'; check the path, or run again to let the run end."
        )
    if gate is not None:
        refuse_other_gate(manifest, gate)
    odd = _Odd.within(folder)
    present = {name for name in folder.listing(follow_links=False) if not odd.holds(name)}
    manifests, faults = _followed(folder, manifest, odd)
    key = None if public_key is None else read_public_key(public_key)
    signatures = list(_check_signatures(folder, manifests, present, key))
    has_sealed = None if key is None or signatures else partial(is_seal, public_key=key)
    check = _Check(folder, manifest, gate, odd, has_sealed, present)
    with ThreadPoolExecutor(thread_count(threads)) as pool:
        by_file = list(pool.map(check.file, manifest.files))
        if source is not None:
            found = find_source(source)
            by_file.append(list(_check_source(found, manifest)))
            compare = partial(_look, found.folder, lambda _path: (), owners={})
            by_file += pool.map(compare, [record.input for record in manifest.files])
    return (
        *_check_manifest(manifest),
        *_check_order(manifests),
        *(finding for findings in by_file for finding in findings),
        *faults,
        *signatures,
        *_check_names(folder, manifests, present),
        *(Finding(printable(name), ODD) for name in odd.names),
    )


def refuse_other_rules(manifest: Manifest) -> None:
    """Raise an error unless this version judges by the rules of judgement of a run.

    Raises:
        ConfigurationError: It judges by other rules, so it cannot judge the run's rows again.
    """
    if how := manifest.identity.other_rules:
        version = manifest.judgement.version
        raise ConfigurationError(
            f"The run was judged by consentgate {version} {how}. Its rows cannot be judged again "
            f"as they were judged then; install consentgate {version} to do so, or leave out "
            "`gate` to check all else."
        )


def refuse_other_gate(manifest: Manifest, gate: Gate) -> None:
    """Raise an error unless a gate is the one that judged a run.

    Raises:
        ConfigurationError: It is another gate, or this version judges by other rules.
    """
    refuse_other_rules(manifest)
    if gate.digest != manifest.judgement.gate_digest:
        raise ConfigurationError(
            f"The given gate has the digest {gate.digest}, but the run was judged by the gate "
            f"{manifest.judgement.gate_digest}; give that one."
        )


def _refuse_odd_manifest(folder: Folder) -> None:
    """Raise an error if a manifest on a disk is a link, lies behind one, or is not a file."""
    if not folder.is_local:
        return
    with suppress(OSError):  # a path that cannot be looked at raises a better error when it is read
        path, evidence = folder.path(MANIFEST), folder.path(EVIDENCE)
        is_link = path.is_symlink() or evidence.is_symlink()
        is_odd = evidence.exists() and not evidence.is_dir()
        if is_link or is_odd or (path.exists() and not path.is_file()):
            raise ManifestError(
                f"'{folder.shown(MANIFEST)}' is a link, lies behind one, or is not a regular file; "
                "put the manifest itself there."
            )


@dataclass(frozen=True)
class _Odd:
    """Names in a destination that must not be opened: links, pipes, devices and the like."""

    names: tuple[str, ...]

    @classmethod
    def within(cls, folder: Folder) -> "_Odd":
        """Find them in a folder."""
        return cls(tuple(folder.oddities()))

    def holds(self, name: str) -> bool:
        """Whether a file is one of them, or lies behind one."""
        path = PurePosixPath(name)
        return not self._known.isdisjoint([name, *map(str, path.parents)])

    @cached_property
    def _known(self) -> frozenset[str]:
        return frozenset(self.names)


@dataclass(frozen=True)
class _Check:
    """Checks the files of one run.

    Attributes:
        folder: the destination.
        manifest: the manifest of the run.
        gate: the gate that judges admitted rows again; None: they are not judged.
        odd: the names that must not be opened.
        has_sealed: a function that says whether a seal is the signer's; None if seals are not
            checked.
        present: the names of all files in the destination.
    """

    folder: Folder
    manifest: Manifest
    gate: Gate | None
    odd: _Odd
    has_sealed: Callable[[str, SealedFile], bool] | None
    present: Set[str]

    @cached_property
    def _owners(self) -> dict[str, str]:
        """The path of each file of the manifest by its digest."""
        files = [file for record in self.manifest.files for file in (record.output, record.ledger)]
        return {file.sha256: file.path for file in files}

    def _names_gate(self, file: pq.ParquetFile) -> bool:
        """Whether a file names the manifest's gate, both to Arrow and to other readers."""
        said = (file.metadata.metadata, file.schema_arrow.metadata)
        return all(self.manifest.identity.is_named_by(metadata or {}) for metadata in said)

    def file(self, record: FileRecord) -> list[Finding]:
        """The findings about a file's output, its part of the ledger, and its seal."""
        output, ledger = partial(self._output, record), partial(self._ledger, record)
        findings = [
            finding
            for look, file in ((output, record.output), (ledger, record.ledger))
            if not self.odd.holds(file.path)
            for finding in _look(self.folder, look, file, owners=self._owners)
        ]
        return [*findings, *self._seal(record)]

    def _seal(self, record: FileRecord) -> Iterator[Finding]:
        """The findings about the seal of a file of a signed run."""
        name = seal_name(record.input.path)
        if self.has_sealed is None or name not in self.present:
            return
        manifest = self.manifest
        sealed = SealedFile(judgement=manifest.judgement, source=manifest.source, file=record)
        seal = (self.folder.read(name) or b"").decode("ascii", "replace")
        if not self.has_sealed(seal, sealed):
            yield Finding(name, "is not the seal of the given key on this file")

    def _output(self, record: FileRecord, path: Path) -> Iterator[str]:
        with open_parquet(path, columns=1) as parquet:
            names_gate, rows = self._names_gate(parquet), parquet.metadata.num_rows
            columns = len(parquet.schema_arrow)
        if rows != record.output.rows:
            yield f"holds {rows} rows instead of {record.output.rows}"
        if not names_gate:
            yield "names another gate than the manifest"
        if self.gate is not None:
            yield from self._rejudge(self.gate, record.input.partition, path, columns)

    def _rejudge(self, gate: Gate, partition: Partition, path: Path, columns: int) -> Iterator[str]:
        judged_at, counts = self.manifest.judgement.judged_at, Counter[str]()
        with open_parquet(path, columns=columns) as parquet:
            for batch in read_batches(parquet):
                table = with_partition(pa.Table.from_batches([batch]), partition)
                counts += gate.decide(table, judged_at=judged_at, threads=1).counts
        if counts:
            reasons = ", ".join(f"{count} {reason}" for reason, count in counts.items())
            yield f"holds {counts.total()} rows that the gate excludes ({reasons})"

    def _ledger(self, record: FileRecord, path: Path) -> Iterator[str]:
        manifest = self.manifest
        with open_parquet(path, columns=4) as parquet:
            metadata = parquet.metadata.metadata or {}
            if not self._names_gate(parquet):
                yield "was written for another gate than the manifest names"
            elif read_ledger_head(metadata, "The part").version != manifest.judgement.version:
                yield "was written by another version of consentgate than the manifest names"
            part = parse_record(PartRecord, metadata.get(RECORD_KEY.encode(), b""), path.name)
            outcome = Outcome(**{name: getattr(record, name) for name in Outcome.model_fields})
            if part != PartRecord(judgement=manifest.judgement, outcome=outcome):
                yield "says something else about its input than the manifest"
            if not _is_ledger(parquet.schema_arrow):
                yield "does not have the columns of a ledger"
            else:
                yield from _recount(parquet, record, manifest.identity)


def _is_ledger(schema: pa.Schema) -> bool:
    """Whether the columns have a ledger's names and types."""
    if "record_id" not in schema.names:
        return False
    kind = schema.field(0).type
    return id_family(kind) is not None and schema.equals(ledger_schema(kind))


def _recount(parquet: pq.ParquetFile, record: FileRecord, gate: GateIdentity) -> Iterator[str]:
    """Count rows and reasons anew, under the names that the manifest records."""
    names = gate.reason_names
    named = np.uint32(sum(1 << bit for bit in names))
    counts, occurrences = Counter[str](), Counter[str]()
    last, is_sound = -1, True
    for batch in read_batches(parquet):
        batch.validate(full=True)
        bits, rows = batch["reason_bits"].to_numpy(), batch["row"].to_numpy()
        if np.any(bits & ~named):
            yield "holds reasons that the manifest does not name"
            return
        decision = Decision(batch["reason_bits"], names)
        counts += decision.counts
        occurrences += decision.occurrences
        ascends = bool(np.all(rows[1:] > rows[:-1])) and (not len(rows) or int(rows[0]) > last)
        is_primary = batch["reason"].cast(pa.string()).equals(decision.reason.cast(pa.string()))
        is_sound = is_sound and ascends and is_primary and decision.num_admitted == 0
        last = int(rows[-1]) if len(rows) else last
    if not is_sound or last >= record.input.rows:
        yield "holds rows twice, rows that are not in the input, or reasons that do not fit"
    if (counts, occurrences) != (Counter(record.counts), Counter(record.occurrences)):
        yield "holds other counts of reasons than the manifest"


def _look(
    folder: Folder,
    look: Callable[[Path], Iterable[str]],
    file: WrittenFile,
    *,
    owners: Mapping[str, str],
) -> list[Finding]:
    """The findings about a file; only one if its bytes are not the ones that were written."""
    try:
        with folder.fetched(file.path) as path:
            digest, size = digest_file(path), path.stat().st_size
            if digest == file.sha256:
                with read_faults_named(folder.shown(file.path)):
                    found = (*_size_fault(file, size), *look(path))
                    return [Finding(file.path, what) for what in found]
    except (FileNotFoundError, SourceChangedError):
        return [Finding(file.path, "is missing")]
    except OSError as error:
        return [Finding(file.path, f"cannot be read: {why(error)}")]
    except ConsentGateError as error:
        return [Finding(file.path, str(error))]
    owner = owners.get(digest)
    if owner is not None:
        return [Finding(file.path, f"holds what '{owner}' should hold")]
    return [Finding(file.path, f"was altered: {size:,} bytes, {file.size_bytes:,} were written")]


def _size_fault(file: WrittenFile, size: int) -> Iterator[str]:
    if size != file.size_bytes:
        yield f"has {size:,} bytes, but the manifest says {file.size_bytes:,}"


def _check_manifest(manifest: Manifest) -> Iterator[Finding]:
    """Find contradictions within the manifest."""
    if digest_json(manifest.policy) != manifest.identity.policy_digest:
        yield Finding(MANIFEST, "its policy does not have the digest that it names")
    if manifest.identity.digest != manifest.judgement.gate_digest:
        yield Finding(MANIFEST, "its identity does not have the gate digest that it names")
    if Totals.of(manifest.files) != manifest.totals:
        yield Finding(MANIFEST, "its totals are not the sums over its files")
    for record in manifest.files:
        if fault := loss(Totals.of([record])):
            yield Finding(MANIFEST, f"'{record.input.path}' {fault}")


def _check_source(source: Source, manifest: Manifest) -> Iterator[Finding]:
    """Find files that no run judged, and files whose folders have other names than recorded.

    The types of partition columns are not compared, because only a data set knows them.
    """
    judged = {record.input.path: record.input.partition for record in manifest.files}
    for file in source.files:
        partition = judged.get(file.name)
        if partition is None:
            yield Finding(
                file.name,
                "is in the source, but not in the manifest: it was added after the run, or its "
                "record was removed",
            )
        elif _values(partition) != _values(file.partition):
            yield Finding(
                file.name,
                "has other partition columns in the manifest than in the source; for a run of a "
                "pyarrow data set, give that data set as the source",
            )


def _values(partition: Partition) -> dict[str, str | None]:
    return {column.name: column.value for column in partition}


def _check_order(manifests: Sequence[Manifest]) -> Iterator[Finding]:
    """Find runs that judged by something older than an earlier run, and did not say so.

    Args:
        manifests: the manifests of the runs, the latest first.
    """
    names = [MANIFEST, *(past(MANIFEST, manifest.digest) for manifest in manifests[1:])]
    for name, manifest in zip(names, manifests, strict=True):
        is_older = bool(manifest.own.what_is_older(manifest.newest))
        if is_older != manifest.allowed_older_snapshot:
            yield Finding(name, "contradicts itself on whether an older snapshot was allowed")
        if not manifest.newest.covers(manifest.own):
            yield Finding(name, "contradicts itself on the newest that has judged")
    for name, (manifest, before) in zip(names, pairwise(manifests), strict=False):
        if not manifest.newest.covers(before.newest):
            older = manifest.newest.what_is_older(before.newest) or "it had a channel registry"
            yield Finding(name, f"leaves out what the run before it was judged by: {older}")


def _check_signatures(
    folder: Folder, manifests: Sequence[Manifest], present: Set[str], key: Any
) -> Iterator[Finding]:
    """Check that the manifests are signed with the key. Only the first one has to be signed."""
    names = [SIGNATURE, *(past(SIGNATURE, manifest.digest) for manifest in manifests[1:])]
    if key is None:
        if not present.isdisjoint(names):
            raise ConfigurationError(
                f"The run in '{folder}', or one before it, is signed; give the public key of "
                "the signer (`public_key`)."
            )
        return
    for name, manifest in zip(names, manifests, strict=True):
        envelope = folder.read(name) if name in present else None
        if envelope is None and manifest is manifests[0]:
            yield Finding(MANIFEST, "is not signed")
        if envelope is None:
            continue
        try:
            if signed_manifest(envelope, key, name) != manifest:
                yield Finding(name, "signs another manifest")
        except ManifestError as error:
            yield Finding(name, str(error))


def _followed(
    folder: Folder, manifest: Manifest, odd: _Odd
) -> tuple[list[Manifest], list[Finding]]:
    """The manifest and all earlier ones, the latest first, and the findings about them."""
    chain = [manifest]
    while (previous := chain[-1].previous) is not None:
        name = past(MANIFEST, previous)
        try:
            before = None if odd.holds(name) else Manifest.find(folder, name)
        except ManifestError as error:
            return chain, [Finding(name, str(error))]
        if before is None:
            return chain, [Finding(name, "is missing")]
        if before.digest != previous:
            return chain, [Finding(name, "is another manifest than the next run names")]
        chain.append(before)
    return chain, []


def _check_names(
    folder: Folder, manifests: Sequence[Manifest], present: Set[str]
) -> Iterator[Finding]:
    """Find files that no manifest names."""
    expected = {MANIFEST, SIGNATURE, LOCK}
    for record in manifests[0].files:
        expected |= {record.output.path, record.ledger.path, seal_name(record.input.path)}
    for manifest in manifests:
        if manifest.previous is not None:
            names = (past(name, manifest.previous) for name in (MANIFEST, SIGNATURE))
            expected.update(names)
    for name in sorted(present - expected):
        if name == STATE:
            yield from _check_state(folder, manifests[0])
        elif not _is_empty_lease(folder, name):
            yield Finding(name, "was added; no manifest names it")
    if LOCK in present and folder.read(LOCK):
        yield Finding(LOCK, "was altered: it should be empty")


def _check_state(folder: Folder, manifest: Manifest) -> Iterator[Finding]:
    """Find the state of another run. A killed run may leave its own state, which does no harm."""
    try:
        state = RunState.read(folder)
    except ManifestError as error:
        yield Finding(STATE, str(error))
        return
    if state is not None and not state.has_ended(manifest):
        yield Finding(STATE, "another run has begun and not ended; its files may be here")


def _is_empty_lease(folder: Folder, name: str) -> bool:
    """Whether a file is an empty lease, which a killed run leaves in an object store."""
    is_lease = not folder.is_local and re.fullmatch(rf"{LEASES}/[0-9a-f]{{32}}", name)
    return bool(is_lease) and folder.read(name) == b""
