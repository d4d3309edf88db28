"""Runs libFuzzer on the harnesses in `tests/kernel/fuzz`, each for some seconds.

`make fuzz` calls this. A harness is a C file with `LLVMFuzzerTestOneInput`. What libFuzzer finds
stays in `build/fuzz/HARNESS`, and later runs begin with it, and with the inputs in
`tests/kernel/fuzz/corpus/HARNESS`.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
from pathlib import Path

from consentgate.kernel import building

ROOT = Path(__file__).parents[2]
HARNESSES = Path(__file__).parent / "fuzz"
FOLDER = ROOT / "build" / "fuzz"
OPTIONS = (
    *("-std=c11", "-g", "-O1", "-fno-omit-frame-pointer", "-Wall", "-Wextra", "-Werror"),
    *("-fsanitize=fuzzer,address,undefined", "-fno-sanitize-recover=all"),
    *('-DCG_SOURCES="fuzzing"', f"-I{building.FOLDER}"),
)


def compiled(harness: Path) -> Path:
    """A harness and the kernel as one program."""
    program = FOLDER / harness.stem / "program"
    (program.parent / "corpus").mkdir(parents=True, exist_ok=True)
    sources = [str(path) for path in sorted(building.FOLDER.glob("*.c"))]
    command = ["clang", *OPTIONS, str(harness), *sources, "-o", str(program)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        hint = "If libFuzzer is missing, on Debian: apt-get install clang libclang-rt-dev"
        sys.exit(f"'{harness}' did not compile. {hint}\n{done.stderr}")
    return program


def run(program: Path, seconds: int) -> int:
    """Run a harness. Returns 0 if no fault was found."""
    limits = [f"-max_total_time={seconds}", "-timeout=10", "-print_final_stats=1"]
    folders = ["corpus", str(HARNESSES / "corpus" / program.parent.name)]
    return subprocess.run([program, *folders, *limits], cwd=program.parent, check=False).returncode


def main() -> None:
    """Compile and run each harness, or those that are named."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=60, help="for each harness")
    parser.add_argument("names", nargs="*", help="harnesses, without .c; all if none is named")
    options = parser.parse_args()
    if shutil.which("clang") is None:
        sys.exit("make fuzz needs clang; on Debian: apt-get install clang")
    names = options.names or sorted(path.stem for path in HARNESSES.glob("*.c"))
    if not names:
        sys.exit(f"There is no harness in '{HARNESSES}'.")
    failed = [name for name in names if run(compiled(HARNESSES / f"{name}.c"), options.seconds)]
    if failed:
        sys.exit(f"Faults were found by: {', '.join(failed)}; see '{FOLDER}'.")


if __name__ == "__main__":
    main()
