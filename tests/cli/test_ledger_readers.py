"""Ledgers read by DuckDB and pandas, without this library."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.cli.ledgers import run_mixed
from tests.processes import HANGING_S

pytestmark = pytest.mark.usefixtures("small_batches")

DUCKDB = """
import duckdb
rows = duckdb.sql(
    "select reason, count(*) from 'out/_consentgate/ledger/**/*.parquet' group by reason"
).fetchall()
"""

PANDAS = """
import pandas, pathlib
parts = pathlib.Path("out/_consentgate/ledger").rglob("*.parquet")
table = pandas.concat([pandas.read_parquet(part, partitioning=None) for part in parts])
rows = table["reason"].value_counts().items()
"""

OCCURRENCES = """
import duckdb
place = "out/_consentgate/ledger/**/*.parquet"
(names,), *_ = duckdb.sql(
    "select distinct decode(value) from parquet_kv_metadata(?) "
    "where decode(key) = 'consentgate.reason_names'", params=[place]
).fetchall()
query = "select count(*) from read_parquet(?) where reason_bits & (1::uinteger << ?) <> 0"
rows = [
    (name, duckdb.sql(query, params=[place, int(bit)]).fetchall()[0][0])
    for bit, name in json.loads(names).items()
]
"""


@pytest.mark.parametrize(
    ("script", "key"),
    [(DUCKDB, "counts"), (PANDAS, "counts"), (OCCURRENCES, "occurrences")],
    ids=["duckdb", "pandas", "duckdb: every reason that applies"],
)
def test_others_read_the_ledger_without_this_library(script: str, key: str) -> None:
    wanted = getattr(run_mixed().totals, key)
    tell = "print(json.dumps({reason: int(n) for reason, n in rows if n}))"
    alone = "assert 'consentgate' not in sys.modules"
    code = f"import json, sys\n{script}\n{alone}\n{tell}"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        capture_output=True,
        text=True,
        timeout=HANGING_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == wanted
