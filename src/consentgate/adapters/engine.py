"""The engines that adapters need: imported when they are used, and new enough."""

import re
from importlib import import_module
from importlib.metadata import version
from typing import NamedTuple

from consentgate.errors import ExtraMissingError, ExtraOutdatedError


class Engine(NamedTuple):
    """A package that an adapter needs.

    Attributes:
        version: the oldest that will do.
        requirement: what to tell pip.
    """

    version: str
    requirement: str


ENGINES = {
    "datasets": Engine("5.2", "consentgate[huggingface]"),
    "datatrove": Engine("0.10", "consentgate[datatrove]"),
    "duckdb": Engine("2.0", "consentgate[duckdb]"),
    "pandas": Engine("3.1", "consentgate[pandas]"),
    "polars": Engine("2.1", "polars>=2.1"),
    "torch": Engine("2.13", "consentgate[torch]"),
}


def need(package: str) -> None:
    """Import a package, which can be imported without fear from then on.

    Raises:
        ExtraMissingError: It is not installed.
        ExtraOutdatedError: It is too old.
    """
    engine = ENGINES[package]
    advice = f"pip install --upgrade '{engine.requirement}'"
    try:
        import_module(package)
        found = version(package)
    except ImportError as error:
        raise ExtraMissingError(
            f"Package '{package}' is needed for that and cannot be imported; {advice}."
        ) from error
    if _numbers(found) < _numbers(engine.version):
        raise ExtraOutdatedError(
            f"Package '{package}' is version {found}, but {engine.version} or newer is needed; "
            f"{advice}."
        )


def _numbers(version: str) -> tuple[int, ...]:
    """The numbers that a version begins with."""
    return tuple(map(int, re.findall(r"\d+", re.split(r"[^\d.]", version)[0])))
