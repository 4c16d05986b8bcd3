"""Keeping the memory that a training step frees, so that the next step does not have to ask for it again.

The one idea: a step frees hundreds of megabytes and takes them again a moment later. glibc's malloc gives every large
block back to the system at once, and the system must then fill each page with zeros anew: a 6 x 384 model with 50,257
tokens made 140,000 page faults a step and spent a quarter of its time on them (benchmarks/RESULTS.md). Told to keep
blocks of any size, malloc hands the same pages out again. The peak stays about what it was. Source: mallopt(3).
"""

from __future__ import annotations

import ctypes
import functools
import sys

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # glibc's malloc.h
LARGEST_KEPT = 1 << 26  # larger blocks are few, and cut holes that nothing fits: 1 << 30 took 180 MB more, no faster
NEVER = 2**31 - 1  # the largest int


@functools.cache
def keep_freed_memory() -> bool:
    """Ask malloc to keep freed memory in this process from now on; whether it will (elsewhere than glibc: no)."""
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:  # musl has none
        return False
    return bool(mallopt(M_MMAP_THRESHOLD, LARGEST_KEPT)) and bool(mallopt(M_TRIM_THRESHOLD, NEVER))


def give_back_freed_memory() -> None:
    """Give what is freed by now back to the system once: after work whose blocks fit nothing that follows."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform.startswith("linux") else None
    if trim is not None:  # glibc's own
        trim(0)
