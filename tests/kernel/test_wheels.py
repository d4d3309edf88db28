"""What is in wheels, and that they work where there is no compiler.

The wheel of this machine is built for these tests. `make wheels` builds those of all platforms, and
names their folder in CONSENTGATE_WHEELS.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import sysconfig
import tarfile
import venv
from collections.abc import Iterator
from pathlib import Path
from zipfile import ZipFile

import lief
import pytest

from consentgate.kernel import building
from tests.kernel.wheels import ROOT, build_sdist, build_wheel

BUILT = os.environ.get("CONSENTGATE_WHEELS", "")
PLATFORMS = list(building.PLATFORMS) if BUILT else [""]
HERE = next(p for p in PLATFORMS if p in ("", "manylinux_2_17_x86_64.manylinux2014_x86_64"))
GLIBC = (2, 17)
MACHINES = {
    "x86_64": ("X86_64", "X86_64", "AMD64"),
    "aarch64": ("AARCH64", "ARM64", "ARM64"),
}
# The linker's own, in every library for macOS.
MAC_EXPORTS = {"__mh_dylib_header", "___dso_handle"}


@pytest.fixture(scope="session", params=PLATFORMS, ids=lambda name: name.partition(".")[0] or None)
def platform(request: pytest.FixtureRequest) -> str:
    """A platform that there is a wheel of. The empty one is this machine."""
    return str(request.param)


@pytest.fixture(scope="session")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The wheel of each platform."""
    if not BUILT:
        folder = tmp_path_factory.mktemp("wheel")
        bare = tmp_path_factory.mktemp("bare")
        return {"": build_wheel(folder, PATH=str(bare), CC="")}
    return {path.stem.split("-none-")[1]: path for path in Path(BUILT).glob("*.whl")}


@pytest.fixture(scope="session")
def libraries(
    wheels: dict[str, Path], platform: str, tmp_path_factory: pytest.TempPathFactory
) -> list[Path]:
    """The libraries in a wheel."""
    folder = tmp_path_factory.mktemp("libraries")
    with ZipFile(wheels[platform]) as wheel:
        inside = [n for n in wheel.namelist() if Path(n).suffix in (".so", ".dylib", ".dll")]
        return [Path(wheel.extract(name, folder)) for name in inside]


def declared() -> set[str]:
    """The functions that the headers declare for Python."""
    headers = "".join(path.read_text() for path in building.FOLDER.glob("*.h"))
    return set(re.findall(r"^CG_EXPORT [^;(]*?(\w+)\(", headers, re.MULTILINE))


def exported(path: Path) -> set[str]:
    """The functions that a library exports."""
    library = parsed(path)
    if isinstance(library, lief.PE.Binary):
        exports = library.get_export()
        assert exports is not None
        return {str(entry.name) for entry in exports.entries}
    names = {str(function.name) for function in library.exported_functions}
    if isinstance(library, lief.MachO.Binary):
        return {name.removeprefix("_") for name in names - MAC_EXPORTS}
    return names


def parsed(path: Path) -> lief.ELF.Binary | lief.MachO.Binary | lief.PE.Binary:
    """A library in the format of its system."""
    if path.suffix == ".dylib":
        fat = lief.MachO.parse(path)
        assert fat is not None and fat.size == 1
        mac = fat.at(0)
        assert mac is not None
        return mac
    library = lief.PE.parse(path) if path.suffix == ".dll" else lief.ELF.parse(path)
    assert library is not None
    return library


def test_every_platform_has_one_wheel(wheels: dict[str, Path]) -> None:
    assert sorted(wheels) == sorted(PLATFORMS)


def test_a_wheel_names_its_platform(wheels: dict[str, Path], platform: str) -> None:
    with ZipFile(wheels[platform]) as wheel:
        [name] = [n for n in wheel.namelist() if n.endswith(".dist-info/WHEEL")]
        lines = wheel.read(name).decode().splitlines()
    tags = wheels[platform].stem.split("-", 2)[2]
    own = tags.removeprefix("py3-none-")
    assert own == platform or not platform
    assert {line for line in lines if line.startswith("Tag: ")} == {
        f"Tag: py3-none-{each}" for each in own.split(".")
    }
    assert "Root-Is-Purelib: false" in lines


def test_a_wheel_holds_libraries_and_nothing_to_make_them(
    wheels: dict[str, Path], platform: str
) -> None:
    with ZipFile(wheels[platform]) as wheel:
        inside = [Path(name) for name in wheel.namelist()]
    kernel = {path.name for path in inside if path.parent.name == "kernel"}
    modules = {path.name for path in building.FOLDER.glob("*.py")} - {"building.py"}
    names = {building.library_name(v, platform) for v in building.variants(platform)}
    assert kernel == modules | names
    assert {path.suffix for path in inside if path.parts[0] == "consentgate"} <= {
        *(".py", ".typed", ".json", ".so", ".dylib", ".dll"),
    }


def test_a_library_is_made_for_the_processor(libraries: list[Path], platform: str) -> None:
    triple = building.PLATFORMS[platform or next(iter(building.PLATFORMS))]
    elf, mac, windows = MACHINES[triple.partition("-")[0]]
    for path in libraries:
        library = parsed(path)
        if isinstance(library, lief.ELF.Binary):
            assert library.header.machine_type.name == elf
        elif isinstance(library, lief.MachO.Binary):
            assert library.header.cpu_type.name == mac
            # macOS kills processes that load unsigned code for this processor.
            assert library.has_code_signature or mac != "ARM64"
        else:
            assert library.header.machine.name == windows


def test_a_library_exports_what_the_headers_declare(libraries: list[Path]) -> None:
    assert {name.startswith("cg_") for name in declared()} == {True}
    for path in libraries:
        assert exported(path) == declared()


def needed(path: Path) -> set[str]:
    """The libraries that a library needs."""
    library = parsed(path)
    if isinstance(library, lief.PE.Binary):
        return {str(entry.name) for entry in library.imports}
    if isinstance(library, lief.ELF.Binary):
        return {str(name) for name in library.libraries}
    return {str(entry.name) for entry in library.libraries} - {path.name}


def test_a_library_needs_the_system_only(libraries: list[Path]) -> None:
    system = re.compile(
        r"libc\.so\.6|libc\.so|/usr/lib/libSystem\.B\.dylib|KERNEL32\.dll|api-ms-win-crt-.*\.dll"
    )
    for path in libraries:
        assert {name for name in needed(path) if not system.fullmatch(name)} == set()


def glibc_versions(path: Path) -> Iterator[tuple[int, ...]]:
    """The versions of glibc's symbols that a library for Linux needs."""
    library = parsed(path)
    assert isinstance(library, lief.ELF.Binary)
    for requirement in library.symbols_version_requirement:
        for symbol in requirement.get_auxiliary_symbols():
            yield tuple(int(n) for n in str(symbol.name).removeprefix("GLIBC_").split("."))


def test_a_library_loads_on_the_oldest_system(libraries: list[Path], platform: str) -> None:
    for path in libraries:
        library = parsed(path)
        if isinstance(library, lief.MachO.Binary):
            assert library.build_version is not None
            assert list(library.build_version.minos) == [12, 0, 0]
        elif platform.startswith("manylinux"):
            assert max(glibc_versions(path), default=GLIBC) <= GLIBC
        elif platform.startswith("musllinux"):
            assert list(glibc_versions(path)) == []


JUDGE = """
import sys
import consentgate as cg
from consentgate.kernel import kernel
from tests.build import make_gate, message_table
assert cg.__file__.startswith(sys.prefix), cg.__file__
assert kernel._name.startswith(sys.prefix)
gate = make_gate()
table = message_table(sender_id=[1, 2, None])
admitted, excluded = gate.filter(table)
assert (admitted.num_rows, excluded.num_rows) == (1, 2)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="the paths in a venv are those of POSIX")
def test_a_wheel_works_without_a_compiler(wheels: dict[str, Path], tmp_path: Path) -> None:
    """The other packages come from the environment of the tests."""
    venv.create(tmp_path / "venv")
    python = tmp_path / "venv" / "bin" / "python"
    [site] = (tmp_path / "venv" / "lib").glob("python*/site-packages")
    (site / "others.pth").write_text(sysconfig.get_path("purelib"))
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", str(python)]
    install = [*pip, "install", "--quiet", "--no-deps", "--no-index", str(wheels[HERE])]
    subprocess.run(install, check=True, env=os.environ | {"PYTHONPATH": ""})
    bare = {"PATH": str(tmp_path), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [python, "-c", JUDGE], cwd=ROOT, env=bare, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_a_source_distribution_makes_the_same_wheel(
    wheels: dict[str, Path], tmp_path: Path
) -> None:
    with tarfile.open(build_sdist(tmp_path)) as sdist:
        sdist.extractall(tmp_path, filter="data")
    [source] = [path for path in tmp_path.iterdir() if path.is_dir()]
    (tmp_path / "wheel").mkdir()
    again = build_wheel(tmp_path / "wheel", HERE, source, CC="")
    with ZipFile(again) as wheel, ZipFile(wheels[HERE]) as first:
        assert sorted(wheel.namelist()) == sorted(first.namelist())
        libraries = [n for n in first.namelist() if "/kernel-" in n]
        assert libraries
        assert [wheel.read(n) for n in libraries] == [first.read(n) for n in libraries]
