"""Memory that is freed stays with the process, for the next step's tensors of the same size, and lies in huge pages."""

from __future__ import annotations

import ctypes
import os
import resource
from pathlib import Path

_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX = -1, -2, -4
"""Numbers of glibc's ``mallopt``."""
_MADV_HUGEPAGE = 14
_HUGE_PAGE = 2 << 20


def keep_freed_memory() -> None:
    """Tell glibc's malloc not to give freed memory back, and the kernel to back what malloc takes by huge pages.

    Training frees and takes the same large tensors again in each step. glibc maps and unmaps each of them, and the kernel clears
    every page anew: a third to a half of the time of a convolutional network's step on a CPU. Huge pages save translations
    of addresses, most of all in virtual machines: 5 to 20% of a step. Elsewhere than on glibc this does nothing.
    """
    libc = ctypes.CDLL(None)
    mallopt = getattr(libc, "mallopt", None)
    if mallopt is None:
        return
    mallopt(_M_MMAP_MAX, 0)
    mallopt(_M_TRIM_THRESHOLD, -1)
    mallopt(_M_TOP_PAD, 64 * 2**20)
    if _addresses_are_free():
        _use_huge_pages(libc, os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2)


def _addresses_are_free() -> bool:
    """Whether memory that is not touched costs nothing: no ``ulimit -v``, and a kernel that does not count it as used."""
    overcommit = Path("/proc/sys/vm/overcommit_memory")
    counted = overcommit.exists() and overcommit.read_text(encoding="utf-8").strip() == "2"
    return not counted and resource.getrlimit(resource.RLIMIT_AS)[0] == resource.RLIM_INFINITY


def _use_huge_pages(libc: ctypes.CDLL, size: int) -> None:
    """For the next ``size`` bytes of malloc's heap: they are taken and freed again, untouched."""
    libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
    libc.free.argtypes = [ctypes.c_void_p]
    libc.madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    address = libc.malloc(size)
    if address is None:
        return
    first, last = -(-address // _HUGE_PAGE) * _HUGE_PAGE, (address + size) // _HUGE_PAGE * _HUGE_PAGE
    libc.madvise(first, last - first, _MADV_HUGEPAGE)
    libc.free(address)
