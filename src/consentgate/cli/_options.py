"""The options that say what judges and where in the messages things are."""

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Annotated, TypeAlias

import typer

from consentgate.channels import ChannelRegistry
from consentgate.columns import Columns
from consentgate.gate import Gate
from consentgate.policy import Policy
from consentgate.snapshot import ConsentSnapshot

__all__ = [
    "AssumeTimezone",
    "ChannelColumns",
    "ChannelsAsOf",
    "ChannelsFile",
    "ConsentAsOf",
    "ConsentFile",
    "CreatedAtColumn",
    "JudgedAt",
    "MethodMap",
    "PolicyFile",
    "RecordIdColumn",
    "StatusMap",
    "SubjectColumns",
    "VisibilityColumn",
    "make_columns",
    "make_gate",
    "parse_map",
]


def parse_instant(text: str) -> datetime:
    """An ISO 8601 instant with an offset from UTC; anything else is wrong usage."""
    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        instant = datetime.min
    if instant.utcoffset() is None:
        raise typer.BadParameter("give an ISO 8601 instant with an offset, as 2026-01-31T00:00:00Z")
    return instant


def parse_map(pairs: Sequence[str] | None, option: str) -> dict[str, str]:
    """WORD=TERM pairs as a mapping; anything else is wrong usage."""
    words = dict[str, str]()
    for pair in pairs or ():
        word, equals, term = pair.partition("=")
        if not (word and equals and term) or words.setdefault(word, term) != term:
            raise typer.BadParameter("give WORD=TERM, each word once", param_hint=option)
    return words


PolicyFile: TypeAlias = Annotated[Path, typer.Option("--policy", help="The policy, TOML or JSON.")]
ConsentFile: TypeAlias = Annotated[Path, typer.Option("--consent", help="The consent snapshot.")]
ChannelsFile: TypeAlias = Annotated[
    Path | None,
    typer.Option("--channels", help="The channel registry; needed where messages name channels."),
]
ConsentAsOf: TypeAlias = Annotated[
    datetime | None,
    typer.Option(parser=parse_instant, metavar="INSTANT", help="If the file does not say."),
]
ChannelsAsOf: TypeAlias = Annotated[
    datetime | None,
    typer.Option(parser=parse_instant, metavar="INSTANT", help="If the file does not say."),
]
StatusMap: TypeAlias = Annotated[
    list[str] | None, typer.Option(metavar="WORD=STATUS", help="Translate a status. Repeatable.")
]
MethodMap: TypeAlias = Annotated[
    list[str] | None, typer.Option(metavar="WORD=METHOD", help="Translate a method. Repeatable.")
]
RecordIdColumn: TypeAlias = Annotated[str, typer.Option(help="The messages' own ids.")]
SubjectColumns: TypeAlias = Annotated[
    list[str] | None,
    typer.Option("--subject-column", help="Subject ids, or lists of them [sender_id]. Repeatable."),
]
ChannelColumns: TypeAlias = Annotated[
    list[str] | None,
    typer.Option("--channel-column", help="Channel ids [channel_id, with --channels]. Repeatable."),
]
VisibilityColumn: TypeAlias = Annotated[
    str | None, typer.Option(help="The row's own visibility, if it has one.")
]
CreatedAtColumn: TypeAlias = Annotated[str, typer.Option(help="When messages were written.")]
AssumeTimezone: TypeAlias = Annotated[
    str | None, typer.Option(metavar="ZONE", help="The zone of timestamps that have none.")
]
JudgedAt: TypeAlias = Annotated[
    datetime | None,
    typer.Option(parser=parse_instant, metavar="INSTANT", help="Judge as at then, not now."),
]


def make_columns(
    record_id: str,
    subjects: list[str] | None,
    channels: list[str] | None,
    visibility: str | None,
    created_at: str,
    assume_timezone: str | None,
    *,
    has_registry: bool,
) -> Columns:
    """The columns as the options name them; without a registry the row's visibility is enough."""
    if not channels:
        channels = ["channel_id"] if has_registry or visibility is None else []
    return Columns(
        record_id=record_id,
        subjects=tuple(subjects or ["sender_id"]),
        channels=tuple(channels),
        visibility=visibility,
        created_at=created_at,
        assume_timezone=assume_timezone,
    )


def make_gate(
    policy: Path,
    consent: Path,
    channels: Path | None,
    columns: Columns,
    *,
    consent_as_of: datetime | None,
    channels_as_of: datetime | None,
    status_map: list[str] | None,
    method_map: list[str] | None,
    judged_at: datetime | None,
) -> Gate:
    """Read what judges, and compile it."""
    snapshot_maps = {
        "status_map": parse_map(status_map, "--status-map"),
        "method_map": parse_map(method_map, "--method-map"),
    }
    rules = Policy.load(policy)
    snapshot = ConsentSnapshot.read(consent, as_of=consent_as_of, **snapshot_maps)
    registry = None if channels is None else ChannelRegistry.read(channels, as_of=channels_as_of)
    return Gate(rules, snapshot, registry, columns=columns, judged_at=judged_at)
