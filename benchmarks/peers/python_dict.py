"""The judgement of small batches by a Python dict from id to row, and NumPy for the rest."""

from dataclasses import dataclass
from itertools import repeat
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from benchmarks import scenario
from benchmarks.corpus import Corpus
from benchmarks.peers import duckdb_join
from benchmarks.peers.base import Answer, Bits, as_storage

__all__ = ["batches"]

Instants = npt.NDArray[np.int64]
_EARLIEST, _LATEST = (int(bound) for bound in (np.iinfo(np.int64).min, np.iinfo(np.int64).max))
_AS_OF, _NOW = scenario.micros(scenario.AS_OF), scenario.micros(scenario.NOW)


@dataclass(frozen=True)
class PythonDict:
    """Two dicts from ids to rows of arrays of facts. The last row is that of unknown ids."""

    subject_rows: dict[Any, int]
    subject_bits: Bits
    valid_from: Instants
    valid_until: Instants
    channel_rows: dict[Any, int]
    channel_bits: Bits
    public_since: Instants
    name: str = "Python dict"

    def load(self, messages: pa.Table) -> pa.Table:
        """The messages with UUIDs as 16 bytes."""
        return as_storage(messages)

    def judge(self, messages: pa.Table) -> Bits:
        """The bits in the order of the messages."""
        subjects, created_at = messages[scenario.SCALAR], messages["created_at"]
        subject = _rows(self.subject_rows, subjects)
        channel = _rows(self.channel_rows, messages["channel_id"])
        against = self.subject_bits[subject]
        if subjects.null_count:
            against[_mask(subjects.is_null())] = scenario.SUBJECT_MISSING
        instants = created_at.cast(pa.int64()).fill_null(0).to_numpy()
        dated = _flag(instants < self.public_since[channel], scenario.PRIVATE_CHANNEL)
        dated |= _flag(instants < self.valid_from[subject], scenario.PREDATES_CONSENT)
        dated |= _flag(instants > _AS_OF, scenario.AFTER_SNAPSHOT)
        if created_at.null_count:
            dated[_mask(created_at.is_null())] = scenario.TIMESTAMP_MISSING
        expired = _flag(self.valid_until[subject] <= _NOW, scenario.CONSENT_EXPIRED)
        is_automated = _mask(messages["is_automated"].fill_null(True))
        own = self.channel_bits[channel] | _flag(is_automated, scenario.AUTOMATED)
        return against | own | dated | expired

    def read(self, judged: Any) -> Answer:
        """The bits as they are."""
        return Answer(judged)


def batches(corpus: Corpus) -> list[PythonDict]:
    """A contestant whose dicts were filled beforehand."""
    facts, channels = map(as_storage, duckdb_join.compact_facts(corpus))
    return [
        PythonDict(
            _numbered(facts["subject_id"]),
            _with_unknown(facts["bits"], scenario.NO_CONSENT_RECORD),
            _with_unknown(facts["valid_from"].cast(pa.int64()), _EARLIEST),
            _with_unknown(facts["valid_until"].cast(pa.int64()), _LATEST),
            _numbered(channels["channel_id"]),
            _with_unknown(channels["bits"], scenario.CHANNEL_UNKNOWN),
            _with_unknown(channels["public_since"].cast(pa.int64()), _EARLIEST),
        )
    ]


def _rows(numbered: dict[Any, int], ids: pa.ChunkedArray) -> npt.NDArray[np.int64]:
    """The row of each id. It is -1, which is the last row, for an unknown id or a null."""
    rows = map(numbered.get, ids.to_pylist(), repeat(-1))
    return np.fromiter(rows, np.int64, len(ids))


def _numbered(ids: pa.ChunkedArray) -> dict[Any, int]:
    return dict(zip(ids.to_pylist(), range(len(ids)), strict=True))


def _with_unknown(values: pa.ChunkedArray, unknown: int) -> npt.NDArray[Any]:
    """The values with `unknown` for nulls, and `unknown` once more for the row of unknown ids."""
    array = values.fill_null(pa.scalar(unknown, values.type)).to_numpy()
    return np.append(array, array.dtype.type(unknown))


def _flag(condition: npt.NDArray[np.bool_], bit: int) -> Bits:
    return condition * np.uint32(bit)


def _mask(values: pa.ChunkedArray) -> npt.NDArray[np.bool_]:
    mask: npt.NDArray[np.bool_] = values.to_numpy()
    return mask
