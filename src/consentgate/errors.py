"""The library's errors, as one tree of classes.

Every class has a stable ``code``. Its instances can be pickled, so they cross process borders.
Their messages say what was found, what was needed and what to do. Messages name columns, types and
counts. They never hold a cell's value, because ids are people.
"""

from collections.abc import Iterator
from typing import ClassVar


class ConsentGateError(Exception):
    """Base class of all of these errors. Programs can rely on its `code`, which is stable.

    Attributes:
        faults: each fault that the message lists, as an error of its own; empty if the message is
            about one fault.
    """

    code: ClassVar[str] = "error"
    faults: tuple["ConsentGateError", ...] = ()


class InputError(ConsentGateError):
    """The messages cannot be judged as they are."""

    code = "input"


class NotArrowError(InputError, TypeError):
    """The object does not speak the Arrow PyCapsule interface."""

    code = "not_arrow"


class MalformedDataError(InputError):
    """Arrow data contradicts itself: its offsets, indices, lengths or text do not fit its type."""

    code = "malformed_data"


class ColumnMissingError(InputError):
    """A column that is needed is absent."""

    code = "column_missing"


class RuleColumnMissingError(ColumnMissingError):
    """The column that a policy rule looks at is absent."""

    code = "rule_column_missing"


class ColumnAmbiguousError(InputError):
    """More than one column has a name that is needed."""

    code = "column_ambiguous"


class ColumnExistsError(InputError):
    """A column that would be added is there already."""

    code = "column_exists"


class ColumnTypeError(InputError):
    """A column's type does not fit."""

    code = "column_type"


class IdFamilyError(ColumnTypeError):
    """A column's ids are of another family (integers, strings, UUIDs) than the snapshot's."""

    code = "id_family"


class NaiveTimestampError(ColumnTypeError):
    """A timestamp column has no time zone."""

    code = "naive_timestamp"


class RuleColumnTypeError(ColumnTypeError):
    """A policy rule cannot be evaluated on a column of this type."""

    code = "rule_column_type"


class SchemaMismatchError(InputError):
    """Batches or files that should share one schema do not."""

    code = "schema_mismatch"


class RecordNotFoundError(InputError, LookupError):
    """No row has the record id asked for."""

    code = "record_not_found"


class SnapshotError(ConsentGateError):
    """A consent snapshot or channel registry cannot be used as it is."""

    code = "snapshot"


class NullValueError(SnapshotError):
    """A value that is required is null."""

    code = "null_value"


class DuplicateRecordError(SnapshotError):
    """Two rows are about the same subject and purpose, or about the same channel."""

    code = "duplicate_record"


class UnknownStatusError(SnapshotError):
    """A status is outside the vocabulary and `status_map` does not translate it."""

    code = "unknown_status"


class AsOfError(SnapshotError):
    """A snapshot or registry has no `as_of`, or has two that differ."""

    code = "as_of"


class StaleSnapshotError(SnapshotError):
    """The snapshot or registry is older than `max_snapshot_age` allows, or than an earlier one."""

    code = "stale_snapshot"


class FutureSnapshotError(SnapshotError):
    """The snapshot or registry has an `as_of` that the clock has not reached."""

    code = "future_snapshot"


class PolicyError(ConsentGateError, ValueError):
    """The policy is malformed."""

    code = "policy"


class ConfigurationError(ConsentGateError, ValueError):
    """Arguments do not fit together or are out of range."""

    code = "configuration"


class ExtraMissingError(ConfigurationError, ImportError):
    """A package that only some features need is not installed. The message names the extra."""

    code = "extra_missing"


class ExtraOutdatedError(ExtraMissingError):
    """A package that only some features need is too old. The message says which version to get."""

    code = "extra_outdated"


class ConservationError(ConsentGateError):
    """Admitted and excluded rows do not add up to those of the input, so it is not judged."""

    code = "conservation"


class FileError(ConsentGateError):
    """A file is at fault."""

    code = "file"


class UnreadableFileError(FileError):
    """A file is missing, truncated, corrupt or of an unknown format."""

    code = "unreadable_file"


class GateFileError(FileError):
    """A saved gate cannot be used."""

    code = "gate_file"


class ForeignGateError(GateFileError):
    """The file is not a saved gate."""

    code = "foreign_gate"


class NewerGateError(GateFileError):
    """The file was written by a newer version."""

    code = "newer_gate"


class DamagedGateError(GateFileError):
    """The file is truncated, altered or blank."""

    code = "damaged_gate"


class ReplacedGateError(GateFileError):
    """The file holds another gate than the one that is asked for."""

    code = "replaced_gate"


class GateRulesError(GateFileError):
    """The gate was made under other rules of judgement than this version's."""

    code = "gate_rules"


class OutputError(FileError):
    """An output exists already or cannot be written."""

    code = "output"


class DestinationBusyError(OutputError):
    """Another run or publisher is writing into the same folder."""

    code = "destination_busy"


class SourceError(FileError):
    """The source of a run holds no file, or cannot be listed."""

    code = "source"


class SourceChangedError(SourceError):
    """A file of the source changed or vanished while it was read."""

    code = "source_changed"


class RunIncompleteError(FileError):
    """Some files of a run could not be judged. The others are done, and the run can be resumed.

    Attributes:
        failures: for each of these files, its path below the source, and the code and the message
            of its error.
    """

    code = "run_incomplete"
    failures: tuple[tuple[str, str, str], ...] = ()


class ManifestError(FileError):
    """The evidence that a run left is missing or malformed."""

    code = "manifest"


class NewerEvidenceError(ManifestError):
    """The evidence was written by a newer version, which has to be installed to read it."""

    code = "newer_evidence"


def _tree(cls: type[ConsentGateError], indent: str = "    ") -> Iterator[str]:
    """A class and its subclasses, one per line, each with the first line of its docstring."""
    yield f"{indent}{cls.__name__:{44 - len(indent)}}{(cls.__doc__ or '').splitlines()[0]}"
    for subclass in cls.__subclasses__():
        yield from _tree(subclass, f"{indent}  ")


__doc__ = "\n".join([__doc__ or "", "::", "", *_tree(ConsentGateError)])
