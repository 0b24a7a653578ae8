"""Waiting for a condition, which is no sleeping for luck."""

import contextlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

HANG_S: Final = 60.0
"""After this time a test gives up. It guards against a hang alone: on a busy machine a process may
need many seconds to start, and a test that passes never waits for it."""


def wait_until(condition: Callable[[], object], timeout_s: float = HANG_S) -> float:
    """Wait until ``condition`` is true; return how long it took, in seconds. Fail after a while."""
    start = time.monotonic()
    while not condition():
        assert time.monotonic() - start < timeout_s
        time.sleep(0.005)
    return time.monotonic() - start


class QuietTime:
    """Time since it was made in which no process of this machine waited for a processor.

    For limits that the program must keep: they hold on a quiet machine, and a busy one is no fault
    of the program. Where the kernel does not count such waits, it is the time that passed.
    """

    def __init__(self) -> None:
        self._start_s, self._waited_s = time.monotonic(), _waited_s()

    @property
    def elapsed_s(self) -> float:
        """Seconds."""
        return time.monotonic() - self._start_s - self.held_up_s

    @property
    def held_up_s(self) -> float:
        """Seconds since it was made in which some process waited for a processor."""
        return _waited_s() - self._waited_s


def _waited_s() -> float:
    """Return for how long some process has waited for a processor since the machine's start."""
    with contextlib.suppress(OSError):
        some = Path("/proc/pressure/cpu").read_text().partition("\n")[0]
        return int(some.rpartition("total=")[2]) / 1e6
    return 0.0
