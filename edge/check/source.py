"""The source part of ``affect-edge check``: files are opened and their first picture is read.

No camera is opened, and none is contacted.
"""

import os
import stat
from pathlib import Path
from typing import Final

from edge.check.machine import Line
from edge.config import Config, ImagesSource, StreamSource, V4l2Source, VideoSource
from edge.errors import AffectEdgeError, ConfigError, FrameRefused
from edge.vision.picture import look_of, measure
from edge.vision.sources import check_decoder, open_source

_ANY_SIZE: Final = (320, 192)


def source_line(config: Config) -> Line | None:
    """Report on the source as far as it can be without a camera; None for demo and picamera.

    A relative path is shown whole: it means the folder in which the command was started.
    """
    source = config.source
    match source:
        case VideoSource() | ImagesSource():
            return _first_picture(source)
        case V4l2Source():
            return _device(Path(source.path).absolute())
        case StreamSource():
            try:
                check_decoder(source)
            except ConfigError as error:
                return "WRONG", f"source: {error}"
            return "ok", "source: a network camera; it was not contacted: 'affect-edge run' does"
        case _:
            return None


def _first_picture(source: VideoSource | ImagesSource) -> Line:
    path = Path(source.path).absolute()
    try:
        with open_source(source, small_size=_ANY_SIZE) as opened:
            frame = opened.read()
    except FrameRefused as error:
        return "WARN", f"source {path}: the first picture cannot be read: {error}"
    except AffectEdgeError as error:
        return "WRONG", f"source {path}: {error}"
    height, width = frame.luma.shape
    look = look_of(measure(frame.luma))
    shows = "" if look == "normal" else f"; it is {look}"
    text = f"source {path}: the first picture has {width}x{height} pixels{shows}"
    if opened.expected_hz is None:
        return "WARN", (
            f"{text}; the file states no rate: if it has no times, as raw .h264 and .mjpeg files,"
            " 25 pictures a second are assumed; set source.rate_hz"
        )
    return "ok", text


def _device(path: Path) -> Line:
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError:
        return "WARN", f"source {path}: no such device now; 'affect-edge run' waits for it"
    except OSError as error:
        return "WRONG", f"source {path}: {error.strerror}; expected a Video4Linux device"
    if not stat.S_ISCHR(mode):
        return "WRONG", f"source {path}: no device; expected a Video4Linux device"
    if not os.access(path, os.R_OK | os.W_OK):
        return "WARN", (
            f"source {path}: this user may not use it; expected a member of the group 'video': run"
            " check as the user who will run the daemon"
        )
    return "ok", f"source {path}: a device; no camera was opened"
