"""The options that say who judges: written once, given to commands by `takes_judge`."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass, fields
from datetime import datetime
from functools import wraps
from pathlib import Path
from typing import Annotated, Any

import typer

from consentgate.columns import Columns
from consentgate.gate import Gate
from consentgate.inputs import ChannelRegistry, ConsentSnapshot
from consentgate.policy import Policy

EXIT_CODES = (
    "Exit codes: 0 done; 1 the input or the policy is at fault, or an output cannot be written, or "
    "all is done but stdout cannot be written; 2 the command line is at fault; 130 interrupted."
)


@dataclass(frozen=True)
class Translation:
    """A word of another vocabulary and the word it stands for."""

    word: str
    meaning: str


def _instant(text: str | datetime) -> datetime:
    instant = _datetime(text) if isinstance(text, str) else text
    if instant is None or instant.utcoffset() is None:
        raise typer.BadParameter(
            f"'{text}' is no ISO 8601 instant with an offset, such as 2026-01-31T00:00:00Z."
        )
    return instant


def _datetime(text: str) -> datetime | None:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return None


def _translation(text: str | Translation) -> Translation:
    if isinstance(text, Translation):
        return text
    word, equals, meaning = text.rpartition("=")
    if not (word and equals and meaning):
        raise typer.BadParameter(f"'{text}' must be written as WORD=MEANING.")
    return Translation(word, meaning)


def _as_mapping(translations: list[Translation] | None, option: str) -> dict[str, str]:
    mapping = {entry.word: entry.meaning for entry in translations or ()}
    if len(mapping) < len(translations or ()):
        raise typer.BadParameter("a word is translated twice.", param_hint=f"'{option}'")
    return mapping


@dataclass(frozen=True, kw_only=True)
class JudgeOptions:
    """Policy, snapshot, registry and columns as a command line names them."""

    gate_file: Annotated[
        Path | None,
        typer.Option(
            "--gate",
            metavar="FILE",
            help="A saved gate, instead of everything that a gate is made of.",
        ),
    ] = None
    policy: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The policy, .toml or .json.")
    ] = None
    consent: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="The consent snapshot: Parquet, Arrow IPC, CSV or JSON lines.",
        ),
    ] = None
    channels: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="The channel registry; may be left out with --visibility-column.",
        ),
    ] = None
    consent_as_of: Annotated[
        datetime | None,
        typer.Option(
            parser=_instant,
            metavar="INSTANT",
            help="As of when the snapshot speaks, if its file does not say: ISO 8601 with an "
            "offset.",
        ),
    ] = None
    channels_as_of: Annotated[
        datetime | None,
        typer.Option(parser=_instant, metavar="INSTANT", help="Likewise for the registry."),
    ] = None
    record_id_column: Annotated[str, typer.Option(metavar="NAME", help="The message's own id.")] = (
        Columns.record_id
    )
    subject_column: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="A column of subject ids, or of lists of them; repeatable.  [default: "
            f"{Columns.subjects[0]}]",
        ),
    ] = None
    channel_column: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help=f"A column of channel ids; repeatable.  [default: {Columns.channels[0]}]",
        ),
    ] = None
    visibility_column: Annotated[
        str | None, typer.Option(metavar="NAME", help="A column with the message's visibility.")
    ] = None
    created_at_column: Annotated[
        str, typer.Option(metavar="NAME", help="When the message was written.")
    ] = Columns.created_at
    assume_timezone: Annotated[
        str | None,
        typer.Option(metavar="ZONE", help="The IANA time zone of naive message timestamps."),
    ] = None
    judged_at: Annotated[
        datetime | None,
        typer.Option(
            parser=_instant,
            metavar="INSTANT",
            help="The instant of judgement, for reproducible runs; the clock is read otherwise.",
        ),
    ] = None
    status_map: Annotated[
        list[Translation] | None,
        typer.Option(
            parser=_translation,
            metavar="WORD=STATUS",
            help="Translate a status word of the snapshot; repeatable.",
        ),
    ] = None
    method_map: Annotated[
        list[Translation] | None,
        typer.Option(
            parser=_translation,
            metavar="WORD=METHOD",
            help="Translate a method word of the snapshot; repeatable.",
        ),
    ] = None

    @property
    def files(self) -> tuple[Path, ...]:
        """The files that the judge is made of."""
        files = (self.gate_file, self.policy, self.consent, self.channels)
        return tuple(file for file in files if file is not None)

    def columns(self) -> Columns:
        """Where in the messages things are; without a registry, visibility may stand alone."""
        channels = tuple(self.channel_column or Columns.channels)
        if self.channels is None and self.visibility_column and not self.channel_column:
            channels = ()
        return Columns(
            record_id=self.record_id_column,
            subjects=tuple(self.subject_column or Columns.subjects),
            channels=channels,
            visibility=self.visibility_column,
            created_at=self.created_at_column,
            assume_timezone=self.assume_timezone,
        )

    def gate(self) -> Gate:
        """The gate, opened or made of its files."""
        if self.gate_file is not None:
            self._refuse_parts()
            return Gate.open(self.gate_file)
        if self.policy is None or self.consent is None:
            missing = "--policy" if self.policy is None else "--consent"
            raise typer.BadParameter(
                f"Missing option '{missing}': a gate is made of a policy, a consent snapshot and a "
                "channel registry. Or name a saved one with --gate."
            )
        status_map = _as_mapping(self.status_map, "--status-map")
        method_map = _as_mapping(self.method_map, "--method-map")
        columns = self.columns()
        policy = Policy.load(self.policy)
        consent = ConsentSnapshot.read(
            self.consent, as_of=self.consent_as_of, status_map=status_map, method_map=method_map
        )
        registry = None
        if self.channels is not None:
            registry = ChannelRegistry.read(self.channels, as_of=self.channels_as_of)
        return Gate(policy, consent, registry, columns=columns, judged_at=self.judged_at)

    def _refuse_parts(self) -> None:
        """Raise an error if an option names something that a saved gate holds already."""
        for option in fields(self):
            if option.name in ("gate_file", "judged_at"):
                continue
            if getattr(self, option.name) != option.default:
                raise typer.BadParameter(
                    f"--{option.name.replace('_', '-')} has no place beside --gate: a saved gate "
                    "holds all that it is made of."
                )


def takes_judge(command: Callable[..., None]) -> Callable[..., None]:
    """The command with every field of `JudgeOptions` as an option of its own.

    The command takes them as one keyword argument, `judge`.
    """
    names = [option.name for option in fields(JudgeOptions)]

    @wraps(command)
    def with_options(**arguments: Any) -> None:
        judge = JudgeOptions(**{name: arguments.pop(name) for name in names})
        command(judge=judge, **arguments)

    of_command = inspect.signature(command).parameters.values()
    own = [parameter for parameter in of_command if parameter.name != "judge"]
    options = inspect.signature(JudgeOptions).parameters.values()
    parameters = [
        parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in (*own, *options)
    ]
    with_options.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    with_options.__annotations__ = {
        parameter.name: parameter.annotation for parameter in parameters
    }
    return with_options
