"""Results as Markdown tables for people and as JSON for programs, without dates or paths."""

import json
import os
import platform
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

from benchmarks.outcome import Figure, Outcome, Timing
from benchmarks.process import cores

__all__ = ["Report"]

_PACKAGES = ("consentgate", "numpy", "pyarrow", "polars", "duckdb", "torch")
_BEGIN, _END = "<!-- results: begin -->", "<!-- results: end -->"


@dataclass(frozen=True)
class Report:
    """All outcomes of one run, and the machine and versions it ran on."""

    name: str
    environment: Mapping[str, str]
    outcomes: Sequence[Outcome]

    @classmethod
    def of_this_machine(cls, name: str, outcomes: Sequence[Outcome]) -> "Report":
        """The outcomes of a run that has just ended here."""
        return cls(name, _environment(), outcomes)

    def save(self, directory: Path) -> None:
        """Write `<name>.json` and `<name>.md`."""
        directory.mkdir(parents=True, exist_ok=True)
        (directory / f"{self.name}.json").write_text(self.as_json(), encoding="utf-8")
        (directory / f"{self.name}.md").write_text(self.as_markdown(), encoding="utf-8")

    def insert_into(self, page: Path) -> None:
        """Replace the text between the page's markers by the tables."""
        text = page.read_text(encoding="utf-8")
        before, after = text[: text.index(_BEGIN)], text[text.index(_END) :]
        page.write_text(f"{before}{_BEGIN}\n\n{self.as_markdown()}\n{after}", encoding="utf-8")

    def as_json(self) -> str:
        """The seconds of every run, and the figures computed from them; one outcome per line."""
        environment = json.dumps(dict(self.environment), ensure_ascii=False)
        lines = [json.dumps(_plain(outcome), ensure_ascii=False) for outcome in self.outcomes]
        outcomes = ",\n".join(lines)
        return f'{{"environment": {environment},\n"outcomes": [\n{outcomes}\n]}}\n'

    def as_markdown(self) -> str:
        """A table of all figures with their targets, and then the table of each contest."""
        machine = "; ".join(f"{key} {value}" for key, value in self.environment.items())
        figures = [figure for outcome in self.outcomes for figure in outcome.figures]
        parts = [f"{machine}.", _figures_table(figures)]
        for outcome in self.outcomes:
            parts += [f"### {outcome.title}", outcome.setting]
            parts += [*_timings_table(outcome.timings), *_measures_list(outcome)]
        return "\n\n".join(parts) + "\n"


def _plain(outcome: Outcome) -> dict[str, object]:
    timings = [
        {
            **asdict(timing),
            "seconds": [round(seconds, 7) for seconds in timing.seconds],
            "median_s": round(timing.median_s, 7),
            "spread_s": round(timing.spread_s, 7),
        }
        for timing in outcome.timings
    ]
    figures = [{**asdict(figure), "is_met": figure.is_met} for figure in outcome.figures]
    return {**asdict(outcome), "timings": timings, "figures": figures}


def _environment() -> dict[str, str]:
    return {
        "CPU": _cpu_model(),
        "cores": str(cores()),
        "memory": f"{_memory_gib():.0f} GiB",
        "system": f"{platform.system()} {platform.machine()}",
        "Python": platform.python_version(),
        **{package: version(package) for package in _PACKAGES},
    }


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:  # only Linux has it
        lines = []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.processor()


def _memory_gib() -> float:
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30


def _figures_table(figures: Iterable[Figure]) -> str:
    rows = [
        (figure.name, f"{_number(figure.value)} {figure.unit}", _target(figure), _verdict(figure))
        for figure in figures
    ]
    return _table(("figure", "measured", "target", "met"), rows)


def _target(figure: Figure) -> str:
    if figure.target is None:
        return ""
    return f"{figure.bound} {_number(figure.target)} {figure.unit}"


def _verdict(figure: Figure) -> str:
    return {None: "", True: "yes", False: "no"}[figure.is_met]


def _timings_table(timings: Sequence[Timing]) -> Iterator[str]:
    if timings:
        head = (
            "contestant",
            "runs",
            "median, ms",
            "spread, ms",
            "M rows/s",
            "ns a row",
            "gate = 1",
        )
        yield _table(head, [_timing_row(timing, timings[0]) for timing in timings])


def _timing_row(timing: Timing, first: Timing) -> tuple[str, ...]:
    return (
        timing.contestant,
        str(len(timing.seconds)),
        _number(timing.median_s * 1e3),
        _number(timing.spread_s * 1e3) if len(timing.seconds) > 1 else "",
        _number(1e3 / timing.ns_per_row),
        _number(timing.ns_per_row),
        f"{timing.ns_per_row / first.ns_per_row:.2f}",
    )


def _measures_list(outcome: Outcome) -> Iterator[str]:
    if outcome.measures:
        yield "\n".join(
            f"- {measure.name}: {_number(measure.value)} {measure.unit}"
            for measure in outcome.measures
        )


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    rule = ["---", *["---:"] * (len(head) - 1)]
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, rule, *rows))


def _number(value: float) -> str:
    """The number with three significant digits, or with all digits before the decimal point."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}" if abs(value) < 10 else f"{value:.1f}"
