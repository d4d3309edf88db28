"""Data loaders over a Parquet file: with a gate, and as one would write them without it.

Their workers are forked, so this module runs in a process that loads no engine but PyTorch. The
memory of a worker is the memory that the system counts as private to it. Pages of the saved gate do
not count once a second process has read them.
"""

import gc
import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

import consentgate as cg
from benchmarks.process import Worker
from benchmarks.scenario import NOW
from benchmarks.stage import Stage
from benchmarks.staging import Found
from benchmarks.timing import time_once, without_collector
from consentgate.adapters import torch as gated

__all__ = ["SETTING", "USES", "LoaderCrew", "Private", "Use"]

_ROWS = 4096
_WORKERS = 2
_FORK = get_context("fork")
_AS_OPEN_PARQUET: Mapping[str, Any] = {"pre_buffer": False, "buffer_size": 1 << 20}
_LOOK_EVERY_S = 0.02

SETTING = f"{_WORKERS} forked workers, batches of {_ROWS:,} rows"

_loaders: dict[str, Callable[..., DataLoader[Any]]] = {}


class Use(NamedTuple):
    """A way in which loaders are used.

    Attributes:
        columns: the columns of batches; None: all.
        collate: what workers apply to each batch; None: the parent gets batches as they are.
    """

    columns: Sequence[str] | None = None
    collate: Callable[[pa.RecordBatch], Any] | None = None


def _sum_up(batch: pa.RecordBatch) -> Found:
    return Found.of(batch)._replace(ids=None)


USES: Mapping[str, Use] = {
    "all columns": Use(),
    "only texts": Use(columns=["text"]),
    "all columns, summed up by workers": Use(collate=_sum_up),
}


class Private(NamedTuple):
    """The most memory that a worker shares with no other process.

    Attributes:
        total_bytes: all of it, which includes pages of files that only this worker has read.
        written_bytes: memory that the worker has written, which cannot be read from a file again.
    """

    total_bytes: int
    written_bytes: int


class LoaderCrew:
    """Loaders for one use, in a process of their own until the block ends.

    Attributes:
        names: the loaders' names. The first one is that of the gated loader.
    """

    def __init__(self, stage: Stage, use: Use) -> None:
        self._worker, self._stage, self._use = Worker(), stage, use
        self.names: tuple[str, ...] = ()

    def read_through(self, name: str) -> Found:
        """Everything that a loader gives out."""
        return self._worker.call(_read_through, name)

    def take_turn(self, name: str) -> float:
        """The seconds until a loader has given its last batch, including the workers' start."""
        return self._worker.call(_take_turn, name)

    def watch(self, name: str) -> Private:
        """The most memory that any worker holds while a loader works, read every 20 ms."""
        return self._worker.call(_watch, name)

    def __enter__(self) -> Self:
        self._worker.__enter__()
        self.names = self._worker.call(_prepare, self._stage, self._use)
        return self

    def __exit__(self, *error: object) -> None:
        self._worker.__exit__(*error)


def _prepare(stage: Stage, use: Use) -> tuple[str, ...]:
    gate, path, columns = cg.Gate.open(stage.gate), stage.one_file, use.columns
    datasets = {
        "gated loader": gated.filter(path, gate, batch_rows=_ROWS, columns=columns, judged_at=NOW),
        "ungated loader": _RowGroups(path, columns, {}),
        "ungated loader, buffered": _RowGroups(path, columns, _AS_OPEN_PARQUET),
    }
    for name, dataset in datasets.items():
        _loaders[name] = partial(
            DataLoader,
            dataset,
            batch_size=None,
            num_workers=_WORKERS,
            collate_fn=use.collate,
            multiprocessing_context=_FORK,
        )
    return tuple(_loaders)


class _RowGroups(IterableDataset[pa.RecordBatch]):
    """The batches of a file whose row groups are divided among the workers."""

    def __init__(
        self, path: Path, columns: Sequence[str] | None, options: Mapping[str, Any]
    ) -> None:
        self._path, self._columns, self._options = path, columns, options

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        worker = get_worker_info()
        first, step = (0, 1) if worker is None else (worker.id, worker.num_workers)
        with pq.ParquetFile(self._path, **self._options) as file:
            for group in range(first, file.num_row_groups, step):
                yield from file.iter_batches(
                    _ROWS, row_groups=[group], columns=self._columns, use_threads=False
                )


def _read_through(name: str) -> Found:
    found = [each if isinstance(each, Found) else Found.of(each) for each in _loaders[name]()]
    ids = [each.ids for each in found if each.ids is not None]
    return Found(
        sum(each.rows for each in found),
        sum(each.text_bytes for each in found),
        np.concatenate(ids) if ids else None,
    )


def _take_turn(name: str) -> float:
    gc.collect()
    with without_collector():
        seconds, _ = time_once(lambda: _exhaust(_loaders[name]()))
    return seconds


def _watch(name: str) -> Private:
    processes = _FORK.Array("q", _WORKERS, lock=False)
    with _Watch(processes) as watched:
        _exhaust(_loaders[name](worker_init_fn=partial(_sign_in, processes)))
    if not watched.most.total_bytes:
        raise RuntimeError("No worker's memory could be read; this needs /proc/PID/smaps_rollup.")
    return watched.most


def _exhaust(loader: DataLoader[Any]) -> None:
    for _ in loader:
        pass


def _sign_in(processes: Any, worker: int) -> None:
    """Note, in a worker, the id of its process."""
    processes[worker] = os.getpid()


class _Watch:
    """Reads the private memory of processes every 20 ms while the block runs, in a thread.

    Args:
        processes: their ids; zero for a process that has not begun yet.
    """

    def __init__(self, processes: Sequence[int]) -> None:
        self.most = Private(0, 0)
        self._processes = processes
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._ended.wait(_LOOK_EVERY_S):
            for process in filter(None, self._processes):
                self.most = Private(*map(max, self.most, _private(process)))


def _private(process: int) -> Private:
    """The private memory of a process now; zero if it has ended."""
    try:
        lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
    except OSError:  # it has ended
        return Private(0, 0)
    private = [line.split()[:2] for line in lines if line.startswith("Private_")]
    sizes = {name: int(kilobytes) * 1024 for name, kilobytes in private}
    return Private(sum(sizes.values()), sizes.get("Private_Dirty:", 0))
