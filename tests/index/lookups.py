"""Builds indexes, and looks ids up in them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from consentgate.index import Index
from consentgate.judging.facts import Facts, Meaning

ALL_BITS = Meaning(0, 32, 0, 0xFFFF_FFFF, 0, 0)
"""All lower bits of the facts are reasons as they are; a null has all of them."""
NOBODY, NULL = 0, 0xFFFF_FFFF


def build(ids: Any, beside: Sequence[Any] = (), facts: Any = None) -> Index:
    """An index in which the facts about each id are its place, counted from one."""
    facts = np.arange(1, len(ids) + 1) if facts is None else facts
    return Index.build(ids, np.asarray(facts, np.uint64), beside)[0]


def facts_in(index: Index, ids: Any) -> list[int]:
    """The facts about each id; NOBODY if there are none, NULL for a null."""
    found: list[int] = Facts(index, ALL_BITS, None, None).resolve(ids, 0).bits[:-1].tolist()
    return found


def ranks_in(index: Index, ids: Any) -> Any:
    return Facts(index, ALL_BITS, None, None).resolve(ids, 0, ranks=True).ranks
