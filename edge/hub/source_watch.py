"""Tracks the state of the source: outages, what its pictures show, rates, when a frame is due."""

from edge import clock
from edge.hub.board_watch import BoardState
from edge.hub.freshness import Freshness
from edge.hub.health import Incidents, RateMeter, grade
from edge.link import Heartbeat
from edge.protocol.events import Detail, PictureStateChanged, SourceStateChanged
from edge.protocol.messages import Health, JournalStatus, Rates
from edge.vocabulary import PictureState, SourceState

OUTAGES = ("stalled", "absent")
"""Source states that last until a frame comes, however many workers are lost meanwhile."""

_NOTHING_DUE = ("absent", "stalled", "restarting", "waiting", "ended")


class SourceWatch:
    """Follows the source by the worker's reports. Only for the hub's main loop.

    Args:
        is_live: whether the source is a camera, which can be opened again; not a file.

    Attributes:
        state: of the source.
        picture_state: what its pictures show.
        captured: frames that it produced, as last reported.
    """

    def __init__(self, *, is_live: bool) -> None:
        self._is_live = is_live
        self.state: SourceState = "starting"
        self.picture_state: PictureState = "normal"
        self.captured = 0
        self._captured_meter, self._published_meter = RateMeter(), RateMeter()
        self._outages = Incidents()
        self._freshness = Freshness()

    @property
    def is_out(self) -> bool:
        """Whether the source is in an outage, which ends with its next frame."""
        return self.state in OUTAGES

    @property
    def is_opening(self) -> bool:
        """Whether a worker may be busy opening a camera."""
        return self._is_live and (self.is_out or self.state == "starting")

    @property
    def is_declared_away(self) -> bool:
        """Whether it is known, and published, that no results come now."""
        return self.state in _NOTHING_DUE

    def enter(self, state: SourceState) -> None:
        """Note another state, unless an outage lasts."""
        if not self.is_out:
            self.state = state

    def count_published(self, frames: int) -> None:
        """Note how many frames were published so far."""
        self._published_meter.mark(clock.monotonic_ns(), frames)

    def note_heartbeat(self, beat: Heartbeat) -> None:
        """Note how many frames were captured, how many should be, and when one is due."""
        now_ns = clock.monotonic_ns()
        self.captured = beat.captured
        self._captured_meter.expected_hz = beat.expected_hz
        self._published_meter.expect(beat.limited_hz or beat.expected_hz)
        self._captured_meter.mark(now_ns, beat.captured)
        self._freshness.note_due(beat.due_in_s, now_ns)

    def note_event(self, detail: Detail, frames: int) -> None:
        """Note a change of the source's or the pictures' state; ``frames`` were published."""
        if isinstance(detail, PictureStateChanged):
            self.picture_state = detail.state
        elif isinstance(detail, SourceStateChanged):
            now_ns = clock.monotonic_ns()
            if detail.state in OUTAGES and not self.is_out:  # counts once, in whatever state
                self._outages.add(now_ns)
            elif detail.state == "running":
                self._captured_meter.restart(now_ns, self.captured)
                self._published_meter.restart(now_ns, frames)
            self.state = detail.state

    def is_fresh(self, now_ns: int, result_ns: int | None) -> bool:
        """Return whether results are recent, or their absence is declared; see ``Freshness``."""
        return self._freshness.is_fresh(now_ns, source_state=self.state, result_ns=result_ns)

    def next_frame_s(self, now_ns: int) -> float | None:
        """Return the seconds until the next frame is due; None if it is due within a second."""
        return self._freshness.next_frame_s(now_ns)

    def rates(self, beat: Heartbeat | None) -> Rates:
        """Return the rates of the last seconds."""
        return Rates(
            expected_hz=beat.expected_hz if beat else None,
            captured_hz=self._captured_meter.rate_hz(),
            published_hz=self._published_meter.rate_hz(),
        )

    def health(
        self,
        now_ns: int,
        *,
        beat: Heartbeat | None,
        losses: Incidents,
        board: BoardState,
        journal: JournalStatus,
    ) -> Health:
        """Return the health grade; ``losses``: of workers."""
        return grade(
            source_state=self.state,
            picture_state=self.picture_state,
            live=beat is not None and beat.live,
            delivered=self._published_meter.delivered(),
            stalls_1h=self._outages.within(now_ns),
            restarts_1h=losses.within(now_ns),
            throttled=board.throttled,
            rate_divisor=board.rate_divisor,
            swap=board.swap,
            journal=journal,
        )
