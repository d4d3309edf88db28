"""The judgement as one plan of pyarrow's Acero: two hash joins and a projection.

It judges no lists: its hash join does not carry them, and it has no node that unnests them.
"""

from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow.acero import (
    Declaration,
    FilterNodeOptions,
    HashJoinNodeOptions,
    ProjectNodeOptions,
    TableSourceNodeOptions,
)

from benchmarks import scenario
from benchmarks.corpus import Corpus
from benchmarks.peers.base import Answer, as_storage

__all__ = ["cold", "warm"]

_INSTANT = pa.timestamp("us", "UTC")
_FACTS = ["bits", "valid_from", "valid_until"]
_CHANNEL = ["channel_bits", "public_since"]
_MESSAGE = ["message_id", "created_at", "is_automated"]


@dataclass(frozen=True)
class AceroJoin:
    """A plan over messages, facts and channels."""

    facts: Declaration
    channels: Declaration
    name: str = "pyarrow Acero"

    def load(self, messages: pa.Table) -> pa.Table:
        """The messages with UUIDs as 16 bytes, because Acero does not join extension types."""
        return as_storage(messages)

    def judge(self, messages: pa.Table) -> pa.Table:
        """A table of `message_id` and `reason_bits`, in any order."""
        with_facts = _left_join(
            _source(messages), self.facts, [scenario.SCALAR], ["subject_id"],
            [*_MESSAGE, scenario.SCALAR, "channel_id"], _FACTS,
        )  # fmt: skip
        with_both = _left_join(
            with_facts, self.channels, ["channel_id"], ["channel_id"],
            [*_MESSAGE, scenario.SCALAR, *_FACTS], _CHANNEL,
        )  # fmt: skip
        columns = {"message_id": pc.field("message_id"), "reason_bits": _reason_bits()}
        return _project(with_both, columns).to_table(use_threads=True)

    def read(self, judged: Any) -> Answer:
        """The table's two columns."""
        return Answer(judged["reason_bits"].to_numpy(), judged["message_id"].to_numpy())


def warm(corpus: Corpus) -> list[AceroJoin]:
    """A contestant whose facts were computed beforehand."""
    facts, channels = _facts(corpus.consent), _channels(corpus.channels)
    return [AceroJoin(_source(facts.to_table()), _source(channels.to_table()))]


def cold(corpus: Corpus) -> AceroJoin:
    """A contestant that computes its facts each time, in the same plan."""
    return AceroJoin(_facts(corpus.consent), _channels(corpus.channels))


def _facts(consent: pa.Table) -> Declaration:
    """A subject's bits, and the instants from which and until which the consent is valid."""
    status, method, notice, age_band, purpose = (
        pc.field(name).cast(pa.string())
        for name in ("status", "method", "notice_version", "age_band", "purpose")
    )
    is_valid = _is_one_of(status, scenario.VALID)
    began = pc.field("effective_from")
    too_old = pc.add(began, pa.scalar(scenario.MAX_CONSENT_AGE, pa.duration("us")))
    # pyarrow 26 compares timestamps element by element, but takes no minimum of them
    ends = pc.min_element_wise(pc.field("expires_at").cast(pa.int64()), too_old.cast(pa.int64()))
    never = pa.scalar(None, _INSTANT)
    bits = [
        *(_flag(status == word, bit) for word, bit in scenario.STATUS_BITS.items()),
        _flag(is_valid & ~_is_one_of(method, [scenario.METHOD]), scenario.CONSENT_NOT_EXPLICIT),
        _flag(is_valid & ~_is_one_of(notice, scenario.NOTICES), scenario.NOTICE_NOT_ACCEPTED),
        _flag(pc.coalesce(age_band == "minor", pc.scalar(True)), scenario.MINOR),
    ]
    columns = {
        "subject_id": pc.field("subject_id"),
        "bits": _unite(bits),
        "valid_from": pc.if_else(is_valid & ~pc.field("covers_prior"), began, never),
        "valid_until": pc.if_else(is_valid, ends.cast(_INSTANT), never),
    }
    wanted = FilterNodeOptions(purpose == scenario.PURPOSE)
    return _project(Declaration("filter", wanted, [_source(as_storage(consent))]), columns)


def _channels(channels: pa.Table) -> Declaration:
    visibility = pc.field("visibility")
    bits = [
        _flag(visibility.is_null(), scenario.CHANNEL_UNKNOWN),
        _flag(visibility != scenario.PUBLIC, scenario.PRIVATE_CHANNEL),
    ]
    columns = {
        "channel_id": pc.field("channel_id"),
        "channel_bits": _unite(bits),
        "public_since": pc.field("public_since"),
    }
    return _project(_source(as_storage(channels)), columns)


def _reason_bits() -> pc.Expression:
    created_at, subject = pc.field("created_at"), pc.field(scenario.SCALAR)
    known = pc.coalesce(pc.field("bits"), _bits(scenario.NO_CONSENT_RECORD))
    bits = [
        pc.if_else(subject.is_null(), _bits(scenario.SUBJECT_MISSING), known),
        pc.coalesce(pc.field("channel_bits"), _bits(scenario.CHANNEL_UNKNOWN)),
        _flag(created_at < pc.field("public_since"), scenario.PRIVATE_CHANNEL),
        _flag(created_at < pc.field("valid_from"), scenario.PREDATES_CONSENT),
        _flag(
            pc.field("valid_until") <= pa.scalar(scenario.NOW, _INSTANT), scenario.CONSENT_EXPIRED
        ),
        _flag(created_at.is_null(), scenario.TIMESTAMP_MISSING),
        _flag(created_at > pa.scalar(scenario.AS_OF, _INSTANT), scenario.AFTER_SNAPSHOT),
        _flag(pc.coalesce(pc.field("is_automated"), pc.scalar(True)), scenario.AUTOMATED),
    ]
    return _unite(bits)


def _unite(bits: list[pc.Expression]) -> pc.Expression:
    united = bits[0]
    for more in bits[1:]:
        united = pc.bit_wise_or(united, more)
    return united


def _flag(condition: pc.Expression, bit: int) -> pc.Expression:
    """The bit where a condition is true; zero where it is false or null."""
    return pc.if_else(pc.coalesce(condition, pc.scalar(False)), _bits(bit), _bits(0))


def _bits(value: int) -> pc.Expression:
    return pc.scalar(pa.scalar(value, pa.uint32()))


def _is_one_of(words: pc.Expression, accepted: Any) -> pc.Expression:
    """Whether a word is accepted; false for a null."""
    return words.isin(pa.array(accepted, pa.string()))


def _source(table: pa.Table) -> Declaration:
    return Declaration("table_source", TableSourceNodeOptions(table))


def _project(source: Declaration, columns: dict[str, pc.Expression]) -> Declaration:
    options = ProjectNodeOptions(list(columns.values()), list(columns))
    return Declaration("project", options, [source])


def _left_join(
    left: Declaration,
    right: Declaration,
    left_keys: list[str],
    right_keys: list[str],
    left_output: list[str],
    right_output: list[str],
) -> Declaration:
    options = HashJoinNodeOptions("left outer", left_keys, right_keys, left_output, right_output)
    return Declaration("hashjoin", options, [left, right])
