"""Plain copies, whole pipelines and scripts by Polars, which read Parquet and write Parquet.

These things make them fast: the streaming engine writes one file and does not keep the order of
rows; facts are in memory, or are computed in the query that uses them; one query writes all
outputs. The text is carried through both joins, or it is read again after it is known which rows
are admitted.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl

from benchmarks import scenario
from benchmarks.peers.polars_join import channel_facts, consent_facts, own_bits, subject_bits
from benchmarks.stage import Runner, Stage, ledger_folder, parquet_files

__all__ = ["prepare", "scripts"]

_AS_PYARROW: Mapping[str, Any] = {"compression": "zstd", "compression_level": 1}
_ADMITTED = pl.col("reason_bits") == 0
_SUBJECT = pl.col(scenario.SCALAR)


def prepare(stage: Stage) -> Mapping[str, Runner]:
    """Contestants that hold the mask, or facts and channels, in memory; some read them."""
    in_memory = _Facts.scan(stage).in_memory()
    mask = pl.scan_parquet(stage.answer).select("admitted")
    admitted_ids = pl.scan_parquet(stage.answer).filter("admitted").select("message_id")
    return {
        "plain copy, Polars, mask in memory": partial(_copy_by_mask, mask.collect().lazy()),
        "plain copy, Polars, mask in Parquet": partial(_copy_by_mask, mask),
        "plain copy, Polars, join": partial(_copy_by_join, admitted_ids.collect().lazy()),
        "plain copy, Polars, all in memory": partial(_copy_in_memory, mask.collect()["admitted"]),
        "Polars, text carried through": partial(_carry_through, in_memory),
        "Polars, text read by mask": partial(_read_by_mask, in_memory),
        "Polars, text read by join": partial(_read_by_join, in_memory),
        "Polars, text read by join, facts in Parquet": partial(_read_by_join, _Facts.scan(stage)),
    }


def scripts(stage: Stage) -> Mapping[str, Runner]:
    """Contestants that read the consent records and the channel registry, too."""
    from_files = _Facts(
        consent_facts(pl.scan_parquet(stage.consent)),
        channel_facts(pl.scan_parquet(stage.registry)),
    )
    return {
        "Polars, text carried through": partial(_carry_through, from_files),
        "Polars, text read by mask": partial(_read_by_mask, from_files),
        "Polars, text read by join": partial(_read_by_join, from_files),
    }


@dataclass(frozen=True)
class _Facts:
    """The compact tables."""

    facts: pl.LazyFrame
    channels: pl.LazyFrame

    @classmethod
    def scan(cls, stage: Stage) -> "_Facts":
        channels = pl.scan_parquet(stage.channels).rename({"bits": "channel_bits"})
        return cls(pl.scan_parquet(stage.facts), channels)

    def in_memory(self) -> "_Facts":
        return _Facts(self.facts.collect().lazy(), self.channels.collect().lazy())

    def judged(self, messages: pl.LazyFrame) -> pl.LazyFrame:
        """All columns of the messages and `reason_bits`. Columns that are not used are not read."""
        with_own = messages.join(self.channels, on="channel_id", how="left").with_columns(
            own_bits().alias("own_bits")
        )
        bits = pl.col("own_bits") | subject_bits(_SUBJECT)
        return (
            with_own.drop("channel_bits", "public_since")
            .join(self.facts, left_on=_SUBJECT, right_on="subject_id", how="left")
            .with_columns(bits.alias("reason_bits"))
            .drop("own_bits", "bits", "valid_from", "valid_until")
        )

    def reasons(self, source: Path) -> pl.LazyFrame:
        """`row`, `message_id` and `reason_bits` in memory, in any order."""
        judged = self.judged(_scan(source)).select("row", "message_id", "reason_bits")
        return judged.collect(engine="streaming").lazy()


def _copy_by_mask(mask: pl.LazyFrame, source: Path, output: Path) -> None:
    _write([_sink_data(_masked(source, mask), output)])


def _copy_by_join(admitted_ids: pl.LazyFrame, source: Path, output: Path) -> None:
    messages = pl.scan_parquet(parquet_files(source))
    _write([_sink_data(messages.join(admitted_ids, on="message_id", how="semi"), output)])


def _copy_in_memory(mask: pl.Series, source: Path, output: Path) -> None:
    messages = pl.read_parquet(parquet_files(source))
    messages.filter(mask).write_parquet(output / "data.parquet", **_AS_PYARROW)


def _carry_through(facts: _Facts, source: Path, output: Path) -> None:
    messages = _scan(source)
    judged = facts.judged(messages)
    admitted = judged.filter(_ADMITTED).drop("row", "reason_bits")
    _write([_sink_data(admitted, output), _sink_ledger(judged, output)])


def _read_by_mask(facts: _Facts, source: Path, output: Path) -> None:
    reasons = facts.reasons(source)
    mask = reasons.sort("row").select(_ADMITTED.alias("admitted"))
    _write([_sink_data(_masked(source, mask), output), _sink_ledger(reasons, output)])


def _read_by_join(facts: _Facts, source: Path, output: Path) -> None:
    reasons = facts.reasons(source)
    rows = reasons.filter(_ADMITTED).select("row")
    admitted = _scan(source).join(rows, on="row", how="semi").drop("row")
    _write([_sink_data(admitted, output), _sink_ledger(reasons, output)])


def _scan(source: Path) -> pl.LazyFrame:
    return pl.scan_parquet(parquet_files(source), row_index_name="row")


def _masked(source: Path, mask: pl.LazyFrame) -> pl.LazyFrame:
    messages = pl.scan_parquet(parquet_files(source))
    both = pl.concat([messages, mask], how="horizontal")
    return both.filter("admitted").drop("admitted")


def _sink_data(admitted: pl.LazyFrame, output: Path) -> pl.LazyFrame:
    return _sink(admitted, output / "data.parquet")


def _sink_ledger(judged: pl.LazyFrame, output: Path) -> pl.LazyFrame:
    """Write the ledger without the name of the primary reason, which only the library writes."""
    excluded = judged.filter(~_ADMITTED)
    columns = excluded.select(pl.col("message_id").alias("record_id"), "row", "reason_bits")
    return _sink(columns, ledger_folder(output) / "data.parquet")


def _sink(frame: pl.LazyFrame, path: Path) -> pl.LazyFrame:
    return frame.sink_parquet(path, lazy=True, mkdir=True, maintain_order=False, **_AS_PYARROW)


def _write(sinks: list[pl.LazyFrame]) -> None:
    pl.collect_all(sinks, engine="streaming")
