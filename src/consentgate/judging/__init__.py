"""Compiling a gate and judging blocks of messages with it."""

from consentgate.judging.explanation import Explanation, RowExplanation, explain
from consentgate.judging.facts import Facts
from consentgate.judging.gate_file import (
    GateFile,
    SavedGate,
    gate_head,
    open_gate,
    preload,
    save_gate,
)
from consentgate.judging.judgement import Judge, record_id_column
from consentgate.judging.options import JudgingOptions
from consentgate.judging.stream import (
    Held,
    Sieve,
    TableOf,
    admitted_stream,
    check_schema,
    one_batch,
)

__all__ = [
    "Explanation",
    "Facts",
    "GateFile",
    "Held",
    "Judge",
    "JudgingOptions",
    "RowExplanation",
    "SavedGate",
    "Sieve",
    "TableOf",
    "admitted_stream",
    "check_schema",
    "explain",
    "gate_head",
    "one_batch",
    "open_gate",
    "preload",
    "record_id_column",
    "save_gate",
]
