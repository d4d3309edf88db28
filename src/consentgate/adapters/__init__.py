"""Gates for the engines that people already use: data comes back with admitted rows only.

Each module has `filter(data, gate, …)`. Nothing here imports an engine before it is used.
"""

from consentgate.adapters import datatrove, duckdb, huggingface, pandas, polars, torch

__all__ = ["datatrove", "duckdb", "huggingface", "pandas", "polars", "torch"]
