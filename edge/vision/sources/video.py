"""A video file, read once from start to end."""

import os
from pathlib import Path
from typing import Any, Final, Self

import cv2

from edge.clock import elapsed_ms, monotonic_ns
from edge.errors import ConfigError, EndOfStream, FrameRefused
from edge.vision.sources.container import is_mirrored, is_trimmed, why_no_video
from edge.vision.sources.decode import (
    FFMPEG_DEFAULT_HZ,
    ONE_DECODING_THREAD,
    codec_name,
    container_rate_hz,
    file_address,
    open_capture,
)
from edge.vision.sources.lost import PictureTimes
from edge.vision.sources.old_opencv import SizeGuard, garbles_size_changes
from edge.vision.sources.reader import MonoReader
from edge.vision.values import Frame

DEMO_CLIP: Final = Path(__file__).with_name("clip") / "demo.mp4"
"""The bundled clip; the README next to it describes its content over time."""

_RATE_MAX_HZ = 1000.0


class Video:
    """All frames of one file. ``sensor_ns`` is the presentation time, on the clock "media".

    A variable frame rate is therefore preserved. With ``rate_hz``, times are those of that rate
    instead. Pictures that cannot be decoded are refused, and their indices are not reused; a
    truncated file ends with its last complete frame. See
    ``edge.vision.sources.Source``.
    """

    live = False
    details = None

    def __init__(self, path: str, first_index: int = 0, *, rate_hz: float | None = None) -> None:
        self._path = path
        self._first_index = self._index = first_index
        self._rate_hz = rate_hz  # instead of the file's own times
        self._last_ns = -1
        self.expected_hz: float | None = None

    def __enter__(self) -> Self:
        """Open the file and decode its first frame.

        Raises:
            ConfigError: there is no such file, or it contains no video that can be decoded and
                shown as it is meant.
        """
        self._capture = self._open()
        try:
            self._reader = MonoReader(
                self._capture, "source.path", self._path, mirrored=is_mirrored(self._path)
            )
            if not self._reader.has_picture:
                raise self._no_video()
            self._guard = self._guarded() if garbles_size_changes() else None
        except ConfigError:
            self._capture.release()
            raise
        own_hz = container_rate_hz(self._capture, _RATE_MAX_HZ)
        self.expected_hz = self._rate_hz or own_hz
        self._period_ns = round(1e9 / (own_hz or FFMPEG_DEFAULT_HZ))
        self._times = PictureTimes(self._period_ns / 1e6)
        self._refused = 0
        self._is_checked = False
        return self

    def __exit__(self, *_: object) -> None:
        self._capture.release()
        if self._guard is not None:
            self._guard.close()

    def read(self) -> Frame:
        """Return the next frame; see ``edge.vision.sources.Source``."""
        began_ns = monotonic_ns()
        index = self._index
        try:
            if not self._reader.grab():
                self._check_complete()
                raise EndOfStream(self._path)
        except FrameRefused as error:
            self._refused += error.count
            self._index += error.count
            raise
        self._index += 1
        # this property is the presentation time of the last grabbed frame
        time_ms = self._capture.get(cv2.CAP_PROP_POS_MSEC)
        self._times.note(time_ms)
        sensor_ns = round(time_ms * 1e6)
        if self._rate_hz is not None:
            sensor_ns = round((index - self._first_index) * 1e9 / self._rate_hz)
        elif sensor_ns <= self._last_ns:
            sensor_ns = self._last_ns + self._period_ns
        self._last_ns = sensor_ns
        if self._guard is not None:
            self._guard.advance()
        return Frame(
            self._reader.retrieve(index),
            index=index,
            sensor_ns=sensor_ns,
            clock="media",
            captured_ns=monotonic_ns(),
            capture_ms=elapsed_ms(began_ns),
        )

    def _check_complete(self) -> None:
        """Look once for pictures that were left out, if the file states more than it gave.

        Raises:
            FrameRefused: some were left out.
        """
        stated = int(self._capture.get(cv2.CAP_PROP_FRAME_COUNT))
        short = stated - self._times.count - self._refused
        if self._is_checked or short <= 0:
            return
        self._is_checked = True
        if is_trimmed(self._path):
            return  # it holds more pictures than it shows
        with file_address(self._path) as address:
            packets = open_capture(address, cv2.CAP_FFMPEG)
        missing = min(short, self._times.count_missing(packets) - self._refused)
        packets.release()
        if missing > 0:
            raise FrameRefused(
                f"{self._path!a}: pictures that could not be decoded: {missing}",
                count=missing,
            )

    def _open(self) -> Any:
        """Return a capture of the file."""
        if not os.path.isfile(self._path):
            raise ConfigError(f"source.path {self._path!r}: not a file; expected a video file")
        if not os.access(self._path, os.R_OK):
            raise ConfigError(f"source.path {self._path!r}: not readable by this user")
        with file_address(self._path) as address:
            capture = open_capture(address, cv2.CAP_FFMPEG, ONE_DECODING_THREAD)
        if not capture.isOpened():
            capture.release()
            raise self._no_video()
        return capture

    def _guarded(self) -> SizeGuard:
        with file_address(self._path) as address:
            packets = open_capture(address, cv2.CAP_FFMPEG, [cv2.CAP_PROP_FORMAT, -1])
        return SizeGuard(packets, self._path, self._reader.header)

    def _no_video(self) -> ConfigError:
        with file_address(self._path) as address:
            packets = open_capture(address, cv2.CAP_FFMPEG, [cv2.CAP_PROP_FORMAT, -1])
        code = codec_name(packets) if packets.grab() else ""
        packets.release()
        if code:
            return ConfigError(
                f"source.path {self._path!r}: no video in it that this OpenCV can decode (codec"
                f" {code}); convert it, for example to H.264: ffmpeg -i IN OUT.mp4"
            )
        return ConfigError(
            f"source.path {self._path!r}: no video in it; {why_no_video(self._path)}"
        )
