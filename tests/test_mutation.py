"""The mutation run makes faults that matter, knows them again, and finds which are noticed."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.mutation import checkout as checkout_module
from tests.mutation.__main__ import (
    EQUIVALENT,
    MODULES,
    StaleListError,
    choose,
    every_mutant,
    files_for,
    read_equivalent,
)
from tests.mutation.checkout import PROJECT, Checkout, Fate
from tests.mutation.mutants import mutants_of

SOURCE = '''
"""A module."""
import math

__all__ = ["judge"]

LIMIT: int = 10


def judge(rows: list[int], bits: int = 0, *, names: tuple[str, ...] = ("a",)) -> int:
    """A function."""
    assert rows is not None
    bits |= LIMIT
    if len(rows) <= 5 and not bits:
        raise ValueError(f"{len(rows)} rows, and 'words'")
    total = -(-sum(rows) // 2)
    total = pow(total, 2)
    for row in rows:
        if row == 3:
            continue
        total += row & ~1
    print(max(rows[1:], default=0), total)
    return total if "a" in names else min(r for r in rows if r > 1)
'''

CHANGES = {
    ("constant", "10 -> 11"),
    ("constant", "10 -> 9"),
    ("constant", "0 -> 1"),
    ("constant", "'a' -> 'mutated'"),
    ("assignment", "bits |= LIMIT -> bits = LIMIT"),
    ("operator", "bits |= LIMIT -> bits &= LIMIT"),
    ("removed", "bits |= LIMIT -> pass"),
    ("boolean", "len(rows) <= 5 and (not bits) -> len(rows) <= 5 or not bits"),
    ("comparison", "len(rows) <= 5 -> len(rows) < 5"),
    ("comparison", "len(rows) <= 5 -> len(rows) > 5"),
    ("constant", "5 -> 4"),
    ("operator", "not bits -> bits"),
    ("condition", "if len(rows) <= 5 and (not bits): -> if True:"),
    ("condition", "if len(rows) <= 5 and (not bits): -> if False:"),
    ("rounding", "-(-sum(rows) // 2) -> sum(rows) // 2"),
    ("rounding", "-sum(rows) // 2 -> -(--sum(rows) // 2)"),
    ("removed", "total = pow(total, 2) -> pass"),
    ("arguments", "pow(total, 2) -> pow(2, total)"),
    ("comparison", "row == 3 -> row != 3"),
    ("removed", "continue -> break"),
    ("operator", "row & ~1 -> row | ~1"),
    ("rounding", "max -> min"),
    ("slice", "1: -> :"),
    ("arguments", "max(rows[1:], default=0) -> max(rows[1:])"),
    ("comparison", "'a' in names -> 'a' not in names"),
    ("condition", " for r in rows if r > 1 ->  for r in rows"),
}


def test_every_kind_of_fault_is_made() -> None:
    mutants = mutants_of("thing", SOURCE)
    made = {(mutant.kind, mutant.change) for mutant in mutants}
    assert made >= CHANGES
    constants = [change for kind, change in made if kind == "constant"]
    assert not [change for change in constants if "words" in change or "judge" in change]
    assert not [mutant for mutant in mutants if mutant.statement.startswith("assert")]


def test_every_mutant_is_code_with_one_fault_under_a_name_of_its_own() -> None:
    mutants = mutants_of("thing", SOURCE)
    before = mutants[0].before
    for mutant in mutants:
        compile(mutant.after, "thing.py", "exec")
        assert mutant.before == before
    assert len({mutant.after for mutant in mutants}) == len({m.id for m in mutants}) == len(mutants)
    assert before not in {mutant.after for mutant in mutants}


def test_a_mutants_name_outlives_edits_elsewhere() -> None:
    names = {mutant.id for mutant in mutants_of("thing", SOURCE)}
    moved = SOURCE.replace(
        "LIMIT: int", "def more() -> int:\n    return 7  # so many\n\n\nLIMIT: int"
    )
    assert names < {mutant.id for mutant in mutants_of("thing", moved)}
    edited = SOURCE.replace("if row == 3", "if row == 4")
    gone = names - {mutant.id for mutant in mutants_of("thing", edited)}
    assert {name.rpartition(":")[0] for name in gone} == {
        f"thing:judge:{kind}" for kind in ("condition", "comparison", "constant")
    }


def test_some_functions_can_be_asked_for() -> None:
    assert {mutant.place for mutant in mutants_of("thing", SOURCE, ["judge"])} == {"judge"}
    assert mutants_of("thing", SOURCE, ["other"]) == []


def test_a_sample_depends_on_its_seed_and_hardly_on_other_mutants() -> None:
    mutants = mutants_of("thing", SOURCE)
    drawn = choose(mutants, sample=10, seed=1)
    assert drawn == choose(mutants[::-1], sample=10, seed=1)
    assert drawn != choose(mutants, sample=10, seed=2)
    assert drawn[1:] == choose([m for m in mutants if m != drawn[0]], sample=9, seed=1)
    assert choose(mutants, ids=[drawn[3].id]) == [drawn[3]]
    assert choose(mutants, modules=["other"]) == []


def test_the_list_of_equivalent_mutants_is_not_stale() -> None:
    mutants = every_mutant()
    assert len({mutant.id for mutant in mutants}) == len(mutants)
    assert read_equivalent(EQUIVALENT, mutants)


@pytest.mark.parametrize(
    ("wrong", "right"), [("id", "thing::nothing:0"), ("change", "9 -> 10"), ("reason", "")]
)
def test_an_equivalent_mutant_that_is_gone_or_has_no_reason_is_an_error(
    wrong: str, right: str, tmp_path: Path
) -> None:
    mutants = mutants_of("thing", SOURCE)
    entry = {"id": mutants[0].id, "change": mutants[0].change, "reason": "because"}
    path = tmp_path / "equivalent.toml"
    write_entry(path, entry)
    assert read_equivalent(path, mutants) == {mutants[0].id: "because"}
    write_entry(path, entry | {wrong: right})
    with pytest.raises(StaleListError, match="lists 1 mutants that are no longer there"):
        read_equivalent(path, mutants)


def write_entry(path: Path, entry: dict[str, str]) -> None:
    """Write a list of one mutant."""
    lines = [f'{name} = "{value}"' for name, value in entry.items()]
    path.write_text("\n".join(["[[mutant]]", *lines]))


def test_every_test_that_is_run_is_there() -> None:
    assert all((PROJECT / name).is_file() for module in MODULES for name in files_for(module))


def test_faults_are_killed_or_survive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a project of one module and one test."""
    project, copy = tmp_path / "project", tmp_path / "copy"
    package, tests = project / "src" / "consentgate", project / "tests"
    for folder in (package, tests, copy):
        folder.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "thing.py").write_text("def double(n):\n    return n + n\n")
    (tests / "conftest.py").write_text(
        "from hypothesis import settings\nsettings.register_profile('mutation')\n"
    )
    (tests / "test_thing.py").write_text(
        "from consentgate.thing import double\ndef test_it(): assert double(2) == 4\n"
    )
    (project / "pyproject.toml").write_text("")
    (project / "docs").mkdir()
    monkeypatch.setattr(checkout_module, "PROJECT", project)
    checkout = Checkout(copy)
    assert checkout.imported_from() == copy / "src" / "consentgate" / "__init__.py"
    codes = {
        "def double(n):\n    return n * n\n": Fate.SURVIVED,
        "def double(n):\n    return n - n\n": Fate.KILLED,
        "def double(n):\n    return n * 2\n": Fate.SURVIVED,
        "def double(n):\n    while n: pass\n": Fate.HUNG,
    }
    for code, fate in codes.items():
        limit_s = 2 if fate is Fate.HUNG else 60
        outcome = checkout.test("thing", code, ["tests/test_thing.py"], timeout_s=limit_s)
        assert outcome.fate is fate, outcome.output
    assert (package / "thing.py").read_text() == "def double(n):\n    return n + n\n"
    assert (copy / "src/consentgate/thing.py").read_text() == (package / "thing.py").read_text()
