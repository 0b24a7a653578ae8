"""Waiting for a condition, which is no sleeping for luck."""

import time
from collections.abc import Callable


def wait_until(condition: Callable[[], object], timeout_s: float = 20.0) -> float:
    """Wait until ``condition`` is true; return how long it took, in seconds. Fail after a while."""
    start = time.monotonic()
    while not condition():
        assert time.monotonic() - start < timeout_s
        time.sleep(0.005)
    return time.monotonic() - start
