"""The daemon's life: one loop over sockets, link and signals; numbering, publishing, watching.

Order of a start: configuration, journal, sockets, worker, first result (or a declared absence of
one), READY. Order of a stop: the worker is told, what it still sends is published, the last
message is ``epoch_ended``, the sockets drain. A second signal ends at once.
"""

import logging
import os
import select
import signal
import socket
from collections.abc import Mapping
from types import FrameType

import zmq

from edge import clock
from edge.board import Board, swap_state
from edge.config import Config, is_file
from edge.errors import EXIT_CONFIG, EXIT_DONE, EXIT_FAILURE, EXIT_REBOOT, ConfigError
from edge.hub.handlers import RequestHandlers
from edge.hub.health import Incidents, RateMeter, grade
from edge.hub.identity import StreamIdentity
from edge.hub.metrics import Metrics
from edge.hub.participants import Participants
from edge.hub.publisher import Publisher
from edge.hub.service import Service
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

log = logging.getLogger("affect_edge")

TICK_MS = 100
STATUS_S = 1.0
STOP_S = 3.0  # for the worker; with the drain, a stop takes less than 5 s
OUTAGES = ("stalled", "absent")
"""Source states that last until a picture comes, however many workers are lost meanwhile."""

STALE_S = 10.0
"""A running source without a result for so long, undeclared, feeds the watchdog no more."""


class Daemon:
    """One run of the hub. ``run`` is called once, on the main thread.

    Args:
        config: validated and frozen.
        lossless: read a file as fast as possible with nothing dropped.
        wait_for_subscriber: hold the first message until somebody listens to frames.
        environment: where NOTIFY_SOCKET and WATCHDOG_USEC are looked for.
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
        self._holding = wait_for_subscriber
        self._notifier = Notifier(environment.get("NOTIFY_SOCKET"))
        self._watchdog_s = watchdog_interval_s(environment)
        self._supervisor = Supervisor(config, lossless=lossless)
        self._metrics = Metrics()
        self._people = Participants(config.affect, vanish_s=config.tracking.vanish_s)
        self._service: Service | None = None
        self._board = Board()
        self._memory_locked: bool | None = None  # of the present worker, once it has said so
        self._stalls = Incidents()
        self._captured_meter, self._published_meter = RateMeter(), RateMeter()
        self._source_state = "starting"
        self._captured = 0  # frames that the source produced, as last told
        self._fruitless = 0  # workers started since the last result
        self._worker_detail: events.WorkerStarted | None = None  # as last sent
        self._is_ready = False
        self._stop_signals = 0
        self._exit: tuple[int, str] | None = None
        self._next_status_ns = self._next_watchdog_ns = clock.monotonic_ns()

    def run(self) -> int:
        """Serve until the source ends, a signal, or a failure; return the exit code.

        Raises:
            ConfigError: an endpoint, address or folder of the configuration cannot be used.
        """
        wakeup_read, wakeup_write = socket.socketpair()
        with wakeup_read, wakeup_write:
            wakeup_write.setblocking(False)
            wakeup_read.setblocking(False)
            signal.set_wakeup_fd(wakeup_write.fileno())
            for each in (signal.SIGTERM, signal.SIGINT):
                signal.signal(each, self._on_signal)
            self._wakeup = wakeup_read
            try:
                return self._serve()
            finally:
                # The process is about to exit: a signal now must not turn a clean end into another.
                for each in (signal.SIGTERM, signal.SIGINT):
                    signal.signal(each, signal.SIG_IGN)
                signal.set_wakeup_fd(-1)

    def _serve(self) -> int:
        journal = StreamIdentity.open(self._config.journal.path)
        context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        publish = self._config.publish
        try:
            self._publisher = Publisher(context, publish.endpoint, high_water=publish.high_water)
            try:
                if self._lossless:
                    self._publisher.wait_for_slow()
                if self._config.metrics.address:
                    self._metrics.serve(self._config.metrics.address)
                self._out = MessageStream(
                    self._config,
                    journal,
                    self._publisher,
                    self._metrics,
                    self._people,
                    bear=self._bear_with_reader if self._lossless else None,
                )
                log.info("publishing on %s", self._publisher.endpoint)
                if publish.service_endpoint:
                    self._service = Service(context, publish.service_endpoint)
                    self._answers = RequestHandlers(self._out, self._people)
                    log.info("answering requests on %s", self._service.endpoint)
                self._supervisor.start(0, 1)
                if not self._holding:
                    self._out.announce()
                while self._exit is None and not self._stop_signals:
                    self._turn()
                return self._finish()
            finally:
                self._supervisor.end(0.0)
                if self._service is not None:
                    self._service.close()
                self._publisher.close(0.0)
        finally:
            context.term()
            journal.close()

    # -- the loop ----------------------------------------------------------------------------------

    def _turn(self) -> None:
        """Wait for something, handle it, and do what is due."""
        poller = zmq.Poller()
        poller.register(self._publisher.socket, zmq.POLLIN)
        poller.register(self._wakeup, zmq.POLLIN)
        if self._service is not None:
            poller.register(self._service.socket, zmq.POLLIN)
        if self._supervisor.link is not None:
            poller.register(self._supervisor.link, zmq.POLLIN)
        poller.poll(TICK_MS)
        self._read_wakeup()
        self._publisher.read_subscriptions()
        if self._holding and self._publisher.heard("frame", self._config.device.name):
            self._holding = False
            self._out.announce()
            if self._supervisor.is_ready:
                self._supervisor.go()
        self._read_link()
        if self._service is not None:
            self._service.serve(self._answers.answer, self._metrics.request)
        self._watch_worker()
        self._do_due()

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        self._stop_signals += 1
        if self._stop_signals > 1:
            # Somebody insists. The worker dies with this process; nothing here may wait.
            os.write(2, b"affect-edge: second signal, ending at once\n")
            os._exit(EXIT_FAILURE)
        log.info("%s received, stopping", signal.Signals(number).name)

    def _read_wakeup(self) -> None:
        try:
            self._wakeup.recv(64)
        except BlockingIOError:
            return

    def _read_link(self) -> None:
        """Handle what the worker has sent, up to a batch, so that timers stay on time."""
        for _ in range(64):
            link = self._supervisor.link
            if link is None:
                return
            try:
                report = link.receive(0)
            except LinkClosed:
                if self._exit is None and not self._stop_signals:
                    self._lose_worker("died")
                return
            if report is None:
                return
            self._supervisor.heard(report)
            self._handle(report)
            if self._exit is not None:
                return

    def _handle(self, report: AnyReport) -> None:
        match report:
            case FrameReport():
                self._out.frame(report)
                self._published_meter.mark(clock.monotonic_ns(), self._out.frames)
                self._fruitless = 0
            case Heartbeat():
                self._captured = report.captured
                self._captured_meter.expected_hz = report.expected_hz
                self._published_meter.expected_hz = report.expected_hz
                self._captured_meter.mark(clock.monotonic_ns(), report.captured)
            case EventReport():
                self._note_event(report.parse())
            case Ready():
                self._supervisor.is_ready = True
                if self._source_state not in OUTAGES:
                    self._source_state = "waiting" if self._holding else "starting"
                self._note_memory(report.lock_error)
                detail = events.WorkerStarted.model_validate(
                    {"models": report.models, "memory_locked": self._memory_locked}
                )
                if detail != self._worker_detail or not self._supervisor.renewals:
                    self._worker_detail = detail
                    self._out.event(detail)
                if not self._holding:
                    self._supervisor.go()
            case Failed() if report.exit_code == EXIT_CONFIG:
                self._exit = (EXIT_CONFIG, report.text)
            case Failed():
                log.error("worker: %s", report.text)
                self._lose_worker("failed")
            case Renew() if not self._stop_signals:
                log.info("a new worker takes over: %s", report.reason)
                self._supervisor.renew()
            case Ended() if not self._stop_signals:
                self._source_state = "ended"
                self._exit = (EXIT_DONE, "")
            case _:
                return

    def _note_memory(self, lock_error: str) -> None:
        """Keep whether the worker's memory is locked; log it once when pictures can be swapped."""
        if self._memory_locked == (not lock_error):
            return  # as the worker before this one
        self._memory_locked = not lock_error
        if swap_state(self._board, memory_locked=self._memory_locked) == "possible":
            areas = ", ".join(self._board.swap_on_storage() or ())
            log.warning(
                "swap is on (%s) and the worker's memory is not locked, so pictures may be written"
                " there: %s",
                areas,
                lock_error,
            )

    def _note_event(self, detail: events.Detail) -> None:
        if isinstance(detail, events.SourceStateChanged):
            state = detail.state
            if state in OUTAGES:
                if self._source_state not in OUTAGES:  # one outage, however it goes on
                    self._stalls.add(clock.monotonic_ns())
                self._people.nobody_in_view()
                log.warning("source %s: %s", state, detail.reason)
            elif state == "running":
                log.info("source running")
                now_ns = clock.monotonic_ns()
                self._captured_meter.restart(now_ns, self._captured)
                self._published_meter.restart(now_ns, self._out.frames)
            self._source_state = state
        elif isinstance(detail, events.CameraOpened):
            log.info("camera opened: %s", ", ".join(f"{name} {value}" for name, value in detail))
        else:
            log.warning("%s: %s", detail.event, getattr(detail, "reason", ""))
        self._out.event(detail)

    def _watch_worker(self) -> None:
        live = not is_file(self._config.source)
        trouble = self._supervisor.trouble(
            is_opening=live and self._source_state in ("starting", *OUTAGES)
        )
        if trouble is not None:
            self._lose_worker(trouble)
        if self._supervisor.unkillable():
            self._out.event(events.WorkerUnkillable())
            self._exit = (EXIT_REBOOT, "the worker cannot be killed: the board needs a reboot")
        elif is_file(self._config.source) and self._fruitless > BUDGET:
            # A camera may come back by itself; a file will be the same file the next time.
            self._exit = (EXIT_FAILURE, f"{self._fruitless} workers in a row read nothing of it")
        elif self._supervisor.may_start():
            first = self._out.last_index + 1
            if is_file(self._config.source):
                # A frame that kills every worker is stepped over: one more a fruitless start.
                first += self._fruitless
            else:
                first = max(first, self._captured)  # what a camera showed meanwhile is gone
            absent = self._source_state == "absent"  # goes on: the new worker tries again
            self._supervisor.start(first, self._out.last_track + 1, absent=absent)
            self._fruitless += 1
            if self._source_state not in OUTAGES:
                self._source_state = "starting"

    def _lose_worker(self, reason: str) -> None:
        pid = self._supervisor.pid
        log.error("worker %s lost: %s", pid, reason)
        was_opening = (
            self._supervisor.is_ready
            and self._source_state == "starting"
            and not is_file(self._config.source)
        )
        self._supervisor.lose()
        self._metrics.worker_lost(reason)
        self._people.nobody_in_view()
        self._out.event(events.WorkerLost(reason=reason, restarts=self._supervisor.restarts))
        if was_opening:  # the worker may have had no chance to say so
            text = f"a worker was lost while it opened the source: {reason}"
            self._note_event(events.SourceStateChanged(state="absent", reason=text))
        elif self._source_state not in OUTAGES:
            self._source_state = "restarting"

    def _do_due(self) -> None:
        now_ns = clock.monotonic_ns()
        if now_ns >= self._next_status_ns:
            self._next_status_ns = now_ns + int(STATUS_S * 1e9)
            self._publish_status()
        self._feed_watchdog(is_fresh=self._is_fresh(now_ns))
        if not self._is_ready and (
            self._out.last_result_ns is not None
            or self._source_state in ("absent", "stalled", "waiting", "ended")
        ):
            self._is_ready = True
            self._notifier.ready()

    def _feed_watchdog(self, *, is_fresh: bool) -> None:
        now_ns = clock.monotonic_ns()
        if self._watchdog_s is not None and now_ns >= self._next_watchdog_ns:
            self._next_watchdog_ns = now_ns + int(self._watchdog_s * 1e9)
            if is_fresh:
                self._notifier.watchdog()

    def _is_fresh(self, now_ns: int) -> bool:
        """Return whether results are young, or their absence is declared and being dealt with."""
        result_ns = self._out.last_result_ns
        if self._source_state != "running" or result_ns is None:
            return True
        return now_ns - result_ns < STALE_S * 1e9

    def _publish_status(self) -> None:
        self._out.check_clock()
        now_ns = clock.monotonic_ns()
        self._published_meter.mark(now_ns, self._out.frames)
        beat = self._supervisor.heartbeat
        throttled = self._board.throttled()
        swap = swap_state(self._board, memory_locked=self._memory_locked)
        published_hz = self._published_meter.rate_hz()
        health = grade(
            source_state=self._source_state,
            live=beat is not None and beat.live,
            delivered=self._published_meter.delivered(),
            stalls_1h=self._stalls.within(now_ns),
            restarts_1h=self._supervisor.losses.within(now_ns),
            throttled=throttled,
            swap=swap,
        )
        self._out.status(
            health=health,
            source_state=self._source_state,
            rates=Rates(
                expected_hz=beat.expected_hz if beat else None,
                captured_hz=self._captured_meter.rate_hz(),
                published_hz=published_hz,
            ),
            worker_restarts=self._supervisor.restarts,
            worker_rss_mb=beat.rss_mb if beat else None,
            worker_dropped=beat.dropped if beat else {},
            soc_celsius=self._board.soc_celsius(),
            throttled=throttled,
            memory_locked=self._memory_locked,
            swap=swap,
        )
        self._notifier.status(
            f"{health.grade}, source {self._source_state}, {published_hz:.1f} frames/s,"
            f" {self._out.dropped} dropped",
            now_ns,
        )

    def _bear_with_reader(self, waited_s: float) -> bool:
        """Wait a little for a subscriber without room; return whether to go on waiting.

        Nothing of a file is dropped, but neither a signal nor, once the source has ended, the end
        is held up for more than the drain's time.
        """
        ending = self._exit is not None
        if self._stop_signals or (ending and waited_s > self._config.publish.drain_s):
            return False
        self._feed_watchdog(is_fresh=True)  # waiting for a reader is no fault of ours
        select.select([self._wakeup], [], [], 0.002)
        self._read_wakeup()
        return True

    # -- the end -----------------------------------------------------------------------------------

    def _finish(self) -> int:
        """Stop the worker, send what it still has, say goodbye, drain; return the exit code."""
        self._notifier.stopping()
        begun_ns = clock.monotonic_ns()
        if self._exit is None:
            self._supervisor.order_stop()
            self._hear_out(begun_ns)
        code, text = self._exit or (EXIT_DONE, "")
        self._supervisor.end(max(0.0, STOP_S - clock.elapsed_ms(begun_ns) / 1e3))
        self._out.farewell(code, self._captured)
        self._publish_status()
        self._publisher.close(min(self._config.publish.drain_s, 1.5 if self._stop_signals else 60))
        if text and code == EXIT_CONFIG:
            raise ConfigError(text)
        if text:
            log.error("%s", text)
        return code

    def _hear_out(self, begun_ns: int) -> None:
        """Publish what the worker sends until it has ended, within the stop's time."""
        while (link := self._supervisor.link) is not None:
            left_s = STOP_S - clock.elapsed_ms(begun_ns) / 1e3
            try:
                report = link.receive(max(0.0, left_s))
            except LinkClosed:
                return
            if report is None or isinstance(report, Ended | Renew | Failed):
                return
            self._handle(report)
