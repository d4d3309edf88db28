"""The demonstration's data: real messages, with consent and visibility derived for them.

The messages, their senders, conversations and timestamps are those of the Chit Chat data set
(BYU PCC lab, 2018, MIT licence). It says nothing of consent or visibility, so both are made up
here: each sender and each conversation gets a fixed percentile from the hash of its id, and the
percentile decides. The same messages therefore always give the same numbers.
"""

import hashlib
from datetime import UTC, datetime
from typing import Any

import polars as pl
import pyarrow as pa

from consentgate.errors import ConfigurationError

SWITCHED_ON = datetime(2018, 5, 10, tzinfo=UTC)
"""When the network of the made-up story switched its setting on for everybody."""

AS_OF = datetime(2018, 11, 10, tzinfo=UTC)
JUDGED_AT = datetime(2018, 11, 12, tzinfo=UTC)

POLICY = """\
# The policy of the demonstration's training run. `consentgate policy init` explains every key.
name = "chitchat-demo"
purposes = ["train_ai_system"]
methods = ["explicit"]                 # a setting that was on by default is not consent
notice_versions = ["2018-04"]
max_snapshot_age = "P7D"
public_visibilities = ["public"]

[[subject_rules]]
name = "minor"
column = "age_band"
any_of = ["13-17"]

[[subject_rules]]
name = "paying_member"                 # their contracts promised confidentiality
column = "account_tier"
any_of = ["premium"]
"""

_START = datetime(2018, 4, 1, tzinfo=UTC)
_MIDWAY = datetime(2018, 5, 15, tzinfo=UTC)
_NOTICE = "2018-04"

# The consent of senders up to a percentile: status, method, effective_from, expires_at,
# covers_prior, notice_version.
_CONSENTS: list[tuple[int, tuple[Any, ...]]] = [
    (30, ("given", "explicit", _START, None, False, _NOTICE)),
    (34, ("renewed", "explicit", _MIDWAY, None, True, _NOTICE)),
    (40, ("given", "explicit", _MIDWAY, None, False, _NOTICE)),
    (43, ("given", "explicit", _START, _MIDWAY, False, _NOTICE)),
    (46, ("given", "explicit", _START, None, False, "2016-01")),
    (80, ("given", "default_on", SWITCHED_ON, None, True, None)),
    (85, ("refused", "explicit", None, None, None, None)),
    (91, ("withdrawn", "explicit", None, None, None, None)),
    (94, ("requested", "unknown", None, None, None, None)),
]  # the other senders have no record

# The visibility and public_since of conversations up to a percentile.
_VISIBILITIES: list[tuple[int, tuple[Any, ...]]] = [
    (60, ("public", None)),
    (64, ("public", _MIDWAY)),
    (97, ("private", None)),
]  # the other conversations are not in the registry


def messages() -> pa.Table:
    """All 258,145 messages, in the order of the data set."""
    try:
        from chitchat_dataset import Dataset
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            "The demonstration's messages come with an extra; pip install 'consentgate[demo]'."
        ) from error
    rows = [
        (channel, said["sender"], said["timestamp"], said["text"])
        for channel, conversation in Dataset().items()
        for turn in conversation["messages"]
        for said in turn
    ]
    table = pl.DataFrame(
        rows, orient="row", schema=["channel_id", "sender_id", "created_at", "text"]
    )
    return _with_flaws(
        table.with_row_index("message_id").with_columns(
            pl.col("message_id").cast(pl.Int64),
            pl.col("created_at").str.to_datetime(time_unit="us", time_zone="UTC"),
            participant_ids=pl.col("sender_id")
            .unique(maintain_order=True)
            .implode()
            .over("channel_id"),
        )
    ).to_arrow(compat_level=pl.CompatLevel.oldest())


def consent(senders: list[str]) -> pa.Table:
    """A made-up consent record for most senders, with `as_of` in the metadata."""
    rows = []
    for sender in senders:
        if (record := _chosen(_CONSENTS, sender)) is not None:
            age = "13-17" if _percentile("age", sender) < 4 else "18+"
            tier = "premium" if _percentile("tier", sender) < 12 else "free"
            rows.append((sender, "train_ai_system", *record, age, tier))
    instant = pl.Datetime("us", "UTC")
    schema: dict[str, pl.DataType | type[pl.DataType]] = {
        "subject_id": pl.String, "purpose": pl.String, "status": pl.String, "method": pl.String,
        "effective_from": instant, "expires_at": instant, "covers_prior": pl.Boolean,
        "notice_version": pl.String, "age_band": pl.String, "account_tier": pl.String,
    }  # fmt: skip
    return _as_of(pl.DataFrame(rows, orient="row", schema=schema))


def channels(conversations: list[str]) -> pa.Table:
    """A made-up visibility for most conversations, with `as_of` in the metadata."""
    chosen = [(name, _chosen(_VISIBILITIES, name)) for name in conversations]
    rows = [(name, *record) for name, record in chosen if record is not None]
    schema: dict[str, pl.DataType | type[pl.DataType]] = {
        "channel_id": pl.String,
        "visibility": pl.String,
        "public_since": pl.Datetime("us", "UTC"),
    }
    return _as_of(pl.DataFrame(rows, orient="row", schema=schema))


def _with_flaws(table: pl.DataFrame) -> pl.DataFrame:
    """The messages, where every 997th has no time and every 499th no participants.

    Real message stores have such gaps.
    """
    number = pl.col("message_id")
    return table.with_columns(
        created_at=pl.when(number % 997 != 0).then("created_at"),
        participant_ids=pl.when(number % 499 != 0).then("participant_ids"),
    )


def _chosen(bands: list[tuple[int, tuple[Any, ...]]], key: str) -> tuple[Any, ...] | None:
    at = _percentile("band", key)
    return next((chosen for upper, chosen in bands if at < upper), None)


def _percentile(salt: str, key: str) -> int:
    return int.from_bytes(hashlib.sha256(f"{salt}:{key}".encode()).digest()[:8]) % 100


def _as_of(table: pl.DataFrame) -> pa.Table:
    arrow = table.to_arrow(compat_level=pl.CompatLevel.oldest())
    return arrow.replace_schema_metadata({"consentgate.as_of": AS_OF.isoformat()})
