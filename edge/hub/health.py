"""The health grade, from expected and actual rates, stalls, restarts and the board's state.

The grade is computed on each call, so that a source that has died is not graded on old figures.
Rates are counted over a few seconds of monotonic time; the wall clock is not used.
"""

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from edge.protocol.messages import Health, JournalStatus
from edge.vocabulary import GRADES, PICTURE_GRADES, PictureState

RATE_WINDOW_S = 5.0
RATE_PERIODS = 20
"""Window of a slow camera: 5 s hold too few of its frames to tell a slow rate from a late frame."""
_NO_FRAMES_S, _NO_FRAMES_PERIODS = 3.0, 3
_TOLERATED_FRAMES = 2
HOUR_S = 3600.0

# share of the expected rate below which the grade falls
_FAIR_BELOW, _POOR_BELOW = 0.9, 0.5
# stalls or restarts within an hour at which the grade falls
_FAIR_INCIDENTS, _POOR_INCIDENTS = 1, 5
_JOURNAL_FULL = 0.8  # share of its size; beyond, messages may go before a consumer has them


class RateMeter:
    """Rate of frames over ``RATE_WINDOW_S`` seconds, or ``RATE_PERIODS`` periods if that is longer.

    Attributes:
        expected_hz: frames per second that should come; None where that is unknown.
    """

    def __init__(self) -> None:
        self._marks: deque[tuple[int, int]] = deque()
        self._is_waiting = True  # for the first frame: the window starts there
        self.expected_hz: float | None = None

    def expect(self, rate_hz: float | None) -> None:
        """Expect another rate from now on; frames counted so far came at the rate before."""
        if rate_hz != self.expected_hz and self._marks:
            self.restart(*self._marks[-1])
        self.expected_hz = rate_hz

    def restart(self, now_ns: int, count: int) -> None:
        """Drop earlier marks, such as those of an outage; ``count`` frames have come so far."""
        self._marks.clear()
        self._marks.append((now_ns, count))
        self._is_waiting = True

    def mark(self, now_ns: int, count: int) -> None:
        """Note that ``count`` frames have come so far; call about twice a second."""
        if self._marks and count < self._marks[-1][1]:
            self._marks.clear()  # a new worker counts from 0
        if self._marks and self._is_waiting and count > self._marks[-1][1]:
            self._marks.clear()
            self._is_waiting = False
        self._marks.append((now_ns, count))
        window_s = RATE_WINDOW_S
        if self.expected_hz:
            window_s = max(window_s, RATE_PERIODS / self.expected_hz)
        while now_ns - self._marks[0][0] > window_s * 1e9 and len(self._marks) > 2:
            self._marks.popleft()

    def rate_hz(self) -> float:
        """Return frames per second over the window; 0 before there are two marks."""
        count, span_s = self._counted()
        return count / span_s if span_s else 0.0

    def delivered(self) -> float:
        """Return the share of the expected frames that came; 0 where none came for long.

        It is 1 where the expected rate is unknown. Two missing frames are tolerated: one because
        the window starts and ends between frames, one because frames come early or late.
        """
        count, span_s = self._counted()
        period_s = 1 / self.expected_hz if self.expected_hz else 0.0
        if count == 0 and span_s > max(_NO_FRAMES_S, _NO_FRAMES_PERIODS * period_s):
            return 0.0
        if self._is_waiting or not span_s:
            return 1.0
        return min(1.0, (count + _TOLERATED_FRAMES) * period_s / span_s) if period_s else 1.0

    def _counted(self) -> tuple[int, float]:
        """Return how many frames came, in how many seconds."""
        if not self._marks:
            return 0, 0.0
        (first_ns, first), (last_ns, last) = self._marks[0], self._marks[-1]
        return last - first, (last_ns - first_ns) / 1e9


@dataclass(slots=True)
class Incidents:
    """Times of faults within the last hour."""

    _times_ns: deque[int] = field(default_factory=deque)

    def add(self, now_ns: int) -> None:
        """Add a fault that happened at ``now_ns``."""
        self._times_ns.append(now_ns)

    def within(self, now_ns: int, span_s: float = HOUR_S) -> int:
        """Return the number of faults in the last ``span_s`` seconds, an hour at most."""
        while self._times_ns and now_ns - self._times_ns[0] > HOUR_S * 1e9:
            self._times_ns.popleft()
        return sum(now_ns - time_ns <= span_s * 1e9 for time_ns in self._times_ns)


def grade(
    *,
    source_state: str,
    live: bool,
    delivered: float,
    stalls_1h: int,
    restarts_1h: int,
    throttled: Sequence[str] | None,
    rate_divisor: int = 1,
    swap: str | None = None,
    picture_state: PictureState = "normal",
    journal: JournalStatus | None = None,
) -> Health:
    """Return the grade, with every reason why it is not better.

    Args:
        source_state: starting, waiting, running, stalled, absent, restarting or ended.
        live: whether the source is a camera (files have no rate to keep).
        delivered: share of the expected frames that were published recently, from 0 to 1.
        stalls_1h: times within the last hour that the source stalled or was absent.
        restarts_1h: workers lost within the last hour.
        throttled: the board's throttling flags that are set; None when unknown.
        rate_divisor: one frame of so many is processed, to cool the board.
        swap: off, prevented, or possible: pictures in memory may be written to storage.
        picture_state: what the pictures show; it does not count while there are none.
        journal: its state and size.
    """
    worst = 0
    reasons: list[str] = []

    def add(level: int, reason: str) -> None:
        nonlocal worst
        worst = max(worst, level)
        reasons.append(reason)

    if source_state in ("stalled", "absent", "restarting"):
        add(3, f"source_{source_state}")
    elif source_state == "running" and live:
        if delivered == 0:
            add(3, "no_frames")
        elif delivered < _POOR_BELOW:
            add(2, "rate")
        elif delivered < _FAIR_BELOW:
            add(1, "rate")
    if picture_state in PICTURE_GRADES and source_state not in ("absent", "restarting"):
        add(GRADES.index(PICTURE_GRADES[picture_state]), f"picture_{picture_state}")
    for count, reason in ((stalls_1h, "stalls"), (restarts_1h, "restarts")):
        if count >= _POOR_INCIDENTS:
            add(2, reason)
        elif count >= _FAIR_INCIDENTS:
            add(1, reason)
    board = _board_reasons(throttled, rate_divisor, swap)
    for level, reason in (*board, *_journal_reasons(journal)):
        add(level, reason)
    return Health(grade=GRADES[worst], reasons=reasons)


def _board_reasons(
    throttled: Sequence[str] | None, rate_divisor: int, swap: str | None
) -> Iterator[tuple[int, str]]:
    if throttled:
        yield 1, "throttled"
    if rate_divisor > 1:
        yield 1, "rate_limited"
    if swap == "possible":
        yield 1, "swap_possible"


def _journal_reasons(journal: JournalStatus | None) -> Iterator[tuple[int, str]]:
    if journal is None:
        return
    if journal.state == "memory":
        yield 2, "journal_memory"
    elif journal.consumers and journal.bytes > _JOURNAL_FULL * journal.max_bytes:
        yield 1, "journal_nearly_full"
