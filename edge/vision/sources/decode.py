"""Decoding through OpenCV, shared by sources: conversion to luma, no output to stderr.

Without conversion FFmpeg returns the luma plane itself (two thirds of the cost at 720p), but OpenCV
does not report whether its range is full or limited, or whether it is luma at all. For H.264 the
stream's header states both; pictures of other codecs are converted to colour and then to grey.
"""

import os
from enum import Enum
from typing import Any

import cv2
import numpy as np

from edge.errors import ConfigError, FrameRefused
from edge.vision.sources.h264 import parse_header
from edge.vision.values import Luma

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


def stated_rate_hz(capture: Any, rate_max_hz: float) -> float | None:
    """Return the frame rate that a capture states, Hz; None if there is none or it is too high."""
    rate_hz = float(capture.get(cv2.CAP_PROP_FPS))
    return rate_hz if 0 < rate_hz <= rate_max_hz else None


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


class MonoReader:
    """Retrieves the pictures that an FFmpeg capture grabbed, as luma. Not thread-safe.

    Create it after the first ``grab``, and call ``retrieve`` after each one: OpenCV keeps the
    converter of the first retrieved picture, and returns garbage if its options change later.
    """

    def __init__(self, capture: Any, key: str, name: str) -> None:
        """Read the format of the stream.

        Args:
            capture: a ``cv2.VideoCapture`` of FFmpeg that has grabbed its first picture.
            key: configuration key of the input, for messages, such as ``source.path``.
            name: its value, for messages; without secrets.
        """
        self._capture = capture
        self._key, self._name = key, name
        self._first_interlaced: Luma | None = None
        flag = int(capture.get(cv2.CAP_PROP_CODEC_EXTRADATA_INDEX))
        found, data = capture.retrieve(flag=flag)
        header = parse_header(data.tobytes()) if found and data is not None else None
        self._interlaced = header is not None and header.interlaced
        self.plane = Plane.CONVERT
        if header is not None and header.full_range is not None:
            capture.set(cv2.CAP_PROP_CONVERT_RGB, 0)
            self.plane = Plane.FULL if header.full_range else Plane.LIMITED

    def retrieve(self, index: int) -> Luma:
        """Return the picture that was grabbed, uint8 (height, width).

        Args:
            index: index of the frame, for messages.

        Raises:
            FrameRefused: it cannot be decoded.
            ConfigError: no picture of this stream can be decoded.
        """
        try:
            luma = to_luma(self._capture.retrieve()[1], self.plane)
        except cv2.error as error:
            reason = f"OpenCV failed: {' '.join(error.err.split())}"
            raise FrameRefused(f"{self._name}: frame {index}: {reason}") from error
        except FrameRefused as error:
            raise FrameRefused(f"{self._name}: frame {index}: {error}") from error
        if self._interlaced:
            self._check_interlaced(luma)
        return luma

    def _check_interlaced(self, luma: Luma) -> None:
        """Check that OpenCV converts interlaced pictures.

        Since 4.13 it does not, but reports success: all pictures are then equal, because the
        converted picture is never written.

        Raises:
            ConfigError: the first two pictures are equal.
        """
        if self._first_interlaced is not None:
            if np.array_equal(self._first_interlaced, luma):
                raise ConfigError(
                    f"{self._key} {self._name!r}: the video is interlaced, which this OpenCV"
                    " cannot decode; expected progressive video (configure the camera, or convert:"
                    " ffmpeg -i IN -vf yadif OUT)"
                )
            self._interlaced = False
        self._first_interlaced = luma


def _describe(picture: object) -> str:
    if isinstance(picture, np.ndarray):
        return f"an array of {picture.dtype} {picture.shape}"
    return "nothing" if picture is None else type(picture).__name__
