"""Work on blocks of rows, on several threads."""

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
"""Most rows of a block.

Few enough that temporaries stay in the cache that cores share, and enough that threads seldom wait
for the interpreter's lock.
"""
_FEWEST_ROWS = 65_536
"""Blocks are not made smaller than this in order to give every thread a block."""

_KEEPS_MEMORY = (32 << 20) - (64 << 10)

T = TypeVar("T")


def block_rows(rows: int, threads: int) -> int:
    """The rows of a block, chosen so that every thread gets a block if there are enough rows."""
    return min(BLOCK_ROWS, max(_FEWEST_ROWS, -(-rows // threads)))


def row_blocks(rows: int, size: int | None = None) -> list[slice]:
    """Slices that cover `rows` rows, each of at most `size` rows (None: BLOCK_ROWS)."""
    size = size or BLOCK_ROWS
    return [slice(start, min(start + size, rows)) for start in range(0, rows, size)]


def for_each(work: Callable[[T], None], items: Iterable[T], threads: int | None = None) -> None:
    """Call a function for every item, on several threads, which NumPy lets run at the same time.

    Args:
        threads: how many; None: one per available core, or one in a worker process.

    Raises:
        ConfigurationError: `threads` is less than 1.
        Exception: `work` raised it.
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
    """Let glibc reuse the temporaries' memory instead of giving it back after every block.

    Otherwise half of the time goes into page faults. When a block of memory is freed, glibc raises
    its thresholds to the size of that block, up to 32 MiB (mallopt(3), M_MMAP_THRESHOLD). So one
    such block is allocated and freed here. It is never touched, so it takes no memory.
    """
    with suppress(MemoryError):  # if memory is short, the thresholds stay as they are
        np.empty(_KEEPS_MEMORY, dtype=np.uint8)
