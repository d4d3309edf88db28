"""The order of the code: its names, its docstrings, its pages, and who imports whom."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import re
import subprocess
import sys
import tomllib
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import consentgate as cg
from consentgate import adapters
from consentgate.adapters.engine import Engine, engine_of
from tests.modules import PATHS, ROOT, load, syntax
from tests.processes import HANGING_S

ORDER = [
    *("errors", "arguments", "reasons", "kernel", "arrow", "storage", "columns", "policy"),
    *("decision", "identity", "ledger", "index", "inputs", "judging", "coverage", "gate", "runs"),
    *("publishing", "adapters", "", "cli", "__main__"),
]
"""The folders and the modules beside them: each imports only from those before it."""

PUBLIC = [
    "AsOfError",
    "ChannelRegistry",
    "ColumnAmbiguousError",
    "ColumnExistsError",
    "ColumnMissingError",
    "ColumnTypeError",
    "Columns",
    "ConfigurationError",
    "ConsentGateError",
    "ConsentSnapshot",
    "ConservationError",
    "Coverage",
    "CoverageWarning",
    "DamagedGateError",
    "DatedInput",
    "Decision",
    "DestinationBusyError",
    "DuplicateRecordError",
    "Explanation",
    "ExtraMissingError",
    "ExtraOutdatedError",
    "FileError",
    "Finding",
    "ForeignGateError",
    "FutureSnapshotError",
    "Gate",
    "GateFileError",
    "GateIdentity",
    "GateRulesError",
    "GateStore",
    "IdFamilyError",
    "InputError",
    "LiveGate",
    "MalformedDataError",
    "Manifest",
    "ManifestError",
    "Mismatch",
    "NaiveTimestampError",
    "NewerEvidenceError",
    "NewerGateError",
    "NotArrowError",
    "NullValueError",
    "OutputError",
    "Policy",
    "PolicyError",
    "Progress",
    "Publication",
    "Reason",
    "RecordNotFoundError",
    "ReplacedGateError",
    "Rule",
    "RuleColumnMissingError",
    "RuleColumnTypeError",
    "RunIncompleteError",
    "SchemaMismatchError",
    "SnapshotError",
    "SourceChangedError",
    "SourceError",
    "StaleSnapshotError",
    "UnknownStatusError",
    "UnreadableFileError",
    "__version__",
    "audit",
    "run",
]
"""All that `consentgate` offers: whoever changes this list changes what users can rely on."""
ADAPTERS = {
    "datatrove": ["consent_filter", "filter"],
    "duckdb": ["filter"],
    "huggingface": ["filter"],
    "pandas": ["filter"],
    "polars": ["filter"],
    "torch": ["filter", "filter_by_index"],
}
"""All that the adapters offer."""
ARCHITECTURE = (ROOT.parents[1] / "docs" / "architecture.md").read_text(encoding="utf-8")
MOST_LINES = 600
# pandas is left out: pyarrow itself loads it, where it is installed, to look at Python lists.
LOADED_LATE = ("polars", "duckdb", "torch", "datasets", "datatrove", "typer", "rich", "sqlite3")
TESTS = sorted(Path(__file__).parent.rglob("*.py"))


def shown(path: Path) -> str:
    """A file's path below the project."""
    return path.relative_to(ROOT.parents[1]).as_posix()


def functions_and_classes(tree: ast.Module) -> set[str]:
    """The public functions and classes that a module defines at its top."""
    code = ast.FunctionDef | ast.ClassDef
    return {n.name for n in tree.body if isinstance(n, code) and not n.name.startswith("_")}


def assigned_names(tree: ast.Module) -> set[str]:
    """The constants and aliases that a module defines at its top."""
    targets = [t for node in tree.body if isinstance(node, ast.Assign) for t in node.targets]
    targets += [node.target for node in tree.body if isinstance(node, ast.AnnAssign)]
    return {target.id for target in targets if isinstance(target, ast.Name)}


def imports(name: str) -> set[str]:
    """The package's modules that a module imports, wherever in it."""
    found = set()
    for node in ast.walk(syntax(name)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            inner = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {m for m in inner if m.removeprefix("consentgate.") in PATHS} or {
                str(node.module)
            }
    package = {m for m in found if m == "consentgate" or m.startswith("consentgate.")}
    return {m.removeprefix("consentgate").removeprefix(".") for m in package}


def public_objects() -> Iterator[tuple[str, Any]]:
    """Every public name of the package that can have a docstring, and all it offers."""
    for name in PATHS:
        module = load(name)
        yield f"module {name}", module
        for word in sorted(functions_and_classes(syntax(name))):
            thing = getattr(module, word)
            if inspect.isfunction(thing) or inspect.isclass(thing):
                yield f"{name}.{word}", thing
            if inspect.isclass(thing):
                yield from public_members(f"{name}.{word}", thing)


def public_members(name: str, cls: type) -> Iterator[tuple[str, Any]]:
    """The methods and properties that a class defines itself under a public name."""
    for word, member in vars(cls).items():
        inner = getattr(member, "__func__", getattr(member, "func", member))
        is_code = inspect.isfunction(inner) or isinstance(member, property)
        if is_code and not word.startswith("_"):
            yield f"{name}.{word}", inner


@pytest.mark.parametrize("name", [name for name in PATHS if PATHS[name].name == "__init__.py"])
def test_a_folder_lists_what_it_offers(name: str) -> None:
    listed = load(name).__all__
    assert len(set(listed)) == len(listed)
    assert all(hasattr(load(name), word) for word in listed)


def test_this_is_all_that_is_public() -> None:
    assert sorted(cg.__all__) == PUBLIC
    assert list(adapters.__all__) == list(ADAPTERS)
    assert {name: getattr(adapters, name).__all__ for name in ADAPTERS} == ADAPTERS


def test_every_error_is_offered() -> None:
    tree = [cg.ConsentGateError]
    for cls in tree:
        tree += cls.__subclasses__()
    own = {cls.__name__ for cls in tree if cls.__module__ == "consentgate.errors"}
    assert own <= set(cg.__all__)
    assert own == {name for name in vars(cg.errors) if name.endswith("Error")}
    assert all(name in str(cg.errors.__doc__) for name in own)


@pytest.mark.parametrize(("name", "thing"), list(public_objects()))
def test_every_public_name_has_a_docstring(name: str, thing: Any) -> None:
    doc = vars(thing).get("__doc__") if inspect.isclass(thing) else thing.__doc__
    assert doc, name
    assert doc.strip().splitlines()[0].rstrip(), name


def test_no_file_is_too_long() -> None:
    lengths = {path: len(path.read_text().splitlines()) for path in [*TESTS, *PATHS.values()]}
    assert [shown(path) for path, lines in lengths.items() if lines > MOST_LINES] == []


def test_no_test_file_is_imported() -> None:
    """Nor by code that stands in a string and runs in a process of its own."""
    imported = re.compile(r"\btests(?:\.\w+)*\.test_\w+")
    assert [shown(path) for path in TESTS if imported.search(path.read_text())] == []


def test_no_helper_of_tests_is_there_twice() -> None:
    """Fixtures are left out: a file may replace one of its folder by one of the same name."""
    places = defaultdict(list)
    for path in TESTS:
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.FunctionDef | ast.ClassDef) and not is_fixture(node):
                places[ast.dump(node)].append(f"{shown(path)}: {node.name}")
    assert [found for found in places.values() if len(found) > 1] == []


def is_fixture(node: ast.FunctionDef | ast.ClassDef) -> bool:
    """Whether a definition is a fixture of pytest's."""
    return any("pytest.fixture" in ast.unparse(each) for each in node.decorator_list)


def folder_of(name: str) -> str:
    """The folder that a module is in; a module beside the folders is its own."""
    return name.partition(".")[0]


def test_everything_has_its_place_in_the_order() -> None:
    assert sorted(ORDER) == sorted({folder_of(name) for name in PATHS})


def sections_of_folders() -> dict[str, str]:
    """The section of the architecture page on each folder. The key of the root is empty."""
    chapter = ARCHITECTURE.partition("\n## 2. ")[2].partition("\n## 3. ")[0]
    sections: dict[str, str] = {}
    for section in chapter.split("\n### ")[1:]:
        heading, _, text = section.partition("\n")
        sections |= dict.fromkeys(re.findall(r"`(\w+)/`", heading) or [""], text)
    return sections


def test_the_architecture_page_names_every_module() -> None:
    sections = sections_of_folders()
    modules = [name for name in PATHS if PATHS[name].name != "__init__.py"]
    split = [name.rpartition(".") for name in modules]
    unnamed = [f"{f}.{module}" for f, _, module in split if f"`{module}`" not in sections[f]]
    assert unnamed == []


def test_every_module_that_the_architecture_page_names_is_there() -> None:
    for text in set(sections_of_folders().values()):
        folders = [folder for folder, own in sections_of_folders().items() if own == text]
        cells = re.findall(r"^\| (`[^|]*)\|", text, re.MULTILINE)
        named = set(re.findall(r"`(\w+)`", " ".join(cells)))
        there = {name.rpartition(".")[2] for name in PATHS if name.rpartition(".")[0] in folders}
        assert named, folders
        assert named - there == set()


@pytest.mark.parametrize("name", list(PATHS))
def test_imports_go_one_way(name: str) -> None:
    before = ORDER[: ORDER.index(folder_of(name))]
    others = {module for module in imports(name) if folder_of(module) != folder_of(name)}
    assert {folder_of(module) for module in others} <= set(before)


@pytest.mark.parametrize("name", list(PATHS))
def test_a_folder_is_used_through_what_it_offers(name: str) -> None:
    others = {module for module in imports(name) if folder_of(module) != folder_of(name)}
    assert {module for module in others if "." in module} == set()


@pytest.mark.parametrize("name", list(PATHS))
def test_no_two_modules_of_a_folder_need_each_other(name: str) -> None:
    seen: set[str] = set()
    ahead = [name]
    while ahead:
        for module in imports(ahead.pop()):
            if folder_of(module) == folder_of(name) and module not in seen:
                seen.add(module)
                ahead.append(module)
    assert name not in seen


@pytest.mark.parametrize("name", list(PATHS))
def test_records_are_frozen(name: str) -> None:
    module = load(name)
    classes = [c for c in vars(module).values() if inspect.isclass(c)]
    own = [c for c in classes if c.__module__ == module.__name__]
    records = [c for c in own if dataclasses.is_dataclass(c)]
    assert all(record.__dataclass_params__.frozen for record in records)  # type: ignore[attr-defined]


def loaded_after(code: str) -> set[str]:
    """Which engines a fresh process has loaded after running some code."""
    report = f"import sys; print(*(n for n in {LOADED_LATE} if n in sys.modules))"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", f"{code}\n{report}"],
        capture_output=True,
        text=True,
        check=False,
        timeout=HANGING_S,
        cwd=ROOT.parents[1],
    )
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


JUDGE = """
from tests.build import make_gate, message_table
gate = make_gate()
table = message_table(sender_id=[1, 2, None])
assert gate.decide(table).num_admitted == 1
admitted, excluded = gate.filter(table)
assert (admitted.num_rows, excluded.num_rows) == (1, 2)
assert gate.annotate(table).num_rows == 3
assert gate.stream([table]).read_all().num_rows == 1
"""


def test_engines_are_as_pyproject_says() -> None:
    project = tomllib.loads((ROOT.parents[1] / "pyproject.toml").read_text())["project"]
    asked = {None: project["dependencies"], **project["optional-dependencies"]}
    for extra, requirements in asked.items():
        for requirement in requirements:
            package, oldest = re.sub(r"\[.*\]", "", requirement).split(">=")
            assert engine_of(package) == Engine(package, oldest, extra)


def test_importing_loads_no_pandas() -> None:
    code = "import consentgate, sys; assert 'pandas' not in sys.modules"
    assert loaded_after(code) == set()


@pytest.mark.parametrize("code", ["import consentgate", JUDGE], ids=["importing", "judging"])
def test_no_engine_is_loaded_by(code: str) -> None:
    assert loaded_after(code) == set()


def test_an_engine_that_is_loaded_would_be_noticed() -> None:
    assert "sqlite3" in loaded_after("import consentgate, sqlite3")
