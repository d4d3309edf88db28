"""Checking whether policy, snapshot, registry and messages fit each other."""

from consentgate.coverage.counting import CoverageCounter, tables_of
from consentgate.coverage.mismatches import Mismatch
from consentgate.coverage.report import Coverage
from consentgate.coverage.watch import CoverageWarning, Watch

__all__ = ["Coverage", "CoverageCounter", "CoverageWarning", "Mismatch", "Watch", "tables_of"]
