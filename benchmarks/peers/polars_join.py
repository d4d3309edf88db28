"""The judgement as Polars joins, in the in-memory and in the streaming engine.

These things make it fast: words are categories; there is one join for the subjects and one for the
channels, which need not keep the order of rows; UUIDs are 128-bit integers, which join three times
as fast as binary.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import polars as pl
import pyarrow as pa

from benchmarks import scenario
from benchmarks.corpus import Corpus
from benchmarks.peers.base import Answer, as_storage

__all__ = ["batches", "channel_facts", "cold", "consent_facts", "own_bits", "subject_bits", "warm"]

Engine = Literal["in-memory", "streaming"]
Order = Literal["none", "left"]
Plan = Callable[[pl.DataFrame, pl.LazyFrame, pl.LazyFrame], pl.LazyFrame]

CREATED_AT = pl.col("created_at")


class Frames:
    """The messages as a Polars frame, which both engines share."""

    def __init__(self) -> None:
        self._messages: pa.Table | None = None
        self._frame = pl.DataFrame()

    def load(self, messages: pa.Table) -> pl.DataFrame:
        """A frame of the messages, the same as before for the same messages."""
        if messages is not self._messages:
            self._messages, self._frame = messages, _frame(messages)
        return self._frame


@dataclass(frozen=True)
class PolarsJoin:
    """A plan over messages, facts and channels, which one of the engines runs."""

    engine: Engine
    plan: Plan
    facts: pl.LazyFrame
    channels: pl.LazyFrame
    frames: Frames

    @property
    def name(self) -> str:
        """The engine that runs it."""
        return f"Polars, {self.engine}"

    def load(self, messages: pa.Table) -> pl.DataFrame:
        """The messages as Polars holds them."""
        return self.frames.load(messages)

    def judge(self, messages: pl.DataFrame) -> pl.DataFrame:
        """A frame of `message_id` and `reason_bits`, in any order."""
        return self.plan(messages, self.facts, self.channels).collect(engine=self.engine)

    def read(self, judged: Any) -> Answer:
        """The frame's two columns."""
        return Answer(judged["reason_bits"].to_numpy(), judged["message_id"].to_numpy())


def warm(corpus: Corpus) -> list[PolarsJoin]:
    """Contestants whose facts were computed beforehand."""
    if corpus.has_lists:
        return _prepared(corpus, _judge_lists_in_order, _judge_lists)
    return _prepared(corpus, _judge_scalars, _judge_scalars)


def cold(corpus: Corpus, engine: Engine) -> PolarsJoin:
    """A contestant that computes its facts each time, in the same query."""
    return PolarsJoin(engine, _judge_scalars, *_sources(corpus), Frames())


def batches(corpus: Corpus) -> list[PolarsJoin]:
    """Contestants for small batches. They select the facts of a batch's ids before they join."""
    return _prepared(corpus, _judge_few, _judge_few)


def _prepared(corpus: Corpus, in_memory: Plan, streaming: Plan) -> list[PolarsJoin]:
    facts, channels = (source.collect().lazy() for source in _sources(corpus))
    return _contestants(in_memory, streaming, facts, channels)


def _contestants(
    in_memory: Plan, streaming: Plan, facts: pl.LazyFrame, channels: pl.LazyFrame
) -> list[PolarsJoin]:
    frames = Frames()
    return [
        PolarsJoin("in-memory", in_memory, facts, channels, frames),
        PolarsJoin("streaming", streaming, facts, channels, frames),
    ]


def _sources(corpus: Corpus) -> tuple[pl.LazyFrame, pl.LazyFrame]:
    consent, channels = _frame(corpus.consent).lazy(), _frame(corpus.channels).lazy()
    return consent_facts(consent), channel_facts(channels)


def _frame(table: pa.Table) -> pl.DataFrame:
    return pl.DataFrame(as_storage(table)).with_columns(
        _as_number(pl.col(pl.Binary)),
        pl.col(pl.List(pl.Binary)).list.eval(_as_number(pl.element())),
    )


def _as_number(uuids: pl.Expr) -> pl.Expr:
    return uuids.bin.reinterpret(dtype=pl.Int128, endianness="little")


def consent_facts(consent: pl.LazyFrame) -> pl.LazyFrame:
    """A subject's bits, and the instants from which and until which the consent is valid."""
    is_valid = pl.col("status").is_in(scenario.VALID)
    accepted = _flag(
        ~pl.col("method").is_in([scenario.METHOD]), scenario.CONSENT_NOT_EXPLICIT
    ) | _flag(
        ~pl.col("notice_version").is_in(scenario.NOTICES).fill_null(False),
        scenario.NOTICE_NOT_ACCEPTED,
    )
    refused = pl.col("status").replace_strict(
        scenario.STATUS_BITS, default=None, return_dtype=pl.UInt32
    )
    is_minor = (pl.col("age_band") == "minor").fill_null(True)
    expires_at = pl.min_horizontal(
        "expires_at", pl.col("effective_from") + scenario.MAX_CONSENT_AGE
    )
    return consent.filter(pl.col("purpose") == scenario.PURPOSE).select(
        "subject_id",
        (pl.when(is_valid).then(accepted).otherwise(refused) | _flag(is_minor, scenario.MINOR))
        .alias("bits"),
        pl.when(is_valid & ~pl.col("covers_prior")).then("effective_from").alias("valid_from"),
        pl.when(is_valid).then(expires_at).alias("valid_until"),
    )  # fmt: skip


def channel_facts(channels: pl.LazyFrame) -> pl.LazyFrame:
    """A channel's bits, and since when it is public."""
    visibility = pl.col("visibility")
    bits = (
        pl.when(visibility.is_null()).then(_bits(scenario.CHANNEL_UNKNOWN))
        .when(visibility == scenario.PUBLIC).then(_bits(0))
        .otherwise(_bits(scenario.PRIVATE_CHANNEL))
    )  # fmt: skip
    return channels.select("channel_id", bits.alias("channel_bits"), "public_since")


def _judge_scalars(
    messages: pl.DataFrame, facts: pl.LazyFrame, channels: pl.LazyFrame
) -> pl.LazyFrame:
    """Join the channels first, so that few columns are carried through the larger join."""
    subject = pl.col(scenario.SCALAR)
    bits = pl.col("own_bits") | subject_bits(subject)
    return (
        _with_channels(messages.lazy(), channels)
        .select("message_id", subject, "created_at", own_bits().alias("own_bits"))
        .join(facts, left_on=subject, right_on="subject_id", how="left")
        .select("message_id", bits.alias("reason_bits"))
    )


def _judge_lists(
    messages: pl.DataFrame, facts: pl.LazyFrame, channels: pl.LazyFrame, order: Order = "none"
) -> pl.LazyFrame:
    """Give every subject a row of its own, join the facts, and unite the bits by message."""
    subject = pl.col(scenario.LISTS)
    message_id = pl.col("message_id") if order == "none" else pl.col("message_id").set_sorted()
    bits = pl.col("own_bits") | subject_bits(subject)
    return (
        _with_channels(messages.lazy(), channels, order)
        .select("message_id", subject, "created_at", own_bits().alias("own_bits"))
        .explode(scenario.LISTS, empty_as_null=True)
        .join(facts, left_on=subject, right_on="subject_id", how="left", maintain_order=order)
        .select(message_id, bits.alias("reason_bits"))
        .group_by("message_id")
        .agg(pl.col("reason_bits").bitwise_or())
    )


def _judge_lists_in_order(
    messages: pl.DataFrame, facts: pl.LazyFrame, channels: pl.LazyFrame
) -> pl.LazyFrame:
    """The same with rows in order, which the in-memory engine groups in half the time."""
    return _judge_lists(messages, facts, channels, "left")


def _judge_few(messages: pl.DataFrame, facts: pl.LazyFrame, channels: pl.LazyFrame) -> pl.LazyFrame:
    subjects, seen = messages[scenario.SCALAR], messages["channel_id"]
    few_facts = facts.filter(pl.col("subject_id").is_in(subjects.implode()))
    few_channels = channels.filter(pl.col("channel_id").is_in(seen.implode()))
    return _judge_scalars(messages, few_facts, few_channels)


def _with_channels(
    messages: pl.LazyFrame, channels: pl.LazyFrame, order: Order = "none"
) -> pl.LazyFrame:
    return messages.join(channels, on="channel_id", how="left", maintain_order=order)


def subject_bits(subject: pl.Expr) -> pl.Expr:
    """The reasons against a subject, after the facts were joined."""
    known = pl.col("bits").fill_null(_bits(scenario.NO_CONSENT_RECORD))
    return (
        pl.when(subject.is_null()).then(_bits(scenario.SUBJECT_MISSING)).otherwise(known)
        | _flag(pl.col("valid_from") > CREATED_AT, scenario.PREDATES_CONSENT)
        | _flag(pl.col("valid_until") <= scenario.NOW, scenario.CONSENT_EXPIRED)
    )


def own_bits() -> pl.Expr:
    """The reasons that the message itself and its channel give, after channels were joined."""
    return (
        pl.col("channel_bits").fill_null(_bits(scenario.CHANNEL_UNKNOWN))
        | _flag(pl.col("public_since") > CREATED_AT, scenario.PRIVATE_CHANNEL)
        | _flag(CREATED_AT.is_null(), scenario.TIMESTAMP_MISSING)
        | _flag(CREATED_AT > scenario.AS_OF, scenario.AFTER_SNAPSHOT)
        | _flag(pl.col("is_automated").fill_null(True), scenario.AUTOMATED)
    )


def _flag(condition: pl.Expr, bit: int) -> pl.Expr:
    """The bit where a condition is true; zero where it is false or null."""
    return pl.when(condition).then(_bits(bit)).otherwise(_bits(0))


def _bits(value: int) -> pl.Expr:
    return pl.lit(value, dtype=pl.UInt32)
