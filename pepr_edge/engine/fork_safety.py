"""Whether a process may fork a child for a job, and how the child's memory counts like a fresh process's.

Linux only: it reads /proc. Elsewhere every job has a process of its own.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from pepr_edge.device.system_files import system_text

# Open devices that show that a GPU's driver is in use. It does not work in a forked child.
GPU_DEVICES = ("/dev/nvidia", "/dev/kfd", "/dev/dri")
# As long as it is set to 1, NumPy's BLAS starts no threads when it is loaded.
BLAS_THREADS = "OPENBLAS_NUM_THREADS"
MADV_POPULATE_READ = 22  # linux/mman.h, from Linux 5.14 on
# Of an entry of /proc/self/pagemap: the page is in memory; it belongs to a file. See proc(5).
PAGEMAP_ENTRY_BYTES = 8
PRESENT = 1 << 63
OF_A_FILE = 1 << 61

# Begin and length of ranges of addresses, in bytes.
Ranges = list[tuple[int, int]]


def may_fork() -> bool:
    """True if this process may fork: on Linux, with one thread and no GPU, where pages can be populated."""
    if sys.platform != "linux":
        return False
    return status_number("Threads") == 1 and not _uses_a_gpu() and _can_populate()


def status_number(name: str) -> int | None:
    """Return a number of /proc/self/status; sizes are in KiB. None if there is none of this name."""
    for line in system_text("/proc/self/status").splitlines():
        key, _, value = line.partition(":")
        if key == name and value.split():
            return int(value.split()[0])
    return None


@contextmanager
def single_threaded_blas() -> Iterator[None]:
    """Have NumPy loaded without threads of its BLAS. The environment is the same again afterwards."""
    before = os.environ.get(BLAS_THREADS)
    os.environ[BLAS_THREADS] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ[BLAS_THREADS]
        else:
            os.environ[BLAS_THREADS] = before


def file_pages() -> Ranges:
    """Return the ranges of this process that hold pages of mapped files, such as those of libraries.

    A forked child begins without most of these pages, so its peak memory would be lower than that of a fresh
    process by some 300 MiB: see `populate`.
    """
    ranges: Ranges = []
    page_bytes = os.sysconf("SC_PAGE_SIZE")
    with open("/proc/self/pagemap", "rb", buffering=0) as pagemap:
        for begin, end in _file_mappings():
            first = begin // page_bytes
            pagemap.seek(first * PAGEMAP_ENTRY_BYTES)
            entries = pagemap.read((end - begin) // page_bytes * PAGEMAP_ENTRY_BYTES)
            ranges += [(start * page_bytes, count * page_bytes) for start, count in _runs(entries, first)]
    return ranges


def _file_mappings() -> Iterator[tuple[int, int]]:
    """Yield begin and end of the readable mappings of files."""
    for line in Path("/proc/self/maps").read_text(encoding="utf-8", errors="replace").splitlines():
        addresses, permissions, _, _, inode = line.split(maxsplit=5)[:5]
        if inode != "0" and permissions.startswith("r"):
            begin, end = addresses.split("-")
            yield int(begin, 16), int(end, 16)


def _runs(entries: bytes, first: int) -> Iterator[tuple[int, int]]:
    """Yield number of the first page and count of pages, for each run of file pages that are in memory."""
    import numpy as np

    present = np.frombuffer(entries, np.uint64) & np.uint64(PRESENT | OF_A_FILE) == np.uint64(
        PRESENT | OF_A_FILE
    )
    edges = np.flatnonzero(np.diff(present, prepend=False, append=False))
    for start, end in zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True):
        yield first + start, end - start


def populate(ranges: Ranges) -> None:
    """Map pages of files that are in the system's memory anyway, so that they count as this process's."""
    for begin, length in ranges:
        _advise(begin, length)


def _advise(begin: int, length: int) -> bool:
    """Map the pages of a range. False if the system cannot, or not here."""
    import ctypes

    madvise = ctypes.CDLL(None).madvise
    madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    return bool(madvise(begin, length, MADV_POPULATE_READ) == 0)


def _can_populate() -> bool:
    """True if `populate` works here, tried on one mapping."""
    begin, _ = next(_file_mappings())
    return _advise(begin, os.sysconf("SC_PAGE_SIZE"))


def _uses_a_gpu() -> bool:
    for descriptor in Path("/proc/self/fd").iterdir():
        with suppress(OSError):  # the descriptor of the listing itself is closed again
            if str(descriptor.readlink()).startswith(GPU_DEVICES):
                return True
    return False
