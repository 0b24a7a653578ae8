"""What leaves the hub: numbered once, stamped once, handed to the socket.

Everything that is recorded passes here between the journal, which numbers it, and the publisher,
which sends it.
"""

import hashlib
import logging
from collections.abc import Callable
from pathlib import Path

from edge import __version__, clock
from edge.board import SwapState
from edge.config import Config
from edge.hub.identity import StreamIdentity
from edge.hub.metrics import Metrics
from edge.hub.participants import Participants
from edge.hub.publisher import Publisher
from edge.link import FrameReport
from edge.protocol.events import ClockStep, Detail, EpochEnded, EpochStarted
from edge.protocol.messages import (
    EventMessage,
    EventTime,
    FrameInfo,
    FrameMessage,
    FrameTime,
    Health,
    Rates,
    StageTimes,
    StatusMessage,
    encode,
)

log = logging.getLogger("affect_edge")

CLOCK_STEP_NS = 50_000_000
DETECT_STAGES = ("resize", "detect", "decode_boxes")
CLASSIFY_STAGES = ("quality", "crop", "classify", "smooth")


class MessageStream:
    """Builds and sends the messages of one epoch. For the hub's one loop.

    Args:
        config: for the device's name and what the first message tells.
        journal: gives the numbers.
        publisher: sends.
        metrics: counts.
        people: says whose faces are whose.
        bear: None to send and forget, as a live source wants it. Else nothing numbered is dropped:
            while a subscriber has no room, ``bear`` is asked again and again, with the seconds
            waited so far, whether to go on waiting; it waits a little itself.

    Attributes:
        frames: how many were sent.
        dropped: how many were lost between them.
        last_index: of the newest frame sent; -1 before the first.
        last_track: the highest number a track ever had here; 0 before the first.
        last_result_ns: monotonic time of the newest frame; None before the first.
        last_status: the newest one; None before the first.
    """

    def __init__(
        self,
        config: Config,
        journal: StreamIdentity,
        publisher: Publisher,
        metrics: Metrics,
        people: Participants,
        *,
        bear: Callable[[float], bool] | None = None,
    ) -> None:
        self._config = config
        self._journal = journal
        self._publisher = publisher
        self._metrics = metrics
        self._people = people
        self._bear = bear
        self._unannounced: list[Detail] | None = []
        self._media_unix_ns: int | None = None  # wall time of a file's beginning
        self._wall_offset_ns = clock.wall_minus_boottime_ns()
        self._clock_health = clock.wall_clock_health()
        self._head = {
            "device": config.device.name,
            "stream": journal.stream,
            "epoch": journal.epoch,
        }
        self.frames = 0
        self.dropped = 0
        self.last_index = -1
        self.last_track = 0
        self.last_result_ns: int | None = None
        self.last_status: StatusMessage | None = None

    @property
    def is_announced(self) -> bool:
        """Whether the epoch has begun: events go out at once from then on."""
        return self._unannounced is None

    def announce(self) -> None:
        """Send the first message of the epoch, and the events that waited for it."""
        waited, self._unannounced = self._unannounced or [], None
        config = self._config.model_dump_json(exclude={"source": {"url"}})
        self.event(
            EpochStarted(
                version=__version__,
                purpose=self._config.device.purpose or "demo",
                source=self._config.source.kind,
                priors=self._config.expression.priors,  # without them no share can be read
                boot_id=_boot_id(),
                config_sha256=hashlib.sha256(config.encode()).hexdigest(),
            )
        )
        for detail in waited:
            self.event(detail)

    def farewell(self, exit_code: int, captured: int) -> None:
        """Send the last message of the epoch; ``captured`` frames came from the source in all."""
        self.event(
            EpochEnded(
                exit_code=exit_code,
                frames=self.frames,
                # pictures after the last one published are lost, too, and in no message's count
                dropped=max(self.dropped, captured - self.frames),
                captured=captured,
                messages=self._journal.last_seq + 2,  # this one included
            )
        )

    def event(self, detail: Detail) -> EventMessage | None:
        """Send an event and return it; or keep it until the epoch has been announced."""
        if self._unannounced is not None:
            self._unannounced.append(detail)
            return None
        message = EventMessage(
            **self._head,
            seq=self._journal.next_seq(),
            time=self.now(),
            event=detail.event,
            detail=detail.model_dump(mode="json"),
        )
        self._send(message)
        self._metrics.event()
        return message

    def frame(self, report: FrameReport) -> None:
        """Send what the worker read from one picture."""
        stages = report.stage_ms
        now_ns = clock.monotonic_ns()
        message = FrameMessage(
            **self._head,
            seq=self._journal.next_seq(),
            frame=FrameInfo(
                index=report.index,
                width=report.width,
                height=report.height,
                # a hole in the indices, whoever made it: camera, slot, or the loss of a worker
                dropped=report.index - self.last_index - 1,
            ),
            time=FrameTime(
                sensor_ns=report.sensor_ns,
                clock=report.clock,
                exposure_us=report.exposure_us,
                unix_ns=self._unix_ns(report),
                published_ns=now_ns,
                synchronized=self._clock_health.synchronized,
                max_error_us=self._clock_health.max_error_us,
            ),
            timing_ms=StageTimes(
                capture=stages.get("capture", 0.0),
                detect=sum(stages.get(stage, 0.0) for stage in DETECT_STAGES),
                track=stages.get("track", 0.0),
                translate=stages.get("translate", 0.0),
                classify=sum(stages.get(stage, 0.0) for stage in CLASSIFY_STAGES),
                total=max(0.0, (now_ns - report.captured_ns) / 1e6),
            ),
            faces=self._people.seen(report.faces, report.sensor_ns),
        )
        self.frames += 1
        self.dropped += message.frame.dropped
        self.last_index = report.index
        self.last_track = max([self.last_track, *(face.track for face in report.faces)])
        self.last_result_ns = now_ns
        self._send(message)
        self._metrics.frame(message)

    def status(
        self,
        *,
        health: Health,
        source_state: str,
        rates: Rates,
        worker_restarts: int,
        worker_rss_mb: float | None,
        worker_dropped: dict[str, int],
        soc_celsius: float | None,
        throttled: list[str] | None,
        memory_locked: bool | None,
        swap: SwapState | None,
    ) -> None:
        """Send the heartbeat: it is not numbered, and a subscriber without room misses it."""
        message = StatusMessage(
            **self._head,
            time=self.now(),
            last_seq=self._journal.last_seq,
            oldest_seq=self._journal.oldest_seq,
            health=health,
            source_state=source_state,
            rates=rates,
            frames_published=self.frames,
            frames_dropped=self.dropped,
            worker_restarts=worker_restarts,
            worker_rss_mb=worker_rss_mb,
            soc_celsius=soc_celsius,
            throttled=throttled,
            memory_locked=memory_locked,
            swap=swap,
        )
        self.last_status = message
        self._publisher.offer(encode(message))
        self._metrics.status(message, worker_dropped)

    def check_clock(self) -> None:
        """Read the clock's health; tell of a jump of the wall clock since the last look."""
        self._clock_health = clock.wall_clock_health()
        offset_ns = clock.wall_minus_boottime_ns()
        step_ns = offset_ns - self._wall_offset_ns
        self._wall_offset_ns = offset_ns
        if abs(step_ns) > CLOCK_STEP_NS:
            log.warning("wall clock stepped by %.3f s", step_ns / 1e9)
            self._metrics.clock_step()
            self.event(ClockStep(step_ns=step_ns))

    def _unix_ns(self, report: FrameReport) -> int:
        """Return the wall time of a frame, derived once, here."""
        match report.clock:
            case "monotonic":
                return clock.wall_ns() - (clock.monotonic_ns() - report.sensor_ns)
            case "boottime":
                return clock.wall_ns() - (clock.boottime_ns() - report.sensor_ns)
            case "media":
                if self._media_unix_ns is None:
                    self._media_unix_ns = clock.wall_ns() - report.sensor_ns
                return self._media_unix_ns + report.sensor_ns

    def now(self) -> EventTime:
        """Return the time on both clocks, and how far the wall clock can be trusted."""
        return EventTime(
            monotonic_ns=clock.monotonic_ns(),
            unix_ns=clock.wall_ns(),
            synchronized=self._clock_health.synchronized,
            max_error_us=self._clock_health.max_error_us,
        )

    def _send(self, message: FrameMessage | EventMessage) -> None:
        part = encode(message)
        begun_ns = clock.monotonic_ns()
        while not self._publisher.offer(part):
            if self._bear is None or not self._bear(clock.elapsed_ms(begun_ns) / 1e3):
                return


def _boot_id() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
