"""Stills: the dashboard of affect for a picture, or for one moment of a video."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final

import cv2
import numpy as np

from edge.config.sources import Flip, Rotation
from edge.errors import ConfigError, FrameRefused, LogFileError
from edge.files.durable import replacing_with_unique_name
from edge.recordings.annotation.drawing.canvas import Picture, clock_text
from edge.recordings.annotation.drawing.circumplex import TRAIL_NS, Trail
from edge.recordings.annotation.drawing.dashboard import dashboard
from edge.recordings.annotation.overlay import (
    MATCH_NS,
    FaceOverlay,
    FrameOverlay,
    overlay_of_result,
)
from edge.recordings.annotation.overlays import Overlays
from edge.recordings.annotation.video_reader import Shown, VideoReader
from edge.recordings.reader import Reader
from edge.vision.sources.images import read_grey
from edge.vision.sources.native_lines import NativeLines
from edge.vision.sources.orientation import turned

SUFFIXES: Final = (".png", ".jpg", ".jpeg")
"""Of the pictures that are made."""

WARM_UP_NS: Final = 3_000_000_000
"""How much of a video before its moment is analysed, so that tracks and smoothing are settled."""

_LEGEND: Final = (
    "coloured dot: smoothed over the track; white dot: this picture alone; line: the last 2 s"
)
_OPTIONS: Final = {
    ".png": [cv2.IMWRITE_PNG_COMPRESSION, 9],
    ".jpg": [cv2.IMWRITE_JPEG_QUALITY, 92],
    ".jpeg": [cv2.IMWRITE_JPEG_QUALITY, 92],
}


def still_of_picture(
    path: Path, reader: Reader, codes: Mapping[int, str], rotate_deg: Rotation, flip: Flip
) -> tuple[Picture, int]:
    """Return the dashboard of a picture file, and how many faces were found in it.

    Args:
        path: the file; of one with several pictures, the first is shown.
        reader: analyses it.
        codes: participants by track; tracks are numbered from 1.
        rotate_deg: how pictures are turned clockwise, as ``reader`` does.
        flip: how they are mirrored after that.

    Raises:
        ConfigError: it cannot be read.
        InferenceError: the detector failed on it.
    """
    overlay = overlay_of_result(reader.picture(path)).with_codes(codes)
    picture = turned(read_colour(path), rotate_deg, flip)
    size = f"{overlay.width} × {overlay.height} pixels"
    return dashboard(picture, overlay.faces, path.name, size), len(overlay.faces)


def still_of_video(
    path: Path,
    at_ns: int,
    overlays: Overlays,
    codes: Mapping[int, str],
    on_progress: Callable[[int], None] = lambda _ns: None,
) -> tuple[Picture, int]:
    """Return the dashboard of the picture that a video shows at a time, and its number of faces.

    Args:
        path: the video.
        at_ns: time within the file, ns.
        overlays: what is known of it.
        codes: participants by track.
        on_progress: takes the time within the file of each picture that was decoded, ns: first to
            find the moment, and then to analyse what is before it.

    Raises:
        ConfigError: the video cannot be read, or ends before ``at_ns``; the overlays are of
            pictures of another size.
        LogFileError: a log cannot be read.
    """
    shown = _picture_at(path, at_ns, on_progress)
    seen: list[FrameOverlay] = []
    start_ns = max(0, shown.media_ns - WARM_UP_NS)
    for overlay in overlays.frames(start_ns, shown.media_ns + MATCH_NS + 1, on_progress):
        if overlays.by_index and overlay.index > shown.index:
            break
        seen.append(overlay.with_codes(codes))
        seen = [each for each in seen if each.media_ns >= overlay.media_ns - TRAIL_NS]
    present = seen[-1] if seen else None
    if present is not None and not _is_same(present, shown, by_index=overlays.by_index):
        present = None
    picture = turned(shown.picture(), overlays.rotate_deg, overlays.flip)
    if present is not None and (present.height, present.width) != picture.shape[:2]:
        raise ConfigError(
            f"the results are of pictures of {present.width}x{present.height} pixels, and those of"
            f" {path.name} have {picture.shape[1]}x{picture.shape[0]}; expected its own results"
        )
    detail, note = "", f"this picture is {overlays.absent}"
    faces: tuple[FaceOverlay, ...] = ()
    if present is not None:
        detail, note, faces = f"frame {present.index} · ", "", present.faces
    if any(face.emotion for face in faces):
        note = _LEGEND
    board = dashboard(
        picture,
        faces,
        path.name,
        detail + clock_text(shown.media_ns),
        trails=_trails(seen),
        note=note,
    )
    return board, len(faces)


def write_picture(picture: Picture, out: Path) -> None:
    """Write a picture, readable by its owner alone; it replaces ``out`` when it is complete.

    Args:
        picture: uint8 (height, width, 3), BGR.
        out: ends in one of ``SUFFIXES``.

    Raises:
        LogFileError: it cannot be written.
    """
    suffix = out.suffix.lower()
    _, content = cv2.imencode(suffix, picture, _OPTIONS[suffix])
    try:
        with replacing_with_unique_name(out) as file:
            file.write(content.tobytes())
    except OSError as error:
        raise LogFileError(f"{out}: cannot be written: {error.strerror}") from error


def read_colour(path: Path) -> Picture:
    """Return the first picture of a file in colour, uint8 (height, width, 3), upright.

    A grey one, and one with more than 8 bits, has the grey levels that are analysed.

    Raises:
        ConfigError: it cannot be read.
    """
    try:
        luma = read_grey(path)
        content = np.fromfile(path, np.uint8)
    except (FrameRefused, OSError) as error:
        raise ConfigError(f"picture {path}: {error}") from error
    with NativeLines():
        try:
            picture = cv2.imdecode(content, cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH)
        except cv2.error:  # an animation, which is decoded otherwise
            picture = None
    if picture is None or picture.dtype != np.uint8 or picture.shape != (*luma.shape, 3):
        return np.asarray(cv2.cvtColor(luma, cv2.COLOR_GRAY2BGR))
    return np.asarray(picture)


def _picture_at(path: Path, at_ns: int, on_progress: Callable[[int], None]) -> Shown:
    with VideoReader(path) as video:
        length_ns = video.duration_ns
        shown: Shown | None = None
        for item in video.items(sound=False):
            if item.media_ns > at_ns and shown is not None:
                return shown
            shown = item
            on_progress(item.media_ns)
        if shown is None:
            raise ConfigError(f"recording {str(path)!r}: not one picture of it can be decoded")
        if at_ns >= (length_ns or shown.media_ns + 1_000_000_000):
            length_s = (length_ns or shown.media_ns) / 1e9
            raise ConfigError(f"--at {at_ns / 1e9:g}s: the recording has {length_s:.3f} s")
        return shown


def _is_same(overlay: FrameOverlay, shown: Shown, *, by_index: bool) -> bool:
    if by_index:
        return overlay.index == shown.index
    return abs(overlay.media_ns - shown.media_ns) <= MATCH_NS


def _trails(seen: list[FrameOverlay]) -> dict[int, Trail]:
    trails: dict[int, Trail] = {}
    for frame in seen:
        for face in frame.faces:
            if face.emotion is None:
                continue
            before = trails.get(face.track, Trail((), ()))
            trails[face.track] = replace(
                before,
                raw=(*before.raw, face.emotion.raw),
                smoothed=(*before.smoothed, face.emotion.smoothed),
            )
    return trails
