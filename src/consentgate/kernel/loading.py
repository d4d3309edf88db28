"""Loads the library that was compiled for this process's kind of processor."""

from __future__ import annotations

import ctypes
import os
import sys
from pathlib import Path

from filelock import FileLock

FOLDER = Path(__file__).parent
CHOSEN = "CONSENTGATE_KERNEL"
"""The environment variable that names a library to load instead. Tests use it."""
SUFFIX = {"darwin": ".dylib", "win32": ".dll"}.get(sys.platform, ".so")
BASELINE = FOLDER / f"kernel-baseline{SUFFIX}"
AVX2 = FOLDER / f"kernel-avx2{SUFFIX}"


def load_library() -> ctypes.CDLL:
    """The kernel, as the fastest library that this processor can run.

    In a source tree, the libraries are compiled first if the C sources are not those that they
    were made from. A wheel holds no sources, so nothing is compared there.

    Raises:
        ImportError: There is no library, it cannot be loaded, or it cannot be compiled.
    """
    chosen = os.environ.get(CHOSEN)
    if chosen:
        return opened(Path(chosen))
    if (FOLDER / "kernel.h").is_file():
        compile_if_changed()
    baseline = opened(BASELINE)
    return opened(AVX2) if baseline.cg_has_avx2() and AVX2.is_file() else baseline


def opened(path: Path) -> ctypes.CDLL:
    """A library, loaded."""
    try:
        return ctypes.CDLL(str(path))
    except OSError as error:
        raise ImportError(
            f"The compiled part of consentgate, '{path}', is missing or was made for another kind "
            f"of machine; install consentgate again on this machine: {error}"
        ) from error


def compile_if_changed() -> None:
    """Compile the libraries in a source tree anew if C code or flags have changed.

    Several processes may find that at once. The first one compiles, and the others wait for it.
    """
    from consentgate.kernel import building

    if building.is_current():
        return
    try:
        with FileLock(FOLDER / ".building.lock"):
            if not building.is_current():
                building.build()
    except (OSError, building.BuildError) as error:
        raise ImportError(
            f"The C sources in '{FOLDER}' have changed since they were compiled, and cannot be "
            f"compiled again: {error}"
        ) from error
