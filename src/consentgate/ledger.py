"""The ledger: which rows were excluded, and why; never their text, never a subject's id."""

import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from consentgate.arrow import keep_values
from consentgate.decision import Decision
from consentgate.errors import ManifestError
from consentgate.identity import VERSION, GateIdentity, refuse_newer_format
from consentgate.storage import FileForm, RowGroupWriter, make_folder, write_faults_named

LEDGER_OPTIONS = {"compression": "zstd", "use_dictionary": ["reason"]}
LEDGER_FORMAT = "consentgate-ledger-1"
"""The columns and the metadata of ledgers. Raised whenever older versions could misread them."""
_FORMAT_KEY = "consentgate.format"
_VERSION_KEY = "consentgate.version"
LEDGER_COLUMNS = ["record_id", "row", "reason", "reason_bits"]


def ledger_schema(record_id: pa.DataType, gate: GateIdentity | None = None) -> pa.Schema:
    """The schema of excluded rows, with what judged them in its metadata.

    Args:
        record_id: the type of the messages' record ids.
        gate: what judged them; None leaves the metadata out.
    """
    fields = [
        pa.field("record_id", record_id),
        pa.field("row", pa.int64(), nullable=False),
        pa.field("reason", pa.dictionary(pa.int32(), pa.string()), nullable=False),
        pa.field("reason_bits", pa.uint32(), nullable=False),
    ]
    own = {_FORMAT_KEY: LEDGER_FORMAT, _VERSION_KEY: VERSION}
    return pa.schema(fields, metadata=None if gate is None else own | gate.to_metadata())


class LedgerHead(NamedTuple):
    """What a part of a ledger says of all its rows.

    Attributes:
        version: the consentgate that wrote it.
        gate: what judged the rows; it names the reasons that their bits stand for.
    """

    version: str
    gate: GateIdentity


def read_ledger_head(metadata: Mapping[bytes, bytes] | None, what: str) -> LedgerHead:
    """What a part of a ledger says in its metadata, whichever version wrote it.

    Args:
        metadata: of the file or of its schema.
        what: what errors call the part.

    Raises:
        NewerEvidenceError: It has a later format than this version reads.
        ManifestError: It says nothing of the kind, or something that cannot be.
    """
    held = metadata or {}
    said, written_by = (
        held.get(key.encode(), b"").decode("utf-8", "replace")
        for key in (_FORMAT_KEY, _VERSION_KEY)
    )
    refuse_newer_format(said, LEDGER_FORMAT, what)
    if said != LEDGER_FORMAT:
        raise ManifestError(
            f"{what} is no part of a ledger; name the folder of a run, or one that holds only what "
            "streams wrote."
        )
    try:
        return LedgerHead(written_by, GateIdentity.from_metadata(held))
    except ManifestError as error:
        raise ManifestError(f"{what} is no part of a ledger: {error}") from error


def excluded_rows(
    record_ids: pa.ChunkedArray, decision: Decision, gate: GateIdentity, *, first_row: int = 0
) -> pa.Table:
    """The excluded ones of n judged rows, in their order, as `ledger_schema` says.

    Args:
        record_ids: n record ids.
        decision: what was decided of the n rows.
        gate: what judged them.
        first_row: the position of the first of the n rows in the whole input.
    """
    mask = pc.invert(decision.admitted)
    ids = keep_values(record_ids, mask, "record_id")
    rows = pa.array(np.flatnonzero(mask) + first_row)
    columns = [ids, rows, decision.reason.filter(mask), decision.reason_bits.filter(mask)]
    return pa.table(columns, schema=ledger_schema(record_ids.type, gate))


class RecordedGate(Protocol):
    """A gate, as far as a ledger needs it."""

    @property
    def identity(self) -> GateIdentity:
        """What judges, as ledgers carry it in their metadata."""


class LedgerWriter(Protocol):
    """Writes excluded rows into a ledger directory. Streams and adapters need no more of it."""

    def write(
        self, gate: RecordedGate, record_ids: pa.ChunkedArray, decision: Decision, first_row: int
    ) -> Any:
        """Append the excluded ones of n rows.

        Args:
            gate: the gate that decided.
            record_ids: n record ids.
            decision: the decision on the n rows. If none is excluded, a file is begun all the same.
            first_row: the position of the first of the n rows in the whole input.

        Returns:
            What `AmendableLedger.amend` takes as its entry.
        """

    def close(self) -> None:
        """Complete what is being written."""


@runtime_checkable
class AmendableLedger(LedgerWriter, Protocol):
    """A ledger whose rows can be replaced, so that rows are written as soon as they are judged.

    A ledger that is not amendable gets rows when they are given out.
    """

    def amend(
        self,
        entry: Any,
        done: int,
        gate: RecordedGate,
        record_ids: pa.ChunkedArray,
        decision: Decision,
    ) -> Any:
        """Replace what was written of the last ones of n rows by what another gate decided.

        Args:
            entry: what `write` or `amend` returned for the n rows.
            done: how many of the n rows stay as they are; the others are replaced.
            gate: the gate that decided on the others.
            record_ids: the others' record ids.
            decision: the decision on the others.

        Returns:
            The entry of the n rows from now on.
        """


class Ledger:
    """A ledger directory's new parts: one, and another whenever the gate changes.

    Args:
        directory: made if it is not there. Parts have names of their own, so several processes
            may write into one directory.

    Raises:
        OutputError: From here and every method: the directory cannot be written to.
    """

    def __init__(self, directory: str | Path) -> None:
        self._directory = directory
        self._part: _Part | None = None
        make_folder(Path(directory), f"Ledger directory '{directory}'")

    def write(
        self, gate: RecordedGate, record_ids: pa.ChunkedArray, decision: Decision, first_row: int
    ) -> None:
        """Append the excluded ones of n rows; see `LedgerWriter`."""
        excluded = excluded_rows(record_ids, decision, gate.identity, first_row=first_row)
        if self._part is None or not excluded.schema.equals(self._part.schema, check_metadata=True):
            self.close()
            self._part = _Part(self._directory, excluded.schema)
        self._part.write(excluded)

    def close(self) -> None:
        """Complete the part that is being written."""
        part, self._part = self._part, None
        if part is not None:
            part.close()


class _Part:
    """One Parquet file of a ledger directory, written bit by bit and named when it is whole.

    Args:
        directory: which is there.
        schema: what `ledger_schema` gives.

    Raises:
        OutputError: The directory cannot be written to.
    """

    def __init__(self, directory: str | Path, schema: pa.Schema) -> None:
        self.schema = schema
        self.path = Path(directory) / f"part-{uuid.uuid4().hex}.parquet"
        self._partial = self.path.with_suffix(".partial")
        self._what = f"Ledger directory '{directory}'"
        form = FileForm(schema, LEDGER_OPTIONS)
        self._writer = RowGroupWriter(self._partial, form, self._what)

    def write(self, excluded: pa.Table) -> None:
        """Append excluded rows."""
        self._writer.write(excluded)

    def close(self) -> None:
        """Complete the file and give it its name."""
        self._writer.close()
        with write_faults_named(self._what):
            self._partial.replace(self.path)
