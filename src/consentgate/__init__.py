"""consentgate: only messages whose every data subject consented reach a training run.

>>> import consentgate as cg
>>> policy = cg.Policy.load("policy.toml")  # doctest: +SKIP
>>> gate = cg.Gate(policy, consent, channels)  # doctest: +SKIP
>>> admitted, excluded = gate.filter(table)  # doctest: +SKIP
"""

from importlib.metadata import version

from consentgate.columns import Columns
from consentgate.decision import Decision
from consentgate.errors import (
    AsOfError,
    ColumnAmbiguousError,
    ColumnExistsError,
    ColumnMissingError,
    ColumnTypeError,
    ConfigurationError,
    ConsentGateError,
    ConservationError,
    DamagedGateError,
    DestinationBusyError,
    DuplicateRecordError,
    ExtraMissingError,
    ExtraOutdatedError,
    FileError,
    ForeignGateError,
    FutureSnapshotError,
    GateFileError,
    IdFamilyError,
    InputError,
    MalformedDataError,
    ManifestError,
    NaiveTimestampError,
    NewerGateError,
    NotArrowError,
    NullValueError,
    OutputError,
    PolicyError,
    RecordNotFoundError,
    ReplacedGateError,
    RuleColumnMissingError,
    RuleColumnTypeError,
    RunIncompleteError,
    SchemaMismatchError,
    SnapshotError,
    SourceChangedError,
    SourceError,
    StaleSnapshotError,
    UnknownStatusError,
    UnreadableFileError,
)
from consentgate.gate import Gate
from consentgate.inputs import ChannelRegistry, ConsentSnapshot
from consentgate.judging import Explanation
from consentgate.policy import Policy, Rule
from consentgate.publishing import GateStore, LiveGate, Publication
from consentgate.reasons import Reason
from consentgate.runs import Finding, Manifest, Progress, audit, run

__version__ = version("consentgate")

__all__ = [
    "AsOfError",
    "ChannelRegistry",
    "ColumnAmbiguousError",
    "ColumnExistsError",
    "ColumnMissingError",
    "ColumnTypeError",
    "Columns",
    "ConfigurationError",
    "ConsentGateError",
    "ConsentSnapshot",
    "ConservationError",
    "DamagedGateError",
    "Decision",
    "DestinationBusyError",
    "DuplicateRecordError",
    "Explanation",
    "ExtraMissingError",
    "ExtraOutdatedError",
    "FileError",
    "Finding",
    "ForeignGateError",
    "FutureSnapshotError",
    "Gate",
    "GateFileError",
    "GateStore",
    "IdFamilyError",
    "InputError",
    "LiveGate",
    "MalformedDataError",
    "Manifest",
    "ManifestError",
    "NaiveTimestampError",
    "NewerGateError",
    "NotArrowError",
    "NullValueError",
    "OutputError",
    "Policy",
    "PolicyError",
    "Progress",
    "Publication",
    "Reason",
    "RecordNotFoundError",
    "ReplacedGateError",
    "Rule",
    "RuleColumnMissingError",
    "RuleColumnTypeError",
    "RunIncompleteError",
    "SchemaMismatchError",
    "SnapshotError",
    "SourceChangedError",
    "SourceError",
    "StaleSnapshotError",
    "UnknownStatusError",
    "UnreadableFileError",
    "__version__",
    "audit",
    "run",
]
