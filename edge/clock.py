"""All access to clocks; no other module reads one.

Durations are measured on the monotonic clock. Wall time is read once per message, to be published;
no logic runs on it. Functions may be called from any thread.
"""

import contextlib
import ctypes
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import ClassVar, Final

_STA_UNSYNC = 0x0040  # <linux/timex.h>: the kernel clock is not synchronized
_DAY_NS = 86_400_000_000_000
_TRIES: Final = 5  # to read two clocks at once
_CLOSE_NS: Final = 10_000  # three readings take a microsecond or two
_TRY_NS_MAX: Final = 2**63
_TIMESYNCD_FLAG = Path("/run/systemd/timesync/synchronized")
_HEALTH_FILE = Path("/run/affect-edge-clock/health")  # of systemd/affect-edge-clock.service
_HEALTH_MAX_AGE_NS = 60_000_000_000  # four times the period of the helper


def monotonic_ns() -> int:
    """Return nanoseconds of CLOCK_MONOTONIC, the time base inside this program."""
    return time.monotonic_ns()


def processor_ns() -> int:
    """Return nanoseconds of processor time that all threads of this process have used."""
    return time.process_time_ns()


def boottime_ns() -> int:
    """Return nanoseconds of CLOCK_BOOTTIME: like monotonic, but also counts suspend."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


def wall_ns() -> int:
    """Return nanoseconds since 1970-01-01 UTC; may jump at any time."""
    return time.time_ns()


def elapsed_ms(since_ns: int) -> float:
    """Return the milliseconds from ``since_ns`` (a ``monotonic_ns`` value) to now."""
    return (time.monotonic_ns() - since_ns) / 1e6


def time_of_day(unix_ns: int) -> str:
    """Return the time of day of a wall time, UTC, to the millisecond: ``09:41:07.250``."""
    seconds, remainder_ns = divmod(unix_ns % _DAY_NS, 1_000_000_000)
    minutes, second = divmod(seconds, 60)
    hour, minute = divmod(minutes, 60)
    return f"{hour:02}:{minute:02}:{second:02}.{remainder_ns // 1_000_000:03}"


def day(unix_ns: int) -> str:
    """Return the day of a wall time, UTC: ``2026-11-27``."""
    return time.strftime("%Y-%m-%d", time.gmtime(unix_ns // 1_000_000_000))


_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_YEARS: Final = range(1970, 2200)  # nanoseconds of later years do not fit 64 bits


def parse_wall_time(value: object) -> str:
    """Return a date and time with its offset from UTC, in ISO 8601.

    Args:
        value: such a text, or a date and time as a TOML file gives it.

    Raises:
        ValueError: it is none, or has no offset: a local time may exist twice or not at all.
    """
    expected = "expected a date and time with its offset, such as 2026-11-03T09:30:00+01:00"
    if isinstance(value, date):  # a datetime, too
        value = value.isoformat()
    if not isinstance(value, str):
        raise ValueError(expected)
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        raise ValueError(f"no date and time; {expected}") from None
    if moment.tzinfo is None:
        raise ValueError(f"without an offset from UTC; {expected}, or Z for UTC")
    if moment.year not in _YEARS or unix_ns_of(value) < 0:
        raise ValueError(f"expected a year from {_YEARS.start} to {_YEARS.stop - 1}")
    return moment.isoformat()


def unix_ns_of(text: str) -> int:
    """Return a date and time with offset as nanoseconds since 1970-01-01 UTC."""
    span = datetime.fromisoformat(text) - _EPOCH
    return (span.days * 86_400 + span.seconds) * 1_000_000_000 + span.microseconds * 1000


class Stopwatch:
    """Measures the stages of a frame: ``lap(name)`` adds the time since the last lap to a stage.

    Laps of the same name add up (a frame with three faces has three crops). Not thread-safe:
    each thread makes its own.

    Attributes:
        stage_ms: milliseconds by stage.
    """

    __slots__ = ("_last_ns", "_now_ns", "stage_ms")

    now_ns: ClassVar[Callable[[], int]] = time.monotonic_ns
    """The clock of the stopwatches made from now on; see ``stages_in_processor_time``."""

    def __init__(self) -> None:
        self.stage_ms: dict[str, float] = {}
        self._now_ns = Stopwatch.now_ns
        self._last_ns = self._now_ns()

    def lap(self, name: str) -> None:
        """Add the time since the last lap, or since construction, to the stage ``name``."""
        now_ns = self._now_ns()
        self.stage_ms[name] = self.stage_ms.get(name, 0.0) + (now_ns - self._last_ns) / 1e6
        self._last_ns = now_ns


@contextlib.contextmanager
def stages_in_processor_time() -> Iterator[None]:
    """Let every stopwatch made inside measure processor time instead of time that passed.

    For measurements in which one thread works at a time: the processor time is that of the process,
    with the threads of the networks' runtimes.
    """
    Stopwatch.now_ns = processor_ns
    try:
        yield
    finally:
        Stopwatch.now_ns = time.monotonic_ns


class _Timex(ctypes.Structure):
    """The first fields of ``struct timex`` (208 bytes on 64-bit Linux), padded to hold all."""

    _fields_ = [
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("padding", ctypes.c_byte * 256),
    ]


@dataclass(frozen=True, slots=True)
class ClockHealth:
    """Whether the wall clock is synchronized, and its error bound.

    Attributes:
        synchronized: whether NTP, PTP or the like adjusts the kernel's clock.
        max_error_us: the kernel's own bound on the error, microseconds; None when unknown.
    """

    synchronized: bool
    max_error_us: int | None


def wall_clock_health() -> ClockHealth:
    """Return the state of the wall clock, from ``adjtimex(2)`` or from what others say of it.

    chrony, timesyncd and ntpd all report through ``adjtimex``. A hardened unit may not call it.
    Then the file of ``edge.clock_health`` counts while it is fresh, and without one the flag file
    of timesyncd. Without either the clock is not synchronized.
    """
    return (
        kernel_clock_health()
        or _written_health()
        or ClockHealth(os.path.exists(_TIMESYNCD_FLAG), None)
    )


def kernel_clock_health() -> ClockHealth | None:
    """Return the state of the wall clock from ``adjtimex(2)``; None if that is refused."""
    libc = ctypes.CDLL(None, use_errno=True)
    timex = _Timex()  # modes 0: read only
    if libc.adjtimex(ctypes.byref(timex)) < 0:
        return None
    synchronized = not timex.status & _STA_UNSYNC
    return ClockHealth(synchronized, int(timex.maxerror) if synchronized else None)


def health_line(health: ClockHealth) -> str:
    """Return one line of text with ``health`` and the boot time of now, for other processes."""
    error = -1 if health.max_error_us is None else health.max_error_us
    return f"{int(health.synchronized)} {error} {boottime_ns()}\n"


def _written_health() -> ClockHealth | None:
    """Return what ``health_line`` said in the helper's file; None if it is absent, old or odd."""
    try:
        synchronized, error_us, written_ns = map(int, _HEALTH_FILE.read_bytes().split())
    except (OSError, ValueError):
        return None
    if not 0 <= boottime_ns() - written_ns <= _HEALTH_MAX_AGE_NS:
        return None
    return ClockHealth(synchronized == 1, error_us if synchronized == 1 and error_us >= 0 else None)


def wall_minus_boottime_ns() -> int:
    """Return wall time minus boot time; it changes only when the wall clock steps or slews."""
    return _difference_ns(wall_ns, boottime_ns)


def wall_minus_monotonic_ns() -> int:
    """Return wall time minus monotonic time, to convert a time of one clock to the other."""
    return _difference_ns(wall_ns, monotonic_ns)


def boottime_minus_monotonic_ns() -> int:
    """Return boot time minus monotonic time: how long the machine was suspended."""
    return _difference_ns(boottime_ns, monotonic_ns)


def _difference_ns(one: Callable[[], int], other: Callable[[], int]) -> int:
    """Return the time of one clock minus that of another, as if both were read at once.

    A process may be held up between two readings, on a busy machine for long. So one is read
    between two readings of the other; of a few tries the closest counts.
    """
    closest_ns, difference_ns = _TRY_NS_MAX, 0
    for _ in range(_TRIES):
        before_ns, at_ns, after_ns = other(), one(), other()
        if after_ns - before_ns < closest_ns:
            closest_ns = after_ns - before_ns
            difference_ns = at_ns - (before_ns + after_ns) // 2
        if closest_ns < _CLOSE_NS:
            break
    return difference_ns
