"""Judges one file of a run, and writes its admitted rows and its part of the ledger."""

import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Executor, Future
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from consentgate.gate import Gate
from consentgate.inputs import read_faults_named
from consentgate.ledger import LEDGER_OPTIONS, excluded_rows, ledger_schema
from consentgate.runs.inventory import InputFile, faults_as_changes
from consentgate.runs.manifest import (
    FileRecord,
    Judgement,
    Outcome,
    PartRecord,
    ReadFile,
    Totals,
    WrittenFile,
    refuse_loss,
)
from consentgate.runs.row_copier import RowCopier, early_columns
from consentgate.runs.source import with_partition
from consentgate.storage import (
    RECORD_KEY,
    Background,
    BatchReader,
    FileForm,
    Folder,
    GrowingFile,
    LateReader,
    ParquetFile,
    RowGroupWriter,
    Span,
    digest_file,
    group_spans,
    ledger_name,
    open_parquet,
    refuse_inexact_timestamps,
    write_faults_named,
)

OnBatch = Callable[[int, int], None]

HELPERS = 5
"""How many helpers can be busy with one file: copying, writing two files, and two digests."""
_BATCH_ROWS = 65_536
"""Most rows of a batch. Judging and copying take turns more evenly if batches are of one size, and
writers make row groups whose number of rows is a multiple of this.
"""


@dataclass(frozen=True)
class FileJudge:
    """Judges files one by one, from many threads.

    Attributes:
        gate: the gate that judges.
        judgement: the digest of the gate, the version and the instant of judgement.
        source: the folder of the messages.
        destination: the folder of the run's files.
        drafts: a local folder for files that are not complete.
        helpers: HELPERS threads for each file that is judged at the same time. They copy rows,
            write row groups and take digests while the next rows are judged.
        seal: a function that is called after an output is published, and before its part of the
            ledger is.
        on_batch: a function that is called after each batch with the numbers of judged and of
            admitted rows. It raises an error to stop.
        check_hold: a function that raises an error if the run has lost its lock.
    """

    gate: Gate
    judgement: Judgement
    source: Folder
    destination: Folder
    drafts: Path
    helpers: Executor
    seal: Callable[[FileRecord], None]
    on_batch: OnBatch
    check_hold: Callable[[], None]

    def judge(self, input_file: InputFile) -> FileRecord:
        """Judge a file, and publish its output and then its part of the ledger.

        Raises:
            UnreadableFileError: The file is corrupt.
            SourceChangedError: The file changed or vanished while it was read.
            OutputError: The destination cannot be written to.
            ConservationError: A row was lost.
        """
        drafts = data, part = [self.drafts / uuid.uuid4().hex for _ in range(2)]
        try:
            with faults_as_changes(self.source, input_file.name, input_file.stamp):
                record = self._write(input_file, data, part)
            self.check_hold()
            self.destination.publish(data, record.output.path)
            self.seal(record)
            self.destination.publish(part, record.ledger.path)
        finally:
            for draft in drafts:
                draft.unlink(missing_ok=True)
        return record

    def _write(self, input_file: InputFile, data: Path, part: Path) -> FileRecord:
        """Write both drafts in one pass over the file, and check that no row was lost."""
        shown = self.source.shown(input_file.name)
        with self.source.fetched(input_file.name) as path:
            digest = self.helpers.submit(digest_file, path)
            with read_faults_named(shown):
                file = open_parquet(path, columns=len(input_file.schema))
                refuse_inexact_timestamps(file, path)
                form = self._output_form(FileForm.of(file))
            with (
                file,
                self._growing(data, input_file.name) as growing,
                self._writer(data, form, input_file.name, on_group=growing.grew) as admitted,
                self._writer(
                    part, self._ledger_form(input_file.schema), input_file.name
                ) as excluded,
            ):
                counts, occurrences = self._split_rows(input_file, file, admitted, excluded)
                admitted.close()
                stamp = input_file.stamp
                outcome = Outcome(
                    input=ReadFile(
                        path=input_file.name,
                        size_bytes=stamp.size_bytes,
                        rows=input_file.rows,
                        sha256=_result(digest, shown),
                        version=stamp.version,
                        partition=input_file.file.partition,
                    ),
                    output=_written(data, input_file.name, growing.digest()),
                    counts=dict(counts),
                    occurrences=dict(occurrences),
                )
                about = PartRecord(judgement=self.judgement, outcome=outcome)
                excluded.close({RECORD_KEY: about.model_dump_json()})
        record = FileRecord(**dict(outcome), ledger=_written(part, ledger_name(input_file.name)))
        refuse_loss(shown, Totals.of([record]))
        return record

    def _split_rows(
        self,
        input_file: InputFile,
        file: ParquetFile,
        admitted: RowGroupWriter,
        excluded: RowGroupWriter,
    ) -> tuple[Counter[str], Counter[str]]:
        """Write every row to one of two files, and count the reasons.

        While a batch is judged, the admitted rows of the one before are copied by a helper.
        """
        counts: Counter[str] = Counter()
        occurrences: Counter[str] = Counter()
        judged_at, first_row = self.judgement.judged_at, 0
        partition, identity = input_file.file.partition, self.gate.identity
        shown = self.source.shown(input_file.name)
        with ExitStack() as stack:
            early, late = self._readers(file, shown, stack)
            copier = RowCopier(file.schema_arrow, late, admitted, shown)
            copying = stack.enter_context(Background(self.helpers))
            for span, batch in _batches(file, early, shown):
                table = with_partition(pa.Table.from_batches([batch]), partition)
                decision = self.gate.decide(table, judged_at=judged_at, threads=1)
                copying.call(partial(copier.copy, span, batch, decision.admitted))
                ids = table.column(self.gate.columns.record_id)
                excluded.write(excluded_rows(ids, decision, identity, first_row=first_row))
                first_row += batch.num_rows
                counts += decision.counts
                occurrences += decision.occurrences
                self.on_batch(batch.num_rows, decision.num_admitted)
            excluded.flush()  # the last rows are written while others are still copied
            copying.call(copier.finish)
        return counts, occurrences

    def _readers(
        self, file: ParquetFile, shown: str, stack: ExitStack
    ) -> tuple[BatchReader, LateReader | None]:
        """Readers of the columns that are judged, and of the others."""
        names = file.schema_arrow.names
        early = early_columns(self.gate, file.schema_arrow)
        with read_faults_named(shown):
            reader = BatchReader(file, early, scratch=self.drafts)
            if early is None:
                return reader, None
            others = [name for name in names if name not in early]
            again = stack.enter_context(file.again(len(others)))
            late = LateReader(BatchReader(again, others, scratch=self.drafts))
        stack.callback(late.close)
        return reader, late

    def _growing(self, path: Path, name: str) -> GrowingFile:
        is_synced = self.destination.is_local
        return GrowingFile(path, self._what(name), self.helpers, is_synced=is_synced)

    def _what(self, name: str) -> str:
        """How errors name an output."""
        return f"Output '{self.destination.shown(name)}'"

    def _output_form(self, form: FileForm) -> FileForm:
        """The form of the input, with the gate's identity in the metadata."""
        identity = self.gate.identity.to_metadata().items()
        metadata = _without_evidence(form.schema.metadata or {})
        metadata |= {key.encode(): value.encode() for key, value in identity}
        schema = form.schema.with_metadata(metadata)
        return form._replace(schema=schema, metadata=_without_evidence(form.metadata))

    def _ledger_form(self, messages: pa.Schema) -> FileForm:
        record_id = messages.field(self.gate.columns.record_id).type
        return FileForm(ledger_schema(record_id, self.gate.identity), LEDGER_OPTIONS)

    @contextmanager
    def _writer(
        self, path: Path, form: FileForm, name: str, *, on_group: Callable[[], None] = lambda: None
    ) -> Iterator[RowGroupWriter]:
        """A writer that closes its file if the block fails."""
        what = self._what(name)
        writer = RowGroupWriter(path, form, what, helper=self.helpers, on_group=on_group)
        try:
            yield writer
        except BaseException:
            writer.abandon()
            raise


def _batches(
    file: ParquetFile, reader: BatchReader, shown: str
) -> Iterator[tuple[Span, pa.RecordBatch]]:
    with read_faults_named(shown):
        for span in group_spans(file.metadata):
            for batch in reader.batches(span, _BATCH_ROWS):
                yield span, batch


def _without_evidence(metadata: Mapping[bytes, bytes]) -> dict[bytes, bytes]:
    """Remove the entries of an earlier run from a file's metadata."""
    return {key: value for key, value in metadata.items() if not key.startswith(b"consentgate.")}


def _result(digest: Future[str], shown: str) -> str:
    with read_faults_named(shown):
        return digest.result()


def _written(draft: Path, name: str, sha256: str | None = None) -> WrittenFile:
    """The record of a complete draft, whose digest may be known already."""
    with write_faults_named(f"Draft of '{name}'"):
        rows = pq.read_metadata(draft).num_rows
        size = draft.stat().st_size
        return WrittenFile(
            path=name, size_bytes=size, rows=rows, sha256=sha256 or digest_file(draft)
        )
