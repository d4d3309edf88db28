"""consentgate: only messages whose every data subject consented reach a training run.

>>> import consentgate as cg
>>> policy = cg.Policy.load("policy.toml")  # doctest: +SKIP
>>> gate = cg.Gate(policy, consent, channels)  # doctest: +SKIP
>>> admitted, excluded = gate.filter(table)  # doctest: +SKIP
"""

from importlib.metadata import version

from consentgate._publication import Publication
from consentgate.audit import Finding, audit
from consentgate.channels import ChannelRegistry
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
from consentgate.explanation import Explanation
from consentgate.gate import Gate
from consentgate.live import LiveGate
from consentgate.manifest import Manifest
from consentgate.policy import Policy, Rule
from consentgate.reasons import Reason
from consentgate.run import Progress, run
from consentgate.snapshot import ConsentSnapshot
from consentgate.store import GateStore

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
