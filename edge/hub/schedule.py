"""Adapts what the worker does for a frame to its speed and to the state of the board.

Where the worker is too slow for the wanted rate, the face mesh measures less often, then not at
all; then fewer faces are read in a frame, and the full frame is searched less often. Where the
board is too hot, the mesh stops, and a minute later frames are left out, too. Never where a file is
read without loss: its messages do not depend on the machine.
"""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

from edge.hub.frame_head import CLASSIFY_STAGES, DETECT_STAGES
from edge.hub.mesh_limit import MeshLimit
from edge.hub.rate_limit import HYSTERESIS_CELSIUS, RateLimit
from edge.link import FrameReport
from edge.vocabulary import RateReason, ScheduleReason

CHANGE_S: Final = 10.0
"""Shortest time between two changes, of whatever."""

WINDOW_S: Final = 5.0
SPAN_MIN_S: Final = 3.0
"""Work is measured over ``WINDOW_S``, and not known before it was measured for so long."""

FULL_EVERY_FACTOR_MAX: Final = 4

_BUSY: Final = 0.95
"""A thread that needs more than this share of the time between two frames is too slow."""

_AIM: Final = 0.8
"""Share that readings may fill. Below ``_BUSY``: a measurement that varies by a tenth changes
nothing."""

_IDLE: Final = 0.4
"""Below this share, twice the work fits."""

_MESH_FITS: Final = 0.6
"""Below this share of both threads, the mesh takes no time that others need."""

_MS_MIN: Final = 1e-3
_MS_MAX: Final = 1e9
"""Times that a worker may report without upsetting the arithmetic: it is not trusted."""

_DETECT: Final = (*DETECT_STAGES, "track")
_CLASSIFY: Final = (*CLASSIFY_STAGES, "translate")
_READING: Final = ("crop", "translate", "classify", "smooth")


@dataclass(frozen=True, slots=True)
class Work:
    """What a frame cost lately: means of the time that passed.

    Attributes:
        detect_ms: of the detect thread for a frame.
        classify_ms: of the classify thread for a frame, readings included.
        readings: faces read in a frame.
        reading_ms: of one reading; 0 if there was none.
        faces: largest number of faces with a reading, of this frame or an earlier one.
        mesh_ms: of the face mesh for a frame; not in ``classify_ms``.
    """

    detect_ms: float
    classify_ms: float
    readings: float
    reading_ms: float
    faces: int
    mesh_ms: float = 0.0


class WorkMeter:
    """Measures ``Work`` from the worker's reports. Only for the hub's main loop."""

    def __init__(self) -> None:
        self._frames: deque[_FrameWork] = deque()

    def add(self, report: FrameReport, now_ns: int) -> None:
        """Add a frame that was reported at monotonic time ``now_ns``."""
        ages_s = [face.expression.age_s for face in report.faces if face.expression is not None]
        self._frames.append(
            _FrameWork(
                at_ns=now_ns,
                detect_ms=_sum_ms(report.stage_ms, _DETECT),
                classify_ms=_sum_ms(report.stage_ms, _CLASSIFY),
                reading_ms=_sum_ms(report.stage_ms, _READING),
                readings=sum(age_s == 0 for age_s in ages_s),
                faces=len(ages_s),
                mesh_ms=_sum_ms(report.stage_ms, ("mesh",)),
            )
        )
        while now_ns - self._frames[0].at_ns > WINDOW_S * 1e9:
            self._frames.popleft()

    def restart(self) -> None:
        """Forget the frames so far: the schedule has changed."""
        self._frames.clear()

    def work(self) -> Work | None:
        """Return the work of a frame; None before ``SPAN_MIN_S``."""
        frames = self._frames
        if not frames or frames[-1].at_ns - frames[0].at_ns < SPAN_MIN_S * 1e9:
            return None
        readings = sum(each.readings for each in frames)
        reading_ms = sum(each.reading_ms for each in frames)
        return Work(
            detect_ms=sum(each.detect_ms for each in frames) / len(frames),
            classify_ms=sum(each.classify_ms for each in frames) / len(frames),
            readings=readings / len(frames),
            reading_ms=reading_ms / readings if readings else 0.0,
            faces=max(each.faces for each in frames),
            mesh_ms=sum(each.mesh_ms for each in frames) / len(frames),
        )


class _FrameWork(NamedTuple):
    at_ns: int
    detect_ms: float
    classify_ms: float
    reading_ms: float
    readings: int
    faces: int
    mesh_ms: float


def _sum_ms(stage_ms: Mapping[str, float], stages: tuple[str, ...]) -> float:
    return min(sum(stage_ms.get(name, 0.0) for name in stages), _MS_MAX)


def faces_that_fit(work: Work, period_ms: float, limit: int) -> int:
    """Return how many faces to read in a frame; 0: all.

    Args:
        work: with ``limit``.
        period_ms: wanted time between two frames.
        limit: as it is now; 0: all.
    """
    if work.reading_ms < _MS_MIN:
        return 0 if not work.faces else limit
    other_ms = max(0.0, work.classify_ms - work.readings * work.reading_ms)
    room = max(1, int((_AIM * period_ms - other_ms) / work.reading_ms))
    if work.classify_ms > _BUSY * period_ms:
        most = min(limit, work.faces) if limit else work.faces
        return min(room, most - 1) if most > 1 else limit
    if limit and room >= work.faces:
        return 0
    # a little more is not worth a change
    return room if limit and room >= 1.25 * limit else limit


def full_look_factor(work: Work, period_ms: float, factor: int) -> int:
    """Return by what factor the time between full looks is longer than configured.

    Args:
        work: with ``factor``.
        period_ms: wanted time between two frames.
        factor: as it is now.
    """
    if work.detect_ms > _BUSY * period_ms:
        return min(2 * factor, FULL_EVERY_FACTOR_MAX)
    if work.detect_ms < _IDLE * period_ms:
        return max(1, factor // 2)
    return factor


class Schedule(NamedTuple):
    """What the worker is to do.

    Attributes:
        divisor: one frame of so many is processed.
        faces_per_frame: so many faces are read in a frame; 0: as many as configured.
        full_every_factor: the time between full looks is so many times the configured one.
        mesh_every: the mesh measures in one frame of so many; 0: in none.
        bound_by: why it is not as configured; empty where it is.
    """

    divisor: int = 1
    faces_per_frame: int = 0
    full_every_factor: int = 1
    mesh_every: int = 1
    bound_by: tuple[ScheduleReason, ...] = ()


class AdaptiveSchedule:
    """Chooses the schedule. Only for the hub's main loop.

    Temperature and voltage decide on the divisor (see ``RateLimit``), and full looks become rarer
    as frames do. The measured work decides on readings and full looks: a board that is fast enough
    does all that is configured. The mesh gives way first. At most one change in ``CHANGE_S``.

    Args:
        hot_celsius: from this temperature on, the chip is too hot.
        has_regions: whether faces are found by regions between full looks.
        has_mesh: whether the face mesh is on.
        rate_target_hz: frames a second that readings and full looks may not cost.
        rate_min_hz: frames a second that are always processed.

    Attributes:
        schedule: as it is now.
    """

    def __init__(
        self,
        hot_celsius: float,
        *,
        rate_target_hz: float,
        rate_min_hz: float,
        has_regions: bool = True,
        has_mesh: bool = False,
    ) -> None:
        self._hot_celsius = hot_celsius
        self._mesh = MeshLimit(is_on=has_mesh)
        self._rate_limit = RateLimit(hot_celsius)
        self._rate_target_hz = rate_target_hz
        self._rate_min_hz = rate_min_hz
        self._factor_max = FULL_EVERY_FACTOR_MAX if has_regions else 1
        self._changed_ns: int | None = None
        self._faces_per_frame = 0
        self._factor = 1
        self.schedule = Schedule()

    @property
    def rate_reason(self) -> RateReason | None:
        """Why the divisor is above 1; None at 1."""
        return self._rate_limit.reason

    def update(
        self,
        now_ns: int,
        celsius: float | None,
        flags: Mapping[str, bool] | None,
        *,
        work: Work | None = None,
        expected_hz: float | None = None,
    ) -> bool:
        """Take in the state of board and worker; return whether the schedule has changed.

        Args:
            now_ns: monotonic time; call it about once a second.
            celsius: temperature of the chip; None when unknown.
            flags: as ``Board.throttle_flags``; None when unknown.
            work: what a frame costs with the present schedule; None when unknown.
            expected_hz: frames per second that the source delivers, without those left out for the
                divisor; None when unknown.
        """
        before, limit = self.schedule, self._rate_limit
        period_ms = 1e3 / self._wanted_hz(expected_hz)
        may_change = self._changed_ns is None or now_ns - self._changed_ns >= CHANGE_S * 1e9
        has_changed = may_change and self._adapt_mesh(now_ns, celsius, flags, work, period_ms)
        may_change = may_change and not has_changed
        # the chip takes a minute to cool down without the mesh
        may_move = may_change and not self._mesh.has_just_changed(now_ns)
        limit.update(now_ns, celsius, flags, may_move=may_move)
        if may_change and limit.divisor == before.divisor and work is not None:
            self._faces_per_frame = faces_that_fit(work, period_ms, self._faces_per_frame)
            factor = full_look_factor(work, period_ms, self._factor)
            self._factor = min(factor, self._factor_max)
        self.schedule = Schedule(
            limit.divisor,
            self._faces_per_frame,
            max(self._factor, min(limit.divisor, self._factor_max)),
            self._mesh.every,
            self._bound_by(),
        )
        if self.schedule[:4] != before[:4]:
            self._changed_ns = now_ns
        return self.schedule != before

    def _adapt_mesh(
        self,
        now_ns: int,
        celsius: float | None,
        flags: Mapping[str, bool] | None,
        work: Work | None,
        period_ms: float,
    ) -> bool:
        """Let the mesh do less before anything else does, and more after frames and faces.

        Return whether it has changed. Arguments: see ``update``.
        """
        if celsius is not None and celsius >= self._hot_celsius:
            return self._mesh.reduce(now_ns, "temperature", to_none=True)
        if flags and flags.get("under_voltage"):
            return self._mesh.reduce(now_ns, "under_voltage", to_none=True)
        if work is None:
            return False
        if work.mesh_ms >= _MS_MIN:
            if work.detect_ms > _BUSY * period_ms:
                return self._mesh.reduce(now_ns, "detector")
            if work.classify_ms > _BUSY * period_ms:
                return self._mesh.reduce(now_ns, "classifier")
        is_cool = celsius is None or celsius <= self._hot_celsius - HYSTERESIS_CELSIUS
        has_time = max(work.detect_ms, work.classify_ms) < _MESH_FITS * period_ms
        # rarer full looks may be due to the detector alone
        is_full = self.schedule.divisor == 1 and not self.schedule.faces_per_frame
        return is_cool and has_time and is_full and self._mesh.restore(now_ns)

    def _wanted_hz(self, expected_hz: float | None) -> float:
        wanted_hz = self._rate_target_hz
        if expected_hz:
            wanted_hz = min(wanted_hz, expected_hz)
        return max(wanted_hz, self._rate_min_hz)

    def _bound_by(self) -> tuple[ScheduleReason, ...]:
        reasons: list[ScheduleReason] = []
        if self._rate_limit.reason is not None:
            reasons.append(self._rate_limit.reason)
        if self._factor > 1:
            reasons.append("detector")
        if self._faces_per_frame:
            reasons.append("classifier")
        if self._mesh.reason is not None and self._mesh.reason not in reasons:
            reasons.append(self._mesh.reason)
        return tuple(reasons)
