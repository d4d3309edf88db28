"""Saved gates: the same judge from a file, or a clear refusal."""

from __future__ import annotations

import hashlib
import pickle
import subprocess
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

import consentgate as cg
from tests.build import AS_OF, make_channels, make_consent, make_gate, message_table, reasons
from tests.judging.saved_gates import (
    GATES,
    STRING_IDS,
    head_size,
    integer_gate,
    string_gate,
    uuid_gate,
)


@GATES
@pytest.mark.parametrize("verify", [False, True])
def test_an_opened_gate_is_the_gate_that_was_saved(
    make: Callable[[], tuple[cg.Gate, pa.Table]], verify: bool, tmp_path: Path
) -> None:
    gate, table = make()
    expected = gate.filter(table)
    gate.save(tmp_path / "train.gate")
    opened = cg.Gate.open(str(tmp_path / "train.gate"), verify=verify)
    admitted, excluded = opened.filter(table)
    assert admitted.equals(expected[0], check_metadata=True)
    assert excluded.equals(expected[1], check_metadata=True)
    assert excluded.num_rows > 0 < admitted.num_rows
    assert opened.digest == gate.digest
    assert (opened.policy, opened.columns) == (gate.policy, gate.columns)
    assert opened.judged_at == gate.judged_at
    assert list(tmp_path.iterdir()) == [tmp_path / "train.gate"]


def test_a_gate_of_nobody_can_be_saved(tmp_path: Path) -> None:
    nobody = make_consent(subject_id=pa.array([], pa.int64()))
    make_gate(nobody).save(tmp_path / "g")
    counts = cg.Gate.open(tmp_path / "g").decide(message_table(sender_id=[1, 2])).counts
    assert counts == {"no_consent_record": 2}


def test_an_opened_gate_refuses_a_stale_snapshot(tmp_path: Path) -> None:
    gate = make_gate()
    gate.save(tmp_path / "g")
    opened = cg.Gate.open(tmp_path / "g")
    with pytest.raises(cg.StaleSnapshotError, match="consent snapshot is 99 days"):
        opened.decide(message_table(), judged_at=AS_OF + timedelta(days=99))


def test_an_opened_gate_explains_from_the_snapshot_that_it_is_given(tmp_path: Path) -> None:
    consent, channels = make_consent(), make_channels()
    gate = make_gate(consent, channels)
    gate.save(tmp_path / "g")
    opened, table = cg.Gate.open(tmp_path / "g"), message_table()
    record_id = table["message_id"][0].as_py()
    explained = opened.explain(table, record_id, consent=consent, channels=channels)
    assert str(explained) == str(gate.explain(table, record_id))
    with pytest.raises(cg.ConfigurationError, match=r"holds no records; .* as `consent`"):
        opened.explain(table, record_id)
    with pytest.raises(cg.ConfigurationError, match="as `channels` is not what"):
        other = make_channels(channel_id=[77])
        opened.explain(table, record_id, consent=consent, channels=other)


def test_a_file_holds_no_readable_string_id(tmp_path: Path) -> None:
    gate, _ = string_gate()
    gate.save(tmp_path / "g")
    content = (tmp_path / "g").read_bytes()
    assert b"Aleppo" not in content
    assert not any(name.encode() in content for name in STRING_IDS)


# --- what is refused --------------------------------------------------------------------------


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, pa.Table]:
    """The content of a gate's file, and messages for it."""
    path = tmp_path_factory.mktemp("saved") / "g"
    gate, table = integer_gate()
    gate.save(path)
    return path.read_bytes(), table


@pytest.mark.parametrize("flip", [0x01, 0x80, 0xFF])
def test_any_byte_flipped_in_the_head_is_refused(
    flip: int, saved: tuple[bytes, pa.Table], tmp_path: Path
) -> None:
    content = bytearray(saved[0])
    path = tmp_path / "g"
    path.write_bytes(content)
    with path.open("r+b", buffering=0) as file:
        for place in range(head_size(content)):
            file.seek(place)
            file.write(bytes([content[place] ^ flip]))
            with pytest.raises(cg.GateFileError):
                cg.Gate.open(path)
            file.seek(place)
            file.write(bytes([content[place]]))
    cg.Gate.open(path, verify=True)


@pytest.fixture
def unsampled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[bytearray, pa.Table]:
    """The content of a gate's file, and messages for it; no page of it is always looked at."""
    monkeypatch.setattr("consentgate.storage.sections._sampled", lambda _: [])
    gate, table = integer_gate()
    gate.save(tmp_path / "first")
    return bytearray((tmp_path / "first").read_bytes()), table


def test_any_page_altered_is_noticed_when_every_byte_is_checked(
    unsampled: tuple[bytearray, pa.Table], tmp_path: Path
) -> None:
    content = unsampled[0]
    random = np.random.default_rng(5)
    path = tmp_path / "g"
    for start in range(head_size(content), len(content), 512):
        place = start + int(random.integers(512))
        content[place] ^= 0x10
        path.write_bytes(content)
        with pytest.raises(cg.DamagedGateError, match="checksum of its section"):
            cg.Gate.open(path, verify=True)
        content[place] ^= 0x10


@pytest.mark.parametrize("kept", [0, 1, 7, 8, 15, 16, 47, 48, 4095, 4096, -4096, -1])
def test_a_truncated_file_is_refused(
    kept: int, saved: tuple[bytes, pa.Table], tmp_path: Path
) -> None:
    (tmp_path / "g").write_bytes(saved[0][:kept])
    with pytest.raises(cg.DamagedGateError, match=r"is empty|checksum of its head|bytes long"):
        cg.Gate.open(tmp_path / "g")


@pytest.mark.parametrize("more", [1, 4096])
def test_a_file_with_something_behind_it_is_refused(
    more: int, saved: tuple[bytes, pa.Table], tmp_path: Path
) -> None:
    (tmp_path / "g").write_bytes(saved[0] + bytes(more))
    with pytest.raises(cg.DamagedGateError, match="bytes long, but"):
        cg.Gate.open(tmp_path / "g")


def test_a_file_of_zeros_is_refused(saved: tuple[bytes, pa.Table], tmp_path: Path) -> None:
    (tmp_path / "g").write_bytes(bytes(len(saved[0])))
    with pytest.raises(cg.DamagedGateError, match="blank at its beginning"):
        cg.Gate.open(tmp_path / "g")


@pytest.mark.parametrize("pages", [slice(None), slice(0, 4), slice(-4, None), 2, 5])
@pytest.mark.parametrize("flip", [0, 1])
def test_a_gate_with_blank_or_altered_pages_is_refused(
    pages: slice | int, flip: int, saved: tuple[bytes, pa.Table], tmp_path: Path
) -> None:
    content = np.frombuffer(saved[0], np.uint8).copy()
    payload = content[head_size(saved[0]) :].reshape(-1, 4096)
    payload[pages] = flip * ~payload[pages]
    content.tofile(tmp_path / "g")
    with pytest.raises(cg.DamagedGateError, match="blank or altered in places"):
        cg.Gate.open(tmp_path / "g")


def test_a_foreign_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "g").write_bytes(b"PAR1" + bytes(9000))
    with pytest.raises(cg.ForeignGateError, match="is no saved gate"):
        cg.Gate.open(tmp_path / "g")


def test_a_file_of_a_newer_version_is_refused(
    saved: tuple[bytes, pa.Table], tmp_path: Path
) -> None:
    (tmp_path / "g").write_bytes(saved[0][:8] + bytes([6, 0, 0, 0]) + saved[0][12:])
    with pytest.raises(cg.NewerGateError, match="has version 6, but this release reads version 5"):
        cg.Gate.open(tmp_path / "g")


@pytest.mark.parametrize("version", [1, 4])
def test_a_file_of_an_older_version_is_refused(
    version: int, saved: tuple[bytes, pa.Table], tmp_path: Path
) -> None:
    size = head_size(saved[0])
    old = saved[0][:8] + bytes([version, 0, 0, 0]) + saved[0][12:16]
    digest = hashlib.sha256(old + saved[0][48:size]).digest()
    (tmp_path / "g").write_bytes(old + digest + saved[0][48:])
    with pytest.raises(cg.GateFileError) as caught:
        cg.Gate.open(tmp_path / "g")
    assert str(caught.value) == (
        f"Gate file '{tmp_path / 'g'}' has version {version}, but this release reads version 5; "
        "compile the gate anew from its policy, snapshot and registry."
    )


def test_an_opened_gate_knows_where_it_came_from(
    saved: tuple[bytes, pa.Table], tmp_path: Path
) -> None:
    (tmp_path / "g").write_bytes(saved[0])
    gate = cg.Gate.open(tmp_path / "g")
    assert gate.identity.consent.source == "Arrow data"
    assert gate.identity.channels is not None and gate.identity.channels.source == "Arrow data"
    assert gate.path == tmp_path / "g"


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    for path in (tmp_path / "missing", tmp_path):
        with pytest.raises(cg.UnreadableFileError, match=str(path)):
            cg.Gate.open(path)


def test_a_blank_word_or_rest_admits_nobody(
    unsampled: tuple[bytearray, pa.Table], tmp_path: Path
) -> None:
    """Zeros where they are not noticed: in every byte in turn, no row is admitted that was not."""
    content, table = unsampled
    (tmp_path / "g").write_bytes(content)
    before = cg.Gate.open(tmp_path / "g").decide(table).admitted.to_numpy(zero_copy_only=False)
    random = np.random.default_rng(6)
    for start in range(head_size(content), len(content), 256):
        start += 8 * int(random.integers(16))
        stop = start + 8 * int(random.integers(1, 16))
        kept = content[start:stop]
        content[start:stop] = bytes(stop - start)
        (tmp_path / "g").write_bytes(content)
        content[start:stop] = kept
        after = cg.Gate.open(tmp_path / "g").decide(table).admitted.to_numpy(zero_copy_only=False)
        assert not (after & ~before).any(), (start, stop)


def test_files_are_the_same_in_every_release(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Under one secret. If this fails, gates in old files find nobody: raise `VERSION`."""
    monkeypatch.setattr("consentgate.index.index.secrets.token_bytes", bytes)
    digests = []
    for make in (integer_gate, string_gate, uuid_gate):
        make()[0].save(tmp_path / "g")
        content = (tmp_path / "g").read_bytes()
        digests.append(hashlib.sha256(content[head_size(content) :]).hexdigest()[:16])
    assert digests == ["057de11d2dadc22c", "e217b7306f6dfa90", "f6e66a30be885948"]


# --- writing ----------------------------------------------------------------------------------


def test_saving_replaces_a_file_at_once(tmp_path: Path) -> None:
    make_gate().save(tmp_path / "g")
    first = cg.Gate.open(tmp_path / "g")
    make_gate(make_consent(status="withdrawn")).save(tmp_path / "g")
    second = cg.Gate.open(tmp_path / "g")
    table = message_table()
    assert first.decide(table).num_admitted == table.num_rows
    assert second.decide(table).num_admitted == 0


def test_a_path_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(cg.OutputError, match="missing/g' cannot be written: No such file"):
        make_gate().save(tmp_path / "missing" / "g")


def test_a_policy_that_is_too_long_for_a_head_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("consentgate.storage.sections._MOST_HEAD", 4096)
    make_gate(methods={f"word {n}" for n in range(10)}).save(tmp_path / "short")
    cg.Gate.open(tmp_path / "short")
    with pytest.raises(cg.OutputError, match="shorten the policy's lists"):
        make_gate(methods={f"word {n}" for n in range(1000)}).save(tmp_path / "long")
    assert [path.name for path in tmp_path.iterdir()] == ["short"]


WRITE_WITH_A_LIMIT = """
import resource, signal, sys
import consentgate as cg
from tests.judging.saved_gates import integer_gate
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
gate, _ = integer_gate()
resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
try:
    gate.save(sys.argv[1])
except cg.OutputError as error:
    print(error)
"""


def test_a_file_that_does_not_fit_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "g"
    make_gate().save(path)
    before = path.read_bytes()
    command = [sys.executable, "-c", WRITE_WITH_A_LIMIT, str(path)]
    root = Path(__file__).parents[2]
    printed = subprocess.run(command, capture_output=True, text=True, cwd=root, check=True).stdout
    assert "cannot be written: File too large" in printed
    assert list(tmp_path.iterdir()) == [path]
    assert path.read_bytes() == before


# --- pickles ----------------------------------------------------------------------------------


def test_a_saved_gate_pickles_as_its_path_and_digest(tmp_path: Path) -> None:
    gate, table = string_gate()
    by_value = pickle.dumps(gate)
    gate.save(tmp_path / "g")
    for saved_gate in (gate, cg.Gate.open(tmp_path / "g")):
        by_path = pickle.dumps(saved_gate)
        assert len(by_path) < 1000 < len(by_value)
        copy = pickle.loads(by_path)
        assert copy.decide(table).reason_bits == gate.decide(table).reason_bits


def test_a_pickled_gate_refuses_another_file_in_its_place(tmp_path: Path) -> None:
    path = tmp_path / "g"
    make_gate().save(path)
    pickled = pickle.dumps(cg.Gate.open(path))
    make_gate().save(path)
    with pytest.raises(cg.ReplacedGateError, match="holds another gate"):
        pickle.loads(pickled)
    path.unlink()
    with pytest.raises(cg.UnreadableFileError, match="No such file"):
        pickle.loads(pickled)


def test_a_relative_path_is_found_from_another_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    gate = make_gate()
    gate.save("g")
    pickled: Any = pickle.dumps(gate)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert pickle.loads(pickled).decide(message_table()).num_excluded == 0


@pytest.mark.parametrize("shift", [7, 8, 9, 15, 16, 17, 31, 32, 33])
def test_rests_of_every_width_come_back(shift: int, tmp_path: Path) -> None:
    """Where steps are 2**8, 2**16 and 2**32 microseconds long, rests just fit into their type."""
    half = 1 << (shift + 25)
    instants = pa.array([-half, half], pa.int64()).cast(pa.timestamp("us", "UTC"))
    consent = make_consent(subject_id=[1, 2], effective_from=instants, expires_at=instants)
    gate = make_gate(consent)
    since = gate._judge.consent.since
    assert since is not None
    assert since.shift == shift
    gate.save(tmp_path / "a.gate")
    opened = cg.Gate.open(tmp_path / "a.gate", verify=True)
    table = message_table(sender_id=[1, 2])
    assert opened.decide(table).reason_bits.equals(gate.decide(table).reason_bits)


def test_a_policy_may_be_large(tmp_path: Path) -> None:
    """The head of a file may take up to 16 MiB."""
    words = [f"{n:0500}" for n in range(24_000)]
    rule = cg.Rule(name="listed", column="word", any_of=words)
    make_gate(record_rules=[rule]).save(tmp_path / "a.gate")
    assert (tmp_path / "a.gate").stat().st_size > 10 << 20
    table = message_table(sender_id=[1, 1], word=[words[-1], "other"])
    assert reasons(cg.Gate.open(tmp_path / "a.gate"), table) == [["listed"], []]


def test_a_gate_with_an_age_limit_and_no_valid_consent_can_be_opened(tmp_path: Path) -> None:
    make_gate(make_consent(status="refused"), max_consent_age="P30D").save(tmp_path / "g")
    counts = cg.Gate.open(tmp_path / "g").decide(message_table()).counts
    assert counts == {"consent_refused": 1}
