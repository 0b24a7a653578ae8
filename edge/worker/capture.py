"""The capture stage of the worker: opens the source, reads frames, and reopens it after failures.

The stage reports the source's state (running, stalled, absent), always before a call that may
hang. It closes and reopens a camera that stalls. If a new process may find a camera that this
process does not, the stage asks the hub to replace the worker.
"""

import contextlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Literal, Protocol

from edge import clock
from edge.config import Config, ImagesSource, is_file, redact
from edge.errors import (
    ConfigError,
    EndOfStream,
    FrameNotReady,
    FrameRefused,
    SourceError,
    SourceStalled,
    SourceUnavailable,
)
from edge.link import Renew
from edge.protocol.events import (
    CameraOpened,
    Detail,
    FolderOpened,
    FrameRefusedDetail,
    MediaJump,
    MediaRepeated,
    PictureStateChanged,
    SourceStateChanged,
)
from edge.vision.pace import Pace
from edge.vision.picture_state import PictureWatch
from edge.vision.record import file_opened, file_path
from edge.vision.sources import Source, open_source
from edge.vision.values import Frame
from edge.vocabulary import PictureState
from edge.worker.skip import Skipper
from edge.worker.slots import Closed, Slot

FIRST_RETRY_S = 0.25
MAX_RETRY_S = 5.0
RENEW_AFTER_TRIES = 5
"""Failed openings in a row, 8 s with the waits between them, before asking for a new process."""

MAX_REOPEN_S = 60.0
"""A frozen camera is reopened after ``limits.stall_s``, then at intervals that double up to it."""

SILENT_PERIODS = 3
"""A live source is stalled after this many frame periods without a frame, ``stall_s`` at least."""

OPENING_S = 8.0
"""Time limit of one opening: after it the source is absent; after 10 s the hub ends the worker."""


class StopEvent(Protocol):
    """The part of ``threading.Event`` that the capture stage needs."""

    def is_set(self) -> bool:
        """Return whether the worker is to stop."""

    def set(self) -> None:
        """Request the stop."""

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until the stop is requested, ``timeout`` seconds at most."""


class Capture:
    """Puts the frames of the source into a slot. ``run`` needs a thread of its own.

    Any thread may read the attributes.

    Args:
        config: configuration of the daemon.
        frames: slot that receives the frames; without loss events of a file, too, in their places.
        small_size: width and height of the detector's input.
        stop: ends the stage; the stage sets it itself to ask for a new process.
        busy: context manager around each call that may hang; the hub replaces a worker that is
            busy too long.
        report_event: sends an event to the hub at once.
        lossless: read a file as fast as possible and drop nothing.
        first_index: index of the first frame; a file is skipped up to it.
        source_state: state of the source that the hub already knows.
        picture_state: state of the picture that the hub already knows.

    Attributes:
        live: whether the source is live, not a file.
        expected_hz: frames per second that the source should deliver; None when unknown.
        due_ns: monotonic time at which the next frame of a paced file is due; None when it is not
            waited for.
        captured: frames that the source produced; also the index of the next frame.
        renewal: the request for a new process; None without one.
        has_opened: whether the source was opened, and reported where it is a file.
    """

    def __init__(
        self,
        config: Config,
        frames: Slot[Frame | Detail],
        *,
        small_size: tuple[int, int],
        stop: StopEvent,
        busy: Callable[[], AbstractContextManager[None]],
        report_event: Callable[[Detail], None],
        lossless: bool,
        first_index: int,
        source_state: str,
        picture_state: PictureState = "normal",
    ) -> None:
        self._config = config
        self._frames = frames
        self._small_size = small_size
        self._stop = stop
        self._busy = busy
        self._report_event = report_event
        self._lossless = lossless
        self._first_index = first_index
        self._source_state = source_state
        self._opening_since_ns: int | None = None
        self._waiting_since_ns: int | None = None  # for the next frame of an open source
        self._pictures = PictureWatch(config, picture_state)
        self._opened_ns = 0
        self._reopen_after_s = 0.0  # while the camera is frozen
        self._reported_details: dict[str, object] | None = None
        self.live = False
        self.expected_hz: float | None = None
        self.due_ns: int | None = None
        self.captured = first_index
        self._skipper = Skipper(config.limits.rate_min_hz)
        self.renewal: Renew | None = None
        self.has_opened = False

    def limit_rate(self, divisor: int) -> None:
        """Put one frame of ``divisor`` into the slot from now on; all of a file without loss."""
        self._skipper.divisor = 1 if self._lossless else divisor

    @property
    def skipped(self) -> int:
        """Frames left out because the rate is limited."""
        return self._skipper.skipped

    @property
    def limited_hz(self) -> float | None:
        """Frames per second that the limit of the rate leaves; None without a limit."""
        expected_hz, divisor = self.expected_hz, self._skipper.divisor
        if expected_hz is None or divisor == 1:
            return None
        return max(expected_hz / divisor, min(self._config.limits.rate_min_hz, expected_hz))

    def run(self) -> None:
        """Read frames to the end; reopen a live source that stalls or is absent.

        After ``RENEW_AFTER_TRIES`` openings that a new process may do better, ask the hub for one
        and return.
        """
        retry_s = FIRST_RETRY_S
        tries = 0
        while not self._stop.is_set():
            try:
                with self._opened() as source:
                    for frame in self._read_all(source):
                        retry_s, tries = FIRST_RETRY_S, 0
                        self._frames.put(frame)
                return
            except Closed:
                return
            except SourceError as error:
                self._opening_since_ns = None
                self._report_failure(error)
                if isinstance(error, SourceUnavailable) and error.new_process:
                    tries += 1
                self._stop.wait(retry_s)
                retry_s = min(2 * retry_s, MAX_RETRY_S)
                if tries >= RENEW_AFTER_TRIES and not self._stop.is_set():
                    self.renewal = Renew(reason=redact(str(error)))
                    self._stop.set()

    @contextlib.contextmanager
    def _opened(self) -> Iterator[Source]:
        """Open the source for a ``with`` block; opening and closing may hang, so both are busy."""
        with contextlib.ExitStack() as opened:
            self._opening_since_ns = clock.monotonic_ns()
            with self._busy():
                source = opened.enter_context(
                    open_source(
                        self._config.source,
                        small_size=self._small_size,
                        first_index=0 if is_file(self._config.source) else self.captured,
                        resume_index=self.captured,
                    )
                )
                self._describe_file()
            self._opening_since_ns = None
            self._opened_ns = clock.monotonic_ns()
            self.live, self.expected_hz = source.live, source.expected_hz
            if source.details is not None and source.details != self._reported_details:
                self._reported_details = source.details
                is_folder = isinstance(self._config.source, ImagesSource)
                opened_event = FolderOpened if is_folder else CameraOpened
                self._report_event(opened_event.model_validate(source.details))
            try:
                yield source
            except SourceError as error:
                self._report_failure(error)  # before closing, which may not return
                raise
            finally:
                self._waiting_since_ns = None
                with self._busy():
                    opened.close()

    def _describe_file(self) -> None:
        """Report which file was opened, before its first frame, which gets its times by it."""
        path = file_path(self._config.source)
        if path is not None and not self.has_opened:
            self._report_event(file_opened(self._config.source, path))
        self.has_opened = True

    def _read_all(self, source: Source) -> Iterator[Frame]:
        """Yield the frames of an open source until its end or a requested stop.

        A file continues where the previous worker stopped, and is paced unless lossless.

        Raises:
            ConfigError: the file holds pictures, and none of them can be read.
        """
        pace = Pace(source.expected_hz)
        refusal: FrameRefused | None = None
        refused_since_ns: int | None = None  # start of consecutive refusals
        readable = False
        repeat = 0
        position = self.captured if source.live else 0
        while not self._stop.is_set():
            self._waiting_since_ns = self._waiting_since_ns or clock.monotonic_ns()
            try:
                with self._busy():
                    frame = source.read()
            except FrameNotReady:
                continue
            except FrameRefused as error:
                self._waiting_since_ns = None
                refusal = error
                position += error.count
                if source.live:
                    refused_since_ns = self._note_refusal(error, refused_since_ns)
                elif position > self._first_index:  # else the previous worker reported it
                    self._report_in_place(FrameRefusedDetail(reason=redact(str(error))))
                self.captured = max(self.captured, position)
                continue
            except EndOfStream:
                if refusal is not None and not readable:
                    raise ConfigError(
                        f"source: not one picture can be read: {refusal}"
                    ) from refusal
                return
            self._waiting_since_ns = None
            self.expected_hz = source.expected_hz  # some streams only show it in their pictures
            readable, refused_since_ns = True, None
            position = frame.index + 1
            if not source.live:
                is_repeat, repeat = frame.repeat > repeat, frame.repeat
                if position <= self._first_index:
                    continue
                self._report_media(frame, pace, is_repeat=is_repeat)
                frame = self._paced(frame, pace)
            self.captured = position
            repeats = self._pictures.is_repeat(frame)
            # what it shows is measured while it is processed, where it cannot be of a frozen camera
            is_watched_later = self._pictures.state == "normal" and not repeats
            if is_watched_later or self._is_new(frame, repeats=repeats):
                self._enter_state("running")
                if self._skipper.keeps(frame):
                    yield frame
            if is_watched_later:
                self._watch_picture(frame, repeats=False)

    def _report_in_place(self, detail: Detail) -> None:
        """Report an event; of a file without loss in its place among the frames."""
        if self._lossless and not self.live:
            self._frames.put(detail)
        else:
            self._report_event(detail)

    def _report_media(self, frame: Frame, pace: Pace, *, is_repeat: bool) -> None:
        """Report that a file begins again with this frame, or that its times jump."""
        if is_repeat:
            self._report_in_place(MediaRepeated(repeat=frame.repeat, index=frame.index))
        jump_s = pace.jump_s(frame.sensor_ns)
        if jump_s is not None:
            self._report_in_place(MediaJump.of(jump_s, frame.index))

    def _watch_picture(self, frame: Frame, *, repeats: bool) -> PictureStateChanged | None:
        """Report, and return, the change of the picture's state that this frame makes, if any."""
        change = self._pictures.update(frame, repeats=repeats)
        if change is not None:
            self._report_in_place(change)
        return change

    def _is_new(self, frame: Frame, *, repeats: bool) -> bool:
        """Report what the pictures show; return False for a picture of a frozen camera.

        A frozen camera is reopened at growing intervals, since reopening does not help where the
        scene itself is still. In between it is read, so that the first other picture ends it.

        Raises:
            SourceStalled: the camera has to be reopened.
        """
        change = self._watch_picture(frame, repeats=repeats)
        if self._pictures.state != "frozen":
            return True
        if change is not None:
            self._reopen_after_s = self._config.limits.stall_s
        elif clock.elapsed_ms(self._opened_ns) < self._reopen_after_s * 1e3:
            return False
        self._reopen_after_s = min(2 * self._reopen_after_s, MAX_REOPEN_S)
        raise SourceStalled("the same picture again and again; the camera has to be opened again")

    def _note_refusal(self, refusal: FrameRefused, since_ns: int | None) -> int:
        """Report the first of consecutive refused pictures; return when it was refused.

        Args:
            refusal: why the picture cannot be read.
            since_ns: when the first of them was refused; None if this is the first.

        Raises:
            SourceStalled: pictures are refused for longer than ``limits.stall_s``; reopening the
                camera may help.
        """
        if since_ns is None:
            self._report_event(FrameRefusedDetail(reason=redact(str(refusal))))
            return clock.monotonic_ns()
        if clock.elapsed_ms(since_ns) > self._config.limits.stall_s * 1e3:
            raise SourceStalled(f"only pictures that cannot be read: {refusal}") from refusal
        return since_ns

    def _paced(self, frame: Frame, pace: Pace) -> Frame:
        """Wait until a file's frame is due; return it as captured at this moment.

        Without loss there is no wait.
        """
        if self._lossless:
            return frame
        self.due_ns = pace.due_ns(frame.sensor_ns)
        self._stop.wait(max(0.0, (self.due_ns - clock.monotonic_ns()) / 1e9))
        self.due_ns = None
        return replace(frame, captured_ns=clock.monotonic_ns())

    def watch(self) -> None:
        """Report a call into the source that does not return; the main thread calls this often.

        The source is then absent (opening) or stalled (reading). The next frame sets the state back
        to running, in the capture thread; if both threads write at once, the frame after it does.
        """
        opening_ns = self._opening_since_ns
        if opening_ns is not None and self._source_state == "starting":
            if clock.elapsed_ms(opening_ns) > OPENING_S * 1e3:
                self._enter_state("absent", f"opening it has not returned for {OPENING_S:g} s")
            return
        since_ns = self._waiting_since_ns
        if not self.live or since_ns is None or self._source_state != "running":
            return
        limit_s = self._config.limits.stall_s
        if self.expected_hz:
            limit_s = max(limit_s, SILENT_PERIODS / self.expected_hz)
        if clock.elapsed_ms(since_ns) > limit_s * 1e3:
            self._enter_state("stalled", f"no picture for {limit_s:g} s")

    def _report_failure(self, error: SourceError) -> None:
        """Report that the source delivers no pictures now: it is absent or stalled."""
        absent = isinstance(error, SourceUnavailable)
        self._enter_state("absent" if absent else "stalled", str(error))

    def _enter_state(
        self, state: Literal["running", "stalled", "absent"], reason: str = ""
    ) -> None:
        if state != self._source_state:
            self._source_state = state
            # it runs with a frame of this thread; the others are also found by the main thread
            report = self._report_in_place if state == "running" else self._report_event
            report(SourceStateChanged(state=state, reason=redact(reason)))
