"""Polars queries over messages in Parquet, with a gate and with a mask that is in the file.

Both read the same file and end in the same ways. They keep the order of rows, which is Polars'
default.
"""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import polars as pl

import consentgate as cg
from benchmarks.scenario import NOW
from benchmarks.stage import Runner, Stage
from consentgate.adapters import polars as gated

__all__ = ["ENDS", "prepare"]

Query = Callable[[pl.LazyFrame], pl.LazyFrame]
End = Callable[[pl.LazyFrame, Path], None]


def prepare(stage: Stage) -> Mapping[str, Runner]:
    """Both queries with each of their ends. The gate is opened here."""
    queries: Mapping[str, Query] = {
        "gated scan": partial(_judge, cg.Gate.open(stage.gate)),
        "scan with a mask": _mask,
    }
    return {
        f"{name}, {end}": partial(_run, query, ENDS[end])
        for end in ENDS
        for name, query in queries.items()
    }


def _run(query: Query, end: End, source: Path, output: Path) -> None:
    end(query(pl.scan_parquet(source)), output / "data.parquet")


def _judge(gate: cg.Gate, messages: pl.LazyFrame) -> pl.LazyFrame:
    return gated.filter(messages.drop("ok"), gate, judged_at=NOW)


def _mask(messages: pl.LazyFrame) -> pl.LazyFrame:
    return messages.filter("ok").drop("ok")


def _sum(admitted: pl.LazyFrame, path: Path) -> None:
    """Write one row with `text_bytes` and `rows`."""
    sums = admitted.select(
        pl.col("text").str.len_bytes().sum().alias("text_bytes"), pl.len().alias("rows")
    )
    sums.collect(engine="streaming").write_parquet(path)


def _write(admitted: pl.LazyFrame, path: Path) -> None:
    """Write all columns, compressed as pyarrow compresses them."""
    admitted.sink_parquet(path, compression="zstd", compression_level=1, engine="streaming")


ENDS: Mapping[str, End] = {"texts summed": _sum, "all columns written": _write}
"""How queries end, by name."""
