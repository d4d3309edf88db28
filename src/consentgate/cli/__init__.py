"""The command line. Thin: it reads files, asks the library, and writes files."""

import sys
from typing import Annotated

import typer

from consentgate import __version__
from consentgate.cli._output import print_error
from consentgate.cli.demo import demo
from consentgate.cli.explain import explain
from consentgate.cli.filter import filter_files
from consentgate.cli.policy import policy
from consentgate.errors import ConsentGateError

__all__ = ["app", "main"]

_EXIT_CODES = """
Exit codes: 0 done; 1 the input, the policy or an output is at fault; 2 wrong usage; 130 interrupted.
"""

app = typer.Typer(
    name="consentgate",
    help="Only messages whose every data subject consented reach a training run.",
    epilog=_EXIT_CODES,
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command(epilog=_EXIT_CODES)(demo)
app.command("filter", epilog=_EXIT_CODES)(filter_files)
app.command(epilog=_EXIT_CODES)(explain)
app.add_typer(policy, name="policy", epilog=_EXIT_CODES)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"consentgate {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version."
        ),
    ] = False,
) -> None:
    """Only messages whose every data subject consented reach a training run."""


def main() -> None:
    """Run the command line; any fault that consentgate knows becomes a paragraph and exit 1."""
    try:
        app()
    except ConsentGateError as error:
        print_error(error)
        sys.exit(1)
