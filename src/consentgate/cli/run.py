"""`consentgate run`: judges a data set into another one, with a ledger and a manifest."""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from consentgate.cli.options import JudgeOptions, takes_judge
from consentgate.cli.progress import progress_bar, progress_json
from consentgate.cli.summary import Summary, print_summary
from consentgate.cli.text import printable, with_options
from consentgate.errors import ConsentGateError
from consentgate.runs import Manifest, Progress, run
from consentgate.storage import MANIFEST, Folder


@takes_judge
def run_files(
    source: Annotated[
        str,
        typer.Argument(
            help="Parquet files: a file, a folder, a quoted pattern (*, **, ?, [ab]), or a URI of "
            "one (file://, s3://, gs://). In a URI, ? is a plain character.",
            show_default=False,
        ),
    ],
    destination: Annotated[
        str,
        typer.Argument(
            help="A folder or its URI: empty, not there yet, or with a run of this source.",
            show_default=False,
        ),
    ],
    *,
    judge: JudgeOptions,
    threads: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="N",
            help="How many files are judged at once, at most 4; one for each core by default.",
        ),
    ] = None,
    fail_fast: Annotated[
        bool,
        typer.Option(
            "--fail-fast",
            help="Stop at the first file that cannot be judged. Other files are left for later.",
        ),
    ] = False,
    sign_with: Annotated[
        Path | None,
        typer.Option(
            metavar="KEY", help="Sign the manifest with this Ed25519 private key (PEM file)."
        ),
    ] = None,
    allow_older_snapshot: Annotated[
        bool,
        typer.Option(
            "--allow-older-snapshot",
            help="Judge by an older snapshot, registry or instant than an earlier run in "
            "DESTINATION, which may undo withdrawals. The manifest says so.",
        ),
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print everything as JSON, one object on each line.")
    ] = False,
) -> None:
    """Judge every file of a data set, and write the admitted rows as a data set of the same form.

    Writes one Parquet file for each input, under the same relative path. DESTINATION/_consentgate
    gets the ledger of excluded rows and, at the end, manifest.json, the evidence of the run. A run
    that was stopped goes on when the same command is given again. If a run has ended, all files are
    judged again, at the present instant, unless --judged-at gives the same instant again.
    """
    done: list[Progress] = []
    try:
        gate = judge.gate()
        with progress_json() if as_json else progress_bar() as advance:

            def report(progress: Progress) -> None:
                done[:] = [progress]
                advance(progress.rows_done, progress.admitted, progress.rows)

            manifest = run(
                gate,
                source,
                destination,
                judged_at=judge.judged_at,
                threads=threads,
                fail_fast=fail_fast,
                sign_with=sign_with,
                allow_older_snapshot=allow_older_snapshot,
                on_progress=report,
            )
    except KeyboardInterrupt:
        _tell_stop(done, as_json=as_json)
        raise typer.Exit(130) from None
    except SystemExit:
        _tell_stop(done, as_json=as_json)
        raise
    except ConsentGateError as error:
        if as_json:
            fault = {"event": "failed", "code": error.code, "message": with_options(str(error))}
            files = [
                {"path": path, "code": code, "message": with_options(text)}
                for path, code, text in getattr(error, "failures", ())
            ]
            typer.echo(json.dumps({**fault, "files": files} if files else fault))
        raise
    if as_json:
        _print_end(manifest, destination)
    else:
        _tell_end(manifest, destination)


def _tell_stop(done: list[Progress], *, as_json: bool) -> None:
    """Print how many files are done and how to do the rest. Unfinished files are gone."""
    if as_json:
        known = {"files_done": done[0].files_done, "files": done[0].files} if done else {}
        typer.echo(json.dumps({"event": "stopped", **known}))
    files = f"{done[0].files_done:,} of {done[0].files:,} files are" if done else "nothing is"
    text = f"consentgate: stopped; {files} done. Give the same command again to do the rest."
    print(text, file=sys.stderr)


def _tell_end(manifest: Manifest, destination: str) -> None:
    totals = manifest.totals
    names = manifest.identity.reason_names.values()
    reasons = [
        (name, totals.counts.get(name, 0), totals.occurrences[name])
        for name in names
        if name in totals.occurrences
    ]
    print_summary(Summary(totals.rows, totals.excluded, reasons))
    folder = Folder.at(destination)  # which is shown without the keys that a URI can hold
    text = (
        f"{len(manifest.files):,} files are in {folder}; the evidence is {folder.shown(MANIFEST)}"
    )
    typer.echo(printable(f"\n{text}"))


def _print_end(manifest: Manifest, destination: str) -> None:
    fields = manifest.totals.model_dump(mode="json")
    end = {"event": "finished", "files": len(manifest.files), **fields}
    typer.echo(json.dumps({**end, "manifest": Folder.at(destination).shown(MANIFEST)}))
