"""Gates that are pickled, and gates in forked processes."""

from __future__ import annotations

import multiprocessing
import pickle
import sys
import warnings

import numpy as np
import polars as pl
import pyarrow as pa

import consentgate as cg
from tests.build import make_consent, make_gate, message_table
from tests.gate_data import GATE, TABLE
from tests.processes import HANGING_S


def test_a_pickled_gate_judges_the_same() -> None:
    copy = pickle.loads(pickle.dumps(GATE))
    assert copy.decide(TABLE).reason_bits == GATE.decide(TABLE).reason_bits
    assert copy.digest == GATE.digest
    assert copy.filter(TABLE)[1].equals(GATE.filter(TABLE)[1], check_metadata=True)


def test_a_pickled_gate_of_string_ids_finds_its_people() -> None:
    names = [f"person {n}" for n in range(1000)]
    gate = make_gate(make_consent(subject_id=names))
    copy = pickle.loads(pickle.dumps(gate))
    assert copy.decide(message_table(sender_id=[*names, "nobody"])).num_admitted == 1000


def judge_in_child(gate: cg.Gate, rows: int) -> None:
    """Exit with 0 if the gate judges as it should."""
    table = message_table(sender_id=pa.array(np.arange(rows) % 3, pa.int64()))
    admitted, _ = gate.filter(table)
    bits = gate.decide(table, threads=2).reason_bits
    expected = (rows + 1) // 3
    sys.exit(0 if (admitted.num_rows, bits.to_pylist().count(0)) == (expected, expected) else 1)


def test_a_forked_child_judges_after_its_parent_has_used_polars() -> None:
    frame = pl.DataFrame({"a": range(100_000)}).lazy().group_by(pl.col("a") % 7).len()
    assert frame.collect().height == 7
    GATE.decide(message_table(sender_id=[1] * 200_000), threads=2)
    child = multiprocessing.get_context("fork").Process(
        target=judge_in_child, args=(GATE, 150_000), daemon=True
    )
    with warnings.catch_warnings():
        # Polars and Python 3.12 warn that forking with threads may deadlock: what this test is for
        warnings.simplefilter("ignore")
        child.start()
    child.join(timeout=HANGING_S)
    exit_code = child.exitcode
    child.kill()
    assert exit_code == 0
