"""Runs tests with a kernel that checks each access to memory and each operation.

`make sanitize` calls this. `CC` names gcc or clang; other arguments than none replace the tests.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

from consentgate.kernel import building

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "build" / "sanitized"
TESTS = ["tests/kernel", "tests/index", "tests/judging", "tests/arrow", "tests/test_gate.py"]
# These compile libraries of their own.
IGNORED = ["--ignore=tests/kernel/test_building.py", "--ignore=tests/kernel/test_wheels.py"]
OPTIONS = (
    *("-g", "-O1", "-UNDEBUG", "-Werror", "-fno-omit-frame-pointer"),
    *("-fsanitize=address,undefined", "-fno-sanitize-recover=all"),
)
# One null bit is looked for in far more bytes than there are.
FAULT = """
import ctypes
from consentgate.kernel import Validity, kernel
bits = ctypes.create_string_buffer(8)
kernel.cg_count_nulls(Validity(ctypes.addressof(bits), 0), 1 << 20)
"""


def compiler() -> list[str]:
    """The compiler that `CC` names, or the first that is there."""
    named = os.environ.get("CC") or shutil.which("clang") or shutil.which("gcc")
    if not named or shutil.which(shlex.split(named)[0]) is None:
        sys.exit("make sanitize needs gcc or clang; on Debian: apt-get install gcc")
    return shlex.split(named)


def is_clang(command: list[str]) -> bool:
    """Whether a compiler is clang, by what it says of itself."""
    return "clang" in subprocess.check_output([*command, "--version"], text=True)


def runtime(command: list[str]) -> str:
    """The libraries that have to be loaded before all others, so that they replace malloc.

    That of C++ is among them because pyarrow throws, and is loaded after the first look for it.
    """
    clang = is_clang(command)
    sanitizer = f"libclang_rt.asan-{os.uname().machine}.so" if clang else "libasan.so"
    paths = [
        subprocess.check_output([*command, f"-print-file-name={name}"], text=True).strip()
        for name in (sanitizer, "libstdc++.so.6")
    ]
    missing = [path for path in paths if not Path(path).exists()]
    if missing:
        sys.exit(f"make sanitize needs {missing[0]}; on Debian: apt-get install clang gcc")
    return " ".join(paths)


def environment(command: list[str], library: Path) -> dict[str, str]:
    """The environment of a process that uses a library with checks."""
    return os.environ | {
        "CONSENTGATE_KERNEL": str(library),
        "LD_PRELOAD": runtime(command),
        # Python itself keeps memory until it ends.
        "ASAN_OPTIONS": "detect_leaks=0",
        "UBSAN_OPTIONS": "print_stacktrace=1",
        # Arrow's own allocators would hide where one buffer ends.
        "ARROW_DEFAULT_MEMORY_POOL": "system",
        "PYTHONMALLOC": "malloc",
    }


def require_checks(variables: dict[str, str]) -> None:
    """End if a fault is not found, as no fault would be found then."""
    done = subprocess.run(
        [sys.executable, "-c", FAULT], env=variables, capture_output=True, text=True, check=False
    )
    if done.returncode == 0 or "AddressSanitizer: heap-buffer-overflow" not in done.stderr:
        sys.exit(f"The checks do not find a read beyond a buffer.\n{done.stderr}")


def main() -> None:
    """Compile both variants with checks, and run the tests with each."""
    command = compiler()
    os.environ["CC"] = shlex.join(command)
    clang = ("-shared-libasan",) if is_clang(command) else ()
    tests = sys.argv[1:] or [*TESTS, *IGNORED]
    for library in building.build(FOLDER, options=(*OPTIONS, *clang)):
        variables = environment(command, library)
        require_checks(variables)
        print(f"Running tests with {library.name}", flush=True)
        pytest = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *tests]
        done = subprocess.run(pytest, cwd=ROOT, env=variables, check=False)
        if done.returncode:
            sys.exit(done.returncode)


if __name__ == "__main__":
    main()
