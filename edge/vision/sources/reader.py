"""Reads the pictures of an FFmpeg capture as luma, past those that cannot be decoded.

OpenCV hides four things, which are handled here:

- ``grab`` fails at a packet that cannot be decoded, as it does at the end; the next call goes on;
- since 4.13 it does not convert interlaced pictures, but reports success: the memory for the
  converted picture is returned unchanged, whatever it holds;
- it loses the mirroring of a display matrix (``edge.vision.sources.container``);
- it returns pictures whose pixels are not square as they are: squeezed.
"""

import ctypes
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import cv2
import numpy as np

from edge.clock import elapsed_ms, monotonic_ns
from edge.errors import ConfigError, FrameRefused
from edge.vision.resize import resize_linear
from edge.vision.sources.decode import Plane, to_luma
from edge.vision.sources.h264 import parse_header
from edge.vision.values import Luma

UNCONVERTED_MAX: Final = 8
"""Pictures at the start that OpenCV does not convert, before the video is refused."""

_FILL: Final = 0x6B  # what the memory for converted pictures holds before the first one
_M_PERTURB: Final = -6  # glibc, mallopt(3)

_ENDED_TRIES: Final = 64
"""Failed grabs in a row that mean the end: there, each takes about 50 microseconds."""
_DAMAGED_TRIES: Final = 10_000
"""The same before the end that a file states: half a second."""
_QUICK_MS: Final = 5.0  # mean time of failed grabs of a stream that has ended, at most

_FIRST_S: Final = 5.0  # limit for the first picture of a stream that sends damaged packets

_ASPECT_MAX: Final = 4.0
_ASPECT_TOLERANCE: Final = 0.01  # nearer to square pixels, a picture stays as it is


class MonoReader:
    """Reads the pictures of one FFmpeg capture. Not thread-safe.

    From its creation on, nothing else may move the capture or set its options: OpenCV keeps the
    converter of the first retrieved picture, and returns garbage if its options change later.
    ``header`` is the format of an H.264 stream; None for other codecs.

    Args:
        capture: an opened ``cv2.VideoCapture`` of FFmpeg that has grabbed nothing yet.
        key: configuration key of the input, for messages, such as ``source.path``.
        name: its value, for messages; without secrets.
        mirrored: whether the display matrix mirrors the pictures.
        timeout_s: time limit of the capture's ``grab`` for a network stream; None for a file.

    Raises:
        ConfigError: OpenCV cannot convert the pictures, or they are to be shown at an angle or a
            shape that is not supported.
    """

    def __init__(
        self,
        capture: Any,
        key: str,
        name: str,
        *,
        mirrored: bool = False,
        timeout_s: float | None = None,
    ) -> None:
        self._capture = capture
        self._input = f"{key} {name!r}"
        self._name = repr(name)[1:-1]  # one line, and characters that a message can hold
        self._timeout_s = timeout_s
        self._refusals: deque[str] = deque()  # reasons, of pictures before the grabbed one
        self._last: Luma | None = None
        self._is_ahead = False
        self._advance(_FIRST_S)  # the header and the shape of pixels are known from here on
        self.plane = self._read_plane()
        angle = self._angle()
        self._flip = None if not mirrored else 1 if angle in (90, 270) else 0
        self._aspect = self._pixel_aspect(angle)
        self._has_fields = self._skip_unconverted()

    @property
    def has_picture(self) -> bool:
        """Whether a picture was found that no ``grab`` has returned yet."""
        return self._is_ahead

    def grab(self) -> bool:
        """Move to the next picture; return False at the end, or if a stream delivers nothing.

        Raises:
            FrameRefused: once for each picture before it that cannot be decoded.
        """
        while True:
            if self._refusals:
                raise FrameRefused(f"{self._name}: {self._refusals.popleft()}")
            if self._is_ahead:
                self._is_ahead = False
                return True
            if not self._advance(self._timeout_s or 0.0):
                return False

    def retrieve(self, index: int) -> Luma:
        """Return the grabbed picture, uint8 (height, width): upright, with square pixels.

        Args:
            index: index of the frame, for messages.

        Raises:
            FrameRefused: it cannot be decoded.
        """
        try:
            luma = to_luma(self._capture.retrieve()[1], self.plane)
        except cv2.error as error:
            reason = f"OpenCV failed: {' '.join(error.err.split())}"
            raise FrameRefused(f"{self._name}: frame {index}: {reason}") from error
        except FrameRefused as error:
            raise FrameRefused(f"{self._name}: frame {index}: {error}") from error
        if self._has_fields:  # an unconverted picture repeats the one before
            last, self._last = self._last, luma
            if last is not None and np.array_equal(last, luma):
                raise FrameRefused(f"{self._name}: frame {index}: an interlaced picture")
        if self._flip is not None:
            luma = np.asarray(cv2.flip(luma, self._flip))
        if self._aspect is not None:
            height, width = luma.shape
            across, down = max(1.0, self._aspect), max(1.0, 1 / self._aspect)
            luma = resize_linear(luma, (round(width * across), round(height * down)))
        return luma

    # -- packets that cannot be decoded ------------------------------------------------------------

    def _advance(self, limit_s: float) -> bool:
        """Grab the next picture that can be decoded, and note those before it.

        Return False at the end, or if a stream delivers nothing within its time limit. A stream
        that delivers only damaged packets for ``limit_s`` has only refused pictures then; a file
        has no such limit.
        """
        damaged = 0
        began_ns = before_ns = monotonic_ns()
        while not self._capture.grab():
            damaged += 1
            total_ms, last_ms = elapsed_ms(began_ns), elapsed_ms(before_ns)
            if self._has_ended(damaged, total_ms, last_ms):
                return False
            if self._timeout_s is not None and total_ms > limit_s * 1e3:
                break
            before_ns = monotonic_ns()
        else:
            self._is_ahead = True
        self._refusals.extend(["a damaged packet: the picture cannot be decoded"] * damaged)
        return True

    def _has_ended(self, failures: int, total_ms: float, last_ms: float) -> bool:
        """Return whether failed grabs in a row mean the end, and not damaged packets.

        Args:
            failures: how many.
            total_ms: the time they took.
            last_ms: the time the last one took.
        """
        if self._timeout_s is None:
            return failures >= _DAMAGED_TRIES or (failures >= _ENDED_TRIES and self._is_near_end())
        timed_out = last_ms >= 0.9 * self._timeout_s * 1e3
        return timed_out or (failures >= _ENDED_TRIES and total_ms < failures * _QUICK_MS)

    def _is_near_end(self) -> bool:
        """Return whether the file states about as many pictures as were decoded."""
        stated = self._capture.get(cv2.CAP_PROP_FRAME_COUNT)
        return bool(0 < stated <= self._capture.get(cv2.CAP_PROP_POS_FRAMES) + _ENDED_TRIES)

    # -- the first picture -------------------------------------------------------------------------

    def _skip_unconverted(self) -> bool:
        """Go on to the first picture that OpenCV converts; return whether there were others.

        A flat picture of the grey level ``_FILL`` looks like an unconverted one: more than one is
        needed for a refusal.

        Raises:
            ConfigError: none of the first pictures is converted.
        """
        for count in range(UNCONVERTED_MAX):
            if not self._is_ahead and self._timeout_s is not None:
                return count > 0  # a stream that ended: it is opened again
            if not self._is_ahead and count == 0:
                return False  # no picture at all
            if not self._is_ahead:
                break
            if self._is_converted():
                return count > 0
            self._refusals.append("an interlaced picture")
            self._is_ahead = False
            self._advance(self._timeout_s or 0.0)
        raise ConfigError(
            f"{self._input}: the video is interlaced, which this OpenCV cannot"
            " decode; expected progressive video (configure the camera, or convert:"
            " ffmpeg -i IN -vf yadif OUT)"
        )

    def _is_converted(self) -> bool:
        """Return whether OpenCV wrote the grabbed picture into the memory for it."""
        with _filled_memory():  # it is allocated at the first call
            picture = self._capture.retrieve()[1]
        return not (isinstance(picture, np.ndarray) and bool((picture == _FILL).all()))

    # -- how the pictures are shown ----------------------------------------------------------------

    def _read_plane(self) -> Plane:
        """Choose how pictures are converted to luma, by the header of an H.264 stream."""
        turned = self._capture.get(cv2.CAP_PROP_ORIENTATION_AUTO)
        self._capture.set(cv2.CAP_PROP_ORIENTATION_AUTO, 0)  # it would turn the header, too
        flag = int(self._capture.get(cv2.CAP_PROP_CODEC_EXTRADATA_INDEX))
        found, data = self._capture.retrieve(flag=flag)
        self._capture.set(cv2.CAP_PROP_ORIENTATION_AUTO, turned)
        self.header = header = parse_header(data.tobytes()) if found and data is not None else None
        if header is None or header.full_range is None:
            return Plane.CONVERT
        self._capture.set(cv2.CAP_PROP_CONVERT_RGB, 0)
        return Plane.FULL if header.full_range else Plane.LIMITED

    def _angle(self) -> int:
        """Return the angle by which OpenCV turns the pictures: 0, 90, 180 or 270 degrees.

        Raises:
            ConfigError: it is another one, which OpenCV ignores.
        """
        angle = int(self._capture.get(cv2.CAP_PROP_ORIENTATION_META)) % 360
        if angle % 90:
            raise ConfigError(
                f"{self._input}: pictures to be turned by {angle} degrees; expected"
                " 0, 90, 180 or 270 (convert: ffmpeg -i IN OUT)"
            )
        return angle

    def _pixel_aspect(self, angle: int) -> float | None:
        """Return width by height of a pixel in the turned picture; None for square pixels.

        Raises:
            ConfigError: it is more than 4, or less than a quarter.
        """
        wide = self._capture.get(cv2.CAP_PROP_SAR_NUM)
        high = self._capture.get(cv2.CAP_PROP_SAR_DEN)
        if wide <= 0 or high <= 0:  # unknown
            return None
        if not 1 / _ASPECT_MAX <= wide / high <= _ASPECT_MAX:
            raise ConfigError(
                f"{self._input}: pixels of {wide:g}:{high:g} (width to height);"
                f" expected {_ASPECT_MAX:g}:1 at most (convert: ffmpeg -i IN -vf setsar=1 OUT)"
            )
        aspect = high / wide if angle in (90, 270) else wide / high
        return None if abs(aspect - 1) < _ASPECT_TOLERANCE else float(aspect)


@contextmanager
def _filled_memory() -> Iterator[None]:
    """Fill the memory that this process allocates meanwhile with ``_FILL``."""
    allocator = ctypes.CDLL(None)
    allocator.mallopt(_M_PERTURB, _FILL ^ 0xFF)  # glibc fills with the complement
    try:
        yield
    finally:
        allocator.mallopt(_M_PERTURB, 0)
