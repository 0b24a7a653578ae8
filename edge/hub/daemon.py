"""The daemon: start, one loop over sockets, link and signals, and stop.

Order of a start: configuration, identity, sockets, worker, first result (or a declared absence of
one), READY. Order of a stop: SIGTERM to the worker, publishing of what it still sends, the last
message ``epoch_ended``, draining of the sockets. A signal more than a second after the first one
ends the process at once.
"""

import logging
import os
import select
from collections.abc import Mapping

import zmq

from edge import clock
from edge.config import Config, is_file
from edge.errors import EXIT_CONFIG, EXIT_DONE, EXIT_FAILURE, EXIT_REBOOT, ConfigError
from edge.hub.board_watch import BoardWatch
from edge.hub.event_log import log_event
from edge.hub.fetch import Fetcher
from edge.hub.freshness import Freshness
from edge.hub.guard import Guard
from edge.hub.handlers import RequestHandlers
from edge.hub.health import Incidents, RateMeter, grade
from edge.hub.journal import Journal
from edge.hub.journal.collector import JournalCollector
from edge.hub.kept_state import StateKeeper
from edge.hub.metrics import Metrics
from edge.hub.publisher import Publisher
from edge.hub.security import Security, attend
from edge.hub.service import Service
from edge.hub.stop import StopSignals
from edge.hub.stream import MessageStream
from edge.hub.supervisor import BUDGET, Supervisor
from edge.hub.systemd import Notifier, watchdog_interval_s
from edge.link import (
    AnyReport,
    Ended,
    EventReport,
    Failed,
    FrameReport,
    Heartbeat,
    LinkClosed,
    Ready,
    Renew,
)
from edge.protocol import events
from edge.protocol.messages import Rates
from edge.vocabulary import PictureState, picture_words

log = logging.getLogger("affect_edge")

TICK_MS = 100
STATUS_S = 1.0
STOP_S = 3.0  # for the worker; with the drain, a stop takes less than 5 s
OUTAGES = ("stalled", "absent")
"""Source states that last until a frame comes, however many workers are lost meanwhile."""


class Daemon:
    """One run of the hub. ``run`` is called once, on the main thread.

    Args:
        config: validated and frozen.
        lossless: read a file as fast as possible and drop nothing.
        wait_for_subscriber: hold the first message until a subscriber asks for frames.
        environment: variables, for NOTIFY_SOCKET and WATCHDOG_USEC; those of the process when None.
    """

    def __init__(
        self,
        config: Config,
        *,
        lossless: bool = False,
        wait_for_subscriber: bool = False,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        environment = os.environ if environment is None else environment
        self._config = config
        self._lossless = lossless
        self._is_waiting = wait_for_subscriber
        self._notifier = Notifier(environment.get("NOTIFY_SOCKET"))
        self._watchdog_s = watchdog_interval_s(environment)
        self._supervisor = Supervisor(config, lossless=lossless)
        self._metrics = Metrics()
        self._service: Service | None = None
        self._fetcher: Fetcher | None = None
        self._board = BoardWatch(config, limits_rate=not lossless)
        self._stalls = Incidents()
        self._captured_meter, self._published_meter = RateMeter(), RateMeter()
        self._source_state = "starting"
        self._freshness = Freshness()
        self._picture_state: PictureState = "normal"
        self._captured = 0  # frames that the source produced, as last reported
        self._starts_without_result = 0  # workers started since the last result
        self._worker_detail: events.WorkerStarted | None = None  # as last sent
        self._is_ready = False
        self._exit: tuple[int, str] | None = None
        self._next_status_ns = self._next_watchdog_ns = clock.monotonic_ns()

    def run(self) -> int:
        """Run until the source ends, a signal comes, or a failure; return the exit code.

        Raises:
            ConfigError: an endpoint, address or folder of the configuration cannot be used.
        """
        with StopSignals() as self._stop:
            return self._serve()

    def _serve(self) -> int:
        self._journal = Journal(self._config.journal)
        self._metrics.register(JournalCollector(self._journal))
        context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        guard = Guard(context, self._metrics, lambda: self._journal.pending_bytes)
        self._kept = StateKeeper(self._config, self._journal.identity)
        publish = self._config.publish
        try:
            self._security = Security.open(context, self._config.security, self._metrics)
            self._publisher = Publisher(context, publish, guard, self._security)
            try:
                if self._lossless:
                    self._publisher.disable_drop()
                self._metrics.serve(self._config.metrics)
                self._out = MessageStream(
                    self._config,
                    self._journal,
                    self._publisher,
                    self._metrics,
                    self._kept,
                    on_backpressure=self._keep_waiting if self._lossless else None,
                )
                log.info("publishing on %s", self._publisher.endpoint)
                if publish.service_endpoint:
                    self._fetcher = Fetcher(self._journal, rate_mb_s=publish.fetch_mb_s)
                    self._service = Service(
                        context, publish.service_endpoint, self._fetcher, guard, self._security
                    )
                    self._handlers = RequestHandlers(self._out, self._kept, self._journal)
                    log.info("answering requests on %s", self._service.endpoint)
                self._kept.restore(self._out.event)
                self._start_worker(0, 1)
                if not self._is_waiting:
                    self._out.start_epoch()
                while self._exit is None and not self._stop.is_requested:
                    self._turn()
                    self._kept.save_changes()
                return self._finish()
            finally:
                self._supervisor.end(0.0)
                if self._service is not None:
                    self._service.close()
                if self._fetcher is not None:
                    self._fetcher.close()
                self._publisher.close(0.0)
        finally:
            guard.close()
            context.destroy()
            self._kept.close()
            self._journal.close()

    # -- the loop ----------------------------------------------------------------------------------

    def _turn(self) -> None:
        """Wait up to ``TICK_MS`` for input, handle it, then run the timers."""
        poller = zmq.Poller()
        poller.register(self._publisher.socket, zmq.POLLIN)
        poller.register(self._stop, zmq.POLLIN)
        if self._security is not None:
            poller.register(self._security.socket, zmq.POLLIN)
        if self._service is not None:
            for each in self._service.inputs:
                poller.register(each, zmq.POLLIN)
        if self._supervisor.link is not None:
            poller.register(self._supervisor.link, zmq.POLLIN)
        poller.poll(TICK_MS)
        attend(self._security, reload=self._stop.clear())
        self._publisher.read_subscriptions()
        if self._is_waiting and self._publisher.has_subscriber("frame", self._config.device.name):
            self._is_waiting = False
            self._out.start_epoch()
            if self._supervisor.is_ready:
                self._supervisor.go()
        self._read_link()
        if self._service is not None:
            self._service.serve(self._handlers.handle, self._metrics.request)
            self._handlers.go_on()
        self._watch_worker()
        self._run_timers()

    def _read_link(self) -> None:
        """Handle a limited number of the worker's reports, so that timers stay on time."""
        for _ in range(64):
            link = self._supervisor.link
            if link is None:
                return
            try:
                report = link.receive(0)
            except LinkClosed:
                if self._exit is None and not self._stop.is_requested:
                    self._lose_worker("died")
                return
            if report is None:
                return
            self._supervisor.note(report)
            self._handle(report)
            if self._exit is not None:
                return

    def _handle(self, report: AnyReport) -> None:
        match report:
            case FrameReport():
                self._out.frame(report)
                self._published_meter.mark(clock.monotonic_ns(), self._out.frames)
                self._starts_without_result = 0
            case Heartbeat():
                self._captured = report.captured
                self._captured_meter.expected_hz = report.expected_hz
                self._published_meter.expect(report.limited_hz or report.expected_hz)
                self._captured_meter.mark(clock.monotonic_ns(), report.captured)
                self._freshness.note_due(report.due_in_s, clock.monotonic_ns())
            case EventReport():
                self._handle_event(report.parse())
            case Ready():
                self._supervisor.is_ready = True
                if self._source_state not in OUTAGES:
                    self._source_state = "waiting" if self._is_waiting else "starting"
                locked = self._board.note_memory(report.lock_error)
                fields = {"models": report.models, "memory_locked": locked}
                detail = events.WorkerStarted.model_validate(fields)
                if detail != self._worker_detail or not self._supervisor.renewals:
                    self._worker_detail = detail
                    self._out.event(detail)
                if not self._is_waiting:
                    self._supervisor.go()
            case Failed() if report.exit_code == EXIT_CONFIG:
                self._exit = (EXIT_CONFIG, report.text)
            case Failed():
                log.error("worker: %s", report.text)
                self._lose_worker("failed")
            case Renew() if not self._stop.is_requested:
                log.info("a new worker takes over: %s", report.reason)
                self._supervisor.renew()
                self._out.end_tracks()
            case Ended() if not self._stop.is_requested:
                self._source_state = "ended"
                self._exit = (EXIT_DONE, "")
            case _:
                return

    def _handle_event(self, detail: events.Detail) -> None:
        if isinstance(detail, events.SourceStateChanged):
            state = detail.state
            if state in OUTAGES:
                if self._source_state not in OUTAGES:  # an outage counts once, in whatever state
                    self._stalls.add(clock.monotonic_ns())
                self._kept.participants.clear_view()
            elif state == "running":
                now_ns = clock.monotonic_ns()
                self._captured_meter.restart(now_ns, self._captured)
                self._published_meter.restart(now_ns, self._out.frames)
            self._source_state = state
        elif isinstance(detail, events.PictureStateChanged):
            self._picture_state = detail.state
        log_event(detail)
        self._out.event(detail)

    def _watch_worker(self) -> None:
        live = not is_file(self._config.source)
        trouble = self._supervisor.trouble(
            is_opening=live and self._source_state in ("starting", *OUTAGES)
        )
        if trouble is not None:
            self._lose_worker(trouble)
        if self._supervisor.is_unkillable():
            self._out.event(events.WorkerUnkillable())
            self._exit = (EXIT_REBOOT, "the worker cannot be killed: the board needs a reboot")
        elif is_file(self._config.source) and self._starts_without_result > BUDGET:
            # A camera may come back by itself; a file stays as it is.
            self._exit = (
                EXIT_FAILURE,
                f"{self._starts_without_result} workers in a row processed no frame",
            )
        elif self._supervisor.may_start():
            first = self._out.last_index + 1
            if is_file(self._config.source):
                # A frame that crashes every worker is skipped: one more per worker that it crashed.
                first += self._supervisor.losses_without_frame
            else:
                first = max(first, self._captured)  # a camera's frames since then are lost
            absent = self._source_state == "absent"  # stays so: the new worker tries again
            self._starts_without_result += 1
            if self._source_state not in OUTAGES:
                self._source_state = "starting"
            self._start_worker(first, self._out.last_track + 1, absent=absent)

    def _start_worker(self, first_index: int, first_track: int, *, absent: bool = False) -> None:
        error = self._supervisor.start(
            first_index, first_track, absent=absent, picture_state=self._picture_state
        )
        if error:
            log.error("no worker can be started: %s", error)
            self._lose_worker("not_started")

    def _lose_worker(self, reason: str) -> None:
        if self._supervisor.pid is not None:
            stage = self._supervisor.describe_stage()
            log.error("worker %s lost: %s%s", self._supervisor.pid, reason, stage)
        was_opening = (
            self._supervisor.is_ready
            and self._source_state == "starting"
            and not is_file(self._config.source)
        )
        self._supervisor.lose()
        self._metrics.worker_lost(reason)
        self._out.event(events.WorkerLost(reason=reason, restarts=self._supervisor.restarts))
        self._out.end_tracks()
        if was_opening:  # the worker may not have reported it
            text = f"a worker was lost while it opened the source: {reason}"
            self._handle_event(events.SourceStateChanged(state="absent", reason=text))
        elif self._source_state not in OUTAGES:
            self._source_state = "restarting"

    def _run_timers(self) -> None:
        now_ns = clock.monotonic_ns()
        if now_ns >= self._next_status_ns:
            self._next_status_ns = now_ns + int(STATUS_S * 1e9)
            self._publish_status()
        is_fresh = self._freshness.is_fresh(
            now_ns, source_state=self._source_state, result_ns=self._out.last_result_ns
        )
        self._feed_watchdog(is_fresh=is_fresh)
        if not self._is_ready and (
            self._out.last_result_ns is not None
            or self._source_state in ("absent", "stalled", "restarting", "waiting", "ended")
        ):
            self._is_ready = True
            self._notifier.ready()

    def _feed_watchdog(self, *, is_fresh: bool) -> None:
        now_ns = clock.monotonic_ns()
        if self._watchdog_s is not None and now_ns >= self._next_watchdog_ns:
            self._next_watchdog_ns = now_ns + int(self._watchdog_s * 1e9)
            if is_fresh:
                self._notifier.watchdog()

    def _publish_status(self) -> None:
        self._out.check_clock()
        now_ns = clock.monotonic_ns()
        self._published_meter.mark(now_ns, self._out.frames)
        beat = self._supervisor.heartbeat
        board = self._board.read(now_ns)
        if board.change is not None:
            self._supervisor.limit_rate(board.rate_divisor)
            self._handle_event(board.change)
        published_hz = self._published_meter.rate_hz()
        health = grade(
            source_state=self._source_state,
            picture_state=self._picture_state,
            live=beat is not None and beat.live,
            delivered=self._published_meter.delivered(),
            stalls_1h=self._stalls.within(now_ns),
            restarts_1h=self._supervisor.losses.within(now_ns),
            throttled=board.throttled,
            rate_divisor=board.rate_divisor,
            swap=board.swap,
            journal=self._journal.status(),
        )
        self._out.status(
            health=health,
            source_state=self._source_state,
            next_frame_s=self._freshness.next_frame_s(now_ns),
            picture_state=self._picture_state,
            rates=Rates(
                expected_hz=beat.expected_hz if beat else None,
                captured_hz=self._captured_meter.rate_hz(),
                published_hz=published_hz,
            ),
            worker_restarts=self._supervisor.restarts,
            heartbeat=beat,
            board=board,
        )
        self._notifier.status(
            f"{health.grade}, source {self._source_state}{picture_words(self._picture_state)},"
            f" {published_hz:.1f} frames/s, {self._out.dropped} dropped",
            now_ns,
        )

    def _keep_waiting(self, waited_s: float) -> bool:
        """Wait briefly for a subscriber whose queue is full; return whether to go on waiting.

        No frame of a file is dropped. But a signal ends the waiting, and after the end of the
        source it lasts ``publish.drain_s`` at most.
        """
        ending = self._exit is not None
        if self._stop.is_requested or (ending and waited_s > self._config.publish.drain_s):
            return False
        self._feed_watchdog(is_fresh=True)  # a slow subscriber is no fault of the daemon
        select.select([self._stop], [], [], 0.002)
        attend(self._security, reload=self._stop.clear())
        return True

    # -- the stop ----------------------------------------------------------------------------------

    def _finish(self) -> int:
        """Stop the worker, publish what it still sends, end the epoch; return the exit code."""
        self._notifier.stopping()
        start_ns = clock.monotonic_ns()
        if self._exit is None:
            self._supervisor.request_stop()
            self._drain_link(start_ns)
        code, text = self._exit or (EXIT_DONE, "")
        self._supervisor.end(max(0.0, STOP_S - clock.elapsed_ms(start_ns) / 1e3))
        self._out.end_epoch(code, self._captured)
        self._publish_status()
        self._publisher.close(
            min(self._config.publish.drain_s, 1.5 if self._stop.is_requested else 60)
        )
        if text and code == EXIT_CONFIG:
            raise ConfigError(text)
        if text:
            log.error("%s", text)
        return code

    def _drain_link(self, start_ns: int) -> None:
        """Publish what the worker sends until it has ended, for ``STOP_S`` at most."""
        while (link := self._supervisor.link) is not None:
            left_s = STOP_S - clock.elapsed_ms(start_ns) / 1e3
            try:
                report = link.receive(max(0.0, left_s))
            except LinkClosed:
                return
            if report is None or isinstance(report, Ended | Renew | Failed):
                return
            self._handle(report)
