"""The ledger: which rows were excluded, and why; never their text, never a subject's id."""

import uuid
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from consentgate.arguments import require_path
from consentgate.arrow import keep_values
from consentgate.decision import Decision
from consentgate.identity import GateIdentity
from consentgate.storage import FileForm, RowGroupWriter, make_folder, write_faults_named

LEDGER_OPTIONS = {"compression": "zstd", "use_dictionary": ["reason"]}
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
    return pa.schema(fields, metadata=None if gate is None else gate.to_metadata())


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


class Ledger:
    """A ledger directory's new parts: one, and another whenever the gate changes.

    Args:
        directory: made if it is not there. Parts have names of their own, so several processes
            may write into one directory.

    Raises:
        TypeError: `directory` is no path.
        OutputError: From here and every method: the directory cannot be written to.
    """

    def __init__(self, directory: str | Path) -> None:
        require_path(directory, "ledger")
        self._directory = directory
        self._schema: pa.Schema | None = None
        self._part: _Part | None = None
        make_folder(Path(directory), f"Ledger directory '{directory}'")

    def write(self, excluded: pa.Table) -> None:
        """Append excluded rows, or, where there are none, begin a part."""
        if self._part is None or not excluded.schema.equals(self._schema, check_metadata=True):
            self.close()
            self._schema = excluded.schema
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
