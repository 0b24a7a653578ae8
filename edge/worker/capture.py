"""The capture stage of the worker: opens the source, reads it, and opens it again when it fails.

What the source does (running, stalled, absent) is reported from here, before anything that may
hang. A camera that stalls is closed and opened again; where a new process may find a camera that
this one does not, the stage asks for one.
"""

import contextlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Literal, Protocol

from edge import clock
from edge.config import Config, is_file, redact
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
from edge.protocol.events import CameraOpened, Detail, FrameRefusedDetail, SourceStateChanged
from edge.vision.sources import Source, open_source
from edge.vision.values import Frame
from edge.worker.slots import Closed, Slot

FIRST_RETRY_S = 0.25
LAST_RETRY_S = 5.0
RENEW_AFTER_TRIES = 5
"""Openings in a row, 8 s with the waits between them, after which a new process is asked for."""

SILENT_PERIODS = 3
OPENING_S = 8.0
"""The source is absent while an opening does not return; the hub ends the worker after 10 s."""


class StopOrder(Protocol):
    """The part of ``threading.Event`` that is needed here."""

    def is_set(self) -> bool:
        """Return whether the worker is to end."""

    def set(self) -> None:
        """Order the end."""

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until the end is ordered, ``timeout`` seconds at most."""


class Capture:
    """Puts the frames of the source into a slot. ``run`` has a thread of its own.

    Args:
        config: of the daemon.
        frames: where frames go.
        small_size: width and height of the detector's input.
        stop: ends the stage; the stage sets it where it wants a new process.
        busy: a context for each call that may hang: the hub replaces a worker that is busy too
            long.
        report_event: sends an event to the hub.
        lossless: read a file as fast as possible.
        first_index: index of the first frame; a file is skipped up to it.
        source_state: what the hub knows about the source already.

    Attributes:
        live: whether the source shows the present. Attributes are for any thread to read.
        expected_hz: frames a second that it should deliver.
        captured: frames that it produced, and so the index of the next one.
        renewal: the request for a new process; None without one.
    """

    def __init__(
        self,
        config: Config,
        frames: Slot[Frame],
        *,
        small_size: tuple[int, int],
        stop: StopOrder,
        busy: Callable[[], AbstractContextManager[None]],
        report_event: Callable[[Detail], None],
        lossless: bool,
        first_index: int,
        source_state: str,
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
        self._told: dict[str, object] | None = None  # of the source as it was opened
        self.live = False
        self.expected_hz: float | None = None
        self.captured = first_index
        self.renewal: Renew | None = None

    def run(self) -> None:
        """Read frames to the end, reopening a live source that stalls or is not there.

        Where a new process may succeed and this one does not, it asks the hub for one and ends.
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
                self._declare(error)
                if isinstance(error, SourceUnavailable) and error.new_process:
                    tries += 1
                self._stop.wait(retry_s)
                retry_s = min(2 * retry_s, LAST_RETRY_S)
                if tries >= RENEW_AFTER_TRIES and not self._stop.is_set():
                    self.renewal = Renew(reason=redact(str(error)))
                    self._stop.set()

    @contextlib.contextmanager
    def _opened(self) -> Iterator[Source]:
        """Open the source for the ``with``. Opening and closing may hang: they count as busy."""
        with contextlib.ExitStack() as opened:
            self._opening_since_ns = clock.monotonic_ns()
            with self._busy():
                source = opened.enter_context(
                    open_source(
                        self._config.source,
                        small_size=self._small_size,
                        first_index=0 if is_file(self._config.source) else self.captured,
                    )
                )
            self._opening_since_ns = None
            self.live, self.expected_hz = source.live, source.expected_hz
            if source.opening is not None and source.opening != self._told:
                self._told = source.opening
                self._report_event(CameraOpened.model_validate(source.opening))
            try:
                yield source
            except SourceError as error:
                self._declare(error)  # before closing, which may not return
                raise
            finally:
                self._waiting_since_ns = None
                with self._busy():
                    opened.close()

    def _read_all(self, source: Source) -> Iterator[Frame]:
        """Yield the frames of an open source until its end or an order to stop.

        A file is taken up where the worker before this one left it, and paced unless lossless.

        Raises:
            ConfigError: a file held pictures, and not one of them could be read.
        """
        begun_ns: int | None = None
        refusal: FrameRefused | None = None
        refused_since_ns: int | None = None  # of an unbroken row of refusals
        readable = False
        position = self.captured if source.live else 0
        while not self._stop.is_set():
            if self._waiting_since_ns is None:
                self._waiting_since_ns = clock.monotonic_ns()
            try:
                with self._busy():
                    frame = source.read()
            except FrameNotReady:
                continue
            except FrameRefused as error:
                self._waiting_since_ns = None
                refusal = error
                position += 1
                if source.live:
                    refused_since_ns = self._bear(error, refused_since_ns)
                elif position > self._first_index:  # else the worker before this one told it
                    self._report_event(FrameRefusedDetail(reason=str(error)))
                self.captured = max(self.captured, position)
                continue
            except EndOfStream:
                if refusal is not None and not readable:
                    raise ConfigError(
                        f"source: not one picture can be read: {refusal}"
                    ) from refusal
                return
            self._waiting_since_ns = None
            readable, refused_since_ns = True, None
            position = frame.index + 1
            if not source.live:
                if position <= self._first_index:
                    continue
                if begun_ns is None:
                    begun_ns = clock.monotonic_ns() - frame.sensor_ns
                if not self._lossless:
                    frame = self._paced(frame, begun_ns)
            self.captured = position
            self._enter_state("running")
            yield frame

    def _bear(self, refusal: FrameRefused, since_ns: int | None) -> int:
        """Tell the first of a row of refused pictures; return when the row began.

        Raises:
            SourceStalled: the row is too long; a camera that is opened again may do better.
        """
        if since_ns is None:
            self._report_event(FrameRefusedDetail(reason=str(refusal)))
            return clock.monotonic_ns()
        if clock.elapsed_ms(since_ns) > self._config.limits.stall_s * 1e3:
            raise SourceStalled(f"only pictures that cannot be read: {refusal}") from refusal
        return since_ns

    def _paced(self, frame: Frame, begun_ns: int) -> Frame:
        """Hold a file's frame until its time has come: then it is as new as a camera's."""
        due_ns = begun_ns + frame.sensor_ns
        self._stop.wait(max(0.0, (due_ns - clock.monotonic_ns()) / 1e9))
        return replace(frame, captured_ns=clock.monotonic_ns())

    def watch(self) -> None:
        """Declare what the source itself has not noticed: a call that does not return.

        The next picture takes it back, in the capture thread; should both write at once, the one
        after it does.
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

    def _declare(self, error: SourceError) -> None:
        """Report that there are no pictures now: the source is absent, or it stalled."""
        absent = isinstance(error, SourceUnavailable)
        self._enter_state("absent" if absent else "stalled", str(error))

    def _enter_state(
        self, state: Literal["running", "stalled", "absent"], reason: str = ""
    ) -> None:
        if state != self._source_state:
            self._source_state = state
            self._report_event(SourceStateChanged(state=state, reason=redact(reason)))
