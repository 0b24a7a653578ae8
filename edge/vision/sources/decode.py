"""Shared by sources that decode through OpenCV: conversion to luma, and no output to stderr.

Without conversion FFmpeg returns the luma plane itself (two thirds of the cost at 720p), but
OpenCV does not report whether its range is full or limited, or whether it is luma at all. The
stream's header contains both for H.264; other codecs are converted via colour.
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
    """How the first plane of a decoded picture becomes luma."""

    FULL = "full"
    LIMITED = "limited"
    CONVERT = "convert"
    """The plane is not known to be 8-bit luma: OpenCV converts it to colour, and that to grey."""


def silence_opencv() -> None:
    """Stop OpenCV and FFmpeg from writing to stderr, in the whole process.

    Exceptions report every failure; their lines would only flood the log.
    """
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")  # AV_LOG_QUIET
    if hasattr(cv2, "setLogLevel"):  # OpenCV 4
        cv2.setLogLevel(0)
    else:
        cv2.utils.logging.setLogLevel(0)


def to_luma(picture: object, plane: Plane = Plane.CONVERT) -> Luma:
    """Return uint8 (height, width), black 0, white 255, contiguous, from a retrieved picture.

    Raises:
        FrameRefused: it is not an 8-bit picture with one or three planes.
    """
    if not isinstance(picture, np.ndarray) or picture.dtype != np.uint8 or picture.size == 0:
        raise FrameRefused(f"the decoder gave {_described(picture)}; expected 8-bit pixels")
    if picture.ndim == 3 and picture.shape[2] == 3:
        return np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY))
    if picture.ndim == 3 and picture.shape[2] == 1:
        picture = picture[:, :, 0]
    if picture.ndim != 2:
        raise FrameRefused(f"the decoder gave {_described(picture)}; expected one or three planes")
    if plane is Plane.LIMITED:
        return np.asarray(cv2.LUT(picture, _LIMITED_TO_FULL))
    return np.ascontiguousarray(picture)


class MonoReader:
    """Retrieves the pictures that an FFmpeg capture grabbed, as luma. Not thread-safe.

    Call ``retrieve`` after each ``grab``, from the first on: OpenCV keeps the converter of the
    first retrieved picture, and returns garbage if its options change later.
    """

    def __init__(self, capture: Any) -> None:
        self._capture = capture
        self._first_interlaced: Luma | None = None
        flag = int(capture.get(cv2.CAP_PROP_CODEC_EXTRADATA_INDEX))
        found, data = capture.retrieve(flag=flag)
        header = parse_header(data.tobytes()) if found and data is not None else None
        self._interlaced = header is not None and header.interlaced
        self.plane = Plane.CONVERT
        if header is not None and header.full_range is not None:
            capture.set(cv2.CAP_PROP_CONVERT_RGB, 0)
            self.plane = Plane.FULL if header.full_range else Plane.LIMITED

    def retrieve(self) -> Luma:
        """Return the picture that was grabbed, uint8 (height, width).

        Raises:
            FrameRefused: it cannot be decoded.
            ConfigError: no picture of this stream can be decoded.
        """
        try:
            luma = to_luma(self._capture.retrieve()[1], self.plane)
        except cv2.error as error:
            raise FrameRefused(f"OpenCV failed: {' '.join(error.err.split())}") from error
        if self._interlaced:
            self._check_interlaced(luma)
        return luma

    def _check_interlaced(self, luma: Luma) -> None:
        """Detect whether OpenCV fails to convert interlaced pictures.

        Since 4.13 its FFmpeg does not convert them but reports success: every picture is then the
        same memory, which was never written to.
        """
        if self._first_interlaced is not None:
            if np.array_equal(self._first_interlaced, luma):
                raise ConfigError(
                    "the video is interlaced, which this OpenCV cannot decode; expected"
                    " progressive (set the camera so, or convert: ffmpeg -i IN -vf yadif OUT)"
                )
            self._interlaced = False
        self._first_interlaced = luma


def _described(picture: object) -> str:
    if isinstance(picture, np.ndarray):
        return f"an array of {picture.dtype} {picture.shape}"
    return "nothing" if picture is None else type(picture).__name__
