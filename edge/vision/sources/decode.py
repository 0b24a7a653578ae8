"""Decoding through OpenCV, shared by sources: captures, conversion to luma, no output to stderr.

Without conversion FFmpeg returns the luma plane itself (two thirds of the cost at 720p), but OpenCV
does not report whether its range is full or limited, or whether it is luma at all. For H.264 the
stream's header states both; pictures of other codecs are converted to colour and then to grey.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from enum import Enum
from typing import Any, Final

import cv2
import numpy as np

from edge.errors import FrameRefused
from edge.vision.values import Luma

FFMPEG_DEFAULT_HZ: Final = 25.0
"""The frame rate that FFmpeg assumes for inputs without time stamps."""

ONE_DECODING_THREAD: Final = (cv2.CAP_PROP_N_THREADS, 1)
"""Parameters of a capture. With one thread for each core, FFmpeg gives a picture only when so many
later ones have arrived: on four cores, the time of a live picture is that of the third after it."""

_OTHER_PACKETS_MAX: Final = 10_000_000

# Limited-range video keeps black at 16 and white at 235 (ITU-R BT.601).
_LIMITED_TO_FULL = np.clip(np.rint((np.arange(256) - 16) * (255 / 219)), 0, 255).astype(np.uint8)


class Plane(Enum):
    """How the first plane of a decoded picture is converted to luma."""

    FULL = "full"
    LIMITED = "limited"
    CONVERT = "convert"
    """The plane may not be 8-bit luma: OpenCV converts the picture to colour, and that to grey."""


def silence_opencv() -> None:
    """Stop OpenCV and FFmpeg from writing to stderr, in the whole process.

    Exceptions report every failure; the lines on stderr would only flood the log.
    """
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")  # AV_LOG_QUIET
    if hasattr(cv2, "setLogLevel"):  # OpenCV 4
        cv2.setLogLevel(0)
    else:
        cv2.utils.logging.setLogLevel(0)


def open_capture(path: str, backend: int, parameters: Sequence[int] = ()) -> Any:
    """Open a video, a stream or a camera; return its ``cv2.VideoCapture``, opened or not.

    Everything opens its captures here: OpenCV reads its environment once in a process, when the
    first capture is opened or read, so one that was opened elsewhere decides for all later ones.

    Args:
        path: file (``file_address``), URL or device.
        backend: OpenCV's number, such as ``cv2.CAP_FFMPEG``.
        parameters: OpenCV's property numbers, each followed by its value.
    """
    silence_opencv()
    # of packets of sound in a row: OpenCV gives up after 4096, which looks like damage
    os.environ.setdefault("OPENCV_FFMPEG_READ_ATTEMPTS", str(_OTHER_PACKETS_MAX))
    return cv2.VideoCapture(path, backend, list(parameters))


@contextmanager
def file_address(path: str) -> Iterator[str]:
    """Yield what FFmpeg takes for a file, whatever its name holds.

    Without "file:" a name such as 12:30.mp4 or concat:a.mp4 is a protocol. OpenCV crashes at a
    name that is not UTF-8.
    """
    path = os.path.abspath(path)
    try:
        path.encode()
    except UnicodeEncodeError:
        with open(path, "rb") as file:
            yield f"file:/proc/self/fd/{file.fileno()}"
    else:
        yield f"file:{path}"


def stated_rate_hz(capture: Any, rate_max_hz: float) -> float | None:
    """Return the frame rate that a capture states, Hz; None if there is none or it is too high."""
    rate_hz = float(capture.get(cv2.CAP_PROP_FPS))
    return rate_hz if 0 < rate_hz <= rate_max_hz else None


def container_rate_hz(capture: Any, rate_max_hz: float) -> float | None:
    """Return the frame rate of a file, Hz; None if it states none.

    For files without time stamps, such as raw H.264, FFmpeg states a rate of its own.
    """
    rate_hz = stated_rate_hz(capture, rate_max_hz)
    has_duration = capture.get(cv2.CAP_PROP_FRAME_COUNT) > 0
    return rate_hz if has_duration or rate_hz != FFMPEG_DEFAULT_HZ else None


def codec_name(capture: Any) -> str:
    """Return the four characters that name the codec of a capture, such as ``AV01``; or empty."""
    code = int(capture.get(cv2.CAP_PROP_FOURCC)) & 0xFFFFFFFF
    name = code.to_bytes(4, "little").decode("latin-1")
    return name if name.isascii() and name.isprintable() and name.strip() else ""


def to_luma(picture: object, plane: Plane = Plane.CONVERT) -> Luma:
    """Return a retrieved picture as luma: uint8 (height, width), contiguous, black 0, white 255.

    Raises:
        FrameRefused: it is not an 8-bit picture with one or three planes.
    """
    if not isinstance(picture, np.ndarray) or picture.dtype != np.uint8 or picture.size == 0:
        raise FrameRefused(f"the decoder gave {_describe(picture)}; expected 8-bit pixels")
    if picture.ndim == 3 and picture.shape[2] == 3:
        return np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY))
    if picture.ndim == 3 and picture.shape[2] == 1:
        picture = picture[:, :, 0]
    if picture.ndim != 2:
        raise FrameRefused(f"the decoder gave {_describe(picture)}; expected one or three planes")
    if plane is Plane.LIMITED:
        return np.asarray(cv2.LUT(picture, _LIMITED_TO_FULL))
    return np.ascontiguousarray(picture)


def _describe(picture: object) -> str:
    if isinstance(picture, np.ndarray):
        return f"an array of {picture.dtype} {picture.shape}"
    return "nothing" if picture is None else type(picture).__name__
