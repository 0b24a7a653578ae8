"""How the daemon does, graded, from what was expected and what happened.

The grade is computed when it is asked for, so that a source that died never looks fine on old
figures. Rates are counted over a few seconds of monotonic time; no wall clock takes part.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from edge.protocol.messages import Health
from edge.vocabulary import GRADES

RATE_WINDOW_S = 5.0
HOUR_S = 3600.0

# share of the expected rate below which a grade is lost
_FAIR_BELOW, _POOR_BELOW = 0.9, 0.5
# stalls, restarts within an hour at which a grade is lost
_FAIR_INCIDENTS, _POOR_INCIDENTS = 1, 5


class RateMeter:
    """Counts events over the last ``RATE_WINDOW_S`` seconds."""

    def __init__(self) -> None:
        self._marks: deque[tuple[int, int]] = deque()

    def mark(self, now_ns: int, count: int) -> None:
        """Note that the running total is ``count``; call about twice a second."""
        if self._marks and count < self._marks[-1][1]:
            self._marks.clear()  # a new worker counts from the beginning
        self._marks.append((now_ns, count))
        while now_ns - self._marks[0][0] > RATE_WINDOW_S * 1e9 and len(self._marks) > 2:
            self._marks.popleft()

    def rate_hz(self) -> float:
        """Return events a second over the window; 0 before there are two marks."""
        if len(self._marks) < 2 or self._marks[-1][0] == self._marks[0][0]:
            return 0.0
        (first_ns, first), (last_ns, last) = self._marks[0], self._marks[-1]
        return (last - first) / ((last_ns - first_ns) / 1e9)


@dataclass(slots=True)
class Incidents:
    """When something went wrong within the last hour."""

    _times_ns: deque[int] = field(default_factory=deque)

    def add(self, now_ns: int) -> None:
        """Note one now."""
        self._times_ns.append(now_ns)

    def within(self, now_ns: int, span_s: float = HOUR_S) -> int:
        """Return how many there were in the last ``span_s`` seconds, an hour at most."""
        while self._times_ns and now_ns - self._times_ns[0] > HOUR_S * 1e9:
            self._times_ns.popleft()
        return sum(now_ns - time_ns <= span_s * 1e9 for time_ns in self._times_ns)


def grade(
    *,
    source_state: str,
    live: bool,
    expected_hz: float | None,
    published_hz: float,
    stalls_1h: int,
    restarts_1h: int,
    throttled: Sequence[str] | None,
    swap: str | None = None,
) -> Health:
    """Return the grade and every reason that keeps it from being excellent.

    Args:
        source_state: starting, waiting, running, stalled, absent, restarting or ended.
        live: whether a camera is being watched (files have no rate to keep).
        expected_hz: what the source should deliver; None when it does not say.
        published_hz: frames published a second, over the last seconds.
        stalls_1h: times within the last hour that the source stalled or was absent.
        restarts_1h: workers lost within the last hour.
        throttled: names of the board's throttling flags that are set; None when unknown.
        swap: off, prevented, or possible: pictures in memory may be written to storage.
    """
    worst = 0
    reasons: list[str] = []

    def book(level: int, reason: str) -> None:
        nonlocal worst
        worst = max(worst, level)
        reasons.append(reason)

    if source_state in ("stalled", "absent", "restarting"):
        book(3, f"source_{source_state}")
    elif source_state == "running" and live:
        if published_hz == 0:
            book(3, "no_frames")
        elif expected_hz and published_hz < _POOR_BELOW * expected_hz:
            book(2, "rate")
        elif expected_hz and published_hz < _FAIR_BELOW * expected_hz:
            book(1, "rate")
    for count, reason in ((stalls_1h, "stalls"), (restarts_1h, "restarts")):
        if count >= _POOR_INCIDENTS:
            book(2, reason)
        elif count >= _FAIR_INCIDENTS:
            book(1, reason)
    if throttled:
        book(1, "throttled")
    if swap == "possible":
        book(1, "swap_possible")
    return Health(grade=GRADES[worst], reasons=reasons)
