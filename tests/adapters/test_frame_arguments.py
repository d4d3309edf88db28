"""Frames and relations: what is no gate or no option is refused at once, by a common error."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import duckdb
import pandas as pd
import polars as pl
import pytest

import consentgate as cg
from consentgate.adapters import duckdb as duckdb_adapter
from consentgate.adapters import pandas, polars
from tests.adapters.contract import messages
from tests.run_data import mixed_gate

ADAPTERS: dict[str, tuple[ModuleType, Callable[[], Any]]] = {
    "polars": (polars, lambda: pl.DataFrame(messages(9))),
    "polars, lazy": (polars, lambda: pl.DataFrame(messages(9)).lazy()),
    "pandas": (pandas, lambda: messages(9).to_pandas(types_mapper=pd.ArrowDtype)),
    "duckdb": (duckdb_adapter, lambda: duckdb.connect().from_arrow(messages(9))),
}
EVERY_ADAPTER = pytest.mark.parametrize("name", ADAPTERS)
NO_GATES: list[Any] = [cg.Policy(), cg.Gate, None, 3, "gate", {}, pl.DataFrame(), lambda: None]


@EVERY_ADAPTER
@pytest.mark.parametrize("other", NO_GATES, ids=lambda other: type(other).__name__)
def test_what_is_no_gate_is_refused(name: str, other: Any) -> None:
    adapter, give = ADAPTERS[name]
    with pytest.raises(TypeError, match="`gate` is of type"):
        adapter.filter(give(), other)


@EVERY_ADAPTER
def test_a_gate_in_place_of_the_data_is_refused(name: str) -> None:
    adapter, give = ADAPTERS[name]
    with pytest.raises(TypeError, match="check the order of the arguments"):
        adapter.filter(mixed_gate(), give())
    with pytest.raises(cg.NotArrowError, match="of type 'Gate'"):
        adapter.filter(mixed_gate(), mixed_gate())


@EVERY_ADAPTER
@pytest.mark.parametrize(
    "option",
    [
        {"threads": "x"},
        {"threads": 1.5},
        {"threads": True},
        {"threads": 0},
        {"judged_at": "2026-03-02"},
        {"judged_at": 3},
        {"judged_at": pd.Timestamp("2026-03-02")},
        {"ledger": 3},
        {"ledger": b"ledger"},
        {"ledger": "x" * 5000},
    ],
    ids=str,
)
def test_options_of_the_wrong_type_are_refused(name: str, option: dict[str, Any]) -> None:
    adapter, give = ADAPTERS[name]
    with pytest.raises((TypeError, cg.ConfigurationError, cg.FileError)) as error:
        found = adapter.filter(give(), mixed_gate(), **option)
        found.collect()  # a query writes its ledger when it runs
    assert isinstance(error.value, cg.ConsentGateError) or "` is of type" in str(error.value)


@EVERY_ADAPTER
def test_a_file_in_place_of_the_ledger_is_refused(name: str, tmp_path: Path) -> None:
    adapter, give = ADAPTERS[name]
    (tmp_path / "file").write_text("there already")
    with pytest.raises(cg.OutputError, match="Ledger directory"):
        adapter.filter(give(), mixed_gate(), ledger=tmp_path / "file").collect()
