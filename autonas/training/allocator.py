"""How the C library treats freed memory: training allocates and frees the same large arrays in every step."""

from __future__ import annotations

import ctypes
import functools
import platform

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # glibc's malloc.h


@functools.cache
def keep_freed_memory() -> bool:
    """Let this process keep what it frees, so that the next step finds it again; whether that was possible (glibc only).

    By default glibc hands large blocks back at once, and the kernel zeroes them page by page when they are asked for again:
    6,500 page faults a step at batches of 4 x 256, vocabulary 2,048. Without them a step of one layer of width 32 takes 15 ms
    instead of 27, one of two layers of width 128 70 instead of 80. The process stays as large as its largest step.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    library = ctypes.CDLL(None)
    return bool(library.mallopt(M_MMAP_THRESHOLD, 1 << 30)) and bool(library.mallopt(M_TRIM_THRESHOLD, (1 << 31) - 1))
