"""Watches the memory of this process for growth that connections may have caused."""

import contextlib
import ctypes
import enum
import os
from collections import deque
from collections.abc import Callable
from typing import Final

FAST_MB: Final = 12.0
"""Growth within ``RECENT_S`` that is more than the hub itself needs."""

LARGE_MB: Final = 48.0
"""Growth since the start, or since growth was found to have another cause."""

RECENT_S: Final = 0.5
_GROWING_MB: Final = 1.0
_SETTLE_S: Final = 0.5  # after connections were cut, until ZeroMQ has freed what it has gathered


class Growth(enum.Enum):
    """How memory has grown."""

    NORMAL = enum.auto()
    FAST = enum.auto()
    LARGE = enum.auto()


class MemoryWatch:
    """Compares the memory that is in use with that of before. Not thread-safe.

    Args:
        own_bytes: returns how much the hub holds on purpose, such as messages for a slow disk.

    Attributes:
        is_growing: whether it has grown recently, or connections were cut.
    """

    def __init__(self, own_bytes: Callable[[], int] = lambda: 0) -> None:
        self._own_bytes = own_bytes
        self._allocator = _Allocator()
        self._usual_mb = self.used_mb()
        self._recent: deque[tuple[int, float]] = deque()  # monotonic time and MB
        self._cut_ns: int | None = None  # when connections were cut; None after it was assessed
        self._cuts_since_large: int | None = None  # None: memory is not LARGE
        self.is_growing = False

    def used_mb(self) -> float:
        """Return the memory in use without ``own_bytes``, MB."""
        return (self._allocator.used_bytes() - self._own_bytes()) / 1e6

    def assess(self, now_ns: int) -> Growth:
        """Return how memory has grown; call it some times within ``RECENT_S``."""
        used_mb = self.used_mb()
        self._recent.append((now_ns, used_mb))
        while now_ns - self._recent[0][0] > RECENT_S * 1e9:
            self._recent.popleft()
        is_settled = self._cut_ns is None or now_ns - self._cut_ns > _SETTLE_S * 1e9
        growth_mb = used_mb - min(mb for _, mb in self._recent)
        self.is_growing = growth_mb > _GROWING_MB or not is_settled
        if growth_mb > FAST_MB:
            return Growth.FAST
        if not is_settled:
            return Growth.NORMAL
        if self._cut_ns is not None:
            self._cut_ns = None
            self._allocator.trim()
        if used_mb - self._usual_mb <= LARGE_MB:
            self._cuts_since_large = None
            return Growth.NORMAL
        if self._cuts_since_large == 0:  # it stays without connections: they are not the cause
            self._cuts_since_large = None
            self._usual_mb = used_mb
            return Growth.NORMAL
        self._cut_ns = now_ns
        self._cuts_since_large = 0
        return Growth.LARGE

    def note_cut(self, now_ns: int) -> None:
        """Note that a connection was cut, so that memory is about to be freed."""
        self._cut_ns = now_ns
        if self._cuts_since_large is not None:
            self._cuts_since_large += 1

    def close(self) -> None:
        """Close the file that it reads."""
        self._allocator.close()


class _Mallinfo(ctypes.Structure):
    """``struct mallinfo2`` of <malloc.h>."""

    _fields_ = [
        (name, ctypes.c_size_t)
        for name in (
            "arena", "ordblks", "smblks", "hblks", "hblkhd",
            "usmblks", "fsmblks", "uordblks", "fordblks", "keepcost",
        )
    ]  # fmt: skip


class _Allocator:
    """The C library's allocator, from which ZeroMQ has its memory.

    It counts what is in use. Resident memory would not show a second flood, which uses what the
    allocator has kept from the first one; so it is only read where nothing else is known (glibc
    before 2.33, musl).
    """

    def __init__(self) -> None:
        library = ctypes.CDLL(None)
        self._info = getattr(library, "mallinfo2", None)
        if self._info is not None:
            self._info.restype = _Mallinfo
        self._trim = getattr(library, "malloc_trim", None)
        self._statm: int | None = None
        with contextlib.suppress(OSError):  # no /proc
            self._statm = os.open("/proc/self/statm", os.O_RDONLY | os.O_CLOEXEC)

    def used_bytes(self) -> int:
        """Return the bytes in use; without that count, the resident ones without files; else 0."""
        if self._info is not None:
            info = self._info()
            return int(info.uordblks + info.hblkhd)
        if self._statm is None:
            return 0
        _, resident, mapped, *_ = os.pread(self._statm, 100, 0).split()
        return (int(resident) - int(mapped)) * os.sysconf("SC_PAGE_SIZE")

    def trim(self) -> None:
        """Return unused memory to the system; takes up to 0.2 s after a flood."""
        if self._trim is not None:
            self._trim(0)

    def close(self) -> None:
        """Close the file that it reads."""
        if self._statm is not None:
            os.close(self._statm)
            self._statm = None
