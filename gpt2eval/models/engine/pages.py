"""Memory that a process need not keep: pages that a mapped file can give again, and a free heap."""

import ctypes
import mmap
import sys
from pathlib import Path

import numpy as np
from torch import Tensor

PAGEMAP = Path("/proc/self/pagemap")  # 64 bits per page, see the kernel's admin-guide/mm/pagemap
PRESENT = np.uint64(1 << 63)
SWAPPED = np.uint64(1 << 62)
OF_FILE = np.uint64(1 << 61)
DONTNEED = 4  # Linux's MADV_DONTNEED, which Python's mmap defines on Linux only


def release_mapped(tensor: Tensor) -> None:
    """Unmap a dense tensor's pages if a file can give all of them again, as when first read.

    A checkpoint stays in the machine's page cache. A tensor with a page of its own, on the heap or
    changed since it was mapped, is left alone. Does nothing outside Linux.
    """
    if sys.platform != "linux":
        return
    # Only pages that lie entirely in the tensor.
    first = -(-tensor.data_ptr() // mmap.PAGESIZE)
    count = (tensor.data_ptr() + tensor.nbytes) // mmap.PAGESIZE - first
    if count > 0 and _is_of_file(first, count):
        address = ctypes.c_void_p(first * mmap.PAGESIZE)
        ctypes.CDLL(None).madvise(address, ctypes.c_size_t(count * mmap.PAGESIZE), DONTNEED)


def return_free_heap() -> None:
    """Return freed heap memory to the system, where the C library can (glibc)."""
    if sys.platform == "linux":
        getattr(ctypes.CDLL(None), "malloc_trim", lambda _: None)(0)


def _is_of_file(first: int, count: int) -> bool:
    """Return whether each of the pages is a file's, unmodified, or not in memory at all."""
    try:
        entries = np.fromfile(PAGEMAP, np.uint64, count, offset=8 * first)
    except OSError:
        return False
    anonymous = (entries & PRESENT > 0) & (entries & OF_FILE == 0)
    return len(entries) == count and not np.any(anonymous | (entries & SWAPPED > 0))
