"""Reads temperature, voltage and swap once a second, and the schedule that follows."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from edge.board import Board, SwapState, set_flags, swap_state
from edge.config import Config
from edge.hub.event_log import log_swap
from edge.hub.schedule import AdaptiveSchedule, Schedule, WorkMeter
from edge.link import FrameReport, Heartbeat, Limit
from edge.protocol.events import Detail, RateLimited, ScheduleChanged
from edge.protocol.messages import ScheduleStatus
from edge.vocabulary import RateReason


@dataclass(frozen=True, slots=True)
class BoardState:
    """The board at one moment; None for what it does not report.

    Attributes:
        soc_celsius: temperature of the chip.
        throttle_flags: as ``Board.throttle_flags``.
        memory_locked: whether the worker's memory is locked; None before its report.
        swap: whether pictures in memory can be written to storage.
        rate_divisor: one frame of so many is to be processed.
        rate_reason: why it is above 1.
        schedule: what is done for each of them; None in tests that do not care.
        changes: the events that report a change of the last three.
        limit: what to send to the worker then; None without a change.
    """

    soc_celsius: float | None
    throttle_flags: Mapping[str, bool] | None
    memory_locked: bool | None
    swap: SwapState | None
    rate_divisor: int
    rate_reason: RateReason | None
    schedule: ScheduleStatus | None = None
    changes: tuple[Detail, ...] = ()
    limit: Limit | None = None

    @property
    def throttled(self) -> list[str] | None:
        """The throttling flags that are set."""
        return set_flags(self.throttle_flags)


class BoardWatch:
    """Follows the board. Only for the hub's main loop.

    Args:
        config: for the limits, and where the kernel's files lie.
        adapts: whether less may be done for frames; not where a file is read without loss.
    """

    def __init__(self, config: Config, *, adapts: bool) -> None:
        self._board = Board(Path(config.limits.board_root))
        self._config = config
        self._adaptive = AdaptiveSchedule(
            config.limits.hot_celsius,
            rate_target_hz=config.limits.rate_target_hz,
            rate_min_hz=config.limits.rate_min_hz,
            has_regions=config.detector.schedule == "region",
            has_mesh=config.mesh.enabled,
        )
        self._adapts = adapts
        self._meter = WorkMeter()
        self._memory_locked: bool | None = None

    def note_memory(self, lock_error: str) -> bool:
        """Note whether the worker's memory is locked, and return it.

        It is logged once that pictures may be swapped out.
        """
        is_locked = not lock_error
        if self._memory_locked != is_locked:  # else as with the worker before
            self._memory_locked = is_locked
            if swap_state(self._board, memory_locked=is_locked) == "possible":
                log_swap(self._board.swap_on_storage() or (), lock_error)
        return is_locked

    def note_frame(self, report: FrameReport, now_ns: int) -> None:
        """Note what a frame cost the worker."""
        self._meter.add(report, now_ns)

    def read(self, now_ns: int, beat: Heartbeat | None = None) -> BoardState:
        """Return the state of the board now; call it about once a second.

        ``beat``: the worker's newest heartbeat; None: the source's rate is unknown.
        """
        celsius, flags = self._board.soc_celsius(), self._board.throttle_flags()
        adaptive = self._adaptive
        before, before_reason = adaptive.schedule, adaptive.rate_reason
        if self._adapts:
            expected_hz = (beat.limited_hz or beat.expected_hz) if beat else None
            work = self._meter.work()
            adaptive.update(now_ns, celsius, flags, work=work, expected_hz=expected_hz)
        now, reason = adaptive.schedule, adaptive.rate_reason
        status, changes = self._status(now), list[Detail]()
        if (now.divisor, reason) != (before.divisor, before_reason):
            changes.append(
                RateLimited(divisor=now.divisor, reason=reason or "none", soc_celsius=celsius)
            )
        if now[1:] != before[1:]:
            changes.append(ScheduleChanged.model_validate(status.model_dump()))
        limit = None
        if changes:
            self._meter.restart()
            limit = Limit(
                divisor=now.divisor,
                faces_per_frame=now.faces_per_frame,
                full_every_factor=now.full_every_factor,
                mesh_every=now.mesh_every,
            )
        return BoardState(
            soc_celsius=celsius,
            throttle_flags=flags,
            memory_locked=self._memory_locked,
            swap=swap_state(self._board, memory_locked=self._memory_locked),
            rate_divisor=now.divisor,
            rate_reason=reason,
            schedule=status,
            changes=tuple(changes),
            limit=limit,
        )

    def _status(self, schedule: Schedule) -> ScheduleStatus:
        config = self._config
        limits = (schedule.faces_per_frame, config.expression.faces_per_frame)
        full_every_s = None
        if config.detector.schedule == "region":
            full_every_s = config.detector.full_every_s * schedule.full_every_factor
        return ScheduleStatus(
            faces_per_frame=min(filter(None, limits), default=0),
            full_every_s=full_every_s,
            mesh_every=schedule.mesh_every if config.mesh.enabled else None,
            bound_by=list(schedule.bound_by),
        )
