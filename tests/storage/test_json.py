"""JSON: how deeply it is nested, and many lines of it."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import consentgate as cg
from consentgate.storage import json_depth
from consentgate.storage.json_depth import MOST_LEVELS, json_levels
from tests.build import AS_OF, consent_table


def levels_of(value: Any) -> int:
    """How many objects and lists lie within each other."""
    if isinstance(value, dict):
        value = list(value.values())
    return 1 + max(map(levels_of, value), default=0) if isinstance(value, list) else 0


TEXTS = ["a", "[[[{", "]]]]", "\\", '"', '\\"[[', "]\n[", "x\\\\", "\u2028[", "ü{"]


def draw_json(draws: random.Random, levels: int) -> Any:
    """Any value of JSON, with brackets and quotes in its strings."""
    if levels == 0 or draws.random() < 0.3:
        return draws.choice([1, None, True, *TEXTS])
    if draws.random() < 0.5:
        return [draw_json(draws, levels - 1) for _ in range(draws.randint(0, 3))]
    return {draws.choice(TEXTS): draw_json(draws, levels - 1) for _ in range(draws.randint(0, 3))}


@pytest.mark.parametrize("seed", range(5))
def test_the_levels_of_json_are_counted(seed: int) -> None:
    draws = random.Random(seed)
    for _ in range(200):
        values = [draw_json(draws, draws.randint(0, 7)) for _ in range(3)]
        is_ascii, indent = draws.random() < 0.5, draws.choice([None, 1])
        lines = [json.dumps(value, indent=indent, ensure_ascii=is_ascii) for value in values]
        text = "\n".join(lines).encode()
        cut = draws.randrange(len(text))
        parts = [text] if text[:cut].endswith(b"\\") else [text[:cut], text[cut:]]
        assert json_levels(parts) == max(map(levels_of, values))


@pytest.mark.parametrize(
    "before",
    [
        b"",
        b'"',
        b'{"a": "\\\n',
        b'{"a": "]]]]]]]\n',
        b"]]]]]]]]]\n",
        b'\\"\n',
        b'{"a": "\\\\"}',
        b"\r",
    ],
)
def test_malformed_json_hides_no_levels(before: bytes) -> None:
    assert json_levels([before + b"\n" + b"[" * 1_000 + b"]" * 1_000]) >= 1_000


def deep_json(levels: int, opening: str, closing: str) -> bytes:
    """A snapshot with an attribute that is nested so deeply."""
    record = consent_table().to_pylist()[0]
    record |= {"effective_from": record["effective_from"].isoformat(), "deep": "HERE"}
    deep = opening * (levels - 1) + "1" + closing * (levels - 1)
    return json.dumps(record).replace('"HERE"', deep).encode() + b"\n"


@pytest.mark.parametrize(
    ("opening", "closing"), [("[", "]"), ('{"a":', "}"), ("[\n", "]"), ("[", "")]
)
@pytest.mark.parametrize("levels", [MOST_LEVELS + 1, 10_000, 300_000, 1_000_000])
def test_json_that_is_nested_deeply_is_refused(
    levels: int, opening: str, closing: str, tmp_path: Path
) -> None:
    path = tmp_path / "x.jsonl"
    path.write_bytes(b'{"subject_id": "]]]]"}\n' + deep_json(levels, opening, closing))
    with pytest.raises(cg.UnreadableFileError, match="nests objects or lists more than 64 deep"):
        cg.ConsentSnapshot.read(path, as_of=AS_OF)


def test_json_that_is_nested_less_deeply_is_read(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    path.write_bytes(deep_json(MOST_LEVELS, "[", "]"))
    assert len(cg.ConsentSnapshot.read(path, as_of=AS_OF).table) == 1


def test_an_escape_may_be_cut_by_a_piece(tmp_path: Path) -> None:

    path = tmp_path / "x.jsonl"
    for shift in range(6):
        start = b'{"a": "' + b" " * (json_depth._CHUNK_BYTES - 10 + shift)
        path.write_bytes(start + b'\\\\\\"[[[' + b'", "b": [[1]]}\n')
        assert json_levels(json_depth._chunks(path)) == 3


def lines(count: int) -> Iterator[bytes]:
    """Many records of a snapshot as JSON."""
    for number in range(count):
        yield deep_json(1, "", "").replace(b'"subject_id": 1', b'"subject_id": %d' % number)


def test_many_lines_of_json_are_read(tmp_path: Path) -> None:
    (tmp_path / "x.jsonl").write_bytes(b"".join(lines(9_000)))
    assert cg.ConsentSnapshot.read(tmp_path / "x.jsonl", as_of=AS_OF).table.num_rows == 9_000
