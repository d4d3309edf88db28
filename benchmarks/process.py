"""The process as the place of a measurement: its cores, its memory, and a fresh one for each."""

import ctypes
import gc
import multiprocessing
import os
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import ParamSpec, TypeVar

import pyarrow as pa

__all__ = ["cores", "forget_peak", "peak_bytes", "progress", "resident_bytes", "run_alone"]

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")

_STATUS = Path("/proc/self/status")
_CLEAR_REFS = Path("/proc/self/clear_refs")
_RESET_PEAK = "5"  # proc(5): resets the peak resident set size to its current value


def cores() -> int:
    """How many cores there are to use."""
    if hasattr(os, "sched_getaffinity"):  # not on macOS and Windows
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def progress(words: str) -> None:
    """Say on stderr what is going on."""
    print(f"  {words}", file=sys.stderr, flush=True)


def run_alone(
    function: Callable[Arguments, Result], *args: Arguments.args, **kwargs: Arguments.kwargs
) -> Result:
    """What the function returns, called in a fresh process that ends with it."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        return pool.submit(function, *args, **kwargs).result()


def resident_bytes() -> int:
    """The memory that this process holds, once everything that is free has been given back."""
    gc.collect()
    pa.default_memory_pool().release_unused()
    ctypes.CDLL(None).malloc_trim(0)
    return _read_status("VmRSS")


def forget_peak() -> None:
    """Let `peak_bytes` speak of what comes from now on."""
    _CLEAR_REFS.write_text(_RESET_PEAK)


def peak_bytes() -> int:
    """The most memory that this process has held at any one time."""
    return _read_status("VmHWM")


def _read_status(key: str) -> int:
    lines = _STATUS.read_text().splitlines()
    kilobytes = next(line.split()[1] for line in lines if line.startswith(f"{key}:"))
    return int(kilobytes) * 1024
