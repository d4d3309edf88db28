"""The gate as a contestant."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

import consentgate as cg
from benchmarks.corpus import Corpus
from benchmarks.peers.base import Answer
from benchmarks.scenario import build_gate, take_registry, take_snapshot

__all__ = ["GateContestant", "cold", "warm"]


@dataclass(frozen=True)
class GateContestant:
    """A gate that was built beforehand, or one that is built within the timing."""

    name: str
    make_gate: Callable[[], cg.Gate]
    threads: int

    def load(self, messages: pa.Table) -> pa.Table:
        """The messages as they are."""
        return messages

    def judge(self, messages: pa.Table) -> cg.Decision:
        """The decision, with one entry for each row."""
        return self.make_gate().decide(messages, threads=self.threads)

    def read(self, judged: Any) -> Answer:
        """The decision's bits, in the order of the messages."""
        return Answer(judged.reason_bits.to_numpy())


def warm(corpus: Corpus, threads: int, name: str = "gate") -> GateContestant:
    """A gate that was built beforehand."""
    gate = build_gate(
        take_snapshot(corpus.consent), take_registry(corpus.channels), subjects=corpus.subjects
    )
    return GateContestant(name, lambda: gate, threads)


def cold(corpus: Corpus, threads: int) -> GateContestant:
    """A gate that is built each time, from a snapshot and a registry in memory."""
    snapshot, registry = take_snapshot(corpus.consent), take_registry(corpus.channels)
    return GateContestant(
        "gate", lambda: build_gate(snapshot, registry, subjects=corpus.subjects), threads
    )
