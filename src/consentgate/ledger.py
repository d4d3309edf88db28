"""The ledger: which rows were excluded, and why. It holds no text and no subject's id."""

import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from consentgate.arrow import booleans, from_numpy, keep_values
from consentgate.decision import Decision
from consentgate.errors import ManifestError
from consentgate.identity import VERSION, GateIdentity, refuse_newer_format
from consentgate.storage import FileForm, RowGroupWriter, make_folder, write_faults_named

LEDGER_OPTIONS = {"compression": "zstd", "use_dictionary": ["reason"]}
LEDGER_FORMAT = "consentgate-ledger-1"
"""The format of the columns and the metadata of ledgers. Raise its number with every change that
older versions could misread.
"""
_FORMAT_KEY = "consentgate.format"
_VERSION_KEY = "consentgate.version"
LEDGER_COLUMNS = ["record_id", "row", "reason", "reason_bits"]


def ledger_schema(record_id: pa.DataType, gate: GateIdentity | None = None) -> pa.Schema:
    """The schema of excluded rows, whose metadata says which gate judged them.

    Args:
        record_id: the type of the messages' record ids.
        gate: the identity of the gate that judged them; None leaves the metadata out.
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
    """The metadata of a part of a ledger, which is about all its rows.

    Attributes:
        version: the version of consentgate that wrote the part.
        gate: the identity of the gate that judged the rows. It names the reason of each bit.
    """

    version: str
    gate: GateIdentity


def read_ledger_head(metadata: Mapping[bytes, bytes] | None, what: str) -> LedgerHead:
    """Read the metadata of a part of a ledger, whichever version wrote it.

    Args:
        metadata: the metadata of the file or of its schema.
        what: what errors call the part.

    Raises:
        NewerEvidenceError: The part has a later format than this version reads.
        ManifestError: The metadata is not that of a ledger, or contradicts itself.
    """
    held = metadata or {}
    said, written_by = (
        held.get(key.encode(), b"").decode("utf-8", "replace")
        for key in (_FORMAT_KEY, _VERSION_KEY)
    )
    refuse_newer_format(said, LEDGER_FORMAT, what)
    if said != LEDGER_FORMAT:
        raise ManifestError(
            f"{what} is not a part of a ledger; name the folder of a run, or a folder that holds "
            "only what streams wrote."
        )
    try:
        return LedgerHead(written_by, GateIdentity.from_metadata(held))
    except ManifestError as error:
        raise ManifestError(f"{what} is not a part of a ledger: {error}") from error


def excluded_rows(
    record_ids: pa.ChunkedArray, decision: Decision, gate: GateIdentity, *, first_row: int = 0
) -> pa.Table:
    """Make the table of those of n rows that are excluded, in their order.

    Args:
        record_ids: n record ids.
        decision: the decision on the n rows.
        gate: the identity of the gate that judged them.
        first_row: the position of the first of the n rows in the whole input.

    Returns:
        A table with the schema of `ledger_schema`.
    """
    mask = pc.invert(decision.admitted)
    ids = keep_values(record_ids, mask, "record_id")
    rows = from_numpy(np.flatnonzero(booleans(mask)) + first_row)
    excluded = Decision(decision.reason_bits.filter(mask), decision.reason_names)
    columns = [ids, rows, excluded.reason, excluded.reason_bits]
    return pa.table(columns, schema=ledger_schema(record_ids.type, gate))


class RecordedGate(Protocol):
    """A gate, as far as a ledger needs it."""

    @property
    def identity(self) -> GateIdentity:
        """The identity of the gate, as ledgers hold it in their metadata."""


class LedgerWriter(Protocol):
    """Writes excluded rows into a ledger. Streams and adapters use no other methods of ledgers."""

    def write(
        self, gate: RecordedGate, record_ids: pa.ChunkedArray, decision: Decision, first_row: int
    ) -> Any:
        """Append those of n rows that are excluded.

        Args:
            gate: the gate that decided.
            record_ids: n record ids.
            decision: the decision on the n rows. A part is begun even if no row is excluded.
            first_row: the position of the first of the n rows in the whole input.

        Returns:
            The entry for the n rows, which `AmendableLedger.amend` takes. None if the ledger is not
            amendable.
        """

    def close(self) -> None:
        """Complete the part that is being written."""


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
        """Replace what was written about the last of n rows by what another gate decided.

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
    """Writes excluded rows into parts in a folder. A new part begins whenever the gate changes.

    Args:
        directory: the folder, which is made if it is not there. Each part has a name of its own, so
            several processes may write into one folder.

    Raises:
        OutputError: The folder cannot be written to. Every method raises it, too.
    """

    def __init__(self, directory: str | Path) -> None:
        self._directory = directory
        self._part: _Part | None = None
        make_folder(Path(directory), f"Ledger directory '{directory}'")

    def write(
        self, gate: RecordedGate, record_ids: pa.ChunkedArray, decision: Decision, first_row: int
    ) -> None:
        """Append those of n rows that are excluded; see `LedgerWriter`."""
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
    """One Parquet file of a ledger, which gets its name when it is complete.

    Args:
        directory: the folder, which exists already.
        schema: the schema from `ledger_schema`.

    Raises:
        OutputError: The folder cannot be written to. Every method raises it, too.
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
