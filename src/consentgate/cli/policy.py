"""`consentgate policy`: write a policy to start from, and check one."""

from pathlib import Path
from typing import Annotated

import typer

from consentgate.errors import OutputError
from consentgate.policy import Policy

__all__ = ["policy"]

policy = typer.Typer(help="Write a policy to start from, or check one.", no_args_is_help=True)

TEMPLATE = """\
# What a training run accepts. Every key may be left out; those shown are the defaults.

name = "default"

# Every data subject must have consented to all of these.
purposes = ["train_ai_system"]

# The ways of indicating consent that count. A setting that was on by default ("default_on"), a
# pre-ticked box ("pre_ticked") or silence ("implied") is not consent.
methods = ["explicit"]

# The notices under which consent counts. Without this key any does.
# notice_versions = ["2026-01"]

# A consent older than this has expired (an ISO 8601 duration). "none" sets no limit.
max_consent_age = "none"

# A consent snapshot or channel registry older than this is refused.
max_snapshot_age = "P7D"

# The words that mean public, compared exactly.
public_visibilities = ["public"]

# Named exclusions by a column of the messages: any_of, none_of, or is_null = true.
# A null in the column always excludes.
# [[record_rules]]
# name = "not_english"
# column = "language"
# none_of = ["en"]

# Named exclusions by an attribute of the consent snapshot.
# [[subject_rules]]
# name = "minor"
# column = "age_band"
# any_of = ["0-12", "13-17"]
"""


@policy.command()
def init(
    path: Annotated[Path, typer.Argument(help="Where to.")] = Path("policy.toml"),
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the file.")] = False,
) -> None:
    """Write a commented policy that holds the defaults."""
    try:
        with path.open("w" if overwrite else "x", encoding="utf-8") as file:
            file.write(TEMPLATE)
    except FileExistsError as error:
        raise OutputError(f"'{path}' exists already; give another path, or --overwrite.") from error
    except OSError as error:
        raise OutputError(f"'{path}' cannot be written: {error.strerror}.") from error
    typer.echo(f"Wrote {path}; read it, change it, then: consentgate policy check {path}")


@policy.command()
def check(
    path: Annotated[Path, typer.Argument(help="A policy, TOML or JSON.")],
    strict: Annotated[bool, typer.Option("--strict", help="Exit 1 on warnings too.")] = False,
) -> None:
    """Validate a policy, and name what weakens it."""
    checked = Policy.load(path)
    typer.echo(f"policy {checked.name}, sha256 {checked.digest}")
    for field, value in checked.model_dump(mode="json").items():
        if field != "name":
            typer.echo(f"  {field:<20} {value}")
    findings = checked.lint()
    for finding in findings:
        typer.echo(f"warning: {finding}")
    if strict and findings:
        raise typer.Exit(1)
