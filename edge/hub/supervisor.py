"""Starts workers, watches them, ends them, and decides how soon the next one may start.

Rungs: the worker reopens its camera by itself; a worker that is dead, silent, stuck or too big is
killed and replaced; one that not even SIGKILL ends (a driver in state D) calls for a reboot. A
worker that asks to be replaced, since a new process may find its source, does not count as lost.
"""

import os
import signal
import subprocess
import sys

from edge import clock
from edge.board import Board, worker_rss_limit_mb
from edge.child import child_environment
from edge.config import Config
from edge.hub.health import Incidents
from edge.link import FrameReport, Go, Heartbeat, Link, LinkClosed, Start

SILENT_S = 3.0
"""A worker that has not even sent a heartbeat for so long is hung as a whole."""

CAPTURE_STUCK_S = 10.0
"""Sources bound their own waits; beyond this a driver does not return. libcamera's binding keeps
Python's lock while it opens or closes a camera, so that no heartbeat comes meanwhile either."""

UNKILLABLE_S = 10.0

BUDGET = 10  # restarts within BUDGET_SPAN_S before the pace drops to SLOW_S
BUDGET_SPAN_S = 600.0
SLOW_S = 30.0
_FIRST_S, _LAST_S = 0.1, 1.0
RENEW_PAUSE_S = 10.0
"""Between workers that found no source: each loads the networks again, which heats a board."""


class Supervisor:
    """One worker at a time. For the hub's one loop; no method blocks for long.

    Attributes:
        link: to the present worker; None between workers.
        heartbeat: the newest one of the present worker; None before the first.
        pid: of the present worker; None between workers.
        losses: workers lost, for the health grade and the budget.
        restarts: workers lost since the start.
        renewals: workers in a row that asked to be replaced, since the last frame or loss.
    """

    def __init__(self, config: Config, *, lossless: bool) -> None:
        self._config = config
        self._lossless = lossless
        self._rss_limit_mb = worker_rss_limit_mb(config.limits.worker_rss_mb, Board().memory_mb())
        self._process: subprocess.Popen[bytes] | None = None
        self._dying: subprocess.Popen[bytes] | None = None
        self._dying_since_ns = 0
        self._heard_ns = 0
        self._started_ns = 0
        self._not_before_ns = 0
        self.link: Link | None = None
        self.heartbeat: Heartbeat | None = None
        self.is_ready = False
        self.losses = Incidents()
        self.restarts = 0
        self.renewals = 0

    @property
    def pid(self) -> int | None:
        """Process id of the present worker."""
        return self._process.pid if self._process else None

    def start(self, first_index: int, first_track: int, *, absent: bool = False) -> None:
        """Start a worker that counts frames and tracks from these numbers.

        ``absent``: the source is known not to be there, which the worker need not report again.
        """
        self.link, theirs = Link.pair()
        with theirs:
            # A session of its own: the terminal's Ctrl-C reaches the hub alone, which orders the
            # worker's end itself.
            self._process = subprocess.Popen(
                # -P: no file of the current folder can take the place of a module
                [sys.executable, "-m", "edge.worker", str(theirs.fileno())],
                env=child_environment(),
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )
        self._started_ns = self._heard_ns = clock.monotonic_ns()
        self.heartbeat = None
        self.is_ready = False
        self.link.send(
            Start(
                config=self._config.model_dump_json(),
                lossless=self._lossless,
                first_index=first_index,
                first_track=first_track,
                source_state="absent" if absent else "starting",
            )
        )

    def go(self) -> None:
        """Let the worker open its source."""
        if self.link is not None:
            try:
                self.link.send(Go())
            except LinkClosed:
                return  # its death shows at the next look

    def heard(self, report: object) -> None:
        """Take notice that the worker sent something."""
        self._heard_ns = clock.monotonic_ns()
        if isinstance(report, Heartbeat):
            self.heartbeat = report
        elif isinstance(report, FrameReport):
            self.renewals = 0

    def trouble(self, *, is_opening: bool = False) -> str | None:
        """Return why the present worker must be replaced; None where it need not be.

        Args:
            is_opening: the worker may be opening or closing a camera, and be silent meanwhile.

        Returns:
            start, silent, stuck or too_big.
        """
        if self._process is None:
            return None
        now_ns = clock.monotonic_ns()
        limits = self._config.limits
        if not self.is_ready:
            return "start" if now_ns - self._started_ns > limits.start_s * 1e9 else None
        silent_s = CAPTURE_STUCK_S if is_opening else SILENT_S
        if now_ns - self._heard_ns > silent_s * 1e9:
            return "silent"
        beat = self.heartbeat
        if beat is None:
            return None
        for stage, busy_s in beat.busy_s.items():
            if busy_s > (CAPTURE_STUCK_S if stage == "capture" else limits.inference_s):
                return "stuck"
        return "too_big" if beat.rss_mb > self._rss_limit_mb else None

    def lose(self) -> None:
        """End the present worker at once and set the time before which none is started."""
        self._kill()
        self.renewals = 0
        now_ns = clock.monotonic_ns()
        before = self.losses.within(now_ns, BUDGET_SPAN_S)
        self.losses.add(now_ns)
        self.restarts += 1
        delay_s = SLOW_S if before >= BUDGET else min(_FIRST_S * 2**before, _LAST_S)
        self._not_before_ns = now_ns + int(delay_s * 1e9)

    def renew(self) -> None:
        """End the present worker as ``lose`` does, at its own request: it is not counted as lost.

        The first in a row is replaced at once, the others after a pause.
        """
        self._kill()
        pause_s = RENEW_PAUSE_S if self.renewals else _FIRST_S
        self.renewals += 1
        self._not_before_ns = clock.monotonic_ns() + int(pause_s * 1e9)

    def may_start(self) -> bool:
        """Return whether it is time for the next worker, and the last one is truly gone."""
        if self._process is not None or clock.monotonic_ns() < self._not_before_ns:
            return False
        if self._dying is not None and self._dying.poll() is not None:
            self._dying = None
        return self._dying is None

    def unkillable(self) -> bool:
        """Return whether a killed worker has not died: only a reboot frees the camera."""
        if self._dying is None or self._dying.poll() is not None:
            return False
        return clock.monotonic_ns() - self._dying_since_ns > UNKILLABLE_S * 1e9

    def order_stop(self) -> None:
        """Ask the present worker to finish."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)

    def end(self, patience_s: float) -> None:
        """Wait up to ``patience_s`` for the present worker to exit, then kill it."""
        if self._process is None:
            return
        try:
            self._process.wait(patience_s)
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
