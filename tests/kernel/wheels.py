"""Builds wheels. `python -m tests.kernel.wheels FOLDER` builds all that a release has."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from consentgate.kernel.building import PLATFORMS

ROOT = Path(__file__).parents[2]


def build_wheel(folder: Path, platform: str = "", source: Path = ROOT, **variables: str) -> Path:
    """A wheel of the project, built into an empty folder with the packages that are installed."""
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    command = [*pip, "wheel", "--no-deps", "--no-build-isolation", f"--wheel-dir={folder}"]
    environment = os.environ | {"CONSENTGATE_PLATFORM": platform} | variables
    done = subprocess.run(
        [*command, str(source)], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    [wheel] = folder.glob("*.whl")
    return wheel


def build_sdist(folder: Path) -> Path:
    """The project's source distribution, built into a folder."""
    command = [sys.executable, "-m", "hatchling", "build", "-t", "sdist", "-d", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    [sdist] = folder.glob("*.tar.gz")
    return sdist


def main() -> None:
    """Build the source distribution and the wheels of all platforms into a folder."""
    folder = Path(sys.argv[1])
    print(build_sdist(folder), flush=True)
    for platform in PLATFORMS:
        wheel = build_wheel(folder / platform, platform)
        print(wheel.rename(folder / wheel.name), flush=True)
        wheel.parent.rmdir()


if __name__ == "__main__":
    main()
