"""Documents of datatrove, for the contract."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
from datatrove.data import Document

from consentgate.adapters import datatrove
from tests.adapters.contract import Case


def documents(table: pa.Table, *_: Any) -> list[Document]:
    """Documents that have all but their text in their metadata."""
    rows = table.to_pylist()
    return [Document(row.pop("text"), f"document {n}", metadata=row) for n, row in enumerate(rows)]


def columns_of(found: Any) -> pa.Table:
    """What documents hold; their types are what Arrow makes of Python's."""
    return pa.Table.from_pylist([{"text": doc.text, **doc.metadata} for doc in found])


CASES = [
    Case(
        "datatrove-documents",
        datatrove,
        "datatrove",
        documents,
        columns_of,
        tells_columns=False,
        brings_ids=True,
    ),
]
