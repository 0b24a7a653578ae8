"""Locks this process's memory, so that no picture in it is ever written to swap.

Pages that the process touches stay in RAM; pages that it never touches cost nothing
(``MCL_ONFAULT``). This does not need the memory cgroup, which Raspberry Pi OS turns off: without it
``MemorySwapMax=0`` of a service has no effect.
"""

import contextlib
import ctypes
import mmap
import os
import resource

_MCL_CURRENT = 1
_MCL_FUTURE = 2
_MCL_ONFAULT = 4


def lock_memory() -> str:
    """Lock all memory of this process, present and future; return "" or why it is not locked.

    The limit (``RLIMIT_MEMLOCK``) counts all mapped memory, not the part that is used. Below such a
    limit a lock would make later allocations fail, so none is kept unless the process is exempt:
    its limit is unlimited, or it has ``CAP_IPC_LOCK``. Threads share the lock; child processes do
    not inherit it.
    """
    unlimited = resource.RLIM_INFINITY
    with contextlib.suppress(ValueError, OSError):  # only some may lift it; the rest is measured
        resource.setrlimit(resource.RLIMIT_MEMLOCK, (unlimited, unlimited))
    limit = resource.getrlimit(resource.RLIMIT_MEMLOCK)[0]
    too_low = f"the limit of locked memory is {limit // 1024} KiB; expected unlimited (ulimit -l)"
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mlockall(_MCL_CURRENT | _MCL_FUTURE | _MCL_ONFAULT) != 0:
        return too_low if limit != unlimited else f"mlockall: {os.strerror(ctypes.get_errno())}"
    if limit == unlimited:
        return ""
    try:
        # only address space: it is never touched
        mmap.mmap(-1, limit + mmap.PAGESIZE, prot=0, flags=mmap.MAP_PRIVATE).close()
    except OSError:
        libc.munlockall()
        return too_low
    return ""
