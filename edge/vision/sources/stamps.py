"""Detects the clock of a camera's time stamps."""

from edge.clock import monotonic_ns
from edge.vocabulary import ClockName

_TOLERANCE_NS = 1_000_000  # the driver may round a time stamp up


def clock_of(stamp_ns: int) -> ClockName:
    """Return the clock of ``stamp_ns``, the time stamp of a frame that was just captured.

    libcamera documents CLOCK_BOOTTIME, but CLOCK_MONOTONIC has been observed as well; drivers of
    USB cameras differ too. Boot time is ahead of monotonic time by the time that the machine was
    suspended, so a stamp in the future of the monotonic clock is boot time. Without suspension
    both are equal, and the result is "monotonic", as used everywhere else here.
    """
    return "boottime" if stamp_ns > monotonic_ns() + _TOLERANCE_NS else "monotonic"
