"""The counts of coverage in plain Python, a row at a time, from docs/semantics.md, section 5.8."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence, Set
from typing import Any

from tests.scenarios import Scenario


def count_ids(
    rows: Sequence[Sequence[Any]], complete: Set[Any], listed: Set[Any]
) -> dict[str, int]:
    """The counts of one kind of ids.

    Args:
        rows: the ids that each row names.
        complete: the ids that a gate knows.
        listed: all ids of the snapshot or registry.
    """
    named = {name for names in rows for name in names}
    unknown = named - complete
    spellings = {spelling(name) for name in listed if isinstance(name, str)}
    alike = {
        name for name in unknown - listed if isinstance(name, str) and spelling(name) in spellings
    }
    return {
        "distinct": len(named),
        "unknown": len(unknown),
        "unknown_rows": sum(not unknown.isdisjoint(names) for names in rows),
        "incomplete": len(unknown & listed),
        "alike": len(alike),
        "alike_rows": sum(not alike.isdisjoint(names) for names in rows),
        "unused": len(complete - named),
    }


def spelling(name: str) -> str:
    return unicodedata.normalize("NFC", name).strip(" ").lower()


def subject_counts(scenario: Scenario) -> dict[str, int]:
    purposes: dict[Any, set[str]] = {}
    for record in scenario.consents:
        purposes.setdefault(record.subject, set()).add(record.purpose)
    complete = {who for who, given in purposes.items() if scenario.policy.purposes <= given}
    rows = [flat(message.subjects) for message in scenario.messages()]
    return count_ids(rows, complete, set(purposes))


def channel_counts(scenario: Scenario) -> dict[str, int]:
    complete = {c.channel for c in scenario.channels if c.visibility is not None}
    rows = [flat(message.channels) for message in scenario.messages()]
    return count_ids(rows, complete, {c.channel for c in scenario.channels})


def flat(cells: Iterable[Any]) -> list[Any]:
    """The ids of cells and of lists in cells, without nulls."""
    lists = (cell if isinstance(cell, tuple) else (cell,) for cell in cells)
    return [name for names in lists for name in names if name is not None]


def asked_words(scenario: Scenario, field: str) -> Counter[str]:
    """How many records for the policy's purposes have each word."""
    asked = (r for r in scenario.consents if r.purpose in scenario.policy.purposes)
    return Counter(word for r in asked if (word := getattr(r, field)) is not None)
