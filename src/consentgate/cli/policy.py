"""`consentgate policy`: write the template of a policy, and check a policy."""

import os
from datetime import timedelta
from pathlib import Path
from typing import Annotated

import typer

from consentgate.cli.options import EXIT_CODES
from consentgate.cli.text import printable
from consentgate.errors import OutputError
from consentgate.policy import Policy, Rule
from consentgate.storage import refuse_odd_target, replacing

TEMPLATE = """\
# A policy says what a training run accepts. Every key has a default, which is written here.
# Lines that begin with '#' and no space are examples to uncomment.

# The name of this policy, for people.
name = "default"

# Every data subject must have consented to all of these purposes.
purposes = ["train_ai_system"]

# The ways of indicating consent that count. Silence, pre-ticked boxes and settings that were on by
# default are not consent (GDPR Recital 32), so think twice before you add a word.
methods = ["explicit"]

# The notices under which consent counts. Without this key, consent under any notice counts, and so
# does consent without a notice.
#notice_versions = ["2025-11", "2026-03"]

# A consent older than this has expired: an ISO 8601 duration, or "none" for no limit.
max_consent_age = "none"

# A consent snapshot or channel registry older than this is refused, because it does not know of
# later withdrawals. An ISO 8601 duration, or "none" for no limit.
max_snapshot_age = "P7D"

# The words that mean public in the channel registry or the visibility column, compared exactly.
public_visibilities = ["public"]

# Rules exclude more rows; they never admit one. A rule's name is the reason that the ledger gives.
# A rule has exactly one of any_of, none_of and is_null = true. It always matches a null.
# At most 16 rules are possible.

# Record rules look at a column of the messages.
#[record_rules.is_draft]
#column = "draft"
#any_of = [true]

#[record_rules.unsupported_language]
#column = "language"
#none_of = ["en", "de"]

# Subject rules look at an attribute of the consent snapshot, for every data subject.
#[subject_rules.exempt_region]
#column = "jurisdiction"
#any_of = ["EU", "UK"]

#[subject_rules.age_unknown]
#column = "age_band"
#is_null = true
"""

policy_app = typer.Typer(
    name="policy",
    help="Write the template of a policy, or check a policy.",
    epilog=EXIT_CODES,
    no_args_is_help=True,
    rich_markup_mode=None,
)


@policy_app.command(epilog=EXIT_CODES)
def init(
    path: Annotated[Path, typer.Argument(metavar="PATH", help="A .toml file.")] = Path(
        "policy.toml"
    ),
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace a file that exists.")
    ] = False,
) -> None:
    """Write a template with comments. It is the default policy."""
    if path.suffix.lower() != ".toml":
        raise typer.BadParameter("the name must end in .toml.", param_hint="'PATH'")
    what = f"Output '{path}'"
    refuse_odd_target(path, what)
    if os.path.lexists(path) and not overwrite:
        raise OutputError(f"{what} exists already; name another file, or say --overwrite.")
    with replacing(path, what) as file:
        file.write(TEMPLATE.encode())
    typer.echo(f"wrote {printable(str(path))}")


@policy_app.command(epilog=EXIT_CODES)
def check(
    path: Annotated[
        Path, typer.Argument(metavar="PATH", help="A .toml or .json file.", show_default=False)
    ],
    strict: Annotated[
        bool, typer.Option("--strict", help="Exit with 1 when there are warnings.")
    ] = False,
) -> None:
    """Check a policy, show what it accepts, and warn of its weaknesses."""
    policy = Policy.load(path)
    for key, value in describe(policy).items():
        typer.echo(printable(f"{key + ':':<20} {value}").rstrip())
    warnings = policy.lint()
    for warning in warnings:
        typer.echo(printable(f"warning: {warning}"))
    if strict and warnings:
        raise typer.Exit(1)


def describe(policy: Policy) -> dict[str, str]:
    """Describe the conditions of a policy as text, by key."""
    rules = {"record rule": policy.record_rules, "subject rule": policy.subject_rules}
    return {
        "name": policy.name,
        "digest": policy.digest,
        "purposes": _listed(policy.purposes),
        "methods": _listed(policy.methods),
        "notice versions": "any"
        if policy.notice_versions is None
        else _listed(policy.notice_versions),
        "max consent age": _age(policy.max_consent_age),
        "max snapshot age": _age(policy.max_snapshot_age),
        "public visibilities": _listed(policy.public_visibilities),
        **{f"{kind} {rule.name}": _rule(rule) for kind, of in rules.items() for rule in of},
    }


def _listed(words: frozenset[str]) -> str:
    return ", ".join(sorted(words))


def _age(age: timedelta | None) -> str:
    return "no limit" if age is None else str(age)


def _rule(rule: Rule) -> str:
    values = ", ".join(map(repr, rule.values))
    if rule.is_null:
        return f"excludes where '{rule.column}' is null"
    test = "any of" if rule.any_of is not None else "none of"
    return f"excludes where '{rule.column}' is {test} {values}, or null"
