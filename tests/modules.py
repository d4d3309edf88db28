"""The package's modules: their paths, their names, and their syntax."""

from __future__ import annotations

import ast
import importlib
from pathlib import Path
from types import ModuleType

import consentgate as cg

ROOT = Path(cg.__file__).parent


def module_name(path: Path) -> str:
    """A module's name below the package; the package's own is empty."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


PATHS = {module_name(path): path for path in sorted(ROOT.rglob("*.py"))}


def syntax(name: str) -> ast.Module:
    """A module's syntax tree."""
    return ast.parse(PATHS[name].read_text())


def load(name: str) -> ModuleType:
    """A module by its name below the package."""
    return importlib.import_module(f"consentgate.{name}" if name else "consentgate")
