"""How fast rows are judged, against the join that one would write instead.

Every contestant counts the rows it would exclude for each of the same reasons, on the same
generated messages; their answers are compared before anything is timed.

    python benchmarks/decide.py [--rows 4_000_000] [--subjects 2_000_000]
"""

import argparse
import statistics
import time
from collections.abc import Callable
from datetime import UTC, datetime

import duckdb
import numpy as np
import polars as pl
import pyarrow as pa

import consentgate as cg

AS_OF = datetime(2026, 1, 31, tzinfo=UTC)
BEGAN = datetime(2025, 6, 1, tzinfo=UTC)
RUNS = 5
Counts = dict[str, int]

DUCKDB_QUERY = """
select case
    when visibility is null then 'channel_unknown'
    when visibility != 'public' then 'private_channel'
    when status is null then 'no_consent_record'
    when status = 'withdrawn' then 'consent_withdrawn'
    when method != 'explicit' then 'consent_not_explicit'
    when created_at < effective_from then 'predates_consent'
end as reason, count(*)
from messages left join consent on sender_id = subject_id left join channels using (channel_id)
group by reason
"""


def main() -> None:
    """Build the data, compare the answers, time the contestants, print a table."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--rows", type=int, default=4_000_000)
    options.add_argument("--subjects", type=int, default=2_000_000)
    sizes = options.parse_args()
    for ids in ("integer", "string"):
        contest(ids, sizes.rows, sizes.subjects)


def contest(ids: str, rows: int, subjects: int) -> None:
    """Print each contestant's median time for one kind of ids."""
    messages, consent, channels = make_data(ids, rows, subjects)
    snapshot = cg.ConsentSnapshot.from_arrow(consent, as_of=AS_OF)
    registry = cg.ChannelRegistry.from_arrow(channels, as_of=AS_OF)
    gate = cg.Gate(cg.Policy(), snapshot, registry, judged_at=AS_OF)
    contestants: dict[str, Callable[[], Counts]] = {
        "gate, built": lambda: dict(gate.decide(messages).counts),
        "gate, built each time": lambda: dict(
            cg.Gate(cg.Policy(), snapshot, registry, judged_at=AS_OF).decide(messages).counts
        ),
        "Polars join": lambda: judge_with_polars(messages, consent, channels),
        "DuckDB join": lambda: judge_with_duckdb(messages, consent, channels),
    }
    expected = contestants["Polars join"]()
    for name, judge in contestants.items():
        assert judge() == expected, f"{name} gives another answer"
    print(f"{rows:,} messages, {subjects:,} subjects, {ids} ids: median of {RUNS} runs (spread)")
    for name, judge in contestants.items():
        seconds = [time_once(judge) for _ in range(RUNS)]
        median, spread = statistics.median(seconds), max(seconds) - min(seconds)
        print(f"  {name:<24}{rows / median / 1e6:8.1f} M rows/s  {median:7.3f} s ({spread:.3f})")


def time_once(judge: Callable[[], Counts]) -> float:
    """Seconds that one call takes."""
    start = time.perf_counter()
    judge()
    return time.perf_counter() - start


def judge_with_polars(messages: pa.Table, consent: pa.Table, channels: pa.Table) -> Counts:
    """The same reasons by two left joins in Polars' streaming engine."""
    visibility, status = pl.col("visibility"), pl.col("status")
    reason = (
        pl.when(visibility.is_null()).then(pl.lit("channel_unknown"))
        .when(visibility != "public").then(pl.lit("private_channel"))
        .when(status.is_null()).then(pl.lit("no_consent_record"))
        .when(status == "withdrawn").then(pl.lit("consent_withdrawn"))
        .when(pl.col("method") != "explicit").then(pl.lit("consent_not_explicit"))
        .when(pl.col("created_at") < pl.col("effective_from")).then(pl.lit("predates_consent"))
    )  # fmt: skip
    counted = (
        pl.LazyFrame(messages)
        .join(pl.LazyFrame(consent), left_on="sender_id", right_on="subject_id", how="left")
        .join(pl.LazyFrame(channels), on="channel_id", how="left")
        .group_by(reason.alias("reason"))
        .len()
        .collect(engine="streaming")
    )
    return {reason: count for reason, count in counted.rows() if reason is not None}


def judge_with_duckdb(messages: pa.Table, consent: pa.Table, channels: pa.Table) -> Counts:
    """The same reasons by two left joins in DuckDB over the Arrow tables."""
    with duckdb.connect() as connection:
        for name, table in {"messages": messages, "consent": consent, "channels": channels}.items():
            connection.register(name, table)
        counted = connection.execute(DUCKDB_QUERY).fetchall()
    return {reason: count for reason, count in counted if reason is not None}


def make_data(ids: str, rows: int, subjects: int) -> tuple[pa.Table, pa.Table, pa.Table]:
    """Messages, consent and channels; senders are skewed as real ones are, the seed is fixed."""
    random = np.random.default_rng(7)
    rank = (subjects * 1.05 * random.random(rows) ** 2).astype(np.int64)
    shuffled = random.permutation(int(subjects * 1.05) + 1)
    channel_count = max(1, rows // 40)
    seconds = random.integers(0, 200 * 86_400, rows)
    messages = pa.table(
        {
            "message_id": np.arange(rows),
            "sender_id": make_ids(ids, shuffled[rank]),
            "channel_id": random.integers(0, channel_count * 21 // 20, rows),
            "created_at": make_instants(seconds),
        }
    )
    consent = pa.table(
        {
            "subject_id": make_ids(ids, np.arange(subjects)),
            "purpose": pick(random, subjects, {"train_ai_system": 1.0}),
            "status": pick(random, subjects, {"given": 0.85, "withdrawn": 0.15}),
            "method": pick(random, subjects, {"explicit": 0.6, "default_on": 0.4}),
            "effective_from": make_instants(random.integers(0, 100 * 86_400, subjects)),
        }
    )
    visibility = pick(random, channel_count, {"public": 0.7, "private": 0.3})
    channels = pa.table({"channel_id": np.arange(channel_count), "visibility": visibility})
    return messages, consent, channels


def make_ids(kind: str, numbers: np.ndarray) -> pa.Array:
    """The numbers as they are, or as strings of 23 bytes."""
    if kind == "integer":
        return pa.array(numbers)
    return pa.array([f"user-{number:018d}" for number in numbers.tolist()])


def make_instants(seconds: np.ndarray) -> pa.Array:
    """Timestamps so many seconds after the beginning."""
    start = int(BEGAN.timestamp())
    return pa.array((seconds + start) * 1_000_000).cast(pa.timestamp("us", "UTC"))


def pick(random: np.random.Generator, count: int, shares: dict[str, float]) -> pa.Array:
    """Words in the given shares, as plain strings."""
    places = random.choice(len(shares), count, p=list(shares.values()))
    return pa.array(list(shares), pa.string()).take(pa.array(places))


if __name__ == "__main__":
    main()
