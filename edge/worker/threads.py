"""The worker's threads around the pipeline.

::

    capture --Slot--> detect --Slot--> classify --link--> hub
    hash: the SHA-256 of a large file, once
    main: signals, heartbeats, the deadline of a requested stop

The first stage is in ``capture``. Each thread owns what it opens, in a ``with`` block. The end, by
a requested stop or at the end of a file, travels the same way as a frame: each stage closes the
slot after it, so no captured frame is lost.
"""

import contextlib
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from functools import partial

from edge import clock
from edge.board import open_files, rss_mb
from edge.config import Config, redact
from edge.errors import (
    EXIT_FAILURE,
    AffectEdgeError,
    InferenceError,
)
from edge.link import (
    Ended,
    EventReport,
    Failed,
    Go,
    Heartbeat,
    Limit,
    Link,
    LinkClosed,
    SendPreview,
)
from edge.protocol.events import Detail, InferenceFailed
from edge.vision.inference.threads import stages_share_cores
from edge.vision.left_out import LeftOut
from edge.vision.pipeline import Pipeline
from edge.vision.record import file_hashed, file_path, needs_hash
from edge.vision.values import Frame, FrameTracks
from edge.vocabulary import PictureState
from edge.worker.capture import Capture
from edge.worker.preview import PreviewMaker
from edge.worker.report import frame_report
from edge.worker.slots import Slot

HEARTBEAT_S = 0.5
STOP_S = 2.0  # longest wait for the threads after a requested stop: the hub allows 3 s


class Worker:
    """The three threads, the slots between them, and their heartbeat.

    ``run`` belongs to the main thread; ``heartbeat`` and ``fail`` may be called from any thread.
    """

    def __init__(
        self,
        link: Link,
        config: Config,
        pipeline: Pipeline,
        *,
        lossless: bool,
        first_index: int = 0,
        source_state: str = "starting",
        picture_state: PictureState = "normal",
    ) -> None:
        self._link = link
        self._config = config
        self._pipeline = pipeline
        self._lossless = lossless
        self._frames: Slot[Frame | Detail] = Slot(newest_wins=not lossless)
        self._tracks: Slot[FrameTracks | Detail] = Slot(newest_wins=not lossless)
        self.stop = threading.Event()
        self._finished = threading.Event()
        self._hashed = threading.Event()  # also where there is nothing to hash
        self._failure: Failed | None = None
        # Each is written by one thread and read by the heartbeat, which tolerates a stale value.
        self._busy_since_ns: dict[str, int] = {}
        self._refused_inferences = 0
        # Without loss nobody waits for a frame, and stages that wait for one another cost rate.
        self._looks_wait = not lossless and stages_share_cores()
        self._classified = -1  # index of the newest classified frame; read by the detect thread
        self._left_out = LeftOut()
        self._preview = PreviewMaker()
        self._capture = Capture(
            config,
            self._frames,
            small_size=pipeline.detector.input_size,
            stop=self.stop,
            busy=lambda: self._busy("capture"),
            report_event=self._report_event,
            lossless=lossless,
            first_index=first_index,
            source_state=source_state,
            picture_state=picture_state,
        )

    def run(self, go: Go | None = None) -> int:
        """Run until the source ends, a stage fails or a stop is requested; return the exit code.

        ``go``: limits, and width of the pictures of the preview, until the hub sends others; None:
        as configured, without a preview.
        """
        go = go or Go()
        self._limit(go)
        self._preview.set_width(go.preview_px)
        threading.excepthook = self._on_bug
        stages: list[tuple[str, Callable[[], None], Callable[[], None]]] = [
            ("capture", self._capture.run, self._frames.close),
            ("detect", self._detect, self._tracks.close),
            ("classify", self._classify, self._finished.set),
        ]
        path = file_path(self._config.source)
        if path is not None and needs_hash(path):
            stages.append(("hash", partial(self._hash, path), self._hashed.set))
        else:
            self._hashed.set()
        for stage in stages:
            threading.Thread(target=self._stage, args=stage, name=stage[0], daemon=True).start()
        stopping_since_ns: int | None = None
        while not self._is_done(HEARTBEAT_S if not self.stop.is_set() else 0.05):
            if self.stop.is_set():
                stopping_since_ns = stopping_since_ns or clock.monotonic_ns()
                if clock.elapsed_ms(stopping_since_ns) > STOP_S * 1e3:
                    break  # a thread hangs in a driver; the process ends without it
            self._capture.watch()
            self._obey()
            self._link.send(self.heartbeat())
            if (picture := self._preview.take()) is not None:
                self._link.send(picture)
        self._link.send(self.heartbeat())
        self._link.send(self._failure or self._capture.renewal or Ended())
        return self._failure.exit_code if self._failure else 0

    def _obey(self) -> None:
        """Take over the hub's newest limits, and whether it wants pictures."""
        while (report := self._link.receive(0)) is not None:
            if isinstance(report, Limit):
                self._limit(report)
            elif isinstance(report, SendPreview):
                self._preview.set_width(report.width_px)

    def _limit(self, limit: Go | Limit) -> None:
        self._capture.limit_rate(limit.divisor)
        if not self._lossless:
            self._pipeline.limit(limit.faces_per_frame, limit.full_every_factor, limit.mesh_every)

    def _is_done(self, wait_s: float) -> bool:
        """Wait up to ``wait_s`` for all frames and the file's hash; return whether all is done."""
        return self._finished.wait(wait_s) and self._hashed.wait(wait_s)

    def fail(self, failure: Failed) -> None:
        """Record the failure if it is the first, and request the stop."""
        self._failure = self._failure or failure
        self.stop.set()

    # -- threads ---------------------------------------------------------------------------------

    def _stage(self, name: str, body: Callable[[], None], after: Callable[[], None]) -> None:
        try:
            body()
        except AffectEdgeError as error:
            self.fail(Failed(exit_code=error.exit_code, text=redact(str(error))))
        except LinkClosed:
            self.stop.set()
        # Not in a finally: _on_bug must run before the next stage gets the end.
        self._busy_since_ns.pop(name, None)
        after()

    def _on_bug(self, args: threading.ExceptHookArgs) -> None:
        lines = traceback.format_exception(args.exc_type, args.exc_value, args.exc_traceback)
        sys.stderr.write(redact("".join(lines)))  # a library's error may contain an address
        name = args.thread.name if args.thread else "?"
        self.fail(Failed(exit_code=EXIT_FAILURE, text=redact(f"{name} thread: {args.exc_value!r}")))
        self._finished.set()
        self._hashed.set()

    @contextlib.contextmanager
    def _busy(self, stage: str) -> Iterator[None]:
        self._busy_since_ns[stage] = clock.monotonic_ns()
        try:
            yield
        finally:
            self._busy_since_ns.pop(stage, None)

    def _detect(self) -> None:
        failures = 0
        for frame in self._frames:
            if not isinstance(frame, Frame):
                self._tracks.put(frame)  # an event, in its place
                continue
            self._preview.offer(frame)
            try:
                with self._busy("detect"):
                    tracks = self._pipeline.detect(frame)
                failures = 0
            except InferenceError as error:
                failures += 1
                self._refused_inferences += 1
                if failures == 1:
                    self._report_in_place(InferenceFailed(reason=str(error)))
                if failures >= self._config.limits.inference_errors:
                    raise
                continue
            left_out = self._left_out.update(tracks)
            if left_out is not None:
                self._report_in_place(left_out)
            self._tracks.put(tracks)
            if self._pipeline.leaves_look:
                self._wait_for_look(frame.index)
                with self._busy("detect"):
                    self._pipeline.finish_look()

    def _report_in_place(self, detail: Detail) -> None:
        """Report an event of the detect thread; without loss in its place among the frames."""
        if self._lossless:
            self._tracks.put(detail)
        else:
            self._report_event(detail)

    def _wait_for_look(self, index: int) -> None:
        """Wait until frame ``index`` is classified, or the next one is there, where cores are few.

        A full look that nobody waits for would take the core from a frame that somebody does.
        """
        if self._looks_wait:
            self._frames.wait(lambda: self._classified >= index)

    def _hash(self, path: str) -> None:
        """Report the hash of a large file, after the event that it was opened."""
        while not self._capture.has_opened and not self._finished.is_set():
            if self.stop.wait(0.05):
                return
        self._report_event(file_hashed(path, self.stop, self._finished.is_set))

    def _classify(self) -> None:
        for tracks in self._tracks:
            if not isinstance(tracks, FrameTracks):
                self._report_event(tracks)
                continue
            with self._busy("classify"):
                state = self._pipeline.classify(tracks, keeps_rate=not self._lossless)
            self._link.send(frame_report(state, self._config.mesh))
            for event in state.events:
                self._report_event(event)
            self._classified = tracks.frame.index
            if self._looks_wait:
                self._frames.wake()

    # -- reports to the hub ------------------------------------------------------------------------

    def _report_event(self, detail: Detail) -> None:
        self._link.send(EventReport.of(detail))

    def heartbeat(self) -> Heartbeat:
        """Return the state of the threads, which the hub gets twice a second."""
        now_ns = clock.monotonic_ns()
        due_ns = self._capture.due_ns
        if self._finished.is_set() and not self._hashed.is_set():
            due_ns = now_ns + round(2 * HEARTBEAT_S * 1e9)  # no frame is late: only the hash is due
        return Heartbeat(
            live=self._capture.live,
            expected_hz=self._capture.expected_hz,
            due_in_s=None if due_ns is None else max(0.0, (due_ns - now_ns) / 1e9),
            captured=self._capture.captured,
            dropped={
                "detect": self._frames.dropped,
                "classify": self._tracks.dropped,
                "inference": self._refused_inferences,
                "rate_limit": self._capture.skipped,
            },
            busy_s={
                stage: (now_ns - since_ns) / 1e9
                for stage, since_ns in tuple(self._busy_since_ns.items())
            },
            rss_mb=rss_mb(),
            limited_hz=self._capture.limited_hz,
            open_files=open_files(),
        )
