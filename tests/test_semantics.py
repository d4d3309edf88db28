"""The tables in docs/semantics.md name the reasons that the code has."""

from __future__ import annotations

import re
from pathlib import Path

import consentgate as cg
from consentgate.reasons import FIRST_RULE_BIT, REASON_WIDTH, REASONS
from consentgate.storage import sections

SEMANTICS = (Path(__file__).parent.parent / "docs" / "semantics.md").read_text(encoding="utf-8")


def reason_rows() -> list[list[str]]:
    """The cells of the table of reasons, in section 4.3, without its head."""
    table = re.search(r"^### 4\.3 .*?((?:^\|[^\n]*\n)+)", SEMANTICS, re.MULTILINE | re.DOTALL)
    assert table is not None
    rows = [line.strip().strip("|").split("|") for line in table[1].splitlines()[2:]]
    return [[cell.strip() for cell in row] for row in rows]


def test_the_table_of_reasons_is_the_codes() -> None:
    documented = [row[:3] for row in reason_rows() if row[1].startswith("`")]
    assert documented == [
        [str(reason.bit), f"`{reason.code}`", ", ".join(reason.inputs)] for reason in REASONS
    ]


def test_every_other_bit_is_reserved_or_a_rules() -> None:
    others = [row for row in reason_rows() if not row[1].startswith("`")]
    used = {reason.bit for reason in cg.Reason}
    bits = {row[3].partition(":")[0]: set(span(row[0])) for row in others}
    assert bits.pop("reserved", set()) == set(range(FIRST_RULE_BIT)) - used
    (rules,) = bits.values()
    assert rules == set(range(FIRST_RULE_BIT, REASON_WIDTH))


def test_the_version_of_gate_files_is_the_codes() -> None:
    assert f"a number in its first 16 bytes: {sections.VERSION} |" in SEMANTICS


def span(text: str) -> range:
    """The bits from the first to the last that are named."""
    first, _, last = text.partition("–")
    return range(int(first), int(last or first) + 1)
