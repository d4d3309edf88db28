"""Hugging Face `datasets`: data sets, in memory, on disk or streamed, with admitted rows only.

>>> import datasets
>>> from consentgate.adapters import huggingface as gated
>>> dataset = datasets.load_dataset("parquet", data_files="messages/*")  # doctest: +SKIP
>>> dataset = gated.filter(dataset, gate)  # doctest: +SKIP
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeVar, cast

import numpy as np
import pyarrow as pa

from consentgate._arrow import as_micros
from consentgate._rows import keep_rows
from consentgate._stream import Sieve
from consentgate.adapters._carried import CarriedGate
from consentgate.adapters._engine import need
from consentgate.adapters._growing_ledger import GrowingLedger
from consentgate.adapters._values import ValueColumns
from consentgate.decision import Decision
from consentgate.errors import ConfigurationError, NotArrowError, UnreadableFileError
from consentgate.gate import Gate
from consentgate.hashing import digest_json
from consentgate.live import AnyGate

__all__ = ["filter"]

Data = TypeVar("Data")

_VERSION = version("consentgate")


def filter(
    data: Data,
    gate: AnyGate,
    *,
    ledger: str | Path | None = None,
    judged_at: datetime | None = None,
    threads: int | None = None,
    batch_size: int = 4096,
) -> Data:
    """The data set's admitted rows, in its order, with its features, format, split and info.

    A `Dataset` is judged at once, by one gate, as of one instant. What is on disk stays there: the
    admitted rows go to a file in the data set's cache, and nothing of the others does. From there
    they are taken the next time, when the data set, the instant and this package are the same, and
    the gate is an equal one. That takes an instant that is given: as of the clock's, all is judged
    anew each time. So it is with a `ledger`, too, which is then complete. What earlier snapshots
    admitted stays in the cache, too, until `dataset.cleanup_cache_files()`.

    An `IterableDataset` is judged batch by batch as it is iterated over, each by the gate that is
    current then. Shards, epochs, resuming (`state_dict`) and workers of a `DataLoader` are as they
    were. Nothing tells a stream's end, and workers are killed, so the ledger is complete after
    every batch: each process writes the last 16,384 excluded rows at most anew. Rows that are
    judged again, in the next epoch or after resuming, are in the ledger again.

    In a dictionary of splits (`DatasetDict`, `IterableDatasetDict`), every split is judged.

    Args:
        data: a `Dataset`, an `IterableDataset`, or a dictionary of either.
        gate: a gate, or a live one (`GateStore.live`). Saved, it goes to workers as a path.
        ledger: a directory that gets the excluded rows; where there are splits, one in there for
            each. `row` is the position in the data set, and in a stream that among all rows that
            the process has judged. None: no record.
        judged_at: the instant of judgement, with a time zone. None: the gate's, or else the clock,
            for a `Dataset` once, for a stream at each batch.
        threads: how many threads judge; None: one per available core, or one in a worker process.
        batch_size: how many rows are judged, and held in memory, at a time. A stream that is
            resumed judges up to two batches again.

    Raises:
        ExtraMissingError, ExtraOutdatedError: `datasets` is not installed, or too old.
        NotArrowError: `data` is none of the above.
        ConfigurationError: `batch_size` or `threads` is less than 1, or `judged_at` has no time
            zone.
        UnreadableFileError: A file of a `Dataset` is gone.
        OutputError: The ledger cannot be written.
        Whatever `Gate.decide` raises: at once where the features are known, else while iterating;
            from a `DataLoader`'s workers, too, with its class.
    """
    need("datasets")
    from datasets import Dataset, DatasetDict, IterableDataset, IterableDatasetDict

    if batch_size < 1:
        raise ConfigurationError(f"`batch_size` is {batch_size} but must be at least 1.")
    how = _How(None if ledger is None else Path(ledger), judged_at, threads, batch_size)
    if isinstance(data, Dataset):
        return cast(Data, _filter_whole(data, *_settled(gate, how, [data])))
    if isinstance(data, IterableDataset):
        return cast(Data, _filter_stream(data, gate, how))
    if isinstance(data, DatasetDict):
        judge, how = _settled(gate, how, data.values())
        found = {n: _filter_whole(d, judge, how.within(n)) for n, d in data.items()}
        return cast(Data, type(data)(found))
    if isinstance(data, IterableDatasetDict):
        found = {n: _filter_stream(d, gate, how.within(n)) for n, d in data.items()}
        return cast(Data, type(data)(found))
    raise NotArrowError(
        f"An object of type '{type(data).__qualname__}' is no data set of Hugging Face's; give a "
        "Dataset, an IterableDataset, or a dictionary of either."
    )


@dataclass(frozen=True)
class _How:
    """What `filter` was told beside the data and the gate."""

    ledger: Path | None
    judged_at: datetime | None
    threads: int | None
    batch_size: int

    def within(self, split: str) -> "_How":
        """The same for one split of several."""
        return self if self.ledger is None else replace(self, ledger=self.ledger / split)


def _settled(gate: AnyGate, how: _How, datasets: Iterable[Any]) -> tuple[Gate, _How]:
    """One gate and one instant, once it is known that all the data can be judged so."""
    judge = gate.current()
    for dataset in datasets:
        _check(judge, dataset.data.schema, how)
    # Given, the instant is not compared with the clock: that was done just now.
    return judge, replace(how, judged_at=how.judged_at or judge.judged_at or datetime.now(UTC))


def _check(gate: Gate, schema: pa.Schema, how: _How) -> None:
    rows = pa.Table.from_batches([], schema)
    gate.decide(rows, judged_at=how.judged_at, threads=how.threads)


def _filter_whole(dataset: Any, gate: Gate, how: _How) -> Any:
    assert how.judged_at is not None
    instant = as_micros(how.judged_at, name="judged_at")
    # without the explicit fingerprint, the gate would be pickled to make one of it
    fingerprint = digest_json(
        [dataset._fingerprint, _stored(dataset), gate.digest, instant, _VERSION]
    )
    with Sieve(gate, ledger=how.ledger, judged_at=how.judged_at, threads=how.threads) as sieve:
        sieve.check(dataset.data.schema)
        if len(dataset):
            admitted = dataset.with_format("arrow").map(
                sieve.filter,
                batched=True,
                batch_size=how.batch_size,
                features=dataset.features,
                load_from_cache_file=None if how.ledger is None else False,
                new_fingerprint=fingerprint,
                desc="Judging",
            )
        else:
            admitted = _without_rows(dataset, fingerprint)
    return _formatted_as(admitted, dataset)


def _stored(dataset: Any) -> list[list[Any]]:
    """What tells the data set's files from others that were put in their place."""
    stored = []
    for file in dataset.cache_files:
        try:
            status = Path(file["filename"]).stat()
        except OSError as error:
            raise UnreadableFileError(
                f"The data set's file {file['filename']} cannot be looked at ({error.strerror}); "
                "load the data set again."
            ) from error
        stored.append([file["filename"], status.st_size, status.st_mtime_ns])
    return stored


def _without_rows(dataset: Any, fingerprint: str) -> Any:
    """A data set without rows, behind which none lie either, as they would after `select([])`."""
    table = pa.Table.from_batches([], dataset.data.schema)
    return type(dataset)(table, dataset.info, dataset.split, fingerprint=fingerprint)


def _formatted_as(dataset: Any, original: Any) -> Any:
    form = original.format
    columns = form["columns"]
    if columns == original.column_names:
        columns = None
    return dataset.with_format(
        form["type"], columns, form["output_all_columns"], **form["format_kwargs"]
    )


def _filter_stream(dataset: Any, gate: AnyGate, how: _How) -> Any:
    features = dataset.features
    if features is not None:
        _check(gate.current(), features.arrow_schema, how)
    judge = _StreamJudge(gate, how)
    batches = {"batched": True, "batch_size": how.batch_size}
    # Neither of the two is public: whether a stream is one of tables, and its format.
    if dataset._ex_iterable.iter_arrow:
        admitted = dataset.with_format("arrow").map(judge.filter_table, **batches)
        if features is not None:  # said by `map`, they would not be decoded any more
            admitted = admitted.cast(features)
    else:
        # As tables, the rows of other streams have the types that each seems to have by itself.
        admitted = dataset.with_format(None).map(judge.filter_values, features=features, **batches)
    form = dataset._formatting
    return admitted.with_format(None if form is None else form.format_type)


class _StreamJudge:
    """What a stream calls with each batch, in any process and from any thread."""

    def __init__(self, gate: AnyGate, how: _How) -> None:
        self._gate = CarriedGate(gate)
        self._how = how
        self._ledger = None if how.ledger is None else GrowingLedger(how.ledger)
        self._columns = ValueColumns(reads_text=False)

    def __deepcopy__(self, memo: dict[int, Any]) -> "_StreamJudge":
        return self  # what joins streams copies them: the rows' positions go on being counted here

    def filter_table(self, table: pa.Table) -> pa.Table:
        """The admitted rows of a batch."""
        return keep_rows(table, self._decide(self._gate.current(), table).admitted)

    def filter_values(self, columns: dict[str, list[Any]]) -> dict[str, list[Any]]:
        """The admitted rows of a batch of n values in each column."""
        gate = self._gate.current()
        decision = self._decide(gate, self._columns.table(gate, columns))
        rows = np.flatnonzero(decision.admitted)
        return {name: [values[row] for row in rows] for name, values in columns.items()}

    def _decide(self, gate: Gate, table: pa.Table) -> Decision:
        how = self._how
        decision = gate.decide(table, judged_at=how.judged_at, threads=how.threads)
        if self._ledger is not None:
            self._ledger.write(gate, table.column(gate.columns.record_id), decision)
        return decision
