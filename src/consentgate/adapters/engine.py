"""Checks that the packages that adapters need are installed and new enough."""

import re
from importlib import import_module
from importlib.metadata import requires, version
from typing import NamedTuple

from consentgate.errors import ExtraMissingError, ExtraOutdatedError

_REQUIREMENT = re.compile(r"(?P<package>[\w.-]+)(\[[^]]*\])?>=(?P<version>[\d.]+)(?P<marker>.*)")
_EXTRA = re.compile(r"""extra == ['"](?P<extra>[\w.-]+)['"]""")


class Engine(NamedTuple):
    """A package that an adapter needs.

    Attributes:
        package: its name.
        version: the oldest version that is accepted.
        extra: the extra of this package that installs it; None if it is always installed.
    """

    package: str
    version: str
    extra: str | None

    @property
    def requirement(self) -> str:
        """The requirement to install with pip."""
        if self.extra is None:
            return f"{self.package}>={self.version}"
        return f"consentgate[{self.extra}]"


def engine_of(package: str) -> Engine:
    """Read what this package's own metadata, made from pyproject.toml, says about a package.

    Raises:
        LookupError: This package does not depend on it.
    """
    for requirement in requires("consentgate") or ():
        match = _REQUIREMENT.fullmatch(requirement)
        if match is not None and match["package"] == package:
            extra = _EXTRA.search(match["marker"])
            return Engine(package, match["version"], None if extra is None else extra["extra"])
    raise LookupError(f"consentgate does not depend on '{package}'; name it in pyproject.toml.")


def need(package: str) -> None:
    """Import a package, so that importing it later cannot fail.

    Raises:
        ExtraMissingError: The package is not installed.
        ExtraOutdatedError: The package is too old.
    """
    engine = engine_of(package)
    advice = f"pip install --upgrade '{engine.requirement}'"
    try:
        import_module(package)
        installed = version(package)
    except ImportError as error:
        raise ExtraMissingError(
            f"Package '{package}' is needed and cannot be imported; {advice}."
        ) from error
    if _numbers(installed) < _numbers(engine.version):
        raise ExtraOutdatedError(
            f"Package '{package}' is version {installed}, but {engine.version} or newer is needed; "
            f"{advice}."
        )


def _numbers(version: str) -> tuple[int, ...]:
    """The numbers that a version begins with."""
    return tuple(map(int, re.findall(r"\d+", re.split(r"[^\d.]", version)[0])))
