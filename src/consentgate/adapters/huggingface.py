"""Hugging Face `datasets`: data sets, in memory, on disk or streamed, with admitted rows only.

>>> import datasets
>>> from consentgate.adapters import huggingface as gated
>>> dataset = datasets.load_dataset("parquet", data_files="messages/*")  # doctest: +SKIP
>>> dataset = gated.filter(dataset, gate)  # doctest: +SKIP
"""

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeVar, cast

import pyarrow as pa

from consentgate.adapters.engine import need
from consentgate.adapters.options import require_count, require_gate
from consentgate.arrow import as_micros
from consentgate.errors import ConfigurationError, NotArrowError, UnreadableFileError
from consentgate.gate import Gate
from consentgate.judging import JudgingOptions, Sieve, check_schema
from consentgate.publishing import AnyGate
from consentgate.storage import digest_json

__all__ = ["filter"]

Data = TypeVar("Data")

_VERSION = version("consentgate")
_LONGEST_NAME = 200
"""Most bytes of the name of a split that has a folder in the ledger; file systems take 255."""


def filter(
    data: Data,
    gate: AnyGate,
    *,
    ledger: str | Path | None = None,
    judged_at: datetime | None = None,
    threads: int | None = None,
    batch_size: int = 4096,
) -> Data:
    """Make a data set of the admitted rows, in their order, with features, format, split and info.

    A `Dataset` is judged at once, by one gate, at one instant. A gate that is published afterwards
    does not change the result.

    If a data set is on disk, its admitted rows are written to a file in its cache, and nothing of
    the other rows is. They are read from there the next time if the data set, `judged_at`, the
    version of this package and the gate are the same. Results are cached only if `judged_at` is
    given (here or to the gate) and there is no `ledger`. Otherwise everything is judged again, and
    the ledger is complete. Rows that earlier snapshots admitted stay in the cache until
    `dataset.cleanup_cache_files()` is called.

    An `IterableDataset` is judged batch by batch as it is iterated over, each batch by the gate
    that is current at that moment. Its rows are given out one by one. If a live gate has changed
    meanwhile, the newer gate judges the rows that are left again, and only rows that it admits are
    given out. It does not reach rows that later steps (`shuffle`, a batched `map`) or a loader
    already hold. Whether a consent has expired is checked when rows are judged, and not again when
    they are given out.

    Shards, epochs, resuming (`state_dict`) and workers of a `DataLoader` work as before. `datasets`
    does not announce the end of a stream, and workers are killed, so the ledger is complete after
    every batch: each process rewrites a file of at most 16,384 excluded rows. Rows that are judged
    in the next epoch or after resuming are in the ledger again.

    In a dictionary of splits (`DatasetDict`, `IterableDatasetDict`), every split is judged.

    Args:
        data: a `Dataset`, an `IterableDataset`, or a dictionary of either.
        gate: a gate or a live gate (`GateStore.live`). A saved gate is sent to workers as its path.
        ledger: a folder that gets the excluded rows. Each split gets a folder in it, with the name
            of the split. `row` is the position in the data set; in a stream, it is the position
            among all rows that the process has judged. None keeps no record of excluded rows.
        judged_at: the instant of judgement, with a time zone. None takes the gate's. If that is
            None, too, the clock is read: once for a `Dataset`, at each batch for a stream.
        threads: how many threads judge. None takes one for each available core, and one in a worker
            process.
        batch_size: how many rows are judged, and held in memory, at a time. A stream that is
            resumed judges up to two batches again.

    Raises:
        ExtraMissingError, ExtraOutdatedError: `datasets` is not installed, or too old.
        NotArrowError: `data` is not one of these.
        TypeError: An argument is of a wrong type, or `gate` is not a gate.
        ConfigurationError: `batch_size` or `threads` is less than 1, `judged_at` has no time zone,
            or the name of a split cannot be that of a folder in the ledger.
        UnreadableFileError: A file of a `Dataset` is gone.
        OutputError: The ledger cannot be written.
        Every error of `Gate.decide`: raised at once if the features are known, else while
            iterating. A `DataLoader` raises errors of its workers with the same class.
    """
    need("datasets")
    from datasets import Dataset, DatasetDict, IterableDataset, IterableDatasetDict

    require_gate(gate)
    require_count(batch_size, "batch_size")
    options = JudgingOptions(ledger=ledger, judged_at=judged_at, threads=threads)
    if isinstance(data, Dataset | DatasetDict):
        return cast(Data, _filter_whole(data, gate.current(), options, batch_size))
    if isinstance(data, IterableDataset | IterableDatasetDict):
        return cast(Data, _filter_streams(data, gate, options, batch_size))
    raise NotArrowError(
        f"An object of type '{type(data).__qualname__}' is not a data set of Hugging Face's; give "
        "a Dataset, an IterableDataset, or a dictionary of either."
    )


def _filter_whole(data: Any, gate: Gate, options: JudgingOptions, batch_size: int) -> Any:
    """Judge a data set, or a dictionary of splits, at once."""
    splits = data if isinstance(data, dict) else {None: data}
    options_of = _options_of_each(splits, options)
    for dataset in splits.values():
        check_schema(dataset.data.schema, gate, options)
    # a given instant is not compared with the clock, and the check above did that for the clock's
    instant = options.judged_at or gate.judged_at or datetime.now(UTC)
    admitted = {
        name: _filter_dataset(
            dataset, gate, replace(options_of[name], judged_at=instant), batch_size
        )
        for name, dataset in splits.items()
    }
    return type(data)(admitted) if isinstance(data, dict) else admitted[None]


def _filter_streams(data: Any, gate: AnyGate, options: JudgingOptions, batch_size: int) -> Any:
    """Make a stream, or a dictionary of splits, that is judged as it is iterated over."""
    if not isinstance(data, dict):
        return _filter_stream(data, gate, options, batch_size)
    options_of = _options_of_each(data, options)
    admitted = {
        name: _filter_stream(stream, gate, options_of[name], batch_size)
        for name, stream in data.items()
    }
    return type(data)(admitted)


def _options_of_each(splits: Iterable[Any], options: JudgingOptions) -> dict[Any, JudgingOptions]:
    """The options for each of several splits. Each split has its own folder in the ledger.

    Args:
        options: the options for all of them.
        splits: their names; None is the name of data that is not a split.

    Raises:
        ConfigurationError: There is a ledger, and the name of a split cannot be the name of a
            folder, or two splits could have the same folder.
    """
    if options.ledger is None:
        return dict.fromkeys(splits, options)
    ledgers, split_of_folder = dict[Any, Path](), dict[str, Any]()
    for split in splits:
        ledgers[split] = Path(options.ledger)
        if split is None:
            continue
        ledgers[split] /= _folder_of(split)
        other = split_of_folder.setdefault(_folded(_folder_of(split)), split)
        if other != split:
            raise ConfigurationError(
                f"Splits '{other}' and '{split}' would share a folder of the ledger on a file "
                "system that ignores case; rename one."
            )
    return {split: replace(options, ledger=ledger) for split, ledger in ledgers.items()}


def _folder_of(split: Any) -> str:
    """The name of a split's folder in the ledger: the split's own name.

    Raises:
        ConfigurationError: The name cannot name a folder on every system, or is a path.
    """
    name = str(split)  # `datasets` has a class of its own for names of splits
    if not re.fullmatch(r"\w[\w-]*(\.[\w-]+)*", name) or len(name.encode()) > _LONGEST_NAME:
        raise ConfigurationError(
            f"Split {name[:50]!r} cannot have a folder of its name in the ledger; rename it, with "
            f"letters, digits, '_', '-' and single dots between them, in at most {_LONGEST_NAME} "
            "bytes."
        )
    return name


def _folded(name: str) -> str:
    """The name as file systems that ignore case compare it."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())


def _filter_dataset(dataset: Any, gate: Gate, options: JudgingOptions, batch_size: int) -> Any:
    """Make a data set of the admitted rows of one data set that was checked already."""
    assert options.judged_at is not None
    instant = as_micros(options.judged_at, name="judged_at")
    # Without this fingerprint, `datasets` would pickle the gate to make one.
    fingerprint = digest_json(
        [dataset._fingerprint, _stored(dataset), gate.digest, instant, _VERSION]
    )
    with Sieve(gate, options) as sieve:
        sieve.check(dataset.data.schema)
        if len(dataset):
            admitted = dataset.with_format("arrow").map(
                sieve.filter,
                batched=True,
                batch_size=batch_size,
                features=dataset.features,
                load_from_cache_file=None if options.ledger is None else False,
                new_fingerprint=fingerprint,
                desc="Judging",
            )
        else:
            admitted = _without_rows(dataset, fingerprint)
    return _formatted_as(admitted, dataset)


def _stored(dataset: Any) -> list[list[Any]]:
    """The name, size and time of each of the data set's files, by which a change is noticed."""
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
    """A data set without rows. The result of `select([])` would still hold the rows."""
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


def _filter_stream(dataset: Any, gate: AnyGate, options: JudgingOptions, batch_size: int) -> Any:
    from consentgate.adapters.huggingface_stream import GatedExamples, StreamHolder

    features = dataset.features
    if features is not None:
        check_schema(features.arrow_schema, gate.current(), options)
    holder = StreamHolder(gate, options)
    batches = {"batched": True, "batch_size": batch_size}
    # `_ex_iterable` and `_formatting` are not public; everything else that is used here is.
    if dataset._ex_iterable.iter_arrow:
        admitted = dataset.with_format("arrow").map(**batches)
        admitted._ex_iterable = GatedExamples(admitted._ex_iterable, holder)
        if features is not None:  # given to `map`, they would not be decoded any more
            admitted = admitted.cast(features)
    else:
        # In a table, a row of such a stream would have the type that it seems to have by itself.
        admitted = dataset.with_format(None).map(features=features, **batches)
        admitted._ex_iterable = GatedExamples(admitted._ex_iterable, holder)
    form = dataset._formatting
    return admitted.with_format(None if form is None else form.format_type)
