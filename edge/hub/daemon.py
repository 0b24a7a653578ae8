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
from contextlib import ExitStack

import zmq

from edge import clock
from edge.config import Config, is_file
from edge.errors import EXIT_CONFIG, EXIT_DONE, EXIT_FAILURE, EXIT_REBOOT, ConfigError
from edge.hub.board_watch import BoardWatch
from edge.hub.event_log import log_event, log_networks
from edge.hub.fetch import Fetcher
from edge.hub.guard import Guard
from edge.hub.handlers import RequestHandlers
from edge.hub.journal import Journal
from edge.hub.journal.collector import JournalCollector
from edge.hub.kept_state import StateKeeper
from edge.hub.metrics import Metrics
from edge.hub.preview import Preview
from edge.hub.publisher import Publisher
from edge.hub.security import Security, attend
from edge.hub.service import Service
from edge.hub.source_watch import SourceWatch
from edge.hub.stop import StopSignals
from edge.hub.stream import MessageStream
from edge.hub.supervisor import BUDGET, Supervisor
from edge.hub.systemd import Notifier, watchdog_interval_s
from edge.hub.webhook import Webhook
from edge.link import (
    AnyReport,
    Ended,
    EventReport,
    Failed,
    FrameReport,
    Heartbeat,
    LinkClosed,
    PreviewPicture,
    Ready,
    Renew,
    ReportRefused,
)
from edge.protocol import events
from edge.vocabulary import picture_words

log = logging.getLogger("affect_edge")

TICK_MS = 100
STATUS_S = 1.0
STOP_S = 3.0  # for the worker; with the drain, a stop takes less than 5 s


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
        extend_start = self._notifier.extend_start
        self._supervisor = Supervisor(config, lossless=lossless, on_progress=extend_start)
        self._metrics = Metrics()
        self._service: Service | None = None
        self._board = BoardWatch(config, adapts=not lossless)
        self._source = SourceWatch(is_live=not is_file(config.source))
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
        with StopSignals() as self._stop, ExitStack() as parts:
            self._open(parts)
            self._kept.restore(self._out.event)
            self._start_worker(0, 1)
            if not self._is_waiting:
                self._out.start_epoch()
            while self._exit is None and not self._stop.is_requested:
                self._turn()
                self._kept.save_changes()
            return self._finish()

    def _open(self, parts: ExitStack) -> None:
        """Open journal and sockets; ``parts`` closes them and the worker, the last one first."""
        config, publish = self._config, self._config.publish
        self._journal = Journal(config.journal)
        parts.callback(self._journal.close)
        self._metrics.register(JournalCollector(self._journal))
        self._kept = StateKeeper(config, self._journal.identity)
        parts.callback(self._kept.close)
        context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        parts.callback(context.destroy)
        guard = Guard(context, self._metrics, lambda: self._journal.pending_bytes)
        parts.callback(guard.close)
        self._security = Security.open(context, config.security, self._metrics)
        self._publisher = Publisher(context, publish, guard, self._security)
        parts.callback(self._publisher.close, 0.0)
        if self._lossless:
            self._publisher.disable_drop()
        self._metrics.serve(config.metrics)
        webhook: Webhook | None = None
        if config.alarms.webhook_url and not self._lossless:
            webhook = Webhook(config.alarms, self._metrics.webhook)
            parts.callback(webhook.close)
        self._out = MessageStream(
            config,
            self._journal,
            self._publisher,
            self._metrics,
            self._kept,
            on_backpressure=self._keep_waiting if self._lossless else None,
            on_alarm=webhook.post if webhook else None,
        )
        self._preview = Preview(
            config.preview, self._out.event, set_width=self._supervisor.send_preview
        )
        log.info("publishing on %s", self._publisher.endpoint)
        if publish.service_endpoint:
            fetcher = Fetcher(self._journal, rate_mb_s=publish.fetch_mb_s)
            parts.callback(fetcher.close)
            self._service = Service(
                context, publish.service_endpoint, fetcher, guard, self._security
            )
            parts.callback(self._service.close)
            self._handlers = RequestHandlers(self._out, self._kept, self._journal, self._preview)
            log.info("answering requests on %s", self._service.endpoint)
        parts.callback(self._supervisor.end, 0.0)

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
        # sockets as they are, all others by their descriptor; an empty one costs an exception
        ready = {each for each, _ in poller.poll(TICK_MS)}
        self._attend_security(is_woken=self._stop.fileno() in ready)
        if self._publisher.socket in ready:
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
        self._preview.expire()
        self._watch_worker()
        self._run_timers()

    def _attend_security(self, *, is_woken: bool = True) -> None:
        """Answer who may connect; after a signal, read the allowed keys again.

        ``is_woken``: whether a signal may have come since the last call.
        """
        is_requested = self._stop.clear(is_readable=is_woken)
        is_reported = is_requested and self._is_ready
        if is_reported:
            self._notifier.reloading(clock.monotonic_ns())
        attend(self._security, reload=is_requested)
        if is_reported:
            self._notifier.ready()

    def _read_link(self) -> None:
        """Handle a limited number of the worker's reports, so that timers stay on time."""
        for _ in range(64):
            link = self._supervisor.link
            if link is None:
                return
            try:
                report = link.receive(0)
                if report is None:
                    return
                self._supervisor.note(report)
                self._handle(report)
            except LinkClosed:
                if self._exit is None and not self._stop.is_requested:
                    self._lose_worker("died")
                return
            except ReportRefused as error:
                log.error("worker %s: %s", self._supervisor.pid, error)
                self._lose_worker("bad_report")
                return
            if self._exit is not None:
                return

    def _handle(self, report: AnyReport) -> None:
        match report:
            case FrameReport():
                self._out.frame(report)
                self._board.note_frame(report, clock.monotonic_ns())
                self._source.count_published(self._out.frames)
                self._starts_without_result = 0
            case Heartbeat():
                self._source.note_heartbeat(report)
            case PreviewPicture():
                self._preview.note(report)
            case EventReport():
                self._handle_event(report.parse())
            case Ready():
                self._supervisor.is_ready = True
                self._source.enter("waiting" if self._is_waiting else "starting")
                locked = self._board.note_memory(report.lock_error)
                fields = {"models": report.models, "memory_locked": locked}
                detail = events.WorkerStarted.model_validate(fields)
                if detail != self._worker_detail or not self._supervisor.renewals:
                    self._worker_detail = detail
                    self._out.event(detail)
                    log_networks(detail)
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
                self._source.state = "ended"
                self._exit = (EXIT_DONE, "")
            case _:
                return

    def _handle_event(self, detail: events.Detail) -> None:
        self._source.note_event(detail, self._out.frames)
        if isinstance(detail, events.SourceStateChanged) and self._source.is_out:
            self._kept.participants.clear_view()
        log_event(detail)
        self._out.event(detail)

    def _watch_worker(self) -> None:
        trouble = self._supervisor.trouble(is_opening=self._source.is_opening)
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
                first = max(first, self._source.captured)  # a camera's frames since then are lost
            absent = self._source.state == "absent"  # stays so: the new worker tries again
            self._starts_without_result += 1
            self._source.enter("starting")
            self._start_worker(first, self._out.last_track + 1, absent=absent)

    def _start_worker(self, first_index: int, first_track: int, *, absent: bool = False) -> None:
        error = self._supervisor.start(
            first_index, first_track, absent=absent, picture_state=self._source.picture_state
        )
        if error:
            log.error("no worker can be started: %s", error)
            self._lose_worker("not_started")

    def _lose_worker(self, reason: str) -> None:
        if self._supervisor.pid is not None:
            stage = self._supervisor.describe_stage()
            log.error("worker %s lost: %s%s", self._supervisor.pid, reason, stage)
        was_opening = (
            self._supervisor.is_ready and self._source.is_opening and not self._source.is_out
        )
        self._supervisor.lose()
        self._metrics.worker_lost(reason)
        self._out.event(events.WorkerLost(reason=reason, restarts=self._supervisor.restarts))
        self._out.end_tracks()
        if was_opening:  # the worker may not have reported it
            text = f"a worker was lost while it opened the source: {reason}"
            self._handle_event(events.SourceStateChanged(state="absent", reason=text))
        else:
            self._source.enter("restarting")

    def _run_timers(self) -> None:
        now_ns = clock.monotonic_ns()
        if now_ns >= self._next_status_ns:
            self._next_status_ns = now_ns + int(STATUS_S * 1e9)
            self._publish_status()
        self._feed_watchdog(is_fresh=self._source.is_fresh(now_ns, self._out.last_result_ns))
        if not self._is_ready and (
            self._out.last_result_ns is not None or self._source.is_declared_away
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
        self._source.count_published(self._out.frames)
        beat = self._supervisor.heartbeat
        board = self._board.read(now_ns, beat)
        if board.limit is not None:
            self._supervisor.limit(board.limit)
        for change in board.changes:
            self._handle_event(change)
        journal = self._journal.status()
        health = self._source.health(
            now_ns, beat=beat, losses=self._supervisor.losses, board=board, journal=journal
        )
        state, picture_state = self._source.state, self._source.picture_state
        rates = self._source.rates(beat)
        self._out.status(
            health=health,
            source_state=state,
            next_frame_s=self._source.next_frame_s(now_ns),
            picture_state=picture_state,
            preview_s=self._preview.left_s,
            rates=rates,
            worker_restarts=self._supervisor.restarts,
            heartbeat=beat,
            board=board,
            journal=journal,
        )
        self._notifier.status(
            f"{health.grade}, source {state}{picture_words(picture_state)},"
            f" {rates.published_hz:.1f} frames/s, {self._out.dropped} dropped",
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
        self._attend_security()
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
        self._preview.close("stopped")
        self._out.end_epoch(code, self._source.captured)
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
                if report is None or isinstance(report, Ended | Renew | Failed):
                    return
                self._handle(report)
            except (LinkClosed, ReportRefused):
                return
