"""`consentgate compile`: makes a gate file of a policy, a snapshot and a registry."""

from pathlib import Path
from typing import Annotated

import typer

from consentgate.cli.options import JudgeOptions, takes_judge
from consentgate.cli.output import refuse_outputs
from consentgate.cli.text import printable


@takes_judge
def compile_gate(
    out: Annotated[Path, typer.Option(metavar="FILE", help="The gate's file.", show_default=False)],
    *,
    judge: JudgeOptions,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace a file that exists.")
    ] = False,
) -> None:
    """Compile a policy, a consent snapshot and a channel registry into one gate file.

    With --judged-at, the gate judges at that instant wherever it is used. Other commands take the
    file with --gate. It opens in milliseconds, and all processes share its memory. Whoever has the
    file can test whether an id is in it, so guard it as you guard the snapshot.
    """
    if judge.gate_file is not None:
        raise typer.BadParameter(
            "a saved gate is compiled already; leave --gate out, and name a policy, a snapshot and "
            "a registry."
        )
    refuse_outputs(out.parent, [out.name], judge.files, overwrite=overwrite)
    gate = judge.gate()
    gate.save(out)
    typer.echo(printable(f"wrote {out}, the gate {gate.digest}"))
