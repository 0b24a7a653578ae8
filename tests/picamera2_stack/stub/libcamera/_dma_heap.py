"""Replaces ``picamera2.dma_heap``: buffers are memory files instead of DMA buffers.

The rest of picamera2's allocator is the real one, including descriptors and mappings.
"""

import ctypes
import os

DMA_BUF_SYNC_READ = 1 << 0
DMA_BUF_SYNC_WRITE = 2 << 0
DMA_BUF_SYNC_RW = DMA_BUF_SYNC_READ | DMA_BUF_SYNC_WRITE
DMA_BUF_SYNC_START = 0 << 2
DMA_BUF_SYNC_END = 1 << 2
DMA_BUF_IOCTL_SYNC = 0x5451  # FIOCLEX: every descriptor accepts it, without effect here


class dma_buf_sync(ctypes.Structure):  # noqa: N801  (the kernel's name)
    """As in <linux/dma-buf.h>."""

    _fields_ = [("flags", ctypes.c_uint64)]


class UniqueFD:
    """A file descriptor with the interface of libcamera's UniqueFD."""

    def __init__(self, fd: int = -1) -> None:
        self._fd = fd

    def get(self) -> int:
        return self._fd

    def isValid(self) -> bool:  # noqa: N802
        return self._fd >= 0


class DmaHeap:
    """Allocates memory files; holds a file descriptor of its own, as the real heap does."""

    def __init__(self) -> None:
        self._device = os.open("/dev/zero", os.O_RDWR | os.O_CLOEXEC)

    def alloc(self, name: str, size: int) -> UniqueFD:
        fd = os.memfd_create(name, os.MFD_CLOEXEC)
        os.ftruncate(fd, size)
        return UniqueFD(fd)

    def close(self) -> None:
        # picamera2 closes an allocator explicitly, and again at garbage collection
        if self._device >= 0:
            os.close(self._device)
        self._device = -1
