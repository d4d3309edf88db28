"""The command line. `import consentgate` does not load it."""

import signal
import sys
from types import FrameType
from typing import Annotated, NoReturn

import typer

from consentgate import __version__
from consentgate.cli.check import CHECK_EXIT_CODES, check
from consentgate.cli.compile import compile_gate
from consentgate.cli.demo import demo
from consentgate.cli.explain import TAKES_RECORD_ID, explain
from consentgate.cli.filter import filter_messages
from consentgate.cli.ledger import ledger_app
from consentgate.cli.options import EXIT_CODES
from consentgate.cli.policy import policy_app
from consentgate.cli.run import run_files
from consentgate.cli.text import hold_streams, print_error, print_loss
from consentgate.cli.verify import verify
from consentgate.cli.warn import warnings_on_stderr
from consentgate.errors import ConfigurationError, ConsentGateError

__all__ = ["app", "main"]

app = typer.Typer(
    name="consentgate",
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.command(epilog=EXIT_CODES)(demo)
app.command(epilog=CHECK_EXIT_CODES)(check)
app.command("filter", epilog=EXIT_CODES)(filter_messages)
app.command("compile", epilog=EXIT_CODES)(compile_gate)
app.command("run", epilog=EXIT_CODES)(run_files)
app.command(epilog=EXIT_CODES)(verify)
app.command(epilog=EXIT_CODES, context_settings=TAKES_RECORD_ID)(explain)
app.add_typer(policy_app, name="policy")
app.add_typer(ledger_app, name="ledger")


def main() -> None:
    """Run the command line and exit.

    Exit codes: 0 done; 1 the input or the policy is at fault, or something could not be written;
    2 the command line is at fault.
    """
    hold_streams()
    signal.signal(signal.SIGTERM, _leave)
    with warnings_on_stderr():
        code = _run()
    was_lost = print_loss(is_done=code == 0)
    sys.exit(code or int(was_lost))


def _run() -> int:
    """Run the command line. Returns the exit code."""
    try:
        app(prog_name="consentgate")
    except ConsentGateError as error:
        print_error(error)
        return 2 if isinstance(error, ConfigurationError) else 1
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    return 0


def _leave(number: int, _frame: FrameType | None) -> NoReturn:
    """Raise an exception instead of dying at once, so that no partial output stays behind."""
    sys.exit(128 + number)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"consentgate {__version__}")
        raise typer.Exit


@app.callback(epilog=EXIT_CODES)
def _root(
    version: Annotated[
        bool,
        typer.Option(
            "--version", help="Print the version.", callback=_print_version, is_eager=True
        ),
    ] = False,
) -> None:
    """Lets a message into a training run only if every data subject in it has given consent."""
