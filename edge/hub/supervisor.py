"""Starts, watches and ends workers, and decides when the next one may start.

Recovery levels: the worker reopens its camera; the supervisor kills and replaces a worker that is
dead, silent, stuck or too big; a worker that survives SIGKILL (a driver in state D) needs a reboot.
A worker that asks to be replaced, because a new process may find its source, is not counted as
lost.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from edge import clock
from edge.board import Board, worker_rss_limit_mb
from edge.child import child_environment
from edge.config import Config
from edge.hub.health import Incidents
from edge.link import (
    FrameReport,
    Go,
    Heartbeat,
    Limit,
    Link,
    LinkClosed,
    Loading,
    SendPreview,
    Start,
)
from edge.vocabulary import PictureState

WORKER_COMMAND: tuple[str, ...] = (sys.executable, "-m", "edge.worker")
"""Starts a worker; the descriptor of its link is added."""

SILENT_S = 3.0
"""A worker without any report, even a heartbeat, for this time hangs as a whole."""

CAPTURE_STUCK_S = 10.0
"""Sources limit their own waits; after this time a driver hangs. libcamera's binding holds Python's
global lock while it opens or closes a camera, so that no heartbeat is sent meanwhile."""

FIRST_RESULT_S = 60.0
"""By default a worker that is ready has a result, or is lost, or its source is absent within this
time."""

PAUSE_S = 1.0
"""The hub looks at its worker ten times a second; after this time it was stopped itself."""

UNKILLABLE_S = 10.0

BUDGET = 10  # restarts within BUDGET_SPAN_S before the delay grows to SLOW_DELAY_S
BUDGET_SPAN_S = 600.0
SLOW_DELAY_S = 30.0
_FIRST_DELAY_S, _MAX_DELAY_S = 0.1, 1.0
RENEW_DELAY_S = 10.0
"""Delay between workers that find no source: each loads the networks again, which heats a board."""


class Supervisor:
    """Manages one worker at a time. Only for the hub's main loop; no method but ``end`` blocks.

    Args:
        config: of the daemon.
        lossless: read a file as fast as possible and drop nothing.
        on_progress: called when a worker starts and after each step of its start, with the seconds
            within which the next step or the first result comes, or the worker is lost.

    Attributes:
        link: to the present worker; None between workers.
        heartbeat: the newest one of the present worker; None before the first.
        pid: of the present worker; None between workers.
        losses: workers lost, for the health grade and the budget.
        restarts: workers lost since the start.
        losses_without_frame: workers lost since the last frame that were ready and had none.
        renewals: workers in a row that asked to be replaced, since the last frame or loss.
    """

    def __init__(
        self,
        config: Config,
        *,
        lossless: bool,
        on_progress: Callable[[float], object] = lambda _: None,
    ) -> None:
        self._config = config
        self._on_progress = on_progress
        self._lossless = lossless
        memory_mb = Board(Path(config.limits.board_root)).memory_mb()
        self._rss_limit_mb = worker_rss_limit_mb(config.limits.worker_rss_mb, memory_mb)
        self._process: subprocess.Popen[bytes] | None = None
        self._dying: subprocess.Popen[bytes] | None = None
        self._dying_since_ns = 0
        self._last_report_ns = 0
        self._looked_ns = 0
        self._trusted_until_ns = 0
        self._not_before_ns = 0
        self.link: Link | None = None
        self.heartbeat: Heartbeat | None = None
        self.is_ready = False
        self.losses = Incidents()
        self.restarts = 0
        self.losses_without_frame = 0
        self._has_frame = False
        self._limit = Limit()
        self._preview_px = 0
        self.renewals = 0

    @property
    def pid(self) -> int | None:
        """Process id of the present worker."""
        return self._process.pid if self._process else None

    def start(
        self,
        first_index: int,
        first_track: int,
        *,
        absent: bool = False,
        picture_state: PictureState = "normal",
    ) -> str:
        """Start a worker that counts frames and tracks from these numbers.

        ``absent``: the source is already reported as absent; the worker does not report it again.
        ``picture_state``: as reported; the worker reports its end.

        Returns:
            Empty, or why the system starts no process now; then call ``lose``, and try again when
            ``may_start`` allows it.
        """
        try:
            self.link, theirs = Link.pair()
            with theirs:
                # A session of its own: the terminal's Ctrl-C reaches the hub alone, which then
                # stops the worker itself.
                self._process = subprocess.Popen(
                    [*WORKER_COMMAND, str(theirs.fileno())],
                    env=child_environment(),
                    pass_fds=[theirs.fileno()],
                    stdin=subprocess.DEVNULL,
                    start_new_session=True,
                )
        except OSError as error:
            self._drop()
            return error.strerror or str(error)
        self._last_report_ns = clock.monotonic_ns()
        self._has_frame = False
        self.heartbeat = None
        self.is_ready = False
        self._send(
            Start(
                config=self._config.model_dump_json(),
                lossless=self._lossless,
                first_index=first_index,
                first_track=first_track,
                source_state="absent" if absent else "starting",
                picture_state=picture_state,
            )
        )
        self._note_progress()
        return ""

    def go(self) -> None:
        """Let the worker open its source, with the present limits."""
        limits = self._limit.model_dump(exclude={"kind"})
        self._send(Go(**limits, preview_px=self._preview_px))

    def send_preview(self, width_px: int) -> None:
        """Let the worker send small pictures, and every later worker, too; 0: none."""
        self._preview_px = width_px
        self._send(SendPreview(width_px=width_px))

    def limit(self, limit: Limit) -> None:
        """Let the worker do as much as ``limit`` says, and every later worker, too."""
        self._limit = limit
        self._send(limit)

    def _send(self, report: Start | Go | Limit | SendPreview) -> None:
        if self.link is not None:
            try:
                self.link.send(report)
            except LinkClosed:
                return  # the hub notices the loss when it reads the link

    def note(self, report: object) -> None:
        """Note that the worker sent a report."""
        self._last_report_ns = clock.monotonic_ns()
        if isinstance(report, Loading):
            self._note_progress()
        elif isinstance(report, Heartbeat):
            self.heartbeat = report
        elif isinstance(report, FrameReport):
            self._has_frame = True
            self.renewals = self.losses_without_frame = 0

    def _note_progress(self) -> None:
        self._on_progress(self._config.limits.start_s + FIRST_RESULT_S)

    def trouble(self, *, is_opening: bool = False) -> str | None:
        """Return why the present worker must be replaced; None where it works.

        Call it several times a second. A worker that loads its networks has ``limits.start_s`` for
        each step, however many there are: a slow one is not a hanging one. After a pause of the hub
        (stopped by a signal, a frozen container), in which the worker may have been stopped, too,
        it has ``SILENT_S`` to report.

        Args:
            is_opening: the worker may be opening or closing a camera, and so be silent for longer.

        Returns:
            start, silent, stuck, too_big or too_many_files.
        """
        now_ns = clock.monotonic_ns()
        pause_ns = now_ns - self._looked_ns if self._looked_ns else 0
        self._looked_ns = now_ns
        if pause_ns > PAUSE_S * 1e9:
            self._trusted_until_ns = now_ns + round(SILENT_S * 1e9)
            self._last_report_ns = min(now_ns, self._last_report_ns + pause_ns)
        if self._process is None or now_ns < self._trusted_until_ns:
            return None
        silent_s = (now_ns - self._last_report_ns) / 1e9
        if not self.is_ready:
            return "start" if silent_s > self._config.limits.start_s else None
        if silent_s > (CAPTURE_STUCK_S if is_opening else SILENT_S):
            return "silent"
        return self._excess(self.heartbeat) if self.heartbeat else None

    def _excess(self, beat: Heartbeat) -> str | None:
        """Return which limit the worker exceeds; None if it keeps them all."""
        limits = self._config.limits
        for stage, busy_s in beat.busy_s.items():
            if busy_s > (CAPTURE_STUCK_S if stage == "capture" else limits.inference_s):
                return "stuck"
        if (beat.open_files or 0) > limits.worker_open_files:
            return "too_many_files"
        return "too_big" if beat.rss_mb > self._rss_limit_mb else None

    def lose(self) -> None:
        """Kill the present worker, count it as lost, and delay the next start."""
        self.losses_without_frame += self.is_ready and not self._has_frame
        self._kill()
        self.renewals = 0
        now_ns = clock.monotonic_ns()
        before = self.losses.within(now_ns, BUDGET_SPAN_S)
        self.losses.add(now_ns)
        self.restarts += 1
        delay_s = (
            SLOW_DELAY_S if before >= BUDGET else min(_FIRST_DELAY_S * 2**before, _MAX_DELAY_S)
        )
        self._not_before_ns = now_ns + int(delay_s * 1e9)

    def renew(self) -> None:
        """Kill the present worker at its own request; it is not counted as lost.

        The first in a row is replaced at once, the others after a delay.
        """
        self._kill()
        delay_s = RENEW_DELAY_S if self.renewals else _FIRST_DELAY_S
        self.renewals += 1
        self._not_before_ns = clock.monotonic_ns() + int(delay_s * 1e9)

    def describe_stage(self) -> str:
        """Return, for the log, that the present worker is not ready yet; empty if it is."""
        return "" if self.is_ready else ", while it loaded the networks"

    def may_start(self) -> bool:
        """Return whether the next worker is due and the last process has exited."""
        if self._process is not None or clock.monotonic_ns() < self._not_before_ns:
            return False
        if self._dying is not None and self._dying.poll() is not None:
            self._dying = None
        return self._dying is None

    def is_unkillable(self) -> bool:
        """Return whether a killed worker does not exit: only a reboot frees the camera."""
        if self._dying is None or self._dying.poll() is not None:
            return False
        return clock.monotonic_ns() - self._dying_since_ns > UNKILLABLE_S * 1e9

    def request_stop(self) -> None:
        """Send SIGTERM to the present worker."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)

    def end(self, timeout_s: float) -> None:
        """Wait up to ``timeout_s`` for the present worker to exit, then kill it."""
        if self._process is None:
            return
        try:
            self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self._process.kill()
            try:
                self._process.wait(1.0)
            except subprocess.TimeoutExpired:
                os.write(2, b"affect-edge: the worker cannot be killed\n")
        self._drop()

    def _kill(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._dying, self._dying_since_ns = self._process, clock.monotonic_ns()
        self._drop()

    def _drop(self) -> None:
        if self.link is not None:
            self.link.close()
        self.link = None
        self._process = None
        self.heartbeat = None
        self.is_ready = False
