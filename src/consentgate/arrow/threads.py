"""Working on a block of rows at a time, on as many threads as are worth it."""

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import cache
from multiprocessing import parent_process
from typing import TypeVar

import numpy as np

from consentgate.arguments import require
from consentgate.errors import ConfigurationError

BLOCK_ROWS = 262_144
"""Rows per block: few enough that temporaries stay in the cache that cores share, and so many
that threads seldom wait for each other to hand over the interpreter.
"""
_FEWEST_ROWS = 65_536
"""Blocks are not made smaller than that to give every thread one."""

_KEEPS_MEMORY = (32 << 20) - (64 << 10)

T = TypeVar("T")


def block_rows(rows: int, threads: int) -> int:
    """How many of so many rows make a block, so that every thread has one if they suffice."""
    return min(BLOCK_ROWS, max(_FEWEST_ROWS, -(-rows // threads)))


def row_blocks(rows: int, size: int | None = None) -> list[slice]:
    """Slices that cover so many rows, each of at most `size`, or else BLOCK_ROWS."""
    size = size or BLOCK_ROWS
    return [slice(start, min(start + size, rows)) for start in range(0, rows, size)]


def for_each(work: Callable[[T], None], items: Iterable[T], threads: int | None = None) -> None:
    """Call a function for every item; NumPy lets other threads run meanwhile.

    Args:
        threads: None: one per available core, or one in a worker process.

    Raises:
        ConfigurationError: `threads` is less than 1.
        Whatever `work` raises.
    """
    items = list(items)
    count = min(thread_count(threads), len(items))
    _keep_freed_memory()
    if count > 1:
        with ThreadPoolExecutor(count) as pool:
            for _ in pool.map(work, items):
                pass
    else:
        for item in items:
            work(item)


def thread_count(threads: int | None = None) -> int:
    """The number of threads asked for; None: one per available core, or one in a worker process.

    Raises:
        ConfigurationError: `threads` is less than 1.
    """
    if threads is None:
        return _available_cores() if parent_process() is None else 1
    require(threads, "threads", int, np.integer, hint="give a number of threads, or None")
    if threads < 1:
        raise ConfigurationError(f"`threads` is {threads} but must be at least 1.")
    return int(threads)


def _available_cores() -> int:
    if hasattr(os, "sched_getaffinity"):  # not on macOS and Windows
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@cache
def _keep_freed_memory() -> None:
    """Let glibc reuse the temporaries' memory instead of handing it back after every block.

    Otherwise half of the time goes into page faults. glibc raises its thresholds to the size of
    what it frees, up to 32 MiB (mallopt(3), M_MMAP_THRESHOLD); the memory here is never touched.
    """
    with suppress(MemoryError):  # where memory is short, nothing is kept
        np.empty(_KEEPS_MEMORY, dtype=np.uint8)
