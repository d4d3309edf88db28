"""Everything that can go wrong, as one tree of classes.

Every class has a stable ``code``, pickles across process borders, and carries a message that says
what was found, what was needed and what to do. Messages name columns, types and counts. They never
hold a cell's value, because ids are people.
"""

from collections.abc import Iterator
from typing import ClassVar


class ConsentGateError(Exception):
    """Any fault that consentgate reports. `code` is stable and fit for machines."""

    code: ClassVar[str] = "error"


class InputError(ConsentGateError):
    """The messages cannot be judged as they are."""

    code = "input"


class NotArrowError(InputError, TypeError):
    """The object does not speak the Arrow PyCapsule interface."""

    code = "not_arrow"


class MalformedDataError(InputError):
    """Arrow data whose offsets, indices, lengths or text are not what its type says."""

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
    """A consent snapshot or channel registry cannot be trusted as it is."""

    code = "snapshot"


class NullValueError(SnapshotError):
    """A null stands where a value is required."""

    code = "null_value"


class DuplicateRecordError(SnapshotError):
    """Two rows speak about the same subject and purpose, or the same channel."""

    code = "duplicate_record"


class UnknownStatusError(SnapshotError):
    """A status is outside the vocabulary and `status_map` does not translate it."""

    code = "unknown_status"


class AsOfError(SnapshotError):
    """Data does not say as of which instant it speaks, or two sources disagree."""

    code = "as_of"


class StaleSnapshotError(SnapshotError):
    """The snapshot or registry is older than `max_snapshot_age` allows, or than one before it."""

    code = "stale_snapshot"


class FutureSnapshotError(SnapshotError):
    """The snapshot or registry claims an `as_of` that the clock has not reached."""

    code = "future_snapshot"


class PolicyError(ConsentGateError, ValueError):
    """The policy is malformed."""

    code = "policy"


class ConfigurationError(ConsentGateError, ValueError):
    """Arguments that do not fit together or are out of range."""

    code = "configuration"


class ExtraMissingError(ConfigurationError, ImportError):
    """A package that only some features need is not installed; the message names the extra."""

    code = "extra_missing"


class ExtraOutdatedError(ExtraMissingError):
    """A package that only some features need is too old; the message says which version will do."""

    code = "extra_outdated"


class ConservationError(ConsentGateError):
    """Admitted and excluded rows do not add up to the input's; nothing of the file is published."""

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
    """The file is no saved gate."""

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
    """Some files of a run could not be judged; the others are done, and it can be resumed.

    Attributes:
        failures: each such file's path below the source, the code of its error, and what it says.
    """

    code = "run_incomplete"
    failures: tuple[tuple[str, str, str], ...] = ()


class ManifestError(FileError):
    """The evidence that a run left is missing or malformed."""

    code = "manifest"


def _tree(cls: type[ConsentGateError], indent: str = "    ") -> Iterator[str]:
    """A class and its subclasses, one a line, each with the first line of its docstring."""
    yield f"{indent}{cls.__name__:{44 - len(indent)}}{(cls.__doc__ or '').splitlines()[0]}"
    for subclass in cls.__subclasses__():
        yield from _tree(subclass, f"{indent}  ")


__doc__ = "\n".join([__doc__ or "", "::", "", *_tree(ConsentGateError)])
