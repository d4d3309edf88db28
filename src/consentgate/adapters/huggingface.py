"""Hugging Face `datasets`: data sets, in memory, on disk or streamed, with admitted rows only.

>>> import datasets
>>> from consentgate.adapters import huggingface as gated
>>> dataset = datasets.load_dataset("parquet", data_files="messages/*")  # doctest: +SKIP
>>> dataset = gated.filter(dataset, gate)  # doctest: +SKIP
"""

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeVar, cast

import pyarrow as pa

from consentgate.adapters.engine import need
from consentgate.adapters.options import require_count, require_options
from consentgate.arrow import as_micros
from consentgate.errors import ConfigurationError, NotArrowError, UnreadableFileError
from consentgate.gate import Gate
from consentgate.judging import Sieve, record_id_column
from consentgate.publishing import AnyGate
from consentgate.storage import digest_json

__all__ = ["filter"]

Data = TypeVar("Data")

_VERSION = version("consentgate")
_LONGEST_NAME = 200
"""Most bytes of a split's name that is also a folder's; file systems take 255."""


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

    A `Dataset` is judged at once, by one gate, as of one instant. What is published afterwards does
    not change the result.

    The admitted rows of a data set on disk go to a file in its cache, and nothing of the others
    does. They are read from there the next time if the data set, `judged_at`, the version of this
    package and the gate are the same. Results are cached only if `judged_at` is given (here or to
    the gate) and there is no `ledger`; otherwise everything is judged again, and the ledger is
    complete. Rows that earlier snapshots admitted stay in the cache until
    `dataset.cleanup_cache_files()`.

    An `IterableDataset` is judged batch by batch as it is iterated over, each by the gate that is
    current then. Its rows are given out one by one. When a live gate has changed meanwhile, the
    rows that are left are judged again: none is given out that the newer gate would not admit,
    beyond those that later steps (`shuffle`, a batched `map`) or a loader already hold. Whether a
    consent has expired is checked when rows are judged, and not again when they are given out.

    Shards, epochs, resuming (`state_dict`) and workers of a `DataLoader` are as they were. Nothing
    tells a stream's end, and workers are killed, so the ledger is complete after every batch: each
    process writes the last 16,384 excluded rows at most anew. Rows that are judged again, in the
    next epoch or after resuming, are in the ledger again.

    In a dictionary of splits (`DatasetDict`, `IterableDatasetDict`), every split is judged.

    Args:
        data: a `Dataset`, an `IterableDataset`, or a dictionary of either.
        gate: a gate, or a live one (`GateStore.live`). Saved, it goes to workers as a path.
        ledger: a directory that gets the excluded rows; where there are splits, one in there for
            each, under the split's name. `row` is the position in the data set, and in a stream
            that among all rows that the process has judged. None: no record.
        judged_at: the instant of judgement, with a time zone. None: the gate's, or else the clock,
            for a `Dataset` once, for a stream at each batch.
        threads: how many threads judge; None: one per available core, or one in a worker process.
        batch_size: how many rows are judged, and held in memory, at a time. A stream that is
            resumed judges up to two batches again.

    Raises:
        ExtraMissingError, ExtraOutdatedError: `datasets` is not installed, or too old.
        NotArrowError: `data` is none of the above.
        TypeError: An argument is of a wrong type, or no gate.
        ConfigurationError: `batch_size` or `threads` is less than 1, `judged_at` has no time zone,
            or the name of a split cannot be that of a folder in the ledger.
        UnreadableFileError: A file of a `Dataset` is gone.
        OutputError: The ledger cannot be written.
        Whatever `Gate.decide` raises: at once where the features are known, else while iterating;
            from a `DataLoader`'s workers, too, with its class.
    """
    need("datasets")
    from datasets import Dataset, DatasetDict, IterableDataset, IterableDatasetDict

    require_options(gate, ledger=ledger, judged_at=judged_at, threads=threads)
    require_count(batch_size, "batch_size")
    how = _How(None if ledger is None else Path(ledger), judged_at, threads, batch_size)
    if isinstance(data, Dataset):
        return cast(Data, _filter_whole(data, *_settled(gate, how, [data])))
    if isinstance(data, IterableDataset):
        return cast(Data, _filter_stream(data, gate, how))
    if isinstance(data, DatasetDict):
        hows = how.within_each(data)
        judge, settled = _settled(gate, how, data.values())
        found = {
            name: _filter_whole(split, judge, replace(hows[name], judged_at=settled.judged_at))
            for name, split in data.items()
        }
        return cast(Data, type(data)(found))
    if isinstance(data, IterableDatasetDict):
        hows = how.within_each(data)
        found = {name: _filter_stream(split, gate, hows[name]) for name, split in data.items()}
        return cast(Data, type(data)(found))
    raise NotArrowError(
        f"An object of type '{type(data).__qualname__}' is no data set of Hugging Face's; give a "
        "Dataset, an IterableDataset, or a dictionary of either."
    )


@dataclass(frozen=True)
class _How:
    """The options of `filter`."""

    ledger: Path | None
    judged_at: datetime | None
    threads: int | None
    batch_size: int

    def within_each(self, splits: Iterable[Any]) -> dict[Any, "_How"]:
        """The same for each of several splits, which get folders in the ledger.

        Raises:
            ConfigurationError: There is a ledger, and a split's name is no name of a folder, or two
                of them could be names of one.
        """
        if self.ledger is None:
            return dict.fromkeys(splits, self)
        folders: dict[str, Any] = {}
        for split in splits:
            other = folders.setdefault(_folded(_folder_of(split)), split)
            if other != split:
                raise ConfigurationError(
                    f"Splits '{other}' and '{split}' would share a folder of the ledger where a "
                    "file system does not tell their names apart; rename one."
                )
        return {split: replace(self, ledger=self.ledger / _folder_of(split)) for split in splits}


def _folder_of(split: Any) -> str:
    """The name of a split's folder in the ledger, which is the split's own.

    Raises:
        ConfigurationError: It cannot be a folder's everywhere, or is a path to somewhere else.
    """
    name = str(split)  # datasets has split names of a class of its own
    if not re.fullmatch(r"\w[\w-]*(\.[\w-]+)*", name) or len(name.encode()) > _LONGEST_NAME:
        raise ConfigurationError(
            f"Split {name[:50]!r} cannot have a folder of its name in the ledger; rename it, with "
            f"letters, digits, '_', '-' and single dots between them, in at most {_LONGEST_NAME} "
            "bytes."
        )
    return name


def _folded(name: str) -> str:
    """The name as file systems compare it that do not look at case."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())


def _settled(gate: AnyGate, how: _How, datasets: Iterable[Any]) -> tuple[Gate, _How]:
    """One gate and one instant, once it is known that all the data can be judged so."""
    judge = gate.current()
    for dataset in datasets:
        _check(judge, dataset.data.schema, how)
    # Given, the instant is not compared with the clock: that was done just now.
    return judge, replace(how, judged_at=how.judged_at or judge.judged_at or datetime.now(UTC))


def _check(gate: Gate, schema: pa.Schema, how: _How) -> None:
    rows = pa.Table.from_batches([], schema)
    if how.ledger is not None:
        record_id_column(schema, gate.columns)
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
    """Tells the data set's files from others that were put in their place."""
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
    from consentgate.adapters.huggingface_stream import GatedExamples, StreamJudge

    features = dataset.features
    if features is not None:
        _check(gate.current(), features.arrow_schema, how)
    judge = StreamJudge(gate, ledger=how.ledger, judged_at=how.judged_at, threads=how.threads)
    batches = {"batched": True, "batch_size": how.batch_size}
    # Of what is used here, `_ex_iterable` and `_formatting` are not public.
    if dataset._ex_iterable.iter_arrow:
        admitted = dataset.with_format("arrow").map(**batches)
        admitted._ex_iterable = GatedExamples(admitted._ex_iterable, judge)
        if features is not None:  # said by `map`, they would not be decoded any more
            admitted = admitted.cast(features)
    else:
        # As tables, the rows of other streams have the types that each seems to have by itself.
        admitted = dataset.with_format(None).map(features=features, **batches)
        admitted._ex_iterable = GatedExamples(admitted._ex_iterable, judge)
    form = dataset._formatting
    return admitted.with_format(None if form is None else form.format_type)
