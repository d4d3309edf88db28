"""`python -m benchmarks`: run the contests, print their tables and save them."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.contests import CONTESTS
from benchmarks.guard import guard
from benchmarks.outcome import Outcome
from benchmarks.report import Report
from benchmarks.sizes import FULL, SMALL, Plan

_HERE = Path(__file__).parent
_PLANS = {plan.name: plan for plan in (SMALL, FULL)}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what the arguments ask for.

    Returns:
        The exit status: 0 if all contests ended without an error, whether or not targets are met,
        and if the guard is satisfied; otherwise 1.
    """
    options = _parse(arguments)
    if options.command == "guard":
        return 0 if guard() else 1
    plan = _PLANS[options.size]
    outcomes, failures = _run(plan, options.only)
    is_whole = set(options.only) == set(CONTESTS) and not failures
    name = plan.name if is_whole else "-".join([plan.name, *options.only])
    report = Report.of_this_machine(name, outcomes)
    print(report.as_markdown())
    report.save(options.save)
    if plan is FULL and is_whole:
        report.insert_into(_HERE / "README.md")
    for name in failures:
        print(f"The contest '{name}' failed; see above.", file=sys.stderr)
    return 1 if failures else 0


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "command",
        nargs="?",
        choices=("run", "guard"),
        default="run",
        help="run the contests (default), or only check that the gate still beats the engines",
    )
    parser.add_argument(
        "--size", choices=tuple(_PLANS), default=SMALL.name, help="see benchmarks/sizes.py"
    )
    parser.add_argument(
        "--only",
        type=_names,
        default=tuple(CONTESTS),
        metavar="NAME,…",
        help=f"some of {', '.join(CONTESTS)}",
    )
    parser.add_argument(
        "--save",
        type=Path,
        default=_HERE / "results",
        metavar="DIRECTORY",
        help="where to save results (default: benchmarks/results)",
    )
    return parser.parse_args(arguments)


def _names(text: str) -> tuple[str, ...]:
    names = tuple(text.split(","))
    if unknown := set(names) - set(CONTESTS):
        raise argparse.ArgumentTypeError(f"no such contest: {', '.join(sorted(unknown))}")
    return names


def _run(plan: Plan, names: Sequence[str]) -> tuple[list[Outcome], list[str]]:
    """All outcomes, and the names of the contests that failed."""
    outcomes: list[Outcome] = []
    failures: list[str] = []
    for name in names:
        print(f"{name}:", file=sys.stderr, flush=True)
        try:
            outcomes.extend(CONTESTS[name](plan))
        except Exception as error:  # one broken contest must not cost the others' results
            failures.append(name)
            print(f"  {type(error).__name__}: {error}", file=sys.stderr, flush=True)
    return outcomes, failures


if __name__ == "__main__":
    sys.exit(main())
