"""`consentgate verify`: checks whether a run's files are still as its manifest says."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from consentgate.cli.text import printable
from consentgate.errors import ConfigurationError
from consentgate.gate import Gate
from consentgate.runs import Finding, Manifest, audit, refuse_other_rules
from consentgate.storage import Folder


def verify(
    destination: Annotated[
        str,
        typer.Argument(metavar="DIR", help="The folder of a run, or its URI.", show_default=False),
    ],
    *,
    rejudge: Annotated[
        bool,
        typer.Option("--rejudge", help="Judge every admitted row again with the recorded gate."),
    ] = False,
    gate_file: Annotated[
        Path | None,
        typer.Option(
            "--gate",
            metavar="FILE",
            help="The gate that judged, if its file was moved; implies --rejudge.",
        ),
    ] = None,
    source: Annotated[
        str | None,
        typer.Option(metavar="SOURCE", help="The run's source: compare the inputs, too."),
    ] = None,
    public_key: Annotated[
        Path | None,
        typer.Option(
            metavar="KEY", help="The Ed25519 public key (PEM file) of the signer of the runs."
        ),
    ] = None,
    threads: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="How many files are read at the same time."),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print everything as one JSON object.")
    ] = False,
) -> None:
    """Check whether a run's files are still as its manifest says.

    Reads every file, counts every reason again, and names files that were altered, added or
    exchanged, or are missing. Ends with exit code 1 if there is any finding.
    """
    gate = _recorded_gate(destination, gate_file) if rejudge or gate_file is not None else None
    findings = audit(destination, gate=gate, source=source, public_key=public_key, threads=threads)
    if as_json:
        typer.echo(json.dumps({"findings": [asdict(finding) for finding in findings]}))
    else:
        _tell(findings, rejudged=gate is not None)
        _tell_age(destination)
    if findings:
        raise typer.Exit(1)


def _recorded_gate(destination: str, file: Path | None) -> Gate:
    manifest = Manifest.find(Folder.at(destination))
    if manifest is not None:
        refuse_other_rules(manifest)  # before the gate is opened, to say what can be done
    if file is None:
        if manifest is None or manifest.gate_file is None:
            raise ConfigurationError(
                "The run was not judged by a saved gate; make one from the same policy, snapshot "
                "and registry with 'consentgate compile', and name it with --gate."
            )
        file = Path(manifest.gate_file)
    return Gate.open(file, verify=True)


def _tell_age(destination: str) -> None:
    """Say that the run was allowed to undo withdrawals, if it was."""
    manifest = Manifest.find(Folder.at(destination))
    if manifest is not None and manifest.allowed_older_snapshot:
        older = manifest.own.what_is_older(manifest.newest)
        typer.echo(f"note: this run is older than an earlier one, which was allowed: {older}")


def _tell(findings: tuple[Finding, ...], *, rejudged: bool) -> None:
    for finding in findings:
        typer.echo(printable(str(finding)))
    if findings:
        many = "finding" if len(findings) == 1 else "findings"
        typer.echo(f"{len(findings):,} {many}: do not train on this.")
    else:
        typer.echo(
            "every file is as the manifest says"
            + (", and the gate admits every row again" if rejudged else "")
        )
