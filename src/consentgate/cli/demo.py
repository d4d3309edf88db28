"""`consentgate demo`: judges real messages, and shows what a careless pipeline would have done."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, BinaryIO

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import typer

from consentgate.cli import chitchat
from consentgate.columns import Columns
from consentgate.errors import OutputError
from consentgate.gate import Gate
from consentgate.inputs import ChannelRegistry, ConsentSnapshot
from consentgate.policy import Policy
from consentgate.reasons import sentences
from consentgate.storage import refuse_odd_target, replacing, write_faults_named

_COLUMNS = Columns(subjects=("sender_id", "participant_ids"))


def demo(
    out: Annotated[Path, typer.Option(help="A folder for inputs, policy and outputs.")] = Path(
        "demo-output"
    ),
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the folder's files.")
    ] = False,
) -> None:
    """Judge 258,145 real messages, and leave the inputs and outputs in a folder to look at."""
    _make_folder(out, overwrite)
    messages = chitchat.messages()
    _write_inputs(out, messages)
    typer.echo(_INTRODUCTION.format(rows=messages.num_rows))

    policy = Policy.load(out / "policy.toml")
    consent = ConsentSnapshot.read(out / "consent.parquet")
    channels = ChannelRegistry.read(out / "channels.parquet")
    gate = Gate(policy, consent, channels, columns=_COLUMNS, judged_at=chitchat.JUDGED_AT)
    admitted, excluded = gate.filter(messages)
    _write_table(admitted, out / "admitted.parquet")
    _write_table(excluded, out / "excluded.parquet")

    _tell_careless_pipeline(messages, consent, channels, excluded)
    _tell_gate(policy, messages, admitted, gate.decide(messages).counts)
    typer.echo(_ENDING.format(out=out, judged_at=chitchat.JUDGED_AT.isoformat()))


_INTRODUCTION = """\
{rows:,} real chat messages of 2018 (the Chit Chat data set, MIT licence). It says nothing of
consent or visibility: BOTH ARE MADE UP HERE, from hashes of the ids, to tell a story. In it the
network switched a setting on for everybody on 2018-05-10, whether or not they were asked.
"""

_ENDING = """
All of it is in {out}/: messages, consent, channels, policy.toml, admitted, excluded.
Judge the same files yourself:

  consentgate filter {out}/messages.parquet --out judged --judged-at {judged_at} \\
    --policy {out}/policy.toml --consent {out}/consent.parquet --channels {out}/channels.parquet \\
    --subject-column sender_id --subject-column participant_ids
"""


def _make_folder(out: Path, overwrite: bool) -> None:
    what = f"Folder '{out}'"
    refuse_odd_target(out / "policy.toml", what)
    with write_faults_named(what):
        if os.path.lexists(out) and not overwrite and (not out.is_dir() or any(out.iterdir())):
            raise OutputError(f"'{out}' exists already; give another --out, or --overwrite.")
        out.mkdir(parents=True, exist_ok=True)


def _write_inputs(out: Path, messages: pa.Table) -> None:
    senders = messages["sender_id"].unique().to_pylist()
    conversations = messages["channel_id"].unique().to_pylist()
    _write_table(messages, out / "messages.parquet")
    _write_table(chitchat.consent(senders), out / "consent.parquet")
    _write_table(chitchat.channels(conversations), out / "channels.parquet")
    _write(out / "policy.toml", lambda file: file.write(chitchat.POLICY.encode()))


def _write_table(table: pa.Table, path: Path) -> None:
    _write(path, lambda file: pq.write_table(table, file, compression="zstd"))


def _write(path: Path, fill: Callable[[BinaryIO], object]) -> None:
    with replacing(path, f"Output '{path}'") as file:
        fill(file)


def _tell_careless_pipeline(
    messages: pa.Table, consent: ConsentSnapshot, channels: ChannelRegistry, excluded: pa.Table
) -> None:
    """Print what the usual join would train on: it only looks at the sender's status."""
    trusted = (
        pl.DataFrame(messages.select(["message_id", "sender_id", "channel_id"]))
        .join(pl.DataFrame(consent.table), left_on="sender_id", right_on="subject_id")
        .filter(pl.col("status").cast(pl.String).is_in(["given", "renewed"]))
        .join(pl.DataFrame(channels.table), on="channel_id", how="left")
    )
    default_on = trusted.filter(pl.col("method").cast(pl.String) == "default_on").height
    private = trusted.filter(pl.col("visibility").cast(pl.String) == "private").height
    ids = pl.DataFrame(excluded.select(["record_id"]))
    wrong = trusted.join(ids, left_on="message_id", right_on="record_id", how="semi").height
    typer.echo(
        "A pipeline that joins on the sender and trusts the setting trains on "
        f"{trusted.height:,} messages:\n"
        f"  {default_on:>9,}  by people whose setting was merely on by default\n"
        f"  {private:>9,}  from private conversations\n"
        f"  {wrong:>9,}  that the gate excludes, for one reason or another\n"
    )


def _tell_gate(
    policy: Policy, messages: pa.Table, admitted: pa.Table, counts: dict[str, int]
) -> None:
    share = admitted.num_rows / messages.num_rows
    words = sentences()
    words |= {rule.name: f"the policy's rule on {rule.column}" for rule in policy.subject_rules}
    typer.echo(
        f"The gate admits {admitted.num_rows:,} messages ({share:.1%}) and excludes the rest:"
    )
    for code, count in counts.items():
        typer.echo(f"  {count:>9,}  {code:<21} {words[code]}")
