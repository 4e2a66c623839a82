"""Memory that is freed stays with the process, for the next step's tensors of the same size."""

from __future__ import annotations

import ctypes

_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX = -1, -2, -4
"""Numbers of glibc's ``mallopt``."""


def keep_freed_memory() -> None:
    """Tell glibc's malloc not to give freed memory back.

    Training frees and takes the same large tensors again in each step. glibc maps and unmaps each of them, and the kernel clears
    every page anew: a third to a half of the time of a convolutional network's step on a CPU. Elsewhere than on
    glibc this does nothing.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return
    mallopt(_M_MMAP_MAX, 0)
    mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)
    mallopt(_M_TOP_PAD, 64 * 2**20)
