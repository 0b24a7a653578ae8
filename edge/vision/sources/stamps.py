"""On which clock a camera stamps its pictures: found out, never assumed."""

from edge.clock import monotonic_ns
from edge.vocabulary import ClockName

_TOLERANCE_NS = 1_000_000  # a stamp rounded up by its driver is not of the future


def clock_of(stamp_ns: int) -> ClockName:
    """Return the clock that ``stamp_ns``, taken a moment ago, was read from.

    libcamera documents CLOCK_BOOTTIME, and has been seen to deliver CLOCK_MONOTONIC; drivers of
    USB cameras differ as well. Boot time runs ahead of monotonic time by all the machine's
    suspensions, so a stamp that lies in the future of the monotonic clock is one of boot time.
    Without suspension the two are the same, and the answer is "monotonic", on which everything
    else here counts.
    """
    return "boottime" if stamp_ns > monotonic_ns() + _TOLERANCE_NS else "monotonic"
