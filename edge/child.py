"""Python child processes: their modules, their end with the parent, and no core dumps."""

import contextlib
import ctypes
import os
import resource
import signal
import sys
from collections.abc import Iterator
from typing import Final

_PR_SET_PDEATHSIG: Final = 1  # of <linux/prctl.h>
_PR_GET_DUMPABLE: Final = 3
_PR_SET_DUMPABLE: Final = 4


def child_environment() -> dict[str, str]:
    """Return the environment for a Python child process with this process's module search path.

    By default ``-c`` and ``-m`` search the current folder first: a file there with the name of a
    module would run instead of the module, as root too. Children of the child inherit the
    environment.
    """
    paths = [path for path in sys.path if path and os.pathsep not in path]
    return {**os.environ, "PYTHONSAFEPATH": "1", "PYTHONPATH": os.pathsep.join(paths)}


def end_with_parent(number: signal.Signals) -> None:
    """Let the kernel send this process a signal when its parent dies; also if that is killed.

    A parent that has died before sends none: compare ``os.getppid()`` afterwards where that
    matters. The setting outlasts ``exec``.
    """
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, number)


def forbid_dumps() -> None:
    """Keep the memory of this process out of core dumps and debuggers."""
    ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


@contextlib.contextmanager
def no_dumps() -> Iterator[None]:
    """Keep the memory of this process out of core dumps and debuggers meanwhile."""
    libc = ctypes.CDLL(None)
    dumpable, limits = libc.prctl(_PR_GET_DUMPABLE), resource.getrlimit(resource.RLIMIT_CORE)
    libc.prctl(_PR_SET_DUMPABLE, 0)
    resource.setrlimit(resource.RLIMIT_CORE, (0, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_CORE, limits)
        libc.prctl(_PR_SET_DUMPABLE, dumpable)
