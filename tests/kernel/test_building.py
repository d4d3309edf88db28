"""Compiling the kernel, compiling it again after a change, and choosing a library."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import pytest

from consentgate.kernel import building, loading
from consentgate.kernel.loading import load_library

SHOW = """
from consentgate.kernel import kernel
import os
print(kernel._name, os.stat(kernel._name).st_ino)
"""
ABILITIES = ("avx2", "bmi1", "bmi2", "abm", "popcnt", "fma")
"""The abilities of `building.VARIANTS`, as Linux names them."""
CPUINFO = Path("/proc/cpuinfo")
X86 = building.AVX2 in building.variants()


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A copy of the package's source, libraries included."""
    package = tmp_path / "src" / "consentgate"
    shutil.copytree(building.FOLDER.parent, package)
    return package


def builder_of(package: Path) -> ModuleType:
    """The module that compiles a copy's C code."""
    spec = spec_from_file_location("building_of_copy", package / "kernel" / "building.py")
    assert spec is not None and spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def change(package: Path) -> None:
    """Change a copy's C code."""
    with (package / "kernel" / "processor.c").open("a") as code:
        code.write("/* changed */\n")


def start(package: Path, code: str = SHOW, **variables: str) -> subprocess.Popen[str]:
    """A process that imports a copy."""
    environment = os.environ | {"PYTHONPATH": str(package.parent)} | variables
    return subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=package,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def sources_of(path: Path) -> str:
    """The digest that a library was compiled with."""
    function = ctypes.CDLL(str(path)).cg_sources
    function.restype = ctypes.c_char_p
    return str(function().decode())


def test_the_libraries_are_made_from_the_sources() -> None:
    load_library()
    assert building.is_current()
    for variant in building.variants():
        path = building.FOLDER / building.library_name(variant)
        assert sources_of(path) == building.digest()


@pytest.mark.skipif(not CPUINFO.exists() or not X86, reason="needs Linux on x86-64")
def test_the_fastest_library_that_the_processor_runs_is_loaded() -> None:
    [*_, flags] = [line for line in CPUINFO.read_text().splitlines() if line.startswith("flags")]
    able = set(ABILITIES) <= set(flags.split())
    library = load_library()
    assert bool(library.cg_has_avx2()) == able
    assert Path(library._name) == (loading.AVX2 if able else loading.BASELINE)


@pytest.mark.parametrize("name", ["processor.c", "kernel.h", "building.py"])
def test_a_change_is_noticed(package: Path, name: str) -> None:
    builder = builder_of(package)
    assert builder.is_current()
    with (package / "kernel" / name).open("a") as file:
        file.write("\n")
    assert not builder.is_current()


def test_a_missing_library_is_noticed(package: Path) -> None:
    for variant in building.variants():
        builder = builder_of(package)
        path = package / "kernel" / building.library_name(variant)
        content = path.read_bytes()
        path.unlink()
        assert not builder.is_current()
        path.write_bytes(content)
        assert builder.is_current()


def test_line_ends_change_nothing(package: Path) -> None:
    source = package / "kernel" / "processor.c"
    source.write_bytes(source.read_bytes().replace(b"\n", b"\r\n"))
    assert builder_of(package).is_current()


def test_processes_that_start_at_once_compile_once(package: Path) -> None:
    change(package)
    processes = [start(package) for _ in range(4)]
    ends = [process.communicate(timeout=300) for process in processes]
    assert [process.returncode for process in processes] == [0] * 4, ends
    assert len({out for out, _ in ends}) == 1
    assert builder_of(package).is_current()
    left = [path.name for path in (package / "kernel").glob(".building-*")]
    assert left == []


def test_a_change_that_cannot_be_compiled_is_an_error(package: Path) -> None:
    """The libraries stay, but are not used: they do not do what the sources say."""
    with (package / "kernel" / "processor.c").open("a") as code:
        code.write("int unfinished(\n")
    process = start(package)
    out, err = process.communicate(timeout=300)
    assert (process.returncode, out) == (1, "")
    assert "ImportError: The C sources in" in err
    assert "did not compile" in err
    assert (package / "kernel" / building.library_name(building.BASELINE)).exists()


def test_a_compiler_that_is_not_there_is_an_error(package: Path) -> None:
    change(package)
    process = start(package, CC="no-such-compiler")
    _, err = process.communicate(timeout=300)
    assert "The compiler 'no-such-compiler' could not be run" in err
    assert process.returncode == 1


def test_no_compiler_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setattr(building, "find_spec", lambda _: None)
    with pytest.raises(building.BuildError, match="Set CC to a compiler of C11"):
        building.compiler("")


def test_zig_compiles_for_another_platform_whatever_cc_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CC", "gcc -m64")
    assert building.compiler("") == ["gcc", "-m64"]
    assert building.compiler("win_arm64")[-2:] == ["-target", "aarch64-windows-gnu"]


@pytest.mark.parametrize("compiler", ["gcc", "clang"])
def test_other_compilers_have_no_warnings(
    compiler: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if shutil.which(compiler) is None:
        pytest.skip(f"needs {compiler}")
    monkeypatch.setenv("CC", f"{compiler} -Werror")
    for path in building.build(tmp_path):
        assert sources_of(path) == building.digest()


@pytest.mark.skipif(os.name != "posix", reason="zig looks at HOME only there")
def test_zig_gets_a_cache_where_home_cannot_be_written_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ZIG_GLOBAL_CACHE_DIR", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert "ZIG_GLOBAL_CACHE_DIR" not in building.environment(tmp_path)
    for home in ("/proc/nowhere", ""):
        monkeypatch.setenv("HOME", home)
        assert building.environment(tmp_path)["ZIG_GLOBAL_CACHE_DIR"] == str(tmp_path / "zig")


def test_a_variable_names_the_library() -> None:
    for variant in building.variants():
        path = building.FOLDER / building.library_name(variant)
        process = start(building.FOLDER.parent, CONSENTGATE_KERNEL=str(path))
        out, err = process.communicate(timeout=60)
        assert out.startswith(f"{path} "), err


@pytest.mark.parametrize(
    "content", [None, b"", b"\x7fELF cut off"], ids=["missing", "empty", "cut"]
)
def test_a_library_that_cannot_be_loaded_is_an_error(
    content: bytes | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "kernel.so"
    if content is not None:
        path.write_bytes(content)
    monkeypatch.setenv(loading.CHOSEN, str(path))
    with pytest.raises(ImportError, match="is missing or was made for another kind of machine"):
        load_library()
