"""Compiling a gate and judging blocks of messages with it."""

from consentgate.judging.explanation import ExplainedReason, Explanation, RowExplanation, explain
from consentgate.judging.gate_file import (
    GateFile,
    SavedGate,
    gate_head,
    open_gate,
    preload,
    save_gate,
)
from consentgate.judging.judgement import Judge, record_id_column
from consentgate.judging.lookup import Lookup
from consentgate.judging.stream import Held, Sieve, TableOf, admitted_stream, one_batch

__all__ = [
    "ExplainedReason",
    "Explanation",
    "GateFile",
    "Held",
    "Judge",
    "Lookup",
    "RowExplanation",
    "SavedGate",
    "Sieve",
    "TableOf",
    "admitted_stream",
    "explain",
    "gate_head",
    "one_batch",
    "open_gate",
    "preload",
    "record_id_column",
    "save_gate",
]
