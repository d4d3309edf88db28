"""Generated messages, consent records and channels, as a large messenger might hold them.

The seed is fixed, and every chunk draws from a random stream of its own. So for the same numbers of
subjects and channels, the chunks of a short table are those of a longer one, too. A few subjects
write most of the messages, but most subjects write some. About half of the rows are admitted, and
every reason occurs.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from benchmarks.ids import IdKind, Numbers, make_ids
from benchmarks.scenario import AS_OF, LISTS, PUBLIC, PURPOSE, SCALAR, micros

CHUNK_ROWS = 1 << 18
SEED = 20_260_131

_DAY = timedelta(days=1) // timedelta(microseconds=1)
_AS_OF = micros(AS_OF)
_STRIDE = 2_654_435_761  # a prime: its multiples visit every number before one occurs again
_SKEW = 3
_MIN_SUBJECTS, _MAX_SUBJECTS = 2, 5

_STATUSES = {
    "given": 0.82, "renewed": 0.10, "refused": 0.02, "withdrawn": 0.015, "revoked": 0.01,
    "expired": 0.01, "requested": 0.01, "request_deferred": 0.005, "invalidated": 0.005,
    "unknown": 0.005,
}  # fmt: skip
_METHODS = {"explicit": 0.94, "default_on": 0.04, "pre_ticked": 0.01, "imported": 0.01}
_NOTICES = {"n1": 0.50, "n2": 0.45, "n0": 0.04, None: 0.01}
_AGE_BANDS = {"adult": 0.985, "minor": 0.01, None: 0.005}
_VISIBILITIES = {PUBLIC: 0.745, "private": 0.20, "direct": 0.05, None: 0.005}

Random = np.random.Generator
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Size:
    """How much data there is."""

    messages: int
    subjects: int
    channels: int


@dataclass(frozen=True)
class Corpus:
    """One data set. Messages and consent records come in chunks, as from a file's row groups."""

    messages: pa.Table
    consent: pa.Table
    channels: pa.Table
    has_lists: bool = False

    @property
    def subjects(self) -> str:
        """The column of the messages that names the subjects."""
        return LISTS if self.has_lists else SCALAR


def make_corpus(kind: IdKind, size: Size, *, lists: bool = False) -> Corpus:
    """All three tables, with ids of the same kind."""
    messages = make_messages(kind, size, lists=lists)
    consent, channels = make_consent(kind, size.subjects), make_channels(kind, size.channels)
    return Corpus(messages, consent, channels, lists)


def make_consent(kind: IdKind, count: int) -> pa.Table:
    """One consent record for each of `count` subjects."""
    return pa.concat_tables(
        _consent_chunk(kind, np.arange(start, stop), random)
        for start, stop, random in _chunks(1, count)
    )


def make_channels(kind: IdKind, count: int) -> pa.Table:
    """The visibility of each of `count` channels."""
    random = np.random.default_rng([SEED, 2])
    since = _AS_OF - random.integers(0, 500 * _DAY, count)
    columns = {
        "channel_id": make_ids(kind, np.arange(count)),
        "visibility": _words(random, count, _VISIBILITIES).cast(pa.string()),
        "public_since": _instants(since, random.random(count) > 0.2),
    }
    return pa.table(columns)


def make_messages(kind: IdKind, size: Size, *, lists: bool = False) -> pa.Table:
    """Messages with one subject each, or with lists of 2 to 5; `message_id` is the row's number."""
    make_subjects = _subject_lists if lists else _senders
    chunks = []
    for start, stop, random in _chunks(3, size.messages):
        count = stop - start
        name, subjects = make_subjects(kind, size.subjects, count, random)
        columns = {"message_id": pa.array(np.arange(start, stop)), name: subjects}
        chunks.append(pa.table(columns | _message_columns(kind, size.channels, count, random)))
    return pa.concat_tables(chunks)


def _chunks(table: int, count: int) -> Iterator[tuple[int, int, Random]]:
    """The first row of every chunk of a table, the row after its last, and its random stream."""
    for start in range(0, count, CHUNK_ROWS):
        random = np.random.default_rng([SEED, table, start])
        yield start, min(start + CHUNK_ROWS, count), random


def _consent_chunk(kind: IdKind, numbers: Numbers, random: Random) -> pa.Table:
    """Consent records, whose words take a byte each, so that 100 M records fit into memory."""
    count = len(numbers)
    began = _AS_OF - random.integers(180 * _DAY, 1020 * _DAY, count)
    expires = _AS_OF + random.integers(-60 * _DAY, 700 * _DAY, count)
    columns = {
        "subject_id": make_ids(kind, numbers),
        "purpose": _words(random, count, {PURPOSE: 1.0}),
        "status": _words(random, count, _STATUSES),
        "method": _words(random, count, _METHODS),
        "effective_from": _instants(began),
        "expires_at": _instants(expires, random.random(count) > 0.2),
        "covers_prior": pa.array(random.random(count) < 0.1),
        "notice_version": _words(random, count, _NOTICES),
        "age_band": _words(random, count, _AGE_BANDS),
    }
    return pa.table(columns)


def _message_columns(kind: IdKind, channels: int, count: int, random: Random) -> dict[str, Any]:
    created = _AS_OF - random.integers(0, 365 * _DAY, count)
    late = random.random(count) < 0.002
    created[late] = _AS_OF + random.integers(1, _DAY, int(late.sum()))
    channel = skewed(random, channels, count) + channels * (random.random(count) < 0.01)
    return {
        "channel_id": make_ids(kind, channel, random.random(count) < 0.001),
        "created_at": _instants(created, random.random(count) < 0.0005),
        "is_automated": pa.array(random.random(count) < 0.02, mask=random.random(count) < 0.001),
    }


def _senders(kind: IdKind, subjects: int, count: int, random: Random) -> tuple[str, Any]:
    numbers = _mentions(random, subjects, count, unknown=0.04)
    return SCALAR, make_ids(kind, numbers, random.random(count) < 0.001)


def _subject_lists(kind: IdKind, subjects: int, count: int, random: Random) -> tuple[str, Any]:
    """Lists of 2 to 5 subjects. A few lists are null, are empty or hold a null."""
    lengths = random.integers(_MIN_SUBJECTS, _MAX_SUBJECTS + 1, count)
    missing = random.random(count) < 0.0005
    lengths[missing | (random.random(count) < 0.0005)] = 0
    offsets = np.zeros(count + 1, dtype=np.int32)
    np.cumsum(lengths, dtype=np.int32, out=offsets[1:])
    total = int(offsets[-1])
    numbers = _mentions(random, subjects, total, unknown=0.01)
    items = make_ids(kind, numbers, random.random(total) < 0.0003)
    present = pa.array(~missing).buffers()[1]
    kind_of_list = pa.list_(kind.arrow_type)
    buffers = [present, pa.py_buffer(offsets)]
    return LISTS, pa.Array.from_buffers(kind_of_list, count, buffers, children=[items])


def _mentions(random: Random, subjects: int, count: int, *, unknown: float) -> Numbers:
    """The numbers of the subjects that are named. Some of these have no consent record."""
    return skewed(random, subjects, count) + subjects * (random.random(count) < unknown)


def skewed(random: Random, among: int, count: int) -> Numbers:
    """Numbers below `among`. The most frequent hundredth of them makes 22 % of what is drawn."""
    rank = (among * random.random(count) ** _SKEW).astype(np.int64)
    return rank * _STRIDE % among


def _instants(since_1970: Numbers, missing: Mask | None = None) -> pa.Array:
    return pa.array(since_1970, mask=missing).cast(pa.timestamp("us", "UTC"))


def _words(random: Random, count: int, shares: dict[Any, float]) -> pa.DictionaryArray:
    """Words in the given shares. None stands for null, and must be the last key."""
    drawn = random.integers(0, 1 << 16, count, dtype=np.uint16)
    ends = np.cumsum(list(shares.values())) * (1 << 16)
    by_draw = np.searchsorted(ends, np.arange(1 << 16), side="right").astype(np.int8)
    words = [word for word in shares if word is not None]
    codes = by_draw[np.minimum(drawn, int(ends[-1]) - 1)]
    missing = codes == len(words) if None in shares else None
    return pa.DictionaryArray.from_arrays(
        pa.array(codes, mask=missing), pa.array(words, pa.string())
    )
