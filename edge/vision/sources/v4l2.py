"""A Video4Linux camera, such as a USB camera, read through OpenCV."""

import math
import os
import stat
from contextlib import suppress
from typing import Any, Final, Self

import cv2
import numpy as np

from edge.clock import elapsed_ms, monotonic_ns
from edge.config import V4l2Source
from edge.errors import ConfigError, FrameRefused, SourceStalled, SourceUnavailable
from edge.vision.sources.decode import Plane, open_capture, stated_rate_hz, to_luma
from edge.vision.sources.depth import StreamDepth
from edge.vision.sources.stamps import clock_of
from edge.vision.sources.v4l2_formats import DECODABLE, offered_formats
from edge.vision.values import Frame, Luma
from edge.vocabulary import ClockName

_FORMATS: Final = ("GREY", "YUYV", "MJPG")  # by increasing cost of conversion to grey
_DEEP_FORMATS: Final = {"Y10 ": 10, "Y12 ": 12, "Y16 ": None}
"""Grey formats of 16 bits per pixel and their effective depth; many sensors give 10 or 12 bits as
Y16, so that one is measured."""

_MEASURING_PICTURES: Final = 8
_MEASURING_NS: Final = 500_000_000  # for slow cameras
_RATE_MAX_HZ: Final = 1000.0
_WAIT_S: Final = 1
_WAITS_MAX: Final = 8  # the hub replaces a worker after 10 s in one call
_PERIODS: Final = 3


class V4l2:
    """The luma of one camera, in the cheapest format that sustains the configured rate.

    ``sensor_ns`` is the driver's time stamp of the buffer, or the time of arrival if there is none.
    ``index`` counts the pictures that arrived: OpenCV does not report lost ones. OpenCV also
    reports success after timeouts and unplugging. A picture that has no later time stamp is
    therefore a stall. See ``edge.vision.sources.Source``.
    """

    live = True
    details = None

    def __init__(self, config: V4l2Source, first_index: int = 0) -> None:
        self._config = config
        self._index = first_index
        self._last_ns = -1
        self._clock: ClockName | None = None
        self._depth = StreamDepth(config.bits)
        self.expected_hz: float | None = config.rate_hz

    def __enter__(self) -> Self:
        """Open the camera and negotiate a format.

        Raises:
            ConfigError: the path is not a device, this user has no permission, or OpenCV decodes
                none of the camera's formats.
            SourceUnavailable: it is not connected, or another program holds it.
        """
        os.environ.setdefault("OPENCV_VIDEOIO_V4L_SELECT_TIMEOUT", str(_WAIT_S))  # 10 otherwise
        os.environ.setdefault("OPENCV_VIDEOIO_V4L_READ_ATTEMPTS", "1")
        path = self._config.path
        try:
            mode = os.stat(path).st_mode
        except OSError as error:
            raise SourceUnavailable(
                f"camera {path}: {error.strerror}; expected a connected camera"
                " (see 'v4l2-ctl --list-devices')"
            ) from error
        if not stat.S_ISCHR(mode):
            raise ConfigError(f"source.path {path!r}: not a device; expected /dev/videoN")
        if not os.access(path, os.R_OK | os.W_OK):
            if not stat.S_IMODE(mode) & (stat.S_IRWXG | stat.S_IRWXO):
                # udev has not set the group of a new device yet
                raise SourceUnavailable(
                    f"camera {path}: only its owner may open it; expected udev to give it to the"
                    " group 'video'"
                )
            raise ConfigError(
                f"source.path {path!r}: permission denied; add this user to the group 'video'"
                " (sudo usermod -aG video USER, then log in again)"
            )
        self._capture = open_capture(path, cv2.CAP_V4L2)
        if not self._capture.isOpened():
            self._capture.release()
            raise _opening_error(path)
        self._format = self._negotiate_format()
        if self._format in _DEEP_FORMATS and not self._depth.bits:
            self._measure_depth()
        granted_hz = stated_rate_hz(self._capture, _RATE_MAX_HZ)
        self.expected_hz = granted_hz or self._config.rate_hz
        return self

    def __exit__(self, *_: object) -> None:
        self._capture.release()

    def read(self) -> Frame:
        """Return the next frame; see ``edge.vision.sources.Source``."""
        path = self._config.path
        stamp_ns = self._last_ns = self._wait_for_stamp()
        began_ns = monotonic_ns()
        index, self._index = self._index, self._index + 1
        if self._clock is None:
            self._clock = clock_of(stamp_ns)
        try:
            luma = self._luma(self._capture.retrieve()[1])
        except (cv2.error, FrameRefused) as error:
            raise FrameRefused(f"camera {path}: picture {index} cannot be decoded") from error
        return Frame(
            luma,
            index=index,
            sensor_ns=stamp_ns,
            clock=self._clock,
            captured_ns=monotonic_ns(),
            capture_ms=elapsed_ms(began_ns),
        )

    def _wait_for_stamp(self) -> int:
        """Move to the next picture; return its time stamp, ns.

        Raises:
            SourceStalled: none came within three periods, 1 s at least and 8 s at most.
        """
        waits = math.ceil(_PERIODS / (self.expected_hz or self._config.rate_hz) / _WAIT_S)
        waits = min(waits, _WAITS_MAX)
        reason = ""
        for _ in range(waits):
            if not self._capture.grab():
                reason = f"no picture for {waits * _WAIT_S} s"
                continue
            stamp_ns = round(self._capture.get(cv2.CAP_PROP_POS_MSEC) * 1e6) or monotonic_ns()
            if stamp_ns > self._last_ns:
                return stamp_ns
            reason = "the same picture again (its time stamp did not advance)"
        raise SourceStalled(f"camera {self._config.path}: {reason}; it has to be opened again")

    def _negotiate_format(self) -> str | None:
        """Set format, size and rate; return the granted format, None for OpenCV's default.

        Raw formats at full size can exceed the bandwidth of USB 2; the camera then lowers the rate,
        and the next format is tried. If none sustains the rate, the fastest is used.
        """
        rates_hz: dict[str, float] = {}
        for name in _FORMATS:
            if not self._set_format(name):
                continue
            rates_hz[name] = float(self._capture.get(cv2.CAP_PROP_FPS))
            if rates_hz[name] >= 0.9 * self._config.rate_hz:
                break
        if not rates_hz:
            return self._deep_format()
        best = max(rates_hz, key=lambda name: rates_hz[name])
        self._set_format(best)
        self._capture.set(cv2.CAP_PROP_CONVERT_RGB, 0)
        return best

    def _deep_format(self) -> str | None:
        """Keep the current format with its full depth if it is one of 16 bits; else return None."""
        code = int(self._capture.get(cv2.CAP_PROP_FOURCC)) & 0xFFFFFFFF
        name = code.to_bytes(4, "little").decode("ascii", "replace")
        if name not in _DEEP_FORMATS:
            return None
        self._depth = StreamDepth(self._config.bits or _DEEP_FORMATS[name])
        self._capture.set(cv2.CAP_PROP_CONVERT_RGB, 0)
        return name

    def _measure_depth(self) -> None:
        """Measure the depth over the first pictures, so that it rarely grows later."""
        began_ns = monotonic_ns()
        for _ in range(_MEASURING_PICTURES):
            if monotonic_ns() - began_ns > _MEASURING_NS or not self._capture.grab():
                return
            with suppress(cv2.error, FrameRefused):
                self._luma(self._capture.retrieve()[1])

    def _set_format(self, name: str) -> bool:
        code = float(cv2.VideoWriter.fourcc(*name))
        self._capture.set(cv2.CAP_PROP_FOURCC, code)
        self._capture.set(cv2.CAP_PROP_FRAME_WIDTH, self._config.width)
        self._capture.set(cv2.CAP_PROP_FRAME_HEIGHT, self._config.height)
        self._capture.set(cv2.CAP_PROP_FPS, self._config.rate_hz)
        return bool(self._capture.get(cv2.CAP_PROP_FOURCC) == code)

    def _luma(self, picture: Any) -> Luma:
        if self._format == "MJPG":
            return to_luma(cv2.imdecode(np.ravel(picture), cv2.IMREAD_GRAYSCALE))
        if self._format == "YUYV":
            if not isinstance(picture, np.ndarray) or picture.ndim != 3 or picture.shape[2] != 2:
                raise FrameRefused("not two bytes per pixel")
            return to_luma(np.ascontiguousarray(picture[:, :, 0]), Plane.LIMITED)
        if self._format in _DEEP_FORMATS:
            if not isinstance(picture, np.ndarray) or picture.dtype != np.uint16:
                raise FrameRefused("not 16 bits per pixel")
            picture = self._depth.reduce(picture)
        return to_luma(picture, Plane.FULL)


def _opening_error(path: str) -> ConfigError | SourceUnavailable:
    """Return why OpenCV cannot open a device that exists."""
    formats = offered_formats(path)
    if formats is None or DECODABLE.intersection(formats):
        return SourceUnavailable(
            f"camera {path}: cannot be opened; expected a camera that no other program uses"
        )
    if not formats:
        return SourceUnavailable(
            f"camera {path}: this device delivers no pictures, such as the one for metadata of a"
            " USB camera; expected another /dev/videoN (see 'v4l2-ctl --list-devices')"
        )
    return ConfigError(
        f"source.path {path!r}: the camera offers only {', '.join(formats)}, which cannot be"
        " decoded here; expected GREY, YUYV, MJPG, Y16 or another format that is no raw Bayer"
        ' pattern; for a Pi camera use source.kind = "picamera"'
    )
