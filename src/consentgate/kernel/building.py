"""Compiles the C sources of this folder into shared libraries, one for each kind of processor.

The build hook runs this file while consentgate cannot be imported yet, so it needs only the
standard library. Wheels do not contain it.
"""

from __future__ import annotations

import hashlib
import os
import platform as machine
import shlex
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

FOLDER = Path(__file__).parent
PLATFORMS = {
    "manylinux_2_17_x86_64.manylinux2014_x86_64": "x86_64-linux-gnu.2.17",
    "manylinux_2_17_aarch64.manylinux2014_aarch64": "aarch64-linux-gnu.2.17",
    "musllinux_1_2_x86_64": "x86_64-linux-musl",
    "musllinux_1_2_aarch64": "aarch64-linux-musl",
    "macosx_12_0_x86_64": "x86_64-macos.12.0",
    "macosx_12_0_arm64": "aarch64-macos.12.0",
    "win_amd64": "x86_64-windows-gnu",
    "win_arm64": "aarch64-windows-gnu",
}
"""The platforms that wheels are published for, as wheels and as zig name them."""
BASELINE = "baseline"
AVX2 = "avx2"
VARIANTS = {
    BASELINE: (),
    AVX2: ("-mavx2", "-mbmi", "-mbmi2", "-mlzcnt", "-mpopcnt", "-mfma"),
}
"""The kinds of x86-64 processors. `processor.c` asks for the abilities that are named here."""
# The variants must compute the same: floating-point operations are never fused into one.
LANGUAGE = (
    *("-std=c11", "-O3", "-DNDEBUG", "-fPIC", "-fvisibility=hidden"),
    *("-fno-strict-aliasing", "-ffp-contract=off"),
)
WARNINGS = (
    *("-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Wshadow", "-Wvla"),
    *("-Wstrict-prototypes", "-Wmissing-prototypes", "-Wundef"),
)
# Without the first, zig makes undefined behaviour a trap. Warnings are errors only here, because
# other compilers may warn of other things.
ZIG_ONLY = ("-fno-sanitize=undefined", "-Werror")
# Without these, zig makes parts of each library anew for debugging, which takes five times as long.
ZIG_LINKING = ("-O3", "-s")
TIMEOUT_S = 1_200


class BuildError(Exception):
    """The libraries cannot be compiled."""


def digest() -> str:
    """SHA-256, in hexadecimal, of all that the libraries are made from: C code and flags."""
    total = hashlib.sha256()
    for path in [*sorted(FOLDER.glob("*.[ch]")), Path(__file__)]:
        content = path.read_bytes().replace(b"\r\n", b"\n")
        total.update(f"{path.name} {len(content)}\n".encode() + content)
    return total.hexdigest()


def library_name(variant: str, platform: str = "") -> str:
    """The file name of a library for a platform. The empty platform is that of this process."""
    mac, windows = (
        (platform.startswith("macosx"), platform.startswith("win"))
        if platform
        else (sys.platform == "darwin", sys.platform == "win32")
    )
    return f"kernel-{variant}{'.dylib' if mac else '.dll' if windows else '.so'}"


def variants(platform: str = "") -> list[str]:
    """The variants that a platform has."""
    processor = PLATFORMS[platform].partition("-")[0] if platform else machine.machine()
    return [BASELINE, AVX2] if processor.lower() in ("x86_64", "amd64") else [BASELINE]


def is_current(folder: Path = FOLDER) -> bool:
    """Whether a folder holds this platform's libraries, made from the sources as they are now.

    The libraries are read as bytes. One that is loaded could not be replaced by a newer one.
    """
    recorded = digest().encode()
    libraries = [folder / library_name(variant) for variant in variants()]
    return all(path.is_file() and recorded in path.read_bytes() for path in libraries)


def build(folder: Path = FOLDER, platform: str = "", options: tuple[str, ...] = ()) -> list[Path]:
    """Compile the libraries of a platform into a folder.

    A library appears whole or not at all.

    Args:
        folder: Where the libraries are put.
        platform: A key of `PLATFORMS`, which zig compiles for, whatever `CC` is. The empty
            platform is that of this process. `CC` compiles for it, or zig if `CC` is not set.
        options: More options for the compiler and the linker, after all others.

    Returns:
        The paths of the libraries.

    Raises:
        BuildError: There is no compiler, or it fails.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=".building-", dir=folder) as scratch:
        names = [link(Path(scratch), v, platform, options) for v in variants(platform)]
        for name in names:
            os.replace(Path(scratch) / name, folder / name)  # noqa: PTH105 - atomic on all systems
    return [folder / name for name in names]


def link(scratch: Path, variant: str, platform: str, options: tuple[str, ...]) -> str:
    """Compile one variant in a folder, and say how its library is called.

    The linker is not told the variant: zig then makes the platform's own libraries only once.
    """
    command = compiler(platform)
    is_zig = "ziglang" in command
    flags = [*LANGUAGE, *WARNINGS, *(ZIG_ONLY if is_zig else ()), *VARIANTS[variant]]
    flags += [f'-DCG_SOURCES="{digest()}"', *options]
    objects = []
    for source in sorted(FOLDER.glob("*.c")):
        objects.append(f"{variant}-{source.stem}.o")
        run([*command, *flags, "-c", str(source), "-o", objects[-1]], scratch)
    name = library_name(variant, platform)
    linking = [*(ZIG_LINKING if is_zig else ()), *options]
    run([*command, "-shared", *linking, *objects, "-o", name], scratch)
    return name


def compiler(platform: str) -> list[str]:
    """The command that compiles for a platform."""
    if os.environ.get("CC") and not platform:
        return shlex.split(os.environ["CC"])
    if find_spec("ziglang") is None:
        raise BuildError(
            "No C compiler was found. Set CC to a compiler of C11 such as gcc or clang, or install "
            "one with: pip install ziglang"
        )
    # Without a target or "baseline", zig would use all that the processor of this machine can do.
    target = ["-target", PLATFORMS[platform]] if platform else ["-mcpu=baseline"]
    return [sys.executable, "-P", "-m", "ziglang", "cc", *target]


def run(command: list[str], scratch: Path) -> None:
    """Run a compiler in a folder, or raise `BuildError` with what it said."""
    try:
        done = subprocess.run(
            command,
            cwd=scratch,
            env=environment(scratch),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
            timeout=TIMEOUT_S,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise BuildError(f"The compiler {command[0]!r} could not be run: {error}") from error
    if done.returncode:
        said = done.stdout.decode(errors="replace")
        raise BuildError(f"The C sources did not compile.\n{shlex.join(command)}\n{said}")


def environment(scratch: Path) -> dict[str, str]:
    """The environment of a compiler. Zig never ends where it cannot write to its cache."""
    chosen = "ZIG_GLOBAL_CACHE_DIR" in os.environ or os.name != "posix"
    if chosen or os.access(os.environ.get("HOME", ""), os.W_OK):
        return dict(os.environ)
    return os.environ | {"ZIG_GLOBAL_CACHE_DIR": str(scratch / "zig")}
