"""A column of ids is judged alike, however it lies in memory."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

import consentgate as cg
from tests.build import AS_OF, NOW, make_consent, make_gate, message_table
from tests.kernel.hostile import octets

IDS: dict[str, Any] = {
    "integers": pa.array(range(400), pa.int64()),
    "texts": pa.array([f"{n}" * (n % 7 + 1) for n in range(400)]),
    "UUIDs": pa.array([n.to_bytes(16, "big") for n in range(400)], pa.binary(16)),
}
EVERY_FAMILY = pytest.mark.parametrize("family", IDS)
ROWS = 3000


def gate_of(family: str) -> cg.Gate:
    """A gate that knows the first 300 ids; their consent begins and ends at many instants."""
    days = [timedelta(days=n, microseconds=n) for n in range(300)]
    return make_gate(
        make_consent(
            subject_id=IDS[family].slice(0, 300),
            status=["withdrawn" if n % 9 == 0 else "given" for n in range(300)],
            effective_from=[AS_OF - timedelta(days=500) + d for d in days],
            expires_at=[
                NOW + timedelta(microseconds=n - 50) if n % 4 else None for n in range(300)
            ],
        )
    )


def drawn(family: str) -> Any:
    """Ids of many rows, nulls and unknown ids among them."""
    rng = np.random.default_rng(7)
    return IDS[family].take(pa.array(rng.integers(0, 400, ROWS), mask=rng.random(ROWS) < 0.1))


def bits_of(family: str, subjects: Any) -> list[int]:
    """The reasons against messages that were written one minute after the other."""
    written = [
        AS_OF - timedelta(days=400) + timedelta(minutes=90 * n) for n in range(len(subjects))
    ]
    table = message_table(sender_id=subjects, created_at=written)
    found: list[int] = gate_of(family).decide(table).reason_bits.to_pylist()
    return found


def offsets(dtype: str) -> Any:
    return octets(np.arange(ROWS + 1), dtype)


def large_dictionary(ids: Any) -> Any:
    """The dictionary has more values than there are rows."""
    coded = ids.dictionary_encode()
    more = pa.concat_arrays([coded.dictionary] * 20)
    return pa.DictionaryArray.from_arrays(coded.indices, more)


def lists(kind: Any, *buffers: Any) -> Callable[[Any], Any]:
    return lambda ids: pa.Array.from_buffers(kind(ids.type), ROWS, [None, *buffers], children=[ids])


ONE_EACH = octets([1] * ROWS, "int32")
LAYOUTS: dict[str, Callable[[Any], Any]] = {
    "dictionary": lambda ids: ids.dictionary_encode(),
    "large dictionary": large_dictionary,
    "list": lists(pa.list_, offsets("int32")),
    "large list": lists(pa.large_list, offsets("int64")),
    "fixed list": lists(lambda kind: pa.list_(kind, 1)),
    "list view": lists(pa.list_view, offsets("int32"), ONE_EACH),
    "large list view": lists(pa.large_list_view, offsets("int64"), octets([1] * ROWS, "int64")),
    "list of a dictionary": lambda ids: LAYOUTS["list"](ids.dictionary_encode()),
    "list view of a dictionary": lambda ids: LAYOUTS["list view"](ids.dictionary_encode()),
    "slice": lambda ids: pa.concat_arrays([ids[:13], ids, ids[:5]])[13 : ROWS + 13],
    "slice of lists": lambda ids: pa.concat_arrays(
        [LAYOUTS["list"](ids)[:13], LAYOUTS["list"](ids)]
    )[13:],
}


@EVERY_FAMILY
@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_is_judged_like_a_plain_column(family: str, layout: str) -> None:
    plain = bits_of(family, drawn(family))
    assert len(set(plain)) == 6
    assert bits_of(family, LAYOUTS[layout](drawn(family))) == plain


@EVERY_FAMILY
@pytest.mark.parametrize("is_coded", [False, True])
def test_lists_have_the_reasons_of_all_their_items(family: str, is_coded: bool) -> None:
    """Lists of no, one and many ids, over the bounds of tiles; views overlap."""
    rng = np.random.default_rng(8)
    ids = drawn(family)
    by_id = bits_of_each(family, ids)
    starts = rng.integers(0, ROWS - 300, 200)
    sizes = np.where(rng.random(200) < 0.3, 0, rng.geometric(0.02, 200).clip(0, 300))
    items = ids.dictionary_encode() if is_coded else ids
    views = pa.ListViewArray.from_arrays(
        pa.array(starts, pa.int32()), pa.array(sizes, pa.int32()), items
    )
    plain = pa.array(views.to_pylist(), pa.list_(ids.type))
    expected = [
        int(np.bitwise_or.reduce(by_id[start : start + size], initial=0 if size else NO_SUBJECT))
        for start, size in zip(starts, sizes, strict=True)
    ]
    assert at_once(family, views) == expected
    assert at_once(family, plain) == expected
    assert at_once(family, plain.cast(pa.large_list(ids.type))) == expected


NO_SUBJECT = 1 << 2


def at_once(family: str, subjects: Any) -> list[int]:
    """The reasons against messages that were written at the same instant."""
    written = [AS_OF - timedelta(days=300)] * len(subjects)
    table = message_table(sender_id=subjects, created_at=written)
    found: list[int] = gate_of(family).decide(table).reason_bits.to_pylist()
    return found


def bits_of_each(family: str, ids: Any) -> Any:
    return np.array(at_once(family, ids), np.uint32)


def test_integers_of_every_width_are_found_at_their_ends() -> None:
    """Messages and snapshot may differ in whether their ids are signed."""
    for known in ("int64", "uint64"):
        held = [0, 1, 127, 128, 255, 2**31, 2**32 - 1, 2**63 - 1]
        held += [2**63, 2**64 - 1] if known == "uint64" else [-1, -128, -(2**31), -(2**63)]
        gate = make_gate(make_consent(subject_id=pa.array(held, pa.type_for_alias(known))))
        for bits in (8, 16, 32, 64):
            for sign in ("", "u"):
                least = 0 if sign else -(2 ** (bits - 1))
                most = 2**bits - 1 if sign else 2 ** (bits - 1) - 1
                ids = sorted({least, least + 1, 0, 1, most - 1, most})
                column = pa.array(ids, pa.type_for_alias(f"{sign}int{bits}"))
                admitted = gate.decide(message_table(sender_id=column)).admitted.to_pylist()
                assert admitted == [number in held for number in ids], (known, sign, bits)
