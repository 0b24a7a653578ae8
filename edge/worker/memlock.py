"""Locks this process's memory (``mlockall``), so that no picture is written to swap.

Pages that the process touches stay in RAM; pages that it never touches cost nothing
(``MCL_ONFAULT``). The lock does not need the memory cgroup. Raspberry Pi OS turns that cgroup off,
and then ``MemorySwapMax=0`` of a service has no effect.
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

    The limit (``RLIMIT_MEMLOCK``) counts all mapped memory, not only the part in use. Under a
    finite limit the lock would make later allocations fail. So it is kept only if no limit applies:
    ``RLIMIT_MEMLOCK`` is unlimited, or the process has ``CAP_IPC_LOCK``. Threads share the lock;
    child processes do not inherit it.
    """
    unlimited = resource.RLIM_INFINITY
    with contextlib.suppress(ValueError, OSError):  # needs a right; the limit is read below
        resource.setrlimit(resource.RLIMIT_MEMLOCK, (unlimited, unlimited))
    limit = resource.getrlimit(resource.RLIMIT_MEMLOCK)[0]
    too_low = f"the limit of locked memory is {limit // 1024} KiB; expected unlimited (ulimit -l)"
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mlockall(_MCL_CURRENT | _MCL_FUTURE | _MCL_ONFAULT) != 0:
        return too_low if limit != unlimited else f"mlockall: {os.strerror(ctypes.get_errno())}"
    if limit == unlimited:
        return ""
    try:
        # a mapping above the limit succeeds only with CAP_IPC_LOCK; its pages are never touched
        mmap.mmap(-1, limit + mmap.PAGESIZE, prot=0, flags=mmap.MAP_PRIVATE).close()
    except OSError:
        libc.munlockall()
        return too_low
    return ""


def return_free_memory() -> None:
    """Return what was freed in this process to the system, as far as the C library can.

    To be called before ``lock_memory``: locked pages are not returned.
    """
    with contextlib.suppress(AttributeError):  # not in musl
        ctypes.CDLL(None).malloc_trim(0)
