"""The structures that Python fills are those of kernel.h, byte for byte."""

from __future__ import annotations

import ctypes
import json
import os
import re
import shlex
import subprocess
import sys
from enum import IntEnum
from pathlib import Path

import pytest

from consentgate.index.secret import MAX_ID_BYTES
from consentgate.kernel import building, structures

STRUCTURES = {
    "cg_validity": structures.Validity,
    "cg_buffer": structures.Buffer,
    "cg_ids": structures.Ids,
    "cg_secret": structures.SecretWords,
    "cg_table": structures.Table,
    "cg_instants": structures.InstantLayout,
    "cg_facts": structures.Facts,
    "cg_resolved": structures.Resolved,
    "cg_lists": structures.Lists,
    "cg_column": structures.Column,
    "cg_created": structures.Created,
    "cg_messages": structures.Messages,
    "cg_moved": structures.Moved,
    "cg_field": structures.Field,
    "cg_rows": structures.Rows,
    "cg_extent": structures.Extent,
    "cg_dealt": structures.Dealt,
}
ENUMS: dict[str, type[IntEnum]] = {
    "cg_fault": structures.Fault,
    "cg_id_kind": structures.IdKind,
    "cg_layout": structures.LineLayout,
    "cg_list_kind": structures.ListKind,
    "cg_unit": structures.Unit,
    "cg_field_kind": structures.FieldKind,
}
HEADER = (building.FOLDER / "kernel.h").read_text()
CONSTANTS = {
    "CG_LONGEST_TEXT": MAX_ID_BYTES,
    "LINE_WORDS": structures.LINE_WORDS,
    "RANK_LINES": structures.RANK_LINES,
}


def body_of(kind: str, name: str) -> str:
    """The lines between the braces of a structure or enum, without comments."""
    found = re.search(rf"{kind} {name} \{{(.*?)\}};", HEADER, re.DOTALL)
    assert found is not None
    return re.sub(r"/\*.*?\*/", "", found[1], flags=re.DOTALL)


def fields_of(name: str) -> list[str]:
    """The names of a structure's fields in kernel.h, in order."""
    return re.findall(r"(\w+)(?:\[\w+\])*;", body_of("struct", name))


def names_of(name: str) -> list[str]:
    """The names of an enum's values in kernel.h, in order."""
    return re.findall(r"CG_\w+", body_of("enum", name))


def program() -> str:
    """A C program that prints sizes and offsets of fields as JSON."""
    lines = [
        f'printf("\\"{name}.{field}\\": [%zu, %zu],\\n", offsetof(struct {name}, {field}), '
        f"sizeof(((struct {name} *)0)->{field}));"
        for name in STRUCTURES
        for field in fields_of(name)
    ]
    lines += [f'printf("\\"{n}\\": [%zu],\\n", sizeof(struct {n}));' for n in STRUCTURES]
    lines += [f'printf("\\"{n}\\": [%d],\\n", (int){n});' for e in ENUMS for n in names_of(e)]
    lines += [f'printf("\\"{n}\\": [%d],\\n", (int){n});' for n in CONSTANTS]
    head = '#include <stddef.h>\n#include <stdio.h>\n#include "table.h"\n'
    return f'{head}int main(void) {{\n{"".join(lines)}\nprintf("\\"\\": []");\nreturn 0;\n}}\n'


@pytest.fixture(scope="module")
def in_c(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[int]]:
    """Sizes, offsets and numbers as a C compiler has them."""
    folder = tmp_path_factory.mktemp("structures")
    source, binary = folder / "print.c", folder / "print"
    source.write_text(program())
    command = shlex.split(os.environ.get("CC", "")) or [sys.executable, "-m", "ziglang", "cc"]
    subprocess.run(
        [*command, "-std=c11", f"-I{building.FOLDER}", str(source), "-o", str(binary)], check=True
    )
    printed = subprocess.run([binary], capture_output=True, text=True, check=True).stdout
    found: dict[str, list[int]] = json.loads("{" + printed + "}")
    return found


@pytest.mark.parametrize("name", STRUCTURES)
def test_a_structure_is_that_of_the_header(name: str, in_c: dict[str, list[int]]) -> None:
    structure = STRUCTURES[name]
    assert [field[0] for field in structure._fields_] == fields_of(name)
    assert [ctypes.sizeof(structure)] == in_c[name]
    for field in fields_of(name):
        described = getattr(structure, field)
        assert [described.offset, described.size] == in_c[f"{name}.{field}"]


def test_every_structure_of_the_header_is_there() -> None:
    assert set(re.findall(r"^struct (cg_\w+) \{", HEADER, re.MULTILINE)) == set(STRUCTURES)
    assert set(re.findall(r"^enum (cg_\w+) \{", HEADER, re.MULTILINE)) == set(ENUMS)


@pytest.mark.parametrize("name", ENUMS)
def test_an_enum_has_the_values_of_the_header(name: str, in_c: dict[str, list[int]]) -> None:
    assert [in_c[value] for value in names_of(name)] == [[value] for value in ENUMS[name]]


@pytest.mark.parametrize("name", CONSTANTS)
def test_a_constant_is_that_of_the_headers(name: str, in_c: dict[str, list[int]]) -> None:
    assert in_c[name] == [CONSTANTS[name]]


def test_the_places_of_a_line_are_those_of_the_kernel() -> None:
    table = (Path(building.FOLDER) / "table.h").read_text()
    assert "layout == CG_INTEGER_LINES ? 4 : layout == CG_UUID_LINES ? 2 : 3" in table
    assert "layout == CG_TEXT_LINES ? 3 : 4" in table
    assert [layout.places for layout in structures.LineLayout] == [4, 2, 3]
    assert [layout.facts_word for layout in structures.LineLayout] == [4, 4, 3]
