"""List views that share their values: judged and taken out without writing every view out."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from consentgate.arrow.lists import unite
from tests.build import BEGUN, MICRO, make_consent, make_gate, message_table
from tests.processes import HANGING_S

SUBJECTS = range(1, 40)
STATUSES = ["given", "refused", "given", "withdrawn"]
GATE = make_gate(
    make_consent(
        subject_id=list(SUBJECTS),
        status=[STATUSES[n % 4] if n % 3 else "given" for n in SUBJECTS],
        effective_from=[BEGUN + n * MICRO for n in SUBJECTS],
    )
)
MANY = 100_000


@st.composite
def view_columns(draw: st.DrawFn) -> pa.Array:
    """List views that may overlap, be null, or lie in any order."""
    values = draw(st.lists(st.none() | st.integers(0, 45), max_size=30))
    spans = st.integers(0, len(values)).flatmap(
        lambda start: st.tuples(st.just(start), st.integers(0, len(values) - start))
    )
    views = draw(st.lists(spans, min_size=1, max_size=20))
    mask = draw(st.lists(st.booleans(), min_size=len(views), max_size=len(views)))
    build, kind = draw(
        st.sampled_from([(pa.ListViewArray, pa.int32()), (pa.LargeListViewArray, pa.int64())])
    )
    items = pa.array(values, pa.int64())
    if draw(st.booleans()):
        items = items.dictionary_encode()
    starts, sizes = (pa.array(column, kind) for column in zip(*views, strict=True))
    column = build.from_arrays(starts, sizes, items, mask=pa.array(mask))
    return column.slice(draw(st.integers(0, len(views) - 1)))


@given(column=view_columns(), step=st.integers(-2, 45))
def test_views_are_judged_and_kept_as_the_lists_that_they_stand_for(
    column: pa.Array, step: int
) -> None:
    plain = pa.array(column.to_pylist(), pa.list_(pa.int64()))
    created_at = [BEGUN + (step + row) * MICRO for row in range(len(column))]
    of_views = GATE.filter(message_table(sender_id=column, created_at=created_at))
    of_lists = GATE.filter(message_table(sender_id=plain, created_at=created_at))
    assert of_views[0].to_pylist() == of_lists[0].to_pylist()
    assert of_views[1].equals(of_lists[1])
    of_views[0].validate(full=True)


@given(
    values=st.lists(st.integers(0, 2**31), min_size=1, max_size=60),
    data=st.data(),
)
def test_spans_are_united_as_in_plain_python(values: list[int], data: st.DataObject) -> None:
    starts = data.draw(st.lists(st.integers(0, len(values) - 1), min_size=1, max_size=20))
    counts = [data.draw(st.integers(1, len(values) - start)) for start in starts]
    places: Any = np.array(starts), np.array(counts)
    spans = [values[start : start + n] for start, n in zip(starts, counts, strict=True)]
    greatest = unite(np.maximum, np.array(values), *places)
    assert greatest.tolist() == [max(span) for span in spans]
    united = unite(np.bitwise_or, np.array(values, np.uint32), *places)
    assert united.tolist() == [int(np.bitwise_or.reduce(span)) for span in spans]


def test_nothing_of_an_excluded_view_stays_in_the_admitted_ones() -> None:
    items = pa.array([1, 2, 3, 7, 5, 5])
    views = pa.ListViewArray.from_arrays(
        pa.array([2, 0, 3], pa.int32()), pa.array([2, 2, 1], pa.int32()), items
    )
    gate = make_gate(make_consent(subject_id=[3, 7, 5], status=["given", "given", "refused"]))
    admitted, _ = gate.filter(message_table(sender_id=views))
    assert admitted["sender_id"].to_pylist() == [[3, 7], [7]]
    assert admitted["sender_id"].chunk(0).values.to_pylist() == [3, 7]


@pytest.mark.parametrize("shares", ["all alike", "shifted"])
def test_many_long_views_of_the_same_values_take_little_memory(shares: str) -> None:
    """10^10 mentions, which would take 75 GB and minutes if each were looked at."""
    script = f"""
        import resource
        import numpy as np
        import pyarrow as pa
        from tests.build import make_consent, make_gate, message_table

        limit = 3 << 30
        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
        n = {MANY}
        is_shifted = {shares == "shifted"}
        starts = np.arange(n, dtype=np.int32) if is_shifted else np.zeros(n, np.int32)
        items = pa.array(np.ones(2 * n if is_shifted else n, np.int64))
        sizes = pa.array(np.full(n, n, np.int32))
        views = pa.ListViewArray.from_arrays(pa.array(starts), sizes, items)
        admitted, excluded = make_gate(make_consent()).filter(message_table(sender_id=views))
        assert (admitted.num_rows, excluded.num_rows) == (n, 0)
        assert admitted["sender_id"][n - 1].as_py() == [1] * n
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(script)], check=True, timeout=HANGING_S)
