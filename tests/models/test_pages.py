"""Releasing mapped memory loses no content, and no file from the machine's page cache."""

import ctypes
import mmap
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from gpt2eval.models.engine.pages import release_mapped, return_free_heap

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux's")
COUNT = 1 << 20  # elements: 4 MiB


@pytest.fixture
def mapped(tmp_path: Path) -> Tensor:
    """A tensor mapped from a file, all of it read, as weights are: changes stay in memory."""
    values = np.arange(COUNT, dtype=np.float32)
    values.tofile(tmp_path / "x")
    storage = torch.UntypedStorage.from_file(str(tmp_path / "x"), shared=False, nbytes=4 * COUNT)
    tensor = torch.tensor([], dtype=torch.float32).set_(storage)  # type: ignore[call-overload]
    assert torch.equal(tensor, torch.from_numpy(values))
    return tensor


def resident(tensor: Tensor) -> float:
    """Return which part of a tensor's pages the process has in its memory (from /proc)."""
    first, count = tensor.data_ptr() // mmap.PAGESIZE, tensor.nbytes // mmap.PAGESIZE
    entries = np.fromfile("/proc/self/pagemap", np.uint64, count, offset=8 * first)
    return float((entries >> np.uint64(63)).mean())


def cached(path: Path) -> float:
    """Return which part of a file's pages the machine has in its page cache (from mincore)."""
    with path.open("rb") as file:
        mapping = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
    bytes_ = np.frombuffer(mapping, np.uint8)
    pages = np.zeros(-(-len(bytes_) // mmap.PAGESIZE), np.uint8)
    ctypes.CDLL(None).mincore(
        ctypes.c_void_p(bytes_.ctypes.data),
        ctypes.c_size_t(len(bytes_)),
        pages.ctypes.data_as(ctypes.c_void_p),
    )
    return float((pages & 1).mean())


def test_pages_of_a_file_leave_the_process_and_stay_cached(mapped: Tensor, tmp_path: Path) -> None:
    expected = mapped.clone()
    assert resident(mapped) > 0.9
    release_mapped(mapped)
    assert resident(mapped) == 0
    assert cached(tmp_path / "x") > 0.9
    assert torch.equal(mapped, expected)


def test_a_transposed_slice(mapped: Tensor) -> None:
    matrix = mapped.view(1024, 1024)
    expected = matrix.clone()
    release_mapped(matrix[256:768].t())
    assert resident(matrix[256:768]) == 0
    assert torch.equal(matrix, expected)


@pytest.mark.parametrize(
    "change", [lambda x: x.add_(1), lambda x: x[COUNT // 2].fill_(7)], ids=["all", "one"]
)
def test_changed_weights_keep_their_changes(
    mapped: Tensor, change: Callable[[Tensor], None]
) -> None:
    change(mapped)
    expected = mapped.clone()
    release_mapped(mapped)
    assert torch.equal(mapped, expected)


@pytest.mark.parametrize("count", [0, 1, 1000, COUNT])
def test_memory_of_no_file_keeps_its_content(count: int) -> None:
    heap = torch.arange(count, dtype=torch.float32)
    expected = heap.clone()
    release_mapped(heap)
    return_free_heap()
    assert torch.equal(heap, expected)
