"""Gate files with right checksums and a head that somebody else wrote."""

from __future__ import annotations

import copy
import hashlib
import json
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

import consentgate as cg
from consentgate.reasons import RULES_VERSION
from tests.build import MICRO, WRITTEN, make_consent, make_gate, message_table
from tests.judging.saved_gates import gate_without_channels, head_size, integer_gate

JUNK: list[Any] = [None, True, -1, 0, 1, 63, 4096, 2**62, 2**70, "x", "\ud800", [], {}]
Steps = tuple[str | int, ...]
BOUND_NUMBERS = {"base", "shift"}
"""Numbers that decide as the words do, which whoever forges a head can forge as well."""


def content_of(file: bytes) -> Any:
    """The JSON of a file's head."""
    return json.loads(file[48 : head_size(file)].rstrip(b"\0"))


def forged(file: bytes, content: Any) -> bytes:
    """The file with another head, and the checksum that goes with it."""
    text = content if isinstance(content, bytes) else json.dumps(content).encode()
    size = 48 + len(text)
    size += -size % 4096
    prefix = struct.pack("<8sII", file[:8], file[8], size)
    text = text.ljust(size - 48, b"\0")
    return prefix + hashlib.sha256(prefix + text).digest() + text + file[head_size(file) :]


def changed(content: Any, path: Steps, value: Any) -> Any:
    """A copy with another value at a path."""
    content = copy.deepcopy(content)
    inner = content
    for step in path[:-1]:
        inner = inner[step]
    inner[path[-1]] = value
    return content


def value_at(content: Any, path: Steps) -> Any:
    """The value at a path."""
    for step in path:
        content = content[step]
    return content


def without(content: Any, path: Steps) -> Any:
    """A copy without what is at a path."""
    content = copy.deepcopy(content)
    inner = content
    for step in path[:-1]:
        inner = inner[step]
    del inner[path[-1]]
    return content


def paths(content: Any, above: Steps = ()) -> Iterator[Steps]:
    """The path of every value in JSON."""
    if isinstance(content, dict | list):
        steps = content if isinstance(content, dict) else range(len(content))
        for step in steps:
            yield (*above, step)
            yield from paths(content[step], (*above, step))


def open_forged(folder: Path, file: bytes, content: Any) -> cg.Gate:
    path = folder / "forged.gate"
    path.write_bytes(forged(file, content))
    return cg.Gate.open(path)


@pytest.fixture(params=[integer_gate, gate_without_channels])
def saved(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[bytes, cg.Gate, pa.Table]:
    make: Callable[[], tuple[cg.Gate, pa.Table]] = request.param
    gate, table = make()
    gate.save(tmp_path / "g")
    return (tmp_path / "g").read_bytes(), gate, table


def test_forging_nothing_gives_the_gate(
    saved: tuple[bytes, cg.Gate, pa.Table], tmp_path: Path
) -> None:
    file, gate, table = saved
    opened = open_forged(tmp_path, file, content_of(file))
    assert opened.decide(table).counts == gate.decide(table).counts


def test_every_number_in_the_head_a_little_off_is_refused_or_admits_no_more(
    saved: tuple[bytes, cg.Gate, pa.Table], tmp_path: Path
) -> None:
    file, gate, table = saved
    content = content_of(file)
    before = gate.decide(table).admitted.to_numpy(zero_copy_only=False)
    for path in paths(content):
        number = value_at(content, path)
        if type(number) is not int or path[-1] in BOUND_NUMBERS:
            continue
        for other in {number - 1, number + 1, 2 * number, number // 2} - {number}:
            try:
                found = open_forged(tmp_path, file, changed(content, path, other))
            except cg.GateFileError:
                continue
            decision = found.decide(table, judged_at=gate.judged_at)
            after = decision.admitted.to_numpy(zero_copy_only=False)
            assert not (after & ~before).any(), path


def test_any_value_changed_in_the_head_is_refused_or_admits_no_more(
    saved: tuple[bytes, cg.Gate, pa.Table], tmp_path: Path
) -> None:
    file, gate, table = saved
    content = content_of(file)
    before = gate.decide(table).admitted.to_numpy(zero_copy_only=False)
    for path in paths(content):
        for forgery in [*(changed(content, path, junk) for junk in JUNK), without(content, path)]:
            try:
                found = open_forged(tmp_path, file, forgery)
            except cg.GateFileError:
                continue
            try:
                decision = found.decide(table, judged_at=gate.judged_at)
            except cg.ColumnMissingError:  # it looks for a column of another name
                continue
            after = decision.admitted.to_numpy(zero_copy_only=False)
            if path[-1] not in BOUND_NUMBERS:
                assert not (after & ~before).any(), path


@pytest.mark.parametrize("part", ["channels", "registry_as_of", "channel_family"])
def test_a_gate_without_what_its_channel_columns_need_is_refused(part: str, tmp_path: Path) -> None:
    """With `channels: null`, private rows were admitted."""
    integer_gate()[0].save(tmp_path / "g")
    file = (tmp_path / "g").read_bytes()
    content = changed(content_of(file), ("description", "judge", part), None)
    with pytest.raises(cg.DamagedGateError, match="channels and the columns that name them"):
        open_forged(tmp_path, file, content)
    for name in [name for name in content["arrays"] if name.startswith("channels.")]:
        content = without(content, ("arrays", name))
    with pytest.raises(cg.DamagedGateError, match="channels and the columns that name them"):
        open_forged(tmp_path, file, content)


def test_a_gate_whose_columns_name_no_channel_but_that_has_some_is_refused(tmp_path: Path) -> None:
    integer_gate()[0].save(tmp_path / "g")
    file = (tmp_path / "g").read_bytes()
    columns = {"channels": [], "visibility": "seen"}
    content = content_of(file)
    content["description"]["columns"] |= columns
    with pytest.raises(cg.DamagedGateError, match="channels and the columns that name them"):
        open_forged(tmp_path, file, content)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("policy_digest",), "0" * 64),
        (("reason_names", "16"), "major"),
        (("reason_width",), 16),
        (("columns", "subjects"), ["channel_id"]),
        (("consent", "as_of"), "2026-03-01T00:00:00.000001+00:00"),
        (("consent", "as_of"), "2026-03-01T00:00:00"),
        (("consent", "as_of"), "2026-03-01T00:00:00Z"),
        (("consent", "as_of"), "then"),
        (("channels", "as_of"), "2026-03-01T01:00:00+00:00"),
        (("channels",), None),
        (("consent", "digest"), "F" * 64),
        (("channels", "digest"), "ab"),
        (("more",), "more"),
    ],
)
def test_an_identity_that_does_not_fit_what_judges_is_refused(
    path: Steps, value: Any, tmp_path: Path
) -> None:
    integer_gate()[0].save(tmp_path / "g")
    file = (tmp_path / "g").read_bytes()
    content = changed(content_of(file), ("description", "identity", *path), value)
    with pytest.raises(cg.DamagedGateError, match="does not describe a gate"):
        open_forged(tmp_path, file, content)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("rules_version",), RULES_VERSION + 1),
        (("reason_names",), {}),
        (("reason_names", "0"), "public_channel"),
        (("reason_names", "14"), "another"),
    ],
)
def test_a_gate_that_says_that_it_has_other_rules_is_refused(
    path: Steps, value: Any, tmp_path: Path
) -> None:
    integer_gate()[0].save(tmp_path / "g")
    file = (tmp_path / "g").read_bytes()
    content = changed(content_of(file), ("description", "identity", *path), value)
    with pytest.raises(cg.GateRulesError, match=r"was made by consentgate 0\..*compile the gate"):
        open_forged(tmp_path, file, content)


@pytest.mark.parametrize("version", [None, 1, "", "later", "1" * 65, "1 2"])
def test_a_gate_that_does_not_say_which_version_saved_it_is_refused(
    version: Any, tmp_path: Path
) -> None:
    integer_gate()[0].save(tmp_path / "g")
    file = (tmp_path / "g").read_bytes()
    content = changed(content_of(file), ("description", "version"), version)
    with pytest.raises(cg.DamagedGateError, match=r"does not describe a gate \(version\)"):
        open_forged(tmp_path, file, content)


@pytest.mark.parametrize(
    "text",
    [b"", b"null", b"[]", b"{", b"\xff", b"[" * 100_000, b'{"arrays": ' * 20_000, b"1e999", b"NaN"],
    ids=lambda text: str(text[:10]),
)
def test_a_head_that_is_no_description_is_refused(text: bytes, tmp_path: Path) -> None:
    integer_gate()[0].save(tmp_path / "g")
    with pytest.raises(cg.DamagedGateError, match="has a head that does not describe"):
        open_forged(tmp_path, (tmp_path / "g").read_bytes(), text)


def test_a_deep_value_in_a_head_is_refused(tmp_path: Path) -> None:
    integer_gate()[0].save(tmp_path / "g")
    file = (tmp_path / "g").read_bytes()
    text = json.dumps(
        changed(content_of(file), ("description", "identity", "more"), "HERE")
    ).encode()
    for deep in (b"[" * 150 + b"]" * 150, b"[" * 9000 + b"]" * 9000):
        with pytest.raises(cg.DamagedGateError, match="does not describe"):
            open_forged(tmp_path, file, text.replace(b'"HERE"', deep))


@pytest.mark.parametrize("more", [1, 8, 2048])
def test_a_head_of_an_odd_length_is_refused(more: int, tmp_path: Path) -> None:
    """Otherwise, arrays would not begin where words and lines of the processor's cache do."""
    integer_gate()[0].save(tmp_path / "g")
    file = (tmp_path / "g").read_bytes()
    text = file[48 : head_size(file)] + bytes(more)
    prefix = file[:12] + (head_size(file) + more).to_bytes(4, "little")
    digest = hashlib.sha256(prefix + text).digest()
    (tmp_path / "forged").write_bytes(prefix + digest + text + file[head_size(file) :])
    with pytest.raises(cg.DamagedGateError, match="head of an odd length"):
        cg.Gate.open(tmp_path / "forged")


@pytest.mark.parametrize("beyond", [1, 1 << 40])
def test_an_array_beyond_the_end_is_refused(beyond: int, tmp_path: Path) -> None:
    """Even where the checksum of its pages is that of what a reader finds there, nothing."""
    integer_gate()[0].save(tmp_path / "g")
    file = (tmp_path / "g").read_bytes()
    for name in content_of(file)["arrays"]:
        content = content_of(file)
        place = content["arrays"][name]
        place["start"] = content["size"] + beyond
        place["samples_sha256"] = hashlib.sha256(b"").hexdigest()
        with pytest.raises(cg.DamagedGateError, match="head that does not describe its arrays"):
            open_forged(tmp_path, file, content)


@pytest.mark.parametrize("kind", ["strings", "uuids"])
def test_signed_ids_that_are_no_integers_are_refused(kind: str, tmp_path: Path) -> None:
    ids = pa.array(["a"]) if kind == "strings" else pa.array([bytes(16)], pa.uuid())
    make_gate(make_consent(subject_id=ids)).save(tmp_path / "g")
    file = (tmp_path / "g").read_bytes()
    path: Steps = ("description", "judge", "consent", "is_signed")
    with pytest.raises(cg.DamagedGateError, match="signs of consent's ids"):
        open_forged(tmp_path, file, changed(content_of(file), path, True))


@pytest.mark.parametrize(
    ("path", "value", "named"),
    [
        (("identity", "consent", "source"), 3, "identity.consent.source"),
        (("identity", "x"), "y", "identity.x"),
        (("identity", "policy_digest"), "0" * 64, "(identity)"),
        (("identity", "consent", "digest"), "0", "identity.consent.digest"),
        (("identity", "channels", "digest"), "0", "identity.channels.digest"),
        (("judge", "channels"), None, "channels and the columns that name them"),
        (("judge", "consent", "reason_bits"), 3, "reasons of subjects"),
        (("judge", "consent", "seed"), "0", "judge.consent.seed"),
        (("judge", "consent", "longest"), 200, "length of searches in consent"),
        (("judge", "consent", "entries"), 7, "number of consent.since"),
        (("judge", "consent", "entries"), 7000, "number of entries of consent"),
        (("judge", "consent", "since", "bits"), 9, "position of consent.since"),
        (("judge", "consent", "since", "shift"), 40, "type of consent.since"),
        (("judge", "consent", "since", "base"), 2**62 + 1, "judge.consent.since.base"),
        (("judge", "channels", "since"), None, "names of arrays"),
    ],
)
def test_an_error_names_the_part_that_does_not_fit(
    path: Steps, value: Any, named: str, tmp_path: Path
) -> None:
    integer_gate()[0].save(tmp_path / "g")
    file = (tmp_path / "g").read_bytes()
    with pytest.raises(cg.DamagedGateError) as caught:
        open_forged(tmp_path, file, changed(content_of(file), ("description", *path), value))
    assert named in str(caught.value)


@pytest.mark.parametrize("verify", [False, True])
@pytest.mark.parametrize(
    ("part", "bound", "consent", "policy"),
    [
        ("consent", "since", {"effective_from": WRITTEN + MICRO}, {}),
        ("consent", "until", {"expires_at": WRITTEN, "covers_prior": True}, {}),
        ("consent", "until", {"covers_prior": True}, {"max_consent_age": "P30D"}),
    ],
)
def test_a_gate_that_lost_a_bound_is_refused(
    part: str,
    bound: str,
    consent: dict[str, Any],
    policy: dict[str, Any],
    verify: bool,
    tmp_path: Path,
) -> None:
    gate = make_gate(make_consent(**consent), **policy)
    assert gate.decide(message_table()).num_admitted == 0
    gate.save(tmp_path / "g")
    file = (tmp_path / "g").read_bytes()
    content = changed(content_of(file), ("description", "judge", part, bound), None)
    content = without(content, ("arrays", f"{part}.{bound}.rests"))
    (tmp_path / "forged").write_bytes(forged(file, content))
    with pytest.raises(cg.DamagedGateError, match=r"facts of consent|age limit of consents"):
        cg.Gate.open(tmp_path / "forged", verify=verify)


def test_of_several_parts_that_are_none_the_first_is_named(tmp_path: Path) -> None:
    integer_gate()[0].save(tmp_path / "g")
    file = (tmp_path / "g").read_bytes()
    content = changed(content_of(file), ("description", "judged_at"), "then")
    content = changed(content, ("description", "judge"), 3)
    with pytest.raises(cg.DamagedGateError, match=r"does not describe a gate \(judged_at\)"):
        open_forged(tmp_path, file, content)
