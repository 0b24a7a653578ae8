"""Watches the memory of this process for growth that connections may have caused."""

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
    """Compares the memory of this process with that of before. Not thread-safe.

    Args:
        own_bytes: returns how much the hub holds on purpose, such as messages for a slow disk.

    Attributes:
        is_growing: whether it has grown recently, or connections were cut.
    """

    def __init__(self, own_bytes: Callable[[], int] = lambda: 0) -> None:
        self._own_bytes = own_bytes
        self._statm = os.open("/proc/self/statm", os.O_RDONLY | os.O_CLOEXEC)
        self._page_mb = os.sysconf("SC_PAGE_SIZE") / 1e6
        self._usual_mb = self.resident_mb()
        self._recent: deque[tuple[int, float]] = deque()  # monotonic time and MB
        self._cut_ns: int | None = None  # when connections were cut; None after it was assessed
        self._cuts_since_large: int | None = None  # None: memory is not LARGE
        self.is_growing = False
        self._trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # of glibc

    def resident_mb(self) -> float:
        """Return the resident memory without mapped files and ``own_bytes``, MB."""
        _, resident, mapped, *_ = os.pread(self._statm, 100, 0).split()
        return (int(resident) - int(mapped)) * self._page_mb - self._own_bytes() / 1e6

    def assess(self, now_ns: int) -> Growth:
        """Return how memory has grown; call it some times within ``RECENT_S``."""
        if self._cut_ns is not None and self._trim is not None:
            self._trim(0)  # else the allocator keeps what ZeroMQ has freed
        resident_mb = self.resident_mb()
        self._recent.append((now_ns, resident_mb))
        while now_ns - self._recent[0][0] > RECENT_S * 1e9:
            self._recent.popleft()
        is_settled = self._cut_ns is None or now_ns - self._cut_ns > _SETTLE_S * 1e9
        growth_mb = resident_mb - min(mb for _, mb in self._recent)
        self.is_growing = growth_mb > _GROWING_MB or not is_settled
        if growth_mb > FAST_MB:
            return Growth.FAST
        if not is_settled:
            return Growth.NORMAL
        self._cut_ns = None
        if resident_mb - self._usual_mb <= LARGE_MB:
            self._cuts_since_large = None
            return Growth.NORMAL
        if self._cuts_since_large == 0:  # it stays without connections: they are not the cause
            self._cuts_since_large = None
            self._usual_mb = resident_mb
            return Growth.NORMAL
        self._cut_ns = now_ns
        self._cuts_since_large = 0
        return Growth.LARGE

    def note_cut(self, now_ns: int) -> None:
        """Note that a connection was cut, so that memory is about to be freed."""
        if self._cut_ns is None:
            self._cut_ns = now_ns
        if self._cuts_since_large is not None:
            self._cuts_since_large += 1

    def close(self) -> None:
        """Close the file that it reads."""
        os.close(self._statm)
