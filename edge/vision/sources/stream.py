"""A network camera over RTSP or HTTP, read through OpenCV's FFmpeg."""

import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Self

import cv2

from edge.clock import elapsed_ms, monotonic_ns
from edge.config import StreamSource, redact
from edge.errors import FrameRefused, SourceStalled, SourceUnavailable
from edge.vision.sources.decode import (
    FFMPEG_DEFAULT_HZ,
    ONE_DECODING_THREAD,
    open_capture,
    stated_rate_hz,
)
from edge.vision.sources.old_opencv import refuse_stream
from edge.vision.sources.reader import MonoReader
from edge.vision.values import Frame

_OPTIONS = "OPENCV_FFMPEG_CAPTURE_OPTIONS"
_ENDED_TRIES = 64
"""Failed grabs in a row that mean the end of a stream."""

_DIAGNOSIS_S = 2.0
_DIAGNOSIS_NS = 60_000_000_000
_CALL_S = 9.0  # the hub replaces a worker after 10 s in one call
_diagnoses: dict[str, tuple[int, str | None]] = {}
"""When the last camera that gave no video was asked for the reason, and the reason, by address."""

_RATE_MAX_HZ = 240.0  # streams without a rate state their time base instead, such as 90000


class Stream:
    """The live frames of one network camera.

    ``sensor_ns`` is the monotonic time at which the picture arrived, since the camera's clock is
    unknown: it includes transmission and decoding (typically 50 to 500 ms). ``capture_ms`` covers
    only the copy out of the decoder, since decoding cannot be separated from waiting. FFmpeg
    conceals errors in damaged pictures; those that it cannot decode are refused. A stall is not
    repaired here: the caller reopens the source. See ``edge.vision.sources.Source``.
    """

    live = True
    details = None

    def __init__(self, config: StreamSource, first_index: int = 0) -> None:
        self._config = config
        self._name = redact(config.url)
        self._index = first_index
        self._last_ns = 0
        self.expected_hz: float | None = None

    def __enter__(self) -> Self:
        """Connect.

        Raises:
            ConfigError: this OpenCV cannot decode network cameras (``old_opencv``).
            SourceUnavailable: no answer within ``open_timeout_s``, or the answer is not video.
        """
        refuse_stream()
        config = self._config
        began_ns = monotonic_ns()
        parameters = [*ONE_DECODING_THREAD]
        parameters += [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, round(config.open_timeout_s * 1e3)]
        parameters += [cv2.CAP_PROP_READ_TIMEOUT_MSEC, round(config.read_timeout_s * 1e3)]
        with _capture_options(config):
            self._capture = open_capture(config.url, cv2.CAP_FFMPEG, parameters)
        if not self._capture.isOpened() or self._is_single_picture(began_ns):
            self._capture.release()
            took_s = elapsed_ms(began_ns) / 1e3
            reason = _known_diagnosis(config, took_s) or (
                "expected a camera that answers at source.url (check address, user and password)"
            )
            waited = f" after {took_s:.1f} s" if took_s >= 0.1 else ""
            raise SourceUnavailable(f"{self._name}: no video{waited}; {reason}")
        _diagnoses.pop(config.url, None)
        self.expected_hz = config.rate_hz or stated_rate_hz(self._capture, _RATE_MAX_HZ)
        self._rate_is_default = config.rate_hz is None and self.expected_hz == FFMPEG_DEFAULT_HZ
        self._last_pts = math.nan
        self._reader: MonoReader | None = None
        return self

    def __exit__(self, *_: object) -> None:
        self._capture.release()

    def read(self) -> Frame:
        """Return the next frame; see ``edge.vision.sources.Source``."""
        began_ns = monotonic_ns()
        if self._reader is None:
            self._reader = MonoReader(
                self._capture,
                "source.url",
                self._name,
                timeout_s=self._config.read_timeout_s,
            )
        index = self._index
        try:
            is_grabbed = self._reader.grab()
        except FrameRefused:
            self._index += 1
            raise
        if not is_grabbed:
            waited_s, limit_s = elapsed_ms(began_ns) / 1e3, self._config.read_timeout_s
            what = f"nothing arrived for {waited_s:.1f} s (source.read_timeout_s = {limit_s:g})"
            if waited_s < 0.9 * limit_s:
                what = "the camera ended the stream"
            raise SourceStalled(f"{self._name}: {what}; it has to be opened again")
        arrived_ns = monotonic_ns()
        sensor_ns = self._last_ns = max(arrived_ns, self._last_ns + 1)
        self._index += 1
        if self._rate_is_default:
            self._check_times()
        return Frame(
            self._reader.retrieve(index),
            index=index,
            sensor_ns=sensor_ns,
            clock="monotonic",
            captured_ns=monotonic_ns(),
            capture_ms=elapsed_ms(arrived_ns),
        )

    def _is_single_picture(self, began_ns: int) -> bool:
        """Return whether an open HTTP stream ends after one picture: a snapshot, not a video.

        ``began_ns`` is when opening began: a slow camera, whose second picture would come after the
        time for it, is not waited for.
        """
        if not self._is_mjpeg_over_http():
            return False
        pictures, failures = 0, 0
        limit_ms = (_CALL_S - self._config.read_timeout_s) * 1e3
        while pictures < 2 and elapsed_ms(began_ns) < limit_ms:
            grabbing_ns = monotonic_ns()
            if self._capture.grab():
                pictures += 1
                continue
            failures += 1  # at a damaged picture, too
            is_silent = elapsed_ms(grabbing_ns) > 0.9 * self._config.read_timeout_s * 1e3
            if is_silent or failures >= _ENDED_TRIES:
                return True
        return False

    def _is_mjpeg_over_http(self) -> bool:
        code = int(self._capture.get(cv2.CAP_PROP_FOURCC))
        return self._config.url.startswith("http") and code == cv2.VideoWriter.fourcc(*"MJPG")

    def _check_times(self) -> None:
        """Expect no rate if the pictures have no times: FFmpeg then states its default.

        MJPEG over HTTP never has times. Of other streams, the first two pictures have the same time
        if there are none.
        """
        pts, before = self._capture.get(cv2.CAP_PROP_PTS), self._last_pts
        if pts == before or self._is_mjpeg_over_http():
            self.expected_hz = None
        self._rate_is_default = math.isnan(before) and self.expected_hz is not None
        self._last_pts = pts


def _known_diagnosis(config: StreamSource, opening_s: float) -> str | None:
    """Return why the camera gives no video; ask it again at most once in ``_DIAGNOSIS_NS``.

    Otherwise a camera that refuses a password would be asked twice at each attempt.
    """
    asked_ns, reason = _diagnoses.get(config.url, (0, None))
    if asked_ns and monotonic_ns() - asked_ns < _DIAGNOSIS_NS:
        return reason
    from edge.vision.sources.diagnosis import diagnose  # noqa: PLC0415 (loads ssl)

    timeout_s = min(config.open_timeout_s, _DIAGNOSIS_S, _CALL_S - opening_s)
    reason = diagnose(config, max(0.1, timeout_s))
    _diagnoses.clear()
    _diagnoses[config.url] = monotonic_ns(), reason
    return reason


@contextmanager
def _capture_options(config: StreamSource) -> Iterator[None]:
    """Set FFmpeg's options: OpenCV reads them from the environment when it opens a stream.

    Cameras are reached directly: a proxy would see the password.
    """
    proxy = os.environ.pop("http_proxy", None)
    options = f"rtsp_transport;{config.transport}|fflags;nobuffer|flags;low_delay|max_delay;500000"
    before = os.environ.get(_OPTIONS)
    os.environ[_OPTIONS] = options if before is None else before
    try:
        yield
    finally:
        if before is None:
            del os.environ[_OPTIONS]
        if proxy is not None:
            os.environ["http_proxy"] = proxy
