"""Put small faults into the judging path, one at a time, and check that a test fails for each."""

from __future__ import annotations

import argparse
import difflib
import hashlib
import sys
import tomllib
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue
from tempfile import TemporaryDirectory

from tests.mutation.checkout import PROJECT, Checkout, Fate, Outcome
from tests.mutation.mutants import Mutant, mutants_of

SOURCE = PROJECT / "src" / "consentgate"
EQUIVALENT = Path(__file__).with_name("equivalent.toml")
TESTS = [
    *("arrow/layouts", "arrow/instants", "arrow/values", "arrow/threads", "inputs/inputs"),
    *("judging/not_yet", "index/packed_instants", "index/index"),
    *("judging/consent", "judging/instants", "judging/channels", "judging/subjects"),
    *("judging/rules", "judging/ids", "judging/reasons", "judging/dictionaries", "arrow/rows"),
    *("inputs/snapshot", "arguments", "columns", "gate", "judging/explanation", "gate_streams"),
    *("gate_processes", "judging/gate_file", "judging/forged_gates", "judging/stream"),
    *("judging/nulls", "arrow/validation", "inputs/bad_input", "arrow/list_views"),
    *("inputs/empty_cells", "inputs/mapped_columns", "inputs/time_zones", "inputs/all_faults"),
    *("kernel/fingerprints", "kernel/malformed"),
    *("judging/against_reference", "leaks", "judging/properties"),
]
"""The names of the test files for the judging path, with the fastest first."""
MODULES = {
    "arrow/buffers": ["kernel/malformed", "arrow/layouts", "judging/nulls"],
    "arrow/instants": ["arrow/instants", "judging/nulls", "judging/instants"],
    "arrow/layouts": ["arrow/layouts", "judging/channels", "judging/subjects", "judging/ids"],
    "arrow/lists": ["arrow/layouts", "judging/subjects"],
    "arrow/rows": ["arrow/rows"],
    "arrow/schemas": ["arrow/layouts", "arrow/validation"],
    "arrow/streams": ["arrow/layouts", "arrow/validation", "gate_streams"],
    "arrow/threads": ["arrow/threads", "gate", "index/index"],
    "arrow/validation": ["arrow/layouts", "arrow/validation"],
    "arrow/values": ["arrow/layouts", "arrow/values", "judging/nulls", "judging/rules"],
    "decision": ["gate", "judging/reasons", "inputs/inputs"],
    "gate": ["gate", "arrow/threads", "gate_streams"],
    "index/hasher": ["index/index"],
    "index/ids": ["index/index", "judging/ids", "kernel/malformed"],
    "index/index": ["index/index"],
    "index/memory": ["index/index"],
    "index/packed_instants": ["index/packed_instants", "judging/instants"],
    "index/secret": ["kernel/fingerprints", "judging/gate_file"],
    "inputs/arguments": ["inputs/mapped_columns", "inputs/empty_cells", "inputs/snapshot"],
    "inputs/cells": ["inputs/all_faults", "inputs/time_zones", "inputs/snapshot"],
    "inputs/channels": ["inputs/inputs", "inputs/snapshot", "inputs/all_faults"],
    "inputs/digest": ["inputs/snapshot"],
    "inputs/faults": ["inputs/all_faults"],
    "inputs/given": ["inputs/all_faults", "inputs/mapped_columns", "inputs/snapshot"],
    "inputs/snapshot": ["inputs/inputs", "inputs/snapshot", "inputs/all_faults"],
    "inputs/tables": ["inputs/snapshot"],
    "inputs/words": ["inputs/empty_cells", "inputs/snapshot"],
    "judging/channel_facts": ["judging/channels", "judging/instants", "judging/not_yet"],
    "judging/consent_facts": [
        *("judging/consent", "judging/instants", "judging/rules", "judging/not_yet"),
        "runs/instant",
    ],
    "judging/facts": ["judging/consent", "judging/instants", "judging/ids", "index/index"],
    "judging/gate_description": ["judging/forged_gates", "judging/gate_file"],
    "judging/gate_file": ["judging/gate_file", "judging/forged_gates"],
    "judging/judgement": [
        *("judging/consent", "judging/instants", "judging/subjects", "judging/channels"),
        *("inputs/inputs", "judging/not_yet"),
    ],
    "judging/lookup": ["judging/dictionaries", "judging/ids", "judging/subjects"],
    "judging/messages": [
        *("judging/subjects", "judging/dictionaries", "judging/instants", "judging/nulls"),
        "kernel/malformed",
    ],
    "judging/reason_bits": ["judging/reasons", "judging/consent", "judging/subjects"],
    "judging/rules": ["judging/rules", "judging/nulls"],
    "reasons": ["judging/reasons", "gate", "semantics"],
    "storage/digests": ["inputs/snapshot"],
    "storage/sections": ["judging/gate_file", "judging/forged_gates"],
}
"""Each module between Arrow data and the decision, with the tests most likely to notice a fault."""
FUNCTIONS = {
    "gate": [
        *("__init__", "decide", "filter", "split", "annotate", "_checked", "_now", "_check_age"),
        *("_check_reached", "_check_registry", "_blocks"),
    ],
}
"""For modules of which only some functions judge, the names of these functions."""


class StaleListError(Exception):
    """The list of equivalent mutants is out of date."""


def main() -> int:
    """Test the mutants asked for.

    Returns:
        0 if every mutant was killed or is listed as equivalent, else 1.
    """
    options = _parser().parse_args()
    mutants = every_mutant()
    known = read_equivalent(EQUIVALENT, mutants)
    chosen = choose(mutants, options.module, options.only, options.sample, options.seed)
    if not chosen:
        raise SystemExit("There is no such mutant; --list prints all of them.")
    if options.list:
        for mutant in chosen:
            print(f"{mutant.id}\n    line {mutant.line}: {mutant.change}")
        return 0
    wanted = [m for m in chosen if options.only or m.id not in known]
    fates = dict.fromkeys(chosen, Fate.EQUIVALENT) | dict(_test_all(wanted, options.jobs))
    _print_summary(fates)
    return 1 if Fate.SURVIVED in fates.values() else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.mutation", description=__doc__)
    parser.add_argument("--sample", type=int, metavar="N", help="how many to test (default: all)")
    parser.add_argument("--seed", type=int, default=0, help="the seed for the draw (default: 0)")
    parser.add_argument("--module", action="append", choices=MODULES, help="only of this module")
    parser.add_argument(
        "--only", action="append", metavar="ID", help="only this mutant, even if it is equivalent"
    )
    parser.add_argument("--jobs", type=int, choices=(1, 2), default=1, help="how many at a time")
    parser.add_argument("--list", action="store_true", help="print the mutants and test nothing")
    return parser


def every_mutant() -> list[Mutant]:
    """The mutants of all modules."""
    return [mutant for module in MODULES for mutant in _mutants_of(module)]


def _mutants_of(module: str) -> list[Mutant]:
    source = (SOURCE / f"{module}.py").read_text(encoding="utf-8")
    return mutants_of(module, source, FUNCTIONS.get(module, ()))


def read_equivalent(path: Path, mutants: Sequence[Mutant]) -> dict[str, str]:
    """The reasons why mutants are equivalent, by the ids of the mutants.

    Raises:
        StaleListError: A listed mutant does not exist, changes something else, or has no reason.
    """
    changes = {mutant.id: mutant.change for mutant in mutants}
    entries = tomllib.loads(path.read_text(encoding="utf-8")).get("mutant", [])
    wrong = [e["id"] for e in entries if changes.get(e["id"]) != e["change"] or not e["reason"]]
    if wrong:
        raise StaleListError(
            f"{path.name} lists {len(wrong)} mutants that are no longer there, that change "
            f"something else, or that have no reason: {', '.join(wrong)}. Remove or correct them."
        )
    return {entry["id"]: entry["reason"] for entry in entries}


def choose(
    mutants: Sequence[Mutant],
    modules: Sequence[str] | None = None,
    ids: Sequence[str] | None = None,
    sample: int | None = None,
    seed: int = 0,
) -> list[Mutant]:
    """The mutants of some modules or with some ids, or a sample of these.

    Whether a mutant is drawn depends only on its id and the seed. So a small change to the code
    changes few mutants of a sample.
    """
    chosen = [m for m in mutants if not modules or m.module in modules]
    chosen = [m for m in chosen if not ids or m.id in ids]
    chosen.sort(key=lambda m: hashlib.sha256(f"{seed} {m.id}".encode()).digest())
    return chosen[:sample]


def _test_all(mutants: Sequence[Mutant], jobs: int) -> Iterator[tuple[Mutant, Fate]]:
    """Test each mutant, and print what became of it."""
    with TemporaryDirectory(prefix="consentgate-mutation-") as folder:
        checkouts: SimpleQueue[Checkout] = SimpleQueue()
        for job in range(min(jobs, len(mutants))):
            path = Path(folder) / str(job)
            path.mkdir()
            checkouts.put(Checkout(path))
        timeout_s = _time_unchanged(checkouts) if mutants else 0.0

        def test(mutant: Mutant) -> Outcome:
            checkout = checkouts.get()
            try:
                tests = files_for(mutant.module)
                return checkout.test(mutant.module, mutant.after, tests, timeout_s=timeout_s)
            finally:
                checkouts.put(checkout)

        with ThreadPoolExecutor(max(1, jobs)) as pool:
            for mutant, outcome in zip(mutants, pool.map(test, mutants), strict=True):
                _print_outcome(mutant, outcome)
                yield mutant, outcome.fate


def files_for(module: str) -> list[str]:
    """The test files for a module, with those first that most likely notice a fault in it."""
    names = dict.fromkeys([*MODULES[module], *TESTS])
    paths = [Path("tests", name) for name in names]
    return [str(path.with_name(f"test_{path.name}.py")) for path in paths]


def _time_unchanged(checkouts: SimpleQueue[Checkout]) -> float:
    """Check that the tests pass without a mutant.

    Returns:
        The seconds that the tests of a mutant may take.
    """
    checkout = checkouts.get()
    if not checkout.imported_from().is_relative_to(checkout.folder):
        raise SystemExit("The tests do not import the copy of the package; check the environment.")
    code = _mutants_of("index/index")[0].before
    outcome = checkout.test("index/index", code, files_for("index/index"), timeout_s=1_800)
    if outcome.fate is not Fate.SURVIVED:
        raise SystemExit(f"The tests fail without a mutant:\n{outcome.output}")
    print(f"The tests pass without a mutant, in {outcome.seconds:.0f} s.", flush=True)
    checkouts.put(checkout)
    return 3 * outcome.seconds + 60


def _print_outcome(mutant: Mutant, outcome: Outcome) -> None:
    print(f"{outcome.fate.upper():10} {outcome.seconds:5.1f} s  {mutant.id}  {mutant.change}")
    if outcome.fate is Fate.SURVIVED:
        before, after = mutant.before.splitlines(), mutant.after.splitlines()
        name = f"{mutant.module}.py, line {mutant.line}"
        lines = difflib.unified_diff(before, after, name, "mutant", lineterm="", n=2)
        print("\n".join(lines))
    sys.stdout.flush()


def _print_summary(fates: Mapping[Mutant, Fate]) -> None:
    by_module: defaultdict[str, Counter[Fate]] = defaultdict(Counter)
    for mutant, fate in fates.items():
        by_module[mutant.module][fate] += 1
        by_module["all"][fate] += 1
    print(f"\n{'':14}" + "".join(f"{fate.value:>20}" for fate in Fate))
    for module in sorted(by_module, key=lambda name: (name == "all", name)):
        print(f"{module:14}" + "".join(f"{by_module[module][fate]:20}" for fate in Fate))


if __name__ == "__main__":
    sys.exit(main())
