"""Compiles the C kernel when a wheel is built or the project is installed for development."""

from __future__ import annotations

import os
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

PLATFORM = "CONSENTGATE_PLATFORM"
"""The environment variable that names another platform to build a wheel for."""


class KernelHook(BuildHookInterface[Any]):
    """Puts the libraries of one platform into a wheel, or beside the sources."""

    def dependencies(self) -> list[str]:
        """What has to be installed before a build: a C compiler, unless `CC` names one."""
        named = os.environ.get("CC") and not os.environ.get(PLATFORM)
        return [] if named else ["ziglang>=0.17.1,<0.18"]

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile the libraries, and tell hatchling where they are."""
        building = load_building(Path(self.root))
        if version == "editable":
            building.build()
            return
        platform = os.environ.get(PLATFORM, "")
        self.scratch = TemporaryDirectory(prefix="consentgate-")
        for path in building.build(Path(self.scratch.name), platform):
            build_data["force_include"][str(path)] = f"consentgate/kernel/{path.name}"
        build_data["pure_python"] = False
        build_data["tag"] = f"py3-none-{platform or this_platform()}"

    def finalize(self, version: str, *_: object) -> None:
        """Remove what was compiled for a wheel, which holds it now."""
        if version != "editable":
            self.scratch.cleanup()


def load_building(root: Path) -> ModuleType:
    """The module that compiles, loaded by its path: consentgate cannot be imported yet."""
    spec = spec_from_file_location("building", root / "src/consentgate/kernel/building.py")
    assert spec is not None and spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def this_platform() -> str:
    """The tag of wheels that only have to run on this machine."""
    from packaging.tags import platform_tags

    return next(tag for tag in platform_tags() if not tag.startswith(("manylinux", "musllinux")))
