"""The options that describe a gate. `takes_judge` adds them to a command."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass, fields
from datetime import datetime
from functools import wraps
from pathlib import Path
from typing import Annotated, Any

import typer

from consentgate.cli.text import CHANNELS_OPTIONS, CONSENT_OPTIONS, options_named
from consentgate.columns import Columns
from consentgate.gate import Gate
from consentgate.inputs import ChannelRegistry, ConsentSnapshot
from consentgate.policy import Policy

EXIT_CODES = (
    "Exit codes: 0 done; 1 the input or the policy is at fault, or an output cannot be written, or "
    "all is done but stdout cannot be written; 2 the command line is at fault; 130 interrupted."
)

_EXAMPLE = "subject_id=user"


@dataclass(frozen=True)
class Pair:
    """The two sides of an option's value that is written with an equals sign."""

    left: str
    right: str


def _instant(text: str | datetime) -> datetime:
    instant = _datetime(text) if isinstance(text, str) else text
    if instant is None or instant.utcoffset() is None:
        raise typer.BadParameter(
            f"'{text}' is not an ISO 8601 instant with an offset, such as 2026-01-31T00:00:00Z."
        )
    return instant


def _datetime(text: str) -> datetime | None:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return None


def _translation(text: str | Pair) -> Pair:
    """A word and its meaning. The word is empty if the option is about an empty cell."""
    if isinstance(text, Pair):
        return text
    word, equals, meaning = text.rpartition("=")
    if not (equals and meaning):
        raise typer.BadParameter(
            f"'{text}' must be written as WORD=MEANING, or as =MEANING for an empty cell."
        )
    return Pair(word, meaning)


def _column(text: str | Pair) -> Pair:
    """A column's name here and in the file."""
    if isinstance(text, Pair):
        return text
    name, _, theirs = text.partition("=")
    if not (name and theirs):
        raise typer.BadParameter(f"'{text}' must be written as COLUMN=NAME, such as {_EXAMPLE}.")
    return Pair(name, theirs)


def _as_mapping(pairs: list[Pair] | None, option: str) -> dict[str, str]:
    mapping = {pair.left: pair.right for pair in pairs or ()}
    if len(mapping) < len(pairs or ()):
        raise typer.BadParameter(
            "two values have the same left side; give one of them.", param_hint=f"'{option}'"
        )
    return mapping


@dataclass(frozen=True, kw_only=True)
class JudgeOptions:
    """The options of the command line that name policy, snapshot, registry and columns."""

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
            help="The instant whose facts the snapshot holds, if its file does not say: ISO 8601 "
            "with an offset.",
        ),
    ] = None
    channels_as_of: Annotated[
        datetime | None,
        typer.Option(
            parser=_instant,
            metavar="INSTANT",
            help="The instant whose facts the registry holds, if its file does not say.",
        ),
    ] = None
    consent_map: Annotated[
        list[Pair] | None,
        typer.Option(
            parser=_column,
            metavar="COLUMN=NAME",
            help="The name that a column of the snapshot has in the file, such as "
            f"{_EXAMPLE}; repeatable.",
        ),
    ] = None
    channels_map: Annotated[
        list[Pair] | None,
        typer.Option(
            parser=_column,
            metavar="COLUMN=NAME",
            help="The name that a column of the registry has in the file, such as "
            "channel_id=room; repeatable.",
        ),
    ] = None
    consent_timezone: Annotated[
        str | None,
        typer.Option(
            metavar="ZONE", help="The IANA time zone of naive timestamps in the snapshot."
        ),
    ] = None
    channels_timezone: Annotated[
        str | None,
        typer.Option(
            metavar="ZONE", help="The IANA time zone of naive timestamps in the registry."
        ),
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
        list[Pair] | None,
        typer.Option(
            parser=_translation,
            metavar="WORD=STATUS",
            help="Translate a status word of the snapshot; =STATUS says what an empty cell means; "
            "repeatable.",
        ),
    ] = None
    method_map: Annotated[
        list[Pair] | None,
        typer.Option(
            parser=_translation,
            metavar="WORD=METHOD",
            help="Translate a method word of the snapshot; =METHOD says what an empty cell means; "
            "repeatable.",
        ),
    ] = None

    @property
    def files(self) -> tuple[Path, ...]:
        """The files that the gate is made of."""
        files = (self.gate_file, self.policy, self.consent, self.channels)
        return tuple(file for file in files if file is not None)

    def columns(self) -> Columns:
        """The columns of the messages. Without a registry, a visibility column is enough."""
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
        """Open the saved gate, or make a new one of the files."""
        if self.gate_file is not None:
            self._refuse_parts()
            return Gate.open(self.gate_file)
        if self.policy is None or self.consent is None:
            missing = "--policy" if self.policy is None else "--consent"
            raise typer.BadParameter(
                f"Missing option '{missing}': a gate is made of a policy, a consent snapshot and a "
                "channel registry. Or name a saved one with --gate."
            )
        columns = self.columns()
        policy = Policy.load(self.policy)
        consent, registry = self._consent(self.consent), self._registry()
        return Gate(policy, consent, registry, columns=columns, judged_at=self.judged_at)

    def _consent(self, path: Path) -> ConsentSnapshot:
        status_map = _as_mapping(self.status_map, "--status-map")
        method_map = _as_mapping(self.method_map, "--method-map")
        columns = _as_mapping(self.consent_map, "--consent-map")
        with options_named(CONSENT_OPTIONS):
            return ConsentSnapshot.read(
                path,
                as_of=self.consent_as_of,
                columns=columns,
                assume_timezone=self.consent_timezone,
                status_map=status_map,
                method_map=method_map,
            )

    def _registry(self) -> ChannelRegistry | None:
        columns = _as_mapping(self.channels_map, "--channels-map")
        if self.channels is None:
            if columns or self.channels_as_of or self.channels_timezone:
                raise typer.BadParameter(
                    "--channels-as-of, --channels-map and --channels-timezone are about the "
                    "registry; name its file with --channels, or leave them out."
                )
            return None
        with options_named(CHANNELS_OPTIONS):
            return ChannelRegistry.read(
                self.channels,
                as_of=self.channels_as_of,
                columns=columns,
                assume_timezone=self.channels_timezone,
            )

    def _refuse_parts(self) -> None:
        """Raise an error if an option gives something that a saved gate holds already."""
        for option in fields(self):
            if option.name in ("gate_file", "judged_at"):
                continue
            if getattr(self, option.name) != option.default:
                raise typer.BadParameter(
                    f"--{option.name.replace('_', '-')} cannot be given with --gate: a saved gate "
                    "holds all that it is made of."
                )


def takes_judge(command: Callable[..., None]) -> Callable[..., None]:
    """Add every field of `JudgeOptions` as an option to a command.

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
