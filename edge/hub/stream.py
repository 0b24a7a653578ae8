"""Builds the messages that the hub sends: numbered once, stamped once, given to the publisher.

Frames and events get their number from the stream's identity here; a status has none.
"""

import logging
from collections.abc import Callable, Mapping
from pathlib import Path

from edge import __version__, clock
from edge.board import Board
from edge.config import Config
from edge.hub.alarm_causes import Facts
from edge.hub.board_watch import BoardState
from edge.hub.frame_head import frame_head, timing_ms
from edge.hub.journal import MEMORY_ONLY_BYTES, Journal
from edge.hub.kept_state import StateKeeper
from edge.hub.metrics import Metrics
from edge.hub.publisher import Publisher
from edge.hub.record import epoch_started
from edge.hub.times import MessageTimes
from edge.link import FrameReport, Heartbeat, ReportRefused
from edge.protocol.alarm_events import AlarmCleared, AlarmRaised
from edge.protocol.events import (
    ClockStep,
    Detail,
    EpochEnded,
    FileOpened,
    ModelReference,
    WorkerStarted,
)
from edge.protocol.lid_events import EyesClosed, EyesLost, EyesOpened
from edge.protocol.messages import (
    FACES,
    EventMessage,
    EventTime,
    Health,
    JournalStatus,
    Rates,
    SessionInfo,
    StatusMessage,
    encode,
    encode_frame,
)
from edge.vocabulary import PictureState

log = logging.getLogger("affect_edge")

_REPORT_S = 5.0


class MessageStream:
    """Builds and sends the messages of one epoch. Only for the hub's main loop.

    Args:
        config: for the device's name and the first message.
        journal: keeps each message, and gives stream, epoch and numbers.
        publisher: sends.
        metrics: counts.
        kept: participants, which give codes and baselines to faces, sessions, and alarms.
        on_alarm: takes each event of an alarm that was sent.
        on_backpressure: None for a live source: a subscriber whose queue is full misses messages.
            Else frames and events are never dropped: while a queue is full, or the journal has much
            to store, ``on_backpressure`` is called repeatedly with the seconds waited so far; it
            waits briefly itself, and returns whether to go on waiting.

    Attributes:
        frames: number of frames sent.
        dropped: number of frames lost between them.
        last_index: of the newest frame sent; -1 before the first.
        last_track: highest track number in this epoch; 0 before the first.
        last_result_ns: monotonic time of the newest frame; None before the first.
        last_status: the newest status message; None before the first.
    """

    def __init__(
        self,
        config: Config,
        journal: Journal,
        publisher: Publisher,
        metrics: Metrics,
        kept: StateKeeper,
        *,
        on_backpressure: Callable[[float], bool] | None = None,
        on_alarm: Callable[[EventMessage], object] | None = None,
    ) -> None:
        self._config = config
        self._journal = journal
        self._identity = identity = journal.identity
        self._publisher = publisher
        self._metrics = metrics
        self._participants = kept.participants
        self._sessions = kept.sessions
        # not where a file is read without loss: it gives the same messages at any speed
        self._alarms = kept.alarms if on_backpressure is None else None
        self._on_alarm = on_alarm
        self._on_backpressure = on_backpressure
        self._board = Board(Path(config.limits.board_root))
        self._held: list[Detail] | None = []  # events before the epoch starts; None after
        self._closures: dict[int, EyesClosed] = {}  # that have not ended, by track
        self._has_ended = False
        self._started_ns: int | None = None  # monotonic time at which the epoch started
        recorded_at = getattr(config.source, "recorded_at", None)  # files only
        self._times = MessageTimes(
            recorded_at and clock.unix_ns_of(recorded_at), paced=on_backpressure is None
        )
        self._head = {
            "device": config.device.name,
            "stream": identity.stream,
            "epoch": identity.epoch,
        }
        self._purpose = config.device.purpose or "demo"
        self._models: Mapping[str, ModelReference] | None = None
        self.frames = 0
        self.dropped = 0
        self.last_index = -1
        self.last_track = 0
        self.last_result_ns: int | None = None
        self.last_status: StatusMessage | None = None

    @property
    def has_started(self) -> bool:
        """Whether the epoch has started: from then on events are sent at once."""
        return self._held is None

    def start_epoch(self) -> None:
        """Send the first message of the epoch, then the events that were held until now."""
        held, self._held = self._held or [], None
        self._started_ns = clock.monotonic_ns()
        self._log_journal()
        self.event(epoch_started(self._config, self._board, self._journal.previous))
        for detail in [*self._journal.take_events(), *held]:
            self.event(detail)

    def _log_journal(self) -> None:
        path, identity = self._config.journal.path, self._identity
        if not path:
            size = f"the newest {MEMORY_ONLY_BYTES >> 20} MiB of messages"
            log.info("journal: %s, in memory; set journal.path to keep them", size)
        elif not identity.storage_error:  # which is logged
            log.info("journal: %s, epoch %d", Path(path).absolute(), identity.epoch)

    def end_epoch(self, exit_code: int, captured: int) -> None:
        """Send the last message of the epoch; the source produced ``captured`` frames in all."""
        # frames after the last published one are lost too, and no frame message counts them
        dropped = max(self.dropped, captured - self.frames)
        self.event(
            EpochEnded(
                exit_code=exit_code,
                frames=self.frames,
                dropped=dropped,
                captured=captured,
                messages=self._identity.last_seq + 2,  # this one included
            )
        )
        self._has_ended = True
        log.info("ended: %d frames published, %d dropped", self.frames, dropped)

    def event(self, detail: Detail) -> EventMessage | None:
        """Send an event and return it; before the epoch has started, hold it and return None.

        Nothing follows the end of the epoch: then it is not sent, and None is returned.
        """
        if self._has_ended:
            return None
        if isinstance(detail, WorkerStarted):
            self._models = detail.models
        if self._held is not None:
            self._held.append(detail)
            return None
        detail = self._participants.with_code(detail)
        if isinstance(detail, EyesClosed):
            self._closures[detail.track] = detail
        elif isinstance(detail, EyesOpened | EyesLost):
            self._closures.pop(detail.track, None)
        if isinstance(detail, FileOpened):
            self._times.note_recording(detail.recorded_unix_ns)
        message = EventMessage(
            **self._head,
            seq=self._identity.next_seq(),
            time=self._times.of_event(),
            event=detail.event,
            detail=detail.model_dump(mode="json"),
        )
        self._send(message.seq, encode(message), message.time.unix_ns)
        self._metrics.event()
        if self._on_alarm is not None and isinstance(detail, AlarmRaised | AlarmCleared):
            self._on_alarm(message)
        return message

    def frame(self, report: FrameReport) -> None:
        """Send the worker's results for one frame.

        Raises:
            ReportRefused: it does not follow the frame before.
        """
        # a gap in the indices, whether camera, slot or the loss of a worker caused it
        dropped = report.index - self.last_index - 1
        if dropped < 0:
            raise ReportRefused(f"frame {report.index} after frame {self.last_index}")
        faces = self._participants.update(report.faces, report.sensor_ns)
        seq, now_ns = self._identity.next_seq(), clock.monotonic_ns()
        time, timing = self._times.of_frame(report, now_ns), timing_ms(report, now_ns)
        head = frame_head(self._head, seq, report, dropped=dropped, time=time, timing=timing)
        self.frames += 1
        self.dropped += dropped
        self.last_index = report.index
        self.last_track = max([self.last_track, *(face.track for face in faces)])
        self.last_result_ns = now_ns
        self._send(seq, encode_frame(head, FACES.dump_json(faces)), time["unix_ns"])
        ages_s = [face.expression.age_s for face in faces if face.expression is not None]
        self._metrics.frames.add(
            dropped,
            timing,
            faces=len(faces),
            predicted=len(ages_s),
            kept=sum(age_s > 0 for age_s in ages_s),
            now_ns=now_ns,
        )
        self._sessions.note_frame([face.participant for face in faces])
        if self._alarms is not None:
            self._alarms.note_faces(faces, now_ns)
        self.send_participant_events()

    def end_tracks(self) -> None:
        """End all tracks and what goes on with them: the worker that numbered them is gone."""
        for closed in list(self._closures.values()):
            lost = {"reason": "worker_replaced", "closed_s": None, "sensor_ns": None}
            self.event(EyesLost.model_validate({**closed.model_dump(), **lost}))
        self._participants.end_tracks()
        self.send_participant_events()

    def send_participant_events(self) -> None:
        """Send what happened to the tracks of participants."""
        for detail in self._participants.take_events():
            self.event(detail)

    def status(
        self,
        *,
        health: Health,
        source_state: str,
        next_frame_s: float | None,
        picture_state: PictureState,
        preview_s: float | None,
        rates: Rates,
        worker_restarts: int,
        heartbeat: Heartbeat | None,
        board: BoardState,
        journal: JournalStatus,
    ) -> None:
        """Send the status: it is not numbered, and a subscriber whose queue is full misses it."""
        if self.has_started and not self._has_ended:
            for detail in self._journal.take_events():
                self.event(detail)
            self._send_alarms(health, source_state, picture_state, board, journal)
        oldest = journal.oldest
        session = self._sessions.current
        message = StatusMessage(
            **self._head,
            time=self.now(),
            last_seq=self._identity.last_seq,
            oldest_seq=oldest and (oldest.seq if oldest.epoch == self._identity.epoch else 0),
            epoch_age_s=self._started_ns and clock.elapsed_ms(self._started_ns) / 1e3,
            health=health,
            source_state=source_state,
            next_frame_s=next_frame_s,
            picture_state=picture_state,
            preview_s=preview_s,
            rates=rates,
            frames_published=self.frames,
            frames_dropped=self.dropped,
            worker_restarts=worker_restarts,
            worker_rss_mb=heartbeat and heartbeat.rss_mb,
            soc_celsius=board.soc_celsius,
            throttled=board.throttled,
            rate_divisor=board.rate_divisor,
            rate_reason=board.rate_reason,
            schedule=board.schedule,
            memory_locked=board.memory_locked,
            swap=board.swap,
            journal=journal,
            session=session and SessionInfo(session=session.session, name=session.name),
            alarms=self._alarms.active(clock.monotonic_ns()) if self._alarms else [],
            version=__version__,
            purpose=self._purpose,
            priors=self._config.expression.priors,
            models=self._models,
        )
        self.last_status = message
        # first the gauges: whoever has received the status then scrapes the same values
        dropped = heartbeat.dropped if heartbeat else {}
        alarms = self._alarms.counts() if self._alarms else {}
        self._metrics.status(message, dropped, board.throttle_flags, alarms)
        self._publisher.offer(encode(message))

    def _send_alarms(
        self,
        health: Health,
        source_state: str,
        picture_state: PictureState,
        board: BoardState,
        journal: JournalStatus,
    ) -> None:
        """Evaluate the alarms; send what was raised and cleared."""
        if self._alarms is None:
            return
        session = self._sessions.current
        self._alarms.update(
            Facts(
                now_ns=clock.monotonic_ns(),
                source_state=source_state,
                picture_state=picture_state,
                has_no_frames="no_frames" in health.reasons,
                board=board,
                hot_celsius=self._config.limits.hot_celsius,
                journal=journal,
                newest_epoch=self._identity.epoch,
                newest_seq=self._identity.last_seq,
                synchronized=self.now().synchronized,
                session=session.session if session else None,
            )
        )
        for detail in self._alarms.take_events():
            self.event(detail)

    def check_clock(self) -> None:
        """Read the clock's health; report a jump of the wall clock since the last call."""
        step_ns = self._times.take_clock_step_ns()
        if step_ns:
            log.warning("wall clock stepped by %.3f s", step_ns / 1e9)
            self._metrics.clock_step()
            self.event(ClockStep(step_ns=step_ns))

    def now(self) -> EventTime:
        """Return the time on both clocks, with the error bound of the wall clock."""
        return self._times.now()

    def _send(self, seq: int, part: bytes, unix_ns: int) -> None:
        self._wait_for(lambda: self._journal.has_room, "the storage of the journal")
        # before it is published: who has received it finds it in the journal, whatever happens
        self._journal.append(seq, part[part.index(b" ") + 1 :], unix_ns)
        self._wait_for(lambda: self._publisher.offer(part), "a subscriber")

    def _wait_for(self, is_done: Callable[[], bool], what: str) -> None:
        """Call ``is_done`` until it is true, or there is no backpressure; say that it waits."""
        start_ns = clock.monotonic_ns()
        is_reported = False
        while not is_done():
            waited_s = clock.elapsed_ms(start_ns) / 1e3
            if self._on_backpressure is None or not self._on_backpressure(waited_s):
                return
            if waited_s >= _REPORT_S and not is_reported:
                is_reported = True
                log.warning("the source waits for %s, which is slow: nothing is dropped", what)
