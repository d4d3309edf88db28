"""Zeroed memory for tables."""

import mmap
from contextlib import suppress

import numpy as np

from consentgate.arrow import Uint64s

_HUGE_PAGE = 2 << 20
_LINE_BYTES = 64


def zeroed_words(count: int) -> Uint64s:
    """Zeros that begin where a line of the processor's cache begins.

    The memory is not touched here. Large pages are asked for where the system has them: without
    them, the first touch of a large table takes longer than filling it, and each lookup also has
    to look up its page.
    """
    size = count * 8
    if size < _HUGE_PAGE or not hasattr(mmap, "MADV_HUGEPAGE"):
        words = np.zeros(count + _LINE_BYTES // 8, np.uint64)
        return _from_bound(words, count, _LINE_BYTES)
    # Memory that may be shared, which is what Python maps otherwise, gets no large pages on Linux.
    memory = mmap.mmap(-1, size + _HUGE_PAGE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    with suppress(OSError):  # a system can be built without large pages
        memory.madvise(mmap.MADV_HUGEPAGE)
    return _from_bound(np.frombuffer(memory, np.uint64), count, _HUGE_PAGE)


def _from_bound(words: Uint64s, count: int, bound: int) -> Uint64s:
    first = -words.ctypes.data % bound // words.itemsize
    return words[first : first + count]
