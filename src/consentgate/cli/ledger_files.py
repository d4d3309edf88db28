"""Reads the ledger of a run or a stream, for the commands of `consentgate ledger`."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import chain
from typing import Any
from uuid import UUID

import numpy as np
import pyarrow as pa
import typer
from wcmatch import glob

from consentgate.arrow import Bits
from consentgate.cli.explain import parse_id
from consentgate.cli.text import printable
from consentgate.decision import Decision
from consentgate.errors import ManifestError
from consentgate.index import id_family, rows_with
from consentgate.inputs import read_faults_named
from consentgate.ledger import LedgerHead, ledger_schema, read_ledger_head
from consentgate.reasons import FIRST_RULE_BIT, sentences
from consentgate.runs import Manifest, PartRecord, parse_record
from consentgate.storage import (
    LEDGER,
    RECORD_KEY,
    Folder,
    is_hidden,
    open_parquet,
    promised_batches,
)

_BATCH_ROWS = 65_536
_MOST_NAMED = 20
_BUILT_IN = "a reason that this version does not know; a newer one says more"
_RULE = "a rule of the policy excludes it"


@dataclass(frozen=True)
class Row:
    """An excluded row. `reasons` holds every reason that applies, the primary one first."""

    record_id: str | int | None
    file: str
    row: int
    reason: str
    reasons: list[str]

    def cells(self) -> list[str]:
        """The row as columns of text."""
        record_id = "null" if self.record_id is None else str(self.record_id)
        texts = (record_id, self.file, str(self.row), self.reason, ",".join(self.reasons))
        return [on_one_line(text) for text in texts]


@dataclass(frozen=True)
class LedgerPart:
    """One Parquet file of a ledger.

    Attributes:
        folder, name: its folder, and its path below that.
        rows: how many rows it has.
        head: its metadata, which is about all its rows.
        record: the record of the run about the input; None if a stream wrote the part.
    """

    folder: Folder
    name: str
    rows: int
    head: LedgerHead
    record: PartRecord | None

    @classmethod
    def open(cls, folder: Folder, name: str) -> "LedgerPart":
        """Read a part's metadata from the end of its file.

        Raises:
            UnreadableFileError: The file is corrupt.
            ManifestError: The file is not a part of a ledger.
        """
        shown = folder.shown(name)
        with folder.opened(name) as opened, read_faults_named(shown), open_parquet(opened) as file:
            schema, rows = file.schema_arrow, file.metadata.num_rows
            metadata = file.metadata.metadata or {}
        part = cls(folder, name, rows, _head_of(schema, metadata, shown), None)
        content = metadata.get(RECORD_KEY.encode(), b"")
        if part.is_bare and not content:
            return part
        return replace(part, record=parse_record(PartRecord, content, shown))

    @property
    def names(self) -> dict[int, str]:
        """The codes of the reasons by bit, in order of precedence."""
        return self.head.gate.reason_names

    @property
    def file(self) -> str:
        """The path of the input; the part's own name if a stream wrote it."""
        return self.name if self.record is None else self.record.outcome.input.path

    @property
    def is_bare(self) -> bool:
        """Whether the part is not in the folder of a run, where a manifest would be."""
        return not self.name.startswith(f"{LEDGER}/")

    def rows_with(self, reasons: Set[str]) -> Iterator[Row]:
        """Iterate over the rows that have one of these reasons, or over all if none is given."""
        for batch in self.batches("record_id", "row"):
            for at in np.flatnonzero(_bits(batch) & self._mask(reasons)).tolist():
                yield self.row(batch, at)

    def count_with(self, reasons: Set[str]) -> int:
        """Count the rows that have one of these reasons, or all if none is given."""
        if not reasons:
            return self.rows
        mask = self._mask(reasons)
        return sum(int(np.count_nonzero(_bits(batch) & mask)) for batch in self.batches())

    def row(self, batch: pa.RecordBatch, at: int) -> Row:
        """One row of a batch."""
        bits = batch["reason_bits"][at].as_py()
        reasons = [name for bit, name in self.names.items() if bits >> bit & 1]
        record_id = batch["record_id"][at].as_py()
        if isinstance(record_id, bytes):
            record_id = UUID(bytes=record_id)
        if isinstance(record_id, UUID):
            record_id = str(record_id)
        return Row(record_id, self.file, batch["row"][at].as_py(), reasons[0], reasons)

    def batches(self, *columns: str) -> Iterator[pa.RecordBatch]:
        """Iterate over the rows' reason bits and other columns.

        Raises:
            UnreadableFileError: The file is corrupt.
            ManifestError: A row has no reason, or one without a name.
        """
        known = self._mask(set())
        for batch in _read(self.folder, self.name, [*columns, "reason_bits"]):
            bits = _bits(batch)
            if np.any(bits == 0) or np.any(bits & ~known):
                raise ManifestError(
                    f"File '{self.folder.shown(self.name)}' holds a row without a reason, or with "
                    "one that it does not name; it was altered. Take it from a backup."
                )
            yield batch

    def _mask(self, reasons: Set[str]) -> np.uint32:
        wanted = [bit for bit, name in self.names.items() if not reasons or name in reasons]
        return np.uint32(sum(1 << bit for bit in wanted))


@dataclass(frozen=True)
class Ledger:
    """The parts of a ledger, and the manifest of its run if the run has ended."""

    folder: Folder
    parts: tuple[LedgerPart, ...]
    manifest: Manifest | None

    @classmethod
    def open(cls, place: str) -> "Ledger":
        """Find all parts and read their metadata.

        Raises:
            ManifestError: There is no part, or the parts are not the ones that the manifest names.
            UnreadableFileError, SourceError: The parts cannot be read.
        """
        folder = Folder.at(place)
        manifest = Manifest.find(folder)
        names = list(folder.listing(LEDGER))
        if not names and manifest is None:
            names = [name for name in folder.listing() if not is_hidden(name)]
        parts = tuple(LedgerPart.open(folder, name) for name in names if name.endswith(".parquet"))
        if manifest is not None:
            _refuse_misfit(folder, manifest, parts)
        if not parts:
            raise ManifestError(
                f"There is no part of a ledger in '{folder}'; name the folder of a run that has "
                "judged a file, or one that a stream's ledger was written to."
            )
        return cls(folder, parts, manifest)

    @cached_property
    def words(self) -> dict[str, str]:
        """The meaning of every reason, by its code, in order of precedence."""
        named = sorted({named for part in self.parts for named in part.names.items()})
        words = {code: _BUILT_IN if bit < FIRST_RULE_BIT else _RULE for bit, code in named}
        words |= sentences()
        if self.manifest is not None:
            words |= _rule_words(self.manifest.policy)
        return words

    def count(self) -> dict[str, Any]:
        """Count rows by fate and by reason. Also returns the reasons' meanings, and what judged."""
        primary, applying = Counter[str](), Counter[str]()
        for part in self.parts:
            for batch in part.batches():
                decision = Decision(batch["reason_bits"], part.names)
                primary += decision.counts
                applying += decision.occurrences
        outcomes = [part.record.outcome for part in self.parts if part.record]
        is_run = len(outcomes) == len(self.parts)
        words = {code: text for code, text in self.words.items() if code in applying}
        judges = {tuple(sorted(judge.items())) for judge in map(self._judge, self.parts)}
        return {
            "files": len(self.parts),
            "rows": sum(outcome.input.rows for outcome in outcomes) if is_run else None,
            "admitted": sum(outcome.output.rows for outcome in outcomes) if is_run else None,
            "excluded": primary.total(),
            "counts": {code: primary[code] for code in words if primary[code]},
            "occurrences": {code: applying[code] for code in words},
            "words": words,
            "judged_by": [dict(judge) for judge in sorted(judges)],
            "has_ended": None if self.parts[0].is_bare else self.manifest is not None,
        }

    def known_reasons(self, codes: Iterable[str]) -> frozenset[str]:
        """Return the codes. Raise an error unless a part names each of them."""
        wanted = frozenset(codes)
        for code in sorted(wanted - self.words.keys()):
            raise _unknown("reason", code, list(self.words))
        return wanted

    def parts_of(self, file: str | None) -> list[LedgerPart]:
        """The parts about the inputs that match a name or pattern; all parts if it is None."""
        if file is None:
            return list(self.parts)
        parts = [
            part
            for part in self.parts
            if part.file == file or glob.globmatch(part.file, file, flags=glob.GLOBSTAR)
        ]
        if not parts:
            raise _unknown("file", file, [part.file for part in self.parts])
        return parts

    def explained(self, part: LedgerPart, record_id: str) -> Iterator[str]:
        """Explain every row of a part that has a record id, in lines."""
        for batch in part.batches("record_id", "row"):
            for at in _rows_with(batch["record_id"], record_id):
                row = part.row(batch, at)
                yield f"file {row.file}, row {row.row}: excluded, because"
                yield from (f"  - {code}: {self.words[code]}" for code in row.reasons)
                yield from (f"  {line}" for line in judge_lines(self._judge(part)))

    def admitted(self, record_id: str) -> Iterator[str]:
        """Describe every admitted row of the run that has a record id, in lines."""
        if self.manifest is None:  # nothing else says which column holds the record ids
            return
        for record in self.manifest.files:
            name, row = record.output.path, 0
            for batch in _read(self.folder, name, [self.manifest.identity.record_id]):
                for at in _rows_with(batch.column(0), record_id):
                    yield f"admitted, in file {name}, row {row + at} of its admitted rows"
                row += batch.num_rows

    def _judge(self, part: LedgerPart) -> dict[str, str]:
        """The keys that identify what judged a part, with the sources that the manifest names."""
        gate = part.head.gate
        if self.manifest is not None and self.manifest.identity.digest == gate.digest:
            gate = self.manifest.identity
        judge = {"version": part.head.version, "gate_digest": gate.digest}
        judge |= {"policy_digest": gate.policy_digest}
        for what, data in {"snapshot": gate.consent, "registry": gate.channels}.items():
            if data is not None:
                judge |= {
                    f"{what}_{key}": text for key, text in data.model_dump(mode="json").items()
                }
        if part.record is not None:
            judge |= part.record.judgement.model_dump(mode="json")
        return {key: text for key, text in judge.items() if text}


def _refuse_misfit(folder: Folder, manifest: Manifest, parts: Sequence[LedgerPart]) -> None:
    """Raise an error unless a run's ledger has the parts that its manifest names."""
    named = {(record.ledger.path, record.ledger.rows) for record in manifest.files}
    for name, _ in sorted(named ^ {(part.name, part.rows) for part in parts}):
        raise ManifestError(
            f"The ledger in '{folder}' is not the one that its manifest names: '{name}' is "
            "missing, was added or was altered; 'consentgate verify' says more."
        )


def _head_of(schema: pa.Schema, metadata: Mapping[bytes, bytes], shown: str) -> LedgerHead:
    """Read the metadata of a part, after checking that it has the columns of a ledger."""
    what = f"File '{shown}'"
    head = read_ledger_head(metadata, what)
    place = schema.get_field_index("record_id")
    kind = schema.field(place).type if place >= 0 else pa.null()
    if id_family(kind) is None or not schema.equals(ledger_schema(kind)):
        raise ManifestError(f"{what} does not have the columns of a ledger; it was altered.")
    return head


def _rule_words(policy: Mapping[str, Any]) -> dict[str, str]:
    """The meanings of a recorded policy's rules by their names. Other entries are left out."""
    fields = (policy.get(field) for field in ("record_rules", "subject_rules"))
    rules = chain.from_iterable(rules for rules in fields if isinstance(rules, list))
    named = [(rule.get("name"), rule.get("column")) for rule in rules if isinstance(rule, dict)]
    return {
        name: f"the policy excludes it by a rule on '{column}'"
        for name, column in named
        if isinstance(name, str)
    }


def _read(folder: Folder, name: str, columns: list[str]) -> Iterator[pa.RecordBatch]:
    """Read some columns of a file, in batches of bounded size."""
    shown = folder.shown(name)
    with (
        folder.opened(name) as opened,
        read_faults_named(shown),
        open_parquet(opened, columns=len(columns)) as file,
    ):
        for column in set(columns).difference(file.schema_arrow.names):
            raise ManifestError(
                f"File '{shown}' does not have the column '{column}'; it was altered. Take it from "
                "a backup."
            )
        yield from promised_batches(file, _BATCH_ROWS, columns=columns)


def _bits(batch: pa.RecordBatch) -> Bits:
    bits: Bits = batch["reason_bits"].to_numpy()
    return bits


def _rows_with(ids: pa.Array, record_id: str) -> list[int]:
    """The positions of a record id, which is compared as the column's own type."""
    return rows_with(ids, parse_id(record_id, ids.type))


def _unknown(what: str, given: str, known: Sequence[str]) -> typer.BadParameter:
    more = f" and {len(known) - _MOST_NAMED:,} more" if len(known) > _MOST_NAMED else ""
    text = f"no {what} of the ledger is '{given}'; it has {', '.join(known[:_MOST_NAMED])}{more}."
    return typer.BadParameter(on_one_line(text), param_hint=f"'--{what}'")


def judge_lines(judge: Mapping[str, str]) -> Iterator[str]:
    """Lines that say what judged."""
    version = f"consentgate {judge['version']}"
    if "judged_at" in judge:
        yield f"{'judged at:':<18} {judge['judged_at']}, by {version}"
    else:
        yield f"{'judged by:':<18} {version}"
    yield f"{'policy:':<18} {judge.get('policy_digest', 'unknown')}"
    for key, what in {"snapshot": "consent snapshot:", "registry": "channel registry:"}.items():
        if f"{key}_as_of" in judge:
            source = judge.get(f"{key}_source")
            yield f"{what:<18} as of {judge[f'{key}_as_of']}" + (
                f", from '{source}'" if source else ""
            )


def on_one_line(text: str) -> str:
    """The text without line breaks, with characters that do not print escaped."""
    return printable(text).replace("\n", "\\n")
