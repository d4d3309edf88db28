"""Write the files that a release leaves for later ones: `python -m tests.kept.make`, once for each.

They go into a folder of the release's version, beside this module, and are never written again.
`recorded.json` says what later releases have to find in them. The private key is thrown away.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path

import consentgate as cg
from tests.run_data import mixed_gate, mixed_messages, write_files
from tests.signing import write_keys

KEPT = Path(__file__).parent
NAMES = ["a.parquet", "day=1/b.parquet"]
RULES = [{"name": "quiet", "column": "word", "any_of": ["word 1"]}]


def stop(progress: cg.Progress) -> None:
    """End a run once it has done a file."""
    if progress.files_done:
        raise KeyboardInterrupt


def make(folder: Path) -> None:
    """Write everything into a folder, which is there and empty."""
    private, _ = write_keys(folder)
    write_files(folder / "source", NAMES, rows=40)
    gate = mixed_gate(record_rules=RULES)
    gate.save(folder / "kept.gate")
    manifest = cg.run(gate, folder / "source", folder / "run", sign_with=private)
    try:
        cg.run(gate, folder / "source", folder / "begun", threads=1, on_progress=stop)
    except KeyboardInterrupt:
        shutil.rmtree(folder / "begun" / "_consentgate" / "drafts", ignore_errors=True)
    decision = gate.decide(mixed_messages(40))
    gate.stream(mixed_messages(40), ledger=folder / "stream").read_all()
    private.unlink()
    recorded = {
        "gate_digest": gate.digest,
        "reason_names": gate.identity.reason_names,
        "admitted": decision.num_admitted,
        "run": manifest.totals.model_dump(mode="json"),
        "stream": {"counts": decision.counts, "occurrences": decision.occurrences},
    }
    (folder / "recorded.json").write_text(json.dumps(recorded, indent=2) + "\n")


def main() -> None:
    """Write the files of this release."""
    target = KEPT / cg.__version__
    if target.exists():
        raise SystemExit(f"{target} is there already, and stays as it is.")
    draft = Path(tempfile.gettempdir(), "kept")  # the path gets into the manifest
    draft.mkdir()
    make(draft)
    shutil.move(draft, target)
    size = sum(path.stat().st_size for path in target.rglob("*"))
    print(f"{target}: {size:,} bytes")


if __name__ == "__main__":
    main()
