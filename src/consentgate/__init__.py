"""Lets a message into a training run only if every data subject in it has given consent.

>>> import consentgate as cg
>>> policy = cg.Policy.load("policy.toml")  # doctest: +SKIP
>>> gate = cg.Gate(policy, consent, channels)  # doctest: +SKIP
>>> admitted, excluded = gate.filter(table)  # doctest: +SKIP
"""

from importlib.metadata import version

from consentgate import errors
from consentgate.columns import Columns
from consentgate.coverage import Coverage, CoverageWarning, Mismatch
from consentgate.decision import Decision
from consentgate.errors import *
from consentgate.gate import Gate
from consentgate.identity import DatedInput, GateIdentity
from consentgate.inputs import ChannelRegistry, ConsentSnapshot
from consentgate.judging import Explanation
from consentgate.policy import Policy, Rule
from consentgate.publishing import GateStore, LiveGate, Publication
from consentgate.reasons import Reason
from consentgate.runs import Finding, Manifest, Progress, audit, run

__version__ = version("consentgate")

__all__ = [
    *(name for name in vars(errors) if name.endswith("Error")),
    "ChannelRegistry",
    "Columns",
    "ConsentSnapshot",
    "Coverage",
    "CoverageWarning",
    "DatedInput",
    "Decision",
    "Explanation",
    "Finding",
    "Gate",
    "GateIdentity",
    "GateStore",
    "LiveGate",
    "Manifest",
    "Mismatch",
    "Policy",
    "Progress",
    "Publication",
    "Reason",
    "Rule",
    "__version__",
    "audit",
    "run",
]
