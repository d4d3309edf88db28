"""`consentgate compile`: a policy, a snapshot and a registry into one gate file."""

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

    With --judged-at, the gate judges as at that instant wherever it is used. The file opens in
    milliseconds and is shared by all processes: see --gate of other commands.
    It can be asked for ids; guard it as you guard the snapshot.
    """
    if judge.gate_file is not None:
        raise typer.BadParameter(
            "a saved gate is compiled already; name what a new one is made of instead of --gate."
        )
    refuse_outputs(out.parent, [out.name], judge.files, overwrite=overwrite)
    gate = judge.gate()
    gate.save(out)
    typer.echo(printable(f"wrote {out}, the gate {gate.digest}"))
