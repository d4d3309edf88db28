"""Hashes of ids are those that `hashing.h` describes, whatever buffers the ids lie in.

Saved gates hold these hashes, so they must stay what they are.
"""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from consentgate.arrow.validation import MalformedArrayError
from consentgate.index import MAX_ID_BYTES, IdArray
from consentgate.index.secret import Secret
from consentgate.kernel import Fault, LineLayout, kernel
from tests.index.lookups import build, facts_in
from tests.kernel.hostile import column, octets

SEEDS = [bytes(16), bytes(range(16)), b"\xff" * 16]
WORD, SHORT = 2**64, 48
LENGTHS = [*range(201), 255, 256, 257, 1000, 65_519, 65_520, 65_521, 65_535, 65_536]


def plain_mix(value: int, odd: int) -> int:
    mixed = value * odd % WORD
    return (mixed ^ mixed >> 32) * 0x9E37_79B9_7F4A_7C15 % WORD


def plain_fold(one: int, other: int) -> int:
    product = (one % WORD) * (other % WORD)
    return product % WORD ^ product >> 64


def stream(of: bytes, seed: bytes, words: int) -> list[int]:
    octets = hashlib.shake_256(of + seed).digest(8 * words)
    return [int.from_bytes(octets[at : at + 8], "little") for at in range(0, 8 * words, 8)]


def plain_fingerprint(text: bytes, seed: bytes) -> tuple[int, int]:
    """The fingerprint of a text, in Python's integers."""
    longer = len(text) // 16 * 16 + 16
    padded = text.ljust(SHORT if len(text) <= SHORT else longer, b"\0")
    words = [int.from_bytes(padded[at : at + 8], "little") for at in range(0, len(padded), 8)]
    key = stream(b"consentgate text words", seed, len(words) + 2)
    sums = [0, 0]
    for which in (0, 1):
        for at in range(0, len(words), 2):
            first = (words[at] + key[at + 2 * which]) % WORD
            second = (words[at + 1] + key[at + 1 + 2 * which]) % WORD
            sums[which] = (sums[which] + first * second) % 2**128
    more = stream(b"consentgate text fingerprints", seed, 4)
    one, other = (
        plain_fold(
            sums[which] % WORD ^ more[2 * which],
            (sums[which] >> 64) + more[2 * which + 1] * (len(text) + 1),
        )
        for which in (0, 1)
    )
    return one, other


def keys(ids: Any, seed: bytes = SEEDS[0], layout: LineLayout = LineLayout.TEXTS) -> list[Any]:
    """The keys of n ids, two words each, as the kernel writes them."""
    described, secret = IdArray(ids), Secret(seed, layout)
    found = np.zeros((len(ids), 2), np.uint64)
    fault = kernel.cg_keys(described.struct, secret.struct, 0, len(ids), found.ctypes.data)
    if fault != Fault.SOUND:
        raise MalformedArrayError(Fault(fault).name)
    return [tuple(pair) for pair in found.tolist()]


def hashes(ids: Any, seed: bytes, layout: LineLayout) -> list[int]:
    described, secret = IdArray(ids), Secret(seed, layout)
    found = np.zeros(len(ids), np.uint64)
    fault = kernel.cg_hashes(described.struct, secret.struct, 0, len(ids), found.ctypes.data)
    assert fault == Fault.SOUND
    words: list[int] = found.tolist()
    return words


def random_text(length: int, seed: int = 1) -> bytes:
    """ASCII of a length."""
    return np.random.default_rng(seed + length).integers(1, 128, length).astype(np.uint8).tobytes()


@pytest.mark.parametrize("seed", SEEDS)
def test_fingerprints_of_every_length_are_what_saved_gates_hold(seed: bytes) -> None:
    texts = [random_text(length) for length in LENGTHS]
    expected = [plain_fingerprint(text, seed) for text in texts]
    decoded = [text.decode() for text in texts]
    for kind in (pa.string(), pa.large_string(), pa.string_view()):
        assert keys(pa.array(decoded, kind), seed) == expected
    backwards = pa.array(decoded[::-1], pa.string()).slice(3)
    assert keys(backwards, seed) == expected[::-1][3:]


def test_fingerprints_of_texts_of_other_bytes_are_what_saved_gates_hold() -> None:
    texts = ["", "\0", "\0" * 16, "\0" * 47, "\0" * 48, "\0" * 49, "ä" * 31, "\U0010ffff" * 25]
    expected = [plain_fingerprint(text.encode(), SEEDS[1]) for text in texts]
    assert keys(pa.array(texts), SEEDS[1]) == expected
    assert len(set(expected)) == len(texts)


def test_known_fingerprints() -> None:
    """The values are written down, so that a change of both implementations shows."""
    assert keys(pa.array(["", "a", "someone", "x" * 48, "x" * 49, "x" * 64])) == KNOWN


@pytest.mark.parametrize("shift", range(17))
@pytest.mark.parametrize("length", [0, 1, 7, 8, 9, 15, 16, 17, 31, 32, 33, 47, 48, 49, 64, 65])
def test_a_text_may_begin_anywhere_and_end_with_its_buffer(shift: int, length: int) -> None:
    """A text may be followed by any bytes, which do not change its key."""
    text, before = random_text(length), random_text(shift, seed=2)
    expected = [plain_fingerprint(text, SEEDS[0])]
    for after in (b"", b"\x7f", b"y" * 15, b"z" * 64):
        offsets = octets([shift, shift + length], "int32")
        ids = column(pa.string(), None, offsets, before + text + after, rows=1)
        assert keys(ids) == expected


@pytest.mark.parametrize("length", [1, 15, 16, 17, 47, 48, 49, 63, 64, 65, 4096])
def test_a_byte_anywhere_makes_another_fingerprint(length: int) -> None:
    text = "x" * length
    places = {0, length // 2, length - 1, *range(0, length, 8)}
    others = [text[:at] + "y" + text[at + 1 :] for at in sorted(places)]
    others += [text + "\0", text + "x", text[:-1], text[:-1] + "\0", "\0" + text[1:]]
    distinct = len({text, *others})
    for half in zip(*keys(pa.array([text, *others])), strict=True):
        assert len(set(half)) == distinct


@pytest.mark.parametrize("more", [0, 1, 2, 1000])
def test_a_text_that_is_too_long_has_no_record(more: int) -> None:
    """A text that is too long has to be UTF-8 up to its end."""
    longest = "x" * MAX_ID_BYTES
    index = build(pa.array([longest, "x"], pa.large_string()))
    for kind in (pa.string(), pa.large_string(), pa.string_view()):
        found = facts_in(index, pa.array(["x", longest + "x" * more, longest], kind))
        assert found == [2, 0 if more else 1, 1]
    data = longest.encode() + b"x" * more + b"\xff"
    ids = column(pa.large_string(), None, octets([0, len(data)], "int64"), data, rows=1)
    with pytest.raises(MalformedArrayError, match="NOT_UTF8"):
        keys(ids)


@pytest.mark.parametrize("seed", SEEDS)
def test_hashes_of_integers_are_what_saved_gates_hold(seed: bytes) -> None:
    odd = int.from_bytes(seed[:8], "little") | 1
    for bits in (8, 16, 32, 64):
        least, most = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
        for kind, numbers in [
            (f"int{bits}", [0, 1, -1, least, least + 1, most - 1, most]),
            (f"uint{bits}", [0, 1, most, most + 1, 2**bits - 2, 2**bits - 1]),
        ]:
            ids = pa.array([7, *numbers], pa.type_for_alias(kind)).slice(1)
            expected = [plain_mix(number % WORD, odd) for number in numbers]
            assert hashes(ids, seed, LineLayout.INTEGERS) == expected
            found = keys(ids, seed, LineLayout.INTEGERS)
            assert [one for one, _ in found] == [number % WORD for number in numbers]


@pytest.mark.parametrize("seed", SEEDS)
def test_hashes_of_uuids_are_what_saved_gates_hold(seed: bytes) -> None:
    odd = int.from_bytes(seed[:8], "little") | 1
    pairs = [(0, 0), (0, 1), (1, 0), (WORD - 1, WORD - 1), (2**63, 5)]
    stored = [a.to_bytes(8, "little") + b.to_bytes(8, "little") for a, b in pairs]
    ids = pa.array([b"x" * 16, *stored], pa.binary(16)).slice(1)
    expected = [plain_mix((plain_mix(a, odd) + b) % WORD, odd) for a, b in pairs]
    assert hashes(ids, seed, LineLayout.UUIDS) == expected
    assert keys(ids, seed, LineLayout.UUIDS) == pairs


# --- UTF-8 ------------------------------------------------------------------------------------


def refused_texts(texts: list[bytes]) -> list[bool]:
    """Whether the kernel refuses each of some texts."""
    data = b"".join(texts)
    offsets = np.cumsum([0, *map(len, texts)])
    held = column(pa.string(), None, octets(offsets, "int32"), data, rows=len(texts))
    described, secret = IdArray(held), Secret(SEEDS[0], LineLayout.TEXTS)
    found = np.zeros(2, np.uint64)
    return [
        kernel.cg_keys(described.struct, secret.struct, row, row + 1, found.ctypes.data)
        == Fault.NOT_UTF8
        for row in range(len(texts))
    ]


def is_refused_by_python(text: bytes) -> bool:
    try:
        text.decode()
    except UnicodeDecodeError:
        return True
    return False


def check_utf8(texts: list[bytes]) -> None:
    assert refused_texts(texts) == [is_refused_by_python(text) for text in texts]


def test_every_sequence_of_one_or_two_bytes_is_judged_as_python_does() -> None:
    check_utf8([bytes([a]) for a in range(256)])
    check_utf8([bytes([a, b]) for a in range(256) for b in range(256)])


@pytest.mark.parametrize("first", [0x7F, 0x80, 0xBF, 0xC1, 0xC2, *range(0xDF, 0xF0)])
def test_every_sequence_of_three_bytes_is_judged_as_python_does(first: int) -> None:
    edges = [0x00, 0x7F, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF, 0xC0, 0xFF]
    check_utf8([bytes([first, b, c]) for b in range(256) for c in edges])


@pytest.mark.parametrize("first", range(0xEF, 0xF8))
def test_sequences_of_four_bytes_are_judged_as_python_does(first: int) -> None:
    edges = [0x00, 0x7F, 0x80, 0x8F, 0x90, 0xBF, 0xC0, 0xFF]
    check_utf8([bytes([first, b, c, d]) for b in range(256) for c in edges for d in edges])


def test_text_of_random_pieces_is_judged_as_python_does() -> None:
    rng = np.random.default_rng(1)
    pieces = [b"a", b"\xc3\xa4", b"\xe2\x82\xac", b"\xf0\x9f\x98\x80", b"\x80", b"\xed\xa0\x80"]
    weights = [0.3, 0.3, 0.2, 0.18, 0.01, 0.01]
    texts = [
        b"".join(pieces[at] for at in rng.choice(6, int(rng.integers(40)), p=weights))
        for _ in range(3000)
    ]
    cut = [text[: len(text) - int(rng.integers(2))] for text in texts]
    check_utf8(texts + cut)
    assert any(map(is_refused_by_python, cut)) and not all(map(is_refused_by_python, cut))


KNOWN = [
    (0x5AE8_0671_318F_D3B3, 0x2911_A026_A3BE_CABF),
    (0x43BC_9D17_DE85_C2C5, 0x2536_81E9_8DE5_880D),
    (0x82D_6312_603D_45D6, 0xC4A3_1857_6ED0_7FB0),
    (0xE78D_5D2C_98D2_BC6A, 0x86A6_424D_6A32_4FDE),
    (0x753D_82F7_6995_7726, 0x77E3_67AF_D995_2950),
    (0x7482_BB6D_10D4_6A91, 0xD41_1D4D_9433_A32F),
]
