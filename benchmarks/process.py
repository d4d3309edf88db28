"""Processes for measurements: the cores and memory of this one, and fresh ones to measure in."""

import ctypes
import gc
import multiprocessing
import os
import resource
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import ParamSpec, Self, TypeVar

import pyarrow as pa

__all__ = [
    "MemoryWatch",
    "Worker",
    "cores",
    "cpu_s",
    "forget_peak",
    "peak_bytes",
    "progress",
    "resident_bytes",
    "run_alone",
]

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")

_STATUS = Path("/proc/self/status")
_CLEAR_REFS = Path("/proc/self/clear_refs")
_RESET_PEAK = "5"  # proc(5): resets the peak resident set size to its current value
_LOOK_EVERY_S = 0.005


def cores() -> int:
    """How many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):  # not on macOS and Windows
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def progress(words: str) -> None:
    """Print on stderr what the suite is doing."""
    print(f"  {words}", file=sys.stderr, flush=True)


def run_alone(
    function: Callable[Arguments, Result], *args: Arguments.args, **kwargs: Arguments.kwargs
) -> Result:
    """Call a function in a fresh process, which then ends, and return its result."""
    with Worker() as worker:
        return worker.call(function, *args, **kwargs)


class Worker:
    """A fresh process that calls one function after the other, until the block ends."""

    def __init__(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._pool = ProcessPoolExecutor(1, mp_context=context, initializer=_stand_alone)

    def call(
        self,
        function: Callable[Arguments, Result],
        *args: Arguments.args,
        **kwargs: Arguments.kwargs,
    ) -> Result:
        """Call a function in that process, and return its result."""
        return self._pool.submit(function, *args, **kwargs).result()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown()


def _stand_alone() -> None:
    """Make this process count as a program of its own, in which the library uses all cores.

    In a child of another Python process, the library would build gates on one thread only.
    """
    vars(multiprocessing.process)["_parent_process"] = None
    assert multiprocessing.parent_process() is None


def cpu_s() -> float:
    """The processor seconds that all threads of this process have taken until now."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def resident_bytes() -> int:
    """The memory that this process holds after it has given free memory back to the system."""
    gc.collect()
    pa.default_memory_pool().release_unused()
    ctypes.CDLL(None).malloc_trim(0)
    return _read_status("VmRSS")


def forget_peak() -> None:
    """Reset the peak, so that `peak_bytes` measures from now on."""
    _CLEAR_REFS.write_text(_RESET_PEAK)


def peak_bytes() -> int:
    """The most memory that this process has held at any time since the last reset."""
    return _read_status("VmHWM")


class MemoryWatch:
    """Measures the most memory that this process holds while the block runs.

    The pages of mapped files, such as a saved gate, do not count. All processes that map a file
    share its pages, and the system can take them back. A thread reads the memory every few
    milliseconds.

    Attributes:
        before_bytes: the memory that was held when the block began.
        peak_bytes: the most memory that was read.
    """

    def __init__(self) -> None:
        self.before_bytes = self.peak_bytes = 0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Self:
        self.before_bytes = self.peak_bytes = _own_bytes()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._ended.wait(_LOOK_EVERY_S):
            self.peak_bytes = max(self.peak_bytes, _own_bytes())


def _own_bytes() -> int:
    return _read_status("RssAnon") + _read_status("RssShmem")


def _read_status(key: str) -> int:
    lines = _STATUS.read_text().splitlines()
    kilobytes = next(line.split()[1] for line in lines if line.startswith(f"{key}:"))
    return int(kilobytes) * 1024
